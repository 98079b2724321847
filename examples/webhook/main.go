// Command webhook receives the webhooks of CipherStream, and believes none that is not signed:
//
//	WEBHOOK_SECRETS=whsec_... go run ./examples/webhook 127.0.0.1:8080
//
// Signatures are checked by package sdk/webhook: they cover the id of a delivery, its time and the body, so that none of the
// three can be altered, and what somebody else sends again is told by them: it is too old, or its id has been handled. While
// a secret is rotated, deliveries are signed with the old one and the new one; WEBHOOK_SECRETS may hold both, with a comma
// between them.
//
// It is an example to copy from, with something in front of it that ends TLS. The ids that were handled are in memory here;
// keep yours with what an event has changed, in one transaction. Receivers in Python and JavaScript, which need nothing of
// ours, stand beside it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/webhook"
)

// Receiver answers the requests. Handle is called once for every event; when it fails, the sender is told to come again.
type Receiver struct {
	Verifier webhook.Verifier
	Handle   func(context.Context, webhook.Event) error

	// oneByOne lets a delivery that comes twice at once be handled once.
	oneByOne sync.Mutex
	seen     webhook.Seen
}

func (r *Receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "events are posted", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, webhook.MaxBody))
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
		return
	} else if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	event, err := r.Verifier.Verify(request.Header, body)
	switch {
	case fault.Is(err, webhook.CodeSignature):
		http.Error(w, "the signature is not right", http.StatusUnauthorized)
		return
	case err != nil:
		http.Error(w, "this is no event, or it is too old, or of the future", http.StatusBadRequest)
		return
	}
	events := []webhook.Event{event}
	if event.Event == webhook.Batch {
		events = event.Events
	}
	r.oneByOne.Lock()
	defer r.oneByOne.Unlock()
	for _, e := range events {
		if !r.seen.First(e.DeliveryID) {
			continue // the answer to it got lost, or it was sent again
		}
		if err := r.Handle(request.Context(), e); err != nil {
			r.seen.Forget(e.DeliveryID)
			log.Printf("%s: %v", e.DeliveryID, err)
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
	}
}

// show is what this example does with an event: one that is about a job tells of it, any other that it came.
func show(_ context.Context, e webhook.Event) error {
	var data struct {
		JobID         string `json:"job_id"`
		ProcedureName string `json:"procedure_name"`
		Status        string `json:"status"`
		RowsProcessed *int64 `json:"rows_processed"`
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return err
	}
	line := e.Event + " " + e.DeliveryID
	if data.JobID != "" {
		line += fmt.Sprintf(": job %s (%s) is %s", data.JobID, data.ProcedureName, data.Status)
	}
	if data.RowsProcessed != nil {
		line += fmt.Sprintf(" with %d rows", *data.RowsProcessed)
	}
	_, err := fmt.Println(line)
	return err
}

func main() {
	address := "127.0.0.1:8080"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	secrets := strings.FieldsFunc(os.Getenv("WEBHOOK_SECRETS"), func(r rune) bool { return r == ',' })
	if len(secrets) == 0 {
		log.Fatal("WEBHOOK_SECRETS is empty: a delivery whose signature cannot be checked is worth nothing")
	}
	for _, secret := range secrets {
		if err := webhook.CheckSecret(secret); err != nil {
			log.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	server := &http.Server{
		Handler:           &Receiver{Verifier: webhook.Verifier{Secrets: secrets}, Handle: show},
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, func() { _ = server.Shutdown(context.Background()) })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
