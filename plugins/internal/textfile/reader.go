package textfile

import (
	"context"
	"io"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// Reader is what the sources of text files have in common: a source embeds it, opens the file,
// and says how a row is read.
type Reader struct {
	File  *File
	Table *Table

	row  func(ctx context.Context) error
	done error
}

// OpenFile opens a file as Open does, behind its byte order mark.
func (r *Reader) OpenFile(ctx context.Context, path, compression string, maxRecord config.Size) (err error) {
	if r.File, err = Open(path, compression, maxRecord); err != nil {
		return err
	}
	return r.File.SkipByteOrderMark(ctx)
}

// Begin prepares for rows of those fields, whose types are named as messages call them. Row reads the
// next one into the table; it returns io.EOF where none is left.
func (r *Reader) Begin(
	env sdk.Env, fields []arrow.Field, types []string, row func(ctx context.Context) error,
) (*arrow.Schema, error) {
	table, err := NewTable(env, r.File.path, fields, types)
	if err != nil {
		return nil, err
	}
	r.Table, r.row = table, row
	return table.Schema(), nil
}

// Next reads the next batch of rows.
func (r *Reader) Next(ctx context.Context) (arrow.Record, error) {
	if r.done != nil {
		return nil, r.done
	}
	r.Table.Reserve()
	for !r.Table.Full() {
		if err := r.row(ctx); err != nil {
			r.done = err
			if err == io.EOF {
				break
			}
			return nil, err
		}
	}
	if record := r.Table.Record(); record != nil {
		return record, nil
	}
	return nil, r.done
}

// Close closes the file.
func (r *Reader) Close() error {
	if r.Table != nil {
		r.Table.Release()
		r.Table = nil
	}
	if r.File == nil {
		return nil
	}
	return r.File.Close()
}
