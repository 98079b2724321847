package wire

import (
	"fmt"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
)

// shape is how the values of a type lie in buffers ("Physical memory layout" in Arrow's columnar format). All types
// with the same shape are encoded and decoded by the same code.
type shape uint8

const (
	shapeNull      shape = iota // no buffer
	shapeBits                   // validity, one bit per value
	shapeFixed                  // validity, width bytes per value
	shapeBytes                  // validity, offsets of width bytes, data
	shapeList                   // validity, offsets of width bytes; one child
	shapeFixedList              // validity; one child, width values per value
	shapeStruct                 // validity; children of the same length
)

// layout is one field of a schema, nested ones included, in the order of the record batch's field nodes.
type layout struct {
	dtype    arrow.DataType // as declared, extension types not unwrapped
	shape    shape
	width    int // bytes per value or offset, or values per value of a fixed-size list
	noNulls  bool
	children []*layout

	name   string
	parent *layout
}

// shapes says how each supported type is laid out. The width of fixed-width types is the type's own.
var shapes = map[arrow.Type]struct {
	shape shape
	width int
}{
	arrow.NULL:                    {shapeNull, 0},
	arrow.BOOL:                    {shapeBits, 0},
	arrow.INT8:                    {shapeFixed, 0},
	arrow.INT16:                   {shapeFixed, 0},
	arrow.INT32:                   {shapeFixed, 0},
	arrow.INT64:                   {shapeFixed, 0},
	arrow.UINT8:                   {shapeFixed, 0},
	arrow.UINT16:                  {shapeFixed, 0},
	arrow.UINT32:                  {shapeFixed, 0},
	arrow.UINT64:                  {shapeFixed, 0},
	arrow.FLOAT16:                 {shapeFixed, 0},
	arrow.FLOAT32:                 {shapeFixed, 0},
	arrow.FLOAT64:                 {shapeFixed, 0},
	arrow.DECIMAL128:              {shapeFixed, 0},
	arrow.DECIMAL256:              {shapeFixed, 0},
	arrow.DATE32:                  {shapeFixed, 0},
	arrow.DATE64:                  {shapeFixed, 0},
	arrow.TIME32:                  {shapeFixed, 0},
	arrow.TIME64:                  {shapeFixed, 0},
	arrow.TIMESTAMP:               {shapeFixed, 0},
	arrow.DURATION:                {shapeFixed, 0},
	arrow.INTERVAL_MONTHS:         {shapeFixed, 0},
	arrow.INTERVAL_DAY_TIME:       {shapeFixed, 0},
	arrow.INTERVAL_MONTH_DAY_NANO: {shapeFixed, 0},
	arrow.FIXED_SIZE_BINARY:       {shapeFixed, 0},
	arrow.BINARY:                  {shapeBytes, 4},
	arrow.STRING:                  {shapeBytes, 4},
	arrow.LARGE_BINARY:            {shapeBytes, 8},
	arrow.LARGE_STRING:            {shapeBytes, 8},
	arrow.LIST:                    {shapeList, 4},
	arrow.MAP:                     {shapeList, 4},
	arrow.LARGE_LIST:              {shapeList, 8},
	arrow.FIXED_SIZE_LIST:         {shapeFixedList, 0},
	arrow.STRUCT:                  {shapeStruct, 0},
}

// layoutsOf lays out all columns of a schema, or says which column cannot be carried.
func layoutsOf(schema *arrow.Schema) ([]*layout, error) {
	if !schema.IsNativeEndian() {
		return nil, unsupported("the schema is %s-endian; expected little-endian", schema.Endianness())
	}
	left := maxFields
	cols := make([]*layout, schema.NumFields())
	for i, f := range schema.Fields() {
		c, err := layoutOf(f.Name, f.Type, nil, 1, &left)
		if err != nil {
			return nil, err
		}
		cols[i] = c
	}
	return cols, nil
}

func layoutOf(name string, dt arrow.DataType, parent *layout, depth int, left *int) (*layout, error) {
	l := &layout{dtype: dt, name: name, parent: parent}
	if *left--; *left < 0 {
		return nil, fmt.Errorf("%w: the schema has more than %d fields", ErrTooLarge, maxFields)
	}
	if depth > maxDepth {
		return nil, unsupported("%s is nested more than %d levels deep", l, maxDepth)
	}
	storage := dt
	for unwrapped := 0; ; unwrapped++ {
		ext, ok := storage.(arrow.ExtensionType)
		if !ok {
			break
		}
		if unwrapped == maxDepth {
			return nil, unsupported("%s is an extension type that never comes to its storage", l)
		}
		storage = ext.StorageType()
	}
	if storage == nil {
		return nil, unsupported("%s has no type", l)
	}
	s, ok := shapes[storage.ID()]
	if !ok {
		return nil, unsupported("%s has type %s; cast it to a plain type before it leaves its stage", l, storage.Name())
	}
	l.shape, l.width = s.shape, s.width

	var kids []arrow.Field
	switch t := storage.(type) {
	case *arrow.FixedSizeBinaryType:
		if t.ByteWidth < 0 {
			return nil, malformed("%s has a width of %d bytes", l, t.ByteWidth)
		}
		l.width = t.ByteWidth
	case arrow.DecimalType:
		// The scale is bounded like the digits: a peer could make the text of a value endless with a larger one.
		const digits128, digits256 = 38, 76
		most := int32(digits128)
		l.width = arrow.Decimal128SizeBytes
		if storage.ID() == arrow.DECIMAL256 {
			most, l.width = digits256, arrow.Decimal256SizeBytes
		}
		if p := t.GetPrecision(); p < 1 || p > most {
			return nil, malformed("%s has decimal precision %d; expected 1 to %d", l, p, most)
		}
		if s := t.GetScale(); s < -digits256 || s > digits256 {
			return nil, malformed("%s has decimal scale %d; expected -%d to %d", l, s, digits256, digits256)
		}
	case *arrow.BooleanType:
	case arrow.FixedWidthDataType:
		l.width = t.BitWidth() / 8
	case *arrow.FixedSizeListType:
		if t.Len() < 1 {
			return nil, malformed("%s has %d values in a list; expected at least 1", l, t.Len())
		}
		l.width = int(t.Len())
		kids = []arrow.Field{t.ElemField()}
	case arrow.NestedType:
		kids = t.Fields()
	}
	for _, f := range kids {
		c, err := layoutOf(f.Name, f.Type, l, depth+1, left)
		if err != nil {
			return nil, err
		}
		l.children = append(l.children, c)
	}
	if storage.ID() == arrow.MAP {
		// The format forbids null entries and null keys, and arrow panics on them.
		l.children[0].noNulls = true
		l.children[0].children[0].noNulls = true
	}
	return l, nil
}

// String names the column for error texts: column "visit"."item"."code". Long names are cut; a peer chose them.
func (l *layout) String() string {
	const most = 64
	var parts []string
	for f := l; f != nil; f = f.parent {
		n := f.name
		if len(n) > most {
			n = n[:most] + "…"
		}
		parts = append(parts, fmt.Sprintf("%q", n))
	}
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return "column " + strings.Join(parts, ".")
}
