package main

import (
	"bytes"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
	}
}

// TestRatiosAreTakenByRound: a machine that is slow in one round is slow for both.
func TestRatiosAreTakenByRound(t *testing.T) {
	t.Parallel()
	of := func(seconds ...float64) (runs []usage) {
		for _, s := range seconds {
			runs = append(runs, usage{wall: time.Duration(s * float64(time.Second))})
		}
		return runs
	}
	if got := median(ratios(of(1, 10, 3), of(2, 20, 4), wall)); math.Abs(got-0.5) > 1e-9 {
		t.Errorf("the median ratio is %v, want 0.5", got)
	}
}

func TestGrouped(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

func TestCountRows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, format, text string
		want               int64
		fails              bool
	}{
		{"ndjson", "ndjson", "{\"a\":1}\n{\"a\":2}\n", 2, false},
		{"no rows", "ndjson", "", 0, false},
		{"not JSON", "ndjson", "{\"a\":1}\n{\"a\":\n", 0, true},
		{"cut off", "ndjson", "{\"a\":1}\n{\"a\":2}", 0, true},
		{"csv with a line end in a value", "csv", "a,b\r\n1,\"x\ny\"\r\n2,z\r\n", 2, false},
		{"csv with too few fields", "csv", "a,b\r\n1\r\n", 0, true},
		{"csv without a header", "csv", "", 0, true},
	} {
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := productOf(c.format).count(file)
		if (err != nil) != c.fails || err == nil && got != c.want {
			t.Errorf("%s: %d rows, %v; want %d, failure %v", c.name, got, err, c.want, c.fails)
		}
	}
}

func TestRecordMetrics(t *testing.T) {
	t.Parallel()
	got := recordMetrics("goos: linux\nBenchmarkList/any-2  \t 2000\t  61234 ns/op\t  1.25 ms/p99\nBenchmarkClaim-2 \t 2000\t 500000 ns/op\t 3 ms/p99\nPASS\n")
	if len(got) != 4 || got["List/any ms/p99"] != 1.25 || got["Claim ns/op"] != 500000 || got["Claim ms/p99"] != 3 {
		t.Errorf("%v", got)
	}
}

// TestCheckOutputRefuses holds a file against wrong receipts and another file.
func TestCheckOutputRefuses(t *testing.T) {
	t.Parallel()
	const text = "{\"a\":1}\n{\"a\":2}\n"
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	sum, err := digest(file)
	if err != nil {
		t.Fatal(err)
	}
	good := `{"rows":2,"bytes":16,"sha256":"` + sum.sha256 + `"}`
	for _, c := range []struct {
		name, summary string
		rows          int64
		first         map[string]output
		want          string // in the error; empty is none
	}{
		{"good", good, 2, nil, ""},
		{"the same as the first", good, 2, map[string]output{"ndjson": sum}, ""},
		{"rows missing", good, 3, nil, "the summary has 2 rows, and 3 were loaded"},
		{"another sum", strings.Replace(good, sum.sha256[:4], "0000", 1), 2, nil, "the summary says"},
		{"another size", strings.Replace(good, "16", "17", 1), 2, nil, "the summary says"},
		{"other bytes than the first", good, 2, map[string]output{"ndjson": {"00", 16}}, "the first one of this kind"},
		{"a wrong count", strings.Replace(good, `"rows":2`, `"rows":3`, 1), 3, nil, "the file has 2 rows"},
	} {
		summary := filepath.Join(t.TempDir(), "summary")
		if err := os.WriteFile(summary, []byte(c.summary), 0o644); err != nil {
			t.Fatal(err)
		}
		b := &bench{options: options{rows: c.rows}, outputs: map[string]output{}}
		for k, v := range c.first {
			b.outputs[k] = v
		}
		err := b.checkOutput(productOf("ndjson"), file, summary, true)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestMeasureSeesGrandchildren burns time and memory in a child's child.
func TestMeasureSeesGrandchildren(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are looked at in Linux's /proc")
	}
	const work = "s=$(head -c 30000000 /dev/zero | tr '\\0' x); i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"
	cmd := exec.Command("sh", "-c", `sh -c "$0"; exit 0`, work)
	u, err := measure(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	if u.cpu <= 0 || u.cpu > 3*u.wall {
		t.Errorf("%v of CPU time in %v", u.cpu, u.wall)
	}
	if u.memory < 30_000_000 || u.memory > 500_000_000 {
		t.Errorf("%d bytes in memory; the grandchild holds 30 MB", u.memory)
	}
	if len(u.each) < 2 || u.each[0] > 30_000_000 {
		t.Errorf("processes with peaks %v; want the small child first, and the grandchild", u.each)
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	run := func(ms, cpuMS, mib int64) usage {
		return usage{
			wall: time.Duration(ms) * time.Millisecond, cpu: time.Duration(cpuMS) * time.Millisecond,
			memory: mib << 20, each: []int64{20 << 20, mib << 20},
		}
	}
	results := map[string][]usage{
		client:                  {run(1000, 900, 5), run(2000, 1800, 5)},
		"source":                {run(500, 400, 20), run(1100, 800, 20)},
		"ndjson-none":           {run(800, 1000, 50), run(1600, 2000, 50)},
		"ndjson-group":          {run(980, 1010, 60), run(1990, 2020, 60)},
		"ndjson-stage":          {run(990, 1100, 129), run(1900, 2200, 90)},
		"ndjson-filtered-fused": {run(1000, 1000, 60), run(2000, 2000, 60)},
		"ndjson-filtered-third": {run(1100, 1200, 60), run(2400, 2600, 60)},
	}
	b := &bench{
		options: options{rows: 1_000_000, rounds: 2, output: "RAM", subjects: regexp.MustCompile("source|ndjson-(none|group|stage|filtered-(fused|third))")},
		columns: 28, serverVersion: "10.11", outputs: map[string]output{"ndjson": {"abc", 5}},
		use:    embeddedUse{memory: []float64{190 << 20, 201 << 20}, pooled: []float64{0.9, 1.8}, alone: []float64{1, 2}},
		gate:   gated{with: []float64{1.01, 2.06, 3}, without: []float64{1, 2, 3}},
		others: []written{{"cipherstream", 900, 0.5}, {"pyarrow 26", 1000, 0.25}},
	}
	var out bytes.Buffer
	if err := report(&out, b, results); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1,000,000 appointments × 28 columns",
		"Every ndjson file: 5 bytes, sha256 abc.",
		"| 1.50 | 1.00 | 1.00–1.00 | 667 | 1.35 | 1.00 | 0.00 | 5 | 20 + 5 |",
		"| source to Arrow: wall ÷ client | 0.60 | 0.53 | 0.50–0.55 | met |",
		"| ndjson to a file: wall ÷ client | 0.90 | 0.99 | 0.98–0.99 | **missed** |",
		"| process boundary, ndjson-group: CPU ÷ ndjson-none | 1.05 | 1.01 | 1.01–1.01 | met |",
		"| process boundary, ndjson-stage: CPU ÷ ndjson-none | 1.10 | 1.10 | 1.10–1.10 | met |",
		"| a third-party filter: CPU ÷ the fused one | 1.05 | 1.25 | 1.20–1.30 | **missed** |",
		"| a third-party filter: wall ÷ the fused one | 1.03 | 1.15 | 1.10–1.20 | **missed** |",
		"| cipherstream | 900 | 1.00 | 0.50 | 1.00 |\n| pyarrow 26 | 1,000 | 0.90 | 0.25 | 2.00 |",
		"| the same filter in a third-party plugin | 1.25 | 1.15 | 1.20–1.30 |",
		"(largest: ndjson-stage) | 128 | 129 | | **missed** |",
		"(PSS, highest round) | 200 | 201 | 190–201 | **missed** |",
		"wall with a pool of 2 ÷ without | 1.00 | 0.90 | 0.90–0.90 | met |",
		"with a gate before the commit: CPU ÷ without | 1.02 | 1.01 | 1.00–1.03 | met |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	of := map[string]figure{}
	for _, f := range b.measured.Figures {
		if _, twice := of[f.Name]; twice {
			t.Errorf("there are two figures called %q", f.Name)
		}
		of[f.Name] = f
	}
	if f := of["aim: ndjson to a file: wall ÷ client"]; math.Abs(f.Value-0.9875) > 1e-9 || f.Lowest != 0.98 || f.Highest != 0.995 || f.Aim != 0.90 {
		t.Errorf("the figure of an aim is %+v", f)
	}
	if f := of["ndjson-none: wall ÷ client"]; f.Value != 0.8 || f.Aim != 0 {
		t.Errorf("the figure of a subject is %+v", f)
	}
	if strings.Contains(out.String(), "csv") {
		t.Errorf("csv was not measured, and is in:\n%s", out.String())
	}
}
