package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// report prints the facts and the tables, in Markdown.
func report(w io.Writer, b *bench, results map[string][]usage) error {
	var out strings.Builder
	b.facts(&out)
	b.table(&out, results)
	overhead(&out, results)
	b.writers(&out)
	b.aims(&out, results)
	b.use.report(&out, &b.measured)
	b.gate.report(&out, &b.measured)
	_, err := io.WriteString(w, out.String())
	return err
}

func (b *bench) facts(out *strings.Builder) {
	fmt.Fprintf(out, "\n%s appointments × %d columns through `CALL appointments(NULL, NULL, 'All')`; medians of %d interleaved rounds.\n",
		grouped(b.rows), b.columns, b.rounds)
	b.machine(out)
	for _, p := range products {
		if o, ok := b.outputs[p.name]; ok && !p.random {
			fmt.Fprintf(out, "Every %s file: %s bytes, sha256 %s.\n", p.name, grouped(o.bytes), o.sha256)
		}
	}
}

// machine says what the figures are of.
func (b *bench) machine(out *strings.Builder) {
	cpu := processor()
	if cpu == "" {
		cpu = "processors"
	}
	fmt.Fprintf(out, "%d × %s", runtime.NumCPU(), cpu)
	if total := totalMemory(); total > 0 {
		fmt.Fprintf(out, ", %.1f GiB", float64(total)/(1<<30))
	}
	fmt.Fprintf(out, ", %s/%s, %s; MariaDB %s on the same machine, by unix socket; files in %s.\n",
		runtime.GOOS, runtime.GOARCH, runtime.Version(), b.serverVersion, b.options.output)
}

func (b *bench) table(out *strings.Builder, results map[string][]usage) {
	fmt.Fprint(out, "\n| subject | | wall s | wall ÷ client | lowest and highest round | k rows/s | CPU s | CPU ÷ client | server CPU s | memory MiB | of each process | output MB | NDJSON ÷ output |\n"+
		"|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|--:|--:|\n")
	reference := results[client]
	for _, s := range b.subjects() {
		of := results[s.name]
		seconds := median(column(of, wall))
		beside, work := ratios(of, reference, wall), ratios(of, reference, cpu)
		if s.name != client {
			b.measured.add(s.name+": wall ÷ client", beside, 0)
			b.measured.add(s.name+": CPU ÷ client", work, 0)
		}
		fmt.Fprintf(out, "| %s | %s | %.2f | %.2f | %.2f–%.2f | %.0f | %.2f | %.2f | %.2f | %s | %s | %s |\n",
			s.name, s.what, seconds, median(beside), slices.Min(beside), slices.Max(beside), float64(b.rows)/seconds/1000,
			median(column(of, cpu)), median(work), median(column(of, serverCPU)),
			mebibytes(int64(slices.Max(column(of, resident)))), eachProcess(of), b.size(s))
	}
	fmt.Fprint(out, "\nCPU is user and system time of all the subject's processes. Memory is the largest sum of what its processes had\n"+
		"resident at one time in any round, shared pages counted once; of each process: its own peak, shared pages included.\n")
}

// size is the size of a subject's output in megabytes, and how often it fits into
// the plain NDJSON.
func (b *bench) size(s subject) string {
	o, ok := b.outputs[s.output]
	if !ok {
		return " | "
	}
	ratio := ""
	if plain, ok := b.outputs["ndjson"]; ok {
		ratio = fmt.Sprintf("%.2f", float64(plain.bytes)/float64(o.bytes))
	}
	return fmt.Sprintf("%.1f | %s", float64(o.bytes)/1e6, ratio)
}

// overhead prints what it costs that a filter is not fused with its neighbours.
func overhead(out *strings.Builder, results map[string][]usage) {
	fused := results[filtered+"-"+filters[0].name]
	if len(fused) == 0 {
		return
	}
	fmt.Fprintf(out, "\n| filter | CPU ÷ fused | wall ÷ fused | CPU, lowest and highest round |\n|---|--:|--:|--:|\n")
	for _, f := range filters[1:] {
		of := results[filtered+"-"+f.name]
		if len(of) == 0 {
			continue
		}
		r := ratios(of, fused, cpu)
		fmt.Fprintf(out, "| %s | %.2f | %.2f | %.2f–%.2f |\n", f.what, median(r), median(ratios(of, fused, wall)), slices.Min(r), slices.Max(r))
	}
}

// aim is a figure that the project wants to reach.
type aim struct {
	what, subject, reference string
	of                       metric
	limit                    float64
}

// minRatio is the aim for NDJSON in gzip, plain ÷ compressed.
const minRatio = 5.7

// maxMemory is the aim for host and plugins together, in bytes.
const maxMemory = 128 << 20

func allAims() []aim {
	aims := []aim{
		{"source to Arrow: wall ÷ client", "source", client, wall, 0.60},
		{"ndjson to a file: wall ÷ client", "ndjson-group", client, wall, 0.90},
		{"csv to a file: wall ÷ client", "csv-group", client, wall, 0.95},
		{"parquet to a file: wall ÷ client", "parquet-group", client, wall, 1.20},
		{"ndjson in gzip: wall ÷ client", "ndjson-gzip-group", client, wall, 1.10},
		{"ndjson, every row sealed: wall ÷ client", "ndjson-sealed-group", client, wall, 1.10},
		{"ndjson, every row sealed, in a zip: wall ÷ client", "ndjson-sealed-zip-group", client, wall, 1.50},
	}
	for _, format := range []string{"ndjson", "csv"} {
		for _, of := range []struct {
			isolation string
			limit     float64
		}{{"group", 1.05}, {"stage", 1.10}} {
			name := format + "-" + of.isolation
			aims = append(aims, aim{fmt.Sprintf("process boundary, %s: CPU ÷ %s-none", name, format), name, format + "-none", cpu, of.limit})
		}
	}
	third, fused := filtered+"-third", filtered+"-fused"
	aims = append(aims, aim{"a third-party filter: CPU ÷ the fused one", third, fused, cpu, 1.05})
	aims = append(aims, aim{"a third-party filter: wall ÷ the fused one", third, fused, wall, 1.03})
	aims = append(aims, aim{"ndjson to a file by the caller's sink: CPU ÷ ndjson-group", callers, "ndjson-group", cpu, 1.02})
	return aims
}

// aims compares what was measured with what is wanted.
func (b *bench) aims(out *strings.Builder, results map[string][]usage) {
	fmt.Fprint(out, "\n| aim | at most | measured | lowest and highest round | |\n|---|--:|--:|--:|---|\n")
	for _, a := range allAims() {
		of, reference := results[a.subject], results[a.reference]
		if len(of) == 0 || len(reference) == 0 {
			continue
		}
		r := ratios(of, reference, a.of)
		b.measured.add("aim: "+a.what, r, a.limit)
		fmt.Fprintf(out, "| %s | %.2f | %.2f | %.2f–%.2f | %s |\n",
			a.what, a.limit, median(r), slices.Min(r), slices.Max(r), verdict(median(r) <= a.limit))
	}
	plain, gzipped := b.outputs["ndjson"], b.outputs["ndjson-gzip"]
	if plain.bytes > 0 && gzipped.bytes > 0 {
		ratio := float64(plain.bytes) / float64(gzipped.bytes)
		b.measured.addAtLeast("aim: ratio of gzip", ratio, minRatio)
		fmt.Fprintf(out, "| ratio of gzip (at least) | %.2f | %.2f | | %s |\n", minRatio, ratio, verdict(ratio >= minRatio))
	}
	var most float64
	var which string
	for _, s := range b.subjects() {
		if s.output == "" {
			continue
		}
		if m := slices.Max(column(results[s.name], resident)); m > most {
			most, which = m, s.name
		}
	}
	if most > 0 {
		b.measured.add("aim: memory of host and plugins together, MiB", []float64{most / (1 << 20)}, maxMemory>>20)
		fmt.Fprintf(out, "| memory of host and plugins together, MiB (largest: %s) | %s | %s | | %s |\n",
			which, mebibytes(maxMemory), mebibytes(int64(most)), verdict(most <= maxMemory))
	}
}

// metric is one figure of a run.
type metric func(usage) float64

func wall(u usage) float64      { return u.wall.Seconds() }
func cpu(u usage) float64       { return u.cpu.Seconds() }
func serverCPU(u usage) float64 { return u.serverCPU.Seconds() }
func resident(u usage) float64  { return float64(u.memory) }

func column(runs []usage, m metric) []float64 {
	var values []float64
	for _, u := range runs {
		values = append(values, m(u))
	}
	return values
}

// ratios divides run by run: both lists have one run of every round.
func ratios(runs, reference []usage, m metric) []float64 {
	var values []float64
	for i := range runs {
		values = append(values, m(runs[i])/m(reference[i]))
	}
	return values
}

// median is the middle of values, or the mean of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// eachProcess shows the highest peak of every process over all rounds, the first
// one first, the others by size: their order of start may change.
func eachProcess(runs []usage) string {
	var peaks []int64
	for _, u := range runs {
		each := slices.Clone(u.each)
		if len(each) > 1 {
			slices.Sort(each[1:])
			slices.Reverse(each[1:])
		}
		for i, peak := range each {
			if i == len(peaks) {
				peaks = append(peaks, 0)
			}
			peaks[i] = max(peaks[i], peak)
		}
	}
	var parts []string
	for _, peak := range peaks {
		parts = append(parts, mebibytes(peak))
	}
	return strings.Join(parts, " + ")
}

// mebibytes is a size in MiB; unknown is a dash.
func mebibytes(n int64) string {
	if n == 0 {
		return "–"
	}
	return strconv.FormatFloat(float64(n)/(1<<20), 'f', 0, 64)
}

// grouped is a number with commas between groups of three digits.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
