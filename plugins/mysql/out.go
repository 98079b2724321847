package mysql

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// resultSetOut is the value of the setting result_set that asks for what a procedure's OUT and
// INOUT parameters hold after the call.
const resultSetOut = "out"

// outParameter is an OUT or INOUT parameter of a call, and the user variable that takes it.
type outParameter struct {
	parameterInfo
	variable string
}

// outTypes are the types of parameters, as columns of a result have them. The length of a
// text is in characters, and of everything else as the server announces it.
var outTypes = map[string]columnDef{
	"tinyint":   {typ: typeTiny, length: 4, charset: charsetBinary},
	"smallint":  {typ: typeShort, length: 6, charset: charsetBinary},
	"mediumint": {typ: typeInt24, length: 9, charset: charsetBinary},
	"int":       {typ: typeLong, length: 11, charset: charsetBinary},
	"integer":   {typ: typeLong, length: 11, charset: charsetBinary},
	"bigint":    {typ: typeLongLong, length: 20, charset: charsetBinary},
	"decimal":   {typ: typeNewDecimal, charset: charsetBinary},
	"numeric":   {typ: typeNewDecimal, charset: charsetBinary},
	"dec":       {typ: typeNewDecimal, charset: charsetBinary},
	"float":     {typ: typeFloat, charset: charsetBinary},
	"double":    {typ: typeDouble, charset: charsetBinary},
	"real":      {typ: typeDouble, charset: charsetBinary},
	"bit":       {typ: typeBit, charset: charsetBinary, flags: flagUnsigned},
	"year":      {typ: typeYear, length: 4, charset: charsetBinary, flags: flagUnsigned},
	"date":      {typ: typeDate, length: 10, charset: charsetBinary},
	"datetime":  {typ: typeDatetime, length: 26, charset: charsetBinary},
	"timestamp": {typ: typeTimestamp, length: 26, charset: charsetBinary},
	"time":      {typ: typeTime, length: 17, charset: charsetBinary},

	"char":       {typ: typeString, length: 1},
	"varchar":    {typ: typeVarString, length: 1},
	"tinytext":   {typ: typeBlob, length: 1<<8 - 1},
	"text":       {typ: typeBlob, length: 1<<16 - 1},
	"mediumtext": {typ: typeBlob, length: 1<<24 - 1},
	"longtext":   {typ: typeBlob, length: (1<<32 - 1) / utf8mb4Bytes},
	"enum":       {typ: typeString, flags: flagEnum},
	"set":        {typ: typeString, flags: flagSet},
	"json":       {typ: typeJSON, length: (1<<32 - 1) / utf8mb4Bytes},
	"uuid":       {typ: typeString, length: 36},
	"inet4":      {typ: typeString, length: 15},
	"inet6":      {typ: typeString, length: 39},

	"binary":     {typ: typeString, length: 1, charset: charsetBinary},
	"varbinary":  {typ: typeVarString, length: 1, charset: charsetBinary},
	"tinyblob":   {typ: typeBlob, length: 1<<8 - 1, charset: charsetBinary},
	"blob":       {typ: typeBlob, length: 1<<16 - 1, charset: charsetBinary},
	"mediumblob": {typ: typeBlob, length: 1<<24 - 1, charset: charsetBinary},
	"longblob":   {typ: typeBlob, length: 1<<32 - 1, charset: charsetBinary},

	"geometry":           {typ: typeGeometry, charset: charsetBinary},
	"point":              {typ: typeGeometry, charset: charsetBinary},
	"linestring":         {typ: typeGeometry, charset: charsetBinary},
	"polygon":            {typ: typeGeometry, charset: charsetBinary},
	"multipoint":         {typ: typeGeometry, charset: charsetBinary},
	"multilinestring":    {typ: typeGeometry, charset: charsetBinary},
	"multipolygon":       {typ: typeGeometry, charset: charsetBinary},
	"geometrycollection": {typ: typeGeometry, charset: charsetBinary},
	"geomcollection":     {typ: typeGeometry, charset: charsetBinary},
}

// collationUTF8MB4 is utf8mb4_general_ci, in whose character set text arrives.
const collationUTF8MB4 = 45

// column is the column that a parameter would be in a table.
func (p *outParameter) column() (columnDef, error) {
	t := parseParamType(p.typ)
	d, ok := outTypes[t.name]
	if !ok {
		return d, fault.New(codeType, fault.Source, "parameter %q is of type %s, whose value cannot be delivered", p.name, shown(p.typ)).
			WithHint("let the procedure SELECT it")
	}
	d.name = p.name
	if t.unsigned {
		d.flags |= flagUnsigned
	}
	switch d.typ {
	case typeNewDecimal:
		precision, scale := t.size(0, 10), t.size(1, 0)
		d.length, d.decimals = uint32(precision), byte(scale)
		if scale > 0 {
			d.length++
		}
		if !t.unsigned {
			d.length++
		}
	case typeDatetime, typeTimestamp, typeTime:
		d.decimals = byte(t.size(0, 0))
	case typeTiny, typeBit:
		d.length = uint32(t.size(0, max(1, int(d.length))))
	case typeString, typeVarString:
		d.length = uint32(t.size(0, int(d.length)))
	}
	if d.charset == 0 {
		d.charset, d.length = collationUTF8MB4, d.length*utf8mb4Bytes
	}
	return d, nil
}

// selected is the variable as it is read. A user variable holds a BIT as a number, and a
// column as its bytes.
func (p *outParameter) selected(d *columnDef) string {
	if d.typ == typeBit {
		return "UNHEX(LPAD(HEX(" + p.variable + "), 16, '0'))"
	}
	return p.variable
}

// beginOut makes what the call left in the user variables the one row of the result. What
// is wrong with the call itself is found before, because reading the variables is a
// statement of its own.
//
// The row comes as text: a user variable knows whole numbers, decimals, doubles and texts
// only, whose texts are exact, and the parameters' types say what they are.
func (s *source) beginOut() (*arrow.Schema, error) {
	s.out = true
	defs := make([]columnDef, len(s.outs))
	selected := make([]string, len(s.outs))
	for i := range s.outs {
		var err error
		if defs[i], err = s.outs[i].column(); err != nil {
			return nil, err
		}
		selected[i] = s.outs[i].selected(&defs[i])
	}
	if err := s.conclude(); err != nil {
		return nil, err
	}
	s.session.c.limit = bound{bytes: int(s.settings.MaxRowSize)}
	s.results, s.binary = &results{c: s.session.c}, false
	if err := s.session.c.command(commandQuery, []byte("SELECT "+strings.Join(selected, ", "))); err != nil {
		return nil, err
	}
	came, _, err := s.results.next()
	if err != nil {
		return nil, err
	}
	if len(came) != len(defs) {
		return nil, protocolFault("%d variables were asked for, and %d columns came", len(defs), len(came))
	}
	return s.bind(defs)
}

// noOutParameters reports that result_set: out was asked of a statement without any.
func noOutParameters(doing string) error {
	return fault.New(codeNoResultSet, fault.Source, "%s: OUT parameters were asked for, and it gave none", doing).
		WithHint("leave result_set: out and out_parameters away, or let the server prepare the call (protocol)")
}

// resultSet reads the setting result_set: a number, or out.
func (s *Settings) resultSet() (number int, out bool, err error) {
	text, isText := s.ResultSet.(string)
	if !isText { // a number, as it was written
		text = fmt.Sprint(s.ResultSet)
	}
	if text == resultSetOut {
		return 0, true, nil
	}
	number, failed := strconv.Atoi(text)
	if failed != nil || number < 0 {
		return 0, false, settingsFault("result_set is neither a number from 0 nor out")
	}
	if number > 0 && s.Request.OutParameters {
		return 0, false, settingsFault("result_set names a result set, and out_parameters asks for something else").
			WithHint("keep the one that is meant")
	}
	return number, s.Request.OutParameters, nil
}
