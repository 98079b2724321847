// Package dbf is a source that reads a dBASE table (.dbf, versions III and IV), in which many an old practice program
// keeps its data. It owns the layout of the file; it never guesses a character set, and never leaves a row out: one that
// is marked as deleted comes with its mark in a column of its own.
//
// The file is a header, a descriptor of 32 bytes for each field, and records of one size, whose first byte is the mark.
package dbf

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"golang.org/x/text/encoding/charmap"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

type settings struct {
	Path    string `config:"path,required" min:"1" doc:"The file, with its whole path."`
	Charset string `config:"charset,required" enum:"utf-8,windows-1252,cp437,cp850" doc:"In which character set its texts are."`
	Deleted string `config:"deleted_column" default:"is_deleted" min:"1" doc:"Name of the column that is true for rows marked as deleted."`
}

// Stage defines the source.
func Stage() sdk.Definition {
	return sdk.DefineSource(sdk.About{
		Name:    "dbf",
		Summary: "Reads a dBASE table (.dbf).",
		Doc: `C becomes text without the blanks at its end, N and F become int64 or a decimal of the declared size, D a
date, L a boolean. Blank numbers, dates and booleans are NULL; dBASE knows no NULL for text. Fields of other types, memo
fields among them, are refused. Rows marked as deleted are delivered, with true in deleted_column.`,
	}, func(s settings, env sdk.Env) (sdk.Source, error) { return &source{settings: s, env: env}, nil })
}

var charsets = map[string]*charmap.Charmap{
	"windows-1252": charmap.Windows1252, "cp437": charmap.CodePage437, "cp850": charmap.CodePage850,
}

// The layout of the header; numbers are little-endian.
const (
	headerSize     = 32
	descriptorSize = 32
	headerEnd      = 0x0D
	fileEnd        = 0x1A
	maxFields      = 255
)

type source struct {
	settings settings
	env      sdk.Env

	file    *os.File
	rows    *bufio.Reader
	schema  *arrow.Schema
	fields  []field
	record  []byte
	left    uint32 // rows that are still to come
	read    int64
	builder *array.RecordBuilder
}

func (s *source) damaged(format string, args ...any) error {
	return fault.New("dbf.damaged", fault.Data, "%s: %s", s.settings.Path, fmt.Sprintf(format, args...)).
		WithHint("copy the file again from where it comes from")
}

// Open reads the header.
func (s *source) Open(context.Context) (*arrow.Schema, error) {
	file, err := os.Open(s.settings.Path)
	if err != nil {
		return nil, fault.New("dbf.open", fault.Source, "the file cannot be opened: %w", err)
	}
	s.file, s.rows = file, bufio.NewReaderSize(file, 256<<10)
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(s.rows, header); err != nil {
		return nil, s.damaged("the header is cut off")
	}
	if version := header[0] & 0x07; version != 3 && version != 4 {
		return nil, fault.New("dbf.version", fault.Data, "%s is no dBASE table of version III or IV: its first byte is %#02x", s.settings.Path, header[0])
	}
	s.left = binary.LittleEndian.Uint32(header[4:])
	size, recordSize := int(binary.LittleEndian.Uint16(header[8:])), int(binary.LittleEndian.Uint16(header[10:]))

	var columns []arrow.Field
	width := 1
	for {
		descriptor := make([]byte, descriptorSize)
		if b, err := s.rows.ReadByte(); err != nil {
			return nil, s.damaged("the list of fields is cut off")
		} else if b == headerEnd {
			break
		} else {
			descriptor[0] = b
		}
		if _, err := io.ReadFull(s.rows, descriptor[1:]); err != nil || len(s.fields) == maxFields {
			return nil, s.damaged("the list of fields has no end")
		}
		f, err := fieldOf(descriptor, width, charsets[s.settings.Charset])
		if err != nil {
			return nil, err
		}
		width += f.size
		s.fields = append(s.fields, f)
		columns = append(columns, f.column)
	}
	if rest := size - headerSize - descriptorSize*len(s.fields) - 1; len(s.fields) == 0 || width != recordSize || rest < 0 {
		return nil, s.damaged("its %d fields have %d bytes, and its header of %d bytes says that rows have %d", len(s.fields), width, size, recordSize)
	} else if _, err := s.rows.Discard(rest); err != nil {
		return nil, s.damaged("the header is cut off")
	}
	s.record = make([]byte, recordSize)
	s.schema = arrow.NewSchema(append(columns, arrow.Field{Name: s.settings.Deleted, Type: arrow.FixedWidthTypes.Boolean}), nil)
	s.builder = array.NewRecordBuilder(s.env.Memory, s.schema)
	return s.schema, nil
}

// Next reads a batch of rows.
func (s *source) Next(ctx context.Context) (arrow.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.left == 0 {
		// The end mark is not always there.
		if b, err := s.rows.ReadByte(); err == nil && b != fileEnd {
			return nil, s.damaged("something follows the %d rows that its header has", s.read)
		}
		return nil, io.EOF
	}
	rows, bytes := 0, 0
	for ; s.left > 0 && rows < s.env.BatchRows && bytes < s.env.BatchBytes; s.left-- {
		if _, err := io.ReadFull(s.rows, s.record); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, s.damaged("it ends after %d rows; its header says %d", s.read, s.read+int64(s.left))
			}
			return nil, fault.New("dbf.read", fault.Source, "the file cannot be read: %w", err)
		}
		s.read++
		if err := s.appendRow(); err != nil {
			return nil, err
		}
		rows, bytes = rows+1, bytes+len(s.record)
	}
	return s.builder.NewRecord(), nil
}

func (s *source) appendRow() error {
	deleted := s.record[0] == '*'
	if !deleted && s.record[0] != ' ' {
		return s.damaged("row %d begins with the byte %#02x, which is no mark", s.read, s.record[0])
	}
	for i, f := range s.fields {
		if problem := f.append(s.builder.Field(i), s.record[f.at:f.at+f.size]); problem != "" {
			// The value itself stays out of the message: it may be a patient's.
			return fault.New("dbf.value", fault.Data, "%s: row %d, field %s: %s", s.settings.Path, s.read, f.column.Name, problem)
		}
	}
	s.builder.Field(len(s.fields)).(*array.BooleanBuilder).Append(deleted)
	return nil
}

// Close may be called after a failed Open, and twice.
func (s *source) Close() error {
	if s.builder != nil {
		s.builder.Release()
		s.builder = nil
	}
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// nameOf cuts a field's name off at the first zero byte.
func nameOf(raw []byte) string {
	name, _, _ := bytes.Cut(raw, []byte{0})
	return string(bytes.TrimRight(name, " "))
}
