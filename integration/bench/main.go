// Command bench measures whole runs of the program against the official client,
// on a real MariaDB server that it starts for itself on loopback:
//
//	go run -tags gms_pure_go ./integration/bench -rows 1000000 -rounds 7
//
// Every round runs every subject once, in an order that shifts by one from round
// to round, so that what slows the machine down for a while slows all. What is
// compared are ratios to the client in the same round, and of those the median.
// Every output is checked: number of rows, and the same bytes in every round and
// from every isolation. The rows of the Parquet file are written once more by our encoder,
// pyarrow and DuckDB, to compare sizes and times. At the end an engine in this process, as a service has one, runs ten NDJSON
// streams at once and bursts of short runs, and runs to a file with and without a gate before the commit.
//
// With -service it measures what customers of a service wait for instead, over HTTP on loopback, in the same way; with -jobs
// what the service's jobs take, with results in MinIO; with -partitions a table that several connections read; with -peers
// what programs of others take for the same rows, and which values they get wrong; with -start what it takes until something
// runs. With -compare it measures nothing, and holds the figures of two invocations against each other.
//
// It owns the comparison and its table; it never measures stages by themselves
// (`make bench`), never touches a server that it did not start, and judges no
// one: a missed aim is printed, and only a wrong output is a failure.
package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// options are the command line.
type options struct {
	rows     int64
	rounds   int
	subjects *regexp.Regexp
	output   string
	service  bool
	jobs     bool
	peers    bool

	partitions bool
	plugins    bool
	start      bool
	json       string // file of figures; empty is none
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == sourceOnly {
		exitWith(readSource(context.Background(), os.Stdout))
	}
	if len(os.Args) == 3 && os.Args[1] == tableOnly {
		exitWith(readTable(context.Background(), os.Args[2], os.Stdout))
	}
	o := options{}
	only := ""
	flag.Int64Var(&o.rows, "rows", 1_000_000, "appointments to load and read")
	flag.IntVar(&o.rounds, "rounds", 7, "measured rounds, after one that is not counted")
	flag.StringVar(&only, "subjects", ".", "measure only subjects whose name matches this `REGEXP`, streams, burst and gate among them; the client always runs")
	flag.StringVar(&o.output, "output", "/dev/shm", "write output files to a new folder in `DIR`, best in RAM")
	flag.BoolVar(&o.service, "service", false, "measure the service instead: latencies, and streams over HTTP")
	flag.BoolVar(&o.jobs, "jobs", false, "measure jobs of the service instead: how fast they are accepted, taken, run and listed")
	flag.BoolVar(&o.partitions, "partitions", false, "measure a table that is read by several connections instead")
	flag.BoolVar(&o.plugins, "plugins", false, "measure instead what a filter costs a row in each language that has an SDK; there is no database in it")
	flag.StringVar(&o.json, "json", "", "write the figures of run, -peers, -start or -service to `FILE` too, for -compare")
	compare := flag.Bool("compare", false, "measure nothing, and print the figures of two such files, OLD and NEW, side by side; the status is 1 where an aim got worse by a tenth")
	flag.BoolVar(&o.start, "start", false, "measure starts instead: of a plugin process, of a command, and of short runs through a warm pool")
	flag.BoolVar(&o.peers, "peers", false, "measure programs of others instead, beside this one: times, and which values come out wrong (values, among the subjects)")
	flag.Parse()
	if *compare {
		if flag.NArg() != 2 {
			flag.Usage()
			os.Exit(2)
		}
		exitWith(compareFiles(os.Stdout, flag.Arg(0), flag.Arg(1)))
	}
	var err error
	if o.subjects, err = regexp.Compile(only); err != nil || o.rows < 1 || o.rounds < 1 || flag.NArg() > 0 || o.json != "" && (o.jobs || o.partitions || o.plugins) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: -subjects:", err)
		}
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = runBench(ctx, o)
	stop()
	exitWith(err)
}

func exitWith(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// say tells on standard error what goes on; the table goes to standard output.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

func runBench(ctx context.Context, o options) (err error) {
	if o.json != "" {
		// Before minutes of work: it is a place that can be written.
		f, err := os.OpenFile(o.json, os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		f.Close()
	}
	if _, err := os.Stat(o.output); err != nil {
		say("bench: %s is not there; output goes to %s, which may be a disk", o.output, os.TempDir())
		o.output = os.TempDir()
	}
	dir, err := os.MkdirTemp(o.output, "cipherstream-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	say("building the program")
	program := filepath.Join(dir, "cipherstream")
	if err := build(ctx, program, "cmd/cipherstream"); err != nil {
		return err
	}
	plugins := filepath.Join(dir, "plugins")
	if err := installFilter(ctx, plugins); err != nil {
		return err
	}
	if o.plugins {
		return measurePlugins(ctx, os.Stdout, o, dir, program, plugins)
	}
	var h harness
	defer h.end(&err)
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	b := &bench{options: o, dir: dir, program: program, plugins: plugins, outputs: map[string]output{},
		measured: figures{Format: figuresFormat, Rows: o.rows, Rounds: o.rounds}, key: base64.StdEncoding.EncodeToString(key)}
	say("starting MariaDB")
	if err := b.start(ctx, &h); err != nil {
		return err
	}
	say("loading %s appointments", grouped(o.rows))
	if err := b.load(ctx); err != nil {
		return err
	}
	if b.measured.Measured = o.measures(); b.measured.Measured != "" {
		if err := b.runMeasured(ctx); err != nil || o.json == "" {
			return err
		}
		return b.measured.write(o.json)
	}
	if o.jobs {
		return b.runJobs(ctx, &h)
	}
	return b.runPartitions(ctx)
}

// measures names what is measured, where it has figures.
func (o *options) measures() string {
	switch {
	case o.service:
		return "service"
	case o.start:
		return "start"
	case o.peers:
		return "peers"
	case o.jobs, o.partitions:
		return ""
	}
	return "run"
}

// runMeasured measures one of those.
func (b *bench) runMeasured(ctx context.Context) error {
	switch b.measured.Measured {
	case "service":
		return b.runService(ctx)
	case "start":
		return b.runStart(ctx)
	case "peers":
		return b.runPeers(ctx)
	}
	results, err := b.measure(ctx)
	if err != nil {
		return err
	}
	if b.use, err = b.measureEmbedded(ctx); err != nil {
		return err
	}
	if b.gate, err = b.measureGate(ctx); err != nil {
		return err
	}
	return report(os.Stdout, b, results)
}

// build compiles a program of the module as `make build` does.
func build(ctx context.Context, program, folder string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", "gms_pure_go,grpcnotrace", "-ldflags", "-s -w",
		"-o", program, "github.com/cipherstream/cipherstream/"+folder)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s does not build: %w\n%s", folder, err, out)
	}
	return nil
}

// installFilter makes a plugin folder with the third-party filter.
func installFilter(ctx context.Context, dir string) error {
	program := filepath.Join(dir, "cipherstream-plugin-bench")
	if err := build(ctx, program, "integration/bench/filterplugin"); err != nil {
		return err
	}
	sum, err := digest(program)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "plugins.lock"), fmt.Appendf(nil, "plugins:\n  - {name: bench, version: 1.0.0, sha256: %s}\n", sum.sha256), 0o600)
}

// measure runs all rounds and returns the measurements by subject, one for each
// round.
func (b *bench) measure(ctx context.Context) (map[string][]usage, error) {
	subjects := b.subjects()
	results := map[string][]usage{}
	for round := range b.rounds + 1 {
		var line []string
		for i := range subjects {
			s := subjects[(i+round)%len(subjects)]
			u, err := b.runOnce(ctx, s, round == 0)
			if ctx.Err() != nil {
				return nil, errors.New("interrupted")
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			line = append(line, fmt.Sprintf("%s %.2f", s.name, u.wall.Seconds()))
			if round > 0 {
				results[s.name] = append(results[s.name], u)
			}
		}
		name := fmt.Sprintf("round %d of %d", round, b.rounds)
		if round == 0 {
			name = "warm-up"
		}
		say("%s, seconds: %s", name, strings.Join(line, ", "))
	}
	return results, nil
}
