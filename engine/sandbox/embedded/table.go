//go:build gms_pure_go

package embedded

import (
	"errors"
	"io"
	"slices"
	"time"

	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/dolthub/go-mysql-server/memory"
	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
)

// generatedTable serves a table's generated rows to the library, in key order.
// It takes everything but the rows from the empty table that schema.sql made.
// It has no write side, and no indexes: making a row is quicker than the
// library's way of finding one.
type generatedTable struct {
	empty   *memory.Table
	schema  sql.PrimaryKeySchema
	rows    *sandbox.Table
	convert []func(sandbox.Value) any
}

var (
	_ memory.MemTable     = (*generatedTable)(nil)
	_ sql.PrimaryKeyTable = (*generatedTable)(nil)
	_ sql.CommentedTable  = (*generatedTable)(nil)
	_ sql.StatisticsTable = (*generatedTable)(nil)
)

func newGeneratedTable(ctx *sql.Context, empty *memory.Table, rows *sandbox.Table) (*generatedTable, error) {
	t := &generatedTable{empty: empty, schema: empty.PrimaryKeySchema(ctx), rows: rows}
	var names []string
	for _, column := range t.schema.Schema {
		names = append(names, column.Name)
		f, err := converter(column.Type)
		if err != nil {
			return nil, sqlFault("column %s of table %s: %w", column.Name, rows.Name, err)
		}
		t.convert = append(t.convert, f)
	}
	if !slices.Equal(names, rows.Columns) {
		return nil, sqlFault("table %s has columns %v, but the generator makes %v", rows.Name, names, rows.Columns)
	}
	return t, nil
}

// daySeconds is how long a day is, in UTC.
const daySeconds = 24 * 60 * 60

// converter gives the Go type that the library keeps a column's values in.
func converter(t sql.Type) (func(sandbox.Value) any, error) {
	switch t {
	case types.Int8:
		return func(v sandbox.Value) any { return int8(v.N) }, nil
	case types.Int32:
		return func(v sandbox.Value) any { return int32(v.N) }, nil
	case types.Int64:
		return func(v sandbox.Value) any { return v.N }, nil
	}
	switch {
	case types.IsText(t):
		return func(v sandbox.Value) any { return v.S }, nil
	case types.IsDateType(t):
		return func(v sandbox.Value) any { return time.Unix(v.N*daySeconds, 0).UTC() }, nil
	case types.IsDatetimeType(t):
		return func(v sandbox.Value) any { return time.Unix(v.N, 0).UTC() }, nil
	case types.IsDecimal(t):
		return func(v sandbox.Value) any {
			d := types.DecimalFromInt64(v.N)
			d.Exponent = -int32(v.Scale)
			return d
		}, nil
	}
	return nil, errors.New("generated tables cannot serve type " + t.String())
}

func (t *generatedTable) Name() string                                       { return t.rows.Name }
func (t *generatedTable) String() string                                     { return t.rows.Name }
func (t *generatedTable) Schema(*sql.Context) sql.Schema                     { return t.schema.Schema }
func (t *generatedTable) PrimaryKeySchema(*sql.Context) sql.PrimaryKeySchema { return t.schema }
func (t *generatedTable) Collation() sql.CollationID                         { return t.empty.Collation() }
func (t *generatedTable) Comment() string                                    { return t.empty.Comment() }
func (t *generatedTable) IgnoreSessionData() bool                            { return true }
func (t *generatedTable) UnderlyingTable() *memory.Table                     { return t.empty }
func (t *generatedTable) DataLength(*sql.Context) (uint64, error)            { return 0, nil }
func (t *generatedTable) RowCount(*sql.Context) (uint64, bool, error) {
	return uint64(t.rows.Now()), true, nil
}
func (t *generatedTable) Partitions(*sql.Context) (sql.PartitionIter, error) {
	return sql.PartitionsToPartitionIter(wholeTable{}), nil
}

func (t *generatedTable) PartitionRows(*sql.Context, sql.Partition) (sql.RowIter, error) {
	return &generatedRows{table: t, end: t.rows.Now(), values: make([]sandbox.Value, len(t.convert))}, nil
}

// wholeTable is a table's only partition.
type wholeTable struct{}

func (wholeTable) Key() []byte { return []byte("all") }

type generatedRows struct {
	table     *generatedTable
	next, end int64
	values    []sandbox.Value
}

func (r *generatedRows) Next(ctx *sql.Context) (sql.Row, error) {
	if r.next == r.end {
		return nil, io.EOF
	}
	if r.next%256 == 0 && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r.table.rows.Row(r.next, r.values)
	r.next++
	row := make(sql.Row, len(r.values))
	for i, v := range r.values {
		if v.Kind != sandbox.Null {
			row[i] = r.table.convert[i](v)
		}
	}
	return row, nil
}

func (r *generatedRows) Close(*sql.Context) error { return nil }
