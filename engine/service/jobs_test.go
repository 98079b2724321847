package service

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// places are buckets that there is no need to open.
type places struct{ used []*config.Settings }

func (p *places) Bucket(_ context.Context, name string) (object.Bucket, error) {
	return nil, fault.New(config.CodeBucket, fault.Usage, "no bucket is called %q", name)
}

func (p *places) Use(to *config.Settings) error {
	p.used = append(p.used, to)
	return nil
}

// full is a record that takes nothing for as long as an error is set.
type full struct{ err error }

func (f *full) ReserveIdempotency(context.Context, store.Idempotency) (string, error) {
	return "", f.err
}
func (f *full) ReleaseIdempotency(context.Context, store.Idempotency) error { return nil }

// TestAcceptance: a record that takes nothing is told once, with its code, and so is its recovery.
func TestAcceptance(t *testing.T) {
	t.Parallel()
	log := &lines{}
	record := &full{}
	a := &acceptance{record: record, holder: "h", log: slog.New(slog.NewTextHandler(log, nil))}
	turn := a.loop().do
	for _, c := range []struct {
		err  error
		want string
		said int // lines of the log in all
	}{
		{nil, "", 0}, {fault.New(store.CodeDiskFull, fault.Internal, "no room"), store.CodeDiskFull, 1}, {fault.New(store.CodeFailed, fault.Internal, "away"), store.CodeFailed, 1},
		{nil, "", 2}, {errors.New("away"), fault.From(errors.New("away")).Code, 3},
	} {
		record.err = c.err
		if err := turn(t.Context()); err != nil {
			t.Error(err)
		}
		if got := a.refused(); got != c.want || strings.Count(log.String(), "\n") != c.said {
			t.Errorf("%v: %q, log %q", c.err, got, log)
		}
	}
}

// TestTimeLimits: every class that jobs may be of has a limit, its own or that of all.
func TestTimeLimits(t *testing.T) {
	t.Parallel()
	limits := timeLimits(config.Jobs{TimeLimit: 7, TimeLimits: map[string]time.Duration{"special": 9}})
	if limits["data"] != 7 || limits[""] != 7 || limits["special"] != 9 {
		t.Errorf("%v", limits)
	}
	if a, b := holder(), holder(); a == b {
		t.Errorf("two processes would be called %s", a)
	}
}

// TestWorker: a worker says to operators what it is at, hands back what it has, and may be stopped twice.
func TestWorker(t *testing.T) {
	t.Parallel()
	set := settings(t)
	s := newService(t, set, nil)
	cfg := s.cfg
	cfg.Buckets = &places{}
	w, err := NewWorker(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		t.Helper()
		answer, err := do(t, http.MethodGet, "http://"+w.OperationsAddress()+path, "", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	if status, text := get("/healthz"); status != 200 || text != "ok\n" {
		t.Errorf("%d %s", status, text)
	}
	if status, text := get("/readyz"); status != 200 || text != "ready\n" {
		t.Errorf("%d %s", status, text)
	}
	_, metrics := get("/metrics")
	for _, want := range []string{"cipherstream_jobs_held 0", "cipherstream_jobs_accepted 1", "cipherstream_queues_known 1"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	w.accepts.note(t.Context(), fault.New(store.CodeDiskFull, fault.Internal, "no room"))
	if status, text := get("/readyz"); status != 503 || text != "jobs: not taken ("+store.CodeDiskFull+")\n" {
		t.Errorf("%d %s", status, text)
	}
	w.Stop(t.Context())
	w.Stop(t.Context())
	if !strings.Contains(s.log.String(), `"msg":"working"`) || strings.Count(s.log.String(), `"msg":"stopped"`) != 1 {
		t.Errorf("the log says %s", s.log)
	}
}

// TestServiceSaysWhetherJobsAreAccepted: it is ready for streams all the same.
func TestServiceSaysWhetherJobsAreAccepted(t *testing.T) {
	t.Parallel()
	set := settings(t)
	made := newService(t, set, nil)
	cfg := made.cfg
	places := &places{}
	cfg.Buckets = places
	s := startOf(t, cfg)
	defer s.Stop(context.Background())
	ready := func() string {
		t.Helper()
		answer, err := do(t, http.MethodGet, "http://"+s.Address()+"/readyz", "", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%d, %v", answer.StatusCode, err)
		}
		return string(text)
	}
	if got := ready(); got != "ready\njobs: accepted\n" {
		t.Errorf("%q", got)
	}
	s.accepts.note(t.Context(), fault.New(store.CodeDiskFull, fault.Internal, "no room"))
	if got := ready(); got != "ready\njobs: not accepted ("+store.CodeDiskFull+")\n" {
		t.Errorf("%q", got)
	}
	if err := s.Reload(t.Context(), set); err != nil || len(places.used) != 1 || places.used[0] != set {
		t.Errorf("the buckets of a reload were not taken: %v", err)
	}
}

// TestAuditIsKept: of the audit goes what is older than the setting says, by the record's clock, and nothing else.
func TestAuditIsKept(t *testing.T) {
	t.Parallel()
	set := settings(t)
	set.Jobs.Retention.Audit = 7 * 365 * 24 * time.Hour
	s := newService(t, set, nil)
	for what, age := range map[string]time.Duration{"old": set.Jobs.Retention.Audit + time.Hour, "kept": set.Jobs.Retention.Audit - time.Hour} {
		if err := s.record.AppendAudit(t.Context(), store.Audit{At: time.Now().Add(-age), What: what, Customer: "two"}); err != nil {
			t.Fatal(err)
		}
	}
	turn := slices.IndexFunc(s.loops, func(l *loop) bool { return l.name == "audit" })
	if turn < 0 {
		t.Fatal("nothing prunes the audit")
	}
	if err := s.loops[turn].do(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, err := s.record.AuditOf(t.Context(), "two", time.Time{}, 9)
	if err != nil || len(rows) != 1 || rows[0].What != "kept" {
		t.Errorf("%+v, %v", rows, err)
	}
}
