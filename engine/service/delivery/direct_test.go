package delivery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
)

// TestDirect: the bytes of a run come as they are, and at their end how many rows they were and their digest; the receipt
// says the same.
func TestDirect(t *testing.T) {
	noLeaks(t)
	e := newEngine(t)
	for _, isolation := range isolations {
		for _, rows := range []int{0, 1, 25_000} {
			to := &response{}
			plan := planOf(t, e, isolation, parameters{"rows": rows})
			receipt, err := Direct{To: to}.Run(t.Context(), func(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
				return e.Run(ctx, plan, sink, o)
			})
			if err != nil {
				t.Fatal(err)
			}
			want := runnertest.Padded(rows, 20)
			if got := to.bytes(); !bytes.Equal(got, want) {
				t.Errorf("%s, %d rows: %d bytes, want %d", isolation, rows, len(got), len(want))
			}
			if h := to.head; h.Length != -1 || h.Media.Type != "text/plain" || h.RunID != plan.RunID || h.SHA256 != "" {
				t.Errorf("%s, %d rows: %+v", isolation, rows, h)
			}
			if to.tail != (Tail{int64(rows), hexSum(want)}) || to.story() != "begin finish" {
				t.Errorf("%s, %d rows: %+v, %s", isolation, rows, to.tail, to.log())
			}
			if receipt.Rows != int64(rows) || receipt.Bytes != int64(len(want)) || receipt.SHA256 != hexSum(want) || !receipt.Streamed || receipt.Location == "" {
				t.Errorf("%s, %d rows: %+v", isolation, rows, receipt)
			}
		}
	}
}

// TestDirectFails: a run that fails before its first byte has begun no response, and one that fails later has cut it.
func TestDirectFails(t *testing.T) {
	noLeaks(t)
	e := newEngine(t)
	for _, c := range []struct {
		name  string
		p     parameters
		story string
		code  string
	}{
		{"at once", parameters{"rows": 100_000, "break": "error"}, "", "count.broken"},
		{"late", parameters{"rows": 100_000, "break": "error", "at": 90_000}, "begin cut", "count.broken"},
		{"after the last row", parameters{"rows": 100_000, "break": "late"}, "begin cut", "count.late"},
		{"killed", parameters{"rows": 100_000, "break": "kill", "at": 90_000}, "begin cut", "plugin.exited"},
	} {
		for _, isolation := range isolations {
			if c.name == "killed" && isolation == engine.IsolationNone {
				continue
			}
			to := &response{}
			receipt, err := Direct{To: to}.Run(t.Context(), runOf(t, e, isolation, c.p))
			hasCode(t, err, c.code)
			if to.story() != c.story || receipt == nil {
				t.Errorf("%s, %s: %q, receipt %v", c.name, isolation, to.story(), receipt)
			}
			if got := to.bytes(); !bytes.HasPrefix(runnertest.Padded(100_000, 20), got) || (len(got) > 0) != (c.story != "") {
				t.Errorf("%s, %s: %d bytes", c.name, isolation, len(got))
			}
		}
	}
}

// TestDirectGate: the caller's gate is asked when all bytes are there and the end is not, with the receipt so far; when it refuses, the
// response is cut.
func TestDirectGate(t *testing.T) {
	noLeaks(t)
	e := newEngine(t)
	refused := errors.New("refused")
	for _, refuse := range []error{nil, refused} {
		to := &response{}
		var events int
		_, err := Direct{To: to, Options: engine.RunOptions{
			Events: func(engine.Event) { events++ },
			BeforeCommit: func(_ context.Context, soFar *engine.Receipt) error {
				if soFar.Rows != 5000 || soFar.Bytes != 100_000 || soFar.EncodedBytes != 100_000 || len(to.bytes()) != 100_000 {
					t.Errorf("%+v, %d bytes", soFar, len(to.bytes()))
				}
				_ = to.call("gate")
				return refuse
			},
		}}.Run(t.Context(), runOf(t, e, engine.IsolationGroup, parameters{"rows": 5000}))
		if !errors.Is(err, refuse) {
			t.Errorf("%v, want %v", err, refuse)
		}
		want := map[error]string{nil: "begin gate finish", refused: "begin gate cut"}[refuse]
		if to.story() != want || events == 0 {
			t.Errorf("%s, want %s; %d events", to.story(), want, events)
		}
	}
}

// TestDirectClientFails: an error of the client at any place is that of the run, the response is cut, and never finished.
func TestDirectClientFails(t *testing.T) {
	noLeaks(t)
	e := newEngine(t)
	for _, at := range []string{"begin", "write", "flush", "finish"} {
		for _, isolation := range isolations {
			to := &response{on: func(call string) error {
				if call == at {
					return syscall.EPIPE
				}
				return nil
			}}
			_, err := Direct{To: to}.Run(t.Context(), runOf(t, e, isolation, parameters{"rows": 25_000}))
			hasCode(t, err, CodeClientGone)
			if !errors.Is(err, syscall.EPIPE) || !strings.HasSuffix(to.story(), "cut") {
				t.Errorf("%s at %s: %v, %s", isolation, at, err, to.story())
			}
		}
	}
}

// TestBackPressure: a client that takes nothing holds the run up: what waits for it does not grow.
func TestBackPressure(t *testing.T) {
	noLeaks(t)
	e := newEngine(t)
	for _, isolation := range isolations {
		plan := planOf(t, e, isolation, parameters{"rows": 1 << 40, "width": 100})
		plan.Limits.MemoryBytes = 4 << 20
		cut := make(chan struct{})
		var once sync.Once
		to := &response{on: func(call string) error {
			switch call {
			case "write":
				<-cut
				return net.ErrClosed
			case "cut":
				once.Do(func() { close(cut) })
			}
			return nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		var last engine.Progress
		same := 0
		_, err := Direct{To: to, Options: engine.RunOptions{Events: func(event engine.Event) {
			if p, ok := event.(engine.Progress); ok {
				if same++; p.Rows != last.Rows || p.Rows == 0 {
					same = 0
				}
				if last = p; same == 4 { // a second
					cancel()
				}
			}
		}}}.Run(ctx, func(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
			return e.Run(ctx, plan, sink, o)
		})
		cancel()
		hasCode(t, err, "run.cancelled")
		if read := last.EncodedBytes; read == 0 || read > 16<<20 {
			t.Errorf("%s: %d bytes wait for a client that takes nothing", isolation, read)
		}
		if to.story() != "begin cut" {
			t.Errorf("%s: %s", isolation, to.story())
		}
	}
}

// connection is a response on a connection, as HTTP/1.1 has it; its context ends when the client has closed.
type connection struct {
	net.Conn
}

func (c *connection) Begin(Head) (Body, error) { return c, nil }
func (c *connection) Flush() error             { return nil }
func (c *connection) Finish(Tail) error        { return nil }
func (c *connection) Cut()                     { c.Conn.Close() }

func connect(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return server, client
}

// TestClientVanishes: a client that goes away while it reads, or after it has stopped to read, ends the run and its
// processes within 3 seconds.
func TestClientVanishes(t *testing.T) {
	noLeaks(t)
	e := newEngine(t)
	for _, isolation := range isolations {
		for _, stalled := range []bool{false, true} {
			for _, noticed := range []bool{false, true} { // by a read, as net/http does, or only by the next write
				if stalled && !noticed {
					continue
				}
				server, client := connect(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var last engine.Progress
				full := make(chan struct{})
				options := engine.RunOptions{Events: func(event engine.Event) {
					if p, ok := event.(engine.Progress); ok {
						if p.Rows > 0 && p.Rows == last.Rows {
							select {
							case full <- struct{}{}:
							default:
							}
						}
						last = p
					}
				}}
				ended := make(chan error, 1)
				run := runOf(t, e, isolation, parameters{"rows": 1 << 40})
				go func() {
					_, err := Direct{To: &connection{server}, Options: options}.Run(ctx, run)
					ended <- err
				}()
				if noticed {
					go func() {
						_, _ = server.Read(make([]byte, 1))
						cancel()
					}()
				}
				if _, err := io.ReadFull(client, make([]byte, 1<<20)); err != nil {
					t.Fatal(err)
				}
				if stalled {
					<-full // nothing moves any more
				}
				gone := time.Now()
				client.Close()
				err := <-ended
				if took := time.Since(gone); took > 3*time.Second {
					t.Errorf("%s, stalled %v, noticed %v: the run went on for %s", isolation, stalled, noticed, took)
				}
				if !fault.Is(err, "run.cancelled") && !fault.Is(err, CodeClientGone) {
					t.Errorf("%s, stalled %v, noticed %v: %v", isolation, stalled, noticed, err)
				}
				if left := children(t); len(left) > 0 {
					t.Errorf("processes left behind: %v", left)
				}
				server.Close()
			}
		}
	}
}

// children are the numbers of the child processes of this one.
func children(t *testing.T) (list []string) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			list = append(list, path)
		}
	}
	return list
}

// TestFlush: the first bytes are sent at once, then a piece that is large, and a small one after a moment, which need not be
// followed by another.
func TestFlush(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		to := &response{}
		_, err := Direct{To: to}.Run(t.Context(), func(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
			_ = sink.Open(ctx, engine.Object{RunID: "r1"})
			for _, step := range []struct {
				size int
				wait time.Duration
				want string
			}{
				{1, 0, "begin write flush"},
				{1, 0, "write"},
				{10, flushAfter - 1, ""},
				{0, 1, "flush"},
				{1, 0, "write"},
				{flushBytes, 0, "flush"}, // the note of two writes is one
				{1, time.Hour, "write flush"},
				{flushBytes - 1, 0, "write"},
				{1, 0, "flush"},
				{1, 0, "write"},
			} {
				before := len(strings.Fields(to.log()))
				if step.size > 0 {
					if err := sink.Write(ctx, make([]byte, step.size)); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(step.wait)
				synctest.Wait()
				if got := strings.Join(strings.Fields(to.log())[before:], " "); got != step.want {
					t.Errorf("%d bytes and %s: %q, want %q", step.size, step.wait, got, step.want)
				}
			}
			_ = o.BeforeCommit(ctx, &engine.Receipt{Rows: 7})
			_, err := sink.Commit(ctx)
			return &engine.Receipt{}, err
		})
		if err != nil || !strings.HasSuffix(to.log(), "write flush finish") || to.tail.Rows != 7 {
			t.Errorf("%v, %s, %+v", err, to.log(), to.tail)
		}
		before := to.log()
		time.Sleep(time.Hour)
		if to.log() != before {
			t.Errorf("after the end: %s", to.log())
		}
	})
}

// TestLateFlushFails: what a flush finds while the run has nothing to write is told at its next word.
func TestLateFlushFails(t *testing.T) {
	t.Parallel()
	for _, commit := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			flushes := 0
			to := &response{on: func(call string) error {
				if call == "flush" {
					if flushes++; flushes == 2 {
						return syscall.EPIPE
					}
				}
				return nil
			}}
			_, err := Direct{To: to}.Run(t.Context(), func(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
				_ = sink.Open(ctx, engine.Object{})
				for range 2 {
					if err := sink.Write(ctx, []byte("x")); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(time.Minute)
				var err error
				if commit {
					_, err = sink.Commit(ctx)
				} else {
					err = sink.Write(ctx, []byte("x"))
				}
				_ = sink.Abort(ctx)
				return nil, err
			})
			hasCode(t, err, CodeClientGone)
			if to.story() != "begin cut" {
				t.Error(to.log())
			}
		})
	}
}

// TestNothingAfterRun: when Run has returned, the response is not touched any more: neither by a call that the run has left
// behind, nor by one that comes late, nor by the end of the context.
func TestNothingAfterRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cut := make(chan struct{})
		var once sync.Once
		block := false
		to := &response{on: func(call string) error {
			switch {
			case call == "cut":
				once.Do(func() { close(cut) })
			case call == "write" && block:
				<-cut
				time.Sleep(time.Second) // soon, not at once
				return net.ErrClosed
			}
			return nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		var kept engine.Sink
		_, err := Direct{To: to}.Run(ctx, func(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
			kept = sink
			_ = sink.Open(ctx, engine.Object{})
			_ = sink.Write(ctx, []byte("x"))
			block = true
			for range 2 { // the second one waits for the first one
				go func() { hasCode(t, sink.Write(ctx, []byte("x")), CodeClientGone) }()
			}
			synctest.Wait()
			return nil, fault.New("count.broken", fault.Source, "broken")
		})
		hasCode(t, err, "count.broken")
		before := to.log()
		if !strings.Contains(before, "cut") {
			t.Error(before)
		}
		synctest.Wait()
		cancel()
		for _, err := range []error{kept.Write(context.Background(), []byte("late")), commit(kept)} {
			hasCode(t, err, CodeClientGone)
		}
		time.Sleep(time.Hour)
		if to.log() != before || string(to.bytes()) != "x" {
			t.Errorf("%s, after %s", to.log(), before)
		}
	})
}

func commit(s engine.Sink) error {
	_, err := s.Commit(context.Background())
	return err
}

// TestAbortAfterCommit: an answer that is whole is not cut any more.
func TestAbortAfterCommit(t *testing.T) {
	t.Parallel()
	to := &response{}
	_, err := Direct{To: to}.Run(t.Context(), func(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
		_ = sink.Open(ctx, engine.Object{})
		if err := commit(sink); err != nil {
			t.Error(err)
		}
		return nil, sink.Abort(ctx)
	})
	if err != nil || to.story() != "begin finish" {
		t.Errorf("%v, %s", err, to.log())
	}
}

// TestBeginsWhileAborted: a response that begins while the run is being aborted is cut as well.
func TestBeginsWhileAborted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		to := &response{}
		broken := fault.New("count.broken", fault.Source, "broken")
		_, err := Direct{To: to}.Run(t.Context(), func(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
			direct := sink.(*directSink)
			_ = direct.take(ctx) // as if Begin had just not begun
			go func() { _ = sink.Abort(ctx) }()
			synctest.Wait() // it has seen no response
			_ = direct.begin(ctx)
			direct.give()
			synctest.Wait()
			if to.story() != "begin cut" {
				t.Error(to.log())
			}
			return nil, broken
		})
		if !errors.Is(err, broken) || to.story() != "begin cut" {
			t.Errorf("%v, %s", err, to.log())
		}
	})
}
