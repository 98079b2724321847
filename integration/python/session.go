package python

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/integration/required"
)

//go:embed session.py
var sessionScript string

// Script runs a script with the machine's own Python, python3 of PATH, whose standard input is the given one, and returns
// what it prints. A script that fails ends the test; what is missing, Python or a package of it, is package required's.
//
// The interpreter is kept for the next script: many a test asks for hundreds, and its start, with what a version manager
// puts in front of it, costs more than what they do. Each script has a namespace of its own, and modules in common.
func Script(tb testing.TB, script string, input []byte, args ...string) []byte {
	tb.Helper()
	out, err := inSession(script, input, args)
	switch {
	case errors.Is(err, errAbsent):
		required.Missing(tb, err.Error())
	case err != nil:
		tb.Fatal(err)
	}
	return out
}

// errAbsent is that the machine has no Python, or not the package that a script asks for.
var errAbsent = errors.New("python: python3 and its packages are needed to read the output independently (make deps installs them)")

// sessions are the interpreters that nobody uses. They end with this process, which holds the other end of their pipes.
var sessions struct {
	sync.Mutex
	idle []*session
}

func inSession(script string, input []byte, args []string) ([]byte, error) {
	sessions.Lock()
	var s *session
	if n := len(sessions.idle); n > 0 {
		s, sessions.idle = sessions.idle[n-1], sessions.idle[:n-1]
	}
	sessions.Unlock()
	if s == nil {
		var err error
		if s, err = newSession(); err != nil {
			return nil, fmt.Errorf("%w: %w", errAbsent, err)
		}
	}
	out, problem, err := s.run(script, input, args)
	if err != nil {
		s.end()
		return nil, fmt.Errorf("python: the interpreter broke off: %w", err)
	}
	sessions.Lock()
	sessions.idle = append(sessions.idle, s)
	sessions.Unlock()
	switch {
	case strings.Contains(problem, "ModuleNotFoundError"):
		return nil, fmt.Errorf("%w: %s", errAbsent, end([]byte(problem)))
	case problem != "":
		return nil, fmt.Errorf("python: %s%s", end([]byte(problem)), end(out))
	}
	return out, nil
}

// session is an interpreter that runs one script after the other.
type session struct {
	command *exec.Cmd
	to      io.WriteCloser
	from    *bufio.Reader
}

func newSession() (*session, error) {
	path, err := exec.LookPath("python3")
	if err != nil {
		return nil, err
	}
	s := &session{command: exec.Command(path, "-c", sessionScript)}
	s.command.Stderr = os.Stderr
	if s.to, err = s.command.StdinPipe(); err != nil {
		return nil, err
	}
	from, err := s.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.from = bufio.NewReader(from)
	return s, s.command.Start()
}

// run returns what a script printed, and how it failed.
func (s *session) run(script string, input []byte, args []string) (out []byte, problem string, err error) {
	if args == nil {
		args = []string{}
	}
	request, err := json.Marshal(map[string]any{"script": script, "args": args, "input": len(input)})
	if err != nil {
		return nil, "", err
	}
	if _, err := s.to.Write(append(request, '\n')); err != nil {
		return nil, "", err
	}
	if _, err := s.to.Write(input); err != nil {
		return nil, "", err
	}
	line, err := s.from.ReadBytes('\n')
	if err != nil {
		return nil, "", err
	}
	var answer struct {
		Output  int
		Problem string
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return nil, "", err
	}
	out = make([]byte, answer.Output)
	_, err = io.ReadFull(s.from, out)
	return out, answer.Problem, err
}

func (s *session) end() {
	s.to.Close()
	_ = s.command.Process.Kill()
	_ = s.command.Wait()
}
