package service

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/config"
)

// scheduled are settings with a schedule of a document, whose request is as it is written.
func scheduled(t *testing.T, cron, request string) *config.Settings {
	t.Helper()
	folder := t.TempDir()
	for name, text := range map[string]string{
		"service.yaml": "apiVersion: cipherstream/v1\nkind: Service\nmetadata: {name: s}\nspec:\n  schedules: [nightly.yaml]\n  buckets: {main: {url: \"s3://results?region=eu-central-1\"}}\n" +
			"  customers: [{id: one, dsn: env:DSN, bucket: main}]\n",
		"nightly.yaml": "apiVersion: cipherstream/v1\nkind: Schedule\nmetadata: {name: nightly}\nspec:\n  customer: one\n  procedure: visits\n  cron: \"" + cron + "\"\n  request: " + request + "\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read, diags, _ := config.Load(t.Context(), filepath.Join(folder, "service.yaml"), config.Options{})
	if read == nil {
		t.Fatal(diags)
	}
	set := settings(t)
	for i := range set.Customers {
		set.Customers[i].Bucket = "main"
	}
	set.Spec.Schedules, set.Schedules = read.Spec.Schedules, read.Schedules
	return set
}

// TestSchedulesOfDocuments are held against the catalogue, and are the record's at a start and at a reload; one with a mistake
// changes nothing.
func TestSchedulesOfDocuments(t *testing.T) {
	t.Parallel()
	set := scheduled(t, "30 2 * * *", "{rows: 5}")
	made := newService(t, set, nil)
	cfg := made.cfg
	cfg.Buckets = &places{}
	s := startOf(t, cfg)
	defer s.Stop(context.Background())
	there := func() string {
		t.Helper()
		list, err := made.record.Schedules(t.Context(), "one")
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, one := range list {
			if !one.Document || one.NextTick.IsZero() {
				t.Errorf("%+v", one)
			}
			text = append(text, one.Name+" "+one.Cron+" "+string(one.Request))
		}
		return strings.Join(text, "|")
	}
	if got := there(); got != `nightly 30 2 * * * {"rows":5}` {
		t.Errorf("%s", got)
	}
	reload := func(cron, request string) error {
		to := scheduled(t, cron, request)
		to.Directory, to.Limits.Spool.Directory, to.Spec.Schedules = set.Directory, set.Limits.Spool.Directory, set.Spec.Schedules
		return s.Reload(t.Context(), to)
	}
	if err := reload("0 3 * * *", "{rows: five}"); err == nil || !strings.Contains(err.Error(), "nightly.yaml:8") {
		t.Errorf("%v", err)
	}
	if got := there(); got != `nightly 30 2 * * * {"rows":5}` {
		t.Errorf("after a reload with a mistake: %s", got)
	}
	if err := reload("0 3 * * *", "{rows: 6}"); err != nil {
		t.Error(err)
	}
	if got := there(); got != `nightly 0 3 * * * {"rows":6}` {
		t.Errorf("after a reload: %s", got)
	}
	answer, err := do(t, http.MethodGet, "http://"+s.OperationsAddress()+"/metrics", "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(text), "cipherstream_schedule_ticks_missed_total 0") {
		t.Errorf("the metrics have no ticks, %v", err)
	}
	cfg.Settings = scheduled(t, "30 2 * * *", "{rows: five}")
	if _, err := New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "nightly.yaml:8") {
		t.Errorf("a service starts with a schedule that cannot be: %v", err)
	}
}
