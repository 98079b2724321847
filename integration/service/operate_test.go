package service

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// production is a service with a document, and what its operators need.
type production struct {
	*running
	dir, document string
	env           []string
	url, ops      string
}

// nowhere is a database that is away.
const nowhere = "mysql://nobody:geheim@127.0.0.1:1/nothing"

// configure writes a document with two customers, whose databases are where the environment says.
func configure(t *testing.T, more string) *production {
	t.Helper()
	p := &production{dir: t.TempDir(), env: []string{"ONE_DSN=" + nowhere, "TWO_DSN=" + nowhere}}
	p.document = filepath.Join(p.dir, "service.yaml")
	p.write(t, `apiVersion: cipherstream/v1
kind: Service
metadata: {name: test}
spec:
  listen: {address: "127.0.0.1:0"}
  operations: {address: "127.0.0.1:0"}
  customers:
    - {id: one, name: One, dsn: "env:ONE_DSN"}
    - {id: two, name: Two, dsn: "env:TWO_DSN"}
`+more)
	return p
}

func (p *production) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(p.document, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve starts the service, and waits until it answers.
func (p *production) serve(t *testing.T) {
	t.Helper()
	p.running = start(t, p.dir, p.env, "serve")
	p.stderr.await(t, `"msg":"serving"`)
	for line := range strings.Lines(p.stderr.String()) {
		var said struct{ Msg, Address, Operations string }
		if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "serving" {
			p.url, p.ops = "http://"+said.Address, "http://"+said.Operations
		}
	}
}

// operate runs an operator's command, and returns what it prints as JSON.
func (p *production) operate(t *testing.T, args ...string) map[string]any {
	t.Helper()
	out, err := tool(t, p.dir, p.env, program(t), append(args, "--json")...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	var result map[string]any
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return result
}

// status asks for rows of a customer with a key, and returns the status and the code of the answer.
func (p *production) status(t *testing.T, customer, key string) (int, string) {
	t.Helper()
	s := &sandbox{running: p.running, URL: p.url, Key: key}
	answer, text := s.ask(t, http.MethodPost, "/v1/procedures/practitioners", fmt.Sprintf(`{"customer_id":%q}`, customer))
	var body struct{ Error struct{ Code string } }
	_ = json.Unmarshal(text, &body) // rows have none
	return answer.StatusCode, body.Error.Code
}

// TestOperators: what operators do on the record before the service runs, beside it on its socket, and with a key over
// HTTP, takes effect at once, and survives a restart.
func TestOperators(t *testing.T) {
	p := configure(t, "")
	before := p.operate(t, "key", "create", "one", "--label", "first")
	operator := p.operate(t, "key", "create", "--admin")
	p.serve(t)
	text := before["key"].(string)
	if status, code := p.status(t, "one", text); status != http.StatusServiceUnavailable || code != "DATABASE_UNAVAILABLE" {
		t.Errorf("a key that was made before the start: %d %s", status, code)
	}
	if status, code := p.status(t, "two", text); status != http.StatusNotFound || code != "CUSTOMER_NOT_FOUND" {
		t.Errorf("another customer's: %d %s", status, code)
	}
	beside := p.operate(t, "key", "create", "two")
	if status, code := p.status(t, "two", beside["key"].(string)); code != "DATABASE_UNAVAILABLE" {
		t.Errorf("a key that was made beside the service: %d %s", status, code)
	}
	p.operate(t, "customer", "disable", "two")
	if status, code := p.status(t, "two", beside["key"].(string)); status != http.StatusForbidden || code != "CUSTOMER_DISABLED" {
		t.Errorf("a customer that is disabled: %d %s", status, code)
	}
	p.operate(t, "key", "revoke", before["id"].(string))
	if status, code := p.status(t, "one", text); status != http.StatusUnauthorized {
		t.Errorf("a key that was revoked: %d %s", status, code)
	}

	env := append(p.env, "CIPHERSTREAM_ADMIN_KEY="+operator["key"].(string))
	out, err := tool(t, p.dir, env, program(t), "customer", "list", "--server", p.ops)
	if err != nil || !strings.Contains(out, "two  disabled") {
		t.Errorf("an operator from elsewhere: %v %s", err, out)
	}
	for name, key := range map[string]string{"a customer's key": beside["key"].(string), "a revoked one": text} {
		if out, err := tool(t, p.dir, append(p.env, "CIPHERSTREAM_ADMIN_KEY="+key), program(t), "customer", "list", "--server", p.ops); err == nil {
			t.Errorf("%s lists customers: %s", name, out)
		}
	}
	sealing := p.operate(t, "customer", "key", "new", "one")
	p.operate(t, "customer", "key", "activate", "one", sealing["id"].(string))

	// A second service on the same data directory names the first one.
	if _, err := tool(t, p.dir, p.env, program(t), "serve"); err == nil || !strings.Contains(err.Error(), fmt.Sprint(p.cmd.Process.Pid)) {
		t.Errorf("a second service: %v", err)
	}
	if code := p.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	p.serve(t)
	if status, code := p.status(t, "two", beside["key"].(string)); code != "CUSTOMER_DISABLED" {
		t.Errorf("after a restart: %d %s", status, code)
	}
	keys := p.operate(t, "customer", "key", "list", "one")["keys"].([]any)
	if state := keys[0].(map[string]any)["state"]; len(keys) != 1 || state != "active" {
		t.Errorf("encryption keys after a restart: %v", keys)
	}
	for _, secret := range []string{"geheim", text, beside["key"].(string), operator["key"].(string), sealing["key"].(string)} {
		if strings.Contains(p.stderr.String(), secret) {
			t.Error("a secret is in the log")
		}
	}
}

// TestReload: SIGHUP takes a good document whole, and a bad one not at all.
func TestReload(t *testing.T) {
	p := configure(t, "")
	key := p.operate(t, "key", "create", "one")["key"].(string)
	p.serve(t)
	text, err := os.ReadFile(p.document)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text, said string) {
		t.Helper()
		p.write(t, text)
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		p.stderr.await(t, said)
	}
	without := strings.Replace(string(text), "- {id: one,", "- {id: three,", 1)
	reload(strings.Replace(without, "name: Two", "nam: Two", 1), `"document.unknown_key"`)
	reload(without+"  limits: {warm: 3}\n", "limits.warm")
	if _, code := p.status(t, "one", key); code != "DATABASE_UNAVAILABLE" {
		t.Errorf("a refused document took a customer away: %s", code)
	}
	reload(without, `"customers.one (removed)","customers.three (new)"`)
	if status, code := p.status(t, "one", key); status < 400 || code == "DATABASE_UNAVAILABLE" {
		t.Errorf("a customer that is gone: %d %s", status, code)
	}
	reload(string(text), `"customers.one (new)"`)
	if _, code := p.status(t, "one", key); code != "DATABASE_UNAVAILABLE" {
		t.Errorf("a customer that is back: %s", code)
	}
}

// TestPortInUse: the error says so, and is one of usage.
func TestPortInUse(t *testing.T) {
	p := configure(t, "")
	p.serve(t)
	other := configure(t, "")
	other.running = start(t, other.dir, other.env, "serve", "--listen", strings.TrimPrefix(p.url, "http://"))
	select {
	case <-other.ended:
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	if other.code != 2 || !strings.Contains(other.stderr.String(), "cannot be listened on") {
		t.Errorf("exit code %d: %s", other.code, other.stderr)
	}
}
