package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const completed = `{"event":"job.completed","timestamp":"2026-03-01T11:59:30Z","delivery_id":"del_1","attempt":1,` +
	`"data":{"job_id":"patients_1_a","procedure_name":"patients","status":"completed","rows_processed":7}}`

func sign(secret, body string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(h.Sum(nil))
}

func post(r *Receiver, signature, body string) int {
	request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	request.Header.Set(signatureHeader, signature)
	w := httptest.NewRecorder()
	r.ServeHTTP(w, request)
	return w.Code
}

func TestReceiver(t *testing.T) {
	for _, test := range []struct {
		name, signature, body string
		want, handled         int
	}{
		{"signed", sign("new", completed), completed, 200, 1},
		{"with the old secret", sign("old", completed), completed, 200, 1},
		{"with both", sign("old", completed) + ", " + sign("new", completed), completed, 200, 1},
		{"one that is not known beside one that is", sign("stolen", completed) + "," + sign("new", completed), completed, 200, 1},
		{"not signed", "", completed, 401, 0},
		{"of another secret", sign("stolen", completed), completed, 401, 0},
		{"of another body", sign("new", completed), strings.Replace(completed, ":7", ":8", 1), 401, 0},
		{"no hexadecimal", "sha256=zz", completed, 401, 0},
		{"another hash", "sha1=" + sign("new", completed)[7:], completed, 401, 0},
		{"cut off", sign("new", completed)[:40], completed, 401, 0},
		{"too old", "", strings.Replace(completed, "11:59:30", "11:54:59", 1), 400, 0},
		{"of the future", "", strings.Replace(completed, "11:59:30", "12:01:01", 1), 400, 0},
		{"no id", "", strings.Replace(completed, "del_1", "", 1), 400, 0},
		{"no JSON", "", "job.completed", 400, 0},
		{"too large", "", strings.Repeat(" ", maxBody+1), 400, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.want == 400 {
				test.signature = sign("new", test.body)
			}
			handled := 0
			r := &Receiver{Secrets: []string{"new", "old"}, Now: func() time.Time { return noon }, Handle: func(_ context.Context, e Event) error {
				handled++
				if e.Data.JobID != "patients_1_a" || e.Data.RowsProcessed != 7 {
					t.Errorf("got %+v", e)
				}
				return nil
			}}
			if got := post(r, test.signature, test.body); got != test.want || handled != test.handled {
				t.Errorf("answered %d and handled %d; want %d and %d", got, handled, test.want, test.handled)
			}
		})
	}
}

// TestDeliveredTwice: a retry of what was handled is not handled again, and one of what failed is.
func TestDeliveredTwice(t *testing.T) {
	handled, failure := 0, errors.New("the disk is full")
	now := noon
	r := &Receiver{Secrets: []string{"s"}, Now: func() time.Time { return now }, Handle: func(context.Context, Event) error {
		handled++
		return failure
	}}
	for i, want := range []int{503, 200, 200} {
		if got := post(r, sign("s", completed), completed); got != want {
			t.Errorf("attempt %d: answered %d, want %d", i+1, got, want)
		}
		failure = nil
	}
	if handled != 2 {
		t.Errorf("handled %d times, want 2", handled)
	}
	now = now.Add(time.Hour)
	later := strings.NewReplacer("11:59:30", "12:59:30", "del_1", "del_2").Replace(completed)
	if got := post(r, sign("s", later), later); got != 200 || len(r.seen) != 1 {
		t.Errorf("answered %d, and remembers %d deliveries; want 200 and 1", got, len(r.seen))
	}
}

// TestSignatureOfPython signs as another language does.
func TestSignatureOfPython(t *testing.T) {
	cmd := exec.Command("python3", "-c", `import hashlib, hmac, sys; print("sha256=" + hmac.new(b"s", sys.stdin.buffer.read(), hashlib.sha256).hexdigest(), end="")`)
	cmd.Stdin = strings.NewReader(completed)
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("python3 is needed (make deps installs it): %v", err)
	}
	r := &Receiver{Secrets: []string{"s"}, Now: func() time.Time { return noon }, Handle: func(context.Context, Event) error { return nil }}
	if got := post(r, out.String(), completed); got != 200 {
		t.Errorf("answered %d", got)
	}
}
