package webhook

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/webhook"
)

// answers is what a receiver is told to answer.
type answers struct {
	status            int
	failFirst         int
	delay, retryAfter time.Duration
}

// mostSeen bounds what is remembered of deliveries.
const mostSeen = 10_000

// receiver examines each request, answers it and shows it.
type receiver struct {
	*examiner
	answers
	maxBody int64
	show    func(*received)
	now     func() time.Time

	mu sync.Mutex
	// came counts those that were authentic.
	came int
	// seen are the deliveries that came, and order the oldest of them first.
	seen  map[string]*history
	order []string
}

// history is what came of one delivery.
type history struct {
	at time.Time
	// requests are the digests of its requests, each of which is one attempt.
	requests map[[sha256.Size]byte]bool
}

// received is a request that came, and what became of it.
type received struct {
	At     time.Time `json:"at"`
	From   string    `json:"from"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Bytes  int       `json:"bytes"`
	// Again is empty for what comes for the first time, attempt for the next attempt at a delivery, and replay for the same
	// attempt once more.
	Again string `json:"again,omitempty"`
	// Refused is why nothing was examined.
	Refused  string `json:"refused,omitempty"`
	Answered int    `json:"answered"` // 0 where the sender did not wait
	report
}

func newReceiver(e *examiner, a answers, maxBody int64) *receiver {
	return &receiver{examiner: e, answers: a, maxBody: maxBody, now: time.Now, seen: map[string]*history{}}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	s := &received{At: r.now(), From: request.RemoteAddr, Method: request.Method, Path: request.URL.Path, report: report{Checks: []check{}, Events: []told{}}}
	status := r.receive(w, request, s)
	if r.delay > 0 {
		wait := time.NewTimer(r.delay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-request.Context().Done():
			status = 0
		}
	}
	s.Answered = status
	// Before the answer, so that whoever has it finds the request shown.
	r.mu.Lock()
	r.show(s)
	r.mu.Unlock()
	if status == 0 {
		return
	}
	if r.retryAfter > 0 && status >= 400 {
		w.Header().Set("Retry-After", strconv.Itoa(int((r.retryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(status)
}

// receive returns the status to answer with.
func (r *receiver) receive(w http.ResponseWriter, request *http.Request, s *received) int {
	if request.Method != http.MethodPost {
		s.Refused = "webhooks are posted"
		w.Header().Set("Allow", http.MethodPost)
		return http.StatusMethodNotAllowed
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, r.maxBody))
	s.Bytes = len(body)
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			s.Refused = fmt.Sprintf("the body is larger than %d bytes", large.Limit)
			return http.StatusRequestEntityTooLarge
		}
		s.Refused = "the body did not come whole"
		return http.StatusBadRequest
	}
	found, err := r.examine(request.Header, body, s.At)
	if err != nil {
		s.Refused = err.Error()
		return http.StatusInternalServerError
	}
	s.report = *found
	switch {
	case s.Authentic:
	case s.Code == webhook.CodeSignature:
		return http.StatusUnauthorized
	default:
		return http.StatusBadRequest
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remember(request.Header, body, s)
	if r.came++; r.came <= r.failFirst {
		return http.StatusServiceUnavailable
	}
	return r.status
}

// remember says whether a delivery came before.
func (r *receiver) remember(header http.Header, body []byte, s *received) {
	event, err := read(body)
	if err != nil {
		return
	}
	request := sha256.Sum256(bytes.Join([][]byte{[]byte(header.Get(webhook.HeaderTimestamp)), body}, []byte{'\n'}))
	before := r.seen[event.DeliveryID]
	switch {
	case before == nil:
		if len(r.order) >= mostSeen {
			delete(r.seen, r.order[0])
			r.order = r.order[1:]
		}
		before = &history{at: s.At, requests: map[[sha256.Size]byte]bool{}}
		r.seen[event.DeliveryID] = before
		r.order = append(r.order, event.DeliveryID)
	case before.requests[request]:
		s.Again = "replay"
		s.Advice = append(s.Advice, "this very request came before: a receiver has to tell it by its delivery id, and handles it once")
	default:
		s.Again = "attempt"
		s.Advice = append(s.Advice, fmt.Sprintf("the delivery came before, at %s: a receiver handles it once", before.at.Format(time.TimeOnly)))
	}
	if len(before.requests) < mostSeen/100 {
		before.requests[request] = true
	}
}

// headline says of a request what it comes to.
func (s *received) headline() string {
	switch {
	case s.Refused != "":
		return fmt.Sprintf("%s %s: %s", diag.Printable(s.Method), diag.Printable(s.Path), s.Refused)
	case !s.Authentic:
		return "NOT TO BE BELIEVED"
	case s.Again == "replay":
		return "REPLAYED"
	case s.Again != "":
		return "authentic, again"
	}
	return "authentic"
}

func (s *received) answered() string {
	if s.Answered == 0 {
		return "no answer: the sender has gone away"
	}
	return fmt.Sprintf("%d %s", s.Answered, http.StatusText(s.Answered))
}
