package run_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// callerPlan is planOf with the caller's sink in the place of the file.
func (s *setup) callerPlan(isolation plan.Isolation, source settings, filters ...string) *plan.Plan {
	p := s.planOf(isolation, source, filters...)
	last := len(p.Stages) - 1
	p.Stages[last] = plan.Stage{ID: "sink", Kind: stage.KindSink, Name: plan.CallerSink, Caller: true, Config: settings{}}
	group := &p.Groups[len(p.Groups)-1]
	switch {
	case len(group.Stages) == 1:
		*group = plan.Group{InHost: true, Stages: []int{last}}
	default:
		group.Stages = group.Stages[:len(group.Stages)-1]
		if group.InHost {
			group.Stages = append(group.Stages, last)
		} else {
			p.Groups = append(p.Groups, plan.Group{InHost: true, Stages: []int{last}})
		}
	}
	return p
}

// probe is a sink of the caller's that keeps what it is given and notes its calls. On is called in each of them.
type probe struct {
	on func(ctx context.Context, method string) error

	mu    sync.Mutex
	calls []string
	media stage.Media
	data  bytes.Buffer
}

func (p *probe) call(ctx context.Context, method string) error {
	p.mu.Lock()
	if n := len(p.calls); n == 0 || p.calls[n-1] != method || method != "write" {
		p.calls = append(p.calls, method)
	}
	p.mu.Unlock()
	if p.on != nil {
		return p.on(ctx, method)
	}
	return nil
}

func (p *probe) Open(ctx context.Context, o stage.Object) error {
	p.media = o.Media
	return p.call(ctx, "open")
}

func (p *probe) Write(ctx context.Context, piece []byte) error {
	p.data.Write(piece)
	return p.call(ctx, "write")
}

func (p *probe) Commit(ctx context.Context) (stage.Receipt, error) {
	err := p.call(ctx, "commit")
	sum := sha256.Sum256(p.data.Bytes())
	return stage.Receipt{Bytes: int64(p.data.Len()), SHA256: hex.EncodeToString(sum[:]), Location: "here"}, err
}

func (p *probe) Abort(ctx context.Context) error { return p.call(ctx, "abort") }

func (p *probe) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.calls, " ")
}

// noLeaks holds that a run leaves no goroutine; what the host keeps for others does not count.
func noLeaks(t *testing.T) {
	t.Helper()
	current := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, current) })
}

func TestCallersSink(t *testing.T) {
	for _, isolation := range isolations {
		t.Run(string(isolation), func(t *testing.T) {
			noLeaks(t)
			s := newSetup(t, host.Config{})
			sink := &probe{}
			var soFar run.Receipt
			var processes int
			receipt, err := run.Execute(t.Context(), s.host, s.callerPlan(isolation, settings{"rows": 20_000, "batch": 3000}, "even"), run.Options{
				ID: "r1", Sink: sink,
				BeforeCommit: func(_ context.Context, r *run.Receipt) error {
					soFar = *r
					sink.call(context.Background(), "gate")
					return nil
				},
				Events: func(e run.Event) {
					if started, ok := e.(run.Started); ok {
						processes = len(started.Processes)
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := sink.log(); got != "open write gate commit" {
				t.Errorf("calls: %s", got)
			}
			if n := bytes.Count(sink.data.Bytes(), []byte("\n")); n != 10_000 || sink.media.Type != "text/plain" {
				t.Errorf("%d lines of %+v", n, sink.media)
			}
			sum := sha256.Sum256(sink.data.Bytes())
			if receipt.Rows != 10_000 || receipt.RowsRead != 20_000 || receipt.Bytes != int64(sink.data.Len()) ||
				receipt.SHA256 != hex.EncodeToString(sum[:]) || receipt.Location != "here" || receipt.MediaType != "text/plain" || receipt.Streamed {
				t.Errorf("receipt: %+v", receipt)
			}
			if soFar.Rows != 10_000 || soFar.RowsRead != 20_000 || soFar.Bytes != receipt.Bytes || soFar.MediaType != "text/plain" ||
				soFar.SHA256 != "" || soFar.Counters["source-count.batches"] != 7 || soFar.Facts["source-count.last"] == "" {
				t.Errorf("receipt before the commit: %+v", soFar)
			}
			want := map[plan.Isolation]int{plan.IsolationNone: 1, plan.IsolationGroup: 1, plan.IsolationStage: 3}[isolation]
			if processes != want || len(receipt.Processes) != want {
				t.Errorf("%d processes have started, %d are in the receipt; want %d", processes, len(receipt.Processes), want)
			}
		})
	}
}

// TestGateBeforePluginSink: the gate sees the whole account of a plugin's sink too, in its own process or not.
func TestGateBeforePluginSink(t *testing.T) {
	for _, isolation := range isolations {
		s := newSetup(t, host.Config{})
		calls := 0
		receipt, err := run.Execute(t.Context(), s.host, s.planOf(isolation, settings{"rows": 200}, "even"), run.Options{
			ID: "r1",
			BeforeCommit: func(_ context.Context, r *run.Receipt) error {
				calls++
				if _, err := os.Stat(filepath.Join(s.dir, "out")); err == nil {
					t.Errorf("%s: the file is visible before the commit", isolation)
				}
				if r.Rows != 100 || r.RowsRead != 200 || r.Bytes == 0 || r.MediaType != "text/plain" || r.Counters["source-count.batches"] != 20 || r.RunID != "r1" {
					t.Errorf("%s: %+v", isolation, r)
				}
				return nil
			},
		})
		if err != nil || receipt.Rows != 100 || calls != 1 {
			t.Errorf("%s: %+v, %v, %d calls", isolation, receipt, err, calls)
		}
	}
}

var errLeaseLost = errors.New("the lease was lost")

func TestGateRefuses(t *testing.T) {
	for _, isolation := range isolations {
		for _, callers := range []bool{false, true} {
			for name, gate := range map[string]struct {
				refuse func(ctx context.Context, cancel func()) error
				code   string
				cause  error
			}{
				"plain": {func(context.Context, func()) error { return fmt.Errorf("worker 7: %w", errLeaseLost) }, run.CodeRefused, errLeaseLost},
				"coded": {func(context.Context, func()) error {
					return fault.New("job.fenced", fault.Cancelled, "somebody else has the job: %w", errLeaseLost)
				}, "job.fenced", errLeaseLost},
				"panics": {func(context.Context, func()) error { panic("oh") }, run.CodeRefused, nil},
				"cancelled": {func(ctx context.Context, cancel func()) error {
					cancel()
					<-ctx.Done()
					return ctx.Err()
				}, "run.cancelled", context.Canceled},
			} {
				t.Run(fmt.Sprintf("%s/%s/%v", name, isolation, callers), func(t *testing.T) {
					noLeaks(t)
					s := newSetup(t, host.Config{})
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					sink := &probe{}
					p, options := s.planOf(isolation, nil), run.Options{ID: "r1"}
					if callers {
						p, options.Sink = s.callerPlan(isolation, nil), sink
					}
					options.BeforeCommit = func(ctx context.Context, _ *run.Receipt) error { return gate.refuse(ctx, cancel) }
					receipt, err := run.Execute(ctx, s.host, p, options)
					if receipt.Location != "" || !fault.Is(err, gate.code) || gate.cause != nil && gate.code != "run.cancelled" && !errors.Is(err, gate.cause) {
						t.Errorf("%+v, %+v", receipt, err)
					}
					if left := s.left(t); len(left) > 0 {
						t.Errorf("left behind: %v", left)
					}
					if got := sink.log(); callers && got != "open write abort" {
						t.Errorf("calls: %s", got)
					}
				})
			}
		}
	}
}

// TestCallersSinkFails: whatever the caller's sink does wrong ends the run with its error, and Abort comes once.
func TestCallersSinkFails(t *testing.T) {
	disk := errors.New("the spool is full")
	for _, c := range []struct {
		name, at string
		how      func(context.Context) error
		code     string
		cause    error
		calls    string
	}{
		{"open", "open", func(context.Context) error { return disk }, run.CodeSinkFailed, disk, "open abort"},
		{"write", "write", func(context.Context) error { return disk }, run.CodeSinkFailed, disk, "open write abort"},
		{"coded", "write", func(context.Context) error { return fault.New("spool.full", fault.Sink, "no: %w", disk) }, "spool.full", disk, "open write abort"},
		{"commit", "commit", func(context.Context) error { return disk }, run.CodeSinkFailed, disk, "open write commit abort"},
		{"open panics", "open", func(context.Context) error { panic("oh") }, "plugin.panic", nil, "open abort"},
		{"write panics", "write", func(context.Context) error { panic("oh") }, "plugin.panic", nil, "open write abort"},
		{"commit panics", "commit", func(context.Context) error { panic("oh") }, "plugin.panic", nil, "open write commit abort"},
	} {
		for _, isolation := range isolations {
			t.Run(c.name+"/"+string(isolation), func(t *testing.T) {
				noLeaks(t)
				s := newSetup(t, host.Config{})
				sink := &probe{on: func(ctx context.Context, method string) error {
					if method == c.at {
						return c.how(ctx)
					}
					return nil
				}}
				_, err := run.Execute(t.Context(), s.host, s.callerPlan(isolation, nil), run.Options{ID: "r1", Sink: sink})
				if !fault.Is(err, c.code) || c.cause != nil && !errors.Is(err, c.cause) || fault.From(err).Stage != "sink" {
					t.Errorf("got %+v", fault.From(err))
				}
				if got := sink.log(); got != c.calls {
					t.Errorf("calls: %s, want %s", got, c.calls)
				}
			})
		}
	}
}

// TestCallersSinkBlocks: the end of the run reaches a sink that waits, and one that does not listen is left behind.
func TestCallersSinkBlocks(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		for _, isolation := range isolations {
			t.Run(fmt.Sprintf("%v/%s", deaf, isolation), func(t *testing.T) {
				noLeaks(t)
				s := newSetup(t, host.Config{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				release := make(chan struct{})
				defer close(release)
				sink := &probe{on: func(ctx context.Context, method string) error {
					if method != "write" {
						return nil
					}
					cancel()
					if deaf {
						<-release
						return nil
					}
					<-ctx.Done()
					return ctx.Err()
				}}
				_, err := run.Execute(ctx, s.host, s.callerPlan(isolation, nil), run.Options{ID: "r1", Sink: sink})
				if !fault.Is(err, "run.cancelled") {
					t.Errorf("got %+v", err)
				}
				if got := sink.log(); got != "open write abort" {
					t.Errorf("calls: %s", got)
				}
			})
		}
	}
}

// TestCancelDuringCommit: a Commit that has begun decides what the run came to.
func TestCancelDuringCommit(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		for _, isolation := range isolations {
			t.Run(fmt.Sprintf("plugin/%v/%s", deaf, isolation), func(t *testing.T) {
				noLeaks(t)
				s := newSetup(t, host.Config{})
				announce := filepath.Join(t.TempDir(), "committing")
				if err := syscall.Mkfifo(announce, 0o600); err != nil {
					t.Fatal(err)
				}
				p := s.planOf(isolation, nil)
				config := p.Stages[len(p.Stages)-1].Config
				config["announce"], config["deaf"] = announce, deaf
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				began := make(chan error, 1)
				go func() {
					f, err := os.Open(announce)
					if err == nil {
						f.Close()
					}
					cancel()
					began <- err
				}()
				receipt, err := run.Execute(ctx, s.host, p, run.Options{ID: "r1"})
				if err := <-began; err != nil {
					t.Fatal(err)
				}
				left := strings.Join(s.left(t), " ")
				if deaf && (err != nil || receipt.Rows != 100 || left != "out") || !deaf && (!fault.Is(err, "run.cancelled") || left != "") {
					t.Errorf("%+v, %v; there is: %s", receipt, err, left)
				}
			})
			t.Run(fmt.Sprintf("caller/%v/%s", deaf, isolation), func(t *testing.T) {
				noLeaks(t)
				s := newSetup(t, host.Config{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				sink := &probe{on: func(ctx context.Context, method string) error {
					if method != "commit" {
						return nil
					}
					cancel()
					<-ctx.Done()
					if deaf {
						return nil
					}
					return ctx.Err()
				}}
				receipt, err := run.Execute(ctx, s.host, s.callerPlan(isolation, nil), run.Options{ID: "r1", Sink: sink})
				if deaf && (err != nil || receipt.Rows != 100 || sink.log() != "open write commit") ||
					!deaf && (!fault.Is(err, "run.cancelled") || sink.log() != "open write commit abort") {
					t.Errorf("%+v, %v; calls: %s", receipt, err, sink.log())
				}
			})
		}
	}
}

// TestFailureBehindCallersSink: the cause is the stage that failed, the sink is aborted once it was opened, and not
// called at all otherwise.
func TestFailureBehindCallersSink(t *testing.T) {
	for _, isolation := range isolations {
		for _, c := range []struct {
			source      settings
			code, calls string
		}{
			{settings{"break": "error", "at": 50}, "count.broken", "open write abort"},
			{settings{"break": "late"}, "count.late", "open write abort"},
			{settings{"rowz": 1}, "config.invalid", ""},
		} {
			noLeaks(t)
			s := newSetup(t, host.Config{})
			sink := &probe{}
			_, err := run.Execute(t.Context(), s.host, s.callerPlan(isolation, c.source), run.Options{ID: "r1", Sink: sink,
				BeforeCommit: func(context.Context, *run.Receipt) error { t.Error("the gate was asked"); return nil }})
			// What had come before the failure may still be on its way when it ends the run.
			if got := sink.log(); !fault.Is(err, c.code) || got != c.calls && got != strings.Replace(c.calls, "write ", "", 1) && got != "" {
				t.Errorf("%s: %v, calls: %s", isolation, err, got)
			}
		}
	}
}

func TestSinkAndPlanBelongTogether(t *testing.T) {
	s := newSetup(t, host.Config{})
	sink := &probe{}
	for _, c := range []struct {
		p    *plan.Plan
		sink stage.Sink
	}{{s.planOf(plan.IsolationGroup, nil), sink}, {s.callerPlan(plan.IsolationGroup, nil), nil}} {
		if _, err := run.Execute(t.Context(), s.host, c.p, run.Options{ID: "r1", Sink: c.sink}); !fault.Is(err, run.CodeSink) || sink.log() != "" {
			t.Errorf("got %v, calls %s", err, sink.log())
		}
	}
}

// response is the sink of a service: the body as it comes, and at the end what only the end knows.
type response struct {
	w    http.ResponseWriter
	hash io.Writer
	rows int64
	done func() []byte
}

func newResponse(w http.ResponseWriter) *response {
	h := sha256.New()
	return &response{w: w, hash: h, done: func() []byte { return h.Sum(nil) }}
}

func (r *response) Streams() bool { return true }

func (r *response) Open(_ context.Context, o stage.Object) error {
	r.w.Header().Set("Content-Type", o.Media.Type)
	r.w.Header().Set("Trailer", "X-Rows, Repr-Digest")
	r.w.WriteHeader(http.StatusOK)
	return nil
}

func (r *response) Write(ctx context.Context, p []byte) error {
	r.hash.Write(p)
	_, err := r.w.Write(p)
	return err
}

func (r *response) Commit(context.Context) (stage.Receipt, error) {
	r.w.Header().Set("X-Rows", fmt.Sprint(r.rows))
	r.w.Header().Set("Repr-Digest", hex.EncodeToString(r.done()))
	return stage.Receipt{Location: "response"}, nil
}

func (r *response) Abort(context.Context) error { return nil }

// TestResponseWithTrailers: the body of an HTTP response is a sink; what a client reads to the end is whole, and
// a run that failed, or was refused, is cut, so that no client takes it for whole.
func TestResponseWithTrailers(t *testing.T) {
	s := newSetup(t, host.Config{})
	for _, c := range []struct {
		name   string
		source settings
		gate   error
		code   string
	}{
		{"good", settings{"rows": 50_000}, nil, ""},
		{"failed late", settings{"rows": 50_000, "break": "late"}, nil, "count.late"},
		{"refused", settings{"rows": 50_000}, errLeaseLost, run.CodeRefused},
	} {
		for _, isolation := range isolations {
			t.Run(c.name+"/"+string(isolation), func(t *testing.T) {
				result := make(chan error, 1)
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					sink := newResponse(w)
					_, err := run.Execute(q.Context(), s.host, s.callerPlan(isolation, c.source), run.Options{ID: "r1", Sink: sink,
						BeforeCommit: func(_ context.Context, r *run.Receipt) error {
							sink.rows = r.Rows
							if !r.Streamed {
								t.Error("the gate is not told that the bytes have been seen")
							}
							return c.gate
						}})
					result <- err
					if err != nil {
						panic(http.ErrAbortHandler)
					}
				}))
				defer server.Close()
				answer, err := server.Client().Get(server.URL)
				var body []byte
				if err == nil {
					defer answer.Body.Close()
					body, err = io.ReadAll(answer.Body)
				}
				runErr := <-result
				if c.code != "" {
					if err == nil || !fault.Is(runErr, c.code) || answer != nil && answer.Trailer.Get("X-Rows") != "" {
						t.Errorf("the client read %d bytes without an error; the run: %v", len(body), runErr)
					}
					return
				}
				sum := sha256.Sum256(body)
				if err != nil || runErr != nil || bytes.Count(body, []byte("\n")) != 50_000 || answer.Header.Get("Content-Type") != "text/plain" ||
					answer.Trailer.Get("X-Rows") != "50000" || answer.Trailer.Get("Repr-Digest") != hex.EncodeToString(sum[:]) {
					t.Errorf("%v, %v: %d bytes, trailers %v", err, runErr, len(body), answer.Trailer)
				}
			})
		}
	}
}

// spool is the sink of a request that is answered by what it comes to: a response while it is small, and an
// object otherwise, which begins with what was spooled.
type spool struct {
	limit  int
	held   []byte
	object stage.Sink
	opened stage.Object
}

func (s *spool) Open(_ context.Context, o stage.Object) error { s.opened = o; return nil }

func (s *spool) Write(ctx context.Context, p []byte) error {
	if s.held != nil || s.limit > 0 {
		if len(s.held)+len(p) <= s.limit {
			s.held = append(s.held, p...)
			return nil
		}
		s.limit = 0
		if err := s.object.Open(ctx, s.opened); err != nil {
			return err
		}
		if err := s.object.Write(ctx, s.held); err != nil {
			return err
		}
		s.held = nil
	}
	return s.object.Write(ctx, p)
}

func (s *spool) Commit(ctx context.Context) (stage.Receipt, error) { return s.object.Commit(ctx) }
func (s *spool) Abort(ctx context.Context) error                   { return s.object.Abort(ctx) }

// TestSwitchInMidRun: a run whose output turns out to be too much for a response ends as an object, the source having
// been read once, and every byte is there.
func TestSwitchInMidRun(t *testing.T) {
	noLeaks(t)
	const rows, bytesMin = 4_900_000, 74_000_000
	digest := func(isolation plan.Isolation, sink stage.Sink) (*run.Receipt, *setup) {
		s := newSetup(t, host.Config{})
		receipt, err := run.Execute(t.Context(), s.host, s.callerPlan(isolation, settings{"rows": rows, "batch": 8192}),
			run.Options{ID: "r1", Sink: sink})
		if err != nil {
			t.Fatal(err)
		}
		return receipt, s
	}
	all := &hashing{}
	want, _ := digest(plan.IsolationNone, all)
	if want.Bytes < bytesMin {
		t.Fatalf("%d bytes", want.Bytes)
	}
	object := &hashing{}
	switched := &spool{limit: 50_000_000, object: object}
	got, _ := digest(plan.IsolationGroup, switched)
	if got.SHA256 != want.SHA256 || got.Bytes != want.Bytes || got.RowsRead != rows || switched.limit != 0 || !slices.Equal(object.calls, []string{"open", "commit"}) {
		t.Errorf("%+v\nwant the bytes of %+v; calls of the object: %v", got, want, object.calls)
	}
}

// hashing is an object of which only size and digest are kept.
type hashing struct {
	data  int64
	sum   hashed
	calls []string
}

type hashed struct{ io.Writer }

func (h *hashing) Open(context.Context, stage.Object) error {
	h.calls = append(h.calls, "open")
	h.sum.Writer = sha256.New()
	return nil
}

func (h *hashing) Write(_ context.Context, p []byte) error {
	h.data += int64(len(p))
	_, err := h.sum.Write(p)
	return err
}

func (h *hashing) Commit(context.Context) (stage.Receipt, error) {
	h.calls = append(h.calls, "commit")
	sum := h.sum.Writer.(interface{ Sum([]byte) []byte }).Sum(nil)
	return stage.Receipt{Bytes: h.data, SHA256: hex.EncodeToString(sum)}, nil
}

func (h *hashing) Abort(context.Context) error { h.calls = append(h.calls, "abort"); return nil }
