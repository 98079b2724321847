package main

import (
	"archive/zip"
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	arrowfile "github.com/apache/arrow/go/v15/parquet/file"
	"github.com/klauspost/compress/zstd"
)

// output is a file that a run made.
type output struct {
	sha256 string
	bytes  int64
}

// checkOutput holds a run's file against its receipt, the loaded rows, and every
// other file of that kind.
func (b *bench) checkOutput(p product, file, summary string, count bool) error {
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
	first, ok := b.outputs[p.name]
	if ok && !p.random && got != first {
		return fmt.Errorf("the file has %d bytes and sha256 %s, and the first one of this kind had %d and %s", got.bytes, got.sha256, first.bytes, first.sha256)
	}
	if !ok {
		b.outputs[p.name] = got
	}
	if !count {
		return nil
	}
	rows, err := p.count(file)
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

// countRecords counts the records of a CSV file with the standard library's reader.
func countRecords(file string) (rows int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := csv.NewReader(bufio.NewReaderSize(f, 1<<20))
	r.ReuseRecord = true
	if _, err := r.Read(); err != nil {
		return 0, fmt.Errorf("the header: %w", err)
	}
	for ; ; rows++ {
		if _, err := r.Read(); err == io.EOF {
			return rows, nil
		} else if err != nil {
			return rows, fmt.Errorf("row %d: %w", rows+1, err)
		}
	}
}

// jsonLines counts lines, each of which must be JSON for the standard library.
func jsonLines(in io.Reader) (rows int64, err error) {
	lines := bufio.NewReaderSize(in, 1<<20)
	for ; ; rows++ {
		line, err := lines.ReadSlice('\n')
		switch {
		case err == io.EOF && len(line) == 0:
			return rows, nil
		case err == io.EOF:
			return rows, errors.New("the last line has no end")
		case err != nil:
			return rows, fmt.Errorf("row %d: %w", rows+1, err)
		case !json.Valid(line):
			return rows, fmt.Errorf("row %d is not JSON", rows+1)
		}
	}
}

func countLines(file string) (int64, error) {
	return countIn(file, func(f io.Reader) (io.ReadCloser, error) { return io.NopCloser(f), nil })
}

func countGzip(file string) (int64, error) {
	return countIn(file, func(f io.Reader) (io.ReadCloser, error) { return gzip.NewReader(f) })
}

func countZstd(file string) (int64, error) {
	return countIn(file, func(f io.Reader) (io.ReadCloser, error) {
		r, err := zstd.NewReader(f)
		if err != nil {
			return nil, err
		}
		return r.IOReadCloser(), nil
	})
}

// countIn counts the lines of a compressed file.
func countIn(file string, open func(io.Reader) (io.ReadCloser, error)) (int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r, err := open(f)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return jsonLines(r)
}

func countZip(file string) (int64, error) {
	archive, err := zip.OpenReader(file)
	if err != nil {
		return 0, err
	}
	defer archive.Close()
	if len(archive.File) != 1 {
		return 0, fmt.Errorf("the archive has %d entries", len(archive.File))
	}
	r, err := archive.File[0].Open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return jsonLines(r)
}

func countParquet(file string) (int64, error) {
	r, err := arrowfile.OpenParquetFile(file, false)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return r.NumRows(), nil
}
