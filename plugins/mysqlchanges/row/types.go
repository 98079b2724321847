package row

import (
	"encoding/binary"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/scaled"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

type decodeFunc = func(d *Decoder, in *input, out *output, v []byte) error

// columnType is what a type of the catalogue is in the log, and in Arrow.
type columnType struct {
	codes  []byte // that the log may have for it
	arrow  arrow.Type
	decode decodeFunc
}

var (
	charCodes = []byte{typeString, typeVarchar, typeVarString, typeVarcharCompressed}
	blobCodes = []byte{typeBlob, typeBlobCompressed}
)

// types are by DATA_TYPE. A column of dates is of another Arrow type with zero_dates: text, and one of numbers where it is
// UNSIGNED (see bind).
var types = func() map[string]columnType {
	t := map[string]columnType{
		"tinyint":   {[]byte{typeTiny}, arrow.INT8, decodeInteger},
		"smallint":  {[]byte{typeShort}, arrow.INT16, decodeInteger},
		"mediumint": {[]byte{typeInt24}, arrow.INT32, decodeInteger},
		"int":       {[]byte{typeLong}, arrow.INT32, decodeInteger},
		"bigint":    {[]byte{typeLongLong}, arrow.INT64, decodeInteger},
		"float":     {[]byte{typeFloat}, arrow.FLOAT32, decodeFixed},
		"double":    {[]byte{typeDouble}, arrow.FLOAT64, decodeFixed},
		"decimal":   {[]byte{typeNewDecimal}, arrow.DECIMAL128, decodeDecimal},
		"bit":       {[]byte{typeBit}, arrow.UINT64, decodeBit},
		"year":      {[]byte{typeYear}, arrow.UINT16, decodeYear},
		"date":      {[]byte{typeDate, typeNewDate}, arrow.DATE32, decodeDate},
		"datetime":  {[]byte{typeDatetime, typeDatetime2}, arrow.TIMESTAMP, decodeDatetime},
		"timestamp": {[]byte{typeTimestamp, typeTimestamp2}, arrow.TIMESTAMP, decodeTimestamp},
		"time":      {[]byte{typeTime, typeTime2}, arrow.DURATION, decodeTime},
		"char":      {charCodes, arrow.STRING, decodeText},
		"varchar":   {charCodes, arrow.STRING, decodeText},
		"binary":    {charCodes, arrow.BINARY, decodeBytes},
		"varbinary": {charCodes, arrow.BINARY, decodeBytes},
		"enum":      {[]byte{typeEnum}, arrow.STRING, decodeEnum},
		"set":       {[]byte{typeSet}, arrow.STRING, decodeSet},
		"json":      {[]byte{typeJSON}, arrow.STRING, decodeJSON},
		"vector":    {append([]byte{typeVector}, charCodes...), arrow.BINARY, decodeBytes},
		"inet4":     {charCodes, arrow.STRING, decodeINET4},
		"inet6":     {charCodes, arrow.STRING, decodeINET6},
		"uuid":      {charCodes, arrow.STRING, decodeUUID},
	}
	for _, size := range []string{"tiny", "", "medium", "long"} {
		t[size+"text"] = columnType{blobCodes, arrow.STRING, decodeText}
		t[size+"blob"] = columnType{blobCodes, arrow.BINARY, decodeBytes}
	}
	for _, name := range []string{"geometry", "point", "linestring", "polygon",
		"multipoint", "multilinestring", "multipolygon", "geomcollection", "geometrycollection"} {
		t[name] = columnType{[]byte{typeGeometry}, arrow.BINARY, decodeGeometry}
	}
	return t
}()

var unsigned = map[arrow.Type]arrow.Type{arrow.INT8: arrow.UINT8, arrow.INT16: arrow.UINT16, arrow.INT32: arrow.UINT32, arrow.INT64: arrow.UINT64}

// bind prepares an output for a column, which must be what its field of the schema says.
func (d *Decoder) bind(out *output, c *Column, field arrow.Field) error {
	t, known := types[c.DataType]
	if !known {
		return fault.New(CodeColumn, fault.Source, "column %q is %s, which this program cannot read from the log", c.Name, c.ColumnType).
			WithHint("leave it out of columns")
	}
	*out = output{field: field, column: c, notNull: !field.Nullable, decode: t.decode, fraction: fractionOf(c.ColumnType)}
	want := t.arrow
	switch {
	case c.Unsigned() && unsigned[want] != 0:
		want = unsigned[want]
	case want == arrow.DECIMAL128 && field.Type.ID() == arrow.DECIMAL256:
		want = arrow.DECIMAL256
	case d.options.ZeroDates == zeroText && (want == arrow.DATE32 || want == arrow.TIMESTAMP):
		want = arrow.STRING
	}
	fits := field.Name == c.Name && field.Type.ID() == want
	switch t := field.Type.(type) {
	case *arrow.TimestampType:
		fits = fits && out.unit(t.Unit)
		if c.DataType == "datetime" {
			fits = fits && t.TimeZone == ""
		} else if t.TimeZone == "" && d.options.Zone == nil {
			return zoneUnknown(c)
		}
	case *arrow.DurationType:
		fits = fits && out.unit(t.Unit)
	case arrow.DecimalType:
		numbers := numbersOf(c.ColumnType)
		fits = fits && len(numbers) == 2 && int(t.GetPrecision()) == numbers[0] && int(t.GetScale()) == numbers[1]
	case *arrow.StringType:
		if c.DataType == "timestamp" && d.options.Zone == nil {
			return zoneUnknown(c)
		}
	}
	if !fits {
		return fault.New(CodeColumn, fault.Source, "column %q is %s in the catalogue, and was described as column %q of type %s",
			c.Name, c.ColumnType, field.Name, field.Type).
			WithHint("the table was altered while its columns were read: run again")
	}
	if fixed, ok := field.Type.(arrow.FixedWidthDataType); ok {
		out.width = fixed.Bytes()
	}
	switch c.DataType {
	case "binary":
		if numbers := numbersOf(c.ColumnType); len(numbers) == 1 {
			out.pad = numbers[0]
		}
	case "enum", "set":
		labels, ok := labelsOf(c.ColumnType)
		if !ok {
			return fault.New(CodeColumn, fault.Source, "column %q: the labels of %s cannot be read", c.Name, c.ColumnType).
				WithHint("leave it out of columns")
		}
		out.catalogue = labels
	}
	if want == arrow.STRING && c.DataType != "json" {
		if out.charset = findCharset(c.charset()); out.charset == nil {
			return fault.New(CodeColumn, fault.Source, "column %q has the character set %s, which this program does not know", c.Name, c.Charset).
				WithHint("leave it out of columns, or convert the column to utf8mb4")
		}
	}
	out.begin(0, 0)
	return nil
}

func zoneUnknown(c *Column) error {
	return fault.New(CodeColumn, fault.Source, "column %q is a TIMESTAMP, whose local time is wanted, and nobody knows the session's time zone", c.Name).
		WithHint("set time_zone, or zero_dates to null or error")
}

// unit takes a unit of time, which must be the one of the column's digits.
func (o *output) unit(u arrow.TimeUnit) bool {
	switch {
	case o.fraction == 0:
		o.perSecond, o.microTick = 1, 1e6
		return u == arrow.Second
	case o.fraction <= 3:
		o.perSecond, o.microTick = 1e3, 1e3
		return u == arrow.Millisecond
	}
	o.perSecond, o.microTick = 1e6, 1
	return u == arrow.Microsecond
}

// numbersOf reads the numbers in the brackets of a type: decimal(10,2) has 10 and 2.
func numbersOf(columnType string) (numbers []int) {
	_, inside, found := strings.Cut(columnType, "(")
	if !found {
		return nil
	}
	n, digits := 0, 0
	for _, c := range []byte(inside) {
		switch {
		case c >= '0' && c <= '9' && digits < 9:
			n = n*10 + int(c-'0')
			digits++
		case (c == ',' || c == ')') && digits > 0:
			numbers = append(numbers, n)
			if n, digits = 0, 0; c == ')' {
				return numbers
			}
		default:
			return nil
		}
	}
	return nil
}

// fractionOf is how many digits of a second a type of time has: the 3 of datetime(3).
func fractionOf(columnType string) int {
	if numbers := numbersOf(columnType); len(numbers) == 1 {
		return min(numbers[0], 6)
	}
	return 0
}

// labelsOf reads the labels of enum('a','b'): a quote is doubled, and what a literal escapes is escaped.
func labelsOf(columnType string) (labels [][]byte, ok bool) {
	_, rest, found := strings.Cut(columnType, "(")
	if !found {
		return nil, false
	}
	for {
		if rest, found = strings.CutPrefix(rest, "'"); !found {
			return nil, false
		}
		label := []byte{}
		for closed := false; !closed; {
			if rest == "" {
				return nil, false
			}
			c := rest[0]
			rest = rest[1:]
			switch {
			case c == '\'' && strings.HasPrefix(rest, "'"):
				label, rest = append(label, '\''), rest[1:]
			case c == '\'':
				closed = true
			case c == '\\' && rest != "":
				escaped := rest[0]
				rest = rest[1:]
				switch escaped {
				case '0':
					escaped = 0
				case 'n':
					escaped = '\n'
				case 'r':
					escaped = '\r'
				}
				label = append(label, escaped)
			default:
				label = append(label, c)
			}
		}
		labels = append(labels, label)
		if rest, found = strings.CutPrefix(rest, ","); !found {
			return labels, strings.HasPrefix(rest, ")")
		}
	}
}

// decodeInteger copies a number, and makes four bytes of the three of a MEDIUMINT.
func decodeInteger(_ *Decoder, in *input, out *output, v []byte) error {
	out.fixed = append(out.fixed, v...)
	if in.code == typeInt24 {
		high := byte(0)
		if v[2]&0x80 != 0 && out.field.Type.ID() == arrow.INT32 {
			high = 0xff
		}
		out.fixed = append(out.fixed, high)
	}
	return nil
}

func decodeFixed(_ *Decoder, _ *input, out *output, v []byte) error {
	out.fixed = append(out.fixed, v...)
	return nil
}

func decodeDecimal(d *Decoder, in *input, out *output, v []byte) error {
	var buffer [mostDigits]byte
	scale := int(in.meta & 0xff)
	whole, fraction, negative, ok := decimalDigits(buffer[:0], v, int(in.meta>>8), scale)
	if !ok {
		return d.malformed(out)
	}
	if out.width == 16 {
		hi, lo := scaled.Int128(whole, fraction, scale, negative)
		out.put64(lo)
		out.put64(hi)
		return nil
	}
	for _, word := range scaled.Int256(whole, fraction, scale, negative) {
		out.put64(word)
	}
	return nil
}

func decodeBit(d *Decoder, in *input, out *output, v []byte) error {
	n := bigEndian(v)
	if bits := int(in.meta>>8)*8 + int(in.meta&0xff); bits < 64 && n>>bits != 0 {
		return d.malformed(out)
	}
	out.put64(n)
	return nil
}

// decodeYear reads the years since 1900; 0 is the year 0.
func decodeYear(_ *Decoder, _ *input, out *output, v []byte) error {
	year := uint16(v[0])
	if year > 0 {
		year += 1900
	}
	out.fixed = binary.LittleEndian.AppendUint16(out.fixed, year)
	return nil
}

func decodeDate(d *Decoder, _ *input, out *output, v []byte) error {
	m, ok := date3(v)
	if !ok {
		return d.malformed(out)
	}
	if out.width == 0 {
		if !m.onCalendar() {
			d.zeroDates++
		}
		out.values = m.appendDate(out.values)
		out.end()
		return nil
	}
	if !m.onCalendar() {
		return d.zero(out)
	}
	out.fixed = binary.LittleEndian.AppendUint32(out.fixed, uint32(int32(m.days())))
	return nil
}

func decodeDatetime(d *Decoder, in *input, out *output, v []byte) error {
	var m moment
	var ok bool
	switch {
	case in.code == typeDatetime2:
		m, ok = datetime2(v)
	case out.fraction == 0:
		m, ok = oldDatetime(v)
	default:
		m, ok = hiresMoment(v, out.fraction)
	}
	if !ok {
		return d.malformed(out)
	}
	return d.moment(out, m)
}

// moment appends a DATETIME, or a TIMESTAMP as local time.
func (d *Decoder) moment(out *output, m moment) error {
	if out.width == 0 {
		if !m.onCalendar() {
			d.zeroDates++
		}
		out.values = m.appendTime(append(m.appendDate(out.values), ' '), out.fraction)
		out.end()
		return nil
	}
	if !m.onCalendar() {
		return d.zero(out)
	}
	return d.ticks(out, m.seconds(), m.micro)
}

// ticks appends seconds and microseconds in the column's unit.
func (d *Decoder) ticks(out *output, seconds int64, micro int) error {
	if micro%out.microTick != 0 {
		return d.malformed(out)
	}
	out.put64(uint64(seconds*out.perSecond + int64(micro/out.microTick)))
	return nil
}

// decodeTimestamp reads seconds since 1970 of UTC; 0 is a zero date.
func decodeTimestamp(d *Decoder, in *input, out *output, v []byte) error {
	var second int64
	var micro int
	ok := true
	switch in.code {
	case typeTimestamp2:
		second = int64(bigEndian(v[:4]))
		micro, ok = microsOf(bigEndian(v[4:]), len(v)-4)
	case typeTimestamp:
		second = int64(binary.LittleEndian.Uint32(v))
		if digits := out.fraction; digits > 0 { // MariaDB's own
			second = int64(bigEndian(v[:4]))
			n := bigEndian(v[4:])
			micro, ok = int(n*scaled.Pow10[6-digits]), n < scaled.Pow10[digits]
		}
	}
	if !ok {
		return d.malformed(out)
	}
	instant := false
	if t, is := out.field.Type.(*arrow.TimestampType); is {
		instant = t.TimeZone != ""
	}
	switch {
	case second == 0 && micro == 0 && out.width == 0:
		return d.moment(out, moment{})
	case second == 0 && micro == 0:
		return d.zero(out)
	case instant:
		return d.ticks(out, second, micro)
	}
	return d.moment(out, momentAt(second+d.options.Zone.At(second).Offset, micro))
}

func decodeTime(d *Decoder, in *input, out *output, v []byte) error {
	var t duration
	var ok bool
	switch {
	case in.code == typeTime2:
		t, ok = time2(v)
	case out.fraction == 0:
		t, ok = oldTime(v)
	default:
		t, ok = hiresDuration(v, out.fraction)
	}
	if !ok || t.micro%out.microTick != 0 {
		return d.malformed(out)
	}
	ticks := t.seconds()*out.perSecond + int64(t.micro/out.microTick)
	if t.negative {
		ticks = -ticks
	}
	out.put64(uint64(ticks))
	return nil
}

func decodeText(d *Decoder, in *input, out *output, v []byte) error {
	v, err := d.plain(in, out, v)
	if err != nil {
		return err
	}
	return d.text(out, v)
}

// text appends text of the column's character set.
func (d *Decoder) text(out *output, v []byte) error {
	if err := d.spend(out, len(v)); err != nil {
		return err
	}
	before := len(out.values)
	var ok bool
	if out.values, ok = out.charset.append(out.values, v); !ok {
		return fault.New(CodeValue, fault.Data, "column %q, row %d: the text is not of its character set %s", out.field.Name, d.rows+1, out.column.Charset).
			WithHint("correct the row, or leave the column out of columns")
	}
	if err := d.spend(out, max(0, len(out.values)-before-len(v))); err != nil {
		return err
	}
	out.end()
	return nil
}

func decodeBytes(d *Decoder, in *input, out *output, v []byte) error {
	v, err := d.plain(in, out, v)
	if err != nil {
		return err
	}
	n := max(len(v), out.pad)
	if err := d.spend(out, n); err != nil {
		return err
	}
	out.values = append(out.values, v...)
	for range n - len(v) { // of BINARY the log leaves zeros at the end out
		out.values = append(out.values, 0)
	}
	out.end()
	return nil
}

func decodeEnum(d *Decoder, _ *input, out *output, v []byte) error {
	n := int(v[0])
	if len(v) == 2 {
		n |= int(v[1]) << 8
	}
	if n > len(out.labels) {
		return d.malformed(out)
	}
	if n > 0 { // 0 is what was no label, and is the empty text
		if err := d.spend(out, len(out.labels[n-1])); err != nil {
			return err
		}
		out.values = append(out.values, out.labels[n-1]...)
	}
	out.end()
	return nil
}

func decodeSet(d *Decoder, _ *input, out *output, v []byte) error {
	n, before := uint64(0), len(out.values)
	for i, octet := range v {
		n |= uint64(octet) << (8 * i)
	}
	for i := 0; n > 0; i, n = i+1, n>>1 {
		if n&1 == 0 {
			continue
		}
		if i >= len(out.labels) {
			return d.malformed(out)
		}
		if len(out.values) > before {
			out.values = append(out.values, ',')
		}
		out.values = append(out.values, out.labels[i]...)
	}
	if err := d.spend(out, len(out.values)-before); err != nil {
		return err
	}
	out.end()
	return nil
}

func decodeJSON(d *Decoder, _ *input, out *output, v []byte) error {
	before := len(out.values)
	var ok bool
	if out.values, ok = appendJSON(out.values, v); !ok {
		return d.malformed(out)
	}
	if err := d.spend(out, len(out.values)-before); err != nil {
		return err
	}
	out.end()
	return nil
}

// decodeGeometry reads the SRID, of four bytes, and well-known binary behind it.
func decodeGeometry(d *Decoder, _ *input, out *output, v []byte) error {
	const srid, head, hasSRID = 4, 5, 0x20000000
	if len(v) < srid+head {
		return d.malformed(out)
	}
	if err := d.spend(out, len(v)); err != nil {
		return err
	}
	if d.options.Geometry != "ewkb" || binary.LittleEndian.Uint32(v) == 0 {
		out.values = append(out.values, v[srid:]...)
	} else {
		if v[srid] != 1 { // little-endian, as servers store it
			return d.malformed(out)
		}
		out.values = append(out.values, 1)
		out.values = binary.LittleEndian.AppendUint32(out.values, binary.LittleEndian.Uint32(v[srid+1:])|hasSRID)
		out.values = append(out.values, v[:srid]...)
		out.values = append(out.values, v[srid+head:]...)
	}
	out.end()
	return nil
}

// fullUnicode are the character sets that have characters which UTF-8 of three bytes has not.
var fullUnicode = map[string]bool{"utf8mb4": true, "utf16": true, "utf16le": true, "utf32": true, "gb18030": true}

// textTypes are the types of text and bytes, of which the log may say the character set.
var textTypes = []string{"char", "varchar", "binary", "varbinary", "tinytext", "text", "mediumtext", "longtext",
	"tinyblob", "blob", "mediumblob", "longblob"}
