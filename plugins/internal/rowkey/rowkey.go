// Package rowkey makes bytes of the values of some columns of a row, such that two rows have the same bytes just when
// those values are the same. It owns that form, which filters hash and which therefore never changes; it never decides
// what a key is for.
package rowkey

import (
	"encoding/binary"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/format"
	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Doc says what the text of a value is, for the documentation of a stage.
const Doc = `a value's text
is what the encoders spell, and of text and binary its bytes. So decimals are the same by their value, texts by their bytes (ANNA is not
Anna, and a space at the end counts), and NULL is the same as NULL. A float is no key, and neither is a nested column.`

// Reader makes the keys of batches. It is for one goroutine.
type Reader struct {
	// Indexes are the columns of the key.
	Indexes []int

	columns []format.Column
	scratch []byte
}

// New finds the columns that names mean. The codes of its faults begin with the stage's name. Of a column of which only
// the name is known it checks no more.
func New(schema *arrow.Schema, names []string, stage string) (*Reader, error) {
	r := &Reader{}
	problem := func(code, message string, args ...any) *fault.Fault {
		return fault.New(stage+"."+code, fault.Usage, message, args...).WithDetail(fault.DetailSetting, "/by")
	}
	for _, name := range names {
		found := naming.Find(schema, name)
		switch len(found) {
		case 1:
		case 0:
			all := naming.Names(schema)
			return nil, problem("unknown_column", "by names %q, and there is no such column%s", name, naming.DidYouMean(name, all)).
				WithHint("the columns are: %s", strings.Join(all, ", "))
		default:
			return nil, problem("ambiguous", "by names %q, which %d columns are called: write %q, %q …", name, len(found), name+"#1", name+"#2")
		}
		f := schema.Field(found[0])
		r.Indexes = append(r.Indexes, found[0])
		if naming.Unknown(f) {
			r.columns = append(r.columns, format.Column{})
			continue
		}
		if f.Type.ID() == arrow.FLOAT16 || f.Type.ID() == arrow.FLOAT32 || f.Type.ID() == arrow.FLOAT64 {
			return nil, problem("float_key", "column %q is %s, which is no key: floats that print alike may differ", name, sdk.TypeName(f)).
				WithHint("cast it to string first, with the filter columns")
		}
		columns, err := format.ColumnsOf(arrow.NewSchema([]arrow.Field{f}, nil))
		if err != nil {
			return nil, problem("unfit_key", "column %q is %s, which is no key", name, sdk.TypeName(f))
		}
		r.columns = append(r.columns, columns[0])
		r.scratch = make([]byte, max(len(r.scratch), columns[0].Max+format.Slack))
	}
	return r, nil
}

// Load points the reader at a batch, which stays alive until Unload.
func (r *Reader) Load(in arrow.Record) {
	for i, index := range r.Indexes {
		r.columns[i].Load(in.Column(index))
	}
}

// Unload forgets the batch.
func (r *Reader) Unload() {
	for i := range r.columns {
		r.columns[i].Unload()
	}
}

// Append appends the key of a row of the batch.
func (r *Reader) Append(b []byte, row int) ([]byte, error) {
	for i := range r.columns {
		c := &r.columns[i]
		if c.IsNull(row) {
			b = append(b, 0)
			continue
		}
		value, exact := c.Spell(r.scratch, row)
		if !exact {
			return b, fault.New("rowkey.inexact_fraction", fault.Data,
				"column %q holds a time with more fractional digits than the column declares", c.Name).InRow(row)
		}
		b = append(b, 1)
		b = binary.BigEndian.AppendUint64(b, uint64(len(value)))
		b = append(b, value...)
	}
	return b, nil
}
