package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/spool"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
)

// jobSink is a sink that takes a run over, keeps what it is given and notes its calls. On is called in each of them.
type jobSink struct {
	on func(call string) error

	mu     sync.Mutex
	calls  []string
	object engine.Object
	data   bytes.Buffer
	events []engine.Event
	ctx    context.Context
	ended  chan struct{} // closed by End

	// Of End.
	receipt *engine.Receipt
	err     error
}

func newJobSink() *jobSink { return &jobSink{ended: make(chan struct{}), ctx: context.Background()} }

func (j *jobSink) Sink() engine.Sink { return j }

func (j *jobSink) Context() context.Context { return j.ctx }

func (j *jobSink) Event(e engine.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
}

func (j *jobSink) Gate(context.Context, *engine.Receipt) error { return j.call("gate") }

func (j *jobSink) End(_ context.Context, receipt *engine.Receipt, err error) {
	j.receipt, j.err = receipt, err
	close(j.ended)
}

func (j *jobSink) call(name string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if n := len(j.calls); n == 0 || j.calls[n-1] != name {
		j.calls = append(j.calls, name)
	}
	if j.on != nil {
		return j.on(name)
	}
	return nil
}

func (j *jobSink) Open(_ context.Context, o engine.Object) error {
	j.object = o
	return j.call("open")
}

func (j *jobSink) Write(_ context.Context, p []byte) error {
	j.data.Write(p)
	return j.call("write")
}

func (j *jobSink) Commit(context.Context) (engine.Delivery, error) {
	return engine.Delivery{Bytes: int64(j.data.Len()), SHA256: hexSum(j.data.Bytes()), Location: "bucket"}, j.call("commit")
}

func (j *jobSink) Abort(context.Context) error {
	return j.call("abort")
}

func (j *jobSink) log() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.calls, " ")
}

// switches is a Switch that notes how it is called.
type switches struct {
	to   Job
	err  error
	mu   sync.Mutex
	told []Reason
}

func (s *switches) ask(_ context.Context, r Reason) (Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, r)
	return s.to, s.err
}

func (s *switches) reasons() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.told)
}

// TestAnswer: an answer within the limits is sent with everything that it is in its header, as often as one likes.
func TestAnswer(t *testing.T) {
	noLeaks(t)
	e, pool := newEngine(t), newPool(t, spool.Config{})
	for _, isolation := range isolations {
		for _, rows := range []int{0, 1, 100_000} { // memory, and a file
			plan := planOf(t, e, isolation, parameters{"rows": rows})
			told := &switches{}
			a, err := Spooled{Spool: pool.New(), Limits: AutoLimits, Switch: told.ask}.Run(t.Context(), func(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
				return e.Run(ctx, plan, sink, o)
			})
			if err != nil {
				t.Fatal(err)
			}
			want := runnertest.Padded(rows, 20)
			if a.Receipt.Rows != int64(rows) || a.Receipt.SHA256 != hexSum(want) || a.Receipt.Bytes != int64(len(want)) || a.Receipt.Streamed || a.Switched != "" || len(told.told) > 0 {
				t.Errorf("%s, %d rows: %+v", isolation, rows, a)
			}
			for range 2 {
				to := &response{}
				if err := a.Send(t.Context(), to); err != nil {
					t.Fatal(err)
				}
				h := Head{RunID: plan.RunID, Media: a.Object.Media, Length: int64(len(want)), Rows: int64(rows), SHA256: hexSum(want)}
				if to.head != h || h.Media.Type != "text/plain" || to.tail != (Tail{int64(rows), hexSum(want)}) || !bytes.Equal(to.bytes(), want) || to.story() != "begin finish" {
					t.Errorf("%s, %d rows: %+v, %+v, %d bytes, %s", isolation, rows, to.head, to.tail, len(to.bytes()), to.story())
				}
			}
			a.Spool.Close()
		}
	}
}

// TestLimits: exactly what the mode auto allows is an answer, and one row or byte more is a job: rows are those that come
// out of the filters, bytes those of the encoder, whatever is made of them behind it. The switch is asked once, and where
// there are no jobs, the request is told so.
func TestLimits(t *testing.T) {
	noLeaks(t)
	e, pool := newEngine(t), newPool(t, spool.Config{})
	for _, c := range []struct {
		name   string
		p      parameters
		reason Reason
	}{
		{"rows", parameters{"rows": 100_000}, ""},
		{"one row more", parameters{"rows": 100_001}, ReasonRows},
		{"rows after a filter", parameters{"rows": 200_000, "even": true}, ""},
		{"one row more after a filter", parameters{"rows": 200_001, "even": true}, ReasonRows},
		{"bytes", parameters{"rows": 100_000, "width": 500}, ""},
		{"one byte more", parameters{"rows": 100_000, "width": 500, "more": 1}, ReasonSize},
		{"bytes, with more behind the encoder", parameters{"rows": 100_000, "width": 500, "packed": true}, ""},
		{"one byte more than the encoder may make", parameters{"rows": 1000, "width": 50_000, "more": 1, "packed": true}, ReasonSize},
		{"many more rows", parameters{"rows": 3_000_000}, ReasonRows},
		{"many more bytes", parameters{"rows": 90_000, "width": 3000}, ReasonSize},
	} {
		for _, isolation := range isolations {
			told := &switches{}
			a, err := Spooled{Spool: pool.New(), Limits: AutoLimits, Started: time.Now().Add(time.Hour), Switch: func(ctx context.Context, r Reason) (Job, error) {
				_, _ = told.ask(ctx, r)
				return NoJobs(ctx, r)
			}}.Run(t.Context(), runOf(t, e, isolation, c.p))
			if c.reason == "" {
				if err != nil || a.Spool == nil || a.Switched != "" || told.told != nil {
					t.Errorf("%s, %s: %+v, %v", c.name, isolation, a, err)
					continue
				}
				a.Spool.Close()
				continue
			}
			hasCode(t, err, CodeNoJobs)
			if a.Spool != nil || told.reasons() != fmt.Sprint([]Reason{c.reason}) {
				t.Errorf("%s, %s: %+v, %s", c.name, isolation, a, told.reasons())
			}
		}
	}
}

// TestNoLimits: without a switch nothing is limited but by the spool, whose faults are those of the run.
func TestNoLimits(t *testing.T) {
	noLeaks(t)
	e := newEngine(t)
	run := runOf(t, e, engine.IsolationGroup, parameters{"rows": 150_000})
	a, err := Spooled{Spool: newPool(t, spool.Config{}).New(), Limits: Limits{Rows: 1, Bytes: 1, Time: 1}}.Run(t.Context(), run)
	if err != nil || a.Receipt.Rows != 150_000 || a.Spool.Size() != 3_000_000 {
		t.Fatalf("%+v, %v", a, err)
	}
	a.Spool.Close()
	a, err = Spooled{Spool: newPool(t, spool.Config{Answer: 2_999_999}).New()}.Run(t.Context(), run)
	hasCode(t, err, spool.CodeFull)
	if a.Spool != nil || a.Receipt == nil || a.Receipt.RowsRead == 0 {
		t.Errorf("%+v", a)
	}
}

// TestHandOver: a run that outgrows the limits, in the middle or at its very end, goes on as a job: Run returns, the client may
// leave, and the sink of the job gets every byte from the first on, the gate, and the commit.
func TestHandOver(t *testing.T) {
	noLeaks(t)
	e := newEngine(t)
	for _, rows := range []int{100_001, 3_000_000} {
		for _, isolation := range isolations {
			pool := newPool(t, spool.Config{Memory: 100_000})
			job, ended := newJobSink(), make(chan engine.Ended, 1)
			told := &switches{to: job}
			plan := planOf(t, e, isolation, parameters{"rows": rows})
			ctx, leave := context.WithCancel(t.Context())
			returned := make(chan struct{})
			a, err := Spooled{Spool: pool.New(), Limits: AutoLimits, Switch: told.ask, Options: engine.RunOptions{
				Events: func(event engine.Event) {
					if end, ok := event.(engine.Ended); ok {
						ended <- end
					}
				},
				BeforeCommit: func(_ context.Context, soFar *engine.Receipt) error {
					<-returned // the job goes on after the answer
					if soFar.Rows != int64(rows) {
						t.Errorf("the gate is told of %d rows", soFar.Rows)
					}
					return job.call("own gate")
				},
			}}.Run(ctx, func(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
				return e.Run(ctx, plan, sink, o)
			})
			if err != nil || a.Switched != ReasonRows || a.Spool != nil || a.Receipt != nil {
				t.Fatalf("%+v, %v", a, err)
			}
			leave()
			close(returned)
			end := <-ended
			if end.Fault != nil || end.Receipt.Rows != int64(rows) || end.Receipt.SHA256 != hexSum(runnertest.Padded(rows, 20)) || end.Receipt.Location != "bucket" {
				t.Errorf("%s, %d rows: %+v", isolation, rows, end)
			}
			if job.log() != "open write own gate gate commit" || job.object.RunID != plan.RunID || job.object.Media.Type != "text/plain" || !bytes.Equal(job.data.Bytes(), runnertest.Padded(rows, 20)) {
				t.Errorf("%s, %d rows: %s, %+v, %d bytes", isolation, rows, job.log(), job.object, job.data.Len())
			}
			if told.reasons() != "[rows]" {
				t.Errorf("%s, %d rows: %s", isolation, rows, told.reasons())
			}
			<-job.ended
			if job.err != nil || job.receipt != end.Receipt {
				t.Errorf("%s, %d rows: the job is told of %+v, %v", isolation, rows, job.receipt, job.err)
			}
			opened, first := job.events[0].(engine.Opened)
			if _, last := job.events[len(job.events)-1].(engine.Ended); !first || !last || len(opened.Columns) == 0 {
				t.Errorf("%s, %d rows: the job hears %+v", isolation, rows, job.events)
			}
		}
	}
}

// TestJobFails: what goes wrong with the job's sink, or with the run after the switch, ends the run, and the sink hears Abort.
func TestJobFails(t *testing.T) {
	noLeaks(t)
	e := newEngine(t)
	for _, at := range []string{"open", "write", "commit", "run"} {
		for _, rows := range []int{100_001, 3_000_000} {
			job, ended := newJobSink(), make(chan engine.Ended, 1)
			p := parameters{"rows": rows}
			code := "bucket.lost"
			if at == "run" {
				if rows < 1_000_000 {
					continue
				}
				p["break"], code = "late", "count.late"
			}
			job.on = func(call string) error {
				if call == at {
					return fault.New("bucket.lost", fault.Sink, "lost")
				}
				return nil
			}
			a, err := Spooled{Spool: newPool(t, spool.Config{}).New(), Limits: AutoLimits, Switch: (&switches{to: job}).ask, Options: engine.RunOptions{
				Events: func(event engine.Event) {
					if end, ok := event.(engine.Ended); ok {
						ended <- end
					}
				},
			}}.Run(t.Context(), runOf(t, e, engine.IsolationGroup, p))
			if err != nil || a.Switched != ReasonRows {
				t.Errorf("at %s: %+v, %v", at, a, err)
			}
			<-job.ended
			end := <-ended
			if f := end.Fault; f == nil || !fault.Is(f, code) && !errors.Is(f, fault.New(code, fault.Sink, "")) {
				t.Errorf("at %s, %d rows: %+v", at, rows, end.Fault)
			}
			if !strings.HasSuffix(job.log(), "abort") {
				t.Errorf("at %s, %d rows: %s", at, rows, job.log())
			}
		}
	}
}

// TestJobEndsItsRun: a job whose own context ends, or whose gate refuses, ends the run with its error, and nothing is committed.
func TestJobEndsItsRun(t *testing.T) {
	noLeaks(t)
	e := newEngine(t)
	lost := fault.New("job.lost", fault.Cancelled, "the lease is lost")
	ctx, end := context.WithCancelCause(t.Context())
	defer end(nil)
	job := newJobSink()
	job.ctx = ctx
	a, err := Spooled{Spool: newPool(t, spool.Config{}).New(), Limits: AutoLimits, Switch: (&switches{to: job}).ask}.
		Run(t.Context(), runOf(t, e, engine.IsolationGroup, parameters{"rows": 1 << 40}))
	if err != nil || a.Switched != ReasonRows {
		t.Fatalf("%+v, %v", a, err)
	}
	end(lost)
	<-job.ended
	hasCode(t, job.err, "job.lost")
	if job.receipt == nil || job.log() != "open write abort" {
		t.Errorf("%+v, %s", job.receipt, job.log())
	}
	job = newJobSink()
	job.on = func(call string) error {
		if call == "gate" {
			return lost
		}
		return nil
	}
	a, err = Spooled{Spool: newPool(t, spool.Config{}).New(), Limits: AutoLimits, Switch: (&switches{to: job}).ask}.
		Run(t.Context(), runOf(t, e, engine.IsolationNone, parameters{"rows": 100_001}))
	if err != nil || a.Switched != ReasonRows {
		t.Fatalf("%+v, %v", a, err)
	}
	<-job.ended
	hasCode(t, job.err, "job.lost")
	if job.log() != "open write gate abort" {
		t.Error(job.log())
	}
}

// TestSwitchPanics: a panic in the switch, or in the sink of the job while it is given what is in the spool, ends the run and
// nothing else.
func TestSwitchPanics(t *testing.T) {
	noLeaks(t)
	e := newEngine(t)
	for _, limits := range []Limits{{Rows: 100}, {Time: time.Nanosecond}} {
		run := runOf(t, e, engine.IsolationGroup, parameters{"rows": 1 << 40})
		_, err := Spooled{Spool: newPool(t, spool.Config{}).New(), Limits: limits, Switch: func(context.Context, Reason) (Job, error) {
			panic("Maria Musterfrau")
		}}.Run(t.Context(), run)
		hasCode(t, err, CodeInternal)
		if strings.Contains(err.Error(), "Maria") {
			t.Error(err)
		}
	}
	job := newJobSink()
	job.on = func(call string) error {
		if call == "open" {
			panic("Maria Musterfrau")
		}
		return nil
	}
	a, err := Spooled{Spool: newPool(t, spool.Config{}).New(), Limits: AutoLimits, Switch: (&switches{to: job}).ask}.
		Run(t.Context(), runOf(t, e, engine.IsolationGroup, parameters{"rows": 1 << 40}))
	if err != nil || a.Switched != ReasonRows {
		t.Fatalf("%+v, %v", a, err)
	}
	<-job.ended
	hasCode(t, job.err, CodeInternal)
	if job.log() != "open abort" {
		t.Error(job.log())
	}
}

// TestSwitchFails: the error of the switch is that of the run, wherever the run is by then.
func TestSwitchFails(t *testing.T) {
	noLeaks(t)
	e := newEngine(t)
	broken := errors.New("the record is away")
	for _, c := range []struct {
		p      parameters
		limits Limits
		reason Reason
	}{
		{parameters{"rows": 101}, Limits{Rows: 100}, ReasonRows},
		{parameters{"rows": 1 << 40}, Limits{Rows: 100}, ReasonRows},
		{parameters{"rows": 1 << 40}, Limits{Time: time.Nanosecond}, ReasonTime},
	} {
		told := &switches{err: broken}
		a, err := Spooled{Spool: newPool(t, spool.Config{}).New(), Limits: c.limits, Switch: told.ask}.Run(t.Context(), runOf(t, e, engine.IsolationGroup, c.p))
		if !errors.Is(err, broken) || a.Spool != nil || a.Switched != "" || told.reasons() != fmt.Sprint([]Reason{c.reason}) {
			t.Errorf("%+v: %+v, %v, %s", c, a, err, told.reasons())
		}
		// A switch that gives no sink is a defect.
		told = &switches{}
		_, err = Spooled{Spool: newPool(t, spool.Config{}).New(), Limits: c.limits, Switch: told.ask}.Run(t.Context(), runOf(t, e, engine.IsolationGroup, c.p))
		hasCode(t, err, CodeInternal)
	}
}

// TestGate: the gate is asked when it is decided that the output is an answer; when it refuses there is none.
func TestGate(t *testing.T) {
	noLeaks(t)
	e := newEngine(t)
	refused := errors.New("refused")
	a, err := Spooled{Spool: newPool(t, spool.Config{}).New(), Limits: AutoLimits, Switch: NoJobs, Options: engine.RunOptions{
		BeforeCommit: func(context.Context, *engine.Receipt) error { return refused },
	}}.Run(t.Context(), runOf(t, e, engine.IsolationNone, parameters{"rows": 10}))
	if !errors.Is(err, refused) || a.Spool != nil {
		t.Errorf("%+v, %v", a, err)
	}
	asked := false
	_, err = Spooled{Spool: newPool(t, spool.Config{}).New(), Limits: AutoLimits, Switch: NoJobs, Options: engine.RunOptions{
		BeforeCommit: func(context.Context, *engine.Receipt) error { asked = true; return nil },
	}}.Run(t.Context(), runOf(t, e, engine.IsolationNone, parameters{"rows": 100_001}))
	hasCode(t, err, CodeNoJobs)
	if asked {
		t.Error("the gate was asked for a request that has no output")
	}
}

// TestClientLeaves: a client that goes away ends the run, and the error says so.
func TestClientLeaves(t *testing.T) {
	noLeaks(t)
	e := newEngine(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var gone time.Time
	a, err := Spooled{Spool: newPool(t, spool.Config{}).New(), Limits: Limits{Time: time.Hour}, Switch: NoJobs, Options: engine.RunOptions{
		Events: func(event engine.Event) {
			if p, ok := event.(engine.Progress); ok && p.Rows > 0 && gone.IsZero() {
				gone = time.Now()
				cancel()
			}
		},
	}}.Run(ctx, runOf(t, e, engine.IsolationGroup, parameters{"rows": 1 << 40}))
	hasCode(t, err, "run.cancelled")
	if took := time.Since(gone); took > 3*time.Second || a.Spool != nil || len(children(t)) > 0 {
		t.Errorf("after %s: %+v, children %v", took, a, children(t))
	}
}

// fake is a run that is not one: it does what it is told with the sink.
func fake(do func(ctx context.Context, sink engine.Sink, o engine.RunOptions) error) Run {
	return func(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
		if err := sink.Open(ctx, engine.Object{RunID: "r1"}); err != nil {
			return nil, err
		}
		err := do(ctx, sink, o)
		if err != nil {
			_ = sink.Abort(context.WithoutCancel(ctx))
		}
		return &engine.Receipt{}, err
	}
}

// finish is the end of a run that does well.
func finish(ctx context.Context, sink engine.Sink, o engine.RunOptions) error {
	if err := o.BeforeCommit(ctx, &engine.Receipt{}); err != nil {
		return err
	}
	return commit(sink)
}

// TestTime: 25 seconds after the start of the request, and not a moment earlier, it becomes a job, wherever the run is: before it
// has begun, in the middle, or about to commit; when the commit has been decided, not any more.
func TestTime(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		run      func(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error)
		switched bool
		calls    string
		data     string
	}{
		"before it opens": {func(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
			time.Sleep(time.Minute)
			return fake(func(ctx context.Context, sink engine.Sink, o engine.RunOptions) error {
				if err := sink.Write(ctx, []byte("all")); err != nil {
					return err
				}
				return finish(ctx, sink, o)
			})(ctx, sink, o)
		}, true, "open write gate commit", "all"},
		"in the middle": {fake(func(ctx context.Context, sink engine.Sink, o engine.RunOptions) error {
			_ = sink.Write(ctx, []byte("one,"))
			time.Sleep(time.Minute)
			_ = sink.Write(ctx, []byte("two"))
			return finish(ctx, sink, o)
		}), true, "open write gate commit", "one,two"},
		"before the gate": {fake(func(ctx context.Context, sink engine.Sink, o engine.RunOptions) error {
			_ = sink.Write(ctx, []byte("one"))
			time.Sleep(time.Minute)
			return finish(ctx, sink, o)
		}), true, "open write gate commit", "one"},
		"after the gate": {fake(func(ctx context.Context, sink engine.Sink, o engine.RunOptions) error {
			if err := o.BeforeCommit(ctx, &engine.Receipt{}); err != nil {
				return err
			}
			time.Sleep(time.Minute)
			return commit(sink)
		}), false, "", ""},
		"just in time": {fake(func(ctx context.Context, sink engine.Sink, o engine.RunOptions) error {
			time.Sleep(15*time.Second - 1)
			return finish(ctx, sink, o)
		}), false, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				pool, err := spool.New(spool.Config{Dir: dir})
				if err != nil {
					t.Fatal(err)
				}
				job := newJobSink()
				told := &switches{to: job}
				begun := time.Now()
				a, err := Spooled{Spool: pool.New(), Limits: AutoLimits, Switch: told.ask, Started: begun.Add(-10 * time.Second)}.Run(t.Context(), c.run)
				if err != nil {
					t.Fatal(err)
				}
				if !c.switched {
					if a.Switched != "" || a.Spool == nil || len(told.told) > 0 {
						t.Errorf("%+v", a)
					}
					a.Spool.Close()
					return
				}
				if a.Switched != ReasonTime || time.Since(begun) != 15*time.Second || told.reasons() != "[time]" {
					t.Errorf("%+v after %s, %s", a, time.Since(begun), told.reasons())
				}
				<-job.ended
				if job.log() != c.calls || job.data.String() != c.data {
					t.Errorf("%s: %q", job.log(), job.data.String())
				}
				synctest.Wait()
				if s := pool.Stats(); s.Spools != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// TestLoad: a run that the admission refuses is a request for a job, where there are jobs; other faults are not.
func TestLoad(t *testing.T) {
	t.Parallel()
	pool := newPool(t, spool.Config{})
	broken := errors.New("broken")
	for _, c := range []struct {
		code     string
		told     *switches
		switched Reason
		err      string
		asked    string
	}{
		{admission.CodeStreamsBusy, &switches{}, ReasonLoad, "", "[load]"},
		{admission.CodeLoaded, &switches{}, ReasonLoad, "", "[load]"},
		{admission.CodeLoaded, &switches{err: broken}, "", broken.Error(), "[load]"},
		{admission.CodeStreamsBusy, nil, "", admission.CodeStreamsBusy, ""},
		{admission.CodeTooLarge, &switches{}, "", admission.CodeTooLarge, "[]"},
		{"mysql.auth", &switches{}, "", "mysql.auth", "[]"},
	} {
		s := Spooled{Spool: pool.New(), Limits: AutoLimits}
		if c.told != nil {
			s.Switch = c.told.ask
		}
		a, err := s.Run(t.Context(), func(context.Context, engine.Sink, engine.RunOptions) (*engine.Receipt, error) {
			return nil, fault.New(c.code, fault.Cancelled, "no")
		})
		if a.Switched != c.switched || a.Spool != nil || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %+v, %v", c.code, a, err)
		}
		if c.told != nil && c.told.reasons() != c.asked {
			t.Errorf("%s: %s", c.code, c.told.reasons())
		}
	}
}

// TestAbortWhatWasNotOpened: a job whose run fails before its sink was opened hears of it, and a run that fails while the
// switch is asked keeps its own fault.
func TestAbortWhatWasNotOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		pool, err := spool.New(spool.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		fails := func(context.Context, engine.Sink, engine.RunOptions) (*engine.Receipt, error) {
			time.Sleep(time.Minute)
			return &engine.Receipt{}, fault.New("mysql.lost", fault.Source, "lost")
		}
		job := newJobSink()
		a, err := Spooled{Spool: pool.New(), Limits: AutoLimits, Switch: (&switches{to: job}).ask}.Run(t.Context(), fails)
		if err != nil || a.Switched != ReasonTime {
			t.Errorf("%+v, %v", a, err)
		}
		<-job.ended
		if job.log() != "abort" {
			t.Error(job.log())
		}
		_, err = Spooled{Spool: pool.New(), Limits: AutoLimits, Switch: func(ctx context.Context, _ Reason) (Job, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}}.Run(t.Context(), fails)
		hasCode(t, err, "mysql.lost")
		// A client that leaves while the switch is asked ends the run.
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		_, err = Spooled{Spool: pool.New(), Limits: AutoLimits, Switch: func(ctx context.Context, _ Reason) (Job, error) {
			cancel(gone)
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}}.Run(ctx, func(ctx context.Context, _ engine.Sink, _ engine.RunOptions) (*engine.Receipt, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		if !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
		synctest.Wait()
		if s := pool.Stats(); s.Spools != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestPanic: a run that panics is a fault, and what it has panicked with, which may be anything, is in no message.
func TestPanic(t *testing.T) {
	t.Parallel()
	pool := newPool(t, spool.Config{})
	var lines []engine.LogLine
	a, err := Spooled{Spool: pool.New(), Options: engine.RunOptions{Events: func(e engine.Event) { lines = append(lines, e.(engine.LogLine)) }}}.
		Run(t.Context(), func(context.Context, engine.Sink, engine.RunOptions) (*engine.Receipt, error) {
			panic("Maria Musterfrau")
		})
	hasCode(t, err, CodeInternal)
	if a.Spool != nil || strings.Contains(err.Error(), "Maria") {
		t.Errorf("%+v, %v", a, err)
	}
	if len(lines) != 1 || !strings.Contains(lines[0].Attributes["stack"], "TestPanic") {
		t.Errorf("%+v", lines)
	}
}

// TestSendFails: an answer of which not all could be sent is cut, and never finished.
func TestSendFails(t *testing.T) {
	t.Parallel()
	pool := newPool(t, spool.Config{Memory: 1})
	answer := func() Answer {
		s := pool.New()
		t.Cleanup(func() { s.Close() })
		if _, err := s.Write(make([]byte, 1_000_000)); err != nil {
			t.Fatal(err)
		}
		return Answer{Receipt: &engine.Receipt{Rows: 1}, Spool: s}
	}
	for _, at := range []string{"begin", "write", "flush", "finish"} {
		to := &response{on: func(call string) error {
			if call == at {
				return syscall.EPIPE
			}
			return nil
		}}
		err := answer().Send(t.Context(), to)
		hasCode(t, err, CodeClientGone)
		if !errors.Is(err, syscall.EPIPE) || !strings.HasSuffix(to.story(), "cut") {
			t.Errorf("at %s: %v, %s", at, err, to.story())
		}
	}
	a := answer()
	to := &response{on: func(call string) error {
		if call == "write" {
			return a.Spool.Close()
		}
		return nil
	}}
	hasCode(t, a.Send(t.Context(), to), spool.CodeClosed)
	if to.story() != "begin cut" {
		t.Error(to.story())
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cut := make(chan struct{})
	var once sync.Once
	to = &response{on: func(call string) error {
		switch call {
		case "write":
			cancel(gone)
			<-cut
			return syscall.EPIPE
		case "cut":
			once.Do(func() { close(cut) })
		}
		return nil
	}}
	hasCode(t, answer().Send(ctx, to), CodeClientGone)
	if to.story() != "begin cut" {
		t.Error(to.story())
	}
	to = &response{}
	if err := answer().Send(ctx, to); !errors.Is(err, gone) || to.log() != "" {
		t.Errorf("to a client that is gone: %v, %s", err, to.log())
	}
}

// BenchmarkDirect and BenchmarkSpooled: what a delivery costs beside the run, in pieces as large as a run gives them.
func BenchmarkDirect(b *testing.B) {
	piece := make([]byte, 256<<10)
	b.SetBytes(64 << 20)
	b.ReportAllocs()
	for b.Loop() {
		_, err := Direct{To: discard{}}.Run(b.Context(), fake(func(ctx context.Context, sink engine.Sink, o engine.RunOptions) error {
			for range 64 << 20 / len(piece) {
				if err := sink.Write(ctx, piece); err != nil {
					return err
				}
			}
			return finish(ctx, sink, o)
		}))
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSpooled(b *testing.B) {
	piece := make([]byte, 256<<10)
	pool := newPool(b, spool.Config{})
	b.SetBytes(16 << 20)
	b.ReportAllocs()
	for b.Loop() {
		a, err := Spooled{Spool: pool.New(), Limits: AutoLimits, Switch: NoJobs}.Run(b.Context(), fake(func(ctx context.Context, sink engine.Sink, o engine.RunOptions) error {
			for range 16 << 20 / len(piece) {
				if err := sink.Write(ctx, piece); err != nil {
					return err
				}
			}
			return finish(ctx, sink, o)
		}))
		if err == nil {
			err = a.Send(b.Context(), discard{})
		}
		if err != nil {
			b.Fatal(err)
		}
		a.Spool.Close()
	}
}

// discard is a response that nobody reads.
type discard struct{}

func (discard) Begin(Head) (Body, error)    { return discard{}, nil }
func (discard) Finish(Tail) error           { return nil }
func (discard) Cut()                        {}
func (discard) Flush() error                { return nil }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
