package wire

import (
	"bufio"
	"fmt"
	"io"
	"math/rand"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// appointments is a record like a batch of the main job: 28 columns, 8,192 rows.
func appointments() arrow.Record {
	var types []arrow.DataType
	add := func(n int, dt arrow.DataType) {
		for range n {
			types = append(types, dt)
		}
	}
	add(10, arrow.PrimitiveTypes.Int64)
	add(8, arrow.PrimitiveTypes.Int8)
	add(3, arrow.BinaryTypes.String)
	add(4, &arrow.TimestampType{Unit: arrow.Microsecond})
	add(2, arrow.FixedWidthTypes.Date32)
	add(1, &arrow.Decimal128Type{Precision: 10, Scale: 2})
	return randomRecord(memory.DefaultAllocator, rand.New(rand.NewSource(1)), schemaOf(types), 8192, 0.1)
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkHop moves record batches from one end of a unix socket to the other and looks at one value of each column.
// cpu-ns/row counts both sides and the kernel.
func BenchmarkHop(b *testing.B) {
	rec := appointments()
	defer rec.Release()
	hops := map[string]struct {
		write func(c net.Conn, n int) error
		read  func(c net.Conn, visit func(arrow.Record)) error
	}{
		"wire": {
			func(c net.Conn, n int) error {
				w, err := NewWriter(c, rec.Schema())
				for ; err == nil && n > 0; n-- {
					err = w.Write(rec)
				}
				if err != nil {
					return err
				}
				return w.Close()
			},
			func(c net.Conn, visit func(arrow.Record)) error {
				r, err := NewReader(c)
				for err == nil {
					var rec arrow.Record
					if rec, err = r.Read(); err == nil {
						visit(rec)
						rec.Release()
					}
				}
				return err
			},
		},
		"arrow-ipc": {
			func(c net.Conn, n int) error {
				buf := bufio.NewWriterSize(c, 1<<20)
				w := ipc.NewWriter(buf, ipc.WithSchema(rec.Schema()))
				var err error
				for ; err == nil && n > 0; n-- {
					err = w.Write(rec)
				}
				if err == nil {
					err = w.Close()
				}
				if err != nil {
					return err
				}
				return buf.Flush()
			},
			func(c net.Conn, visit func(arrow.Record)) error {
				r, err := ipc.NewReader(bufio.NewReaderSize(c, 1<<20))
				if err != nil {
					return err
				}
				defer r.Release()
				for r.Next() {
					visit(r.Record())
				}
				if r.Err() != nil {
					return r.Err()
				}
				return io.EOF
			},
		},
	}
	bytes := int64(0)
	for _, c := range rec.Columns() {
		bytes += int64(c.Data().SizeInBytes())
	}
	for _, name := range []string{"wire", "arrow-ipc"} {
		hop := hops[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(bytes)
			from, to := socketPair(b)
			sent := make(chan error, 1)
			b.ResetTimer()
			cpu := cpuTime(b)
			go func() { sent <- hop.write(from, b.N) }()
			rows := int64(0)
			err := hop.read(to, func(rec arrow.Record) {
				rows += rec.NumRows()
				for _, c := range rec.Columns() {
					_ = c.IsNull(c.Len() - 1)
				}
			})
			cpu = cpuTime(b) - cpu
			b.StopTimer()
			if err != io.EOF || rows != rec.NumRows()*int64(b.N) {
				b.Fatal(fmt.Errorf("%d rows: %w", rows, err))
			}
			if err := <-sent; err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(rows), "cpu-ns/row")
		})
	}
}

// BenchmarkDecode is the part of Read after the bytes have arrived: checks and arrays.
func BenchmarkDecode(b *testing.B) {
	rec := appointments()
	defer rec.Release()
	var e encoder
	cols, err := layoutsOf(rec.Schema())
	if err != nil {
		b.Fatal(err)
	}
	for i, l := range cols {
		d := rec.Column(i).Data()
		if err := e.column(l, d, d.Offset(), d.Len()); err != nil {
			b.Fatal(err)
		}
	}
	body := alignedBytes(int(e.body))
	at := 0
	for _, p := range e.pieces {
		at += copy(body[at:], p)
	}
	meta := append([]byte(nil), e.metadata(rec.NumRows(), arrow.Metadata{})...)
	b.ReportAllocs()
	b.SetBytes(e.body)
	for b.Loop() {
		f := &flatbuf{b: meta}
		t, _ := f.root().table(messageHeader)
		d := decoder{body: body, parent: memory.NewBufferBytes(body)}
		got, err := d.record(t, rec.Schema(), cols)
		if err != nil {
			b.Fatal(err)
		}
		got.Release()
		d.release()
	}
	b.ReportMetric(float64(rec.NumRows())*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
