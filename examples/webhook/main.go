// Command webhook receives the events of jobs, and believes none that is not signed:
//
//	WEBHOOK_SECRETS=SECRET go run ./examples/webhook -listen 127.0.0.1:8080
//
// The header X-CipherStream-Signature holds sha256=HEX, the HMAC-SHA256 (RFC 2104) of the raw body. While a secret is
// rotated two signatures stand there, separated by a comma, and here both secrets may be given, separated by a comma as
// well. What is signed has a timestamp and the id of the delivery in it: an old body sent again is refused, and one that
// is delivered twice, as every retry may be, is handled once.
//
// It is an example to copy from. Behind a proxy that ends TLS it is all that a receiver needs but a store: the ids that it
// has seen are kept in memory.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"
)

const (
	signatureHeader = "X-CipherStream-Signature"
	// maxBody bounds what is read of a request; events have a few KiB.
	maxBody = 1 << 20
	// maxAge is how old an event may be. It bounds how long the ids of deliveries are remembered, too.
	maxAge = 5 * time.Minute
	// maxSkew is how far the sender's clock may be ahead.
	maxSkew = time.Minute
)

// Event is what is known of every event. Data has the fields of its kind.
type Event struct {
	Event      string    `json:"event"`
	Timestamp  time.Time `json:"timestamp"`
	DeliveryID string    `json:"delivery_id"`
	Attempt    int       `json:"attempt"`
	Data       struct {
		JobID         string `json:"job_id"`
		ProcedureName string `json:"procedure_name"`
		Status        string `json:"status"`
		RowsProcessed int64  `json:"rows_processed"`
	} `json:"data"`
}

// Receiver answers the requests. Handle is called once for every delivery; when it fails, the sender is told to try again.
type Receiver struct {
	Secrets []string
	Now     func() time.Time
	Handle  func(context.Context, Event) error

	mu   sync.Mutex
	seen map[string]time.Time
}

func (r *Receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "events are posted", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, maxBody))
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	if !r.signed(body, request.Header.Get(signatureHeader)) {
		http.Error(w, "the signature is not right", http.StatusUnauthorized)
		return
	}
	var event Event
	if err := json.Unmarshal(body, &event); err != nil || event.DeliveryID == "" {
		http.Error(w, "this is no event", http.StatusBadRequest)
		return
	}
	if age := r.Now().Sub(event.Timestamp); age > maxAge || age < -maxSkew {
		http.Error(w, "the event is too old, or of the future", http.StatusBadRequest)
		return
	}
	if !r.first(event.DeliveryID) {
		w.WriteHeader(http.StatusOK) // it was handled before; the answer got lost
		return
	}
	if err := r.Handle(request.Context(), event); err != nil {
		r.forget(event.DeliveryID)
		log.Printf("%s %s: %v", event.Event, event.DeliveryID, err)
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// signed reports whether one of the signatures is that of the body with one of the secrets. The comparison takes the
// same time wherever they differ.
func (r *Receiver) signed(body []byte, header string) bool {
	var expected [][]byte
	for _, secret := range r.Secrets {
		h := hmac.New(sha256.New, []byte(secret))
		h.Write(body)
		expected = append(expected, h.Sum(nil))
	}
	right := false
	for signature := range strings.SplitSeq(header, ",") {
		given, ok := strings.CutPrefix(strings.TrimSpace(signature), "sha256=")
		mac, err := hex.DecodeString(given)
		if !ok || err != nil {
			continue
		}
		for _, e := range expected {
			right = hmac.Equal(e, mac) || right
		}
	}
	return right
}

// first reports whether a delivery comes for the first time, and remembers it for as long as it could come again.
func (r *Receiver) first(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Now()
	for old, when := range r.seen {
		if now.Sub(when) > maxAge+maxSkew {
			delete(r.seen, old)
		}
	}
	if _, known := r.seen[id]; known {
		return false
	}
	if r.seen == nil {
		r.seen = map[string]time.Time{}
	}
	r.seen[id] = now
	return true
}

func (r *Receiver) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.seen, id)
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`ADDRESS` to listen on")
	flag.Parse()
	secrets := strings.FieldsFunc(os.Getenv("WEBHOOK_SECRETS"), func(r rune) bool { return r == ',' })
	if len(secrets) == 0 {
		fmt.Fprintln(os.Stderr, "WEBHOOK_SECRETS is empty: an event whose signature cannot be checked is worth nothing")
		os.Exit(2)
	}
	receiver := &Receiver{Secrets: secrets, Now: time.Now, Handle: func(_ context.Context, e Event) error {
		fmt.Printf("%s: job %s (%s) is %s with %d rows\n", e.Event, e.Data.JobID, e.Data.ProcedureName, e.Data.Status, e.Data.RowsProcessed)
		return nil
	}}
	server := &http.Server{Addr: *listen, Handler: receiver, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, func() { _ = server.Shutdown(context.Background()) })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
