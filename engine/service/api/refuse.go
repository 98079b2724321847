package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Unauthorized reports whether an error is that of a request without a good key.
func Unauthorized(err error) bool {
	return err != nil && entryOf(fault.From(err)).Status == http.StatusUnauthorized
}

// Refuse answers a request that did not come through Handler with an error, in the same form and by the same table: for
// what stands on the operators' listener.
func Refuse(w http.ResponseWriter, err error, now time.Time) {
	e := fail(entryOf(fault.From(err)).Code)
	id := newRequestID()
	h := w.Header()
	h.Set("X-Request-Id", id)
	h.Set("Content-Type", typeJSON)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if e.Retryable {
		h.Set("Retry-After", seconds(max(time.Second, retryAfter(fault.From(err)))))
	}
	challenge(h, e)
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(e.body(id, now)) // whoever has gone away does not read it
}
