package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/pipelines"
	"github.com/cipherstream/cipherstream/plugins/bundle"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// embedded is an engine in this process, as a service has one. The folder for what is private is the process's, so that the
// test runs by itself.
func (w *workspace) embedded() *engine.Engine {
	w.Helper()
	executable := program(w) // built before the folder for it changes
	w.Setenv("TMPDIR", w.tmp)
	e, err := engine.New(w.Context(), engine.Config{
		FirstParty: bundle.Bundle("0.0.0"), Executable: executable, Args: []string{"plugin-serve"}, Catalogue: pipelines.FS(),
	})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { e.Close() })
	return e
}

// planned plans a pipeline whose object, where it has one, goes to a bucket.
func (d *deliveries) planned(e *engine.Engine, pipeline, bucket, object string, end plan.End, isolation string) *plan.Plan {
	d.Helper()
	prepare := e.Prepare
	if filepath.IsAbs(pipeline) {
		prepare = e.PrepareFile
	}
	prepared, diags := prepare(pipeline)
	if err := diags.Err(); err != nil {
		d.Fatal(err)
	}
	p, diags := prepared.Bind(engine.Inputs{
		End: end, Isolation: plan.Isolation(isolation),
		Secrets: func(name string) (string, bool) {
			value, known := map[string]string{
				"dsn": d.dsn, "s3_access_key_id": d.store.AccessKey(), "s3_secret_access_key": d.store.SecretKey(),
			}[name]
			return value, known
		},
		Destination: engine.Destination{Output: d.output(object), Object: &engine.ObjectDestination{Bucket: bucket, Name: object, LinkTTL: time.Hour}},
	})
	if err := diags.Err(); err != nil {
		d.Fatal(err)
	}
	return p
}

// TestRefusedCommit: what the caller's gate refuses leaves nothing: no file, no object in a folder, and neither object
// nor upload in S3, for stages of this process, of one plugin process and of one each.
func TestRefusedCommit(t *testing.T) {
	d := newDeliveries(t, servers.MinIO(t))
	e := d.embedded()
	lost := errors.New("the lease was lost")
	folder := t.TempDir()
	for _, isolation := range isolations {
		for name, p := range map[string]*plan.Plan{
			"file": d.planned(e, d.workspace.pipeline(settings{"query": delivered}, "ndjson"), "", "refused.ndjson", plan.EndPipeline, isolation),
			"folder": d.planned(e, d.job(delivered, nil), (&url.URL{Scheme: "file", Path: filepath.ToSlash(folder)}).String(),
				"refused.ndjson", plan.EndPipeline, isolation),
			"s3": d.planned(e, d.job(delivered, nil), d.store.URL(d.store.Bucket()), "refused.ndjson", plan.EndPipeline, isolation),
		} {
			asked := 0
			_, err := e.Run(t.Context(), p, nil, engine.RunOptions{BeforeCommit: func(_ context.Context, r *run.Receipt) error {
				if asked++; r.Rows != 75_000 || r.Bytes < 20_000_000 {
					t.Errorf("%s, %s: the gate is shown %d rows and %d bytes", name, isolation, r.Rows, r.Bytes)
				}
				return lost
			}})
			if !errors.Is(err, lost) || !fault.Is(err, run.CodeRefused) || asked != 1 {
				t.Errorf("%s, %s: %v, asked %d times", name, isolation, err, asked)
			}
		}
		d.nothing("refused.ndjson")
		for _, dir := range []string{folder, d.out} {
			if left := names(t, dir); len(left) > 0 {
				t.Errorf("%s: left behind: %v", isolation, left)
			}
		}
	}
}

// spool is the sink of a request whose answer is a response while it is small, and an object otherwise, which begins with
// what was spooled. The object's sink is the one that jobs use.
type spool struct {
	limit  int
	object engine.Sink
	about  engine.Object
	held   bytes.Buffer
	is     bool // an object
	opened int
}

func (s *spool) Open(_ context.Context, about engine.Object) error {
	s.about = about
	s.opened++
	return nil
}

func (s *spool) Write(ctx context.Context, p []byte) error {
	if s.is {
		return s.object.Write(ctx, p)
	}
	if s.held.Len()+len(p) <= s.limit {
		s.held.Write(p)
		return nil
	}
	s.is = true
	if err := s.object.Open(ctx, s.about); err != nil {
		return err
	}
	if err := s.object.Write(ctx, s.held.Bytes()); err != nil {
		return err
	}
	s.held = bytes.Buffer{}
	return s.object.Write(ctx, p)
}

func (s *spool) Commit(ctx context.Context) (engine.Delivery, error) {
	if s.is {
		return s.object.Commit(ctx)
	}
	return engine.Delivery{Bytes: int64(s.held.Len())}, nil
}

func (s *spool) Abort(ctx context.Context) error { return s.object.Abort(ctx) }

// switched is a query of some 74 MB.
const switched = "SELECT seq, SHA2(seq, 512) AS a, SHA2(-seq, 512) AS b FROM seq_1_to_264000"

// TestSwitchToObject: a run whose output is too much for a response becomes one whose object begins with what was spooled.
// The rows are read once, and the object has every byte of the stream; one that is refused then leaves no upload.
func TestSwitchToObject(t *testing.T) {
	d := newDeliveries(t, servers.MinIO(t))
	e := d.embedded()
	job, ok := bundle.Bundle("0.0.0").Find(stage.KindSink, "job")
	if !ok {
		t.Fatal("no sink for jobs")
	}
	object := func(key string) engine.Sink {
		text, err := json.Marshal(settings{"bucket": d.store.URL(d.store.Bucket()), "key": key, "buffer": "5MiB", "link_ttl": "1h",
			"access_key_id": d.store.AccessKey(), "secret_access_key": d.store.SecretKey()})
		if err != nil {
			t.Fatal(err)
		}
		made, err := job.Make(text, stage.Env{Count: func(string, int64) {}, Fact: func(string, string) {}})
		if err != nil {
			t.Fatal(err)
		}
		return made.(engine.Sink)
	}
	for _, isolation := range isolations {
		sink := &spool{limit: 50_000_000, object: object("switched.ndjson")}
		p := d.planned(e, d.workspace.pipeline(settings{"query": switched}, "ndjson"), "", "", plan.EndCaller, isolation)
		r, err := e.Run(t.Context(), p, sink, engine.RunOptions{})
		if err != nil {
			t.Fatal(err)
		}
		whole := &spool{limit: 1 << 30}
		if _, err := e.Run(t.Context(), p, whole, engine.RunOptions{}); err != nil {
			t.Fatal(err)
		}
		want := whole.held.Bytes()
		if !sink.is || sink.opened != 1 || r.RowsRead != 264_000 || r.Rows != 264_000 || len(want) < 70_000_000 {
			t.Errorf("%s: %+v of %d bytes; an object: %v, opened %d times", isolation, r, len(want), sink.is, sink.opened)
		}
		receipt{Bytes: r.Bytes, SHA256: r.SHA256}.isOf(t, want)
		if status, content := get(t, r.Link, ""); status != http.StatusOK || !bytes.Equal(content, want) {
			t.Errorf("%s: the link gives %d and %d bytes, want %d", isolation, status, len(content), len(want))
		}
		lost := errors.New("the lease was lost")
		refused := &spool{limit: 50_000_000, object: object("refused.ndjson")}
		_, err = e.Run(t.Context(), p, refused, engine.RunOptions{BeforeCommit: func(context.Context, *run.Receipt) error { return lost }})
		if !errors.Is(err, lost) || !refused.is {
			t.Errorf("%s: %v", isolation, err)
		}
		if left := d.store.Uploads(d.store.Bucket(), "refused.ndjson"); len(left) > 0 {
			t.Errorf("%s: %d uploads left behind", isolation, len(left))
		}
	}
	if left := d.store.Objects(d.store.Bucket()); len(left) != 1 {
		t.Errorf("objects: %v", left)
	}
}
