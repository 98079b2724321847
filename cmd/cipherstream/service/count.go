package service

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"mime"
	"regexp"
	"strconv"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// counter counts the rows of an answer while it comes. What it cannot count it lets pass.
type counter struct {
	pipe *io.PipeWriter // nil when nothing is counted
	done chan struct{}
	rows int64
	err  error
}

// counting are the formats whose rows can be counted as they come, by media type.
var counting = map[string]func(io.Reader) (int64, error){
	"application/x-ndjson": countLines,
	"text/csv":             countRecords,
	"application/json":     countMetadata,
}

// newCounter makes a counter for an answer: its media type and its coding, the format that was asked for, and whether it is
// sealed. A line that is sealed is a row in NDJSON, and a piece of the whole in any other format.
func newCounter(contentType, coding, format string, sealed bool) *counter {
	media, _, _ := mime.ParseMediaType(contentType)
	count := counting[media]
	if sealed && format != "" && format != "ndjson" {
		count = nil
	}
	if count == nil || coding != "" && coding != "gzip" && coding != "zstd" {
		return &counter{}
	}
	r, w := io.Pipe()
	c := &counter{pipe: w, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		plain, err := decoded(r, coding)
		if err == nil {
			c.rows, err = count(plain)
		}
		c.err = err
		_, _ = io.Copy(io.Discard, r) // so that whoever writes is not held up
	}()
	return c
}

func decoded(r io.Reader, coding string) (io.Reader, error) {
	switch coding {
	case "gzip":
		return gzip.NewReader(r)
	case "zstd":
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return d, nil
	}
	return r, nil
}

func (c *counter) Write(p []byte) (int, error) {
	if c.pipe == nil {
		return len(p), nil
	}
	return c.pipe.Write(p)
}

// finish says how many rows there were; counted is false when that cannot be told.
func (c *counter) finish() (rows int64, counted bool, err error) {
	if c.pipe == nil {
		return 0, false, nil
	}
	_ = c.pipe.Close() // never fails
	<-c.done
	return c.rows, c.err == nil, c.err
}

func countLines(r io.Reader) (rows int64, err error) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := r.Read(buffer)
		rows += int64(bytes.Count(buffer[:n], []byte("\n")))
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
	}
}

// countRecords counts those of CSV behind its header.
func countRecords(r io.Reader) (rows int64, err error) {
	records := csv.NewReader(bufio.NewReaderSize(r, 64<<10))
	records.ReuseRecord = true
	for rows = -1; ; rows++ {
		if _, err := records.Read(); errors.Is(err, io.EOF) {
			return max(rows, 0), nil
		} else if err != nil {
			return rows, err
		}
	}
}

var recordCount = regexp.MustCompile(`"record_count":\s*(\d+)\s*\}\s*\}\s*$`)

// countMetadata reads what a document of JSON says at its end.
func countMetadata(r io.Reader) (int64, error) {
	const most = 1 << 10
	var tail []byte
	buffer := make([]byte, 64<<10)
	for {
		n, err := r.Read(buffer)
		tail = append(tail, buffer[:n]...)
		tail = tail[max(0, len(tail)-most):]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	m := recordCount.FindSubmatch(tail)
	if m == nil {
		return 0, errors.New("the document does not end with its number of rows")
	}
	return strconv.ParseInt(string(m[1]), 10, 64)
}
