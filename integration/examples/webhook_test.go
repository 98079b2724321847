package examples

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/required"
	"github.com/cipherstream/cipherstream/sdk/webhook"
)

const webhookExample = "../../examples/webhook"

// receiver is an example that runs.
type receiver struct {
	t     *testing.T
	url   string
	lines *bufio.Reader
}

// receive starts an example, which ends with the test.
func receive(t *testing.T, secrets string, program string, args ...string) *receiver {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		required.Missing(t, program+" is needed to run a receiver in its language (make deps installs it)")
	}
	cmd := exec.Command(path, append(args, "127.0.0.1:0")...)
	cmd.Dir = webhookExample
	cmd.Env = append(os.Environ(), "WEBHOOK_SECRETS="+secrets)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("it said: %s", said.String())
		}
	})
	r := &receiver{t: t, lines: bufio.NewReader(out)}
	line := r.line()
	var ok bool
	if r.url, ok = strings.CutPrefix(line, "listening on "); !ok {
		t.Fatalf("it began with %q: %s", line, said.String())
	}
	return r
}

// line is the next one that the receiver prints: what it has handled.
func (r *receiver) line() string {
	r.t.Helper()
	line, err := r.lines.ReadString('\n')
	if err != nil {
		r.t.Fatalf("it printed %q: %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (r *receiver) post(header http.Header, body []byte) int {
	r.t.Helper()
	request, err := http.NewRequest(http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header = header
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	return answer.StatusCode
}

// TestWebhookReceivers: the examples in Go, Python and JavaScript take each delivery once, and nothing that was altered in
// its body, id or time, that is old, or that is signed with another secret.
func TestWebhookReceivers(t *testing.T) {
	program := filepath.Join(t.TempDir(), "webhook")
	must(t, webhookExample, "go", "build", "-o", program, ".")
	for name, command := range map[string][]string{
		"Go": {program}, "Python": {"python3", "receiver.py"}, "JavaScript": {"node", "receiver.mjs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testReceiver(t, command)
		})
	}
}

func testReceiver(t *testing.T, command []string) {
	current, next := webhook.NewSecret(), webhook.NewSecret()
	r := receive(t, current+","+next, command[0], command[1:]...)
	now := time.Now()
	event := func(id string, at time.Time) webhook.Event {
		return webhook.Event{Event: "job.completed", Timestamp: at, DeliveryID: id, Attempt: 1, Data: json.RawMessage(
			`{"job_id":"patients_1_a","procedure_name":"patients","status":"completed","rows_processed":7,"note":"Zoë"}`)}
	}
	sign := func(e webhook.Event, secrets ...string) (http.Header, []byte) {
		body, header, err := webhook.Sign(e, secrets...)
		if err != nil {
			t.Fatal(err)
		}
		return header, body
	}
	const about = ": job patients_1_a (patients) is completed with 7 rows"
	handled := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if got := r.line(); got != w {
				t.Errorf("handled %q, want %q", got, w)
			}
		}
	}
	header, body := sign(event("del_1", now), current)

	// What is altered comes first, so that nothing is refused because it was handled. Whatever is handled although it must
	// not be, the next line that is expected finds.
	for i := range body {
		altered := slices.Clone(body)
		altered[i] ^= 1
		if got := r.post(header, altered); got != 401 {
			t.Fatalf("byte %d of the body is another one: answered %d", i, got)
		}
	}
	for _, name := range []string{webhook.HeaderID, webhook.HeaderTimestamp, webhook.HeaderStandardSignature} {
		value := header.Get(name)
		for i := range value {
			altered := header.Clone()
			altered.Set(name, value[:i]+string(value[i]^1)+value[i+1:])
			if got := r.post(altered, body); got != 401 {
				t.Fatalf("byte %d of %s is another one: answered %d", i, name, got)
			}
		}
	}
	old, oldBody := sign(event("del_2", now.Add(-time.Hour)), current)
	ahead, aheadBody := sign(event("del_3", now.Add(time.Hour)), current)
	foreign, foreignBody := sign(event("del_4", now), webhook.NewSecret())
	for _, c := range []struct {
		name   string
		header http.Header
		body   []byte
		status int
	}{
		{"old", old, oldBody, 400},
		{"of the future", ahead, aheadBody, 400},
		{"of another secret", foreign, foreignBody, 401},
		{"not signed", http.Header{}, body, 401},
		{"too large", header, make([]byte, webhook.MaxBody+1), 413},
	} {
		if got := r.post(c.header, c.body); got != c.status {
			t.Errorf("%s: answered %d, want %d", c.name, got, c.status)
		}
	}

	for _, what := range []string{"as it was sent", "somebody sends it again"} {
		if got := r.post(header, body); got != 200 {
			t.Errorf("%s: answered %d", what, got)
		}
	}
	again := event("del_1", now.Add(time.Second))
	again.Attempt = 2
	header, body = sign(again, current)
	if got := r.post(header, body); got != 200 {
		t.Errorf("another attempt: answered %d", got)
	}
	handled("job.completed del_1" + about)

	header, body = sign(event("del_5", now), webhook.NewSecret(), next)
	if got := r.post(header, body); got != 200 {
		t.Errorf("with the other secret of two: answered %d", got)
	}
	handled("job.completed del_5" + about)

	batch := webhook.Event{Event: webhook.Batch, Timestamp: now, DeliveryID: "del_9", Attempt: 1, Events: []webhook.Event{
		event("del_6", now), event("del_1", now),
		{Event: "system.maintenance", Timestamp: now, DeliveryID: "del_7", Attempt: 1, Data: json.RawMessage(`{"message":"soon"}`)},
	}}
	header, body = sign(batch, current)
	if got := r.post(header, body); got != 200 {
		t.Errorf("a batch: answered %d", got)
	}
	handled("job.completed del_6"+about, "system.maintenance del_7")

	answer, err := http.Get(r.url)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 405 {
		t.Errorf("GET is answered %d", answer.StatusCode)
	}
	for _, secrets := range []string{"", "whsec_", "whsec_" + fmt.Sprintf("%08d", 1)} {
		cmd := exec.Command(command[0], append(command[1:], "127.0.0.1:0")...)
		cmd.Dir, cmd.Env = webhookExample, append(os.Environ(), "WEBHOOK_SECRETS="+secrets)
		if out, err := cmd.CombinedOutput(); err == nil || bytes.Contains(out, []byte("listening")) {
			t.Errorf("with the secret %q it began: %s", secrets, out)
		}
	}
}
