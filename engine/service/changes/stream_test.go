package changes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// fill writes some documents of both channels.
func (h *house) fill(n int) {
	for i := range n {
		h.practice.write(Entities, "entities-a", strconv.Itoa(i), "first")
		h.practice.write(Logs, "logs-a", strconv.Itoa(i), "first")
	}
}

// TestStream: what there is is copied, what follows is followed, and deleted what is; a request says what the contract wants.
func TestStream(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.fill(12)
		p := h.process()
		h.enabled(p)
		h.untilEqual(time.Minute)
		h.practice.write(Entities, "entities-a", "1", "second")
		h.practice.remove(Logs, "logs-a", "2")
		h.practice.write(Entities, "entities-b", `x:\"`, "é\u2028</script>")
		h.untilEqual(time.Minute)
		v := h.view(p)
		for _, c := range v.Channels {
			if c.Lag != 0 || c.Waiting != 0 || c.Last == nil || c.Last.Code != "" || c.Last.HTTPStatus != 200 || c.Last.Acknowledged != c.Sequence {
				t.Errorf("%+v, %+v", c, c.Last)
			}
		}
		if v.Channels[0].Sequence != 14 || v.Channels[1].Sequence != 13 || !v.Copied || v.Fault != nil || v.Reading != nil || v.Settings.Secret.Reveal() != "" {
			t.Errorf("%+v", v)
		}
		post := h.receiver.posts[0]
		if post.Secret.Reveal() != "s3cret" || h.receiver.bodies[0].Organization != clinic {
			t.Errorf("%+v, %+v", post, h.receiver.bodies[0])
		}
	})
}

// TestHistories: whatever happens, the copy is the practice in the end, no number has two contents, numbers only grow, and no
// limit is passed.
func TestHistories(t *testing.T) {
	n := 12
	if text := os.Getenv("STREAM_HISTORIES"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	for seed := range n {
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			within(t, func(_ *testing.T, h *house) { history(h, uint64(seed)) })
		})
	}
}

func history(h *house, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	h.practice.random = rand.New(rand.NewPCG(seed, 2))
	moods := rand.New(rand.NewPCG(seed, 3))
	h.receiver.records = 1 + random.IntN(40)
	h.receiver.limit = []int{300, 120, 60, 20}[random.IntN(4)]
	h.receiver.delay = func() time.Duration {
		h.practice.mu.Lock()
		defer h.practice.mu.Unlock()
		return time.Duration(moods.IntN(3000)) * time.Millisecond
	}
	honest := false
	h.receiver.answer = func(ctx context.Context, b body, take func(int) int64) (Reply, error) {
		h.practice.mu.Lock()
		mood, part := moods.IntN(14), moods.IntN(len(b.Documents)+1)
		if honest {
			mood = 99
		}
		h.practice.mu.Unlock()
		switch mood {
		case 0:
			return Reply{}, fault.New(CodeReceiverConnection, fault.Connect, "it was broken off")
		case 1:
			take(len(b.Documents))
			return Reply{}, fault.New(CodeReceiverTimeout, fault.Connect, "it has taken them, and not answered")
		case 2:
			return ok(b, take(part)), nil
		case 3:
			return ok(b, take(len(b.Documents))+5), nil
		case 4:
			return ok(b, -3), nil
		case 5:
			b.Organization = "another"
			return ok(b, take(part)), nil
		case 6:
			return Reply{Status: 503, RetryAfter: 5 * time.Second}, nil
		case 7:
			return Reply{Status: 200, Body: []byte("<html>")}, nil
		case 8:
			sleep(ctx, 20*time.Second)
		}
		return ok(b, take(len(b.Documents))), nil
	}
	h.fill(random.IntN(30))
	p := h.process(func(c *Config) { c.Limits = Limits{Documents: 50, Bytes: 1 << 20} })
	h.enabled(p)
	for range 150 {
		kind := []string{"-a", "-b"}[random.IntN(2)]
		channel := Channels[random.IntN(2)]
		id := strconv.Itoa(random.IntN(25))
		switch random.IntN(30) {
		case 0, 1, 2, 3, 4, 5:
			time.Sleep(time.Duration(random.IntN(4000)) * time.Millisecond)
		case 6, 7, 8, 9:
			h.practice.remove(channel, channel+kind, id)
		case 10:
			if random.IntN(3) == 0 {
				h.practice.truncate(channel, channel+kind)
			}
		case 11:
			h.disable(p)
			anew := random.IntN(3) == 0
			above := int64(0)
			if last := channelOf(h.view(p), channel).Sequence; !anew && last > 0 {
				above = random.Int64N(last + 1)
			}
			dry, err := p.Reset(h.t.Context(), clinic, channel, above, anew, true, someone)
			if err != nil {
				h.t.Fatal(err)
			}
			result, err := p.Reset(h.t.Context(), clinic, channel, above, anew, false, someone)
			for fault.Is(err, CodeEnding) || fault.Is(err, store.CodeFailed) { // a process that died has the lease yet; or there was no answer
				result, err = p.Reset(h.t.Context(), clinic, channel, above, anew, false, someone)
			}
			if err != nil || result.Documents < dry.Documents {
				h.t.Fatalf("%+v, %+v, %v", dry, result, err)
			}
			h.enable(p)
		case 12:
			p.die()
			p = h.process(func(c *Config) { c.Limits = Limits{Documents: 50, Bytes: 1 << 20} })
		case 13:
			p.Stop(h.t.Context())
			p = h.process(func(c *Config) { c.Limits = Limits{Documents: 50, Bytes: 1 << 20} })
		case 14:
			h.disable(p)
			h.enable(p)
		case 15:
			p.mu.Lock()
			p.doubtful = true
			p.mu.Unlock()
		default:
			h.practice.write(channel, channel+kind, id, fmt.Sprint(random.Uint32()))
		}
	}
	h.practice.mu.Lock()
	honest = true
	h.practice.random = nil
	h.practice.mu.Unlock()
	h.untilEqual(3 * time.Hour)
	h.until("nothing waits, and nothing is to be read again", 3*time.Hour, func() bool {
		v := h.view(p)
		for _, c := range v.Channels {
			if c.Waiting > 0 || c.Again > 0 {
				return false
			}
		}
		return true
	})
	if why := h.equal(); why != "" {
		h.t.Error(why)
	}
	h.receiver.limited()
}

func channelOf(v View, name string) ChannelView {
	for _, c := range v.Channels {
		if c.Name == name {
			return c
		}
	}
	return ChannelView{}
}

// TestLimit: in no minute there are more requests than may be, as the receiver counts them, whatever the way of each takes,
// over both channels, and over processes that die and others that follow; and it is not fewer than nearly as many.
func TestLimit(t *testing.T) {
	for _, limit := range []int{1, 7, 60, 300} {
		t.Run(strconv.Itoa(limit), func(t *testing.T) {
			within(t, func(t *testing.T, h *house) {
				random := rand.New(rand.NewPCG(7, 7))
				h.receiver.limit, h.receiver.records = limit, 1
				h.receiver.delay = func() time.Duration {
					h.practice.mu.Lock()
					defer h.practice.mu.Unlock()
					return time.Duration(random.IntN(150)) * time.Millisecond
				}
				h.fill(limit * 4)
				p := h.process()
				h.enabled(p)
				time.Sleep(90 * time.Second)
				p.Stop(t.Context())
				p = h.process()
				time.Sleep(30 * time.Second)
				p.die()
				p = h.process()
				time.Sleep(2 * time.Minute)
				h.disable(p)
				if _, err := p.Reset(t.Context(), clinic, Entities, 0, true, false, someone); err != nil {
					t.Fatal(err)
				}
				h.enable(p)
				time.Sleep(2 * time.Minute)
				h.receiver.limited()
				if n := len(h.receiver.arrivals); n < limit*9/2 && limit > 1 || n < 4 {
					t.Errorf("only %d requests in 6 minutes", n)
				}
			})
		})
	}
}

// TestLostLease: a process that has lost its lease and does not know it writes nothing and sends nothing any more when another
// has the stream, and the stream goes on there.
func TestLostLease(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.fill(3)
		p := h.process()
		p.lies = true
		h.enabled(p)
		h.untilEqual(time.Minute)
		other := h.process()
		h.until("the other has the stream", time.Minute, func() bool { return other.holding(clinic) != nil })
		h.practice.write(Entities, "entities-a", "1", "second")
		h.untilEqual(time.Minute)
		// It notices when it is about to write something that the other has not written before it.
		written := int64(4)
		h.until("the first one has noticed", time.Minute, func() bool {
			h.practice.write(Entities, "entities-a", "1", fmt.Sprint("change ", written))
			written++
			h.untilEqual(time.Minute)
			return p.holding(clinic) == nil
		})
		if h.receiver.highest[Entities] != written {
			t.Errorf("%d documents were numbered up to %d", written, h.receiver.highest[Entities])
		}
	})
}

// TestDeath: the stream of a process that dies goes on in another when its lease has run out, from where it was.
func TestDeath(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.fill(10)
		p := h.process()
		h.enabled(p)
		h.untilEqual(time.Minute)
		p.die()
		other := h.process()
		h.practice.write(Entities, "entities-a", "1", "second")
		began := time.Now()
		h.untilEqual(time.Minute)
		if took := time.Since(began); took > store.StreamLeaseTime+5*time.Second || h.receiver.highest[Entities] != 11 {
			t.Errorf("after %s, numbers up to %d", took, h.receiver.highest[Entities])
		}
		other.Stop(t.Context())
	})
}

// TestPaused: where as much waits of one channel as may, nothing more is read of any; and it goes on when there is room.
func TestPaused(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.receiver.dead = true
		h.receiver.records = 10
		p := h.process(func(c *Config) { c.Limits = Limits{Documents: 20} })
		h.enabled(p)
		h.until("what there is was copied", time.Minute, func() bool { return h.view(p).Copied })
		for i := range 100 {
			h.practice.write(Logs, "logs-a", strconv.Itoa(i), "first")
		}
		h.practice.write(Entities, "entities-a", "1", "first")
		time.Sleep(5 * time.Minute)
		v := h.view(p)
		if c := channelOf(v, Logs); c.Waiting < 20 || c.Waiting > 23 || len(v.Paused) != 1 || v.Paused[0] != Logs || channelOf(v, Entities).Sequence != 0 {
			t.Errorf("%+v", v)
		}
		if last := channelOf(v, Logs).Last; last == nil || last.Code != CodeReceiverConnection || last.RetryAt.Before(time.Now().Add(-time.Second)) {
			t.Errorf("%+v", last)
		}
		if n := len(h.receiver.arrivals); n < 5 || n > 20 {
			t.Errorf("%d requests to a receiver that is away, in 5 minutes", n)
		}
		h.receiver.mu.Lock()
		h.receiver.dead = false
		h.receiver.mu.Unlock()
		h.untilEqual(5 * time.Minute)
		if v := h.view(p); len(v.Paused) > 0 {
			t.Errorf("%+v", v.Paused)
		}
	})
}

// TestStands: a source that cannot go on stops the stream with its code. What waits is sent yet; nothing is read before somebody
// enables it again.
func TestStands(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.fill(3)
		p := h.process()
		h.enabled(p)
		h.untilEqual(time.Minute)
		h.receiver.mu.Lock()
		h.receiver.dead = true
		h.receiver.mu.Unlock()
		h.practice.write(Entities, "entities-a", "1", "second")
		h.until("it waits", time.Minute, func() bool { return channelOf(h.view(p), Entities).Waiting == 1 })
		// The run that goes on ends only with its stream; what it meets next is told by the next run.
		h.practice.mu.Lock()
		h.practice.broken = fault.New("changes.altered", fault.Source, "the table patients was altered").WithHint("reset the stream anew")
		h.practice.mu.Unlock()
		h.disable(p)
		h.enable(p)
		h.until("it stands", time.Minute, func() bool { return h.view(p).Fault != nil })
		if f := h.view(p).Fault; f.Code != "changes.altered" || f.Message != "the table patients was altered" || f.Hint != "reset the stream anew" {
			t.Errorf("%+v", f)
		}
		h.receiver.mu.Lock()
		h.receiver.dead = false
		h.receiver.mu.Unlock()
		h.untilEqual(3 * time.Minute)
		h.until("it is given back", time.Minute, func() bool { return p.holding(clinic) == nil })
		h.practice.write(Entities, "entities-a", "1", "third")
		time.Sleep(time.Minute)
		if h.equal() == "" {
			t.Error("it was read although the stream stands")
		}
		h.enable(p)
		h.untilEqual(time.Minute)
		if v := h.view(p); v.Fault != nil {
			t.Errorf("%+v", v.Fault)
		}
	})
}

// TestTriedAgain: a source whose fault may go away is run again, status says why it is not read, and forgets it.
func TestTriedAgain(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.fill(1)
		h.practice.broken = fault.New("mysql.away", fault.Connect, "no route to 10.1.2.3")
		p := h.process()
		h.enabled(p)
		h.until("status says why", 10*time.Second, func() bool { return h.view(p).Reading != nil })
		if f := h.view(p).Reading; f.Code != "mysql.away" || f.Message != "the stream has failed with mysql.away" {
			t.Errorf("%+v", f)
		}
		h.untilEqual(time.Minute)
		if v := h.view(p); v.Reading != nil || v.Fault != nil {
			t.Errorf("%+v", v)
		}
	})
}

// TestAll: of a type of which all documents come, those are deleted that do not, though what has come is as it was; changes
// between, and other types, are what they are. A run that is cut off between begins anew.
func TestAll(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.fill(6)
		h.practice.write(Entities, "entities-b", "0", "other")
		p := h.process()
		h.enabled(p)
		h.untilEqual(time.Minute)
		all := func(operation string) event {
			return event{key: key{Entities, "entities-a", ""}, operation: operation}
		}
		doc := func(id string) event {
			k := key{Entities, "entities-a", id}
			return event{key: k, operation: changes.OpWrite, document: h.practice.documents[k]}
		}
		gone := func(ids ...string) {
			for _, id := range ids {
				delete(h.practice.documents, key{Entities, "entities-a", id})
			}
		}
		h.practice.mu.Lock()
		// The first run is cut off behind a part that lacks what the second one has.
		h.practice.parts = [][]event{{all(changes.OpBegin), doc("4")}}
		gone("1", "3")
		h.practice.mu.Unlock()
		h.disable(p)
		h.enable(p)
		h.until("the first part came", time.Minute, func() bool { return len(h.practice.left()) == 0 })
		h.disable(p)
		h.practice.mu.Lock()
		h.practice.parts = [][]event{{all(changes.OpBegin), doc("0"), doc("2")}, {doc("4")}, {doc("5"), all(changes.OpEnd)}}
		h.practice.mu.Unlock()
		h.enable(p)
		h.untilEqual(time.Minute)
		// Seven were there, one came before it was cut off, then four, and two are gone.
		if got := h.receiver.highest[Entities]; got != 14 {
			t.Errorf("numbers up to %d", got)
		}
		h.practice.write(Entities, "entities-a", "1", "again")
		h.untilEqual(time.Minute)
	})
}

// TestTruncate: every document of the type is told to be deleted, and none of others.
func TestTruncate(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.fill(30)
		h.practice.write(Entities, "entities-b", "1", "stays")
		p := h.process()
		h.enabled(p)
		h.untilEqual(time.Minute)
		h.practice.truncate(Entities, "entities-a")
		h.practice.write(Entities, "entities-a", "3", "anew")
		h.untilEqual(time.Minute)
		if len(h.receiver.copy) != 32 || h.receiver.highest[Entities] != 31+30+1 {
			t.Errorf("%d documents, %d numbers", len(h.receiver.copy), h.receiver.highest[Entities])
		}
	})
}

// TestReset: a reset is possible only while the stream is disabled, says before what it would do, and has the documents above a
// number come again in their order, deleted ones as well, with new numbers.
func TestReset(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.fill(10)
		p := h.process()
		h.enabled(p)
		h.untilEqual(time.Minute)
		h.practice.remove(Entities, "entities-a", "9")
		h.untilEqual(time.Minute)
		if _, err := p.Reset(t.Context(), clinic, Entities, 5, false, false, someone); !fault.Is(err, store.CodeStreamEnabled) {
			t.Errorf("%v", err)
		}
		h.disable(p)
		for _, above := range []int64{-1, 12} {
			if _, err := p.Reset(t.Context(), clinic, Entities, above, false, false, someone); !fault.Is(err, CodeSettings) {
				t.Errorf("%d: %v", above, err)
			}
		}
		if _, err := p.Reset(t.Context(), clinic, "other", 0, false, false, someone); !fault.Is(err, CodeChannelUnknown) {
			t.Errorf("%v", err)
		}
		h.receiver.bodies = nil
		for _, dry := range []bool{true, false} {
			if r, err := p.Reset(t.Context(), clinic, Entities, 5, false, dry, someone); err != nil || r.Documents != 5 {
				t.Errorf("%+v, %v", r, err)
			}
		}
		h.enable(p)
		h.until("they came again", time.Minute, func() bool { c := channelOf(h.view(p), Entities); return c.Sequence == 16 && c.Waiting == 0 })
		got := ""
		for _, b := range h.receiver.bodies {
			for _, d := range b.Documents {
				got += fmt.Sprintln(d.Sequence, string(d.Document))
			}
		}
		want := `12 {"id":"5","type":"entities-a","value":"first"}
13 {"id":"6","type":"entities-a","value":"first"}
14 {"id":"7","type":"entities-a","value":"first"}
15 {"id":"8","type":"entities-a","value":"first"}
16 {"id":"9","type":"entities-a","deleted":true}
`
		if got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
		if v := h.view(p); channelOf(v, Entities).Again != 0 || channelOf(v, Logs).Sequence != 10 {
			t.Errorf("%+v", v)
		}
	})
}

// TestAnew: everything of both channels is copied again, whatever the stream did not see while it was disabled.
func TestAnew(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.fill(10)
		p := h.process()
		h.enabled(p)
		h.untilEqual(time.Minute)
		h.disable(p)
		// The log is lost.
		h.practice.remove(Entities, "entities-a", "3")
		h.practice.remove(Logs, "logs-a", "4")
		h.practice.mu.Lock()
		h.practice.broken = fault.New("changes.position_lost", fault.Source, "the log was purged")
		h.practice.mu.Unlock()
		h.enable(p)
		h.until("it stands", time.Minute, func() bool { return h.view(p).Fault != nil })
		h.disable(p)
		if r, err := p.Reset(t.Context(), clinic, Logs, 0, true, false, someone); err != nil || r.Documents != 20 {
			t.Errorf("%+v, %v", r, err)
		}
		h.enable(p)
		h.untilEqual(time.Minute)
		h.until("it is over", time.Minute, func() bool {
			v := h.view(p)
			return channelOf(v, Entities).Sequence == 20 && channelOf(v, Logs).Sequence == 20 && channelOf(v, Logs).Waiting == 0
		})
		h.practice.write(Logs, "logs-a", "4", "again")
		h.untilEqual(time.Minute)
		asked := 0
		for _, o := range h.practice.orders {
			if o.Again != nil {
				asked += len(o.Again.Documents)
			}
		}
		if asked != 2 {
			t.Errorf("%d documents were asked for by their ids, and 2 were deleted", asked)
		}
	})
}

// TestDoubtful: a change of the record that was made, and was answered with an error, is not made again, by nobody.
func TestDoubtful(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.fill(5)
		p := h.process()
		h.receiver.answer = func(_ context.Context, b body, take func(int) int64) (Reply, error) {
			p.mu.Lock()
			p.doubtful = true // of the next change
			p.mu.Unlock()
			return ok(b, take(1)), nil
		}
		h.enabled(p)
		h.untilEqual(2 * time.Hour)
		for i := range 20 {
			h.practice.write(Entities, "entities-a", "9", strconv.Itoa(i))
			time.Sleep(700 * time.Millisecond)
		}
		h.untilEqual(2 * time.Hour)
		h.receiver.mu.Lock()
		h.receiver.answer = nil
		h.receiver.mu.Unlock()
		for i := range 10 { // of what is read
			p.mu.Lock()
			p.doubtful = true
			p.mu.Unlock()
			h.practice.write(Entities, "entities-a", "8", strconv.Itoa(i))
			h.untilEqual(2 * time.Hour)
		}
		if e, l := h.receiver.highest[Entities], h.receiver.highest[Logs]; e != 35 || l != 5 {
			t.Errorf("the numbers are %d and %d", e, l)
		}
	})
}

// TestLargeDocuments: a request is less than 8 MiB, however long the documents are, and one that fits into none stops the stream.
func TestLargeDocuments(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		p := h.process()
		h.enabled(p)
		h.receiver.mu.Lock()
		h.receiver.dead = true
		h.receiver.mu.Unlock()
		for i := range 5 {
			h.practice.write(Entities, "entities-a", strconv.Itoa(i), strings.Repeat("x", 3<<20))
		}
		whole := mostDocument - len(`{"id":"6","type":"entities-a","value":""}`)
		h.practice.write(Entities, "entities-a", "6", strings.Repeat("y", whole))
		h.until("they wait", time.Minute, func() bool { return channelOf(h.view(p), Entities).Waiting == 6 })
		h.receiver.mu.Lock()
		h.receiver.dead = false
		h.receiver.mu.Unlock()
		h.untilEqual(5 * time.Minute)
		h.practice.write(Entities, "entities-a", "7", strings.Repeat("y", whole+1))
		h.until("it stands", time.Minute, func() bool { return h.view(p).Fault != nil })
		if f := h.view(p).Fault; f.Code != CodeDocumentTooLarge || strings.Contains(f.Message, "yy") {
			t.Errorf("%s %.200s", f.Code, f.Message)
		}
	})
}

// breaking is a source that breaks while what it has delivered waits for room.
type breaking struct{ *practice }

func (b breaking) Source(context.Context, string, Order) (Source, error) { return b, nil }
func (b breaking) Channels() []string                                    { return Channels }
func (b breaking) Check(context.Context) error                           { return nil }

func (b breaking) Run(ctx context.Context, sink engine.TableSink) error {
	gone := fault.New("changes.gone", fault.Source, "the table is gone")
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := sink.Open(ctx, engine.Table{Schema: changes.Schema()}); err != nil {
		return err
	}
	for i := range 3 {
		rec := batchOf(changes.OriginLog, []event{{key: key{Entities, "entities-a", strconv.Itoa(i)}, operation: changes.OpWrite, document: "{}"}})
		defer rec.Release()
		if err := sink.Write(ctx, engine.Rows{Record: rec, Checkpoint: strconv.Itoa(i)}); err != nil {
			return gone
		}
	}
	return nil
}

// TestBreaksPaused: why a source has ended is told, although what it had delivered was not taken because of that.
func TestBreaksPaused(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.receiver.dead = true
		p := h.process(func(c *Config) { c.Limits, c.Sources = Limits{Documents: 2}, breaking{h.practice} })
		h.enabled(p)
		h.until("it stands", time.Minute, func() bool { return h.view(p).Fault != nil })
		if v := h.view(p); v.Fault.Code != "changes.gone" || channelOf(v, Entities).Sequence != 2 {
			t.Errorf("%+v", v)
		}
	})
}

// TestNoTable: a source that delivers something else is stopped with what is wrong, and nothing of it is numbered.
func TestNoTable(t *testing.T) {
	for name, e := range map[string]event{
		"channel":     {key: key{"other", "entities-a", "1"}, operation: changes.OpWrite, document: "{}"},
		"operation":   {key: key{Entities, "entities-a", "1"}, operation: "merge", document: "{}"},
		"no document": {key: key{Entities, "entities-a", "1"}, operation: changes.OpWrite},
		"no object":   {key: key{Entities, "entities-a", "1"}, operation: changes.OpWrite, document: "[]"},
		"broken":      {key: key{Entities, "entities-a", "1"}, operation: changes.OpWrite, document: `{"a":}`},
	} {
		t.Run(name, func(t *testing.T) {
			within(t, func(t *testing.T, h *house) {
				p := h.process()
				h.enabled(p)
				h.until("it runs", time.Minute, func() bool { return h.view(p).Copied })
				h.practice.mu.Lock()
				h.practice.log = append(h.practice.log, e)
				close(h.practice.news)
				h.practice.news = make(chan struct{})
				h.practice.mu.Unlock()
				h.until("it stands", time.Minute, func() bool { return h.view(p).Fault != nil })
				if v := h.view(p); v.Fault.Code != CodeTable || channelOf(v, Entities).Sequence != 0 {
					t.Errorf("%+v", v)
				}
			})
		})
	}
}

// TestNotHere: a stream whose customer is not served here any more ends here, and goes on where it is.
func TestNotHere(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.fill(2)
		p := h.process()
		h.enabled(p)
		h.untilEqual(time.Minute)
		other := newPractice()
		h.practice.mu.Lock()
		h.practice.away = true
		other.documents, other.log = h.practice.documents, h.practice.log
		h.practice.mu.Unlock()
		h.until("it is given up", time.Minute, func() bool { return p.holding(clinic) == nil })
		h.practice = other
		h.process()
		h.practice.write(Entities, "entities-a", "1", "second")
		h.untilEqual(time.Minute)
		if v := h.view(p); v.Fault != nil || channelOf(v, Entities).Sequence != 3 {
			t.Errorf("%+v", v)
		}
	})
}

// watcher is an observer that counts.
type watcher struct {
	mu                         sync.Mutex
	numbered, taken, told, bad int
}

func (w *watcher) Requested(_, _, code string, documents int, _ time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken += documents
	if code != "" {
		w.bad++
	}
}

func (w *watcher) Numbered(_ string, documents int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.numbered += documents
}

func (w *watcher) Lag(string, string, int64, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told++
}

func (w *watcher) Failed(string, string) {}

// TestObserved: what was numbered and what was taken is told, each document once.
func TestObserved(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.fill(9)
		h.receiver.answer = func(_ context.Context, b body, take func(int) int64) (Reply, error) {
			if n := len(h.receiver.posts); n%3 == 0 {
				return Reply{Status: 500}, nil
			}
			return ok(b, take((len(b.Documents)+1)/2)), nil
		}
		w := &watcher{}
		p := h.process(func(c *Config) { c.Observer = w })
		h.enabled(p)
		h.untilEqual(10 * time.Minute)
		time.Sleep(time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.numbered != 18 || w.taken != 18 || w.told < 10 || w.bad == 0 {
			t.Errorf("%+v", w)
		}
	})
}

// TestForgotten: a source that does not deliver what it was asked for stops the stream, and is not asked for ever.
func TestForgotten(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.fill(4)
		h.practice.forget = true
		p := h.process()
		h.enabled(p)
		h.untilEqual(time.Minute)
		h.disable(p)
		if _, err := p.Reset(t.Context(), clinic, Entities, 2, false, false, someone); err != nil {
			t.Fatal(err)
		}
		h.enable(p)
		h.until("it stands", time.Minute, func() bool { return h.view(p).Fault != nil })
		if f := h.view(p).Fault; f.Code != CodeAgain {
			t.Errorf("%+v", f)
		}
	})
}

// TestNewChannel: a channel that is enabled later was never read: that is said, and a reset anew reads it.
func TestNewChannel(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.fill(4)
		p := h.process()
		s := h.settings()
		s.Channels = []string{Entities}
		if _, err := p.Put(t.Context(), clinic, s, someone); err != nil {
			t.Fatal(err)
		}
		h.enable(p)
		h.until("the channel is there", time.Minute, func() bool { return channelOf(h.view(p), Entities).Acknowledged == 4 })
		s.Channels = Channels
		if _, err := p.Put(t.Context(), clinic, s, someone); !fault.Is(err, store.CodeStreamEnabled) {
			t.Errorf("%v", err)
		}
		h.disable(p)
		if _, err := p.Put(t.Context(), clinic, s, someone); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Enable(t.Context(), clinic, someone); !fault.Is(err, CodeChannelNew) {
			t.Errorf("%v", err)
		}
		if _, err := p.Reset(t.Context(), clinic, Logs, 0, true, false, someone); err != nil {
			t.Fatal(err)
		}
		h.enable(p)
		h.untilEqual(time.Minute)
	})
}

// TestSettingsAtOnce: what is changed while a stream runs holds from the next request on.
func TestSettingsAtOnce(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.fill(2)
		p := h.process()
		h.enabled(p)
		h.untilEqual(time.Minute)
		s := h.settings()
		s.OrganizationID, s.ContentEncoding, s.URL = "practice 7 \"north\"", true, "https://other.example.com/"
		if _, err := p.Put(t.Context(), clinic, s, someone); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		h.practice.write(Logs, "logs-a", "1", "second")
		h.untilEqual(time.Minute)
		post, b := h.receiver.posts[len(h.receiver.posts)-1], h.receiver.bodies[len(h.receiver.bodies)-1]
		if post.Stream.URL != s.URL || !post.Stream.ContentEncoding || b.Organization != s.OrganizationID {
			t.Errorf("%+v, %+v", post.Stream, b)
		}
	})
}

// TestSealedAtRest: nothing of a document that waits, or of the secret, can be read in the record.
func TestSealedAtRest(t *testing.T) {
	within(t, func(t *testing.T, h *house) {
		h.receiver.dead = true
		p := h.process()
		h.enabled(p)
		h.practice.write(Entities, "entities-a", "1", "Meier, Hans")
		h.until("it waits", time.Minute, func() bool { return channelOf(h.view(p), Entities).Waiting == 1 })
		log, err := h.record.Log(t.Context(), clinic)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		waiting, err := log.Waiting(t.Context(), Entities, 0, 10, 1<<20)
		s, err2 := h.record.Stream(t.Context(), clinic)
		if err != nil || err2 != nil || len(waiting) != 1 || contains(waiting[0].Sealed, "Meier") || contains(s.Secret, "s3cret") {
			t.Errorf("%v, %v, %d", err, err2, len(waiting))
		}
		// In another place it does not open.
		sealer := newSealer(h.key, clinic)
		if _, err := sealer.appendOpened(nil, Entities, "entities-a", "1", waiting[0].Sealed); err != nil {
			t.Error(err)
		}
		for _, of := range [][3]string{{Logs, "entities-a", "1"}, {Entities, "entities-b", "1"}, {Entities, "entities-a", "2"}} {
			if _, err := sealer.appendOpened(nil, of[0], of[1], of[2], waiting[0].Sealed); !fault.Is(err, CodeSealed) {
				t.Errorf("%v: %v", of, err)
			}
		}
		if _, err := newSealer(h.key, "other").appendOpened(nil, Entities, "entities-a", "1", waiting[0].Sealed); !fault.Is(err, CodeSealed) {
			t.Errorf("%v", err)
		}
	})
}

func contains(sealed []byte, text string) bool {
	for i := range len(sealed) - len(text) {
		if string(sealed[i:i+len(text)]) == text {
			return true
		}
	}
	return false
}

// TestStopTwice: a manager stops twice, and before it was started.
func TestStopTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		p := h.process()
		p.Stop(t.Context())
		p.Stop(t.Context())
		p.Start()
		h.stop()
	})
}
