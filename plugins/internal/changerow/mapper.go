package changerow

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/plugins/internal/format"
	"github.com/cipherstream/cipherstream/plugins/internal/jsonrow"
	"github.com/cipherstream/cipherstream/plugins/internal/zone"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Mapper turns rows of one table into ids and documents. It does not change and is safe for concurrent use.
type Mapper struct {
	table Table
	rows  *arrow.Schema // of records as Map takes them
	key   []int         // the columns of the key in them
	ids   *format.Table // of the key's columns, in the key's order
	// chosen are the columns of documents, and documents encodes them under the names of their members; nil where a
	// document has none but its id and type.
	chosen    []int
	members   *arrow.Schema
	documents *jsonrow.Encoder
	kind      []byte // `","type":"TYPE"`
}

// NewMapper prepares the rows of a table: schema is that of its records, as the mysql source gives it, and key names the
// columns of its primary key, in the key's order. A record has the columns that the setting wants, or all where it wants no
// particular ones, and those of the key.
func NewMapper(t Table, schema *arrow.Schema, key []string) (*Mapper, error) {
	m := &Mapper{table: t, rows: schema}
	if len(key) == 0 {
		return nil, fault.New(CodeKey, fault.Source, "table %q has no primary key, so that its rows have no ids", t.Table).
			WithHint("ALTER TABLE %s ADD PRIMARY KEY (…), or leave the table out", t.Table)
	}
	fields := make([]arrow.Field, len(key))
	for i, name := range key {
		index, err := m.find(name)
		if err != nil {
			return nil, err
		}
		m.key = append(m.key, index)
		if fields[i], err = m.keyField(schema.Field(index)); err != nil {
			return nil, err
		}
	}
	var err error
	if m.ids, err = format.NewTable(arrow.NewSchema(fields, nil)); err != nil {
		return nil, m.at(err)
	}
	if err := m.choose(); err != nil {
		return nil, err
	}
	m.kind = append(m.kind, `","type":"`...)
	m.kind = append(format.AppendJSON(m.kind, []byte(t.Type)), '"')
	return m, nil
}

// Table is what the mapper was made of.
func (m *Mapper) Table() Table { return m.table }

func (m *Mapper) find(column string) (int, error) {
	found := m.rows.FieldIndices(column)
	if len(found) == 1 {
		return found[0], nil
	}
	f := fault.New(CodeColumn, fault.Usage, "table %q has no column %q", m.table.Table, column)
	if len(found) > 1 {
		f = fault.New(CodeColumn, fault.Usage, "table %q: %d columns are called %q", m.table.Table, len(found), column)
	}
	for _, field := range m.rows.Fields() {
		if field.Name != column && strings.EqualFold(field.Name, column) {
			return 0, f.WithHint("write %s, as the table has it", field.Name)
		}
	}
	return 0, f.WithHint("correct the name, or leave it out")
}

// keyField is a column of the key as ids spell it: as documents do, but an instant in UTC, because a local time may come
// twice.
func (m *Mapper) keyField(f arrow.Field) (arrow.Field, error) {
	refused := func(why string) (arrow.Field, error) {
		return f, fault.New(CodeKey, fault.Source, "table %q: the column %q of the primary key %s", m.table.Table, f.Name, why).
			WithHint("leave the table out of the stream, or give it a key of other types")
	}
	switch t := f.Type.(type) {
	case *arrow.TimestampType:
		if t.TimeZone != "" {
			fraction, ok := f.Metadata.GetValue(sdk.MetaFraction)
			f.Type, f.Metadata = &arrow.TimestampType{Unit: t.Unit, TimeZone: zone.UTC}, arrow.Metadata{}
			if ok {
				f.Metadata = arrow.NewMetadata([]string{sdk.MetaFraction}, []string{fraction})
			}
		}
	case *arrow.StringType:
		if source, _ := f.Metadata.GetValue(sdk.MetaSourceType); strings.HasPrefix(source, "timestamp") {
			return refused("is a TIMESTAMP that zero_dates: text makes a local time, which may come twice")
		}
	case *arrow.NullType:
		return refused("has no type")
	}
	return f, nil
}

// choose finds the columns of documents, and refuses members of a name that is taken.
func (m *Mapper) choose() error {
	columns := m.table.Columns
	if len(columns) == 0 {
		for _, f := range m.rows.Fields() {
			columns = append(columns, f.Name)
		}
	}
	for _, column := range sorted(m.table.Rename) {
		if _, err := m.find(column); err != nil {
			return err
		}
	}
	members := map[string]string{}
	var fields []arrow.Field
	for _, column := range columns {
		index, err := m.find(column)
		if err != nil {
			return err
		}
		if err := m.table.claim(members, column); err != nil {
			return err
		}
		field := m.rows.Field(index)
		field.Name = m.table.Member(column)
		m.chosen, fields = append(m.chosen, index), append(fields, field)
	}
	if len(fields) == 0 {
		return nil
	}
	m.members = arrow.NewSchema(fields, nil)
	var err error
	m.documents, err = jsonrow.New(m.members, jsonrow.Settings{InvalidUTF8: format.PolicyError, JSONColumns: "text"}, nil)
	return m.at(err)
}

// at says which table a fault is about.
func (m *Mapper) at(err error) error {
	if err == nil {
		return nil
	}
	f := *fault.From(err)
	f.Message = "table " + m.table.Table + ": " + f.Message
	return &f
}

// Rows are the ids of a record's rows, and their documents. The zero value is ready, and is used again from record to
// record; what it gives is good until then.
type Rows struct {
	mapper    *Mapper
	ids       sdk.Output
	documents sdk.Output // objects of the columns alone, each with a line feed
	n         int
}

// Len is the number of rows.
func (r *Rows) Len() int { return r.n }

// ID is the id of a row.
func (r *Rows) ID(row int) []byte { return piece(&r.ids, row) }

func piece(o *sdk.Output, row int) []byte {
	from := 0
	if row > 0 {
		from = o.Ends[row-1]
	}
	return o.Data[from:o.Ends[row]]
}

// Map takes the rows of a record of the mapper's schema, with their documents.
func (m *Mapper) Map(into *Rows, record arrow.Record) error {
	if s := record.Schema(); s != m.rows && !s.Equal(m.rows) {
		return fault.New("encoder.schema_changed", fault.Internal, "table %q: a batch has another schema than the table:\n%s\ninstead of\n%s",
			m.table.Table, s, m.rows)
	}
	columns := make([]arrow.Array, len(m.key))
	for i, index := range m.key {
		columns[i] = record.Column(index)
	}
	if err := m.identify(into, columns, int(record.NumRows())); err != nil {
		return err
	}
	if m.documents == nil {
		return nil
	}
	members := make([]arrow.Array, len(m.chosen))
	for i, index := range m.chosen {
		members[i] = record.Column(index)
	}
	chosen := array.NewRecord(m.members, members, record.NumRows())
	defer chosen.Release()
	return m.at(m.documents.AppendLines(sdk.Rows{Record: chosen}, &into.documents))
}

// MapKeys takes the ids alone of a record that has the columns of the key, in the key's order and of the types that the
// mapper's schema has, and no others: rows of which nothing else is known, or wanted.
func (m *Mapper) MapKeys(into *Rows, record arrow.Record) error {
	if int(record.NumCols()) != len(m.key) {
		return fault.New("encoder.schema_changed", fault.Internal, "table %q: a batch of keys has %d columns, and the key %d",
			m.table.Table, record.NumCols(), len(m.key))
	}
	for i, index := range m.key {
		if got, want := record.Column(i).DataType(), m.rows.Field(index).Type; !arrow.TypeEqual(got, want) {
			return fault.New("encoder.schema_changed", fault.Internal, "table %q: column %d of the key is %s instead of %s",
				m.table.Table, i+1, got, want)
		}
	}
	return m.identify(into, record.Columns(), int(record.NumRows()))
}

// identify writes the ids of rows.
func (m *Mapper) identify(into *Rows, key []arrow.Array, n int) error {
	into.mapper, into.n = m, n
	into.ids.Reset()
	into.documents.Reset()
	columns := slices.Clone(m.ids.Columns())
	widest := 0
	for i := range columns {
		columns[i].Load(key[i])
		widest = max(widest, columns[i].Max)
	}
	scratch := make([]byte, widest+format.Slack)
	ids := into.ids.Data
	for row := range n {
		for i := range columns {
			part, err := m.part(&columns[i], row, &scratch)
			if err != nil {
				return err
			}
			if i > 0 {
				ids = append(ids, ':')
			}
			ids = appendEscaped(ids, part)
		}
		into.ids.Data = ids
		into.ids.EndRecord()
	}
	return nil
}

// appendEscaped is what changes.AppendID does with a part.
func appendEscaped(id, part []byte) []byte {
	for _, b := range part {
		if b == ':' || b == '\\' {
			id = append(id, '\\')
		}
		id = append(id, b)
	}
	return id
}

// part is the text of a value of the key.
func (m *Mapper) part(c *format.Column, row int, scratch *[]byte) ([]byte, error) {
	if c.IsNull(row) {
		return nil, fault.New(CodeKey, fault.Data, "table %q: a row has NULL in the column %q of its primary key, because zero_dates: null makes it so",
			m.table.Table, c.Name).WithHint("leave zero_dates as it is, or set it to text")
	}
	switch c.Class {
	case format.Text:
		data, from, to := c.Span(row)
		if !utf8.Valid(data[from:to]) {
			return nil, m.at(format.InvalidUTF8(c.Name, int64(row)))
		}
		return data[from:to], nil
	case format.Binary:
		data, from, to := c.Span(row)
		*scratch = format.Reserve((*scratch)[:0], 0, format.Base64Len(to-from)+format.Slack)
		return (*scratch)[:format.PutBase64(*scratch, 0, data[from:to])], nil
	case format.Float:
		if !c.Finite(row) {
			return nil, m.at(format.NotANumber(c.Name, int64(row)))
		}
	}
	*scratch = format.Reserve((*scratch)[:0], 0, c.Max+format.Slack)
	n := c.PutFixed(*scratch, 0, row)
	if n < 0 {
		return nil, m.at(format.InexactFraction(c.Name, int64(row)))
	}
	return (*scratch)[:n], nil
}

// SplitID takes an id apart: the parts of the key as changes.AppendID was given them. Of parts there are as many as the
// key has columns.
func SplitID(id string, parts int) ([]string, error) {
	split := make([]string, 0, parts)
	var part strings.Builder
	for i := 0; i < len(id); i++ {
		switch c := id[i]; {
		case c == ':':
			split = append(split, part.String())
			part.Reset()
			continue
		case c == '\\':
			if i++; i == len(id) || id[i] != ':' && id[i] != '\\' {
				return nil, notAnID(id)
			}
		}
		part.WriteByte(id[i])
	}
	if split = append(split, part.String()); len(split) != parts {
		return nil, notAnID(id)
	}
	return split, nil
}

func notAnID(id string) error {
	return fault.New(CodeID, fault.Usage, "an id of %d bytes is not one of this table's documents", len(id)).
		WithHint("reset the channel to 0 with a first copy: its documents were made with another key")
}
