package cmdtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/plugins/stream"
	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// The keys of the tests: 32 times one byte.
var (
	OldKey     = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))
	CurrentKey = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{2}, 32))
	ForeignKey = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32))
)

const (
	Customer = "practice-7"
	// Run is the run of Deliver's receipts.
	Run = "count_1767225600000_0a1b2c3d"
)

// KeyFile writes keys to a file and returns the reference to it.
func KeyFile(t *testing.T, keys ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(strings.Join(keys, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file:" + path
}

// Deliver makes a delivery of rows with the stages of a pipeline, writes the receipt
// beside it, and returns the path and what was encoded.
func Deliver(t *testing.T, rows int, encoder stage.Definition, tail ...stage.Definition) (path, encoded string) {
	t.Helper()
	source, _ := runnertest.Bundle("test").Find(stage.KindSource, "count")
	sealing, err := json.Marshal(map[string]string{"keys": CurrentKey + "\n" + OldKey, "customer": Customer})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	execute := func(name string, tail ...stage.Definition) (string, runner.Result, stage.Receipt) {
		path := filepath.Join(dir, name)
		target, err := json.Marshal(map[string]string{"to": path})
		if err != nil {
			t.Fatal(err)
		}
		stages := []runner.Stage{
			{ID: "source", Definition: source, Settings: fmt.Appendf(nil, `{"rows":%d,"batch":1000}`, rows)},
			{ID: "encoder", Definition: encoder, Settings: []byte(`{}`)},
		}
		for _, d := range tail {
			s := runner.Stage{ID: string(d.Kind), Definition: d, Settings: []byte(`{}`)}
			if d.Kind == stage.KindEncryptor {
				s.Settings = sealing
			}
			stages = append(stages, s)
		}
		stages = append(stages, runner.Stage{ID: "sink", Definition: stream.Stage(), Settings: target})
		group, err := runner.Open(runner.Config{RunID: "r", Stages: stages})
		if err != nil {
			t.Fatal(err)
		}
		if err := group.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		delivered, err := group.Commit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return path, group.Result(), delivered
	}
	plain, _, _ := execute("plain")
	path, result, delivered := execute("delivery", tail...)
	ring, err := envelope.ParseRing(CurrentKey, "")
	if err != nil {
		t.Fatal(err)
	}
	statement, mac, err := ring.Authenticate(envelope.Statement{
		RunID: Run, Procedure: "count", Parameters: strings.Repeat("0", 64), Rows: int64(rows), Bytes: delivered.Bytes, SHA256: delivered.SHA256,
		Time: time.UnixMilli(1767225600000),
	})
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := json.Marshal(engine.Receipt{RunID: Run, Pipeline: "count", Rows: int64(rows), Bytes: delivered.Bytes, SHA256: delivered.SHA256,
		Counters: result.Counters, Statement: statement, MAC: mac})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".receipt.json", receipt, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, Read(t, plain)
}

// Read is what a file holds.
func Read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
