package service

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	built "github.com/cipherstream/cipherstream/integration/program"
)

// program builds cipherstream once and returns its path.
func program(t testing.TB) string {
	t.Helper()
	path, err := built.Path()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// patience is how long a test waits for something that takes seconds at most on a quiet machine.
const patience = 2 * time.Minute

// running is a service in a process of its own.
type running struct {
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr *saidLines
	ended  chan struct{}
	code   int
}

// saidLines keeps what a process writes, and tells who waits for a line.
type saidLines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed, and made anew, with every write
}

func (l *saidLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
	return len(p), nil
}

func (l *saidLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits until a text is there.
func (l *saidLines) await(t *testing.T, text string) {
	t.Helper()
	over := time.After(patience)
	for {
		l.mu.Lock()
		found := strings.Contains(l.text.String(), text)
		if l.more == nil {
			l.more = make(chan struct{})
		}
		more := l.more
		l.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-over:
			t.Fatalf("%q was not said in:\n%s", text, l)
		}
	}
}

// start starts the program in a folder of its own. It is ended with the test.
func start(t *testing.T, dir string, env []string, args ...string) *running {
	t.Helper()
	r := &running{cmd: exec.Command(program(t), args...), stderr: &saidLines{}, ended: make(chan struct{})}
	r.cmd.Dir, r.cmd.Stderr = dir, r.stderr
	r.cmd.Env = append(os.Environ(), env...)
	r.cmd.WaitDelay = patience // what it started and left behind may hold its standard error
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.stdout = bufio.NewReader(out)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		var exit *exec.ExitError
		if err := r.cmd.Wait(); errors.As(err, &exit) {
			r.code = exit.ExitCode()
		}
		close(r.ended)
	}()
	t.Cleanup(func() {
		_ = r.cmd.Process.Signal(syscall.SIGTERM) // no more when the test has ended it
		over := time.AfterFunc(patience, func() { _ = r.cmd.Process.Kill() })
		defer over.Stop()
		<-r.ended
		if t.Failed() {
			t.Logf("the service said:\n%s", r.stderr)
		}
	})
	return r
}

// stop ends the service by a signal, and returns its exit code.
func (r *running) stop(t *testing.T, signal syscall.Signal) int {
	t.Helper()
	if err := r.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.ended:
	case <-time.After(patience):
		t.Fatalf("it did not end:\n%s", r.stderr)
	}
	return r.code
}

// sandbox is what serve --sandbox --json says.
type sandbox struct {
	*running
	URL, Documentation, Key, Command, State string
	EncryptionKey                           string `json:"encryption_key"`
	JobCommand                              string `json:"job_command"`
}

// startSandbox starts a sandbox in an empty folder, on a free port.
func startSandbox(t *testing.T, args ...string) *sandbox {
	t.Helper()
	s := &sandbox{running: start(t, t.TempDir(), nil, append([]string{"serve", "--sandbox", "--listen", "127.0.0.1:0", "--json"}, args...)...)}
	if err := json.NewDecoder(s.stdout).Decode(s); err != nil {
		t.Fatalf("it did not say where it is: %v\n%s", err, s.stderr)
	}
	return s
}

// ask asks for something with the sandbox's key.
func (s *sandbox) ask(t *testing.T, method, path, body string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.Key)
	r.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, text
}

// tool runs a program to its end and returns what it prints.
func tool(t *testing.T, dir string, env []string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", filepath.Base(name), err, errs.String())
	}
	return out.String(), nil
}
