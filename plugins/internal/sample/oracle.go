package sample

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cipherstream/cipherstream/sdk"
)

// Oracle runs a Python script on input and returns what it printed. Python's
// standard library is the independent reader that the encoders are held against,
// so a machine without it fails the test.
func Oracle(t testing.TB, script string, input []byte) []byte {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatalf("python3 is needed to read the output independently: %v", err)
	}
	command := exec.CommandContext(t.Context(), python, "-c", script)
	command.Stdin = bytes.NewReader(input)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("python3: %v\n%s", err, stderr.Bytes())
	}
	return stdout.Bytes()
}

var update = flag.Bool("update", false, "write the golden files anew")

// Golden compares got with testdata/name.
func Golden(t testing.TB, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the output differs from %s (-update writes it anew):\n%s\nwant:\n%s", path, got, want)
	}
}

// NewEncoder makes an encoder with settings in JSON.
func NewEncoder(t testing.TB, d sdk.Definition, settings string, env sdk.Env) sdk.Encoder {
	t.Helper()
	made, err := d.Make([]byte(settings), env)
	if err != nil {
		t.Fatal(err)
	}
	return made.(sdk.Encoder)
}

// Encode runs batches through an encoder, from Bind to End.
func Encode(e sdk.Encoder, batches ...sdk.Rows) (sdk.Output, error) {
	var out sdk.Output
	if _, err := e.Bind(batches[0].Schema()); err != nil {
		return out, err
	}
	if err := e.Begin(&out); err != nil {
		return out, err
	}
	var rows int64
	for _, batch := range batches {
		batch.First = rows
		if err := e.Encode(context.Background(), batch, &out); err != nil {
			return out, err
		}
		rows += batch.NumRows()
	}
	return out, e.End(sdk.Totals{Rows: rows}, &out)
}
