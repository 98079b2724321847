package service_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
)

// fakeSchedules is a service with schedules, and what it was asked.
type fakeSchedules struct {
	*httptest.Server
	schedules []map[string]any
	asked     []string
	body      string
	refuse    string // the code of what is refused
}

func startSchedules(t *testing.T, names ...string) *fakeSchedules {
	t.Setenv("CIPHERSTREAM_API_KEY", "cs_live_geheim")
	f := &fakeSchedules{}
	for _, name := range names {
		f.schedules = append(f.schedules, f.schedule(name))
	}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeSchedules) schedule(name string) map[string]any {
	return map[string]any{"schedule_id": "sch_" + name, "name": name, "procedure": "appointments", "cron": "30 2 * * *", "time_zone": "Europe/Berlin",
		"enabled": true, "overlap": "skip", "missed": "once", "jitter": "0s", "last_tick": "2026-03-27T01:30:00.000Z", "last_outcome": "job",
		"next_runs": []any{map[string]any{"at": "2026-03-28T01:30:00.000Z", "local": "2026-03-28T02:30:00+01:00"},
			map[string]any{"at": "2026-03-29T01:00:00.000Z", "local": "2026-03-29T03:00:00+02:00"}}}
}

func (f *fakeSchedules) serve(w http.ResponseWriter, r *http.Request) {
	f.asked = append(f.asked, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/v1/customers/c/schedules"))
	text, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	send := func(status int, v any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	if f.refuse != "" && r.Method != http.MethodGet {
		send(http.StatusConflict, map[string]any{"error": map[string]any{"code": f.refuse, "message": "No.", "suggestion": "Ask.", "details": []any{}}})
		return
	}
	switch {
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/schedules"):
		send(200, map[string]any{"schedules": f.schedules})
	case r.Method == http.MethodGet:
		send(200, f.schedules[0])
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	case strings.HasSuffix(r.URL.Path, "/reset"):
		send(200, f.schedule("nightly"))
	case strings.HasSuffix(r.URL.Path, "/run"):
		send(200, map[string]any{"job_id": jobID, "status": "queued", "procedure_name": "appointments"})
	case r.Method == http.MethodPost:
		f.body = string(text)
		send(201, f.schedule("made"))
	case r.Method == http.MethodPut:
		f.body = string(text)
		send(200, f.schedule("made"))
	}
}

func (f *fakeSchedules) run(t *testing.T, args ...string) cmdtest.Result {
	t.Helper()
	f.asked = nil
	return cmdtest.Call(t, append(append([]string{"schedule"}, args...), "--server", f.URL, "--customer", "c")...)
}

// TestScheduleList shows each schedule with its next runs, as its zone's clock has them and in UTC.
func TestScheduleList(t *testing.T) {
	f := startSchedules(t, "nightly", "off")
	f.schedules[1]["enabled"] = false
	r := f.run(t, "list")
	for _, want := range []string{"nightly", "30 2 * * * Europe/Berlin", "2026-03-29T03:00:00+02:00", "2026-03-29T01:00:00.000Z", "2026-03-27T01:30:00.000Z job", "not enabled", "2 schedules"} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("no %q in\n%s%s", want, r.Stdout, r.Stderr)
		}
	}
	if r := f.run(t, "list", "--next", "1"); strings.Contains(r.Stdout, "2026-03-29") || r.Code != 0 {
		t.Errorf("%+v", r)
	}
	if r := f.run(t, "list", "--next", "9"); r.Code != 2 {
		t.Errorf("%+v", r)
	}
	if r := f.run(t, "list", "--json"); !json.Valid([]byte(r.Stdout)) {
		t.Errorf("%+v", r)
	}
	f.schedules[0]["state"] = map[string]any{"cursor": "updated_at", "value": "2026-03-27 01:29:58", "job_id": jobID,
		"saved_at": "2026-03-27T01:30:04.000Z"}
	if r := f.run(t, "get", "nightly"); !strings.Contains(r.Stdout, "updated_at 2026-03-27 01:29:58") ||
		!strings.Contains(r.Stdout, jobID+" 2026-03-27T01:30:04.000Z") {
		t.Errorf("%+v", r)
	}
	if r := f.run(t, "get", "sch_nightly"); !strings.Contains(r.Stdout, "2026-03-28T02:30:00+01:00") || strings.Join(f.asked, ",") != "GET ,GET /sch_nightly" {
		t.Errorf("%+v, asked %v", r, f.asked)
	}
}

// TestSchedulePut makes a schedule of a document, or replaces the one of its name; a document with mistakes is not sent.
func TestSchedulePut(t *testing.T) {
	f := startSchedules(t, "nightly")
	write := func(name, customer, cron string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "schedule.yaml")
		text := "apiVersion: cipherstream/v1\nkind: Schedule\nmetadata: {name: " + name + "}\nspec:\n  customer: " + customer + "\n  procedure: appointments\n  cron: \"" + cron +
			"\"\n  jitter: 5m\n  window: {first_days: 30}\n  request: {output_format: csv}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if r := f.run(t, "put", write("nightly", "c", "0 3 * * *")); r.Code != 0 || strings.Join(f.asked, ",") != "GET ,PUT /sch_nightly" {
		t.Errorf("%+v, asked %v", r, f.asked)
	}
	if want := `{"cron":"0 3 * * *","jitter":"5m","name":"nightly","procedure":"appointments","request":{"output_format":"csv"},"window":{"first_days":30}}`; f.body != want {
		t.Errorf("%s", f.body)
	}
	if r := f.run(t, "put", write("other", "c", "0 3 * * *")); r.Code != 0 || strings.Join(f.asked, ",") != "GET ,POST " || !strings.Contains(r.Stdout, "sch_made") {
		t.Errorf("%+v, asked %v", r, f.asked)
	}
	for name, path := range map[string]string{"schedule.cron": write("other", "c", "0 0 30 2 *"), "--customer names": write("other", "d", "0 3 * * *")} {
		if r := f.run(t, "put", path); r.Code == 0 || len(f.asked) != 0 || !strings.Contains(r.Stderr+r.Stdout, name) {
			t.Errorf("%s: %+v, asked %v", name, r, f.asked)
		}
	}
	f.refuse = "SCHEDULE_MANAGED"
	if r := f.run(t, "put", write("nightly", "c", "0 3 * * *")); r.Code != 1 || !strings.Contains(r.Stderr, "SCHEDULE_MANAGED") {
		t.Errorf("%+v", r)
	}
}

// TestScheduleRunAndDelete name a schedule by its name.
func TestScheduleRunAndDelete(t *testing.T) {
	f := startSchedules(t, "nightly")
	if r := f.run(t, "run", "nightly"); r.Code != 0 || !strings.Contains(r.Stdout, jobID) || strings.Join(f.asked, ",") != "GET ,POST /sch_nightly/run" {
		t.Errorf("%+v, asked %v", r, f.asked)
	}
	if r := f.run(t, "reset", "nightly"); r.Code != 0 || !strings.Contains(r.Stdout, "sch_nightly") ||
		strings.Contains(r.Stdout, "state") ||
		strings.Join(f.asked, ",") != "GET ,POST /sch_nightly/reset" {
		t.Errorf("%+v, asked %v", r, f.asked)
	}
	if r := f.run(t, "delete", "nightly"); r.Code != 0 || r.Stdout != "schedule nightly is deleted\n" || strings.Join(f.asked, ",") != "GET ,DELETE /sch_nightly" {
		t.Errorf("%+v, asked %v", r, f.asked)
	}
	if r := f.run(t, "delete", "weekly"); r.Code != 2 || !strings.Contains(r.Stderr, `no schedule "weekly"`) {
		t.Errorf("%+v", r)
	}
}

// TestConfigCheckSchedules: what the procedures of the catalogue say of a schedule is said with its place.
func TestConfigCheckSchedules(t *testing.T) {
	folder := t.TempDir()
	check := func(request string) cmdtest.Result {
		t.Helper()
		for name, text := range map[string]string{
			"service.yaml": "apiVersion: cipherstream/v1\nkind: Service\nmetadata: {name: s}\nspec:\n  schedules: [nightly.yaml]\n  buckets: {main: {url: \"s3://results?region=eu-central-1\"}}\n" +
				"  customers: [{id: sunrise, dsn: env:SUNRISE_DSN, bucket: main}]\n",
			"nightly.yaml": "apiVersion: cipherstream/v1\nkind: Schedule\nmetadata: {name: nightly}\nspec:\n  customer: sunrise\n  procedure: appointments\n  cron: \"30 2 * * *\"\n  window: {first_days: 30}\n  request: " +
				request + "\n",
		} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return cmdtest.Call(t, "config", "check", "--without-secrets", filepath.Join(folder, "service.yaml"))
	}
	if r := check("{output_format: parquet}"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	r := check("{output_format: excel, form_date: 2024-01-01}")
	for _, want := range []string{"nightly.yaml:9:28: error: request.output_format", "form_date", "did you mean", "[service.schedule]"} {
		if r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, want) {
			t.Errorf("no %q in %s%s", want, r.Stdout, r.Stderr)
		}
	}
}

// ownService, ownPipeline and ownSchedule are a service with a pipeline of its own that keeps state, on a schedule.
const (
	ownService = `apiVersion: cipherstream/v1
kind: Service
metadata: {name: s}
spec:
  catalogue: own
  schedules: [changes.yaml]
  buckets: {main: {url: "s3://results?region=eu-central-1"}}
  customers: [{id: sunrise, dsn: env:SUNRISE_DSN, bucket: main}]
`
	ownPipeline = `apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: visits, title: Visits, category: Visits, class: data, description: Visits.}
spec:
  parameters:
    - {name: from_date, type: date}
    - {name: to_date, type: date}
    - {name: date_modifier, type: string, default: All, allowed: [All, Updated]}
    - {name: output_format, type: string, default: ndjson, allowed: [ndjson, json, csv, parquet, arrow]}
    - {name: compression, type: string, default: none, allowed: [none, gzip, zip, zstd]}
    - {name: encrypted, type: boolean, default: false}
    - {name: mode, type: string, default: auto, allowed: [auto, stream, job]}
  state: {cursor: updated_at, overlap: 1h}
  stages:
    source: {use: mysql, with: {url: "${secret.dsn}", request: {table_name: visit, allowed_tables: visit}}}
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: "${run.output}"}}
  columns:
    - {name: updated_at, type: timestamp, nullable: false}
`
	ownSchedule = `apiVersion: cipherstream/v1
kind: Schedule
metadata: {name: changes}
spec:
  customer: sunrise
  procedure: visits
  cron: "30 2 * * *"
`
)

// TestConfigCheckScheduleState: a pipeline of one's own that keeps state goes on a schedule without a window.
func TestConfigCheckScheduleState(t *testing.T) {
	folder := t.TempDir()
	check := func(window string) cmdtest.Result {
		t.Helper()
		for name, text := range map[string]string{
			"service.yaml": ownService, "own/visits.yaml": ownPipeline, "changes.yaml": ownSchedule + window,
		} {
			path := filepath.Join(folder, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return cmdtest.Call(t, "config", "check", "--without-secrets", filepath.Join(folder, "service.yaml"))
	}
	if r := check(""); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	r := check("  window: {first_days: 30}\n")
	if r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, "changes.yaml:8:11: error: window: ") {
		t.Errorf("%+v", r)
	}
}
