package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// endingRecord is a record of requests of which it is seen how much of an answer was sent when its end was written down.
type endingRecord struct {
	Requests
	answer *httptest.ResponseRecorder
	sent   []int
	status []store.Status
}

func (e *endingRecord) EndRequest(ctx context.Context, r store.Request, audit ...store.Audit) error {
	e.sent = append(e.sent, e.answer.Body.Len())
	e.status = append(e.status, r.Status)
	return e.Requests.EndRequest(ctx, r, audit...)
}

// TestWrittenDownBeforeTheLastByte: a client that has got all of an answer can ask for it, and for its receipt, at once.
func TestWrittenDownBeforeTheLastByte(t *testing.T) {
	t.Parallel()
	e := &endingRecord{}
	s := newServer(t, func(c *Config) {
		e.Requests = c.Requests
		c.Requests = e
	})
	for _, rows := range []string{"0", "1", "250", "20000"} {
		e.answer, e.sent, e.status = httptest.NewRecorder(), nil, nil
		r := httptest.NewRequest(http.MethodPost, "/v1/procedures/visits", strings.NewReader(ask(`,"rows":`+rows)))
		r.Header.Set("Authorization", "Bearer good")
		r.Header.Set("Content-Type", "application/json")
		s.api.Handler().ServeHTTP(e.answer, r)
		whole := e.answer.Body.Len()
		if e.answer.Code != http.StatusOK || len(e.sent) != 1 || e.sent[0] != max(0, whole-1) || e.status[0] != store.Completed {
			t.Errorf("%s rows: status %d, written down as %v when %v of %d bytes were sent", rows, e.answer.Code, e.status, e.sent, whole)
		}
	}
}
