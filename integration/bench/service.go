package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// together is how many streams go on at once, which is what one customer may have.
const together = 10

// The requests whose latency is measured.
const (
	referenceList = "appointment_types"
	// fewRows is how many rows the answer in between has, at least.
	fewRows = 10_000
)

// serviceBench measures a service as its customers see it, on loopback.
type serviceBench struct {
	*bench
	cmd     *exec.Cmd
	stderr  bytes.Buffer
	mu      sync.Mutex // of stderr
	client  *http.Client
	url     string
	key     string
	lastDay string // of the answer of fewRows
	few     int64

	latencies map[string][]latency
	walls     map[string][]time.Duration // by subject, one a round
	idle      int64                      // memory of all processes before the first request
	peak      int64                      // and the most with the streams at once
}

// latency is how long one answer took.
type latency struct{ first, whole time.Duration }

// The subjects of the streams.
const (
	byClient     = "client"
	byRun        = "run"
	oneStream    = "one stream"
	inTurn       = "ten streams, one after another"
	atOnce       = "ten streams at once"
	cachedList   = "reference list, kept"
	uncachedList = "reference list, run anew"
	someRows     = "10,000 rows"
)

// runService runs the comparison of the service.
func (b *bench) runService(ctx context.Context) (err error) {
	s := &serviceBench{bench: b, latencies: map[string][]latency{}, walls: map[string][]time.Duration{}}
	s.client = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: together}}
	if err := s.chooseRange(fewRows); err != nil {
		return err
	}
	say("starting the service")
	if err := s.begin(ctx, `
  limits: {rates: {procedures: {requests: 1000000, window: 1s}}}
  customers: [{id: bench, dsn: "env:CIPHERSTREAM_DSN", encryption_keys: ["env:CIPHERSTREAM_KEYS"]}]
`, "CIPHERSTREAM_KEYS="+b.key); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	s.idle = sampled(s.cmd.Process.Pid)
	if err := s.measureLatencies(ctx); err != nil {
		return err
	}
	if err := s.measureStreams(ctx); err != nil {
		return err
	}
	return s.report(os.Stdout)
}

// chooseRange finds the days that have about so many appointments.
func (s *serviceBench) chooseRange(rows int64) error {
	day := strings.TrimSpace(s.server.Query(fmt.Sprintf("SELECT appointment_date FROM %s.appointment ORDER BY appointment_date LIMIT 1 OFFSET %d",
		s.server.Database(), min(rows, s.rows)-1)))
	if day, _, _ = strings.Cut(day, " "); day == "" {
		return errors.New("no appointment was found")
	}
	s.lastDay = day
	return nil
}

// begin writes the configuration, with these settings, makes a key, and starts the service, with these variables in its
// environment.
func (s *serviceBench) begin(ctx context.Context, settings string, variables ...string) error {
	document := filepath.Join(s.dir, "service.yaml")
	err := os.WriteFile(document, []byte(`apiVersion: cipherstream/v1
kind: Service
metadata: {name: bench}
spec:
  listen: {address: "127.0.0.1:0"}
  operations: {address: "off"}
`+settings), 0o600)
	if err != nil {
		return err
	}
	environment := append(s.environment(), variables...)
	create := exec.CommandContext(ctx, s.program, "key", "create", "bench", "--config", document, "--json")
	create.Env = environment
	out, err := create.Output()
	if err != nil {
		return fmt.Errorf("key create: %w", err)
	}
	var issued struct{ Key string }
	if err := json.Unmarshal(out, &issued); err != nil {
		return err
	}
	s.key = issued.Key
	s.cmd = exec.Command(s.program, "serve", "--config", document)
	s.cmd.Env = environment
	pipe, err := s.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(pipe)
	for s.url == "" && lines.Scan() {
		s.keep(lines.Bytes())
		var line struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
			s.url = "http://" + line.Address
		}
	}
	if s.url == "" {
		return fmt.Errorf("the service did not start: %s", s.said())
	}
	go func() { _, _ = io.Copy(io.Discard, pipe) }() // a line for every request
	return nil
}

func (s *serviceBench) keep(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stderr.Write(line)
	s.stderr.WriteByte('\n')
}

func (s *serviceBench) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stderr.String()
}

func (s *serviceBench) end() error {
	s.client.CloseIdleConnections()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	over := time.AfterFunc(time.Minute, func() { _ = s.cmd.Process.Kill() })
	defer over.Stop()
	return s.cmd.Wait()
}

// sampled is what all processes of a tree have in memory now, pages that they share counted once.
func sampled(pid int) int64 {
	t := newTree(pid)
	t.sample()
	return t.together
}

// fetch asks for an answer, writes it, and checks its number of rows, where one is wanted.
func (s *serviceBench) fetch(ctx context.Context, procedure string, body map[string]any, to io.Writer, rows int64) (latency, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return latency{}, err
	}
	var begin time.Time
	var l latency
	trace := &httptrace.ClientTrace{GotFirstResponseByte: func() { l.first = time.Since(begin) }}
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodPost, s.url+"/v1/procedures/"+procedure, bytes.NewReader(text))
	if err != nil {
		return l, err
	}
	r.Header.Set("Authorization", "Bearer "+s.key)
	r.Header.Set("Content-Type", "application/json")
	begin = time.Now()
	answer, err := s.client.Do(r)
	if err != nil {
		return l, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
		return l, fmt.Errorf("%s: %s: %s", procedure, answer.Status, why)
	}
	if _, err := io.Copy(to, answer.Body); err != nil {
		return l, fmt.Errorf("%s: %w", procedure, err)
	}
	l.whole = time.Since(begin)
	said := answer.Header.Get("X-CipherStream-Rows") + answer.Trailer.Get("X-CipherStream-Rows")
	if rows > 0 && said != fmt.Sprint(rows) {
		return l, fmt.Errorf("%s: the service says %q rows, and %d are right", procedure, said, rows)
	}
	return l, nil
}

// measureLatencies measures small answers, one after another, the kinds by turns.
func (s *serviceBench) measureLatencies(ctx context.Context) error {
	s.few = 0
	kinds := []struct {
		name, procedure string
		body            map[string]any
		times           int // in a round
	}{
		{cachedList, referenceList, map[string]any{"customer_id": "bench"}, 100},
		// What is sealed is never kept.
		{uncachedList, referenceList, map[string]any{"customer_id": "bench", "encrypted": true}, 10},
		{someRows, "appointments", map[string]any{"customer_id": "bench", "to_date": s.lastDay}, 5},
	}
	for round := range s.rounds + 1 {
		for _, k := range kinds {
			for range k.times {
				var lines lineCounter
				l, err := s.fetch(ctx, k.procedure, k.body, &lines, 0)
				if err != nil {
					return err
				}
				if k.name == someRows {
					s.few = lines.lines
				}
				if round > 0 {
					s.latencies[k.name] = append(s.latencies[k.name], l)
				}
			}
		}
		say("latencies, round %d of %d", round, s.rounds)
	}
	return nil
}

// stream fetches all appointments into a file, which is removed.
func (s *serviceBench) stream(ctx context.Context, name string) error {
	file, err := os.Create(filepath.Join(s.dir, name))
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = s.fetch(ctx, "appointments", map[string]any{"customer_id": "bench", "mode": "stream"}, file, s.rows)
	return errors.Join(err, file.Close())
}

// measureStreams measures whole tables, the subjects by turns.
func (s *serviceBench) measureStreams(ctx context.Context) error {
	run := subject{name: byRun, output: "ndjson", isolation: "group"}
	return s.byTurns("streams", []turn{
		{byClient, func(count bool) error {
			_, err := s.runClient(ctx, count)
			return err
		}},
		{byRun, func(count bool) error {
			_, err := s.runProgram(ctx, run, count)
			return err
		}},
		{oneStream, func(bool) error { return s.stream(ctx, "stream") }},
		{inTurn, func(bool) error {
			for range together {
				if err := s.stream(ctx, "stream"); err != nil {
					return err
				}
			}
			return nil
		}},
		{atOnce, func(bool) error { return s.streamsAtOnce(ctx) }},
	})
}

// turn is something that is measured; count is true in the round that warms up.
type turn struct {
	name string
	do   func(count bool) error
}

// byTurns measures how long each takes: a round to warm up, and those that count, each of which begins with another one.
func (s *serviceBench) byTurns(what string, subjects []turn) error {
	for round := range s.rounds + 1 {
		var line []string
		for i := range subjects {
			sub := subjects[(i+round)%len(subjects)]
			begin := time.Now()
			if err := sub.do(round == 0); err != nil {
				return fmt.Errorf("%s: %w", sub.name, err)
			}
			took := time.Since(begin)
			line = append(line, fmt.Sprintf("%s %.2f", sub.name, took.Seconds()))
			if round > 0 {
				s.walls[sub.name] = append(s.walls[sub.name], took)
			}
		}
		say("%s, round %d of %d, seconds: %s", what, round, s.rounds, strings.Join(line, ", "))
	}
	return nil
}

func (s *serviceBench) streamsAtOnce(ctx context.Context) error {
	t := newTree(s.cmd.Process.Pid)
	stop := sampling(t.sample)
	errs := make([]error, together)
	var streams sync.WaitGroup
	for i := range together {
		streams.Go(func() { errs[i] = s.stream(ctx, fmt.Sprint("stream", i)) })
	}
	streams.Wait()
	stop()
	s.peak = max(s.peak, t.together)
	return errors.Join(errs...)
}

// report prints what was measured, in Markdown.
func (s *serviceBench) report(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "\n| answer | first byte ms, p50 | p99 | whole ms, p50 | p99 | measured |\n|---|--:|--:|--:|--:|--:|\n")
	for _, name := range []string{cachedList, uncachedList, someRows} {
		of := s.latencies[name]
		first, whole := make([]float64, len(of)), make([]float64, len(of))
		for i, l := range of {
			first[i], whole[i] = l.first.Seconds()*1000, l.whole.Seconds()*1000
		}
		if name == someRows {
			name = fmt.Sprintf("%s rows", grouped(s.few))
		}
		fmt.Fprintf(&out, "| %s | %.2f | %.2f | %.2f | %.2f | %d |\n", name, quantile(first, .5), quantile(first, .99), quantile(whole, .5), quantile(whole, .99), len(of))
	}
	fmt.Fprintf(&out, "\n%s appointments a stream, medians of %d interleaved rounds.\n", grouped(s.rows), s.rounds)
	fmt.Fprintf(&out, "\n| subject | | wall s | k rows/s | wall ÷ client | wall ÷ run |\n|---|---|--:|--:|--:|--:|\n")
	for _, sub := range []struct {
		name, what string
		streams    int64
	}{
		{byClient, "`mariadb --quick --batch -N`, rows thrown away", 1},
		{byRun, "`cipherstream run -f ndjson -o FILE`", 1},
		{oneStream, "mode stream over HTTP to a file", 1},
		{inTurn, "the same", together},
		{atOnce, "the same, of one customer", together},
	} {
		seconds := medianOf(s.walls[sub.name])
		fmt.Fprintf(&out, "| %s | %s | %.2f | %.0f | %.2f | %.2f |\n", sub.name, sub.what, seconds, float64(s.rows*sub.streams)/seconds/1000,
			medianRatio(s.walls[sub.name], s.walls[byClient]), medianRatio(s.walls[sub.name], s.walls[byRun]))
	}
	fmt.Fprintf(&out, "\nMemory of the service and its processes, shared pages counted once: %s MiB idle, %s MiB at most with ten streams at once.\n",
		mebibytes(s.idle), mebibytes(s.peak))
	fmt.Fprintf(&out, "\n| aim | | measured | |\n|---|--:|--:|---|\n")
	wholes := func(name string) (ms []float64) {
		for _, l := range s.latencies[name] {
			ms = append(ms, l.whole.Seconds()*1000)
		}
		return ms
	}
	for _, a := range []struct {
		what            string
		limit, measured float64
		atLeast         bool
	}{
		{"kept reference list, whole, p99 ms", 2, quantile(wholes(cachedList), .99), false},
		{"reference list run anew, whole, p99 ms", 50, quantile(wholes(uncachedList), .99), false},
		{"ten streams at once: rows/s ÷ one after another", .8, medianRatio(s.walls[inTurn], s.walls[atOnce]), true},
		{"one stream: wall ÷ run to a file", 1.10, medianRatio(s.walls[oneStream], s.walls[byRun]), false},
		{"ten streams at once: memory MiB", 384, float64(s.peak) / (1 << 20), false},
	} {
		sign, verdict := "≤", "reached"
		missed := a.measured > a.limit
		if a.atLeast {
			sign, missed = "≥", a.measured < a.limit
			s.measured.addAtLeast("aim: "+a.what, a.measured, a.limit)
		} else {
			s.measured.add("aim: "+a.what, []float64{a.measured}, a.limit)
		}
		if missed {
			verdict = "**missed**"
		}
		fmt.Fprintf(&out, "| %s | %s %.2f | %.2f | %s |\n", a.what, sign, a.limit, a.measured, verdict)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// quantile is that of values, which need not be sorted, by the nearest rank.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func medianOf(of []time.Duration) float64 {
	seconds := make([]float64, len(of))
	for i, d := range of {
		seconds[i] = d.Seconds()
	}
	return quantile(seconds, .5)
}

// medianRatio is the median of the ratios in the same round.
func medianRatio(of, reference []time.Duration) float64 {
	ratios := make([]float64, len(of))
	for i := range of {
		ratios[i] = of[i].Seconds() / reference[i].Seconds()
	}
	return quantile(ratios, .5)
}
