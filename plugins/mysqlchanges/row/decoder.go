package row

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/plugins/internal/zone"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/internal/octets"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Options say what the settings of the mysql source say, by the same words.
type Options struct {
	// MariaDB is the server's sort, false for MySQL.
	MariaDB bool
	// ZeroDates is null, error or text; empty is error.
	ZeroDates string
	// Geometry is wkb or ewkb; empty is wkb.
	Geometry string
	// Zone is that of the session whose SELECT is the measure. It is needed where a TIMESTAMP is no instant in the schema:
	// with zero_dates: text. An instant needs none.
	Zone *zone.Zone
	// LargestRow bounds a row in bytes of Arrow; 0 is 256 MiB.
	LargestRow int
}

const (
	zeroNull  = "null"
	zeroError = "error"
	zeroText  = "text"

	defaultLargestRow = 256 << 20
)

// Decoder decodes the row images of one table. It is not safe for concurrent use.
type Decoder struct {
	columns []Column
	outputs []output // of the wanted columns, in the schema's order
	inputs  []input  // of all columns, in the table's
	schema  *arrow.Schema
	options Options

	ready     bool // Table was given
	rows      int
	zeroDates int64
	budget    int // what the current row may still take
	scratch   []byte
}

// input is a column of the images.
type input struct {
	output *output // nil: it is skipped
	code   byte    // of the log
	meta   uint16
	size   int // of a value: fixed, or how many bytes its length has where prefixed is true
	prefix bool
}

// NewDecoder makes one of a table's columns, in their order and all of them, of which the wanted ones, by index, are the
// fields of the schema. The schema is what the mysql source gives for a SELECT of them, in that order.
func NewDecoder(columns []Column, wanted []int, schema *arrow.Schema, o Options) (*Decoder, error) {
	if o.ZeroDates == "" {
		o.ZeroDates = zeroError
	}
	if o.LargestRow == 0 {
		o.LargestRow = defaultLargestRow
	}
	if len(wanted) != len(schema.Fields()) {
		return nil, fault.New(CodeColumn, fault.Internal, "%d columns are wanted, and the schema has %d", len(wanted), len(schema.Fields()))
	}
	d := &Decoder{columns: slices.Clone(columns), outputs: make([]output, len(wanted)), inputs: make([]input, len(columns)), schema: schema, options: o}
	for i, n := range wanted {
		if n < 0 || n >= len(columns) || d.inputs[n].output != nil {
			return nil, fault.New(CodeColumn, fault.Internal, "column number %d is wanted twice, or there is none", n)
		}
		if err := d.bind(&d.outputs[i], &d.columns[n], schema.Field(i)); err != nil {
			return nil, err
		}
		d.inputs[n].output = &d.outputs[i]
	}
	return d, nil
}

// Table takes the description that stands in the log before rows of the table. It is a fault of CodeTable when it is not
// that of the columns, by number, types and what else the server logged. No row can be decoded before.
func (d *Decoder) Table(m TableMap) error {
	d.ready = false
	if len(m.Types) != len(d.columns) || len(m.Meta) != len(d.columns) {
		return fault.New(CodeTable, fault.Source, "table %s has %d columns in the log, and %d in the catalogue", m.name(), len(m.Types), len(d.columns)).
			WithHint(hintTable)
	}
	c := checker{m: &m, options: &d.options}
	for i := range d.columns {
		in := &d.inputs[i]
		in.code, in.meta = m.Types[i], m.Meta[i]
		if err := c.column(i, &d.columns[i], in); err != nil {
			return err
		}
		var ok bool
		if in.size, in.prefix, ok = extent(&d.columns[i], in.code, in.meta); !ok {
			return fault.New(CodeTable, fault.Source, "column %q of %s: the log describes its type, 0x%02x, by 0x%04x, which is nothing known",
				d.columns[i].Name, m.name(), in.code, in.meta).WithHint(hintTable)
		}
	}
	d.ready = true
	return nil
}

// extent says how many bytes a value has, or its length has.
func extent(c *Column, code byte, meta uint16) (size int, prefix, ok bool) {
	low, high := int(meta&0xff), int(meta>>8)
	fraction := fractionOf(c.ColumnType)
	switch code {
	case typeTiny, typeYear:
		return 1, false, true
	case typeShort:
		return 2, false, true
	case typeInt24, typeDate, typeNewDate:
		return 3, false, true
	case typeLong:
		return 4, false, true
	case typeLongLong:
		return 8, false, true
	case typeFloat:
		return 4, false, low == 4
	case typeDouble:
		return 8, false, low == 8
	case typeNull:
		return 0, false, true
	case typeTime:
		return hiresTime[fraction], false, true
	case typeDatetime:
		if fraction == 0 {
			return 8, false, true
		}
		return hiresDatetime[fraction], false, true
	case typeTimestamp:
		return hiresTimestamp[fraction], false, true
	case typeTime2:
		return 3 + (low+1)/2, false, low <= 6
	case typeDatetime2:
		return 5 + (low+1)/2, false, low <= 6
	case typeTimestamp2:
		return 4 + (low+1)/2, false, low <= 6
	case typeNewDecimal:
		size, ok = decimalSize(high, low)
		return size, false, ok
	case typeBit:
		if low > 0 {
			high++
		}
		return high, false, high >= 1 && high <= 8 && low < 8
	case typeEnum:
		return low, false, low == 1 || low == 2
	case typeSet:
		return low, false, low >= 1 && low <= 8
	case typeString, typeVarchar, typeVarString, typeVarcharCompressed:
		if meta < 256 {
			return 1, true, true
		}
		return 2, true, true
	case typeBlob, typeBlobCompressed, typeJSON, typeGeometry, typeVector:
		return low, true, low >= 1 && low <= 4
	}
	return 0, false, false
}

// Row decodes the image that data begins with and appends it as a row. present has a bit for each column of the table that
// is in the image, the first column in the lowest bit (columns_present_bitmap of the event). It returns what is behind the
// image. After a fault nothing of the row was appended, and the rows before it are still there.
func (d *Decoder) Row(data, present []byte) (rest []byte, err error) {
	if !d.ready {
		return nil, fault.New(CodeImage, fault.Source, "rows stand in the log without a description of their table before them").
			WithHint("check the server's log with mysqlbinlog")
	}
	if len(present) != (len(d.inputs)+7)/8 {
		return nil, fault.New(CodeImage, fault.Source, "an image says of %d bytes of columns that they are there, and the table has %d columns",
			len(present), len(d.inputs)).WithHint(hintTable)
	}
	d.budget = d.options.LargestRow
	if rest, err = d.row(data, present); err != nil {
		for i := range d.outputs {
			d.outputs[i].cut(d.rows)
		}
		return nil, err
	}
	d.rows++
	return rest, nil
}

func (d *Decoder) row(data, present []byte) ([]byte, error) {
	count := 0
	for i := range d.inputs {
		count += int(bit(present, i))
	}
	r := octets.Reader{Rest: data}
	nulls := r.Take((count + 7) / 8)
	if r.Short {
		return nil, d.truncated()
	}
	n := 0
	for i := range d.inputs {
		in := &d.inputs[i]
		out := in.output
		if bit(present, i) == 0 {
			if out != nil {
				return nil, fault.New(CodeImage, fault.Source, "column %q is not in the log's image of a row", out.field.Name).
					WithHint("set binlog_row_image to FULL; a computed column that is not stored, and not in the log, can be left out of columns")
			}
			continue
		}
		null := bit(nulls, n) == 1
		n++
		if null {
			if out != nil {
				if err := d.null(out); err != nil {
					return nil, err
				}
				out.rows++
			}
			continue
		}
		size := in.size
		if in.prefix {
			length := r.Integer(size)
			if r.Short || length > uint64(len(r.Rest)) {
				return nil, d.truncated()
			}
			size = int(length)
		}
		v := r.Take(size)
		if r.Short {
			return nil, d.truncated()
		}
		if out != nil {
			if err := out.decode(d, in, out, v); err != nil {
				return nil, err
			}
			out.rows++
		}
	}
	return r.Rest, nil
}

func bit(bits []byte, n int) byte { return bits[n>>3] >> (n & 7) & 1 }

// null appends NULL.
func (d *Decoder) null(out *output) error {
	if out.notNull {
		return fault.New(CodeImage, fault.Source,
			"column %q, row %d: NULL in the log, though the catalogue says that it is NOT NULL", out.field.Name, d.rows+1).
			WithHint(hintTable)
	}
	out.null()
	return nil
}

func (d *Decoder) truncated() error {
	return fault.New(CodeImage, fault.Source, "the image of row %d is shorter than its columns are", d.rows+1).WithHint(hintTable)
}

// malformed reports that a value of a column cannot be read.
func (d *Decoder) malformed(out *output) error {
	return fault.New(CodeImage, fault.Source,
		"column %q, row %d: what the log has is not a value of type %s", out.field.Name, d.rows+1, out.column.ColumnType).
		WithHint(hintTable)
}

// zero applies the policy to a date that no calendar has, and that is not text.
func (d *Decoder) zero(out *output) error {
	d.zeroDates++
	if d.options.ZeroDates == zeroNull {
		return d.null(out)
	}
	return fault.New(CodeZeroDate, fault.Data, "column %q, row %d: a zero, partial or impossible date", out.field.Name, d.rows+1).
		WithHint("set zero_dates to null or text, or correct the row")
}

// spend accounts for n bytes of variable length.
func (d *Decoder) spend(out *output, n int) error {
	if d.budget -= n; d.budget < 0 || len(out.values)+n > largestColumn {
		return fault.New(CodeValue, fault.Data, "column %q, row %d: the row has more than %d bytes", out.field.Name, d.rows+1, d.options.LargestRow).
			WithHint("raise max_row_size, or leave the column out of columns")
	}
	return nil
}

// largestColumn keeps a column's offsets within 32 bits.
const largestColumn = 1<<31 - 1

// Rows is how many rows were appended since Record.
func (d *Decoder) Rows() int { return d.rows }

// Bytes is how many bytes of Arrow they take.
func (d *Decoder) Bytes() (n int) {
	for i := range d.outputs {
		o := &d.outputs[i]
		n += len(o.fixed) + len(o.values) + len(o.offsets)*arrow.Int32SizeBytes
	}
	return n
}

// Record takes the rows that were appended, which may be none; the caller releases it. It holds no memory of the images.
func (d *Decoder) Record() arrow.Record {
	arrays := make([]arrow.Array, len(d.outputs))
	for i := range d.outputs {
		arrays[i] = d.outputs[i].array(d.rows)
		defer arrays[i].Release()
	}
	record := array.NewRecord(d.schema, arrays, int64(d.rows))
	d.rows = 0
	return record
}

// ZeroDates takes how many zero, partial and impossible dates were decoded since it was asked last.
func (d *Decoder) ZeroDates() int64 {
	n := d.zeroDates
	d.zeroDates = 0
	return n
}

const hintTable = "the table was altered since its columns were read, or the log is of another server: copy the table anew"

// checker compares the log's description of a table with its columns.
type checker struct {
	m       *TableMap
	options *Options

	numbers, texts, labelled, enums, sets int // columns of the sort so far
}

// column checks the ith column, and takes its labels.
func (c *checker) column(i int, column *Column, in *input) error {
	o := &c.m.Optional
	differs := func(what string) error {
		return fault.New(CodeTable, fault.Source,
			"column %q of %s is %s in the catalogue, and has %s in the log", column.Name, c.m.name(), column.ColumnType, what).
			WithHint(hintTable)
	}
	t, known := types[column.DataType]
	if known && !slices.Contains(t.codes, in.code) {
		return differs("type code 0x" + strconv.FormatUint(uint64(in.code), 16))
	}
	if what := shapeDiffers(column, in); known && what != "" {
		return differs(what)
	}
	if o.Names != nil && (i >= len(o.Names) || o.Names[i] != column.Name) {
		return differs("another name")
	}
	switch in.code {
	case typeYear: // counts as UNSIGNED
		c.numbers++
	case typeTiny, typeShort, typeInt24, typeLong, typeLongLong, typeFloat, typeDouble, typeNewDecimal:
		n := c.numbers
		c.numbers++
		if o.Signedness == nil {
			break
		}
		if n>>3 >= len(o.Signedness) {
			return differs("no sign")
		}
		if unsigned := o.Signedness[n>>3]>>(7-n&7)&1 == 1; unsigned != column.Unsigned() {
			return differs("another sign")
		}
	case typeString, typeVarchar, typeVarString, typeBlob, typeGeometry, typeVarcharCompressed, typeBlobCompressed:
		if in.code == typeGeometry && !c.options.MariaDB {
			break
		}
		id := o.Collations.of(c.texts)
		c.texts++
		if charset := charsetOf(id); charset != "" && known && slices.Contains(textTypes, column.DataType) && charset != column.charset() {
			return differs("the character set " + charset)
		}
	case typeEnum, typeSet:
		id := o.LabelCollations.of(c.labelled)
		c.labelled++
		if charset := charsetOf(id); charset != "" && charset != column.charset() {
			return differs("the character set " + charset)
		}
		logged, n := o.EnumLabels, &c.enums
		if in.code == typeSet {
			logged, n = o.SetLabels, &c.sets
		}
		var labels [][]byte
		if logged != nil && *n < len(logged) {
			labels = logged[*n]
		}
		*n++
		if in.output == nil {
			break
		}
		if what, err := in.output.takeLabels(labels); err != nil {
			return err
		} else if what != "" {
			return differs(what)
		}
	}
	return nil
}

// shapeDiffers compares digits and sizes, as far as both sides tell.
func shapeDiffers(column *Column, in *input) string {
	numbers := numbersOf(column.ColumnType)
	switch in.code {
	case typeTime2, typeDatetime2, typeTimestamp2:
		if fractionOf(column.ColumnType) != int(in.meta) {
			return strconv.Itoa(int(in.meta)) + " digits of a fraction"
		}
	case typeNewDecimal:
		if len(numbers) != 2 || numbers[0] != int(in.meta>>8) || numbers[1] != int(in.meta&0xff) {
			return "decimal(" + strconv.Itoa(int(in.meta>>8)) + "," + strconv.Itoa(int(in.meta&0xff)) + ")"
		}
	case typeBit:
		if bits := int(in.meta>>8)*8 + int(in.meta&0xff); len(numbers) != 1 || numbers[0] != bits {
			return strconv.Itoa(bits) + " bits"
		}
	}
	return ""
}

// takeLabels makes what the log says the labels, in the column's character set, or what the catalogue says. It returns
// how they differ where both say something else.
func (o *output) takeLabels(logged [][]byte) (what string, err error) {
	if logged == nil {
		for _, label := range o.catalogue {
			// The catalogue is UTF-8 of at most three bytes, and has ? for the rest.
			if bytes.IndexByte(label, '?') >= 0 && fullUnicode[o.column.charset()] {
				return "", fault.New(CodeColumn, fault.Source, "column %q: the label %q of its %s may hold a character that the catalogue cannot show",
					o.field.Name, label, o.column.DataType).
					WithHint("set binlog_row_metadata to FULL, so that the log has the labels, or leave the column out of columns")
			}
		}
		o.labels = o.catalogue
		return "", nil
	}
	if len(logged) != len(o.catalogue) {
		return strconv.Itoa(len(logged)) + " labels", nil
	}
	o.labels = make([][]byte, len(logged))
	for i, label := range logged {
		text, ok := o.charset.append(nil, label)
		if !ok {
			return "a label that is not of its character set", nil
		}
		if bytes.IndexByte(o.catalogue[i], '?') < 0 && !bytes.Equal(text, o.catalogue[i]) {
			return "other labels", nil
		}
		o.labels[i] = text
	}
	return "", nil
}

// put64 appends a value of 8 bytes.
func (o *output) put64(v uint64) { o.fixed = binary.LittleEndian.AppendUint64(o.fixed, v) }
