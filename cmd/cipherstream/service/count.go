package service

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"mime"
	"regexp"
	"strconv"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"github.com/cipherstream/cipherstream/sdk/wire"
)

// counter counts the rows of an answer while it comes. What it cannot count it lets pass.
type counter struct {
	pipe *io.PipeWriter // nil when nothing is counted
	done chan struct{}
	rows int64
	err  error
}

// counting are the formats whose rows can be counted as they come, by name, and media what each is announced as.
var (
	counting = map[string]func(io.Reader) (int64, error){
		"ndjson": countLines, "csv": countRecords, "json": countObjects, "parquet": countParquet, "arrow": countArrow,
	}
	media = map[string]string{
		"application/x-ndjson": "ndjson", "text/csv": "csv", "application/json": "json", "application/vnd.apache.parquet": "parquet",
		"application/vnd.apache.arrow.file": "arrow",
	}
)

const mediaZip = "application/zip"

// errUncountable is the error of an answer that does not let its rows be counted.
var errUncountable = errors.New("the rows cannot be counted")

// newCounter makes a counter for an answer: its media type and its coding, the format that was asked for, and whether it is
// sealed. A line that is sealed is a row in NDJSON, and a piece of the whole in any other format: those rows can be counted when
// the answer has been opened, and not before.
func newCounter(contentType, coding, format string, sealed bool) *counter {
	announced, _, _ := mime.ParseMediaType(contentType)
	format = cmp.Or(format, "ndjson")
	count := counting[media[announced]]
	if announced == mediaZip {
		inner := counting[format]
		count = func(r io.Reader) (int64, error) { return countEntry(r, inner) }
		if inner == nil {
			count = nil
		}
	}
	if sealed && format != "ndjson" {
		count = nil
	}
	return begin(count, coding)
}

// begin starts a counter of what is in a coding; nil counts nothing.
func begin(count func(io.Reader) (int64, error), coding string) *counter {
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
	if errors.Is(c.err, errUncountable) {
		return 0, false, nil
	}
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

// countObjects counts those of the array of a document of JSON, {"data":[{…},…],"metadata":{…}}, and holds them against what
// the document says at its end.
func countObjects(r io.Reader) (rows int64, err error) {
	const most = 1 << 10
	var tail []byte
	var depth int
	var text, escaped bool
	buffer := make([]byte, 64<<10)
	for {
		n, err := r.Read(buffer)
		for _, c := range buffer[:n] {
			switch {
			case escaped:
				escaped = false
			case text:
				escaped, text = c == '\\', c != '"'
			case c == '"':
				text = true
			case c == '{' || c == '[':
				if depth++; c == '{' && depth == 3 {
					rows++
				}
			case c == '}' || c == ']':
				depth--
			}
		}
		tail = append(tail, buffer[:n]...)
		tail = tail[max(0, len(tail)-most):]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return rows, err
		}
	}
	m := recordCount.FindSubmatch(tail)
	if m == nil {
		return rows, errors.New("the document does not end with its number of rows")
	}
	if said, err := strconv.ParseInt(string(m[1]), 10, 64); err != nil || said != rows {
		return rows, fmt.Errorf("the document has %d rows, and says that it has %s", rows, m[1])
	}
	return rows, nil
}

// maxFooter bounds what is kept of the end of a Parquet file. Rows whose footer is larger are not counted.
const maxFooter = 4 << 20

// ends is a file of which only the beginning and the end are there.
type ends struct {
	head, tail []byte
	size       int64
}

func (e *ends) ReadAt(p []byte, at int64) (int, error) {
	from := e.size - int64(len(e.tail))
	switch {
	case at >= from && at <= e.size:
		n := copy(p, e.tail[at-from:])
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	case at < 0 || at > e.size:
		return 0, errors.New("it refers to what is outside of it")
	case at+int64(len(p)) <= int64(len(e.head)):
		return copy(p, e.head[at:]), nil
	}
	return 0, errUncountable // it was there, and is not any more
}

// countParquet reads the number of rows in the footer.
func countParquet(r io.Reader) (int64, error) {
	e := &ends{head: make([]byte, 4)}
	if _, err := io.ReadFull(r, e.head); err != nil {
		return 0, err
	}
	e.size, e.tail = 4, append(e.tail, e.head...)
	buffer := make([]byte, 64<<10)
	for {
		n, err := r.Read(buffer)
		e.size += int64(n)
		if e.tail = append(e.tail, buffer[:n]...); len(e.tail) > 2*maxFooter {
			e.tail = append(e.tail[:0], e.tail[len(e.tail)-maxFooter:]...)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	file, err := parquet.OpenFile(e, e.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return 0, err
	}
	return file.NumRows(), nil
}

// countArrow adds up the record batches of an IPC file, whose messages stand behind one another
// (https://arrow.apache.org/docs/format/Columnar.html).
func countArrow(r io.Reader) (rows int64, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var opening [8]byte
	if _, err := io.ReadFull(in, opening[:]); err != nil || string(opening[:6]) != "ARROW1" {
		return 0, errors.New("it is no Arrow file")
	}
	for {
		var prefix [8]byte
		if _, err := io.ReadFull(in, prefix[:]); err != nil {
			return rows, err
		}
		length := binary.LittleEndian.Uint32(prefix[4:])
		switch {
		case binary.LittleEndian.Uint32(prefix[:]) != 0xffffffff || length > maxFooter:
			return rows, errors.New("it has something that is no message")
		case length == 0:
			return rows, nil
		}
		metadata := make([]byte, length)
		if _, err := io.ReadFull(in, metadata); err != nil {
			return rows, err
		}
		m, err := wire.ParseMessage(metadata)
		if err != nil {
			return rows, err
		}
		rows += m.Rows
		if _, err := io.CopyN(io.Discard, in, m.BodyBytes); err != nil {
			return rows, err
		}
	}
}

// countEntry counts the rows of the one entry of a zip archive, which begins with it (APPNOTE.TXT, 4.3.7).
func countEntry(r io.Reader, count func(io.Reader) (int64, error)) (int64, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	header := make([]byte, 30)
	if _, err := io.ReadFull(in, header); err != nil || string(header[:4]) != "PK\x03\x04" {
		return 0, errors.New("it is no zip archive with an entry")
	}
	number := func(at int) int64 { return int64(binary.LittleEndian.Uint16(header[at:])) }
	if _, err := io.CopyN(io.Discard, in, number(26)+number(28)); err != nil {
		return 0, err
	}
	const (
		stored, deflated = 0, 8
		sizesFollow      = 1 << 3
	)
	switch method := number(8); {
	case method == deflated:
		return count(flate.NewReader(in))
	case method == stored && number(6)&sizesFollow == 0:
		return count(io.LimitReader(in, int64(binary.LittleEndian.Uint32(header[18:]))))
	}
	return 0, errUncountable
}

var recordCount = regexp.MustCompile(`"record_count":\s*(\d+)\s*\}\s*\}\s*$`)
