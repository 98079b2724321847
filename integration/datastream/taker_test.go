package datastream

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// taker is a receiver that takes all that comes and keeps nothing, so that what is measured is not its own work.
type taker struct {
	*httptest.Server
	certificate string

	mu       sync.Mutex
	requests []time.Time
	last     map[string]int64 // the highest number of a channel
	taken    map[string]int64 // how many documents of a channel had a higher number than all before
	// came is when the documents of the log came first, by their ids, where it is not nil.
	came map[string]time.Time
}

// take starts a taker, which ends with the test.
func take(t testing.TB, secret string) *taker {
	t.Helper()
	c, _, _ := selfSigned(t)
	k := &taker{certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})), last: map[string]int64{}, taken: map[string]int64{}}
	k.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		at := time.Now()
		if err != nil {
			return
		}
		text, err := inflated(body)
		var is request
		if err != nil || json.Unmarshal(text, &is) != nil || len(is.Documents) == 0 || r.Header.Get("Authorization") != "bearer "+secret {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		k.mu.Lock()
		k.requests = append(k.requests, at)
		for _, d := range is.Documents {
			if d.Sequence > k.last[is.Channel] {
				k.last[is.Channel] = d.Sequence
				k.taken[is.Channel]++
			}
			if k.came == nil || is.Channel != logs {
				continue
			}
			// Whole documents are not parsed here: that would be the larger part of what the machine does.
			if _, rest, found := bytes.Cut(d.Document, []byte(`"id":"`)); found {
				id, _, _ := bytes.Cut(rest, []byte(`"`))
				if _, again := k.came[string(id)]; !again {
					k.came[string(id)] = at
				}
			}
		}
		k.mu.Unlock()
		_ = json.NewEncoder(w).Encode(answer{"ok", is.Organization, is.Channel, is.Documents[len(is.Documents)-1].Sequence})
	}))
	k.TLS = &tls.Config{Certificates: []tls.Certificate{c}}
	k.Config.ErrorLog = log.New(io.Discard, "", 0)
	k.StartTLS()
	t.Cleanup(k.Close)
	return k
}

// entries is how many documents of the log have come.
func (k *taker) entries() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return int(k.taken[logs])
}
