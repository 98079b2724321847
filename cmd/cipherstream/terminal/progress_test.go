package terminal

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/golden"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestProgress shows one run in every way.
func TestProgress(t *testing.T) {
	for name, prepare := range map[string]func(*Reporter){
		"bar":     func(r *Reporter) { r.bar, r.final = true, true },
		"narrow":  func(r *Reporter) { r.bar, r.final, r.barColumn = true, true, func() int { return 20 } },
		"plain":   func(r *Reporter) { r.lines, r.final = true, true },
		"verbose": func(r *Reporter) { r.lines, r.final, r.verbose = true, true, true },
		"json":    func(r *Reporter) { r.machine = true },
		"final":   func(r *Reporter) { r.final = true },
		"none":    func(*Reporter) {},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			r := &Reporter{out: f, barColumn: func() int { return 80 }}
			prepare(r)
			for _, e := range []engine.Event{
				engine.Started{RunID: "x_1_2", Processes: []engine.ProcessInfo{{Plugin: "cipherstream", PID: 7, Stages: []string{"source", "sink"}}}},
				engine.Progress{Elapsed: 500 * time.Millisecond},
				engine.Progress{Elapsed: 1200 * time.Millisecond},
				engine.Opened{Columns: []engine.Column{{Name: "id", Type: "int64", SourceType: "bigint"}}},
				engine.Progress{Rows: 120_000, Bytes: 9_999_999, Elapsed: 2 * time.Second},
				engine.Progress{Rows: 120_001, Bytes: 9_999_999, Elapsed: 2050 * time.Millisecond}, // too soon
				engine.LogLine{Level: int(slog.LevelWarn), Stage: "source", Message: "zero date\x1b[2J became NULL", Attributes: map[string]string{"n": "3", "column": "first visit"}},
				engine.LogLine{Level: int(slog.LevelInfo), Stage: "source", Message: "connected"},
				engine.LogLine{Level: int(slog.LevelDebug), Stage: "source", Message: "never shown"},
				engine.Progress{Rows: 1_000_000, Bytes: 12_345_678, Elapsed: 11 * time.Second},
				engine.Progress{Rows: 2_000_000, Bytes: 1_234_567_890, Elapsed: 3725 * time.Second},
				engine.Ended{Receipt: &engine.Receipt{RunID: "x_1_2", Rows: 2_000_000, Bytes: 1_234_567_890, SHA256: strings.Repeat("0123456789abcdef", 4),
					Location: "stdout", Seconds: 3726.04}},
			} {
				r.Event(e)
			}
			r.Logger().With("plugin", "p").WithGroup("g").Warn("from a plugin", "k", "v")
			content, err := os.ReadFile(f.Name())
			if err != nil {
				t.Fatal(err)
			}
			text := regexp.MustCompile(`"time":"20[^"]*"`).ReplaceAllString(string(content), `"time":"…"`)
			text = strings.NewReplacer("\r", "<return>", "\x1b[K", "<clear>").Replace(text)
			golden.Compare(t, "progress_"+name+".txt", text)
		})
	}
}

// TestEstimate: about how many rows there are is shown where the source knows, as long as it can be true, and an attempt
// that begins anew forgets it.
func TestEstimate(t *testing.T) {
	r := &Reporter{}
	progress := func(rows int64) string {
		text, _, _ := strings.Cut(r.progressText(engine.Progress{Rows: rows, Elapsed: 2 * time.Second}), "  ")
		return text
	}
	r.Event(engine.Opened{EstimatedRows: 5000})
	for rows, want := range map[int64]string{0: "0 of about 5,000 rows", 4999: "4,999 of about 5,000 rows", 5000: "5,000 rows", 7000: "7,000 rows"} {
		if got := progress(rows); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	r.Event(engine.Started{})
	if got := progress(0); got != "waiting for the source" {
		t.Errorf("another attempt shows %q", got)
	}
	r.Event(engine.Opened{})
	if got := progress(10); got != "10 rows" {
		t.Errorf("without an estimate: %q", got)
	}
}

func TestUnits(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", 1 << 62: "4,611,686,018,427,387,904"} {
		if got := Grouped(n); got != want {
			t.Errorf("grouped(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 1 << 62: "4.6 EB"} {
		if got := Bytes(n); got != want {
			t.Errorf("size(%d) = %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0:00", 61_999 * time.Millisecond: "1:01", time.Hour: "1:00:00", 100 * time.Hour: "100:00:00"} {
		if got := Clock(d); got != want {
			t.Errorf("clock(%v) = %s, want %s", d, got, want)
		}
	}
}

// TestPace follows a source that slows down.
func TestPace(t *testing.T) {
	var p pace
	var n, last int64
	for i := 1; i <= 40; i++ {
		if i <= 20 {
			n += 1000
		} else {
			n += 10
		}
		last = p.add(time.Duration(i)*paceStep, n)
		if i == 20 && last != 2000 {
			t.Errorf("at full speed: %d rows/s, want 2000", last)
		}
	}
	if last != 20 {
		t.Errorf("after slowing down: %d rows/s, want 20", last)
	}
	if got := new(pace).add(0, 5); got != 0 {
		t.Errorf("at no time: %d", got)
	}
}

// TestFault renders a fault with everything.
func TestFault(t *testing.T) {
	var plain, colored strings.Builder
	f := fault.New("plugin.exited", fault.Plugin, "plugin %q exited with status 2", "up\x1b[0mper").
		WithHint("its last lines are in the details").WithRetry().
		WithDetail("plugin", "upper").WithDetail("errno", "2002").
		WithDetail("log", "panic: no\ngoroutine 1 [running]:\x07\n\tmain.go:3\n")
	f.Stage = "filter"
	writeFault(&plain, f, false)
	writeFault(&colored, fault.New("x", fault.Internal, "y").WithHint("z"), true)
	golden.Compare(t, "fault.txt", plain.String())
	if want := "\x1b[31merror[x]\x1b[0m: \x1b[1my\x1b[0m\n  \x1b[36mhelp:\x1b[0m z\n"; colored.String() != want {
		t.Errorf("%q, want %q", colored.String(), want)
	}
}
