package datastream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder stands between a service and a receiver: it speaks TLS with a certificate that nobody has signed, writes down what
// comes, hands it on, and misbehaves when it is told to.
type recorder struct {
	*httptest.Server
	certificate string // its own, as PEM
	to          *receiver
	client      *http.Client

	mu        sync.Mutex
	exchanges []exchange
	mood      func() mood
	misbehave map[string]int
	arrived   func(time.Time, []numbered)
}

// mood is what a recorder makes of a request: the receiver answers, and answer says what the sender hears of it.
type mood struct {
	name string
	// before is done before the receiver has the request: false cuts the connection.
	before func(context.Context) bool
	// less hands on only so many documents, at least one; 0 hands on all.
	less int
	// answer changes the answer; nil leaves it. It says whether the answer is one that the contract allows.
	answer func(*answer, request, int64) (status int, body []byte, right bool)
	// cut cuts the connection instead of answering.
	cut bool
}

// record starts a recorder, which ends with the test.
func record(t testing.TB, to *receiver) *recorder {
	t.Helper()
	c, _, _ := selfSigned(t)
	r := &recorder{to: to, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true}},
		certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})),
		mood:        func() mood { return mood{} }, misbehave: map[string]int{}}
	r.Server = httptest.NewUnstartedServer(r)
	r.TLS = &tls.Config{Certificates: []tls.Certificate{c}}
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.StartTLS()
	t.Cleanup(func() {
		r.CloseClientConnections()
		r.Close()
		r.client.CloseIdleConnections()
	})
	return r
}

// trusting is a client that takes the recorder's certificate.
func (r *recorder) trusting() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(r.certificate))
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

// behave says what becomes of every request from now on.
func (r *recorder) behave(how func() mood) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mood = how
}

// count is how many requests have come.
func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.exchanges)
}

// all are the requests that came.
func (r *recorder) all() []exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.exchanges)
}

// misbehaved tells how often which mood was had.
func (r *recorder) misbehaved() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprint(r.misbehave)
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, came *http.Request) {
	from := time.Now()
	body, err := io.ReadAll(io.LimitReader(came.Body, 4*mostBody))
	if err != nil {
		panic(http.ErrAbortHandler) // its sender is gone, and it is no request
	}
	is, e := read(came, body, r.to.secret)
	r.mu.Lock()
	e.From, e.Until, e.Answered = from, from.Add(24*time.Hour), -1 // until it has been answered
	index := len(r.exchanges)
	// Requests that are read at the same time stand in the order in which they came.
	for index > 0 && r.exchanges[index-1].From.After(from) {
		index--
	}
	r.exchanges = slices.Insert(r.exchanges, index, e)
	m := r.mood()
	if m.name != "" {
		r.misbehave[m.name]++
	}
	var lastBefore int64
	for _, before := range r.exchanges[:index] {
		if before.Channel == e.Channel {
			lastBefore = max(lastBefore, before.Answered)
		}
	}
	arrived := r.arrived
	r.mu.Unlock()
	if arrived != nil {
		arrived(from, is.Documents)
	}
	// One whose sender is gone has ended: what is killed does not hear an answer.
	gone := context.AfterFunc(came.Context(), func() { r.ended(from, -1) })
	status, said, right := r.answer(came.Context(), m, is, body, came.Header, lastBefore)
	if gone() {
		r.ended(from, right)
	}
	if said == nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(said) // whose sender is gone
}

// ended notes the end of a request, before its answer is on its way.
func (r *recorder) ended(from time.Time, right int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.exchanges) - 1; i >= 0; i-- {
		if e := &r.exchanges[i]; e.From.Equal(from) {
			e.Until, e.Answered = time.Now(), right
			return
		}
	}
}

// answer is what is said to a request, nothing where the connection is cut, and which number a right answer has.
func (r *recorder) answer(ctx context.Context, m mood, is request, body []byte, header http.Header, lastBefore int64) (status int, said []byte, right int64) {
	if m.before != nil && !m.before(ctx) {
		return 0, nil, -1
	}
	if m.less > 0 && m.less < len(is.Documents) {
		part := is
		part.Documents = is.Documents[:m.less]
		text, err := json.Marshal(part)
		if err != nil {
			return 0, nil, -1
		}
		body = compressed(text)
	}
	on, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, r.to.url(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, -1
	}
	on.Header = header.Clone()
	came, err := r.client.Do(on)
	if err != nil {
		return 0, nil, -1 // the receiver is dead
	}
	defer came.Body.Close()
	if said, err = io.ReadAll(came.Body); err != nil || m.cut {
		return 0, nil, -1
	}
	var a answer
	if came.StatusCode != http.StatusOK || json.Unmarshal(said, &a) != nil {
		return came.StatusCode, said, -1
	}
	if m.answer == nil {
		return came.StatusCode, said, a.Last
	}
	last := a.Last
	status, said, allowed := m.answer(&a, is, lastBefore)
	if status == 0 {
		status, last = http.StatusOK, a.Last
		said, _ = json.Marshal(a) // numbers and strings
	}
	if !allowed {
		last = -1
	}
	return status, said, last
}

// read takes a request apart, and says what is wrong with its form.
func read(came *http.Request, body []byte, secret string) (is request, e exchange) {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	defer func() { e.Form = strings.Join(wrong, "; ") }()
	for name, want := range map[string]string{"Content-Type": "application/json; charset=utf8", "Encoding": "gzip", "Authorization": "bearer " + secret} {
		if got := came.Header.Get(name); got != want {
			say("%s is %q", name, got) // a test's own secret
		}
	}
	if came.Method != http.MethodPost || came.Header.Get("Content-Encoding") != "" {
		say("%s with Content-Encoding %q", came.Method, came.Header.Get("Content-Encoding"))
	}
	text, err := inflated(body)
	if err != nil {
		say("%v", err)
		return is, e
	}
	if len(text) >= mostBody {
		say("%d bytes", len(text))
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&is); err != nil {
		say("%v", err)
		return is, e
	}
	if is.Channel != entities && is.Channel != logs {
		say("the channel is %q", is.Channel)
	}
	e.Channel, e.Organization = is.Channel, is.Organization
	for _, d := range is.Documents {
		one, err := about(d)
		if err != nil {
			say("%d: %v: %.200s", d.Sequence, err, d.Document)
		}
		e.Documents = append(e.Documents, one)
	}
	return is, e
}

// about tells what a document is about.
func about(d numbered) (sent, error) {
	s := sent{Number: d.Sequence, Content: sha256.Sum256(d.Document)}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(d.Document, &members); err != nil {
		return s, err
	}
	if err := errors.Join(json.Unmarshal(members["type"], &s.Type), json.Unmarshal(members["id"], &s.ID)); err != nil || s.Type == "" {
		return s, fmt.Errorf("it has no type and id: %w", err)
	}
	if said, is := members["deleted"]; is {
		if s.Deleted = string(said) == "true"; !s.Deleted || len(members) != 3 {
			return s, errors.New("it is deleted, and is something besides")
		}
	}
	for name, value := range members {
		if value[0] == '{' || value[0] == '[' {
			return s, fmt.Errorf("it is not flat: %s", name)
		}
	}
	return s, nil
}

// moods are the ways in which a receiver is a bad one.
func moods() []mood {
	wait := func(most time.Duration) func(context.Context) bool {
		return func(ctx context.Context) bool {
			select {
			case <-time.After(rand.N(most)):
			case <-ctx.Done():
			}
			return true
		}
	}
	wrong := func(status int, text string) func(*answer, request, int64) (int, []byte, bool) {
		return func(*answer, request, int64) (int, []byte, bool) { return status, []byte(text), false }
	}
	change := func(how func(*answer, request, int64)) func(*answer, request, int64) (int, []byte, bool) {
		return func(a *answer, is request, before int64) (int, []byte, bool) {
			how(a, is, before)
			return 0, nil, false
		}
	}
	return []mood{
		{name: "slow", before: wait(1500 * time.Millisecond)},
		{name: "takes one", less: 1},
		{name: "takes some", less: 7},
		{name: "answers less than it has", answer: func(a *answer, is request, _ int64) (int, []byte, bool) {
			a.Last = min(a.Last, is.Documents[rand.IntN(len(is.Documents))].Sequence)
			return 0, nil, true
		}},
		{name: "cut before", before: func(context.Context) bool { return false }},
		{name: "cut behind", cut: true},
		{name: "500", answer: wrong(500, "no")},
		{name: "429", answer: wrong(429, "{}")},
		{name: "redirects", answer: wrong(302, "")},
		{name: "204", answer: wrong(204, "")},
		{name: "no JSON", answer: wrong(200, `{"status":"ok"`)},
		{name: "nothing", answer: wrong(200, "")},
		{name: "large", answer: wrong(200, `{"status":"`+strings.Repeat("ok", 4<<20)+`"}`)},
		{name: "another status", answer: change(func(a *answer, _ request, _ int64) { a.Status = "failed" })},
		{name: "another organization", answer: change(func(a *answer, _ request, _ int64) { a.Organization = "other" })},
		{name: "another channel", answer: change(func(a *answer, _ request, _ int64) { a.Channel += "s" })},
		{name: "of the future", answer: change(func(a *answer, is request, _ int64) {
			a.Last = is.Documents[len(is.Documents)-1].Sequence + 1 + rand.Int64N(100)
		})},
		{name: "old", answer: change(func(a *answer, _ request, before int64) { a.Last = before - 1 - rand.Int64N(100) })},
	}
}

// moody is a receiver that is a bad one every so many requests, and each mood comes as often as the others.
func moody(every int) func() mood {
	list := moods()
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	n := 0
	return func() mood { // under the recorder's lock
		if n++; n%every != 0 {
			return mood{}
		}
		return list[n/every%len(list)]
	}
}

// TestRecorder: what goes through a recorder that has every mood reaches the receiver, and is written down as it was.
func TestRecorder(t *testing.T) {
	t.Parallel()
	to := keep(t, inGo(t))
	r := record(t, to)
	r.behave(moody(2))
	s := to.sender()
	s.client = r.trusting()
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	want := map[key]string{}
	var acknowledged int64
	const all = 400
	for requests := 0; acknowledged < all; requests++ {
		if requests > 20*all {
			t.Fatalf("after %d requests %d are taken", requests, acknowledged)
		}
		var documents []numbered
		for n := acknowledged + 1; n <= min(acknowledged+10, all); n++ {
			k := key{entities, "patient", string(rune('a' + n%26))}
			d := written(n, k.Type, k.ID, strings.Repeat("x", int(n)))
			if want[k] = string(d.Document); n%5 == 0 {
				d = gone(n, k.Type, k.ID)
				delete(want, k)
			}
			documents = append(documents, d)
		}
		a, status, err := s.post(r.URL, entities, nil, documents...)
		last := documents[len(documents)-1].Sequence
		if err != nil || status != http.StatusOK || a.Status != "ok" || a.Organization != "clinic" || a.Channel != entities || a.Last < acknowledged || a.Last > last {
			continue
		}
		acknowledged = a.Last
	}
	h := &history{Organization: "clinic", MostDocuments: 10, MostRequests: 1 << 30, Exchanges: r.all(), Wanted: want}
	var err error
	if h.Copy, _, err = copied(to.db); err != nil {
		t.Fatal(err)
	}
	for _, fault := range h.faults() {
		t.Error(fault)
	}
	for _, m := range moods() {
		if !strings.Contains(r.misbehaved(), m.name) {
			t.Errorf("it was never in the mood %q", m.name)
		}
	}
	// A bad request is seen.
	for name, change := range map[string]func(*http.Request, *[]byte){
		`Encoding is ""`:          func(r *http.Request, _ *[]byte) { r.Header.Del("Encoding") },
		`Content-Encoding "gzip"`: func(r *http.Request, _ *[]byte) { r.Header.Set("Content-Encoding", "gzip") },
		"unknown field":           func(_ *http.Request, b *[]byte) { *b = compressed([]byte(`{"more":1}`)) },
		"it has no type and id": func(_ *http.Request, b *[]byte) {
			*b = compressed([]byte(`{"channel":"logs","organization_id":"clinic","documents":[{"document":{"id":"1"},"sequence":1}]}`))
		},
		"and is something besides": func(_ *http.Request, b *[]byte) {
			*b = compressed([]byte(`{"channel":"logs","organization_id":"clinic","documents":[{"document":{"id":"1","type":"a","deleted":true,"x":1},"sequence":1}]}`))
		},
		"it is not flat": func(_ *http.Request, b *[]byte) {
			*b = compressed([]byte(`{"channel":"logs","organization_id":"clinic","documents":[{"document":{"id":"1","type":"a","x":[]},"sequence":1}]}`))
		},
		"bytes": func(_ *http.Request, b *[]byte) {
			*b = compressed([]byte(`{"channel":"logs` + strings.Repeat(" ", mostBody) + `"}`))
		},
		`Authorization is "bearer `: func(r *http.Request, _ *[]byte) { r.Header.Set("Authorization", "bearer x") },
	} {
		r.behave(func() mood { return mood{} })
		_, _, _ = s.post(r.URL, entities, change, written(1000, "patient", "1", "")) // however it is answered
		if list := r.all(); !strings.Contains(list[len(list)-1].Form, name) {
			t.Errorf("%s is not seen: %q", name, list[len(list)-1].Form)
		}
	}
}
