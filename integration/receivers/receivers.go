// Package receivers judges deliveries of webhooks with what customers check them with: the libraries of Standard Webhooks in
// Go, Python and JavaScript, and the check that is published for the header X-CipherStream-Signature. It owns their processes
// and never signs anything: what they must accept and refuse is said by the tests.
//
// A test whose judges cannot be had is skipped and says so, or fails where everything is required (package required).
package receivers

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/cipherstream/cipherstream/integration/node"
	"github.com/cipherstream/cipherstream/integration/python"
	"github.com/cipherstream/cipherstream/integration/required"
)

// Request is a delivery as it came.
type Request struct {
	Header http.Header
	Body   []byte
}

// Judge is a check of others.
type Judge struct {
	Name string
	// BodyOnly says that it checks nothing but the body.
	BodyOnly bool
	accepts  func(secret string, requests []Request) ([]bool, error)
}

// Accept returns of each request whether the judge takes it under a secret, whsec_ and base64.
func (j *Judge) Accept(tb testing.TB, secret string, requests ...Request) []bool {
	tb.Helper()
	accepted, err := j.accepts(secret, requests)
	if err != nil {
		tb.Fatalf("%s: %v", j.Name, err)
	}
	if len(accepted) != len(requests) {
		tb.Fatalf("%s has judged %d of %d requests", j.Name, len(accepted), len(requests))
	}
	return accepted
}

//go:embed judge.py
var inPython string

//go:embed judge.js
var inNode string

// Judges starts the judges, which end with the test.
func Judges(tb testing.TB) []*Judge {
	tb.Helper()
	interpreter, err := python.StandardWebhooks()
	if err != nil {
		required.Missing(tb, err.Error())
	}
	modules, err := modules()
	if errors.As(err, new(node.Missing)) {
		required.Missing(tb, err.Error())
	}
	if err != nil {
		tb.Fatal(err)
	}
	inNode := exec.Command("node", "-e", inNode)
	inNode.Env = append(os.Environ(), "NODE_PATH="+modules)
	return []*Judge{
		{Name: "Standard Webhooks in Go", accepts: inGo},
		{Name: "Standard Webhooks in Python", accepts: start(tb, exec.Command(interpreter, "-c", inPython, "standard"))},
		{Name: "Standard Webhooks in JavaScript", accepts: start(tb, inNode)},
		{Name: "the published check", BodyOnly: true, accepts: start(tb, exec.Command(interpreter, "-c", inPython, "published"))},
	}
}

// modules is the library in JavaScript, as package-lock.json pins it.
func modules() (string, error) {
	if err := node.Find(); err != nil {
		return "", err
	}
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("receivers: the sources are not known")
	}
	return node.Modules(filepath.Join(filepath.Dir(file), "node"))
}

func inGo(secret string, requests []Request) ([]bool, error) {
	webhook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return nil, err
	}
	var accepted []bool
	for _, r := range requests {
		accepted = append(accepted, webhook.Verify(r.Body, r.Header) == nil)
	}
	return accepted, nil
}

// start starts a judge that reads a line for each question: the secret and the requests, and answers with a line that has a
// 1 or a 0 for each of them.
func start(tb testing.TB, command *exec.Cmd) func(string, []Request) ([]bool, error) {
	tb.Helper()
	to, err := command.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	from, err := command.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	var said strings.Builder
	command.Stderr = &said
	if err := command.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		to.Close()
		_, _ = io.Copy(io.Discard, from)
		if err := command.Wait(); err != nil && !tb.Failed() {
			tb.Errorf("%v: %v", command.Args[0], err)
		}
	})
	var one sync.Mutex
	lines := bufio.NewReader(from)
	return func(secret string, requests []Request) ([]bool, error) {
		one.Lock()
		defer one.Unlock()
		type request struct {
			Headers map[string]string `json:"headers"`
			Body    []byte            `json:"body"`
		}
		question := struct {
			Secret   string    `json:"secret"`
			Requests []request `json:"requests"`
		}{secret, []request{}}
		for _, r := range requests {
			headers := map[string]string{}
			for name := range r.Header {
				headers[strings.ToLower(name)] = r.Header.Get(name)
			}
			question.Requests = append(question.Requests, request{headers, r.Body})
		}
		if err := json.NewEncoder(to).Encode(question); err != nil {
			return nil, err
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("it broke off: %w", err)
		}
		var accepted []bool
		for _, verdict := range strings.TrimSuffix(line, "\n") {
			accepted = append(accepted, verdict == '1')
		}
		return accepted, nil
	}
}
