package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/plugins/aesgcm"
	"github.com/cipherstream/cipherstream/plugins/csv"
	"github.com/cipherstream/cipherstream/plugins/gzip"
	"github.com/cipherstream/cipherstream/plugins/ndjson"
	"github.com/cipherstream/cipherstream/plugins/stream"
	"github.com/cipherstream/cipherstream/plugins/zip"
	"github.com/cipherstream/cipherstream/plugins/zstd"
	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// The keys of the tests: 32 times one byte.
var (
	oldKey     = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))
	currentKey = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{2}, 32))
	foreignKey = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32))
)

const (
	testCustomer = "practice-7"
	// testRun is the run of deliver's receipts.
	testRun = "count_1767225600000_0a1b2c3d"
)

// keyFile writes keys to a file and returns the reference to it.
func keyFile(t *testing.T, keys ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(strings.Join(keys, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file:" + path
}

// deliver makes a delivery of rows with the stages of a pipeline, writes the receipt
// beside it, and returns the path and what was encoded.
func deliver(t *testing.T, rows int, encoder stage.Definition, tail ...stage.Definition) (path, encoded string) {
	t.Helper()
	source, _ := runnertest.Bundle("test").Find(stage.KindSource, "count")
	sealing, err := json.Marshal(map[string]string{"keys": currentKey + "\n" + oldKey, "customer": testCustomer})
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
	ring, err := envelope.ParseRing(currentKey, "")
	if err != nil {
		t.Fatal(err)
	}
	statement, mac, err := ring.Authenticate(envelope.Statement{
		RunID: testRun, Procedure: "count", Parameters: strings.Repeat("0", 64), Rows: int64(rows), Bytes: delivered.Bytes, SHA256: delivered.SHA256,
		Time: time.UnixMilli(1767225600000),
	})
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := json.Marshal(run.Receipt{RunID: testRun, Pipeline: "count", Rows: int64(rows), Bytes: delivered.Bytes, SHA256: delivered.SHA256,
		Counters: result.Counters, Statement: statement, MAC: mac})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+receiptSuffix, receipt, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, read(t, plain)
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// independentDecrypt is how a customer may open a delivery without this program, written
// from the description of the format alone.
const independentDecrypt = `
import sys, io, json, base64, gzip, zipfile
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
container, key, customer = sys.argv[1], base64.b64decode(sys.argv[2]), sys.argv[3]
data = sys.stdin.buffer.read()
def unpack(data):
    if container == "gzip":
        return gzip.decompress(data)
    if container == "zip":
        with zipfile.ZipFile(io.BytesIO(data)) as z:
            name, = z.namelist()
            assert z.testzip() is None
            return z.read(name)
    return data
chunked = sys.argv[4] == "chunks"
lines = (data if chunked else unpack(data)).split(b"\n")
assert lines.pop() == b""
out = b""
for index, line in enumerate(lines):
    key_id, iv, sealed = json.loads(line)["encrypted_data"].split(":")
    out += AESGCM(key).decrypt(base64.b64decode(iv), base64.b64decode(sealed), f"stream:{customer}:{index}".encode())
sys.stdout.buffer.write(unpack(out) if chunked else out)
`

// python runs a script that needs the package cryptography. Without it the test is
// skipped, or fails where everything is required.
func python(t *testing.T, script string, input string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err == nil {
		err = exec.CommandContext(t.Context(), path, "-c", "import cryptography").Run()
	}
	if err != nil {
		message := "this test needs python3 with the package cryptography (Debian: apt-get install python3-cryptography): " + err.Error()
		if os.Getenv("CI") != "" || os.Getenv("CIPHERSTREAM_REQUIRE_SERVERS") == "1" {
			t.Fatal(message)
		}
		t.Skip("SKIPPED, NOT TESTED: " + message)
	}
	command := exec.CommandContext(t.Context(), path, append([]string{"-c", script}, args...)...)
	command.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("python3: %v\n%s", err, stderr.Bytes())
	}
	return stdout.String()
}

// TestDecryptDeliveries opens what the stages make, in every order that a pipeline may
// have them in, and holds the result against another implementation.
func TestDecryptDeliveries(t *testing.T) {
	keys := keyFile(t, oldKey, currentKey)
	for name, c := range map[string]struct {
		encoder   stage.Definition
		tail      []stage.Definition
		container string
		chunks    bool
	}{
		"ndjson rows":      {ndjson.Stage(), []stage.Definition{aesgcm.Rows()}, "", false},
		"ndjson rows gzip": {ndjson.Stage(), []stage.Definition{aesgcm.Rows(), gzip.Stage()}, "gzip", false},
		"ndjson rows zip":  {ndjson.Stage(), []stage.Definition{aesgcm.Rows(), zip.Stage()}, "zip", false},
		"ndjson rows zstd": {ndjson.Stage(), []stage.Definition{aesgcm.Rows(), zstd.Stage()}, "zstd", false},
		"ndjson chunks":    {ndjson.Stage(), []stage.Definition{aesgcm.Chunks()}, "", true},
		"csv chunks":       {csv.Stage(), []stage.Definition{aesgcm.Chunks()}, "", true},
		"csv gzip chunks":  {csv.Stage(), []stage.Definition{gzip.Stage(), aesgcm.Chunks()}, "gzip", true},
		// As it was before a zip archive was always outermost; the form of now is TestDecryptZip's.
		"csv zip chunks":  {csv.Stage(), []stage.Definition{zip.Stage(), aesgcm.Chunks()}, "zip", true},
		"csv zstd chunks": {csv.Stage(), []stage.Definition{zstd.Stage(), aesgcm.Chunks()}, "zstd", true},
	} {
		counts := []int{0, 1, 20_000}
		if c.chunks && c.container == "" {
			counts = append(counts, 200_000) // several chunks
		}
		for _, rows := range counts {
			t.Run(fmt.Sprint(name, " ", rows), func(t *testing.T) {
				path, want := deliver(t, rows, c.encoder, c.tail...)
				args := []string{"decrypt", path, "--customer", testCustomer, "--keys", keys, "--expect-run", testRun}
				if c.chunks {
					args = append(args, "--decompress")
				}
				got := call(t, args...)
				if got.code != 0 || got.stdout != want || got.stderr != "" {
					t.Fatalf("exit code %d, %d bytes, expected %d: %s", got.code, len(got.stdout), len(want), got.stderr)
				}
				out := filepath.Join(t.TempDir(), "out")
				if got := call(t, append(args, "-o", out)...); got.code != 0 || read(t, out) != want || got.stdout != "" || !strings.Contains(got.stderr, " opened, proved by ") {
					t.Errorf("to a file: exit code %d: %s%s", got.code, got.stdout, got.stderr)
				}
				if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("the file: %v, %v", info.Mode(), err)
				}
				if c.container == "zstd" {
					return // Python's library has it not
				}
				how := "rows"
				if c.chunks {
					how = "chunks"
				}
				if python(t, independentDecrypt, read(t, path), c.container, currentKey, testCustomer, how) != want {
					t.Error("another implementation reads something else")
				}
			})
		}
	}
}

// TestDecryptZip opens a zip archive of sealed chunks, which hold gzip.
func TestDecryptZip(t *testing.T) {
	for _, rows := range []int{0, 20_000} {
		path, want := deliver(t, rows, csv.Stage(), gzip.Stage(), aesgcm.Chunks(), zip.Stage())
		args := []string{"decrypt", path, "--customer", testCustomer, "--keys", keyFile(t, currentKey), "--expect-run", testRun}
		if got := call(t, append(args, "--decompress")...); got.code != 0 || got.stdout != want || got.stderr != "" {
			t.Errorf("%d rows: exit code %d, %d bytes, want %d: %s", rows, got.code, len(got.stdout), len(want), got.stderr)
		}
		if got := call(t, args...); got.code != 0 || !strings.HasPrefix(got.stdout, "\x1f\x8b") {
			t.Errorf("%d rows: exit code %d, %.10q: %s", rows, got.code, got.stdout, got.stderr)
		}
	}
}

// TestDecryptKeepsContainer leaves what was compressed and then sealed compressed.
func TestDecryptKeepsContainer(t *testing.T) {
	path, want := deliver(t, 5000, csv.Stage(), gzip.Stage(), aesgcm.Chunks())
	got := call(t, "decrypt", path, "--customer", testCustomer, "--keys", keyFile(t, currentKey))
	if got.code != 0 || !strings.HasPrefix(got.stdout, "\x1f\x8b") {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	unzip := exec.CommandContext(t.Context(), "gzip", "-dc")
	unzip.Stdin = strings.NewReader(got.stdout)
	if text, err := unzip.Output(); err != nil || string(text) != want {
		t.Errorf("gzip reads something else: %v", err)
	}
}

// TestDecryptTools opens deliveries that other tools packed.
func TestDecryptTools(t *testing.T) {
	path, want := deliver(t, 5000, ndjson.Stage(), aesgcm.Rows())
	dir := t.TempDir()
	keys := keyFile(t, currentKey)
	for name, args := range map[string][]string{
		"gzip":  {"gzip", "-9c", path},
		"zstd":  {"zstd", "-19qc", path},
		"zip":   {"python3", "-c", "import sys, zipfile; zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_DEFLATED).write(sys.argv[1])", path, dir + "/zip"},
		"plain": {"cat", path},
	} {
		t.Run(name, func(t *testing.T) {
			packed, err := exec.CommandContext(t.Context(), args[0], args[1:]...).Output()
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, name)
			if name != "zip" {
				if err := os.WriteFile(file, packed, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got := call(t, "decrypt", file, "--customer", testCustomer, "--keys", keys)
			if got.code != 0 || got.stdout != want || !strings.Contains(got.stderr, "warning[decrypt.no_receipt]: every line is authentic, but without a receipt it is not proved that the delivery is whole") {
				t.Errorf("exit code %d, %d bytes: %s", got.code, len(got.stdout), got.stderr)
			}
		})
	}
}

// TestDecryptFailures makes sure that nothing appears under the name of the output, and
// that what is wrong is told.
func TestDecryptFailures(t *testing.T) {
	path, want := deliver(t, 20, ndjson.Stage(), aesgcm.Rows())
	lines := strings.SplitAfter(strings.TrimSuffix(read(t, path), "\n"), "\n")
	lines[len(lines)-1] += "\n"
	receipt := path + receiptSuffix
	keys := keyFile(t, currentKey)
	without := func(i int) string { return strings.Join(slices.Delete(slices.Clone(lines), i, i+1), "") }
	for _, c := range []struct {
		name, delivery string
		args           []string
		code           string
		rows           int // written to standard output before
	}{
		{"missing row", without(7), nil, `error\[envelope\.tampered\]: line 8 \(index 7\) does not open .*: it belongs at index 8\n`, 7},
		{"missing last row", without(19), []string{"--receipt", receipt}, `error\[decrypt\.receipt_mismatch\]: the receipt counts 20 sealed lines, but there are 19\n`, 19},
		{"cut row", strings.Join(lines, "")[:1000], nil, `error\[decrypt\.truncated\]: the delivery ends within line \d+ `, -1},
		{"other customer", strings.Join(lines, ""), []string{"--customer", "practice-8"}, `error\[envelope\.tampered\]: .*customer "practice-8"`, 0},
		{"other key", strings.Join(lines, ""), []string{"--keys", keyFile(t, foreignKey)}, `error\[envelope\.foreign_key\]: line 1 \(index 0\) was sealed with key [0-9a-f]{16}, which is not among those given: [0-9a-f]{16}\n`, 0},
		{"not sealed", want, nil, `error\[envelope\.malformed\]: this is not a sealed delivery`, 0},
		{"other receipt", strings.Join(lines, "") + "x", []string{"--receipt", receipt}, `error\[envelope\.malformed\]: line 21 `, 20},
		{"long row", strings.Join(lines, ""), []string{"--max-row-size", "4"}, `error\[decrypt\.line_too_long\]: line 1 `, 0},
		{"empty", "", nil, `error\[decrypt\.empty\]`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "delivery")
			if err := os.WriteFile(file, []byte(c.delivery), 0o600); err != nil {
				t.Fatal(err)
			}
			args := append([]string{"decrypt", file, "--customer", testCustomer, "--keys", keys}, c.args...)
			got := call(t, args...)
			if got.code != exitFailed || !regexp.MustCompile(c.code).MatchString(got.stderr) || !strings.Contains(got.stderr, "  help: ") {
				t.Errorf("exit code %d: %s", got.code, got.stderr)
			}
			if n := strings.Count(got.stdout, "\n"); !strings.HasPrefix(want, got.stdout) || c.rows >= 0 && n != c.rows {
				t.Errorf("%d rows were written, expected %d", n, c.rows)
			}
			old := filepath.Join(dir, "old")
			if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, out := range []string{old, filepath.Join(dir, "new")} {
				if got := call(t, append(args, "-o", out, "--json")...); got.code != exitFailed || got.stdout != "" {
					t.Errorf("to a file: exit code %d: %s", got.code, got.stdout)
				}
			}
			if names := leftovers(t, dir); !slices.Equal(names, []string{"delivery", "old"}) || read(t, old) != "old" {
				t.Errorf("there is %v", names)
			}
		})
	}
}

// TestDecryptWhole refuses what every line by itself allows: lines of another delivery of the same customer, an old
// delivery with a receipt of its own, and one cut short beside a receipt that somebody wrote who lacks the key.
func TestDecryptWhole(t *testing.T) {
	path, want := deliver(t, 20, ndjson.Stage(), aesgcm.Rows())
	other, _ := deliver(t, 20, ndjson.Stage(), aesgcm.Rows())
	cutLines := func(path string) []string { return strings.SplitAfter(read(t, path), "\n") }
	mine, theirs := cutLines(path), cutLines(other)
	short := strings.Join(mine[:10], "")
	sum := sha256.Sum256([]byte(short))
	write := func(statement, mac string) string {
		text, err := json.Marshal(run.Receipt{RunID: testRun, Pipeline: "count", Rows: 10, Bytes: int64(len(short)), SHA256: hex.EncodeToString(sum[:]), Statement: statement, MAC: mac})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	foreign, err := envelope.ParseRing(foreignKey, "")
	if err != nil {
		t.Fatal(err)
	}
	statement, mac, err := foreign.Authenticate(envelope.Statement{RunID: testRun, Procedure: "count", Parameters: strings.Repeat("0", 64),
		Rows: 10, Bytes: int64(len(short)), SHA256: hex.EncodeToString(sum[:]), Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := envelope.ParseRing(currentKey, "")
	if err != nil {
		t.Fatal(err)
	}
	good := read(t, path+receiptSuffix)
	for _, c := range []struct {
		name, delivery, receipt string
		args                    []string
		code                    string
	}{
		{"spliced", strings.Join(mine[:5], "") + strings.Join(theirs[5:], ""), good, nil, "decrypt.receipt_mismatch"},
		{"another delivery", strings.Join(theirs, ""), good, nil, "decrypt.receipt_mismatch"},
		{"cut, receipt as old programs wrote it", short, write("", ""), nil, "decrypt.receipt"},
		{"cut, another key", short, write(statement, mac), nil, "envelope.receipt_foreign"},
		{"cut, another key's mac", short, write(strings.Replace(statement, foreign.Active(), ring.Active(), 1), mac), nil, "envelope.receipt_forged"},
		{"another run", strings.Join(mine, ""), good, []string{"--expect-run", "count_1767225600000_0a1b2c3e"}, "decrypt.other_run"},
		{"old", strings.Join(mine, ""), good, []string{"--newer-than", "2026-01-01T11:00:00+11:00"}, "decrypt.old"},
		{"no receipt, required", strings.Join(mine, ""), "", []string{"--require-receipt"}, "decrypt.no_receipt"},
		{"no receipt, a run expected", strings.Join(mine, ""), "", []string{"--expect-run", testRun}, "decrypt.no_receipt"},
		{"no receipt, newer", strings.Join(mine, ""), "", []string{"--newer-than", "2026-01-01"}, "decrypt.no_receipt"},
		{"", strings.Join(mine, ""), good, []string{"--newer-than", "2025-12-31T23:59:59.999Z", "--expect-run", testRun, "--require-receipt"}, ""},
		{"", strings.ReplaceAll(strings.Join(mine, ""), "\n", "\r\n"), "", nil, ""},
		{"", strings.ReplaceAll(strings.ReplaceAll(strings.Join(mine, ""), `":"`, `" : "`), `"}`, `" }`), "", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			file, out := filepath.Join(dir, "delivery"), filepath.Join(dir, "out")
			for name, content := range map[string]string{file: c.delivery, file + receiptSuffix: c.receipt} {
				if content == "" {
					continue
				}
				if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := append([]string{"decrypt", file, "--customer", testCustomer, "--keys", keyFile(t, currentKey)}, c.args...)
			streamed, filed := call(t, args...), call(t, append(args, "-o", out)...)
			if c.code == "" {
				if streamed.code != 0 || streamed.stdout != want || filed.code != 0 || read(t, out) != want {
					t.Errorf("exit codes %d, %d: %s%s", streamed.code, filed.code, streamed.stderr, filed.stderr)
				}
				return
			}
			for _, got := range []result{streamed, filed} {
				if got.code == 0 || !strings.Contains(got.stderr, "error["+c.code+"]") || !strings.Contains(got.stderr, "  help: ") {
					t.Errorf("exit code %d: %s", got.code, got.stderr)
				}
			}
			if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the file is there: %v", err)
			}
		})
	}
	if err := syscall.Mkfifo(other+".pipe"+receiptSuffix, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, other+".pipe"); err != nil {
		t.Fatal(err)
	}
	if got := call(t, "decrypt", other+".pipe", "--customer", testCustomer, "--keys", keyFile(t, currentKey)); got.code != exitUsage || !strings.Contains(got.stderr, "is not a file") {
		t.Errorf("a pipe for a receipt: exit code %d: %s", got.code, got.stderr)
	}
}

func TestDecryptJSON(t *testing.T) {
	path, want := deliver(t, 20, ndjson.Stage(), aesgcm.Rows(), gzip.Stage())
	out := filepath.Join(t.TempDir(), "out")
	args := []string{"decrypt", path, "--customer", testCustomer, "--keys", keyFile(t, currentKey), "--json", "-o", out}
	got := call(t, args...)
	var result map[string]any
	var warned struct {
		Warning struct {
			Code             string
			Proved, Unproved []string
		}
	}
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.code != 0 {
		t.Fatalf("exit code %d, %v: %s%s", got.code, err, got.stdout, got.stderr)
	}
	whole, fresh := []any{"whole", "one_run"}, []any{"fresh"}
	if !reflect.DeepEqual(result["proved"], whole) || !reflect.DeepEqual(result["unproved"], fresh) || result["run_id"] != testRun || result["time"] != "2026-01-01T00:00:00Z" {
		t.Errorf("got %v", result)
	}
	if json.Unmarshal([]byte(got.stderr), &warned) != nil || warned.Warning.Code != "decrypt.freshness" || !slices.Equal(warned.Warning.Unproved, []string{"fresh"}) {
		t.Errorf("not proved: %s", got.stderr)
	}
	if got := call(t, append(args, "--newer-than", "2025-12-31")...); got.code != 0 || got.stderr != "" || !strings.Contains(got.stdout, `"unproved": []`) {
		t.Errorf("all is proved: %s%s", got.stdout, got.stderr)
	}
	if result["units"] != 20.0 || result["container"] != "gzip" || result["output"] != out || result["receipt"] != path+receiptSuffix || result["output_bytes"] != float64(len(want)) {
		t.Errorf("got %v", result)
	}
	if err := os.Remove(path + receiptSuffix); err != nil {
		t.Fatal(err)
	}
	if got := call(t, args...); got.code != 0 || json.Unmarshal([]byte(got.stderr), &warned) != nil || warned.Warning.Code != "decrypt.no_receipt" ||
		len(warned.Warning.Proved) > 0 || !slices.Equal(warned.Warning.Unproved, []string{"whole", "one_run", "fresh"}) {
		t.Errorf("without a receipt: %s", got.stderr)
	}
}

// TestDecryptUsage holds what is refused before anything is read.
func TestDecryptUsage(t *testing.T) {
	t.Setenv(envKeys, "")
	golden(t, "help_decrypt.txt", call(t, "help", "decrypt").stdout)
	dir := t.TempDir()
	file := filepath.Join(dir, "delivery")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "receipt")
	if err := os.WriteFile(bad, []byte(`{"rows":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := keyFile(t, currentKey)
	for _, c := range []struct{ name, args, want string }{
		{"two files", "a b --customer x", `takes one file, but got 2`},
		{"no customer", file + " --keys " + keys, `no customer is given`},
		{"bad customer", file + " --customer \x01 --keys " + keys, `\[envelope\.customer\]`},
		{"no keys", file + " --customer x", `no keys are given\n  help: set CIPHERSTREAM_KEYS`},
		{"a key", file + " --customer x --keys " + currentKey, `a key was given where a reference to one is expected`},
		{"a path", file + " --customer x --keys keys.txt", `begins with env:, file: or command:`},
		{"no file of keys", file + " --customer x --keys file:" + dir + "/no", `no such file`},
		{"bad keys", file + " --customer x --keys file:" + bad, `line 1 of the keys: its 10 characters are not standard base64`},
		{"no delivery", dir + "/no --customer x --keys " + keys, `the delivery cannot be read: .*no such file`},
		{"a folder", dir + " --customer x --keys " + keys, `is a folder`},
		{"no receipt", file + " --customer x --keys " + keys + " --receipt " + dir + "/no", `the receipt cannot be read`},
		{"bad receipt", file + " --customer x --keys " + keys + " --receipt " + bad, `\[decrypt\.receipt\]: .*it is not authenticated: expected the members "statement" and "mac"\n  receipt: ` + bad},
		{"no time", file + " --customer x --keys " + keys + " --newer-than yesterday", `--newer-than is "yesterday", which is no time`},
		{"output on the delivery", file + " --customer x --keys " + keys + " -o " + dir + "/link", `would replace the delivery`},
		{"output on a folder", file + " --customer x --keys " + keys + " -o " + dir, `it is not a file`},
		{"output without folder", file + " --customer x --keys " + keys + " -o " + dir + "/no/x", `the output cannot be written`},
		{"empty output", file + " --customer x --keys " + keys + " --output=", `--output names no file`},
		{"size", file + " --customer x --keys " + keys + " --max-row-size big", `--max-row-size: "big" is not a size`},
		{"too large a size", file + " --customer x --keys " + keys + " --max-row-size 2GiB", `from 1 to 1GiB`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := call(t, append([]string{"decrypt"}, strings.Fields(c.args)...)...)
			if got.code != exitUsage || got.stdout != "" || !regexp.MustCompile(c.want).MatchString(got.stderr) {
				t.Errorf("exit code %d: %s%s", got.code, got.stdout, got.stderr)
			}
			if strings.Contains(got.stderr, currentKey[:12]) {
				t.Errorf("the key is shown: %s", got.stderr)
			}
		})
	}
	if names := leftovers(t, dir); len(names) != 3 {
		t.Errorf("something was left behind: %v", names)
	}
}

// TestDecryptEnvironment takes the keys from the environment, and the delivery from
// standard input.
func TestDecryptEnvironment(t *testing.T) {
	path, want := deliver(t, 20, ndjson.Stage(), aesgcm.Rows())
	p := start(t, []string{envKeys + "=" + currentKey + "," + oldKey}, "decrypt", "--customer", testCustomer, "--receipt", path+receiptSuffix, "--expect-run", testRun)
	p.Stdin = strings.NewReader(read(t, path))
	var out bytes.Buffer
	p.Stdout = &out
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != 0 || out.String() != want || p.errs.Len() > 0 {
		t.Errorf("exit code %d: %s", code, p.errs.String())
	}
}

// TestDecryptInterrupted interrupts a command that waits for its input, and one whose
// reader has stopped reading.
func TestDecryptInterrupted(t *testing.T) {
	path, _ := deliver(t, 30_000, ndjson.Stage(), aesgcm.Rows())
	keys := keyFile(t, currentKey)
	t.Run("input", func(t *testing.T) {
		dir := t.TempDir()
		p := start(t, nil, "decrypt", "-", "--customer", testCustomer, "--keys", keys, "-o", filepath.Join(dir, "out"))
		in, err := p.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		// More than a pipe holds: when it is gone, the command is at work.
		if _, err := io.WriteString(in, read(t, path)[:1<<20]); err != nil {
			t.Fatal(err)
		}
		if err := p.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if code := p.wait(t); code != exitInterrupted || !strings.Contains(p.errs.String(), "[cli.interrupted]") {
			t.Errorf("exit code %d: %s", code, p.errs.String())
		}
		if names := leftovers(t, dir); len(names) > 0 {
			t.Errorf("something was left behind: %v", names)
		}
	})
	t.Run("output", func(t *testing.T) {
		p := start(t, nil, "decrypt", path, "--customer", testCustomer, "--keys", keys)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		p.Stdout = w
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := p.wait(t); code != exitInterrupted {
			t.Errorf("exit code %d: %s", code, p.errs.String())
		}
	})
	t.Run("closed output", func(t *testing.T) {
		p := start(t, nil, "decrypt", path, "--customer", testCustomer, "--keys", keys)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		p.Stdout = w
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if code := p.wait(t); code != exitPipe || p.errs.Len() != 0 {
			t.Errorf("exit code %d: %s", code, p.errs.String())
		}
	})
}

// TestDecryptFullDisk fails when the output does.
func TestDecryptFullDisk(t *testing.T) {
	path, _ := deliver(t, 20, ndjson.Stage(), aesgcm.Rows())
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		// Only Linux has it.
		full, err = os.Open(os.DevNull) // not open for writing
	}
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	out := &output{file: full}
	if _, err := out.Write([]byte("x")); !fault.Is(err, codeOutput) || fault.From(err).Class != fault.Sink {
		t.Errorf("got %v", err)
	}
	p := start(t, nil, "decrypt", path, "--customer", testCustomer, "--keys", keyFile(t, currentKey))
	p.Stdout = full
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != exitFailed || !strings.Contains(p.errs.String(), "error[cli.output]: standard output cannot be written") {
		t.Errorf("exit code %d: %s", code, p.errs.String())
	}
}
