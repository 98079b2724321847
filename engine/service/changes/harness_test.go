package changes

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	record "github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const clinic = "clinic-7"

var someone = store.Actor{Who: "user:test", From: "local"}

// key names a document of the practice.
type key struct{ channel, kind, id string }

// event is a change in the practice's log.
type event struct {
	key
	operation, document string
	at                  time.Time
}

// practice is a database with a log of its changes, and the source that reads both, as mysql-changes does.
type practice struct {
	mu        sync.Mutex
	documents map[key]string
	log       []event
	news      chan struct{} // closed when there is more
	random    *rand.Rand    // nil breaks nothing, and gives batches of 3
	channels  []string
	check     error
	// broken is what the next run ends with.
	broken error
	// parts are batches that a run delivers as of the copy before it follows the log.
	parts [][]event
	// forget are documents that are not delivered although they are asked for.
	forget bool
	// away: the customer is not served here.
	away   bool
	runs   int
	orders []Order
}

func newPractice() *practice {
	return &practice{documents: map[key]string{}, news: make(chan struct{}), channels: []string{Entities, Logs}}
}

func (p *practice) write(channel, kind, id, value string) {
	text := fmt.Sprintf(`{"id":%q,"type":%q,"value":%q}`, id, kind, value)
	p.commit(event{key: key{channel, kind, id}, operation: changes.OpWrite, document: text})
}

func (p *practice) remove(channel, kind, id string) {
	p.commit(event{key: key{channel, kind, id}, operation: changes.OpDelete})
}

func (p *practice) truncate(channel, kind string) {
	p.commit(event{key: key{channel, kind, ""}, operation: changes.OpTruncate})
}

func (p *practice) commit(e event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.at = time.Now()
	switch e.operation {
	case changes.OpWrite:
		p.documents[e.key] = e.document
	case changes.OpDelete:
		if _, ok := p.documents[e.key]; !ok {
			return
		}
		delete(p.documents, e.key)
	case changes.OpTruncate:
		maps.DeleteFunc(p.documents, func(k key, _ string) bool { return k.channel == e.channel && k.kind == e.kind })
	}
	p.log = append(p.log, e)
	close(p.news)
	p.news = make(chan struct{})
}

// left are the parts that are to be delivered yet.
func (p *practice) left() [][]event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.parts)
}

// position is where a run of the practice's source is.
type position struct {
	Copied bool   `json:"copied"`
	After  string `json:"after"` // of the copy
	Log    int    `json:"log"`
}

func (p *practice) Source(_ context.Context, customer string, o Order) (Source, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if customer != clinic || p.away {
		return nil, fault.New(CodeNoPipeline, fault.Usage, "none")
	}
	return &practiceRun{practice: p, order: o}, nil
}

type practiceRun struct {
	*practice
	order Order
	sink  engine.TableSink
	at    position
}

func (r *practiceRun) Channels() []string          { return r.channels }
func (r *practiceRun) Check(context.Context) error { return r.check }

func (r *practiceRun) chance(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.random != nil && r.random.IntN(n) == 0
}

func (r *practiceRun) some(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.random == nil {
		return min(n, 3)
	}
	return min(n, 1+r.random.IntN(7))
}

var errAway = fault.New("practice.away", fault.Connect, "the database is away").WithRetry()

func (r *practiceRun) Run(ctx context.Context, sink engine.TableSink) error {
	r.mu.Lock()
	r.runs++
	r.orders = append(r.orders, r.order)
	broken := r.broken
	r.broken = nil
	r.mu.Unlock()
	if broken != nil {
		return broken
	}
	r.sink = sink
	if err := sink.Open(ctx, engine.Table{Schema: changes.Schema(), RunID: r.order.RunID}); err != nil {
		return err
	}
	if r.order.Position != "" {
		if err := json.Unmarshal([]byte(r.order.Position), &r.at); err != nil {
			return fault.New("practice.position", fault.Source, "%w", err)
		}
	} else {
		r.mu.Lock()
		r.at.Log = len(r.log)
		r.mu.Unlock()
	}
	for !r.at.Copied {
		if err := r.page(ctx); err != nil {
			return err
		}
	}
	r.mu.Lock()
	end := len(r.log)
	r.mu.Unlock()
	for _, part := range r.left() {
		if err := r.deliver(ctx, changes.OriginCopy, part); err != nil {
			return err
		}
		r.mu.Lock()
		r.parts = r.parts[1:]
		r.mu.Unlock()
	}
	for {
		r.mu.Lock()
		news, length := r.news, len(r.log)
		r.mu.Unlock()
		if r.order.Again != nil && r.at.Log >= end {
			break
		}
		if r.at.Log < length {
			if err := r.follow(ctx, length); err != nil {
				return err
			}
			continue
		}
		select {
		case <-news:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err := r.again(ctx); err != nil {
		return err
	}
	_, err := sink.Commit(ctx)
	return err
}

// follow delivers a batch of the log.
func (r *practiceRun) follow(ctx context.Context, length int) error {
	n := r.some(length - r.at.Log)
	r.mu.Lock()
	batch := slices.Clone(r.log[r.at.Log : r.at.Log+n])
	r.mu.Unlock()
	r.at.Log += n
	return r.deliver(ctx, changes.OriginLog, batch)
}

// page delivers the log up to now, and then a page of the copy as it is now.
func (r *practiceRun) page(ctx context.Context) error {
	r.mu.Lock()
	before := slices.Clone(r.log[r.at.Log:])
	var keys []key
	for k := range r.documents {
		if k.name() > r.at.After {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b key) int { return cmp.Compare(a.name(), b.name()) })
	keys = keys[:min(5, len(keys))]
	var page []event
	for _, k := range keys {
		page = append(page, event{key: k, operation: changes.OpWrite, document: r.documents[k]})
	}
	r.at.Log += len(before)
	r.mu.Unlock()
	if err := r.deliver(ctx, changes.OriginLog, before); err != nil {
		return err
	}
	r.at.Copied = len(page) == 0
	if !r.at.Copied {
		r.at.After = page[len(page)-1].name()
	}
	return r.deliver(ctx, changes.OriginCopy, page)
}

func (k key) name() string { return k.channel + "/" + k.kind + "/" + k.id }

// again delivers the log up to now, and the documents that were asked for as they are now.
func (r *practiceRun) again(ctx context.Context) error {
	r.mu.Lock()
	before := slices.Clone(r.log[r.at.Log:])
	var asked []event
	for _, d := range r.order.Again.Documents {
		e := event{operation: changes.OpDelete}
		for _, channel := range Channels {
			k := key{channel, d.Type, d.ID}
			if strings.HasPrefix(d.Type, channel) {
				e.key = k
				if text, ok := r.documents[k]; ok {
					e.operation, e.document = changes.OpWrite, text
				}
			}
		}
		if !r.forget {
			asked = append(asked, e)
		}
	}
	r.at.Log += len(before)
	r.mu.Unlock()
	if err := r.deliver(ctx, changes.OriginLog, before); err != nil {
		return err
	}
	return r.deliver(ctx, changes.OriginAgain, asked)
}

func (r *practiceRun) deliver(ctx context.Context, origin string, events []event) error {
	if r.chance(40) {
		return errAway
	}
	rec := batchOf(origin, events)
	defer rec.Release()
	at, _ := json.Marshal(r.at)
	if err := r.sink.Write(ctx, engine.Rows{Record: rec, Checkpoint: string(at)}); err != nil {
		return err
	}
	if r.chance(40) {
		return errAway
	}
	return nil
}

func batchOf(origin string, events []event) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, changes.Schema())
	defer b.Release()
	text := func(i int) *array.StringBuilder { return b.Field(i).(*array.StringBuilder) }
	for _, e := range events {
		text(changes.ColumnChannel).Append(e.channel)
		text(changes.ColumnType).Append(e.kind)
		text(changes.ColumnID).Append(e.id)
		text(changes.ColumnOperation).Append(e.operation)
		text(changes.ColumnOrigin).Append(origin)
		if e.document == "" {
			text(changes.ColumnDocument).AppendNull()
		} else {
			text(changes.ColumnDocument).Append(e.document)
		}
		if e.at.IsZero() {
			b.Field(changes.ColumnCommittedAt).AppendNull()
		} else {
			b.Field(changes.ColumnCommittedAt).(*array.TimestampBuilder).Append(arrow.Timestamp(e.at.UnixMicro()))
		}
	}
	return b.NewRecord()
}

// body is a request as the contract has it.
type body struct {
	Channel      string `json:"channel"`
	Organization string `json:"organization_id"`
	Documents    []struct {
		Document json.RawMessage `json:"document"`
		Sequence int64           `json:"sequence"`
	} `json:"documents"`
}

// receiver is a customer's copy. It holds every request against the contract.
type receiver struct {
	t  *testing.T
	mu sync.Mutex
	// copy is what it has, by channel, type and id; taken up to which number, and seen what every number ever had.
	copy     map[key]string
	taken    map[string]int64
	highest  map[string]int64
	seen     map[string]map[int64]string
	arrivals []time.Time
	posts    []Post
	bodies   []body
	// limit and records are what is set up.
	limit, records int
	// answer, if set, makes the answer of a request; take processes so many of its documents.
	answer func(ctx context.Context, b body, take func(n int) int64) (Reply, error)
	delay  func() time.Duration
	dead   bool
}

func newReceiver(t *testing.T) *receiver {
	return &receiver{t: t, copy: map[key]string{}, taken: map[string]int64{}, highest: map[string]int64{}, seen: map[string]map[int64]string{},
		limit: 300, records: 500}
}

func ok(b body, n int64) Reply {
	text, _ := json.Marshal(map[string]any{"status": "ok", "organization_id": b.Organization, "channel": b.Channel, "max_sequence_processed": n})
	return Reply{Status: http.StatusOK, Body: text}
}

func (r *receiver) Post(ctx context.Context, p Post) (Reply, error) {
	if r.delay != nil {
		sleep(ctx, r.delay())
	}
	if ctx.Err() != nil {
		return Reply{}, fault.New(CodeReceiverConnection, fault.Connect, "it was broken off")
	}
	r.mu.Lock()
	r.arrivals = append(r.arrivals, time.Now())
	p.Body = bytes.Clone(p.Body)
	r.posts = append(r.posts, p)
	var b body
	if err := json.Unmarshal(p.Body, &b); err != nil || len(p.Body) >= 8<<20 {
		r.t.Errorf("a body of %d bytes: %v", len(p.Body), err)
	}
	r.bodies = append(r.bodies, b)
	r.look(b)
	answer := r.answer
	dead := r.dead
	r.mu.Unlock()
	take := func(n int) int64 {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.take(b, n)
	}
	switch {
	case dead:
		return Reply{}, fault.New(CodeReceiverConnection, fault.Connect, "the connection was refused")
	case answer != nil:
		return answer(ctx, b, take)
	}
	return ok(b, take(len(b.Documents))), nil
}

// look holds a request against the contract, before it is processed.
func (r *receiver) look(b body) {
	if n := len(b.Documents); n == 0 || n > r.records {
		r.t.Errorf("%d documents in a request", n)
	}
	last := int64(0)
	for _, d := range b.Documents {
		if d.Sequence <= last {
			r.t.Errorf("number %d behind %d", d.Sequence, last)
		}
		last = d.Sequence
		seen := r.seen[b.Channel]
		if seen == nil {
			seen = map[int64]string{}
			r.seen[b.Channel] = seen
		}
		before, known := seen[d.Sequence]
		switch {
		case known && before != string(d.Document):
			r.t.Errorf("the number %d of %s has two contents: %s and %s", d.Sequence, b.Channel, before, d.Document)
		case !known && d.Sequence < r.highest[b.Channel]:
			r.t.Errorf("the number %d of %s comes for the first time behind %d", d.Sequence, b.Channel, r.highest[b.Channel])
		}
		seen[d.Sequence] = string(d.Document)
		r.highest[b.Channel] = max(r.highest[b.Channel], d.Sequence)
	}
}

// take processes the first documents, as a receiver does that compares numbers.
func (r *receiver) take(b body, n int) int64 {
	for _, d := range b.Documents[:n] {
		if d.Sequence <= r.taken[b.Channel] {
			continue
		}
		var of struct {
			ID      string `json:"id"`
			Type    string `json:"type"`
			Deleted bool   `json:"deleted"`
		}
		if err := json.Unmarshal(d.Document, &of); err != nil {
			r.t.Errorf("%s: %v", d.Document, err)
		}
		k := key{b.Channel, of.Type, of.ID}
		if of.Deleted {
			delete(r.copy, k)
		} else {
			r.copy[k] = string(d.Document)
		}
		r.taken[b.Channel] = d.Sequence
	}
	return r.taken[b.Channel]
}

// limited fails where more requests have arrived in a sliding minute than may.
func (r *receiver) limited() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	arrivals := slices.SortedFunc(slices.Values(r.arrivals), time.Time.Compare)
	for i := r.limit; i < len(arrivals); i++ {
		if between := arrivals[i].Sub(arrivals[i-r.limit]); between < time.Minute {
			r.t.Errorf("%d requests within %s", r.limit+1, between)
			return
		}
	}
}

// process is one process of the service, that may die.
type process struct {
	*record.Store
	*Manager
	mu   sync.Mutex
	dead bool
	// doubtful: the next change of the stream's database is made, and answered with an error.
	doubtful bool
	// lies is true where the record is not asked to renew a lease, and says all the same that it was.
	lies bool
}

func (p *process) gone() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return fault.New(store.CodeFailed, fault.Internal, "the process is dead")
	}
	return nil
}

func (p *process) die() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
}

func (p *process) RenewStream(ctx context.Context, l store.StreamLease) (store.StreamLease, error) {
	if err := p.gone(); err != nil {
		return l, err
	}
	if p.lies {
		return l, nil
	}
	return p.Store.RenewStream(ctx, l)
}

func (p *process) ClaimStream(ctx context.Context, customer, holder string) (l store.StreamLease, ok bool, err error) {
	if err := p.gone(); err != nil {
		return l, false, err
	}
	return p.Store.ClaimStream(ctx, customer, holder)
}

func (p *process) ReleaseStream(ctx context.Context, l store.StreamLease) error {
	if err := p.gone(); err != nil {
		return err
	}
	return p.Store.ReleaseStream(ctx, l)
}

func (p *process) FailStream(ctx context.Context, l store.StreamLease, f store.StreamFault, a store.Audit) error {
	if err := p.gone(); err != nil {
		return err
	}
	return p.Store.FailStream(ctx, l, f, a)
}

func (p *process) Log(ctx context.Context, customer string) (store.StreamLog, error) {
	log, err := p.Store.Log(ctx, customer)
	return &processLog{log, p}, err
}

type processLog struct {
	store.StreamLog
	of *process
}

func (l *processLog) Append(ctx context.Context, fence int64, a store.Append) (int, error) {
	if err := l.of.gone(); err != nil {
		return 0, err
	}
	n, err := l.StreamLog.Append(ctx, fence, a)
	return n, l.of.answer(err)
}

// answer is what is said of a change.
func (p *process) answer(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && p.doubtful {
		p.doubtful = false
		err = fault.New(store.CodeFailed, fault.Internal, "there was no answer")
	}
	return err
}

func (l *processLog) Acknowledge(ctx context.Context, fence int64, channel string, sequence int64) error {
	if err := l.of.gone(); err != nil {
		return err
	}
	return l.of.answer(l.StreamLog.Acknowledge(ctx, fence, channel, sequence))
}

func (p *process) Post(ctx context.Context, r *receiver, post Post) (Reply, error) {
	if err := p.gone(); err != nil {
		return Reply{}, err
	}
	return r.Post(ctx, post)
}

type posts struct {
	process  *process
	receiver *receiver
}

func (p posts) Post(ctx context.Context, post Post) (Reply, error) {
	return p.process.Post(ctx, p.receiver, post)
}

// house is a record with a practice and a receiver.
type house struct {
	t         *testing.T
	record    *record.Store
	key       *datakey.Key
	practice  *practice
	receiver  *receiver
	processes []*process
}

func newHouse(t *testing.T) *house {
	t.Helper()
	key, err := datakey.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &house{t: t, record: record.NewAt(time.Now), key: key, practice: newPractice(), receiver: newReceiver(t)}
}

// within runs a test in a bubble whose time passes when everybody waits.
func within(t *testing.T, test func(t *testing.T, h *house)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer h.stop()
		test(t, h)
	})
}

func (h *house) stop() {
	for _, p := range h.processes {
		p.Stop(context.Background())
	}
}

func (h *house) process(change ...func(*Config)) *process {
	h.t.Helper()
	p := &process{Store: h.record}
	cfg := Config{Record: p, Sources: h.practice, Key: h.key, Holder: fmt.Sprintf("process-%d", len(h.processes)), Poster: posts{p, h.receiver}}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if p.Manager, err = New(cfg); err != nil {
		h.t.Fatal(err)
	}
	p.Manager.Start()
	h.processes = append(h.processes, p)
	return p
}

func (h *house) settings() Settings {
	return Settings{URL: "https://receiver.example.com/in", Secret: config.NewSecret("s3cret"), RecordsPerRequest: h.receiver.records,
		RequestsPerMinute: h.receiver.limit, Channels: []string{Logs, Entities}}
}

// enabled sets a stream up and enables it.
func (h *house) enabled(p *process) {
	h.t.Helper()
	if _, err := p.Put(h.t.Context(), clinic, h.settings(), someone); err != nil {
		h.t.Fatal(err)
	}
	h.enable(p)
}

func (h *house) enable(p *process) {
	h.t.Helper()
	if _, err := p.Enable(h.t.Context(), clinic, someone); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) disable(p *process) {
	h.t.Helper()
	if _, err := p.Disable(h.t.Context(), clinic, someone); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) view(p *process) View {
	h.t.Helper()
	v, err := p.Get(h.t.Context(), clinic)
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

// equal reports whether the receiver's copy is the practice, and what is not.
func (h *house) equal() string {
	h.practice.mu.Lock()
	defer h.practice.mu.Unlock()
	h.receiver.mu.Lock()
	defer h.receiver.mu.Unlock()
	if maps.Equal(h.practice.documents, h.receiver.copy) {
		return ""
	}
	return fmt.Sprintf("the practice has %d documents, and the copy %d", len(h.practice.documents), len(h.receiver.copy))
}

// until waits until something is so, for as long as it may take.
func (h *house) until(what string, most time.Duration, so func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(most); !so(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("it is not so after %s: %s; %s", most, what, h.equal())
		}
	}
}

func (h *house) untilEqual(most time.Duration) {
	h.t.Helper()
	h.until("the copy is the practice", most, func() bool { return h.equal() == "" })
}
