package service

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	arrowmemory "github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// feed is a source that copies three documents, and ends with that or waits.
type feed struct {
	settings feedSettings
	done     bool
}

type feedSettings struct {
	Position string      `config:"position"`
	Again    string      `config:"again"`
	Tables   []feedTable `config:"tables"`
}

type feedTable struct {
	Type    string `config:"type"`
	Channel string `config:"channel"`
}

func (f *feed) Open(context.Context) (*arrow.Schema, error) { return changes.Schema(), nil }

func (f *feed) Next(ctx context.Context) (arrow.Record, error) {
	switch {
	case !f.done && f.settings.Position == "":
		f.done = true
		b := array.NewRecordBuilder(arrowmemory.DefaultAllocator, changes.Schema())
		defer b.Release()
		for id := range 3 {
			for column, value := range map[int]string{changes.ColumnChannel: "entities", changes.ColumnType: "patient", changes.ColumnID: fmt.Sprint(id), changes.ColumnOperation: changes.OpWrite,
				changes.ColumnOrigin: changes.OriginCopy, changes.ColumnDocument: fmt.Sprintf(`{"id":"%d","type":"patient"}`, id)} {
				b.Field(column).(*array.StringBuilder).Append(value)
			}
			b.Field(changes.ColumnCommittedAt).AppendNull()
		}
		return b.NewRecord(), nil
	case f.settings.Again != "":
		return nil, io.EOF
	}
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func (f *feed) Checkpoint() string { return "copied" }

func (f *feed) Close() error { return nil }

const fed = `
apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: fed, title: Fed, category: Data Stream, class: special, description: Three documents.}
spec:
  parameters:
    - {name: position, type: string, default: ""}
    - {name: again, type: string, default: ""}
  stages:
    source: {use: feed, with: {position: "${params.position}", again: "${params.again}", tables: [{type: patient, channel: entities}]}}
`

// streamsEngine is an engine whose one source is a feed.
func streamsEngine(t *testing.T) *engine.Engine {
	t.Helper()
	bundle := runnertest.Bundle("test")
	bundle.Stages = append(bundle.Stages, stage.DefineSource(stage.About{Name: "feed", Summary: "Three documents."},
		func(s feedSettings, _ stage.Env) (stage.Source, error) { return &feed{settings: s}, nil }))
	e, err := engine.New(t.Context(), engine.Config{FirstParty: bundle, Args: []string{"unused"}, Catalogue: fstest.MapFS{"fed.yaml": {Data: []byte(fed)}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// TestDataStream: what a pipeline delivers comes to the receiver that was set through the API, and status and metrics say so.
func TestDataStream(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var came []string
	receiver := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inflated, err := gzip.NewReader(r.Body)
		var request struct {
			Channel      string `json:"channel"`
			Organization string `json:"organization_id"`
			Documents    []struct {
				Document json.RawMessage `json:"document"`
				Sequence int64           `json:"sequence"`
			} `json:"documents"`
		}
		if err != nil || json.NewDecoder(inflated).Decode(&request) != nil || r.Header.Get("Authorization") != "bearer very-secret" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		var last int64
		for _, d := range request.Documents {
			last = d.Sequence
			came = append(came, fmt.Sprintf("%d %s", d.Sequence, d.Document))
		}
		fmt.Fprintf(w, `{"status":"ok","organization_id":%q,"channel":%q,"max_sequence_processed":%d}`, request.Organization, request.Channel, last)
	}))
	defer receiver.Close()

	set := settings(t)
	set.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	set.Customers[0].DataStream.Pipeline = "fed"
	made := newService(t, set, nil)
	cfg := made.cfg
	cfg.Streams = streamsEngine(t)
	s := startOf(t, cfg)
	defer s.Stop(context.Background())
	ask := func(method, path, body string, want int) string {
		t.Helper()
		answer, err := do(t, method, "http://"+s.Address()+"/v1/customers/one/data-stream"+path, made.key, body, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != want {
			t.Fatalf("%s %s: %s %s", method, path, answer.Status, text)
		}
		return string(text)
	}
	body, err := json.Marshal(map[string]any{"url": receiver.URL + "/in", "shared_secret": "very-secret", "channels": []string{"entities", "logs"},
		"certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: receiver.Certificate().Raw}))})
	if err != nil {
		t.Fatal(err)
	}
	ask("PUT", "", string(body), http.StatusOK)
	if text := ask("POST", "/enable", "", http.StatusConflict); !strings.Contains(text, "CHANNEL_EMPTY") {
		t.Errorf("a channel without tables: %s", text)
	}
	ask("PUT", "", strings.Replace(string(body), `"entities","logs"`, `"entities"`, 1), http.StatusOK)
	ask("POST", "/enable", "", http.StatusOK)
	var status string
	for deadline := time.Now().Add(time.Minute); !strings.Contains(status, `"acknowledged":3,`); time.Sleep(20 * time.Millisecond) {
		if status = ask("GET", "", "", http.StatusOK); time.Now().After(deadline) {
			t.Fatalf("%s\n%s", status, made.log)
		}
	}
	if !strings.Contains(status, `"status":"running"`) || strings.Contains(status, "very-secret") {
		t.Error(status)
	}
	mu.Lock()
	if got := strings.Join(came, ", "); got != `1 {"id":"0","type":"patient"}, 2 {"id":"1","type":"patient"}, 3 {"id":"2","type":"patient"}` {
		t.Error(got)
	}
	mu.Unlock()
	answer, err := do(t, "GET", "http://"+s.OperationsAddress()+"/metrics", "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(text), `cipherstream_data_stream_documents_total{channel="entities"} 3`) {
		t.Errorf("%v: %s", err, text)
	}
	ask("POST", "/disable", "", http.StatusOK)
	if text := ask("POST", "/reset", `{"channel":"entities","above":1,"dry_run":true}`, http.StatusOK); !strings.Contains(text, `"documents":2`) {
		t.Error(text)
	}
	if strings.Contains(made.log.String(), "very-secret") {
		t.Error("the secret is in the log")
	}
	audit, err := made.record.AuditOf(t.Context(), "one", time.Time{}, 99)
	var did []string
	for _, row := range audit {
		if strings.HasPrefix(row.What, "data_stream.") {
			did = append(did, row.What)
		}
	}
	if got := strings.Join(did, " "); err != nil || got != "data_stream.put data_stream.put data_stream.enable data_stream.disable" {
		t.Errorf("%s, %v", got, err)
	}
}

// TestDataStreamPipelines: a pipeline that cannot be is told at the start and at a reload, which then changes nothing.
func TestDataStreamPipelines(t *testing.T) {
	t.Parallel()
	set := settings(t)
	file := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(fed, "fed", "mine")), 0o600); err != nil {
		t.Fatal(err)
	}
	set.Customers[0].DataStream.Pipeline, set.Customers[1].DataStream.Pipeline = "fed", file
	made := newService(t, set, nil)
	cfg := made.cfg
	cfg.Streams = streamsEngine(t)
	s := startOf(t, cfg)
	defer s.Stop(context.Background())
	for _, id := range []string{"one", "two"} {
		if s.streams.pipeline(id) == nil {
			t.Errorf("%s has no pipeline", id)
		}
	}
	to := *set
	to.Customers = append(to.Customers[:1:1], set.Customers[1])
	to.Customers[1].DataStream.Pipeline = "fedd"
	if err := s.Reload(t.Context(), &to); err == nil || s.streams.pipeline("two") == nil {
		t.Errorf("%v", err)
	}
	to.Customers[1].DataStream.Pipeline = ""
	if err := s.Reload(t.Context(), &to); err != nil || s.streams.pipeline("two") != nil || s.streams.pipeline("one") == nil {
		t.Errorf("%v", err)
	}
	cfg.Settings = &to
	to.Customers[1].DataStream.Pipeline = "fedd"
	if _, err := New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "fedd") {
		t.Errorf("%v", err)
	}
}
