package record

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/sdk/stage"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// Difference is the first one between what was recorded and what a stage makes now.
type Difference struct {
	Message string `json:"message"`
	// Row is the row, counted from 1, and Column the column; 0 and empty where the
	// difference is in the schema or in the number of rows. Of a byte stream, Byte is the
	// byte, counted from 0.
	Row    int64  `json:"row,omitempty"`
	Column string `json:"column,omitempty"`
	Byte   *int64 `json:"byte,omitempty"`
	// Recorded and Replayed are both values as text, long ones cut.
	Recorded string `json:"recorded"`
	Replayed string `json:"replayed"`
}

// cursor walks over the rows of a stream.
type cursor struct {
	reader *wire.Reader
	rec    arrow.Record
	at     int64
	rows   int64 // that have been passed
	// partial says that a stream that just ends is no failure: it is all there is.
	partial bool
	cut     bool // it has ended so
}

// fill makes sure that there is a row to look at, unless the stream has ended.
func (c *cursor) fill() (bool, error) {
	for c.rec == nil || c.at == c.rec.NumRows() {
		c.release()
		rec, err := c.reader.Read()
		if err == io.EOF {
			return false, nil
		}
		if c.partial && errors.Is(err, wire.ErrTruncated) {
			c.cut = true
			return false, nil
		}
		if err != nil {
			return false, err
		}
		c.rec, c.at = rec, 0
	}
	return true, nil
}

func (c *cursor) advance(n int64) { c.at, c.rows = c.at+n, c.rows+n }

func (c *cursor) release() {
	if c.rec != nil {
		c.rec.Release()
		c.rec = nil
	}
}

// drain reads to the end.
func (c *cursor) drain() error {
	for {
		more, err := c.fill()
		if !more {
			return err
		}
		c.advance(c.rec.NumRows() - c.at)
	}
}

// compare reads both streams to the end of what is replayed and returns the first
// difference, or nil. Batches may be cut differently. When the recorded stream was cut
// off, it is the beginning of the other.
func compare(recorded, replayed *cursor, shape stage.Shape) (*Difference, error) {
	defer recorded.release()
	defer replayed.release()
	d := compareSchemas(recorded.reader.Schema(), replayed.reader.Schema())
	var err error
	switch {
	case d != nil:
	case shape == stage.ShapeBytes:
		d, err = compareBytes(recorded, replayed)
	default:
		d, err = compareRows(recorded, replayed)
	}
	if err != nil {
		return nil, err
	}
	return d, replayed.drain()
}

func compareRows(recorded, replayed *cursor) (*Difference, error) {
	for {
		more, err := recorded.fill()
		if err != nil {
			return nil, recordUnreadable(err)
		}
		got, err := replayed.fill()
		switch {
		case err != nil:
			return nil, err
		case !more && (!got || recorded.cut):
			return nil, nil
		case !more:
			return &Difference{Message: fmt.Sprintf("more rows come than the %d that were recorded", recorded.rows),
				Recorded: "the end", Replayed: shownRow(replayed)}, nil
		case !got:
			return &Difference{Message: fmt.Sprintf("only %d rows come, and more were recorded", replayed.rows),
				Recorded: shownRow(recorded), Replayed: "the end"}, nil
		}
		n := min(recorded.rec.NumRows()-recorded.at, replayed.rec.NumRows()-replayed.at)
		if d := compareRange(recorded, replayed, n); d != nil {
			return d, nil
		}
		recorded.advance(n)
		replayed.advance(n)
	}
}

// compareRange finds the first of n rows that differ, and the first column of it.
func compareRange(a, b *cursor, n int64) *Difference {
	first, column := n, -1
	for c := range int(a.rec.NumCols()) {
		x, y := a.rec.Column(c), b.rec.Column(c)
		if !hasFloats(x.DataType()) && array.SliceEqual(x, a.at, a.at+first, y, b.at, b.at+first) {
			continue
		}
		for i := range first {
			if !cellsEqual(x, int(a.at+i), y, int(b.at+i)) {
				first, column = i, c
				break
			}
		}
	}
	if column < 0 {
		return nil
	}
	name := a.rec.ColumnName(column)
	row := a.rows + first + 1
	return &Difference{
		Message: fmt.Sprintf("row %d (counted from 1), column %q differs", row, name), Row: row, Column: name,
		Recorded: shown(a.rec.Column(column), int(a.at+first)), Replayed: shown(b.rec.Column(column), int(b.at+first)),
	}
}

// shownRow shows the first column of a cursor's row.
func shownRow(c *cursor) string {
	if c.rec.NumCols() == 0 {
		return "a row without columns"
	}
	return c.rec.ColumnName(0) + " " + shown(c.rec.Column(0), int(c.at)) + ", …"
}

// compareBytes compares two byte streams, however they are cut into values.
func compareBytes(recorded, replayed *cursor) (*Difference, error) {
	var want, got []byte
	var at int64
	for {
		for len(want) == 0 {
			more, err := recorded.fill()
			if err != nil {
				return nil, recordUnreadable(err)
			}
			if !more {
				break
			}
			want = takeBytes(recorded)
		}
		for len(got) == 0 {
			more, err := replayed.fill()
			if err != nil {
				return nil, err
			}
			if !more {
				break
			}
			got = takeBytes(replayed)
		}
		n := min(len(want), len(got))
		if same := commonLength(want[:n], got[:n]); same < n || len(want) == 0 || len(got) == 0 {
			if len(want) == 0 && (len(got) == 0 || recorded.cut) {
				return nil, nil
			}
			at += int64(same)
			return &Difference{Message: fmt.Sprintf("the bytes differ from byte %d on (counted from 0)", at), Byte: &at,
				Recorded: shownBytes(want[same:]), Replayed: shownBytes(got[same:])}, nil
		}
		want, got, at = want[n:], got[n:], at+int64(n)
	}
}

// takeBytes copies the bytes of a cursor's batch and goes past it.
func takeBytes(c *cursor) []byte {
	column, ok := c.rec.Column(0).(*array.Binary)
	c.advance(c.rec.NumRows() - c.at)
	if !ok {
		return nil
	}
	return bytes.Clone(column.ValueBytes())
}

func commonLength(a, b []byte) int {
	n := 0
	for n < len(a) && a[n] == b[n] {
		n++
	}
	return n
}

func shownBytes(b []byte) string {
	if len(b) == 0 {
		return "the end"
	}
	const most = 32
	return shownValue(b[:min(len(b), most)], len(b) > most)
}

// compareSchemas compares names, types, nullability and metadata.
func compareSchemas(want, got *arrow.Schema) *Difference {
	differ := func(what, column, w, g string) *Difference {
		return &Difference{Message: what + " differs", Column: column, Recorded: cut(w), Replayed: cut(g)}
	}
	if want.NumFields() != got.NumFields() {
		return differ("the number of columns", "", strconv.Itoa(want.NumFields()), strconv.Itoa(got.NumFields()))
	}
	for i, w := range want.Fields() {
		g := got.Field(i)
		place := fmt.Sprintf("of column %d (counted from 1)", i+1)
		switch {
		case w.Name != g.Name:
			return differ("the name "+place, w.Name, w.Name, g.Name)
		case !arrow.TypeEqual(w.Type, g.Type, arrow.CheckMetadata()):
			return differ("the type "+place, w.Name, w.Type.String(), g.Type.String())
		case w.Nullable != g.Nullable:
			return differ("the nullability "+place, w.Name, nullability(w), nullability(g))
		case !w.Metadata.Equal(g.Metadata):
			return differ("the metadata "+place, w.Name, w.Metadata.String(), g.Metadata.String())
		}
	}
	if w, g := want.Metadata(), got.Metadata(); !w.Equal(g) {
		return differ("the metadata of the stream", "", w.String(), g.String())
	}
	return nil
}

func nullability(f arrow.Field) string {
	if f.Nullable {
		return "nullable"
	}
	return "not null"
}

// hasFloats reports whether values of a type hold floats, which are compared by their
// bits: NaN is the same as itself, and 0 is not -0.
func hasFloats(t arrow.DataType) bool {
	switch t := t.(type) {
	case *arrow.Float16Type, *arrow.Float32Type, *arrow.Float64Type:
		return true
	case arrow.ExtensionType:
		return hasFloats(t.StorageType())
	case arrow.NestedType:
		for _, f := range t.Fields() {
			if hasFloats(f.Type) {
				return true
			}
		}
	}
	return false
}

// cellsEqual compares one value of an array with one of another of the same type.
func cellsEqual(a arrow.Array, i int, b arrow.Array, j int) bool {
	if a.IsNull(i) || b.IsNull(j) {
		return a.IsNull(i) && b.IsNull(j)
	}
	switch a := a.(type) {
	case *array.Float16:
		return a.Value(i).Uint16() == b.(*array.Float16).Value(j).Uint16()
	case *array.Float32:
		return math.Float32bits(a.Value(i)) == math.Float32bits(b.(*array.Float32).Value(j))
	case *array.Float64:
		return math.Float64bits(a.Value(i)) == math.Float64bits(b.(*array.Float64).Value(j))
	case array.ExtensionArray:
		return cellsEqual(a.Storage(), i, b.(array.ExtensionArray).Storage(), j)
	case *array.Struct:
		other := b.(*array.Struct)
		for f := range a.NumField() {
			if !cellsEqual(a.Field(f), i, other.Field(f), j) {
				return false
			}
		}
		return true
	case array.ListLike:
		other := b.(array.ListLike)
		from, to := a.ValueOffsets(i)
		otherFrom, otherTo := other.ValueOffsets(j)
		if to-from != otherTo-otherFrom {
			return false
		}
		for n := range to - from {
			if !cellsEqual(a.ListValues(), int(from+n), other.ListValues(), int(otherFrom+n)) {
				return false
			}
		}
		return true
	}
	return array.SliceEqual(a, int64(i), int64(i)+1, b, int64(j), int64(j)+1)
}

// longestShown is how many characters of a value are shown.
const longestShown = 200

// shown writes a value; text is quoted, so that it can be told from other things.
func shown(a arrow.Array, i int) string {
	if a.IsNull(i) {
		return "NULL"
	}
	switch a := a.(type) {
	case *array.String:
		return shownValue([]byte(a.Value(i)), false)
	case *array.LargeString:
		return shownValue([]byte(a.Value(i)), false)
	case *array.Binary:
		return shownValue(a.Value(i), false)
	case *array.LargeBinary:
		return shownValue(a.Value(i), false)
	}
	return cut(a.ValueStr(i))
}

// shownValue quotes text, and writes other bytes in hexadecimal digits.
func shownValue(b []byte, more bool) string {
	text := ""
	if len(b) > longestShown {
		b, more = b[:longestShown], true
		for len(b) > longestShown-utf8.UTFMax && !utf8.Valid(b) {
			b = b[:len(b)-1]
		}
	}
	if utf8.Valid(b) {
		text = strconv.Quote(string(b))
	} else {
		text = "0x" + hex.EncodeToString(b)
	}
	if more {
		text += "…"
	}
	return text
}

func cut(text string) string {
	if utf8.RuneCountInString(text) > longestShown {
		return string([]rune(text)[:longestShown]) + "…"
	}
	return text
}
