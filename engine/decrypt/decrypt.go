// Package decrypt opens a sealed delivery on the customer's side: it takes a container
// off (gzip, zip or zstd), opens the envelope lines in it one after another, each under
// its index, and writes what was sealed. It owns the order of these steps, the strict
// reading of containers, and the check against a receipt; the lines themselves are
// package envelope's. It streams, in memory that does not grow with the delivery, and it
// never writes a byte that was not authenticated.
package decrypt

import (
	"bufio"
	"context"
	"io"
	"time"

	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of this package's faults; a line's own are those of package envelope.
const (
	// codeRead: the delivery could not be read.
	codeRead = "decrypt.read"
	// codeEmpty: there is nothing at all, and no receipt that says that this is right.
	codeEmpty = "decrypt.empty"
	// codeTruncated: the delivery ends before its end.
	codeTruncated = "decrypt.truncated"
	// codeContainer: the container is broken, or of a kind that no delivery has.
	codeContainer = "decrypt.container"
	// codeTrailing: something follows the end of the container.
	codeTrailing = "decrypt.trailing_data"
	// codeLine: a line is longer than is allowed.
	codeLine = "decrypt.line_too_long"
	// codeReceipt: the receipt cannot be used.
	codeReceipt = "decrypt.receipt"
	// codeMismatch: the delivery is not the one of the receipt, or a part of it is missing.
	codeMismatch = "decrypt.receipt_mismatch"
	// codeNoReceipt: something is asked for that only a receipt can prove.
	codeNoReceipt = "decrypt.no_receipt"
	// codeOtherRun: the receipt is of another run than the one that is expected.
	codeOtherRun = "decrypt.other_run"
	// codeOld: the delivery is older than is asked for.
	codeOld = "decrypt.old"
)

// DefaultMaxUnit is the default of Options.MaxUnit.
const DefaultMaxUnit = 256 << 20

// Options say how a delivery is opened.
type Options struct {
	// Ring holds the customer's keys, and Customer is the id that the data was asked for with.
	Ring     *envelope.Ring
	Customer string
	// Receipt is that of the delivery. Without one it cannot be noticed that lines are missing at the end, or are
	// of another delivery of the same customer.
	Receipt *Receipt
	// ExpectRun is the run that the delivery must be of, and NewerThan the time after which that must have begun; empty
	// and zero take any. RequireReceipt refuses a delivery without a receipt, as both of the others do.
	ExpectRun      string
	NewerThan      time.Time
	RequireReceipt bool
	// Decompress takes the container off what was sealed, too: a format that was
	// compressed before it was sealed in chunks.
	Decompress bool
	// MaxUnit is the largest sealed row in bytes; the default is DefaultMaxUnit. About
	// three times as much memory is used for the largest row that comes.
	MaxUnit int
}

// Result is what was opened.
type Result struct {
	// Units is the number of lines: rows, or chunks.
	Units int64 `json:"units"`
	// Container is what was taken off the lines: "gzip", "zip", "zstd" or "".
	Container string `json:"container,omitempty"`
	// Inner is what was taken off what was sealed, with Options.Decompress.
	Inner string `json:"inner_container,omitempty"`
	// InputBytes is the size of the delivery, OutputBytes that of what was written.
	InputBytes  int64 `json:"input_bytes"`
	OutputBytes int64 `json:"output_bytes"`
	// Proved and Unproved say what the receipt shows, and what nothing does.
	Proved   []Property `json:"proved"`
	Unproved []Property `json:"unproved"`
	// RunID is the run of the receipt, and Time when it began.
	RunID string     `json:"run_id,omitempty"`
	Time  *time.Time `json:"time,omitempty"`
}

// Property is what can be proved of a delivery beyond its lines, each of which is authentic, in its place and its
// customer's in any case.
type Property string

// The properties.
const (
	// Whole: nothing is missing at the end.
	Whole Property = "whole"
	// OneRun: all of it was made by one run.
	OneRun Property = "one_run"
	// Fresh: it is not an old delivery in the place of a new one.
	Fresh Property = "fresh"
)

// Copy opens the delivery that src holds and writes to dst what was sealed. It reads src to
// its end. What has been written before an error is authentic, but is not all, and may be of several deliveries; an
// error of dst is returned as it is. A receipt that is not the expected one is refused before anything is read.
func Copy(ctx context.Context, dst io.Writer, src io.Reader, o Options) (Result, error) {
	var result Result
	opener, err := o.Ring.Opener(o.Customer)
	if err != nil {
		return result, err
	}
	if o.MaxUnit <= 0 {
		o.MaxUnit = DefaultMaxUnit
	}
	if err := o.expect(); err != nil {
		return result, err
	}
	in := &input{ctx: ctx, src: src}
	if o.Receipt != nil {
		in.hash = newHash()
	}
	outer, err := open(newSource(in))
	if err != nil {
		return result, in.cause(err)
	}
	defer outer.close()
	result.Container = outer.name
	lines := &units{lines: newLines(outer, o.MaxUnit), opener: opener}
	err = lines.copy(dst, &o, &result)
	result.Units, result.InputBytes = lines.next, in.bytes
	if err != nil {
		return result, in.cause(err)
	}
	switch {
	case o.Receipt != nil:
		err = o.Receipt.check(&result, in.sum())
	case in.bytes == 0:
		err = fault.New(codeEmpty, fault.Data, "the delivery is empty: it has no bytes at all").
			WithHint("give its receipt if there were no rows; otherwise fetch the delivery again")
	}
	if err == nil {
		o.prove(&result)
	}
	return result, err
}

// copy writes the units to dst.
func (u *units) copy(dst io.Writer, o *Options, result *Result) error {
	if o.Decompress {
		inner, err := open(newSource(u))
		if err != nil {
			return err
		}
		defer inner.close()
		result.Inner = inner.name
		result.OutputBytes, err = io.Copy(dst, struct{ io.Reader }{inner})
		return err
	}
	for {
		unit, err := u.unit()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		n, err := dst.Write(unit)
		result.OutputBytes += int64(n)
		if err != nil {
			return err
		}
	}
}

// units opens lines one after another. It is an io.Reader of what was sealed.
type units struct {
	lines  *lines
	opener *envelope.Opener
	next   int64
	rest   []byte
}

// unit returns the next unit, which is valid until the next call, or io.EOF.
func (u *units) unit() ([]byte, error) {
	line, err := u.lines.next(u.next)
	if err != nil {
		return nil, err
	}
	unit, err := u.opener.Open(line, u.next)
	switch {
	case fault.Is(err, envelope.Malformed) && !envelope.Holds(line):
		return nil, u.lines.foreign(line, u.next)
	case err != nil:
		return nil, err
	case len(unit) > u.lines.maxUnit:
		return nil, u.lines.tooLong(u.next)
	}
	u.next++
	return unit, nil
}

func (u *units) Read(p []byte) (int, error) {
	for len(u.rest) == 0 {
		var err error
		if u.rest, err = u.unit(); err != nil {
			return 0, err
		}
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}

// sourceBuffer is how much is read at a time.
const sourceBuffer = 256 << 10

// source is a stream whose beginning can be looked at, and which knows how far it was read.
type source struct {
	*bufio.Reader
	under *counted
}

type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func newSource(r io.Reader) *source {
	under := &counted{Reader: r}
	return &source{bufio.NewReaderSize(under, sourceBuffer), under}
}

// offset is the number of bytes that were taken from the stream.
func (s *source) offset() int64 { return s.under.n - int64(s.Buffered()) }

// atEnd returns io.EOF when nothing follows what, and a fault when something does.
func (s *source) atEnd(what string) error {
	_, err := s.ReadByte()
	if err == nil {
		return fault.New(codeTrailing, fault.Data, "something follows the end of the %s data, at byte %d", what,
			s.offset()-1).
			WithHint("the file was appended to, or is several files in one; fetch the delivery again")
	}
	return err
}
