package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	arrowparquet "github.com/apache/arrow/go/v15/parquet"
	arrowfile "github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/pqarrow"

	"github.com/cipherstream/cipherstream/integration/python"
	"github.com/cipherstream/cipherstream/plugins/bundle"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

//go:embed others.py
var othersScript string

// written is a Parquet file that a writer made of rows that were in memory, on one core.
type written struct {
	Writer  string
	Bytes   int64
	Seconds float64
}

// writeAgain has other writers, and our encoder, write the rows of one of our Parquet files: ours
// comes first.
func (b *bench) writeAgain(ctx context.Context, file string) ([]written, error) {
	interpreter, err := python.Interpreter()
	if err != nil {
		say("the rows are not written by other writers: %v", err)
		return nil, nil
	}
	ours, err := encodeAgain(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("our encoder: %w", err)
	}
	out, err := python.Execute(ctx, interpreter, othersScript, file, filepath.Join(b.dir, "others.parquet"))
	if err != nil {
		return nil, err
	}
	others := []written{ours}
	for line := range strings.Lines(string(out)) {
		var w written
		if err := json.Unmarshal([]byte(line), &w); err != nil {
			return nil, err
		}
		others = append(others, w)
	}
	return others, nil
}

// encodeAgain runs our encoder by itself over the rows of a file. Time is the median of three.
func encodeAgain(ctx context.Context, file string) (written, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	batches, err := readBatches(ctx, file)
	if err != nil {
		return written{}, err
	}
	definition, ok := bundle.Bundle("bench").Find(stage.KindEncoder, "parquet")
	if !ok {
		return written{}, errors.New("the first-party plugin has no encoder parquet")
	}
	w := written{Writer: "cipherstream"}
	var seconds []float64
	for range 3 {
		made, err := definition.Make([]byte("{}"), sdk.Env{Memory: memory.NewGoAllocator(), Count: func(string, int64) {}})
		if err != nil {
			return w, err
		}
		start := time.Now()
		if w.Bytes, err = encodeAll(ctx, made.(sdk.Encoder), batches); err != nil {
			return w, err
		}
		seconds = append(seconds, time.Since(start).Seconds())
	}
	slices.Sort(seconds)
	w.Seconds = seconds[1]
	return w, nil
}

func encodeAll(ctx context.Context, e sdk.Encoder, batches []sdk.Rows) (size int64, err error) {
	if _, err := e.Bind(batches[0].Schema()); err != nil {
		return 0, err
	}
	var out sdk.Output
	took := func(err error) error {
		size += int64(len(out.Data))
		out.Reset()
		return err
	}
	if err := took(e.Begin(&out)); err != nil {
		return 0, err
	}
	for _, rows := range batches {
		if err := took(e.Encode(ctx, rows, &out)); err != nil {
			return 0, err
		}
	}
	return size, took(e.End(sdk.Totals{}, &out))
}

// readBatches reads a Parquet file with Arrow's reader.
func readBatches(ctx context.Context, file string) (batches []sdk.Rows, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := arrowfile.NewParquetReader(f, arrowfile.WithReadProps(arrowparquet.NewReaderProperties(memory.DefaultAllocator)))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	reader, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		return nil, err
	}
	table, err := reader.ReadTable(ctx)
	if err != nil {
		return nil, err
	}
	cut := array.NewTableReader(table, 2048)
	var first int64
	for cut.Next() {
		record := cut.Record()
		record.Retain()
		batches = append(batches, sdk.Rows{Record: record, First: first})
		first += record.NumRows()
	}
	if len(batches) == 0 {
		return nil, errors.New("the file has no rows")
	}
	return batches, nil
}

// writers prints what writeAgain found, as ratios of ours to theirs.
func (b *bench) writers(out *strings.Builder) {
	if len(b.others) == 0 {
		return
	}
	ours := b.others[0]
	fmt.Fprint(out, "\n| Parquet, zstd, the same rows from memory on one core | bytes | ours ÷ theirs | seconds | ours ÷ theirs |\n"+
		"|---|--:|--:|--:|--:|\n")
	for _, w := range b.others {
		fmt.Fprintf(out, "| %s | %s | %.2f | %.2f | %.2f |\n", w.Writer, grouped(w.Bytes),
			float64(ours.Bytes)/float64(w.Bytes), w.Seconds, ours.Seconds/w.Seconds)
	}
}
