package main

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/plugins/aesgcm"
	"github.com/cipherstream/cipherstream/plugins/ndjson"
	"github.com/cipherstream/cipherstream/sdk/webhook"
)

// writers are command lines that write to standard output, of every command. DSN is a server's URL.
func writers(t *testing.T, dsn string) map[string][]string {
	t.Helper()
	sealed, _ := cmdtest.Deliver(t, 20, ndjson.Stage(), aesgcm.Rows())
	document := serviceDocument(t)
	t.Setenv("CIPHERSTREAM_API_KEY", "cs_live_x")
	t.Setenv("CIPHERSTREAM_WEBHOOK_SECRETS", webhook.NewSecret())
	event := filepath.Join(t.TempDir(), "event")
	if err := os.WriteFile(event, []byte("Webhook-Id: del_1\n\n{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := map[string][]string{}
	for _, line := range []string{
		"", "help", "help run", "run --help", "help exit-codes", "version", "version --json", "list", "list --json",
		"describe appointments", "describe appointments --json", "describe --markdown appointments",
		"plan appointments", "plan appointments --json", "lint appointments", "lint --json appointments", "lint --sarif pipeline/testdata/bad.yaml", "schema",
		"expr n*2 --row {\"n\":1}", "expr n*2 --json --row {\"n\":1}", "expr --functions",
		"test ../../examples/pipelines/contact_list.test.yaml", "test --json ../../examples/pipelines/contact_list.test.yaml",
		"plugin list", "plugin list --json", "plugin info cipherstream", "plugin verify --json --plugins " + t.TempDir(), "completion bash", "completion zsh", "__complete run app",
		"plugin new upper --kind filter --dir " + filepath.Join(t.TempDir(), "upper"),
		"sandbox --patients 2 --appointments 2", "sweep --bucket " + t.TempDir(), "check appointments --dsn " + dsn, "check appointments --json --dsn " + dsn,
		"inspect --dsn " + dsn, "inspect --json --dsn " + dsn, "init patient --dsn " + dsn + " -o " + filepath.Join(t.TempDir(), "patient.yaml"),
		"init patient --json --dsn " + dsn + " -o " + filepath.Join(t.TempDir(), "patient.yaml"),
		"config check " + document, "config print " + document, "config schema", "serve --sandbox --sandbox-scale 1 --listen 127.0.0.1:0",
		"key create clinic --config " + document, "key list --json --config " + document,
		"customer list --config " + document, "customer disable clinic --config " + document, "customer enable clinic --json --config " + document,
		"customer key new clinic --config " + document, "customer key list clinic --config " + document,
		"call patients --customer clinic --server " + fakeService(t), "call patients --json --customer clinic -o " + filepath.Join(t.TempDir(), "called") + " --server " + fakeService(t),
		"doctor --config " + document, "doctor --json --config " + document, "jobs list --customer clinic --server " + fakeService(t),
		"jobs list --json --customer clinic --server " + fakeService(t),
		"schedule list --customer clinic --server " + fakeService(t), "schedule list --json --customer clinic --server " + fakeService(t),
		"webhook listen --plain --listen 127.0.0.1:0", "webhook verify " + event, "webhook verify --json " + event,
		"docs", "docs --json", "docs where", "docs faults", "docs faults --json", "docs --http 127.0.0.1:0", "docs fault mysql.auth",
		"docs fault mysql.auth --json", "docs search certificate", "docs search certificate --json",
		"run appointments --progress none --dsn " + dsn, "run appointments --json --isolation none --dsn " + dsn,
		"run appointments --progress none --dsn " + dsn + " --job --bucket " + t.TempDir(),
		"decrypt " + sealed + " --customer " + cmdtest.Customer + " --keys " + cmdtest.KeyFile(t, cmdtest.CurrentKey) + " --newer-than 2025-12-31",
		"decrypt --json " + sealed + " --customer " + cmdtest.Customer + " --keys " + cmdtest.KeyFile(t, cmdtest.CurrentKey) + " --newer-than 2025-12-31" + " -o " + filepath.Join(t.TempDir(), "opened"),
	} {
		lines[line] = strings.Fields(line)
	}
	return lines
}

// serviceDocument is a document of kind Service with one customer, clinic, whose service does not run.
func serviceDocument(t *testing.T) string {
	t.Helper()
	t.Setenv("CLINIC_DSN", "mysql://nobody:x@127.0.0.1:1/x")
	path := filepath.Join(t.TempDir(), "service.yaml")
	const text = `apiVersion: cipherstream/v1
kind: Service
metadata: {name: production}
spec:
  state: state
  customers: [{id: clinic, name: Clinic, dsn: "env:CLINIC_DSN"}]
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fakeService answers every request of a procedure with one row, and returns its URL.
func fakeService(t *testing.T) string {
	t.Helper()
	const rows = "{\"a\":1}\n"
	sum := sha256.Sum256([]byte(rows))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/x-ndjson")
		h.Set("X-CipherStream-Mode", "stream")
		h.Set("X-CipherStream-Rows", "1")
		h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
		_, _ = io.WriteString(w, rows)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// elsewhere are commands of which what they say goes the way of the others; to try them takes a server, or what another
// command made.
var elsewhere = []string{
	"lsp", "plugin dev", "plugin install", "plugin remove", "plugin replay", "plugin test", "sandbox load",
	"key revoke", "key rotate", "customer key activate", "customer key retire", "state backup", "state restore", "state move",
	"jobs get", "jobs watch", "jobs cancel", "jobs download", "worker", "schedule get", "schedule put", "schedule delete",
	"schedule run", "schedule reset",
	"maintenance announce", "webhook delete", "webhook deliveries", "webhook get", "webhook retry", "webhook secret activate", "webhook secret rotate", "webhook set", "webhook test",
	"data-stream set", "data-stream get", "data-stream status", "data-stream enable", "data-stream disable", "data-stream reset", "data-stream check",
}

// TestWritersAreAll: a new command is tried with an output that is full, and with one that nobody reads.
func TestWritersAreAll(t *testing.T) {
	lines := writers(t, "mysql://x")
	for _, path := range leaves(tree()) {
		tried := slices.Contains(elsewhere, path)
		for line := range lines {
			tried = tried || strings.HasPrefix(line+" ", path+" ")
		}
		if !tried {
			t.Errorf("nothing tries %s", path)
		}
	}
}

// TestFullOutput: no command succeeds when what it says cannot be written.
func TestFullOutput(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("only Linux has such a device")
	}
	defer full.Close()
	for line, args := range writers(t, cmdtest.Practice(t, sandbox.Options{Patients: 2, Appointments: 3})) {
		t.Run(line, func(t *testing.T) {
			p := cmdtest.Start(t, nil, args...)
			p.Stdout = full
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			code := p.ExitCode(t)
			coded := strings.Contains(p.Errs.String(), terminal.CodeOutput) || strings.Contains(p.Errs.String(), "sink.disk_full")
			if code != terminal.ExitFailed || !coded || !strings.Contains(p.Errs.String(), "no space left on device") {
				t.Errorf("exit code %d: %s", code, p.Errs.String())
			}
		})
	}
}

// TestReaderGone is "… | true": every command ends without a word, as SIGPIPE would end it.
func TestReaderGone(t *testing.T) {
	for line, args := range writers(t, cmdtest.Practice(t, sandbox.Options{Patients: 2, Appointments: 3})) {
		t.Run(line, func(t *testing.T) {
			p := cmdtest.Start(t, nil, args...)
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
			code := p.ExitCode(t)
			// The library that completes says this first in any case; shells throw it away.
			errs := strings.TrimPrefix(p.Errs.String(), "Completion ended with directive: ShellCompDirectiveNoFileComp\n")
			if strings.HasPrefix(line, "run appointments --json") {
				errs = "" // the events of the run
			}
			if code != terminal.ExitPipe || errs != "" {
				t.Errorf("exit code %d: %s", code, errs)
			}
		})
	}
}

// TestReaderGoneUnderGoRun: "go run" says something on standard error after every other exit code.
func TestReaderGoneUnderGoRun(t *testing.T) {
	for _, folder := range []string{"go-build123/b001/exe", "cache/0f/" + strings.Repeat("0f", 32) + "-d"} {
		p := cmdtest.Start(t, nil, "list")
		program := filepath.Join(t.TempDir(), folder, "cipherstream")
		if err := os.MkdirAll(filepath.Dir(program), 0o700); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(p.Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(program, content, 0o700); err != nil {
			t.Fatal(err)
		}
		p.Path = program
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
		if code := p.ExitCode(t); code != terminal.ExitDone || p.Errs.Len() != 0 {
			t.Errorf("%s: exit code %d: %s", folder, code, p.Errs.String())
		}
	}
}

// TestClosedOutput: rows, receipts and keys that are shown once do not vanish in a standard output that was closed from the beginning; the
// server is not even asked. A /dev/null of the user's own is as good as any file.
func TestClosedOutput(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 16)
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			conn.Close()
			asked <- struct{}{}
		}
	}()
	defer server.Close()
	nowhere := "mysql://nobody:x@" + server.Addr().String() + "/x?tls=disabled"
	sealed, _ := cmdtest.Deliver(t, 20, ndjson.Stage(), aesgcm.Rows())
	bucket := t.TempDir()
	document := serviceDocument(t)
	t.Setenv("CIPHERSTREAM_API_KEY", "cs_live_x")
	decrypt := []string{"decrypt", sealed, "--customer", cmdtest.Customer, "--keys", cmdtest.KeyFile(t, cmdtest.CurrentKey), "--newer-than", "2025-12-31"}
	for _, c := range []struct {
		args []string
		hint string
	}{
		{[]string{"run", "practitioners", "--dsn", nowhere}, "-o /dev/null"},
		{[]string{"run", "practitioners", "--dsn", nowhere, "--isolation", "none"}, "-o /dev/null"},
		{[]string{"run", "practitioners", "--dsn", nowhere, "--job", "--bucket", bucket}, "--summary FILE"},
		{decrypt, "-o /dev/null"},
		{[]string{"call", "patients", "--customer", "clinic", "--server", "http://" + server.Addr().String()}, "-o /dev/null"},
		{[]string{"key", "create", "clinic", "--config", document}, "shown once"},
		{[]string{"key", "rotate", "key_x", "--config", document}, "shown once"},
		{[]string{"customer", "key", "new", "clinic", "--config", document}, "shown once"},
	} {
		code, errs := cmdtest.InShell(t, ">&-", c.args...).Ended(t)
		if code != terminal.ExitFailed || !strings.HasPrefix(errs, "error["+"cli.no_output"+"]: ") || !strings.Contains(errs, c.hint) {
			t.Errorf("%v: exit code %d: %s", c.args, code, errs)
		}
	}
	if len(asked) > 0 || len(cmdtest.Leftovers(t, bucket)) > 0 {
		t.Errorf("the server was asked %d times, the bucket has %v", len(asked), cmdtest.Leftovers(t, bucket))
	}
	for _, list := range [][]string{{"key", "list", "--json"}, {"customer", "key", "list", "clinic", "--json"}} {
		if got := cmdtest.Call(t, append(list, "--config", document)...); got.Code != terminal.ExitDone || strings.Contains(got.Stdout, `"id"`) {
			t.Errorf("a key was made that nobody has seen: %+v", got)
		}
	}
	dsn := cmdtest.Practice(t, sandbox.Options{Patients: 2, Appointments: 3})
	for _, args := range [][]string{{"run", "practitioners", "--progress", "none", "--dsn", dsn}, decrypt} {
		if code, errs := cmdtest.InShell(t, ">/dev/null", args...).Ended(t); code != terminal.ExitDone || errs != "" {
			t.Errorf("%v >/dev/null: exit code %d: %s", args, code, errs)
		}
		if code, errs := cmdtest.InShell(t, ">&-", append(args, "-o", "/dev/null")...).Ended(t); code != terminal.ExitDone {
			t.Errorf("%v -o /dev/null: exit code %d: %s", args, code, errs)
		}
	}
}

// TestClosedStandardFiles: what is said on a standard file that was closed never lands in another.
func TestClosedStandardFiles(t *testing.T) {
	dsn := cmdtest.Practice(t, sandbox.Options{Patients: 20, Appointments: 300})
	want := cmdtest.Call(t, "run", "appointments", "--dsn", dsn).Stdout
	for _, redirections := range []string{"2>&-", ">&- 2>&-", "<&- >&- 2>&-"} {
		out := filepath.Join(t.TempDir(), "out")
		code, errs := cmdtest.InShell(t, redirections, "run", "appointments", "--dsn", dsn, "-o", out, "-v", "--progress", "json").Ended(t)
		if code != terminal.ExitDone || errs != "" || cmdtest.Read(t, out) != want {
			t.Errorf("%s: exit code %d: %s; %d bytes, want %d", redirections, code, errs, len(cmdtest.Read(t, out)), len(want))
		}
	}
	code, errs := cmdtest.InShell(t, "<&-", "decrypt", "--customer", cmdtest.Customer, "--keys", cmdtest.KeyFile(t, cmdtest.CurrentKey)).Ended(t)
	if code != terminal.ExitUsage || !strings.HasPrefix(errs, "error["+terminal.CodeNoInput+"]: ") {
		t.Errorf("decrypt: exit code %d: %s", code, errs)
	}
}

// TestDecryptToDevice checks a delivery without keeping what is in it.
func TestDecryptToDevice(t *testing.T) {
	sealed, _ := cmdtest.Deliver(t, 20, ndjson.Stage(), aesgcm.Rows())
	got := cmdtest.Call(t, "decrypt", sealed, "--customer", cmdtest.Customer, "--keys", cmdtest.KeyFile(t, cmdtest.CurrentKey), "-o", "/dev/null")
	if info, err := os.Stat("/dev/null"); got.Code != terminal.ExitDone || err != nil || info.Mode()&os.ModeCharDevice == 0 {
		t.Errorf("%+v; %v", got, err)
	}
	if got := cmdtest.Call(t, "decrypt", sealed, "--customer", cmdtest.Customer, "--keys", cmdtest.KeyFile(t, cmdtest.CurrentKey), "-o", "/dev/full"); got.Code != terminal.ExitFailed {
		t.Errorf("to a full device: %+v", got)
	}
}
