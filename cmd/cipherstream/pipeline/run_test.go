package pipeline

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/sandbox"
)

// countRows reads an output with the standard library.
func countRows(t *testing.T, format string, data []byte) int {
	t.Helper()
	switch format {
	case "ndjson":
		n := 0
		for d := json.NewDecoder(bytes.NewReader(data)); ; n++ {
			var row map[string]any
			if err := d.Decode(&row); err == io.EOF {
				return n
			} else if err != nil {
				t.Fatal(err)
			}
		}
	case "csv":
		rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		return len(rows) - 1
	}
	var document struct{ Data []map[string]any }
	if err := json.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	return len(document.Data)
}

func unzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// TestFormats runs a pipeline of the catalogue in every format, to a file and to
// standard output.
func TestFormats(t *testing.T) {
	t.Setenv(session.EnvDSN, cmdtest.SmallPractice(t))
	for _, format := range []string{"ndjson", "csv", "json"} {
		for _, compression := range []string{"none", "gzip"} {
			t.Run(format+" "+compression, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "out")
				args := []string{"run", "appointments", "-f", format, "-c", compression}
				piped := cmdtest.Call(t, args...)
				filed := cmdtest.Call(t, append(args, "-o", path)...)
				if piped.Code != 0 || filed.Code != 0 || filed.Stdout != "" {
					t.Fatalf("%+v", []cmdtest.Result{piped, filed})
				}
				content, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				data, plain := []byte(piped.Stdout), content
				if compression == "gzip" {
					data, plain = unzipped(t, data), unzipped(t, content)
				}
				if n := countRows(t, format, data); n != cmdtest.Appointments {
					t.Errorf("%d rows, want %d", n, cmdtest.Appointments)
				}
				// The JSON document holds how long it took.
				if format != "json" && !bytes.Equal(data, plain) {
					t.Error("the file and standard output hold different bytes")
				}
				sum := sha256.Sum256(content)
				if want := "300 rows, " + terminal.Bytes(int64(len(content))) + " in "; !strings.HasPrefix(filed.Stderr, want) ||
					!strings.HasSuffix(filed.Stderr, " s to "+path+", sha256 "+hex.EncodeToString(sum[:])[:12]+"\n") {
					t.Errorf("the last line is %q", filed.Stderr)
				}
			})
		}
	}
}

// TestSandboxRun needs no server: the sandbox is started for the run.
func TestSandboxRun(t *testing.T) {
	args := []string{"run", "testdata/visits.yaml", "-p", "since=1990-01-01", "--sandbox", "--sandbox-scale", "0.01", "--progress", "none"}
	first := cmdtest.Call(t, args...)
	if first.Code != 0 || first.Stderr != "" || countRows(t, "ndjson", []byte(first.Stdout)) != 200 {
		t.Fatalf("%+v", first)
	}
	if again := cmdtest.Call(t, args...); again.Stdout != first.Stdout {
		t.Error("the same seed gives other rows")
	}
	if other := cmdtest.Call(t, append(args, "--sandbox-seed", "1")...); other.Stdout == first.Stdout {
		t.Error("another seed gives the same rows")
	}
}

// TestIsolation gives identical bytes however the stages are spread over
// processes, and a receipt that says how they were.
func TestIsolation(t *testing.T) {
	t.Setenv(session.EnvDSN, cmdtest.SmallPractice(t))
	dir := t.TempDir()
	var first []byte
	for isolation, processes := range map[string]int{"none": 1, "group": 1, "stage": 5} {
		path, summary := filepath.Join(dir, isolation), filepath.Join(dir, isolation+".json")
		got := cmdtest.Call(t, "run", "appointments", "--isolation", isolation, "-c", "gzip", "-o", path, "--summary", summary)
		if got.Code != 0 {
			t.Fatalf("%s: %+v", isolation, got)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = content
		}
		if !bytes.Equal(first, content) {
			t.Errorf("%s: other bytes", isolation)
		}
		receipt := readReceipt(t, summary)
		sum := sha256.Sum256(content)
		if receipt.Rows != cmdtest.Appointments || receipt.Bytes != int64(len(content)) || receipt.SHA256 != hex.EncodeToString(sum[:]) ||
			receipt.Location != path || receipt.ContentEncoding != "gzip" || len(receipt.Processes) != processes {
			t.Errorf("%s: %+v", isolation, receipt)
		}
	}
	if names := cmdtest.Leftovers(t, dir); len(names) != 6 {
		t.Errorf("left behind: %v", names)
	}
}

func readReceipt(t *testing.T, path string) engine.Receipt {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var receipt engine.Receipt
	if err := json.Unmarshal(content, &receipt); err != nil {
		t.Fatal(err)
	}
	return receipt
}

// TestSummary leaves a summary only of a run that succeeded.
func TestSummary(t *testing.T) {
	t.Setenv(session.EnvDSN, cmdtest.SmallPractice(t))
	dir := t.TempDir()
	summary := filepath.Join(dir, "summary.json")
	if err := os.WriteFile(summary, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := cmdtest.Call(t, "run", "appointments", "--summary", summary, "-o", filepath.Join(dir, "no", "out"))
	if content, err := os.ReadFile(summary); got.Code != 1 || err != nil || string(content) != "old" {
		t.Errorf("after a failure: %q %v, %+v", content, err, got)
	}
	if got := cmdtest.Call(t, "run", "appointments", "--summary", summary); got.Code != 0 || readReceipt(t, summary).Location != "stdout" {
		t.Errorf("%d %s", got.Code, got.Stderr)
	}
	onStdout := cmdtest.Call(t, "run", "appointments", "--summary", "-", "-o", filepath.Join(dir, "out"))
	var receipt engine.Receipt
	if err := json.Unmarshal([]byte(onStdout.Stdout), &receipt); err != nil || receipt.Rows != cmdtest.Appointments {
		t.Errorf("%v: %+v", err, onStdout)
	}
	if names := cmdtest.Leftovers(t, dir); !slices.Equal(names, []string{"out", "summary.json"}) {
		t.Errorf("left behind: %v", names)
	}
}

// TestNoDigest leaves the digest out of receipts where it can be missed, and nowhere else.
func TestNoDigest(t *testing.T) {
	t.Setenv(session.EnvDSN, cmdtest.SmallPractice(t))
	dir := t.TempDir()
	summary, out := filepath.Join(dir, "summary.json"), filepath.Join(dir, "out.ndjson")
	for _, arguments := range [][]string{{"-o", out}, nil} {
		got := cmdtest.Call(t, append([]string{"run", "appointments", "--digest", "none", "--summary", summary}, arguments...)...)
		if got.Code != 0 {
			t.Fatalf("%v: %+v", arguments, got)
		}
		if receipt := readReceipt(t, summary); receipt.SHA256 != "" || receipt.Bytes == 0 || receipt.Rows != cmdtest.Appointments ||
			strings.Contains(got.Stderr, "sha256") {
			t.Errorf("%v: %+v\n%s", arguments, receipt, got.Stderr)
		}
	}
	if err := os.Remove(out); err != nil {
		t.Fatal(err)
	}
	for _, arguments := range [][]string{
		{"--digest", "md5"},
		{"--digest", "none", "--job", "--bucket", dir},
		{"--digest", "none", "--encrypted", "--customer", "c", "--secret", "encryption_keys=env:CIPHERSTREAM_KEYS"},
		{"--digest", "none", "--encrypted", "--customer", "c", "--secret", "encryption_keys=env:CIPHERSTREAM_KEYS", "-o", out},
	} {
		t.Setenv("CIPHERSTREAM_KEYS", strings.Repeat("A", 43)+"=")
		if got := cmdtest.Call(t, append([]string{"run", "appointments"}, arguments...)...); got.Code != 2 || !strings.Contains(got.Stderr, "digest") || got.Stdout != "" {
			t.Errorf("%v: %+v", arguments, got)
		}
	}
	if names := cmdtest.Leftovers(t, dir); !slices.Equal(names, []string{"summary.json"}) {
		t.Errorf("left behind: %v", names)
	}
}

// TestEvents reads the events of --progress json.
func TestEvents(t *testing.T) {
	t.Setenv(session.EnvDSN, cmdtest.SmallPractice(t))
	for _, flags := range [][]string{{"--progress", "json"}, {"--json"}} {
		got := cmdtest.Call(t, append([]string{"run", "appointments"}, flags...)...)
		var kinds []string
		var last struct {
			Receipt engine.Receipt
			Time    string
		}
		for line := range strings.Lines(got.Stderr) {
			var e struct{ Event string }
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if e.Event == "ended" {
				if err := json.Unmarshal([]byte(line), &last); err != nil {
					t.Fatal(err)
				}
			}
			if len(kinds) == 0 || kinds[len(kinds)-1] != e.Event {
				kinds = append(kinds, e.Event)
			}
		}
		if !slices.Contains(kinds, "opened") || !slices.Contains(kinds, "progress") || kinds[0] != "started" || kinds[len(kinds)-1] != "ended" ||
			last.Receipt.Rows != cmdtest.Appointments || last.Time == "" {
			t.Errorf("%v: %v %+v", flags, kinds, last)
		}
		if countRows(t, "ndjson", []byte(got.Stdout)) != cmdtest.Appointments {
			t.Errorf("%v: standard output is not the data", flags)
		}
	}
}

// TestNoConnection tells apart a server that is away from everything else.
func TestNoConnection(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := "mysql://nobody:geheim-geheim@" + listener.Addr().String() + "/x"
	listener.Close()
	refused, err := url.Parse(cmdtest.SmallPractice(t))
	if err != nil {
		t.Fatal(err)
	}
	refused.User = url.UserPassword("sandbox", "geheim-geheim")
	file := filepath.Join(t.TempDir(), "dsn")
	if err := os.WriteFile(file, []byte(away+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, env, code string
		args            []string
	}{
		{"environment", away, "mysql.connect", nil},
		{"file", "", "mysql.connect", []string{"--dsn-file", file}},
		// The flag wins.
		{"flag", away, "mysql.auth", []string{"--dsn", refused.String()}},
		{"every process", refused.String(), "mysql.auth", []string{"--isolation", "stage"}},
		{"one process", refused.String(), "mysql.auth", []string{"--isolation", "none"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(session.EnvDSN, c.env)
			dir := t.TempDir()
			for _, mode := range []string{"-v", "--json"} {
				got := cmdtest.Call(t, append([]string{"run", "appointments", "-o", filepath.Join(dir, "out"), mode}, c.args...)...)
				if got.Code != terminal.ExitConnect || got.Stdout != "" || !strings.Contains(got.Stderr, c.code) {
					t.Errorf("%+v", got)
				}
				if strings.Contains(got.Stderr, "geheim") {
					t.Errorf("the password is shown: %s", got.Stderr)
				}
			}
			if names := cmdtest.Leftovers(t, dir); len(names) != 0 {
				t.Errorf("left behind: %v", names)
			}
		})
	}
	if got := cmdtest.Call(t, "sandbox", "load", "--dsn", away+"?tls=disabled"); got.Code != terminal.ExitConnect || strings.Contains(got.Stderr, "geheim") {
		t.Errorf("sandbox load: %+v", got)
	}
}

// TestPlanHidesSecrets plans with a secret at hand.
func TestPlanHidesSecrets(t *testing.T) {
	t.Setenv(session.EnvDSN, "mysql://nobody:geheim-geheim@127.0.0.1/x")
	for _, args := range [][]string{{"plan", "appointments"}, {"plan", "appointments", "--json"}} {
		if got := cmdtest.Call(t, args...); got.Code != 0 || strings.Contains(got.Stdout+got.Stderr, "nobody") || !strings.Contains(got.Stdout, "[secret]") {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

// TestInterrupt ends a run that would take minutes.
func TestInterrupt(t *testing.T) {
	dsn := cmdtest.Practice(t, sandbox.Options{Patients: cmdtest.Patients, Appointments: 10_000_000})
	for _, c := range []struct {
		signal syscall.Signal
		args   []string
		wants  string
	}{
		{syscall.SIGINT, []string{"--progress", "plain"}, "error[cli.interrupted]: the command was interrupted\n"},
		{syscall.SIGTERM, []string{"--progress", "plain", "--isolation", "stage"}, "error[cli.interrupted]: the command was interrupted\n"},
		{syscall.SIGINT, []string{"--isolation", "none", "--json"}, `"exit_code":130`},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			dir := t.TempDir()
			temporary, err := os.MkdirTemp("/tmp", "cs")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(temporary)
			p := cmdtest.Start(t, []string{session.EnvDSN + "=" + dsn, "TMPDIR=" + temporary}, append([]string{"run", "testdata/everything.yaml", "-o", filepath.Join(dir, "out")}, c.args...)...)
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan int, 1)
			go func() { ended <- p.ExitCode(t) }()
			// The sink opens its hidden file when the run is under way.
			look := time.NewTicker(5 * time.Millisecond)
			defer look.Stop()
			for len(cmdtest.Leftovers(t, dir)) == 0 {
				select {
				case code := <-ended:
					t.Fatalf("the run ended by itself: %d %s", code, p.Errs.String())
				case <-look.C:
				}
			}
			if err := p.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			if code := <-ended; code != terminal.ExitInterrupted || !strings.Contains(p.Errs.String(), c.wants) {
				t.Errorf("exit code %d: %s", code, p.Errs.String())
			}
			if names := append(cmdtest.Leftovers(t, dir), cmdtest.Leftovers(t, temporary)...); len(names) != 0 {
				t.Errorf("left behind: %v", names)
			}
		})
	}
}

// TestClosedPipe is "… | head".
func TestClosedPipe(t *testing.T) {
	dsn := cmdtest.Practice(t, sandbox.Options{Patients: cmdtest.Patients, Appointments: 5000})
	for _, isolation := range []string{"group", "none", "stage"} {
		t.Run(isolation, func(t *testing.T) {
			p := cmdtest.Start(t, []string{session.EnvDSN + "=" + dsn}, "run", "appointments", "--isolation", isolation)
			stdout, err := p.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			cmdtest.FirstLine(t, stdout, func(line string) bool { return strings.HasPrefix(line, `{"appointment_id":`) })
			stdout.Close()
			if code := p.ExitCode(t); code != terminal.ExitPipe || p.Errs.Len() != 0 {
				t.Errorf("exit code %d: %s", code, p.Errs.String())
			}
		})
	}
}

// TestSandboxServes reads from the sandbox that another process serves.
func TestSandboxServes(t *testing.T) {
	p := cmdtest.Start(t, nil, "sandbox", "--patients", "5", "--appointments", "40", "--json")
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	var served struct{ DSN, Command string }
	if err := json.NewDecoder(stdout).Decode(&served); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(served.DSN)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	if want := "mysql --host=127.0.0.1 --port=" + u.Port() + " --user=sandbox --password=" + password + " practice"; served.Command != want {
		t.Errorf("the client is %q, want %q", served.Command, want)
	}
	t.Setenv(session.EnvDSN, served.DSN)
	if got := cmdtest.Call(t, "run", "appointments"); got.Code != 0 || countRows(t, "ndjson", []byte(got.Stdout)) != 40 {
		t.Errorf("%d %s", got.Code, got.Stderr)
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// On a busy machine the end may take long enough to be announced; nothing else is said.
	notice, err := json.Marshal(map[string]any{"warning": map[string]string{"code": "cli.interrupted", "message": "interrupted, and still ending what was begun; another signal, from a second from now on, leaves behind what is unfinished"}})
	if err != nil {
		t.Fatal(err)
	}
	code := p.ExitCode(t)
	if said := p.Errs.String(); code != terminal.ExitDone || said != "" && said != string(notice)+"\n" {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// TestCancelledBeforeStart starts nothing.
func TestCancelledBeforeStart(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(terminal.ErrInterrupted)
	if got := cmdtest.CallWith(t, ctx, "run", "appointments", "--sandbox"); got.Code != terminal.ExitInterrupted || got.Stdout != "" {
		t.Errorf("%+v", got)
	}
}
