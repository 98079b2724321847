package changes

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	record "github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlite"
	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

const streamPipeline = `
apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: stream, title: Stream}
spec:
  parameters:
    - {name: position, type: string, default: ""}
    - {name: again, type: string, default: ""}
  stages:
    source:
      use: lines-of-log
      with:
        url: "${secret.dsn}"
        position: "${params.position}"
        again: "${params.again}"
        tables:
          - {table: b, channel: logs}
          - {table: a, channel: entities}
          - {table: c, channel: entities}
`

// lines is a source of a plugin: it delivers a document, and then waits, or ends where it was asked for some.
type lines struct {
	settings lineSettings
	batches  [][]event
	ended    bool
	next     int
}

type lineTable struct {
	Table   string `config:"table,required"`
	Channel string `config:"channel,required"`
}

type lineSettings struct {
	URL      config.Secret `config:"url,required" kind:"connection"`
	Position string        `config:"position"`
	Again    string        `config:"again"`
	Tables   []lineTable   `config:"tables,required"`
}

func newLines(s lineSettings, _ stage.Env) (stage.Source, error) {
	l := &lines{settings: s}
	if s.URL.Reveal() != "mysql://user@db/practice" {
		return nil, fault.New("lines.url", fault.Connect, "the URL is another one")
	}
	var again changes.Again
	if s.Again != "" {
		if err := json.Unmarshal([]byte(s.Again), &again); err != nil {
			return nil, fault.New("lines.again", fault.Usage, "%w", err)
		}
		l.ended = true
	}
	if s.Position == "" {
		l.batches = append(l.batches, []event{{key: key{Entities, "entities-a", "1"}, operation: changes.OpWrite, document: `{"id":"1","type":"entities-a"}`}})
	}
	for _, d := range again.Documents {
		l.batches = append(l.batches, []event{{key: key{Entities, d.Type, d.ID}, operation: changes.OpDelete}})
	}
	return l, nil
}

func (l *lines) Open(context.Context) (*arrow.Schema, error) { return changes.Schema(), nil }

func (l *lines) Next(ctx context.Context) (arrow.Record, error) {
	if l.next < len(l.batches) {
		l.next++
		return batchOf(changes.OriginAgain, l.batches[l.next-1]), nil
	}
	if !l.ended {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, io.EOF
}

func (l *lines) Checkpoint() string { return "at " + string(rune('0'+l.next)) }
func (l *lines) Close() error       { return nil }

// TestPipelines: a customer's pipeline is the source of its stream: the engine runs it, with the customer's database, into the
// record, in memory and in a file; and it ends with the stream.
func TestPipelines(t *testing.T) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		testPipelines(t, record.New())
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		file, err := sqlite.Open(t.Context(), t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		testPipelines(t, file)
	})
}

func testPipelines(t *testing.T, store interface {
	Record
	customer.Record
}) {
	t.Helper()
	bundle := stage.Bundle{Name: "test", Version: "0.0.1", Stages: []stage.Definition{
		stage.DefineSource(stage.About{Name: "lines-of-log", Summary: "Changes."}, newLines)}}
	e, err := engine.New(t.Context(), engine.Config{FirstParty: bundle, Catalogue: fstest.MapFS{"stream.yaml": {Data: []byte(streamPipeline)}}, NoFiles: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	prepared, diags := e.Prepare("stream")
	if prepared == nil {
		t.Fatal(diags.Err())
	}
	registry, err := customer.New(t.Context(), store, []customer.Customer{{ID: clinic, DSN: config.NewSecret("mysql://user@db/practice")}, {ID: "other"}}, customer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sources := &Pipelines{Engine: e, Customers: registry, Isolation: engine.IsolationNone, Pipeline: func(customer string) *engine.Prepared {
		if customer == clinic {
			return prepared
		}
		return nil
	}}
	source, err := sources.Source(t.Context(), clinic, Order{RunID: "run", Position: "p", Again: &changes.Again{}})
	if err != nil {
		t.Fatal(err)
	}
	if got := source.Channels(); !slices.Equal(got, Channels) {
		t.Errorf("%v", got)
	}
	if _, err := sources.Source(t.Context(), clinic, Order{RunID: "run", Position: strings.Repeat("p", 100<<10)}); !fault.Is(err, CodePipeline) {
		t.Errorf("a pipeline that cannot be bound: %v", err)
	}
	if err := source.Check(t.Context()); err != nil {
		t.Error(err)
	}
	for id, code := range map[string]string{"other": CodeNoPipeline, "nobody": customer.CodeUnknown} {
		if _, err := sources.Source(t.Context(), id, Order{}); !fault.Is(err, code) || !notHere(err) {
			t.Errorf("%s: %v", id, err)
		}
	}
	key, err := datakey.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := newReceiver(t)
	m, err := New(Config{Record: store, Sources: sources, Key: key, Holder: "process", Poster: r})
	if err != nil {
		t.Fatal(err)
	}
	m.Start()
	var stop sync.Once
	defer stop.Do(func() { m.Stop(context.Background()) })
	if _, err := m.Put(t.Context(), clinic, Settings{URL: "https://receiver.example.com/", Secret: config.NewSecret("s"), Channels: Channels, RequestsPerMinute: 300}, someone); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Enable(t.Context(), clinic, someone); err != nil {
		t.Fatal(err)
	}
	acknowledged := func(n int64) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			v, err := m.Get(t.Context(), clinic)
			if err != nil || v.Fault != nil || v.Reading != nil || time.Now().After(deadline) {
				t.Fatalf("%+v, %v", v, err)
			}
			if channelOf(v, Entities).Acknowledged == n {
				return
			}
		}
	}
	acknowledged(1)
	if _, err := m.Disable(t.Context(), clinic, someone); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Reset(t.Context(), clinic, Entities, 0, false, false, someone); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Enable(t.Context(), clinic, someone); err != nil {
		t.Fatal(err)
	}
	acknowledged(2)
	began := time.Now()
	stop.Do(func() { m.Stop(t.Context()) })
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it stopped after %s", took)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.copy) != 0 || len(r.seen[Entities]) != 2 {
		t.Errorf("%v, %v", r.copy, r.seen)
	}
}
