// Package sample makes record batches for the tests and benchmarks of the stages.
// It owns one table, shaped like the appointments of a practice: 28 columns, of
// which ten are integers, eight flags, three texts, six dates and times and one a
// decimal; eight have nulls. It is made up from a seed; it never holds a real value.
package sample

import (
	"fmt"
	"math/rand/v2"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk"
)

// Schema returns the schema of the table.
func Schema() *arrow.Schema {
	integer := func(name string) arrow.Field { return arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64} }
	small := func(name string) arrow.Field { return arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int32} }
	flag := func(name string) arrow.Field { return arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int8} }
	text := func(name string) arrow.Field { return arrow.Field{Name: name, Type: arrow.BinaryTypes.String} }
	instant := func(name string) arrow.Field {
		return arrow.Field{Name: name, Type: &arrow.TimestampType{Unit: arrow.Microsecond},
			Metadata: arrow.NewMetadata([]string{sdk.MetaFraction}, []string{"0"})}
	}
	null := func(f arrow.Field) arrow.Field {
		f.Nullable = true
		return f
	}
	return arrow.NewSchema([]arrow.Field{
		integer("appointment_id"), text("status"), text("status_codes"),
		flag("cancelled"), flag("failed"), flag("attended"), flag("online"), flag("recall_set_linked"),
		null(text("type_name")), {Name: "appointment_date", Type: arrow.FixedWidthTypes.Date32},
		instant("start_time"), null(instant("arrival_time")), null(instant("end_time")),
		small("duration"), flag("new_patient"), flag("first_visit"), flag("is_deleted"),
		integer("patient_id"), small("practitioner_id"), null(small("room_id")), small("location_id"),
		null(integer("invoice_id")), small("booking_source"), null(small("recall_set_id")), null(small("campaign_id")),
		null(arrow.Field{Name: "amount", Type: &arrow.Decimal128Type{Precision: 10, Scale: 2}}),
		instant("ts_4_insert"), instant("ts_4_update"),
	}, nil)
}

var (
	statuses = []string{"Completed", "Booked", "Cancelled by patient", "Did not attend", "Arrived"}
	codes    = []string{"C", "B", "CP", "DNA", "A,R"}
	types    = []string{"Initial consultation", "Check-up and clean", "Follow-up", "Röntgen", "Extraction \"simple\""}
)

// Appointments returns rows of the table, made from the seed. The caller releases
// the batch.
func Appointments(rows int, seed uint64) arrow.Record {
	r := rand.New(rand.NewPCG(seed, 28))
	builder := array.NewRecordBuilder(memory.DefaultAllocator, Schema())
	defer builder.Release()
	for row := range rows {
		// Most days hold about forty appointments.
		day := int64(19700 + row/40%365)
		start := day*86400 + 8*3600 + r.Int64N(36)*900
		for i, field := range builder.Fields() {
			if builder.Schema().Field(i).Nullable && r.IntN(5) == 0 {
				field.AppendNull()
				continue
			}
			switch b := field.(type) {
			case *array.Int64Builder:
				b.Append(int64(1_000_000+row) + r.Int64N(1000)*int64(i))
			case *array.Int32Builder:
				b.Append(15 * (1 + r.Int32N(40)))
			case *array.Int8Builder:
				b.Append(int8(r.IntN(2)))
			case *array.StringBuilder:
				b.Append([][]string{statuses, codes, types}[min(i-1, 2)][r.IntN(5)])
			case *array.Date32Builder:
				b.Append(arrow.Date32(day))
			case *array.TimestampBuilder:
				b.Append(arrow.Timestamp((start + int64(i)*60 + r.Int64N(60)) * 1_000_000))
			case *array.Decimal128Builder:
				b.Append(decimal128.FromI64(r.Int64N(100_000)))
			default:
				panic(fmt.Sprintf("sample: no values for %s", builder.Schema().Field(i)))
			}
		}
	}
	return builder.NewRecord()
}
