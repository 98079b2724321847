// Package parquetfile is the source stage that reads a Parquet file
// (https://parquet.apache.org/docs/file-format/), so that an extraction can be read
// back and pipelines can be tried without a database. It owns the way from the bytes
// of a file to Arrow arrays. Metadata and what is packed into bits are decoded by parquet-go; the
// file may come from anywhere, so that every length, offset and index in it is checked
// before a decoder or anybody else uses it, what it can make the source hold is
// bounded, and what is wrong is a coded error that names the column. It reads
// flat columns; it never guesses a type.
//
// Pages are not read by parquet-go's own reader, which was tried with version 0.32: of damaged files, and of
// good ones of other writers, it returned values that no page has, without an error, and it allocates whatever
// a page announces.
package parquetfile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/klauspost/compress/zstd"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of the stage.
type Settings struct {
	Path   string      `config:"path,required" doc:"Absolute path of the file."`
	Memory config.Size `config:"memory" default:"256MiB" min:"1MiB" doc:"The most that the open pages and dictionaries of all columns may take. A file with larger pages fails the run."`
}

const doc = `Reads a Parquet file with flat columns: one that the encoder of the same name wrote comes back with the
types it had, except that seconds are milliseconds then, and the times of MySQL microseconds. Of other
writers, every encoding of the format's version 2 is read, compressed with snappy, gzip, zstd or not at all; the
checksums of pages are verified. Nested columns, INT96 timestamps, FLOAT16, encrypted files and other compressions are refused.`

// Stage defines the source.
func Stage() sdk.Definition {
	return sdk.DefineSource(sdk.About{
		Name:    "parquet",
		Summary: "Reads a Parquet file.",
		Doc:     doc,
	}, newSource)
}

const (
	defaultBatchRows  = 8192
	defaultBatchBytes = 4 << 20
	magic             = "PAR1"
	// maxFooter bounds the metadata at the end of the file, and maxColumns its columns.
	maxFooter  = 64 << 20
	maxColumns = 1 << 15
)

// source is the implementation of sdk.Source.
type source struct {
	settings  Settings
	memory    memory.Allocator
	batchRows int
	textBytes int // of one column in a batch; of all of them until the file is open

	file    *os.File
	input   io.ReaderAt
	size    int64
	meta    *fileMetaData
	schema  *arrow.Schema
	columns []*column
	budget  budget
	zstd    *zstd.Decoder // nil until it is needed
	group   int           // the next row group
	left    int64         // rows of the current one
	before  int64         // rows of the row groups that are read to their ends
	done    error
	damaged bool // checksums are not looked at, for a test of what lies behind them
}

func newSource(s Settings, env sdk.Env) (sdk.Source, error) {
	if !filepath.IsAbs(s.Path) {
		return nil, fault.New(codeOpen, fault.Usage, "%q is not an absolute path", s.Path).
			WithHint("a plugin does not know the folder that you are in: write the whole path")
	}
	r := &source{settings: s, memory: env.Memory, batchRows: env.BatchRows, textBytes: env.BatchBytes}
	if r.memory == nil {
		r.memory = memory.DefaultAllocator
	}
	if r.batchRows <= 0 {
		r.batchRows = defaultBatchRows
	}
	if r.textBytes <= 0 {
		r.textBytes = defaultBatchBytes
	}
	r.budget.limit = int64(s.Memory)
	return r, nil
}

// Open reads the footer.
func (s *source) Open(ctx context.Context) (*arrow.Schema, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.Open(s.settings.Path)
	if err != nil {
		return nil, s.failed(openFault(s.settings.Path, err))
	}
	s.file = f
	info, err := f.Stat()
	if err != nil {
		return nil, s.failed(openFault(s.settings.Path, err))
	}
	if !info.Mode().IsRegular() {
		return nil, s.failed(fault.New(codeOpen, fault.Usage, "%s is not a file (%s)", s.settings.Path, info.Mode().Type()).
			WithHint("Parquet is read from its end: store the data in a file first"))
	}
	return s.begin(f, info.Size())
}

// begin reads the footer of a file of that size.
func (s *source) begin(input io.ReaderAt, size int64) (*arrow.Schema, error) {
	s.input, s.size = input, size
	err := guard(func() (err error) {
		if s.meta, err = s.footer(); err == nil {
			s.schema, s.columns, err = mapColumns(s.meta)
		}
		return err
	})
	if err != nil {
		return nil, s.failed(err)
	}
	texts, width := 0, 0
	for _, c := range s.columns {
		c.source = s
		width += c.out
		if c.variable() {
			texts++
		}
	}
	if width > 0 {
		s.batchRows = max(min(s.batchRows, s.textBytes/width), 1)
	}
	s.textBytes = max(s.textBytes/max(texts, 1), 64<<10)
	return s.schema, nil
}

func openFault(path string, err error) error {
	f := fault.New(codeOpen, fault.Usage, "%s cannot be opened: %w", path, reason(err))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.WithHint("check the path")
	case errors.Is(err, fs.ErrPermission):
		f.WithHint("check who owns the file and its mode")
	}
	return f
}

// reason is the cause without the path, which the message names already.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// readAt fills b from the file.
func (s *source) readAt(b []byte, offset int64) error {
	n, err := s.input.ReadAt(b, offset)
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return corrupt("the file ends at byte %d, where %d more are announced", offset+int64(n), len(b)-n)
	}
	return fault.New(codeRead, fault.Source, "%s: reading at byte %d failed: %w", s.settings.Path, offset, reason(err)).WithRetry()
}

// footer reads FileMetaData, which stands at the end in front of its length.
func (s *source) footer() (*fileMetaData, error) {
	const tail = 8
	if s.size < int64(len(magic))+tail {
		return nil, corrupt("%s has %d bytes, less than an empty Parquet file", s.settings.Path, s.size)
	}
	var end [tail]byte
	if err := s.readAt(end[:], s.size-tail); err != nil {
		return nil, err
	}
	switch string(end[4:]) {
	case magic:
	case "PARE":
		return nil, unsupported("%s is an encrypted Parquet file", s.settings.Path)
	default:
		return nil, corrupt("%s does not end as a Parquet file does, with %s", s.settings.Path, magic)
	}
	length := int64(binary.LittleEndian.Uint32(end[:]))
	if length > s.size-int64(len(magic))-tail || length > maxFooter {
		return nil, corrupt("%s announces metadata of %d bytes; the file has %d, and at most %d are read", s.settings.Path, length, s.size, maxFooter)
	}
	b := make([]byte, length)
	if err := s.readAt(b, s.size-tail-length); err != nil {
		return nil, err
	}
	meta := &fileMetaData{}
	if _, err := decodeThrift(b, meta); err != nil {
		return nil, err
	}
	if meta.Signed.Valid {
		return nil, unsupported("%s is signed with a key for encrypted Parquet files", s.settings.Path)
	}
	return meta, nil
}

// Next reads the next batch.
func (s *source) Next(ctx context.Context) (arrow.Record, error) {
	if s.done != nil {
		return nil, s.done
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for s.left == 0 {
		if s.group == len(s.meta.RowGroups) {
			s.done = io.EOF
			return nil, io.EOF
		}
		if err := s.open(&s.meta.RowGroups[s.group]); err != nil {
			return nil, s.failed(err)
		}
		s.group++
	}
	var rec arrow.Record
	err := guard(func() (err error) {
		rec, err = s.batch()
		return err
	})
	if err != nil {
		return nil, s.failed(err)
	}
	return rec, nil
}

// guard makes a fault of a panic in f: parquet-go's decoders panic at some of what they do not expect.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = corrupt("a decoder gave up: %v", p)
		}
	}()
	return f()
}

// open starts a row group.
func (s *source) open(g *rowGroup) error {
	if len(g.Columns) != len(s.columns) {
		return corrupt("row group %d has %d columns; the schema has %d", s.group, len(g.Columns), len(s.columns))
	}
	if g.Rows < 0 {
		return corrupt("row group %d announces %d rows", s.group, g.Rows)
	}
	s.left = g.Rows
	for i, c := range s.columns {
		if err := c.open(s.group, g.Rows, &g.Columns[i]); err != nil {
			return c.place(err)
		}
	}
	return nil
}

// batch reads as many rows as a batch holds.
func (s *source) batch() (rec arrow.Record, err error) {
	n := int(min(int64(s.batchRows), s.left))
	for _, c := range s.columns {
		if c.variable() {
			if n, err = c.fit(n, s.textBytes); err != nil {
				return nil, c.place(err)
			}
		}
	}
	arrays := make([]arrow.Array, 0, len(s.columns))
	defer func() {
		for _, a := range arrays {
			a.Release()
		}
	}()
	for _, c := range s.columns {
		a, err := c.read(n)
		if err != nil {
			return nil, c.place(err)
		}
		arrays = append(arrays, a)
	}
	if s.left -= int64(n); s.left == 0 {
		s.before += s.meta.RowGroups[s.group-1].Rows
		for _, c := range s.columns {
			if err := c.end(); err != nil {
				return nil, c.place(err)
			}
		}
	}
	return array.NewRecord(s.schema, arrays, int64(n)), nil
}

// failed keeps err as the source's end.
func (s *source) failed(err error) error {
	s.done = err
	return err
}

// Close closes the file.
func (s *source) Close() error {
	if s.done == nil {
		s.done = io.ErrClosedPipe
	}
	s.columns = nil
	if s.zstd != nil {
		s.zstd.Close()
		s.zstd = nil
	}
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	if err := f.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", s.settings.Path, reason(err))
	}
	return nil
}

// budget bounds what a file can make the source hold.
type budget struct{ limit, used int64 }

// change replaces what somebody holds by something else, if there is room for it.
func (b *budget) change(from, to int64) error {
	if to < 0 || b.used-from+to > b.limit {
		return fault.New(codeTooLarge, fault.Source,
			"its pages need more than %s of memory with those of the other columns", config.Size(b.limit)).
			WithHint("raise the setting memory, or write the file with smaller pages")
	}
	b.used += to - from
	return nil
}
