package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// scheduled writes a service with a schedule into a folder, and reads it.
func scheduled(t *testing.T, folder, cron string) *Settings {
	t.Helper()
	schedule, err := os.ReadFile("testdata/good/schedules/nightly.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nightly.yaml": strings.Replace(string(schedule), "30 2 * * *", cron, 1),
		"service.yaml": `
apiVersion: cipherstream/v1
kind: Service
metadata: {name: scheduled}
spec:
  schedules: [nightly.yaml]
  buckets: {main: {url: "s3://results?region=eu-central-1"}}
  customers: [{id: sunrise, dsn: env:SUNRISE_DSN, bucket: main}]
`,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings, said := load(t, filepath.Join(folder, "service.yaml"), Options{Secret: secret})
	if settings == nil {
		t.Fatal(said)
	}
	return settings
}

// TestSchedules: a document of kind Schedule is read with its service, and a reload sees that it has changed.
func TestSchedules(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	before := scheduled(t, folder, "30 2 * * *")
	if len(before.Schedules) != 1 {
		t.Fatalf("%d schedules", len(before.Schedules))
	}
	got := before.Schedules[0]
	if got.Name != "nightly_appointments" || got.Customer != "sunrise" || got.Cron != "30 2 * * *" || got.Jitter != 10*time.Minute || !got.Moving ||
		got.Window.FirstDays != 30 || got.Window.OverlapDays != 2 || got.Overlap != "queue" || got.Missed != "skip" || !got.Enabled {
		t.Errorf("%+v", got.Spec)
	}
	if at := got.At("cron"); filepath.Base(at.File) != "nightly.yaml" || at.Line != 8 {
		t.Errorf("cron stands at %v", at)
	}
	if changes := Changes(before, scheduled(t, folder, "30 2 * * *")); len(changes) != 0 {
		t.Errorf("%v", changes)
	}
	changes := Changes(before, scheduled(t, folder, "30 3 * * *"))
	if len(changes) != 1 || changes[0].Restart || changes[0].Path != "schedules.sunrise.nightly_appointments" {
		t.Errorf("%v", changes)
	}
}
