package webhook

import (
	"bytes"
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// DefaultTolerance is that of a Verifier.
const DefaultTolerance = 5 * time.Minute

// MaxBody bounds what Request reads of a body. A batch of a hundred events stays far below it.
const MaxBody = 1 << 20

// Verifier verifies deliveries. It may be used by many goroutines at once.
type Verifier struct {
	// Secrets are those that may sign: the one in force, and while a rotation goes on the other one too.
	Secrets []string
	// Tolerance is how far the time of a delivery may be from the clock, back and forth. The default is DefaultTolerance;
	// a negative one does not look at the time, which is for requests that were kept.
	Tolerance time.Duration
	// Now is the clock; the default is time.Now.
	Now func() time.Time
}

// Verify returns the event of a request that one of the secrets has signed, and whose time is within the tolerance.
//
// Where the headers of Standard Webhooks are there, their signature has to be right, and their identifier and time have
// to be those of the body. Without them X-CipherStream-Signature has to be right: the body that it signs has both.
func (v *Verifier) Verify(header http.Header, body []byte) (Event, error) {
	keys, err := parseSecrets(v.Secrets)
	if err != nil {
		return Event{}, err
	}
	standard := false
	for _, name := range []string{HeaderID, HeaderTimestamp, HeaderStandardSignature} {
		standard = standard || len(header.Values(name)) > 0
	}
	id, timestamp := header.Get(HeaderID), header.Get(HeaderTimestamp)
	switch {
	case standard && !standardSigned(keys, header, id, timestamp, body), !standard && !ownSigned(keys, header.Values(HeaderSignature), body):
		return Event{}, notSigned()
	}
	event, err := v.read(body)
	if err != nil {
		return Event{}, err
	}
	if standard && (id != event.DeliveryID || timestamp != strconv.FormatInt(event.Timestamp.Unix(), 10)) {
		return Event{}, fault.New(CodeSignature, fault.Usage, "the headers %s and %s are not those of the body", HeaderID, HeaderTimestamp)
	}
	return event, nil
}

// VerifyBody is Verify for an event that was kept, or passed on, without its headers: its member signature has to be
// right.
func (v *Verifier) VerifyBody(body []byte) (Event, error) {
	keys, err := parseSecrets(v.Secrets)
	if err != nil {
		return Event{}, err
	}
	unsigned, signature, ok := withoutSignature(body)
	if !ok || !ownSigned(keys, []string{signature}, unsigned) {
		return Event{}, notSigned()
	}
	return v.read(body)
}

// Request is Verify of a request, whose body it reads up to MaxBody.
func (v *Verifier) Request(w http.ResponseWriter, r *http.Request) (Event, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		return Event{}, fault.New(CodeBody, fault.Usage, "the body of the request cannot be read, or is larger than %d bytes: %w", MaxBody, err)
	}
	return v.Verify(r.Header, body)
}

func notSigned() error {
	return fault.New(CodeSignature, fault.Usage, "no signature is that of the body under one of the secrets").
		WithHint("verify the bytes of the body as they came, before anything parses them, with the customer's current secret")
}

// standardSigned reports whether one of the signatures of Standard Webhooks is right. Those of other versions are passed
// over, as the specification says.
func standardSigned(keys []key, header http.Header, id, timestamp string, body []byte) bool {
	for _, name := range []string{HeaderID, HeaderTimestamp, HeaderStandardSignature} {
		if len(header.Values(name)) != 1 {
			return false
		}
	}
	var expected [][]byte
	for _, k := range keys {
		expected = append(expected, k.standard(id, timestamp, body))
	}
	right := false
	for signature := range strings.SplitSeq(header.Get(HeaderStandardSignature), " ") {
		text, ok := strings.CutPrefix(signature, standardVersion)
		given, err := base64.StdEncoding.Strict().DecodeString(text)
		if !ok || err != nil {
			continue
		}
		for _, e := range expected {
			right = hmac.Equal(e, given) || right
		}
	}
	return right
}

// ownSigned reports whether the one signature is right. The comparison takes the same time wherever they differ.
func ownSigned(keys []key, signatures []string, body []byte) bool {
	if len(signatures) != 1 {
		return false
	}
	right := false
	for _, k := range keys {
		right = hmac.Equal([]byte(k.hexadecimal(body)), []byte(signatures[0])) || right
	}
	return right
}

// withoutSignature is the body without its member signature, which is at the top of it, and its value.
func withoutSignature(body []byte) (unsigned []byte, signature string, ok bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, "", false
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, "", false
		}
		end := d.InputOffset() // behind the name
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, "", false
		}
		if name != "signature" {
			continue
		}
		const member = `"signature":`
		start, after := end-int64(len(member))+1, d.InputOffset()
		if start < 0 || !bytes.HasPrefix(body[start:], append([]byte(member), value...)) || int(after) >= len(body) || body[after] != ',' {
			return nil, "", false
		}
		if json.Unmarshal(value, &signature) != nil || string(value) != `"`+signature+`"` {
			return nil, "", false
		}
		return append(append(make([]byte, 0, len(body)), body[:start]...), body[after+1:]...), signature, true
	}
	return nil, "", false
}

// read is the event of a body that is signed.
func (v *Verifier) read(body []byte) (Event, error) {
	var d document
	if err := json.Unmarshal(body, &d); err != nil {
		return Event{}, fault.New(CodeBody, fault.Usage, "the body is no event: %w", err)
	}
	e, err := d.event()
	if err != nil {
		return Event{}, err
	}
	tolerance, now := v.Tolerance, time.Now
	if tolerance == 0 {
		tolerance = DefaultTolerance
	}
	if v.Now != nil {
		now = v.Now
	}
	if age := now().Sub(e.Timestamp); tolerance > 0 && age.Abs() > tolerance {
		return Event{}, fault.New(CodeTime, fault.Usage, "the delivery %s is of %s, which is %s from now: more than %s",
			e.DeliveryID, d.Timestamp, age.Truncate(time.Second), tolerance).
			WithHint("somebody may send an old request again; if none is accepted, look at the clock of this machine")
	}
	return e, nil
}

func (d document) event() (Event, error) {
	at, err := time.Parse(time.RFC3339, d.Timestamp)
	if err == nil && (d.Event == "" || d.DeliveryID == "") {
		err = errors.New("it has no event, or no delivery_id")
	}
	if err != nil {
		return Event{}, fault.New(CodeBody, fault.Usage, "the body is no event: %w", err)
	}
	e := Event{Event: d.Event, Timestamp: at, DeliveryID: d.DeliveryID, Attempt: d.Attempt, Data: d.Data}
	for _, member := range d.Events {
		m, err := member.event()
		if err != nil {
			return Event{}, err
		}
		e.Events = append(e.Events, m)
	}
	return e, nil
}

// Seen remembers which deliveries were handled, so that each is handled once: a sender that gets no answer sends again, and
// whoever has recorded a request may, too. It is kept in memory: what runs in several processes, or has to outlive one,
// keeps the identifiers with what it does, in the same transaction. The zero value is ready, for many goroutines at once.
type Seen struct {
	// Keep is how long an identifier is remembered at least. The default is 48 hours, longer than any delivery is tried.
	Keep time.Duration
	// Now is the clock; the default is time.Now.
	Now func() time.Time

	mu sync.Mutex
	// young and old are the identifiers of two spans of Keep, one after the other, and since is when young began.
	young, old map[string]struct{}
	since      time.Time
}

// First reports whether a delivery comes for the first time, and remembers it.
func (s *Seen) First(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, keep := time.Now, s.Keep
	if s.Now != nil {
		now = s.Now
	}
	if keep <= 0 {
		keep = 48 * time.Hour
	}
	switch age := now().Sub(s.since); {
	case age >= 2*keep:
		s.young, s.old, s.since = map[string]struct{}{}, nil, now()
	case age >= keep:
		s.young, s.old, s.since = map[string]struct{}{}, s.young, now()
	}
	_, young := s.young[id]
	_, old := s.old[id]
	if young || old {
		return false
	}
	s.young[id] = struct{}{}
	return true
}

// Forget takes a delivery for one that did not come: it could not be handled, and will be sent again.
func (s *Seen) Forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.young, id)
	delete(s.old, id)
}
