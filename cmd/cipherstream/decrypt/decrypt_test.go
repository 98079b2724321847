package decrypt

import (
	"bytes"
	"crypto/sha256"
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

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/golden"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/integration/python"
	"github.com/cipherstream/cipherstream/plugins/aesgcm"
	"github.com/cipherstream/cipherstream/plugins/csv"
	"github.com/cipherstream/cipherstream/plugins/gzip"
	"github.com/cipherstream/cipherstream/plugins/ndjson"
	"github.com/cipherstream/cipherstream/plugins/zip"
	"github.com/cipherstream/cipherstream/plugins/zstd"
	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

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

// TestDecryptDeliveries opens what the stages make, in every order that a pipeline may
// have them in, and holds the result against another implementation.
func TestDecryptDeliveries(t *testing.T) {
	keys := cmdtest.KeyFile(t, cmdtest.OldKey, cmdtest.CurrentKey)
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
				path, want := cmdtest.Deliver(t, rows, c.encoder, c.tail...)
				args := []string{"decrypt", path, "--customer", cmdtest.Customer, "--keys", keys, "--expect-run", cmdtest.Run}
				if c.chunks {
					args = append(args, "--decompress")
				}
				got := cmdtest.Call(t, args...)
				if got.Code != 0 || got.Stdout != want || got.Stderr != "" {
					t.Fatalf("exit code %d, %d bytes, expected %d: %s", got.Code, len(got.Stdout), len(want), got.Stderr)
				}
				out := filepath.Join(t.TempDir(), "out")
				if got := cmdtest.Call(t, append(args, "-o", out)...); got.Code != 0 || cmdtest.Read(t, out) != want || got.Stdout != "" || !strings.Contains(got.Stderr, " opened, proved by ") {
					t.Errorf("to a file: exit code %d: %s%s", got.Code, got.Stdout, got.Stderr)
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
				if string(python.Script(t, independentDecrypt, []byte(cmdtest.Read(t, path)), c.container, cmdtest.CurrentKey, cmdtest.Customer, how)) != want {
					t.Error("another implementation reads something else")
				}
			})
		}
	}
}

// TestDecryptZip opens a zip archive of sealed chunks, which hold gzip.
func TestDecryptZip(t *testing.T) {
	for _, rows := range []int{0, 20_000} {
		path, want := cmdtest.Deliver(t, rows, csv.Stage(), gzip.Stage(), aesgcm.Chunks(), zip.Stage())
		args := []string{"decrypt", path, "--customer", cmdtest.Customer, "--keys", cmdtest.KeyFile(t, cmdtest.CurrentKey), "--expect-run", cmdtest.Run}
		if got := cmdtest.Call(t, append(args, "--decompress")...); got.Code != 0 || got.Stdout != want || got.Stderr != "" {
			t.Errorf("%d rows: exit code %d, %d bytes, want %d: %s", rows, got.Code, len(got.Stdout), len(want), got.Stderr)
		}
		if got := cmdtest.Call(t, args...); got.Code != 0 || !strings.HasPrefix(got.Stdout, "\x1f\x8b") {
			t.Errorf("%d rows: exit code %d, %.10q: %s", rows, got.Code, got.Stdout, got.Stderr)
		}
	}
}

// TestDecryptKeepsContainer leaves what was compressed and then sealed compressed.
func TestDecryptKeepsContainer(t *testing.T) {
	path, want := cmdtest.Deliver(t, 5000, csv.Stage(), gzip.Stage(), aesgcm.Chunks())
	got := cmdtest.Call(t, "decrypt", path, "--customer", cmdtest.Customer, "--keys", cmdtest.KeyFile(t, cmdtest.CurrentKey))
	if got.Code != 0 || !strings.HasPrefix(got.Stdout, "\x1f\x8b") {
		t.Fatalf("exit code %d: %s", got.Code, got.Stderr)
	}
	unzip := exec.CommandContext(t.Context(), "gzip", "-dc")
	unzip.Stdin = strings.NewReader(got.Stdout)
	if text, err := unzip.Output(); err != nil || string(text) != want {
		t.Errorf("gzip reads something else: %v", err)
	}
}

// TestDecryptTools opens deliveries that other tools packed.
func TestDecryptTools(t *testing.T) {
	path, want := cmdtest.Deliver(t, 5000, ndjson.Stage(), aesgcm.Rows())
	dir := t.TempDir()
	keys := cmdtest.KeyFile(t, cmdtest.CurrentKey)
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
			got := cmdtest.Call(t, "decrypt", file, "--customer", cmdtest.Customer, "--keys", keys)
			if got.Code != 0 || got.Stdout != want || !strings.Contains(got.Stderr, "warning[decrypt.no_receipt]: every line is authentic, but without a receipt it is not proved that the delivery is whole") {
				t.Errorf("exit code %d, %d bytes: %s", got.Code, len(got.Stdout), got.Stderr)
			}
		})
	}
}

// TestDecryptFailures makes sure that nothing appears under the name of the output, and
// that what is wrong is told.
func TestDecryptFailures(t *testing.T) {
	path, want := cmdtest.Deliver(t, 20, ndjson.Stage(), aesgcm.Rows())
	lines := strings.SplitAfter(strings.TrimSuffix(cmdtest.Read(t, path), "\n"), "\n")
	lines[len(lines)-1] += "\n"
	receipt := path + receiptSuffix
	keys := cmdtest.KeyFile(t, cmdtest.CurrentKey)
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
		{"other key", strings.Join(lines, ""), []string{"--keys", cmdtest.KeyFile(t, cmdtest.ForeignKey)}, `error\[envelope\.foreign_key\]: line 1 \(index 0\) was sealed with key [0-9a-f]{16}, which is not among those given: [0-9a-f]{16}\n`, 0},
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
			args := append([]string{"decrypt", file, "--customer", cmdtest.Customer, "--keys", keys}, c.args...)
			got := cmdtest.Call(t, args...)
			if got.Code != terminal.ExitFailed || !regexp.MustCompile(c.code).MatchString(got.Stderr) || !strings.Contains(got.Stderr, "  help: ") {
				t.Errorf("exit code %d: %s", got.Code, got.Stderr)
			}
			if n := strings.Count(got.Stdout, "\n"); !strings.HasPrefix(want, got.Stdout) || c.rows >= 0 && n != c.rows {
				t.Errorf("%d rows were written, expected %d", n, c.rows)
			}
			old := filepath.Join(dir, "old")
			if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, out := range []string{old, filepath.Join(dir, "new")} {
				if got := cmdtest.Call(t, append(args, "-o", out, "--json")...); got.Code != terminal.ExitFailed || got.Stdout != "" {
					t.Errorf("to a file: exit code %d: %s", got.Code, got.Stdout)
				}
			}
			if names := cmdtest.Leftovers(t, dir); !slices.Equal(names, []string{"delivery", "old"}) || cmdtest.Read(t, old) != "old" {
				t.Errorf("there is %v", names)
			}
		})
	}
}

// TestDecryptWhole refuses what every line by itself allows: lines of another delivery of the same customer, an old
// delivery with a receipt of its own, and one cut short beside a receipt that somebody wrote who lacks the key.
func TestDecryptWhole(t *testing.T) {
	path, want := cmdtest.Deliver(t, 20, ndjson.Stage(), aesgcm.Rows())
	other, _ := cmdtest.Deliver(t, 20, ndjson.Stage(), aesgcm.Rows())
	cutLines := func(path string) []string { return strings.SplitAfter(cmdtest.Read(t, path), "\n") }
	mine, theirs := cutLines(path), cutLines(other)
	short := strings.Join(mine[:10], "")
	sum := sha256.Sum256([]byte(short))
	write := func(statement, mac string) string {
		text, err := json.Marshal(engine.Receipt{RunID: cmdtest.Run, Pipeline: "count", Rows: 10, Bytes: int64(len(short)), SHA256: hex.EncodeToString(sum[:]), Statement: statement, MAC: mac})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	foreign, err := envelope.ParseRing(cmdtest.ForeignKey, "")
	if err != nil {
		t.Fatal(err)
	}
	statement, mac, err := foreign.Authenticate(envelope.Statement{RunID: cmdtest.Run, Procedure: "count", Parameters: strings.Repeat("0", 64),
		Rows: 10, Bytes: int64(len(short)), SHA256: hex.EncodeToString(sum[:]), Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := envelope.ParseRing(cmdtest.CurrentKey, "")
	if err != nil {
		t.Fatal(err)
	}
	good := cmdtest.Read(t, path+receiptSuffix)
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
		{"no receipt, a run expected", strings.Join(mine, ""), "", []string{"--expect-run", cmdtest.Run}, "decrypt.no_receipt"},
		{"no receipt, newer", strings.Join(mine, ""), "", []string{"--newer-than", "2026-01-01"}, "decrypt.no_receipt"},
		{"", strings.Join(mine, ""), good, []string{"--newer-than", "2025-12-31T23:59:59.999Z", "--expect-run", cmdtest.Run, "--require-receipt"}, ""},
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
			args := append([]string{"decrypt", file, "--customer", cmdtest.Customer, "--keys", cmdtest.KeyFile(t, cmdtest.CurrentKey)}, c.args...)
			streamed, filed := cmdtest.Call(t, args...), cmdtest.Call(t, append(args, "-o", out)...)
			if c.code == "" {
				if streamed.Code != 0 || streamed.Stdout != want || filed.Code != 0 || cmdtest.Read(t, out) != want {
					t.Errorf("exit codes %d, %d: %s%s", streamed.Code, filed.Code, streamed.Stderr, filed.Stderr)
				}
				return
			}
			for _, got := range []cmdtest.Result{streamed, filed} {
				if got.Code == 0 || !strings.Contains(got.Stderr, "error["+c.code+"]") || !strings.Contains(got.Stderr, "  help: ") {
					t.Errorf("exit code %d: %s", got.Code, got.Stderr)
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
	if got := cmdtest.Call(t, "decrypt", other+".pipe", "--customer", cmdtest.Customer, "--keys", cmdtest.KeyFile(t, cmdtest.CurrentKey)); got.Code != terminal.ExitUsage || !strings.Contains(got.Stderr, "is not a file") {
		t.Errorf("a pipe for a receipt: exit code %d: %s", got.Code, got.Stderr)
	}
}

func TestDecryptJSON(t *testing.T) {
	path, want := cmdtest.Deliver(t, 20, ndjson.Stage(), aesgcm.Rows(), gzip.Stage())
	out := filepath.Join(t.TempDir(), "out")
	args := []string{"decrypt", path, "--customer", cmdtest.Customer, "--keys", cmdtest.KeyFile(t, cmdtest.CurrentKey), "--json", "-o", out}
	got := cmdtest.Call(t, args...)
	var result map[string]any
	var warned struct {
		Warning struct {
			Code             string
			Proved, Unproved []string
		}
	}
	if err := json.Unmarshal([]byte(got.Stdout), &result); err != nil || got.Code != 0 {
		t.Fatalf("exit code %d, %v: %s%s", got.Code, err, got.Stdout, got.Stderr)
	}
	whole, fresh := []any{"whole", "one_run"}, []any{"fresh"}
	if !reflect.DeepEqual(result["proved"], whole) || !reflect.DeepEqual(result["unproved"], fresh) || result["run_id"] != cmdtest.Run || result["time"] != "2026-01-01T00:00:00Z" {
		t.Errorf("got %v", result)
	}
	if json.Unmarshal([]byte(got.Stderr), &warned) != nil || warned.Warning.Code != "decrypt.freshness" || !slices.Equal(warned.Warning.Unproved, []string{"fresh"}) {
		t.Errorf("not proved: %s", got.Stderr)
	}
	if got := cmdtest.Call(t, append(args, "--newer-than", "2025-12-31")...); got.Code != 0 || got.Stderr != "" || !strings.Contains(got.Stdout, `"unproved": []`) {
		t.Errorf("all is proved: %s%s", got.Stdout, got.Stderr)
	}
	if result["units"] != 20.0 || result["container"] != "gzip" || result["output"] != out || result["receipt"] != path+receiptSuffix || result["output_bytes"] != float64(len(want)) {
		t.Errorf("got %v", result)
	}
	if err := os.Remove(path + receiptSuffix); err != nil {
		t.Fatal(err)
	}
	if got := cmdtest.Call(t, args...); got.Code != 0 || json.Unmarshal([]byte(got.Stderr), &warned) != nil || warned.Warning.Code != "decrypt.no_receipt" ||
		len(warned.Warning.Proved) > 0 || !slices.Equal(warned.Warning.Unproved, []string{"whole", "one_run", "fresh"}) {
		t.Errorf("without a receipt: %s", got.Stderr)
	}
}

// TestDecryptUsage holds what is refused before anything is read.
func TestDecryptUsage(t *testing.T) {
	t.Setenv(session.EnvKeys, "")
	golden.Compare(t, "help_decrypt.txt", cmdtest.Call(t, "help", "decrypt").Stdout)
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
	keys := cmdtest.KeyFile(t, cmdtest.CurrentKey)
	for _, c := range []struct{ name, args, want string }{
		{"two files", "a b --customer x", `takes one file, but got 2`},
		{"no customer", file + " --keys " + keys, `no customer is given`},
		{"bad customer", file + " --customer \x01 --keys " + keys, `\[envelope\.customer\]`},
		{"no keys", file + " --customer x", `no keys are given\n  help: set CIPHERSTREAM_KEYS`},
		{"a key", file + " --customer x --keys " + cmdtest.CurrentKey, `a key was given where a reference to one is expected`},
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
			got := cmdtest.Call(t, append([]string{"decrypt"}, strings.Fields(c.args)...)...)
			if got.Code != terminal.ExitUsage || got.Stdout != "" || !regexp.MustCompile(c.want).MatchString(got.Stderr) {
				t.Errorf("exit code %d: %s%s", got.Code, got.Stdout, got.Stderr)
			}
			if strings.Contains(got.Stderr, cmdtest.CurrentKey[:12]) {
				t.Errorf("the key is shown: %s", got.Stderr)
			}
		})
	}
	if names := cmdtest.Leftovers(t, dir); len(names) != 3 {
		t.Errorf("something was left behind: %v", names)
	}
}

// TestDecryptEnvironment takes the keys from the environment, and the delivery from
// standard input.
func TestDecryptEnvironment(t *testing.T) {
	path, want := cmdtest.Deliver(t, 20, ndjson.Stage(), aesgcm.Rows())
	p := cmdtest.Start(t, []string{session.EnvKeys + "=" + cmdtest.CurrentKey + "," + cmdtest.OldKey}, "decrypt", "--customer", cmdtest.Customer, "--receipt", path+receiptSuffix, "--expect-run", cmdtest.Run)
	p.Stdin = strings.NewReader(cmdtest.Read(t, path))
	var out bytes.Buffer
	p.Stdout = &out
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if code := p.ExitCode(t); code != 0 || out.String() != want || p.Errs.Len() > 0 {
		t.Errorf("exit code %d: %s", code, p.Errs.String())
	}
}

// TestDecryptInterrupted interrupts a command that waits for its input, and one whose
// reader has stopped reading.
func TestDecryptInterrupted(t *testing.T) {
	path, _ := cmdtest.Deliver(t, 30_000, ndjson.Stage(), aesgcm.Rows())
	keys := cmdtest.KeyFile(t, cmdtest.CurrentKey)
	t.Run("input", func(t *testing.T) {
		dir := t.TempDir()
		p := cmdtest.Start(t, nil, "decrypt", "-", "--customer", cmdtest.Customer, "--keys", keys, "-o", filepath.Join(dir, "out"))
		in, err := p.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		// More than a pipe holds: when it is gone, the command is at work.
		if _, err := io.WriteString(in, cmdtest.Read(t, path)[:1<<20]); err != nil {
			t.Fatal(err)
		}
		if err := p.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if code := p.ExitCode(t); code != terminal.ExitInterrupted || !strings.Contains(p.Errs.String(), "[cli.interrupted]") {
			t.Errorf("exit code %d: %s", code, p.Errs.String())
		}
		if names := cmdtest.Leftovers(t, dir); len(names) > 0 {
			t.Errorf("something was left behind: %v", names)
		}
	})
	t.Run("output", func(t *testing.T) {
		p := cmdtest.Start(t, nil, "decrypt", path, "--customer", cmdtest.Customer, "--keys", keys)
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
		if code := p.ExitCode(t); code != terminal.ExitInterrupted {
			t.Errorf("exit code %d: %s", code, p.Errs.String())
		}
	})
	t.Run("closed output", func(t *testing.T) {
		p := cmdtest.Start(t, nil, "decrypt", path, "--customer", cmdtest.Customer, "--keys", keys)
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
		if code := p.ExitCode(t); code != terminal.ExitPipe || p.Errs.Len() != 0 {
			t.Errorf("exit code %d: %s", code, p.Errs.String())
		}
	})
}

// TestDecryptFullDisk fails when the output does.
func TestDecryptFullDisk(t *testing.T) {
	path, _ := cmdtest.Deliver(t, 20, ndjson.Stage(), aesgcm.Rows())
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		// Only Linux has it.
		full, err = os.Open(os.DevNull) // not open for writing
	}
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	out, err := session.OpenOutput(terminal.New(terminal.Streams{Out: full}, false), "-", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write([]byte("x")); !fault.Is(err, terminal.CodeOutput) || fault.From(err).Class != fault.Sink {
		t.Errorf("got %v", err)
	}
	p := cmdtest.Start(t, nil, "decrypt", path, "--customer", cmdtest.Customer, "--keys", cmdtest.KeyFile(t, cmdtest.CurrentKey))
	p.Stdout = full
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if code := p.ExitCode(t); code != terminal.ExitFailed || !strings.Contains(p.Errs.String(), "error[cli.output]: standard output cannot be written") {
		t.Errorf("exit code %d: %s", code, p.Errs.String())
	}
}
