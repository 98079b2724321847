package nodeplugin

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/control"
)

// TestRefusals: what the plugin cannot do is said with its own code, before a row comes out.
func TestRefusals(t *testing.T) {
	w := newWorkspace(t)
	for _, c := range []struct{ with, code, says string }{
		{"columns: [m]", "redact.unknown_column", `there is no column "m"`},
		{"columns: [n]", "redact.not_text", `column "n" is Int64`},
		{"kinds: []", "config.", "at least 1"},
		{"kinds: [emails]", "config.not_allowed", "medicare"},
		{"column: n", "config.unknown_key", "columns"},
	} {
		path := w.pipeline(`{use: third/count, with: {rows: 100}}`, `{use: redact/text, with: {`+c.with+`}}`)
		r := w.run("run", path, "-o", filepath.Join(w.out, "rows"))
		if r.code == 0 || !strings.Contains(r.stderr, c.code) || !strings.Contains(r.stderr, c.says) || !strings.Contains(r.stderr, "filter") {
			t.Errorf("%s: it ended with %d:\n%s", c.with, r.code, r.stderr)
		}
		w.empty(w.out)
	}
}

// TestKilled kills a process while rows flow: the plugin, and those before and behind it, whose end it has to notice. The run
// fails, says which plugin it was and how it ended, and nothing is left of the output.
func TestKilled(t *testing.T) {
	w := newWorkspace(t)
	path := w.pipeline(`{use: third/count, with: {rows: 1000000000000, batch: 1000}}`, `{use: redact/text}`)
	for name, stage := range map[string]string{"redact": "filter", "third": "source", "cipherstream": "encoder…sink"} {
		t.Run(name, func(t *testing.T) {
			w := w.with(t)
			pid := 0
			killed := false
			r := w.watched([]string{"run", path, "-o", filepath.Join(w.out, "rows")}, func(e event) {
				for _, p := range e.Processes {
					if p.Plugin == name {
						pid = p.PID
					}
				}
				if pid != 0 && !killed && w.flowing() {
					killed = true
					if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
						t.Errorf("killing %d: %v", pid, err)
					}
				}
			})
			if !killed {
				t.Fatalf("no rows came:\n%s", r.stderr)
			}
			for _, want := range []string{`"plugin.exited"`, `plugin \"` + name + `\" was killed by signal 9`, `"stage":"` + stage + `"`} {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("%s is missing in what it says:\n%s", want, r.stderr)
				}
			}
			if r.code != 1 {
				t.Errorf("it ended with %d", r.code)
			}
			// What a sink that is killed has begun another process ends.
			w.empty(w.out)
		})
	}
}

// flowing reports whether rows have arrived in the file that is not whole yet.
func (w *workspace) flowing() bool {
	w.Helper()
	partial, err := filepath.Glob(filepath.Join(w.out, ".*.partial"))
	if err != nil {
		w.Fatal(err)
	}
	for _, path := range partial {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return true
		}
	}
	return false
}

// TestByHand: without a host it says what it is.
func TestByHand(t *testing.T) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(plugin(t), "plugin"))
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // the exit code says it
	if cmd.ProcessState.ExitCode() != 2 || stdout.Len() > 0 || !strings.Contains(stderr.String(), "is a CipherStream plugin (version 1.0.0)") {
		t.Errorf("%s: %q %q", cmd.ProcessState, stdout.String(), stderr.String())
	}
}

// TestStranger: nobody but the host is let in, though the socket is there for whoever finds it.
func TestStranger(t *testing.T) {
	host, stranger := identity(t), identity(t)
	p := startAlone(t, "CIPHERSTREAM_LIFELINE=3", "PLUGIN_CLIENT_CERT="+host.PEM())
	for name, c := range map[string]struct {
		config *tls.Config
		let    bool
	}{"the host": {host.Client(), true}, "a stranger": {stranger.Client(), false}, "nobody": {&tls.Config{ServerName: "localhost"}, false}} {
		c.config.NextProtos = []string{"h2"}
		c.config.RootCAs = x509.NewCertPool()
		c.config.RootCAs.AddCert(p.certificate)
		conn, err := tls.Dial("unix", p.address, c.config)
		if err == nil {
			// In TLS 1.3 a refusal comes with the first bytes, which are the server's settings otherwise.
			_, err = conn.Read(make([]byte, 9))
			conn.Close()
		}
		if (err == nil) != c.let {
			t.Errorf("%s: %v", name, err)
		}
	}
	p.lifeline.Close()
	if _ = p.cmd.Wait(); p.cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("it ended with %s", p.cmd.ProcessState)
	}
}

// TestLifeline: when the pipe of the host ends, so does the plugin, with status 3. A host that sends no certificate is not
// served at all.
func TestLifeline(t *testing.T) {
	p := startAlone(t, "CIPHERSTREAM_LIFELINE=3", "PLUGIN_CLIENT_CERT="+identity(t).PEM())
	p.lifeline.Close()
	if _ = p.cmd.Wait(); p.cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("it ended with %s", p.cmd.ProcessState)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(plugin(t), "plugin"))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), control.Handshake.MagicCookieKey + "=" + control.Handshake.MagicCookieValue}
	cmd.Stderr = &stderr
	if out, _ := cmd.Output(); cmd.ProcessState.ExitCode() != 1 || len(out) > 0 || !strings.Contains(stderr.String(), "certificate") {
		t.Errorf("%s: %q %q", cmd.ProcessState, out, stderr.String())
	}
}

func identity(t testing.TB) *control.Identity {
	t.Helper()
	identity, err := control.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

// alone is the plugin without a host.
type alone struct {
	cmd         *exec.Cmd
	lifeline    *os.File
	address     string
	certificate *x509.Certificate
}

// startAlone starts the plugin with what the handshake needs, and reads its handshake line.
func startAlone(t *testing.T, env ...string) alone {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	t.Cleanup(func() { write.Close() })
	tmp, err := os.MkdirTemp("/tmp", "csnode") // sockets in it need a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	cmd := exec.Command(filepath.Join(plugin(t), "plugin"))
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + tmp, "PLUGIN_PROTOCOL_VERSIONS=1",
		control.Handshake.MagicCookieKey + "=" + control.Handshake.MagicCookieValue,
	}, env...)
	cmd.ExtraFiles = []*os.File{read} // descriptor 3
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watch := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		watch.Stop()
		_ = cmd.Process.Kill() // it has ended, unless the test has failed
	})
	handshake, err := bufio.NewReader(stdout).ReadString('\n')
	parts := strings.Split(strings.TrimSuffix(handshake, "\n"), "|")
	if err != nil || len(parts) != 6 || strings.Join(parts[:3], "|") != "1|1|unix" || parts[4] != "grpc" {
		t.Fatalf("its handshake is %q, %v", handshake, err)
	}
	der, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return alone{cmd, write, parts[3], certificate}
}
