package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// tableOnly is the argument with which this program reads the table appointment to Arrow record batches, by as many
// connections as the next one says, drops them, and prints their number.
const tableOnly = "table-only"

// partitionCounts are the connections that the table is read with.
var partitionCounts = []int{1, 2, 4}

// partitionAim is the most that two connections take of the client's wall time, on a machine of two cores: as long as each
// core's half of the work.
const partitionAim = 0.42

// readTable is the program with that argument.
func readTable(ctx context.Context, connections string, out io.Writer) error {
	n, err := strconv.Atoi(connections)
	if err != nil {
		return err
	}
	return readBy(ctx, map[string]any{"partitions": n, "request": map[string]any{"table_name": "appointment", "allowed_tables": "appointment"}}, out)
}

// runPartitions measures how the table is read by one connection and by several, beside the client, which throws the same rows
// away.
func (b *bench) runPartitions(ctx context.Context) error {
	if _, err := b.server.Client("--execute", "ANALYZE TABLE appointment", b.server.Database()).Output(); err != nil {
		return err
	}
	names := []string{client}
	for _, n := range partitionCounts {
		names = append(names, fmt.Sprintf("partitions-%d", n))
	}
	results := map[string][]usage{}
	for round := range b.rounds + 1 {
		var line []string
		for i := range names {
			at := (i + round) % len(names)
			u, err := b.readTable(ctx, at)
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			if err != nil {
				return fmt.Errorf("%s: %w", names[at], err)
			}
			line = append(line, fmt.Sprintf("%s %.2f", names[at], u.wall.Seconds()))
			if round > 0 {
				results[names[at]] = append(results[names[at]], u)
			}
		}
		say("round %d of %d (0 is the warm-up), seconds: %s", round, b.rounds, strings.Join(line, ", "))
	}
	return b.reportPartitions(os.Stdout, names, results)
}

// readTable measures the client, or the source with the connections of that index, from 1.
func (b *bench) readTable(ctx context.Context, index int) (usage, error) {
	if index == 0 {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return usage{}, err
		}
		defer null.Close()
		cmd := b.server.Client("--quick", "--batch", "-N", "--execute", "SELECT * FROM appointment", b.server.Database())
		cmd.Stdout = null
		return b.measureCommand(ctx, cmd)
	}
	return b.readBySelf(ctx, tableOnly, strconv.Itoa(partitionCounts[index-1]))
}

func (b *bench) reportPartitions(w io.Writer, names []string, results map[string][]usage) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%s appointments by `SELECT * FROM appointment`; medians of %d interleaved rounds; %d cores for server and reader together.\n\n", grouped(b.rows), b.rounds, runtime.NumCPU())
	out.WriteString("| subject | wall s | ÷ client | CPU s | server's CPU s | MiB |\n|---|---|---|---|---|---|\n")
	for _, name := range names {
		of := results[name]
		fmt.Fprintf(&out, "| %s | %.2f | %.2f | %.2f | %.2f | %s |\n", name, median(column(of, wall)), median(ratios(of, results[client], wall)),
			median(column(of, cpu)), median(column(of, serverCPU)), mebibytes(int64(median(column(of, resident)))))
	}
	two := median(ratios(results["partitions-2"], results[client], wall))
	verdict := "met"
	if two > partitionAim {
		verdict = "missed"
	}
	fmt.Fprintf(&out, "\ntwo connections ÷ client: %.2f, aim %.2f: %s\n", two, partitionAim, verdict)
	_, err := io.WriteString(w, out.String())
	return err
}
