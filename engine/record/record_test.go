package record_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/record"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/engine/run/runtest"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
)

func TestMain(m *testing.M) { runtest.Main(m, runnertest.Bundle) }

// setup is runtest's with plain stages.
type setup struct {
	*runtest.Setup
	host *host.Host
	dir  string
}

func newSetup(t *testing.T, cfg host.Config) *setup {
	t.Helper()
	s := runtest.New(t, cfg, runnertest.Bundle(runtest.Plugin))
	return &setup{Setup: s, host: s.Host, dir: s.Dir}
}

type settings = runtest.Settings

// record runs a plan, every stage in a process of its own, and keeps what crosses where a folder is named.
func (s *setup) record(t *testing.T, dir string, source settings, filters ...string) (*run.Receipt, *fault.Fault) {
	t.Helper()
	p := s.Plan(plan.IsolationStage, source, filters...)
	o := run.Options{ID: "r1", Stall: 300 * time.Millisecond}
	if dir != "" {
		o.Tap = record.New(dir)
	}
	receipt, err := run.Execute(t.Context(), s.host, p, o)
	return receipt, fault.From(err)
}

// arrowFile reads a file with Arrow's own reader: the values of its only column.
func arrowFile(t *testing.T, path string) (values []string, batches int) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	reader, err := ipc.NewFileReader(file)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	defer reader.Close()
	for i := range reader.NumRecords() {
		rec, err := reader.Record(i)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for row := range int(rec.NumRows()) {
			if column, ok := rec.Column(0).(*array.Binary); ok {
				values = append(values, column.ValueString(row))
				continue
			}
			values = append(values, rec.Column(0).ValueStr(row))
		}
	}
	return values, reader.NumRecords()
}

func TestRecord(t *testing.T) {
	s := newSetup(t, host.Config{})
	dir := filepath.Join(t.TempDir(), "rec")
	receipt, f := s.record(t, dir, settings{"rows": 5000, "batch": 300}, "even")
	if f != nil {
		t.Fatal(f)
	}
	content, err := os.ReadFile(filepath.Join(s.dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	if receipt.Rows != 2500 || receipt.Bytes != int64(len(content)) {
		t.Errorf("receipt: %+v", receipt)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", info.Mode(), err)
	}
	kept, err := record.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !kept.Complete || kept.RunID != "r1" || kept.Fault != "" || len(kept.Stages) != 4 {
		t.Errorf("record: %+v", kept)
	}
	want := []struct {
		file    string
		rows    int
		batches int
		third   string
	}{
		{"01-source-count-to-filter-even.arrow", 5000, 17, "2"},
		{"02-filter-even-to-encoder-lines.arrow", 2500, 17, "4"},
		{"03-encoder-lines-to-sink-file.arrow", 2500, 17, "4@2\n"},
	}
	names := map[string]bool{"record.json": true}
	for i, w := range want {
		names[w.file] = true
		values, batches := arrowFile(t, filepath.Join(dir, w.file))
		if len(values) != w.rows || batches != w.batches || values[2] != w.third {
			t.Errorf("%s: %d rows in %d batches, the third is %q", w.file, len(values), batches, values[2])
		}
		b := kept.Boundaries[i]
		if b.File != w.file || b.Rows != int64(w.rows) || b.Batches != w.batches || !b.Complete || b.Bytes == 0 {
			t.Errorf("boundary %+v", b)
		}
		if w.file[:2] == "03" && strings.Join(values, "") != string(content) {
			t.Error("what the sink was given is not what it wrote")
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 || !names[e.Name()] {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

// TestRecordChangesNothing: the same run without a recording makes the same bytes.
func TestRecordChangesNothing(t *testing.T) {
	s := newSetup(t, host.Config{})
	var outputs [][]byte
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "rec")} {
		if _, f := s.record(t, dir, settings{"rows": 20_000, "batch": 777}, "pass", "even"); f != nil {
			t.Fatal(f)
		}
		content, err := os.ReadFile(filepath.Join(s.dir, "out"))
		if err != nil {
			t.Fatal(err)
		}
		outputs = append(outputs, content)
	}
	if !bytes.Equal(outputs[0], outputs[1]) {
		t.Errorf("%d bytes without a recording, %d with one", len(outputs[0]), len(outputs[1]))
	}
}

func TestRecordHasNoSecrets(t *testing.T) {
	const password = "hunter2-&-more"
	s := newSetup(t, host.Config{})
	dir := filepath.Join(t.TempDir(), "rec")
	if _, f := s.record(t, dir, settings{"password": config.NewSecret(password)}); f != nil {
		t.Fatal(f)
	}
	text, err := os.ReadFile(filepath.Join(dir, "record.json"))
	if err != nil {
		t.Fatal(err)
	}
	quoted, err := json.Marshal(password)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte(password)) || bytes.Contains(text, quoted) {
		t.Error("the password is in record.json")
	}
	kept, err := record.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	first := kept.Stages[0]
	if first.Settings["password"] != "[secret]" || len(first.Secrets) != 1 || first.Secrets[0] != "/password" {
		t.Errorf("stage: %+v", first)
	}
}

// TestRecordOfAFailure: what there is stays, and says that it is not whole.
func TestRecordOfAFailure(t *testing.T) {
	// More than the memory of a run holds, so that some has crossed by then.
	const batch, failsAt = 8192, 5_000_000
	for how, code := range map[string]string{"error": "count.broken", "kill": "plugin.exited"} {
		s := newSetup(t, host.Config{})
		dir := filepath.Join(t.TempDir(), "rec")
		if _, f := s.record(t, dir, settings{"rows": 1 << 40, "batch": batch, "at": failsAt, "break": how}, "even"); f == nil || f.Code != code {
			t.Fatalf("%s: got %+v", how, f)
		}
		kept, err := record.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if kept.Complete || kept.Fault != code {
			t.Errorf("%s: record: %+v", how, kept)
		}
		for _, b := range kept.Boundaries {
			if b.Complete || !strings.HasSuffix(b.File, ".arrow.partial") {
				t.Errorf("%s: boundary %+v", how, b)
			}
			if _, err := os.Stat(filepath.Join(dir, b.File)); err != nil {
				t.Errorf("%s: %v", how, err)
			}
		}
		if b := kept.Boundaries[0]; b.Rows == 0 || b.Rows > failsAt+batch || b.Rows%batch != 0 {
			t.Errorf("%s: %d rows have crossed", how, b.Rows)
		}
		replayed, err := record.Replay{Dir: dir, Stage: "even"}.Execute(t.Context(), s.host)
		if err != nil {
			t.Fatal(err)
		}
		if replayed.Difference != nil || !replayed.Partial || replayed.RowsIn != kept.Boundaries[0].Rows {
			t.Errorf("%s: replayed: %+v", how, replayed)
		}
	}
}

func TestRecordCancelled(t *testing.T) {
	s := newSetup(t, host.Config{})
	dir := filepath.Join(t.TempDir(), "rec")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := s.Plan(plan.IsolationStage, settings{"rows": 1 << 40}, "pass")
	_, err := run.Execute(ctx, s.host, p, run.Options{ID: "r1", Tap: record.New(dir), Events: func(e run.Event) {
		if progress, ok := e.(run.Progress); ok && progress.Bytes > 0 {
			cancel()
		}
	}})
	if !fault.Is(err, "run.cancelled") {
		t.Errorf("got %v", err)
	}
	if kept, err := record.Read(dir); err != nil || kept.Complete || kept.Fault != "run.cancelled" {
		t.Errorf("record: %+v, %v", kept, err)
	}
	if left := s.Left(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRecordFolder(t *testing.T) {
	base := t.TempDir()
	path := func(name string) string { return filepath.Join(base, name) }
	for _, err := range []error{
		os.Mkdir(path("empty"), 0o755), os.Mkdir(path("full"), 0o700), os.WriteFile(path("full/x"), nil, 0o600), os.WriteFile(path("file"), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, says := range map[string]string{"full": "is not empty", "file": "cannot go to", "gone/deeper": "no such file"} {
		s := newSetup(t, host.Config{})
		_, f := s.record(t, path(name), nil)
		if f == nil || f.Code != record.CodeRecordFolder || f.Class != fault.Usage || !strings.Contains(f.Message, says) {
			t.Errorf("%s: got %+v", name, f)
		}
		if left := s.Left(t); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
	s := newSetup(t, host.Config{})
	if _, f := s.record(t, path("empty"), nil); f != nil {
		t.Fatal(f)
	}
	if info, err := os.Stat(path("empty")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder that was there: %v, %v", info.Mode(), err)
	}
}

// edit changes the description of a recording.
func edit(t *testing.T, dir string, change func(*record.Record)) {
	t.Helper()
	kept, err := record.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	change(kept)
	text, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "record.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReplay(t *testing.T) {
	s := newSetup(t, host.Config{})
	dir := filepath.Join(t.TempDir(), "rec")
	if _, f := s.record(t, dir, settings{"rows": 1000, "batch": 7}, "even"); f != nil {
		t.Fatal(f)
	}
	for _, c := range []struct {
		name string
		in   record.Replay
		use  string // another stage in place of the recorded one
		rows int64
		want string // of the difference, or the fault
	}{
		{"same table", record.Replay{Stage: "filter-even"}, "", 500, ""},
		{"by what it uses", record.Replay{Stage: "even"}, "", 500, ""},
		{"same records", record.Replay{Stage: "encoder-lines"}, "", 500, ""},
		{"another filter", record.Replay{Stage: "filter-even"}, "pass", 1000, `row 2 (counted from 1), column "n" differs: 2, 1`},
		{"a setting", record.Replay{Stage: "lines", Set: map[string]string{"width": "2"}}, "", 500,
			`row 1 (counted from 1), column "records" differs: "0@0\n", "00@0\n"`},
		{"more records", record.Replay{Stage: "lines", Set: map[string]string{"edges": "true"}}, "", 502,
			`row 1 (counted from 1), column "records" differs: "0@0\n", "begin\n"`},
		{"no such setting", record.Replay{Stage: "lines", Set: map[string]string{"wide": "2"}}, "", 0, `plan.setting: the stage has no setting "/wide"`},
		{"a wrong value", record.Replay{Stage: "lines", Set: map[string]string{"width": "wide"}}, "", 0, `config.invalid`},
		{"no such stage", record.Replay{Stage: "gone"}, "", 0, `plan.no_such_stage`},
		{"a source", record.Replay{Stage: "source-count"}, "", 0, `replay.stage: stage "source-count" is a source`},
		{"a sink", record.Replay{Stage: "sink-file"}, "", 0, `replay.stage: stage "sink-file" is a sink`},
		{"no such use", record.Replay{Stage: "filter-even"}, "odd", 0, `plugin.unknown_stage`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.Dir = dir
			if c.use != "" {
				edit(t, dir, func(r *record.Record) { r.Stages[1].Use = c.use })
				defer edit(t, dir, func(r *record.Record) { r.Stages[1].Use = "even" })
			}
			replayed, err := c.in.Execute(t.Context(), s.host)
			got := ""
			switch {
			case err != nil:
				got = err.Error()
			case replayed.Difference != nil:
				d := replayed.Difference
				got = d.Message + ": " + d.Recorded + ", " + d.Replayed
			}
			if got != c.want && (err == nil || c.want == "" || !strings.HasPrefix(got, c.want)) {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
			if err == nil && (replayed.RowsOut != c.rows || replayed.Partial) {
				t.Errorf("replayed: %+v", replayed)
			}
		})
	}
}

func TestReplayToAFile(t *testing.T) {
	s := newSetup(t, host.Config{})
	dir := filepath.Join(t.TempDir(), "rec")
	if _, f := s.record(t, dir, settings{"rows": 100}, "even"); f != nil {
		t.Fatal(f)
	}
	out := filepath.Join(t.TempDir(), "out.arrow")
	replayed, err := record.Replay{Dir: dir, Stage: "even", Out: out}.Execute(t.Context(), s.host)
	if err != nil || replayed.RowsOut != 50 || replayed.Partial {
		t.Fatalf("got %+v, %v", replayed, err)
	}
	if values, _ := arrowFile(t, out); len(values) != 50 || values[49] != "98" {
		t.Errorf("%d rows: %v", len(values), values)
	}
	if info, err := os.Stat(out); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(out + ".partial"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
	_, err = record.Replay{Dir: dir, Stage: "even", Out: filepath.Join(out, "below")}.Execute(t.Context(), s.host)
	if !fault.Is(err, record.CodeRecordWrite) {
		t.Errorf("got %v", err)
	}
}

// TestReplaySecrets: a secret has to be given again, and only then is it used.
func TestReplaySecrets(t *testing.T) {
	s := newSetup(t, host.Config{})
	dir := filepath.Join(t.TempDir(), "rec")
	if _, f := s.record(t, dir, nil, "pass"); f != nil {
		t.Fatal(f)
	}
	edit(t, dir, func(r *record.Record) { r.Stages[2].Secrets = []string{"/width"} })
	_, err := record.Replay{Dir: dir, Stage: "lines"}.Execute(t.Context(), s.host)
	f := fault.From(err)
	if f == nil || f.Code != record.CodeReplaySecret || f.Class != fault.Usage || !strings.Contains(f.Hint, "--secret /width=SOURCE") {
		t.Errorf("got %+v", f)
	}
	if _, err := (record.Replay{Dir: dir, Stage: "lines", Set: map[string]string{"width": "1"}}).Execute(t.Context(), s.host); err != nil {
		t.Error(err)
	}
	_, err = record.Replay{Dir: dir, Stage: "lines", Secrets: map[string]string{"width": "hunter2"}}.Execute(t.Context(), s.host)
	if !fault.Is(err, plan.CodeSetting) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// TestBadRecordings: a folder that was not written by a run is refused in words.
func TestBadRecordings(t *testing.T) {
	s := newSetup(t, host.Config{})
	dir := filepath.Join(t.TempDir(), "rec")
	if _, f := s.record(t, dir, nil, "pass"); f != nil {
		t.Fatal(f)
	}
	input := filepath.Join(dir, "01-source-count-to-filter-pass.arrow")
	whole, err := os.ReadFile(input)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"no Arrow file": []byte("something else altogether"), "short": whole[:3], "cut in the schema": whole[:100],
		"cut in a batch": whole[:len(whole)/2], "garbage": append(append([]byte{}, whole[:400]...), bytes.Repeat([]byte{0xA5}, 400)...),
	} {
		if err := os.WriteFile(input, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := (record.Replay{Dir: dir, Stage: "pass"}).Execute(t.Context(), s.host); !fault.Is(err, record.CodeRecordRead) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := os.Remove(input); err != nil {
		t.Fatal(err)
	}
	if _, err := (record.Replay{Dir: dir, Stage: "pass"}).Execute(t.Context(), s.host); !fault.Is(err, record.CodeRecordRead) {
		t.Errorf("missing: got %v", err)
	}
	edit(t, dir, func(r *record.Record) { r.Boundaries[0].File = "../../etc/passwd" })
	if _, err := (record.Replay{Dir: dir, Stage: "pass"}).Execute(t.Context(), s.host); !fault.Is(err, record.CodeRecordRead) {
		t.Errorf("outside: got %v", err)
	}
	for text, code := range map[string]string{"{": record.CodeRecordRead, `{"format": "other"}`: record.CodeRecordRead} {
		if err := os.WriteFile(filepath.Join(dir, "record.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := record.Read(dir); !fault.Is(err, code) {
			t.Errorf("%s: got %v", text, err)
		}
	}
	if _, err := record.Read(t.TempDir()); !fault.Is(err, record.CodeRecordFolder) {
		t.Errorf("an empty folder: got %v", err)
	}
}
