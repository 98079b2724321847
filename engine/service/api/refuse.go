package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Refuse answers a request that did not come through Handler with an error, in the same form and by the same table: for
// what stands on the operators' listener.
func Refuse(w http.ResponseWriter, err error, now time.Time) {
	e := entryOf(fault.From(err))
	id := newRequestID()
	h := w.Header()
	h.Set("X-Request-Id", id)
	h.Set("Content-Type", typeJSON)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if e.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="CipherStream"`)
	}
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(errorBody{Body: errorObject{ // whoever has gone away does not read it
		Code: e.Code, Message: e.Meaning, Details: []Detail{}, Timestamp: now.UTC().Format("2006-01-02T15:04:05.000Z"),
		RequestID: id, Suggestion: e.Suggestion, Retryable: e.Retryable,
	}})
}
