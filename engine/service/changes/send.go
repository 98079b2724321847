package changes

import (
	"cmp"
	"context"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Bounds of requests, in bytes before compression.
const (
	// mostBody is less than 8 MiB, which a receiver has to take.
	mostBody = 8<<20 - 1
	// envelope is more than stands in a body around one document.
	envelope = 4 << 10
	// mostDocument is the longest document that fits into one.
	mostDocument = mostBody - envelope
)

// Pauses before something that has failed is tried again: they double up to the longest, and each is cut by up to a half at
// random, so that those who failed together do not come back together.
const (
	firstPause = time.Second
	mostPause  = time.Minute
)

func jitter(pause time.Duration) time.Duration { return pause/2 + rand.N(pause/2+1) }

// idleEvery is how often it is looked for documents that nobody has told of.
const idleEvery = 5 * time.Second

// sender sends one channel of a stream to its receiver, one request at a time.
type sender struct {
	held    *held
	stream  store.Stream
	channel string
	secret  config.Secret
	sealer  *sealer
	wake    chan struct{} // something waits, or nothing follows any more

	acknowledged int64
	body         []byte
}

// run sends until ctx ends, or, when nothing is read any more, until nothing waits.
func (s *sender) run(ctx context.Context) {
	for pause := firstPause; ctx.Err() == nil; {
		last := s.held.stands() // asked before it is looked what waits
		more, after, err := s.send(ctx, pause)
		switch {
		case ctx.Err() != nil:
		case fault.Is(err, store.CodeStreamLost):
			s.held.lose()
		case err != nil:
			s.held.warn("documents of a stream are not with their receiver, which is tried again", err, "channel", s.channel, "after", after.String())
			sleep(ctx, after)
			pause = min(2*pause, mostPause)
		case more:
			pause = firstPause
		case last:
			return
		default:
			await(ctx, s.wake, idleEvery)
		}
	}
}

// send makes one request, if something waits. Where it fails, the next one follows after a time.
func (s *sender) send(ctx context.Context, pause time.Duration) (more bool, after time.Duration, err error) {
	after = jitter(pause)
	book := s.held.book
	some, err := s.waiting(ctx, 1)
	if err != nil || len(some) == 0 {
		return false, after, err
	}
	if err := book.limit.begin(ctx); err != nil {
		return false, after, err
	}
	r, reply, err := s.post(ctx)
	book.limit.end()
	if r.Documents == 0 { // nothing was sent
		if fault.Is(err, CodeSealed) {
			s.failed(ctx, Request{At: time.Now()}, fault.From(err), after)
		}
		return false, after, err
	}
	if err == nil {
		r.HTTPStatus = reply.Status
		r.Acknowledged, err = asked{s.organization(), s.channel, s.acknowledged, r.Last}.judge(reply)
	}
	r.Milliseconds = time.Since(r.At).Milliseconds()
	if err != nil {
		after = max(after, reply.RetryAfter)
		s.failed(ctx, r, fault.From(err), after)
		return false, after, err
	}
	s.tell(r)
	// What the receiver has said is written down although the stream ends.
	ctx = context.WithoutCancel(ctx)
	err = asks(ctx, func(ctx context.Context) error {
		return book.log.Acknowledge(ctx, book.fence, s.channel, r.Acknowledged)
	})
	if err != nil {
		return false, after, err
	}
	s.acknowledged = r.Acknowledged
	wake(s.held.room)
	if some, err = s.waiting(ctx, 1); err != nil || len(some) > 0 {
		return err == nil, after, err
	}
	// The next request writes down what came of this one; there is none for now.
	err = asks(ctx, func(ctx context.Context) error { return book.note(ctx, s.held.remember) })
	return err == nil, after, err
}

// failed tells what was wrong with a request, unless the stream has ended in the middle of it.
func (s *sender) failed(ctx context.Context, r Request, f *fault.Fault, after time.Duration) {
	if ctx.Err() != nil {
		return
	}
	r.Code, r.Message, r.Hint, r.RetryAt = f.Code, f.Message, f.Hint, time.Now().Add(after).UTC().Truncate(time.Millisecond)
	s.tell(r)
	_ = asks(ctx, func(ctx context.Context) error { return s.held.book.note(ctx, s.held.remember) }) // for who asks only
}

// tell says what came of a request to who asks.
func (s *sender) tell(r Request) {
	s.held.answered(s.channel, r)
	taken := int64(0)
	if r.Code == "" {
		taken = min(r.Acknowledged-s.acknowledged, int64(r.Documents))
	}
	s.held.m.cfg.Observer.Requested(s.stream.Customer, s.channel, r.Code, int(taken), time.Duration(r.Milliseconds)*time.Millisecond)
}

func (s *sender) waiting(ctx context.Context, most int) (some []store.Waiting, err error) {
	err = asks(ctx, func(ctx context.Context) error {
		some, err = s.held.book.log.Waiting(ctx, s.channel, s.acknowledged, most, mostBody)
		return err
	})
	return some, err
}

// organization is what requests name the customer.
func (s *sender) organization() string { return cmp.Or(s.stream.OrganizationID, s.stream.Customer) }

// post makes a request of what waits. Before it goes out, it is written down that it does: a process that has the stream next
// counts it, and one that has lost the stream learns of it here.
func (s *sender) post(ctx context.Context) (r Request, reply Reply, err error) {
	waiting, err := s.waiting(ctx, s.stream.RecordsPerRequest)
	if err != nil || len(waiting) == 0 {
		return r, reply, err
	}
	body, n, err := s.make(waiting)
	if err != nil {
		return r, reply, err
	}
	if err := asks(ctx, func(ctx context.Context) error { return s.held.book.note(ctx, s.held.remember) }); err != nil {
		return r, reply, err
	}
	r = Request{At: time.Now(), First: waiting[0].Sequence, Last: waiting[n-1].Sequence, Documents: n, Bytes: len(body)}
	reply, err = s.held.m.cfg.Poster.Post(ctx, Post{Stream: s.stream, Secret: s.secret, Body: body})
	return r, reply, err
}

// make is the body of a request, of the first documents that fit into one.
func (s *sender) make(waiting []store.Waiting) (body []byte, n int, err error) {
	body = append(s.body[:0], `{"channel":`...)
	body = appendText(body, s.channel)
	body = append(body, `,"organization_id":`...)
	body = appendText(body, s.organization())
	body = append(body, `,"documents":[`...)
	for _, w := range waiting {
		before := len(body)
		if n > 0 {
			body = append(body, ',')
		}
		body = append(body, `{"document":`...)
		if body, err = s.sealer.appendOpened(body, s.channel, w.Type, w.ID, w.Sealed); err != nil {
			return nil, 0, err
		}
		body = append(body, `,"sequence":`...)
		body = strconv.AppendInt(body, w.Sequence, 10)
		body = append(body, '}')
		if n > 0 && len(body)+len("]}") > mostBody {
			body = body[:before]
			break
		}
		n++
	}
	body = append(body, "]}"...)
	s.body = body
	return body, n, nil
}

// appendText appends a text as JSON.
func appendText(to []byte, text string) []byte {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // of no text
	}
	return append(to, quoted...)
}
