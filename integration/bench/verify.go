package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// output is a file that a run made.
type output struct {
	sha256 string
	bytes  int64
}

// checkOutput holds a run's file against its receipt, the loaded rows, and every
// other file of that format.
func (b *bench) checkOutput(s subject, file, summary string, count bool) error {
	var receipt struct {
		Rows   int64
		Bytes  int64
		SHA256 string
	}
	text, err := os.ReadFile(summary)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &receipt); err != nil {
		return fmt.Errorf("the summary is not JSON: %w", err)
	}
	if err := b.checkRows("the summary has", receipt.Rows); err != nil {
		return err
	}
	got, err := digest(file)
	if err != nil {
		return err
	}
	if want := (output{receipt.SHA256, receipt.Bytes}); got != want {
		return fmt.Errorf("the file has %d bytes and sha256 %s, and the summary says %d and %s", got.bytes, got.sha256, want.bytes, want.sha256)
	}
	if first, ok := b.outputs[s.format]; ok && got != first {
		return fmt.Errorf("the file has %d bytes and sha256 %s, and the first one of this format had %d and %s", got.bytes, got.sha256, first.bytes, first.sha256)
	}
	b.outputs[s.format] = got
	if !count {
		return nil
	}
	rows, err := countRows(s.format, file)
	if err != nil {
		return err
	}
	return b.checkRows("the file has", rows)
}

func digest(file string) (output, error) {
	f, err := os.Open(file)
	if err != nil {
		return output{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return output{hex.EncodeToString(h.Sum(nil)), n}, err
}

// countRows reads a file with the standard library's own reader of its format.
func countRows(format, file string) (rows int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	var next func() error
	if format == "csv" {
		r := csv.NewReader(in)
		r.ReuseRecord = true
		if _, err := r.Read(); err != nil {
			return 0, fmt.Errorf("the header: %w", err)
		}
		next = func() error { _, err := r.Read(); return err }
	} else {
		next = func() error {
			line, err := in.ReadSlice('\n')
			if err == nil && !json.Valid(line) {
				err = errors.New("a line is not JSON")
			}
			if err == io.EOF && len(line) > 0 {
				err = errors.New("the last line has no end")
			}
			return err
		}
	}
	for ; ; rows++ {
		if err := next(); err == io.EOF {
			return rows, nil
		} else if err != nil {
			return rows, fmt.Errorf("row %d: %w", rows+1, err)
		}
	}
}
