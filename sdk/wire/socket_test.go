package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// socketPair is two ends of a unix socket.
func socketPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled := make(chan error, 1)
	go func() {
		var err error
		a, err = net.Dial("unix", l.Addr().String())
		dialled <- err
	}()
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	if err := <-dialled; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// The writer goes on writing while several goroutines look at records and release them in any order.
func TestUnixSocketManyHolders(t *testing.T) { manyHolders(t, nil) }

// manyHolders is given the options of both sides, and what to look at in the end, by share, if that is not nil.
func manyHolders(t *testing.T, share func(a, b net.Conn) (write, read Option, check func())) {
	registerCode(t)
	a, b := socketPair(t)
	var writing, reading []Option
	if share != nil {
		write, read, check := share(a, b)
		writing, reading = append(writing, write), append(reading, read)
		defer check()
	}
	schema := schemaOf(everyType())
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	rec := randomRecord(mem, rand.New(rand.NewSource(4)), schema, 800, 0.2)
	defer rec.Release()
	const batches = 40

	sent := make(chan error, 1)
	go func() {
		w, err := NewWriter(a, schema, writing...)
		for i := int64(0); err == nil && i < batches; i++ {
			s := rec.NewSlice(i*7, i*7+500)
			err = w.Write(s)
			s.Release()
		}
		if err == nil {
			err = w.Close()
		}
		sent <- err
	}()

	r, err := NewReader(b, append(reading, WithHolderTrace())...)
	if err != nil {
		t.Fatal(err)
	}
	type numbered struct {
		i   int64
		rec arrow.Record
	}
	work := make(chan numbered, 8)
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range work {
				want := rec.NewSlice(n.i*7, n.i*7+500)
				if err := difference(n.rec, want); err != nil {
					t.Errorf("batch %d: %v", n.i, err)
				}
				want.Release()
				n.rec.Release()
			}
		}()
	}
	got := int64(0)
	for ; ; got++ {
		rec, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Error(err)
			b.Close() // or the writer waits for ever
			break
		}
		work <- numbered{got, rec}
	}
	close(work)
	wg.Wait()
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if got != batches || r.Outstanding() != 0 {
		t.Errorf("%d batches, want %d; %d buffers outstanding", got, batches, r.Outstanding())
	}
}

func TestBrokenConnections(t *testing.T) {
	schema := schemaOf([]arrow.DataType{arrow.PrimitiveTypes.Int64})
	rec := randomRecord(memory.DefaultAllocator, rand.New(rand.NewSource(4)), schema, 1<<18, 0)
	defer rec.Release()
	open := func(t *testing.T) (*Writer, net.Conn, *Reader, net.Conn) {
		a, b := socketPair(t)
		w, err := NewWriter(a, schema)
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewReader(b)
		if err != nil {
			t.Fatal(err)
		}
		return w, a, r, b
	}
	tests := map[string]struct {
		break_ func(a, b net.Conn)
		read   error
		write  bool
	}{
		"writer closes without the marker": {func(a, b net.Conn) { a.Close() }, ErrTruncated, false},
		"reader closes its own end":        {func(a, b net.Conn) { b.Close() }, net.ErrClosed, false},
		"read deadline":                    {func(a, b net.Conn) { b.SetDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded, false},
		"write deadline":                   {func(a, b net.Conn) { a.SetDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded, true},
		"writer's own end closed":          {func(a, b net.Conn) { a.Close() }, net.ErrClosed, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, a, r, b := open(t)
			tt.break_(a, b)
			if tt.write {
				for range 2 {
					if err := w.Write(rec); !errors.Is(err, tt.read) {
						t.Errorf("Write: %v; want %v", err, tt.read)
					}
				}
				if err := w.Close(); !errors.Is(err, tt.read) {
					t.Errorf("Close: %v; want %v", err, tt.read)
				}
				return
			}
			for range 2 {
				if _, err := r.Read(); !errors.Is(err, tt.read) || err == io.EOF {
					t.Errorf("Read: %v; want %v", err, tt.read)
				}
			}
		})
	}
}

// A peer that dies with unread data makes the kernel answer ECONNRESET.
func TestResetIsTruncation(t *testing.T) {
	a, b := socketPair(t)
	schema := schemaOf([]arrow.DataType{arrow.PrimitiveTypes.Int64})
	if _, err := NewWriter(a, schema); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if _, err := r.Read(); !errors.Is(err, ErrTruncated) {
		t.Errorf("%v; want ErrTruncated", err)
	}
}

func TestWriteRefusesOtherSchema(t *testing.T) {
	want := schemaOf([]arrow.DataType{arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String})
	for name, other := range map[string]*arrow.Schema{
		"type":    schemaOf([]arrow.DataType{arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.Binary}),
		"columns": schemaOf([]arrow.DataType{arrow.PrimitiveTypes.Int64}),
		"name":    arrow.NewSchema([]arrow.Field{want.Field(0), {Name: "other", Type: arrow.BinaryTypes.String}}, nil),
	} {
		w, err := NewWriter(io.Discard, want)
		if err != nil {
			t.Fatal(err)
		}
		rec := randomRecord(memory.DefaultAllocator, rand.New(rand.NewSource(1)), other, 1, 0)
		if err := w.Write(rec); !errors.Is(err, ErrSchema) {
			t.Errorf("%s: %v; want ErrSchema", name, err)
		}
		rec.Release()
	}
}

func TestWriteAfterClose(t *testing.T) {
	schema := schemaOf([]arrow.DataType{arrow.PrimitiveTypes.Int64})
	var out bytes.Buffer
	w, err := NewWriter(&out, schema)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	size := out.Len()
	rec := randomRecord(memory.DefaultAllocator, rand.New(rand.NewSource(1)), schema, 1, 0)
	defer rec.Release()
	if err := w.Write(rec); !errors.Is(err, ErrClosed) || out.Len() != size {
		t.Errorf("%v; want ErrClosed", err)
	}
	readAll(t, out.Bytes(), func(int, arrow.Record) { t.Error("a record") })
}

func TestOptionsAreChecked(t *testing.T) {
	schema := schemaOf(nil)
	for i, o := range []Option{WithMaxBatchBytes(0), WithMaxMessageBytes(0), WithMaxMessageBytes(1 << 31), WithPoolBytes(-1)} {
		if _, err := NewWriter(io.Discard, schema, o); err == nil {
			t.Errorf("option %d was taken by NewWriter", i)
		}
		if _, err := NewReader(bytes.NewReader(nil), o); err == nil || errors.Is(err, ErrTruncated) {
			t.Errorf("option %d was taken by NewReader", i)
		}
	}
}

func TestHolders(t *testing.T) {
	schema := schemaOf([]arrow.DataType{arrow.BinaryTypes.String})
	rec := randomRecord(memory.DefaultAllocator, rand.New(rand.NewSource(1)), schema, 1000, 0)
	defer rec.Release()
	r, err := NewReader(bytes.NewReader(stream(t, schema, []arrow.Record{rec, rec})), WithHolderTrace())
	if err != nil {
		t.Fatal(err)
	}
	first, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	column := first.Column(0)
	column.Retain()
	first.Release()
	if h := r.Holders(); r.Outstanding() != 1 || len(h) != 1 || !strings.Contains(h[0].Stack, "TestHolders") || h[0].Bytes < 1000 || h[0].Since.IsZero() {
		t.Errorf("holders of a column that is kept: %+v", h)
	}
	kept := column.Data().Buffers()[2].Bytes()
	column.Release()
	if r.Outstanding() != 0 || len(r.Holders()) != 0 {
		t.Errorf("%d outstanding after the last release", r.Outstanding())
	}
	if kept[0] != poison {
		t.Error("a released buffer is not overwritten under WithHolderTrace")
	}
}

func TestPool(t *testing.T) {
	tests := []struct {
		name        string
		limit       int64
		sizes       []int // got together, then all given back, in this order
		then        int
		reused      bool
		wantAtMost  int64
		wantAtLeast int64
	}{
		{"reuse", 1 << 20, []int{100_000}, 100_000, true, 0, 0},
		{"about the same size", 1 << 20, []int{100_000}, 102_000, true, 0, 0},
		{"larger", 1 << 20, []int{100_000}, 200_000, false, 1 << 20, 100_000},
		{"above half the limit is not kept", 1 << 20, []int{600_000}, 600_000, false, 0, 0},
		{"oldest go first", 1 << 20, []int{400_000, 300_000, 300_000, 300_000}, 400_000, false, 1 << 20, 900_000},
		{"nothing is kept", 0, []int{1}, 1, false, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPool(tt.limit, false)
			var blocks []*block
			for _, n := range tt.sizes {
				b := p.get(n)
				if len(b.data) < n || misaligned(b.data) {
					t.Fatalf("%d bytes for %d", len(b.data), n)
				}
				blocks = append(blocks, b)
			}
			if p.outstanding() != len(blocks) {
				t.Fatalf("%d outstanding", p.outstanding())
			}
			for _, b := range blocks {
				p.put(b)
			}
			b := p.get(tt.then)
			reused := false
			for _, old := range blocks {
				reused = reused || old == b
			}
			if reused != tt.reused {
				t.Errorf("reused %v, want %v", reused, tt.reused)
			}
			if p.kept > tt.wantAtMost || p.kept < tt.wantAtLeast || p.outstanding() != 1 {
				t.Errorf("%d bytes kept, want %d to %d; %d outstanding", p.kept, tt.wantAtLeast, tt.wantAtMost, p.outstanding())
			}
		})
	}
}

func TestSizeClassWastesLittle(t *testing.T) {
	for n := 1; n < 1<<28; n += 1 + n/37 {
		if c := sizeClass(n); c < n || c > max(4096, n+n/8+4096) || c%64 != 0 {
			t.Fatalf("%d bytes for %d", c, n)
		}
	}
}
