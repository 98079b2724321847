package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/delivery"
)

// referenceKey is what answers with a reference list have to have in common to be the same. A customer that was declared
// anew is another one: its list may come from another database.
type referenceKey struct {
	customer *customer.Customer
	// procedure is its name and version, and parameters all values but the mode, which changes nothing.
	procedure, parameters string
}

func (o *order) referenceKey() referenceKey {
	values := maps.Clone(o.values)
	delete(values, paramMode)
	text, err := json.Marshal(values)
	if err != nil {
		panic("api: parameters cannot be encoded: " + err.Error()) // they came as JSON
	}
	return referenceKey{o.customer, o.procedure.name + " " + o.procedure.version, string(text)}
}

// references keeps finished reference lists for some minutes, and makes one run of requests for the same list that come
// at once. What is sealed is never in it.
type references struct {
	age  time.Duration
	most int64
	now  func() time.Time

	runs sync.WaitGroup // that make a list, for whoever waits and for nobody

	mu     sync.Mutex
	lists  map[referenceKey]*list
	bytes  int64
	closed bool
}

// list is a list that is being made, or is there.
type list struct {
	key  referenceKey
	done chan struct{} // closed when what follows it is set
	// answer is the list, or failure why there is none.
	answer  delivery.Answer
	failure *Error
	made    time.Time

	// Of references.mu.
	waiting int                // who want it: they wait for it, or send it
	stop    context.CancelFunc // ends its run
	kept    bool               // it is in lists
	expiry  *time.Timer
}

func newReferences(age time.Duration, most int64, now func() time.Time) *references {
	return &references{age: age, most: most, now: now, lists: map[referenceKey]*list{}}
}

// get is the list of a key. It is made by produce, in a context that ends when nobody waits for it any more. Whoever gets a list
// gives it back with release.
func (r *references) get(ctx context.Context, key referenceKey, produce func(context.Context) (delivery.Answer, *Error)) (l *list, cached bool, err error) {
	r.mu.Lock()
	l = r.lists[key]
	if l == nil {
		l = &list{key: key, done: make(chan struct{}), kept: !r.closed}
		if l.kept {
			r.lists[key] = l
		}
		var running context.Context
		running, l.stop = context.WithCancel(context.WithoutCancel(ctx))
		r.runs.Go(func() { r.produce(running, l, produce) })
	} else {
		select {
		case <-l.done:
			cached = true
		default:
		}
	}
	l.waiting++
	r.mu.Unlock()
	select {
	case <-l.done:
		return l, cached, nil
	case <-ctx.Done():
		r.release(l)
		return nil, false, context.Cause(ctx)
	}
}

func (r *references) produce(ctx context.Context, l *list, produce func(context.Context) (delivery.Answer, *Error)) {
	answer, failure := produce(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	l.answer, l.failure, l.made = answer, failure, r.now()
	close(l.done)
	l.stop()
	if failure != nil || l.waiting == 0 || !l.kept || r.closed {
		r.drop(l)
		return
	}
	r.bytes += answer.Spool.Size()
	l.expiry = time.AfterFunc(r.age, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.drop(l)
	})
	for r.bytes > r.most {
		r.drop(r.oldest())
	}
}

// oldest is the finished list that was made first. There is one while bytes are kept.
func (r *references) oldest() (oldest *list) {
	for _, l := range r.lists {
		if l.expiry != nil && (oldest == nil || l.made.Before(oldest.made)) {
			oldest = l
		}
	}
	return oldest
}

// drop takes a list out, whose bytes go when nobody sends them.
func (r *references) drop(l *list) {
	if l.expiry != nil {
		l.expiry.Stop()
		l.expiry = nil
		r.bytes -= l.answer.Spool.Size()
	}
	if l.kept = false; r.lists[l.key] == l {
		delete(r.lists, l.key)
	}
	l.closeUnused()
}

// closeUnused gives the bytes of a list back that nobody will ask for again.
func (l *list) closeUnused() {
	if l.waiting == 0 && !l.kept && l.answer.Spool != nil {
		l.answer.Spool.Close()
	}
}

// release says that one who wanted the list has it, or has gone. A run for nobody ends.
func (r *references) release(l *list) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.waiting--; l.waiting > 0 {
		return
	}
	select {
	case <-l.done:
		l.closeUnused()
	default:
		r.drop(l)
		l.stop()
	}
}

// close forgets all lists, and returns when no run makes one: one that nobody waits for takes a while to end.
func (r *references) close() {
	r.mu.Lock()
	r.closed = true
	for _, l := range r.lists {
		select {
		case <-l.done:
			r.drop(l)
		default:
		}
	}
	r.mu.Unlock()
	r.runs.Wait()
}

// reference answers with a reference list. conditional is true of a GET, which may say what it has already.
func (a *API) reference(x *exchange, o *order, conditional bool) {
	if o.encrypted {
		a.answer(x, o)
		return
	}
	who := x.asker()
	l, cached, err := a.references.get(x.ctx, o.referenceKey(), func(ctx context.Context) (delivery.Answer, *Error) {
		return a.produceReference(ctx, who, o)
	})
	if err != nil {
		x.giveUp(x.outcome(err))
		return
	}
	defer a.references.release(l)
	if x.info.Cached = cached; l.failure != nil {
		copied := *l.failure
		x.giveUp(&copied)
		return
	}
	tag := `"` + l.answer.Receipt.SHA256 + `"`
	x.info.RunID = l.answer.Receipt.RunID
	decorate := func(h http.Header, _ delivery.Head) {
		h.Set("ETag", tag)
		h.Set("Cache-Control", "private, no-cache")
		if cached {
			h.Set("Age", strconv.Itoa(int(a.Now().Sub(l.made)/time.Second)))
		}
	}
	if conditional && matches(x.r.Header.Values("If-None-Match"), tag) {
		h := x.w.Header()
		decorate(h, delivery.Head{})
		h.Set(headerRun, x.info.RunID)
		x.sendBytes(http.StatusNotModified, o.form.ContentType, nil)
		return
	}
	if err := l.answer.Send(x.ctx, &response{x: x, form: o.form, decorate: decorate}); err != nil {
		x.giveUp(x.outcome(err))
	}
}

// produceReference runs a reference procedure for everybody who waits for its list.
func (a *API) produceReference(ctx context.Context, who asker, o *order) (answer delivery.Answer, failure *Error) {
	defer func() {
		if cause := recover(); cause != nil {
			a.broke(ctx, who.requestID, cause)
			failure = fail(Internal)
		}
	}()
	who.ctx = ctx
	e, err := a.prepare(who, o, a.StreamTimeout)
	if err != nil {
		return answer, fromError(err)
	}
	defer e.close()
	answer, err = delivery.Spooled{Spool: a.Spools.New(), Started: e.started}.Run(ctx, e.run)
	if err != nil {
		failure = fromError(err)
	}
	e.end(answer.Receipt, failure)
	return answer, failure
}

// matches reports whether a condition names a tag (RFC 9110, section 13.1.2).
func matches(ifNoneMatch []string, tag string) bool {
	for candidate := range strings.SplitSeq(strings.Join(ifNoneMatch, ","), ",") {
		candidate = strings.TrimSpace(candidate)
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == tag {
			return true
		}
	}
	return false
}
