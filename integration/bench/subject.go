package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// callers is the name of the subject whose bytes pass through the process of whoever started the run.
//
// Its aim is 1.02 of the CPU of the plugin's own file. A socket alone costs more than that: the copies and the buffers of the
// kernel took 10 % of a run, so the lines are made in memory that both processes have mapped (sdk/wire/SHARED.md). What is left are
// mostly the wake-ups of two processes that wait for each other. Without effect on them were: to read, hash and write in one
// goroutine, and a socket that holds 4 MiB.
const callers = "ndjson-stdout"

// client is the name of the subject that all are compared with.
const client = "client"

// subject is one way to read all appointments through the procedure.
type subject struct {
	name, what string
	// output names what is written, and with it the arguments that ask for it; empty
	// for a subject that throws the rows away.
	output    string
	isolation string
	// standardOutput says that the output goes by standard output, which is a sink of the caller's, in place of -o.
	standardOutput bool
	// filter is how the filter of a filtered product is written in its pipeline.
	filter string
}

// product is a kind of output.
type product struct {
	name      string
	arguments []string
	// random says that no two outputs are the same.
	random bool
	// count counts the rows of a file with a reader that is not the program's.
	count func(file string) (int64, error)
}

// products are the kinds of output that are measured. A name begins with the format.
var products = []product{
	{name: "ndjson", count: countLines},
	{name: "csv", count: countRecords},
	{name: "parquet", count: countParquet},
	{name: "ndjson-gzip", arguments: []string{"-c", "gzip"}, count: countGzip},
	{name: "ndjson-zstd", arguments: []string{"-c", "zstd"}, count: countZstd},
	{name: "ndjson-sealed", arguments: sealed, random: true, count: countLines},
	{name: "ndjson-sealed-zip", arguments: append([]string{"-c", "zip"}, sealed...), random: true, count: countZip},
	{name: filtered, count: countLines},
}

// filtered is the product behind a filter that lets every row through.
const filtered = "ndjson-filtered"

// filters are one filter in three places: fused with its neighbours, in a process of its own, and as a stranger's plugin
// between two processes of first-party stages.
var filters = []struct{ name, what, use string }{
	{"fused", "a filter fused with its neighbours", "{use: where"},
	{"process", "the same filter with `isolation: process`", "{use: where, isolation: process"},
	{"third", "the same filter in a third-party plugin", "{use: bench/where"},
}

var sealed = []string{"--encrypted", "--customer", "bench"}

func productOf(name string) product {
	return products[slices.IndexFunc(products, func(p product) bool { return p.name == name })]
}

// format is what -f takes.
func (p product) format() string {
	format, _, _ := strings.Cut(p.name, "-")
	return format
}

// command is what a user would type.
func (p product) command() string {
	return strings.Join(append([]string{"run", "-f", p.format()}, p.arguments...), " ")
}

// isolations of the program, as `run --isolation` names them.
var isolations = []struct{ name, what string }{
	{"none", "all stages in one process"},
	{"group", "host and one plugin process, the default"},
	{"stage", "every stage in a process of its own"},
}

// subjects lists what is measured, the client first.
func (b *bench) subjects() []subject {
	all := []subject{
		{name: client, what: "`mariadb --quick --batch -N`, rows thrown away"},
		{name: "source", what: "mysql source to Arrow, batches dropped"},
	}
	for _, p := range products {
		if p.name == filtered {
			for _, f := range filters {
				all = append(all, subject{name: p.name + "-" + f.name, what: "`run -f ndjson`, " + f.what, output: p.name, isolation: "group", filter: f.use})
			}
			continue
		}
		for _, i := range isolations {
			// What the process boundary costs shows without compression and sealing.
			if p.name == "ndjson" || p.name == "csv" || i.name == "group" {
				all = append(all, subject{
					name: p.name + "-" + i.name, what: "`" + p.command() + "`, " + i.what, output: p.name, isolation: i.name,
				})
			}
		}
	}
	all = append(all, subject{name: callers, what: "`run -f ndjson > FILE`, by the caller's sink", output: "ndjson", isolation: "group", standardOutput: true})
	var chosen []subject
	for _, s := range all {
		if s.name == client || b.options.subjects.MatchString(s.name) {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

// runOnce measures one run of a subject and checks what it delivered. With count
// the rows of its output are counted as well, which may cost more than the run.
func (b *bench) runOnce(ctx context.Context, s subject, count bool) (usage, error) {
	switch {
	case s.name == client:
		return b.runClient(ctx, count)
	case s.output == "":
		return b.runSource(ctx)
	}
	return b.runProgram(ctx, s, count)
}

func (b *bench) runClient(ctx context.Context, count bool) (usage, error) {
	cmd := b.server.Client("--quick", "--batch", "-N", "--execute", "CALL appointments(NULL, NULL, 'All')", b.server.Database())
	if !count {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return usage{}, err
		}
		defer null.Close()
		cmd.Stdout = null
		return b.measureCommand(ctx, cmd)
	}
	// In this format a line is a row: line ends in values are escaped.
	var lines lineCounter
	cmd.Stdout = &lines
	u, err := b.measureCommand(ctx, cmd)
	if err != nil {
		return u, err
	}
	b.columns = lines.tabs + 1
	return u, b.checkRows("the client printed", lines.lines)
}

func (b *bench) runSource(ctx context.Context) (usage, error) { return b.readBySelf(ctx, sourceOnly) }

// readBySelf measures this program with arguments by which it reads rows, and prints their number.
func (b *bench) readBySelf(ctx context.Context, arguments ...string) (usage, error) {
	self, err := os.Executable()
	if err != nil {
		return usage{}, err
	}
	cmd := exec.Command(self, arguments...)
	cmd.Env = b.environment()
	var out bytes.Buffer
	cmd.Stdout = &out
	u, err := b.measureCommand(ctx, cmd)
	if err != nil {
		return u, err
	}
	rows, err := strconv.ParseInt(strings.TrimSpace(out.String()), 10, 64)
	if err != nil {
		return u, err
	}
	return u, b.checkRows("the source delivered", rows)
}

func (b *bench) runProgram(ctx context.Context, s subject, count bool) (usage, error) {
	p := productOf(s.output)
	file := filepath.Join(b.dir, "appointments")
	summary := filepath.Join(b.dir, "summary.json")
	pipeline, err := b.pipeline(s)
	if err != nil {
		return usage{}, err
	}
	cmd := exec.Command(b.program, append([]string{"run", pipeline, "-f", p.format(), "-o", file, "--isolation", s.isolation,
		"--progress", "none", "--summary", summary}, p.arguments...)...)
	if s.standardOutput {
		out, err := os.Create(file)
		if err != nil {
			return usage{}, err
		}
		defer out.Close()
		cmd.Args[slices.Index(cmd.Args, file)], cmd.Stdout = "-", out
	}
	if s.filter != "" {
		// For these alone: a plugin in the folder is started to ask what it offers.
		cmd.Args = append(cmd.Args, "--plugins", b.plugins)
	}
	cmd.Env = append(b.environment(), "CIPHERSTREAM_KEYS="+b.key)
	u, err := b.measureCommand(ctx, cmd)
	if err == nil {
		err = b.checkOutput(p, file, summary, count)
	}
	if err == nil && count && p.name == "parquet" {
		b.others, err = b.writeAgain(ctx, file)
	}
	for _, f := range []string{file, summary} {
		if e := os.Remove(f); e != nil && err == nil {
			err = e
		}
	}
	return u, err
}

// pipeline is what the program runs for a subject.
func (b *bench) pipeline(s subject) (string, error) {
	if s.filter == "" {
		return "appointments", nil
	}
	path := filepath.Join(b.dir, s.name+".yaml")
	return path, os.WriteFile(path, []byte(`apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: filtered, title: Filtered appointments, class: data}
spec:
  extends: data
  stages:
    source: {use: mysql, with: {call: appointments, args: [null, null, All]}}
    filter: `+s.filter+`, with: {expression: appointment_id > 0 && duration >= 0}}
`), 0o600)
}

// measureCommand runs a command to its end and measures it. Its error has the end
// of what it wrote to standard error.
func (b *bench) measureCommand(ctx context.Context, cmd *exec.Cmd) (usage, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	server := cpuTime(b.serverPID)
	u, err := measure(ctx, cmd)
	u.serverCPU = cpuTime(b.serverPID) - server
	if err != nil {
		text := stderr.Bytes()
		return u, fmt.Errorf("%w: %s", err, text[max(0, len(text)-2000):])
	}
	return u, nil
}

func (b *bench) checkRows(who string, rows int64) error {
	if rows != b.rows {
		return fmt.Errorf("%s %s rows, and %s were loaded", who, grouped(rows), grouped(b.rows))
	}
	return nil
}

// lineCounter counts lines, and the tabs of the first one.
type lineCounter struct {
	lines int64
	tabs  int
}

func (c *lineCounter) Write(p []byte) (int, error) {
	if c.lines == 0 {
		first, _, _ := bytes.Cut(p, []byte{'\n'})
		c.tabs += bytes.Count(first, []byte{'\t'})
	}
	c.lines += int64(bytes.Count(p, []byte{'\n'}))
	return len(p), nil
}

var _ io.Writer = (*lineCounter)(nil)
