package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/webhook"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestDeliveredTwice: a retry of what was handled is not handled again, and one of what failed is, as a batch or alone. How
// it does with what is altered or old is tested for all languages in integration/examples.
func TestDeliveredTwice(t *testing.T) {
	secret := webhook.NewSecret()
	handled, failure := []string{}, errors.New("the disk is full")
	r := &Receiver{Verifier: webhook.Verifier{Secrets: []string{secret}, Now: func() time.Time { return noon }}}
	r.Handle = func(_ context.Context, e webhook.Event) error {
		handled = append(handled, e.DeliveryID)
		if e.DeliveryID == "del_2" {
			return failure
		}
		return nil
	}
	post := func(e webhook.Event) int {
		body, header, err := webhook.Sign(e, secret)
		if err != nil {
			t.Fatal(err)
		}
		request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body)))
		request.Header = header
		w := httptest.NewRecorder()
		r.ServeHTTP(w, request)
		return w.Code
	}
	event := func(id string) webhook.Event {
		return webhook.Event{Event: "job.failed", Timestamp: noon, DeliveryID: id, Attempt: 1, Data: json.RawMessage(`{}`)}
	}
	batch := webhook.Event{Event: webhook.Batch, Timestamp: noon, DeliveryID: "del_0", Attempt: 1, Events: []webhook.Event{event("del_1"), event("del_2"), event("del_3")}}
	for i, want := range []int{503, 200, 200} {
		if got := post(batch); got != want {
			t.Errorf("attempt %d: answered %d, want %d", i+1, got, want)
		}
		failure = nil
	}
	if got := post(event("del_3")); got != 200 {
		t.Errorf("answered %d", got)
	}
	if got := strings.Join(handled, " "); got != "del_1 del_2 del_2 del_3" {
		t.Errorf("handled %s", got)
	}
}
