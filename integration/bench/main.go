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
// what programs of others take for the same rows, and which values they get wrong.
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
	flag.BoolVar(&o.peers, "peers", false, "measure programs of others instead, beside this one: times, and which values come out wrong (values, among the subjects)")
	flag.Parse()
	var err error
	if o.subjects, err = regexp.Compile(only); err != nil || o.rows < 1 || o.rounds < 1 || flag.NArg() > 0 {
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: -subjects:", err)
		}
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, o)
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

func run(ctx context.Context, o options) (err error) {
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
	var h harness
	defer h.end(&err)
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	b := &bench{options: o, dir: dir, program: program, plugins: plugins, outputs: map[string]output{}, key: base64.StdEncoding.EncodeToString(key)}
	say("starting MariaDB")
	if err := b.start(ctx, &h); err != nil {
		return err
	}
	say("loading %s appointments", grouped(o.rows))
	if err := b.load(ctx); err != nil {
		return err
	}
	if o.service {
		return b.runService(ctx)
	}
	if o.jobs {
		return b.runJobs(ctx, &h)
	}
	if o.partitions {
		return b.runPartitions(ctx)
	}
	if o.peers {
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
