// Package textfile reads files of text records for the sources csv and ndjson: it
// opens and decompresses a file, shows it through a window of bounded size, and
// gathers parsed values into record batches. It owns what is the same for all such
// files and its faults; it never knows what separates records or fields.
package textfile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

const (
	windowSize = 256 << 10
	// maxZstdWindow is the most memory that a zstd frame may ask for; it is the
	// largest window of the zstd program without --long.
	maxZstdWindow = 128 << 20
)

// File is an open file, decompressed.
type File struct {
	path   string
	handle *os.File
	reader io.Reader
	close  func()

	buffer     []byte
	start, end int // of what was read and not discarded
	max        int // the longest record
	ended      bool
}

// Open opens a regular file by its absolute path. Compression is none, gzip, zstd,
// or auto, which goes by the ending of the name: .gz, .zst. A record longer than
// maxRecord bytes fails the reading.
func Open(path, compression string, maxRecord config.Size) (*File, error) {
	if !filepath.IsAbs(path) {
		return nil, fault.New("file.relative_path", fault.Usage, "the path %q is not absolute", path).
			WithHint("a stage runs in a folder of its own, so a relative path would not mean what it says; give the whole path")
	}
	f := &File{path: path, max: int(maxRecord), close: func() {}}
	// A named pipe would wait for its writer in Open, so look first.
	info, err := os.Stat(path)
	if err != nil {
		return nil, f.code(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fault.New("file.not_a_file", fault.Usage, "%s is not a regular file (%s)", path, info.Mode().Type())
	}
	if f.handle, err = os.Open(path); err != nil {
		return nil, f.code(err)
	}
	f.reader = f.handle
	if compression == "auto" {
		switch strings.ToLower(filepath.Ext(path)) {
		case ".gz":
			compression = "gzip"
		case ".zst":
			compression = "zstd"
		}
	}
	switch compression {
	case "gzip":
		reader, err := gzip.NewReader(f.handle)
		if err != nil {
			f.handle.Close()
			return nil, f.code(err)
		}
		f.reader = reader
	case "zstd":
		reader, err := zstd.NewReader(f.handle, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			f.handle.Close()
			return nil, f.code(err)
		}
		f.reader, f.close = reader, reader.Close
	}
	f.buffer = make([]byte, windowSize)
	return f, nil
}

// Window is what was read and not yet discarded. It is valid until the next call
// of Fill.
func (f *File) Window() []byte { return f.buffer[f.start:f.end] }

// Discard drops the first n bytes of the window.
func (f *File) Discard(n int) { f.start += n }

// Fill makes the window longer. It returns io.EOF when the file has no more, and
// the fault "file.record_too_large" when the window holds more than a record may.
func (f *File) Fill(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if f.ended {
		return io.EOF
	}
	if f.end-f.start > f.max {
		return fault.New("file.record_too_large", fault.Data, "%s: a record is longer than %s", f.path,
			config.Size(f.max)).
			WithHint("is the file what its settings say, with all its quotes closed? If so, raise max_record")
	}
	if f.start > 0 {
		f.end = copy(f.buffer, f.buffer[f.start:f.end])
		f.start = 0
	}
	if f.end == len(f.buffer) {
		f.buffer = append(f.buffer, make([]byte, len(f.buffer))...)
	}
	// A record that does not fit is scanned anew, so let the window at least double.
	before := f.end
	for wanted := min(max(1, f.end-f.start), len(f.buffer)-f.end); f.end-before < wanted; {
		n, err := f.reader.Read(f.buffer[f.end:])
		f.end += n
		if err == io.EOF {
			f.ended = true
			break
		}
		if err != nil {
			return f.code(err)
		}
	}
	if f.end == before {
		return io.EOF
	}
	return nil
}

var byteOrderMark = []byte("\ufeff")

// SkipByteOrderMark discards the mark that some programs put first.
func (f *File) SkipByteOrderMark(ctx context.Context) error {
	for len(f.Window()) < len(byteOrderMark) {
		if err := f.Fill(ctx); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	if bytes.HasPrefix(f.Window(), byteOrderMark) {
		f.Discard(len(byteOrderMark))
	}
	return nil
}

// Close closes the file. It may be called more than once.
func (f *File) Close() error {
	f.close()
	f.close = func() {}
	if err := f.handle.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return f.code(err)
	}
	return nil
}

// code makes a fault of an error of the system or of a decompressor.
func (f *File) code(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New("file.not_found", fault.Usage, "%s does not exist", f.path)
	case errors.Is(err, fs.ErrPermission):
		return fault.New("file.denied", fault.Usage, "%s: permission is denied (%w)", f.path, err).
			WithHint("check who owns the file and the folders above it, and their modes")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fault.New("file.truncated", fault.Source, "%s ends in the middle of the compressed data", f.path).
			WithHint("get the file again")
	case f.reader != nil && f.reader != io.Reader(f.handle),
		errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, zstd.ErrMagicMismatch):
		return fault.New("file.corrupt", fault.Source, "%s is not well compressed: %w", f.path, err).
			WithHint("is the setting compression right? If so, get the file again")
	}
	return fault.New("file.read", fault.Source, "%s cannot be read: %w", f.path, err)
}
