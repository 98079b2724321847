package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"golang.org/x/sys/unix"
)

// sharedPair is both sides of memory for what goes from a to b.
func sharedPair(t testing.TB, a, b net.Conn, slots int) (*WriteMemory, *ReadMemory) {
	t.Helper()
	r, file, err := NewReadMemory(b.(*net.UnixConn), slots)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w, err := NewWriteMemory(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	t.Cleanup(r.Close)
	return w, r
}

// collect hands over what the reader has given back by now.
func collect(t testing.TB, w *WriteMemory, a net.Conn) {
	t.Helper()
	raw, err := a.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var given [maxSlots]byte
	err = raw.Control(func(fd uintptr) {
		if n, _, err := unix.Recvfrom(int(fd), given[:], unix.MSG_DONTWAIT); err == nil {
			w.Receive(given[:n])
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// mappings counts the mappings of shared memory that this process has, and descriptors of such files.
func mappings(t testing.TB) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	n = strings.Count(string(text), "/memfd:cipherstream")
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(to, "/memfd:cipherstream") {
			n++
		}
	}
	return n
}

// TestMemoryManyHolders: with few slots, some bodies lie in the memory and others cross the socket.
func TestMemoryManyHolders(t *testing.T) {
	// Each returns what waits for the end of the connection, and counts the free slots.
	for name, receives := range map[string]func(a net.Conn, w *WriteMemory) (free func() int){
		"whoever reads the connection hands over": func(a net.Conn, w *WriteMemory) func() int {
			received := make(chan struct{})
			go func() {
				defer close(received)
				var given [maxSlots]byte
				for {
					n, err := a.Read(given[:])
					w.Receive(given[:n])
					if err != nil {
						return
					}
				}
			}()
			return func() int {
				<-received
				return len(w.free)
			}
		},
		"the memory reads the connection": func(a net.Conn, w *WriteMemory) func() int {
			if err := w.ReceiveFrom(a.(*net.UnixConn), func(word byte) { t.Errorf("it was told %d", word) }); err != nil {
				t.Fatal(err)
			}
			return func() (n int) {
				for w.Await(t.Context()) != nil {
					n++
				}
				return n
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			manyHolders(t, func(a, b net.Conn) (Option, Option, func()) {
				w, r := sharedPair(t, a, b, 3)
				free := receives(a, w)
				return WithWriteMemory(w), WithReadMemory(r), func() {
					if err := b.(*net.UnixConn).CloseWrite(); err != nil {
						t.Fatal(err)
					}
					n := free()
					if bytes.Count(w.file.data, []byte{0}) == len(w.file.data) {
						t.Error("nothing was in the memory")
					}
					if n != 3 {
						t.Errorf("%d slots were given back, of 3", n)
					}
				}
			})
		})
	}
}

// linesIn is a batch of lines in some memory, and lines how many.
func linesIn(text []byte, lines int) arrow.Record {
	offsets := make([]byte, 4*(lines+1))
	for i := range lines + 1 {
		binary.LittleEndian.PutUint32(offsets[4*i:], uint32(i*len(text)/lines))
	}
	data := array.NewData(arrow.BinaryTypes.Binary, lines,
		[]*memory.Buffer{nil, memory.NewBufferBytes(offsets), memory.NewBufferBytes(text)}, nil, 0, 0)
	defer data.Release()
	column := array.NewBinaryData(data)
	defer column.Release()
	return array.NewRecord(schemaOf([]arrow.DataType{arrow.BinaryTypes.Binary}), []arrow.Array{column}, int64(lines))
}

// TestInPlace: what is made in the memory is not copied, and what does not fit there arrives all the same.
func TestInPlace(t *testing.T) {
	for _, c := range []struct {
		name          string
		size, lines   int
		inside, place bool
	}{
		{"lines", 700_000, 1000, true, true},
		{"to the end of a slot", SlotBytes - slotHead, 1000, true, true},
		{"too many lines for what is left before them", 100_000, slotHead / 4, true, false},
		{"too few bytes", leastShared / 2, 10, true, false},
		{"made elsewhere", 700_000, 1000, false, false},
		{"larger than a slot", SlotBytes + 1, 1000, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := socketPair(t)
			wm, rm := sharedPair(t, a, b, 2)
			var text []byte
			if c.inside {
				text = wm.Take()
			}
			for i := range c.size {
				text = append(text, byte(i*7))
			}
			want := bytes.Clone(text)
			rec := linesIn(text, c.lines)
			defer rec.Release()
			sent := make(chan error, 1)
			go func() {
				w, err := NewWriter(a, rec.Schema(), WithWriteMemory(wm))
				if err == nil {
					err = w.Write(rec)
				}
				if err == nil && w.InPlace() != c.place {
					err = errors.New("in place or not")
				}
				if err == nil {
					err = w.Close()
				}
				sent <- err
			}()
			r, err := NewReader(b, WithReadMemory(rm))
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Read()
			if err != nil {
				t.Fatal(err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Column(0).(*array.Binary).ValueBytes(), want) {
				t.Error("other bytes arrived")
			}
			got.Release()
			if wm.Put(text) != c.inside {
				t.Error("Put does not know its own memory")
			}
			if collect(t, wm, a); len(wm.free) != 2 || rm.lent != 0 {
				t.Errorf("%d slots of 2 are free; %d are lent", len(wm.free), rm.lent)
			}
			if _, err := r.Read(); err != io.EOF {
				t.Errorf("the end: %v", err)
			}
		})
	}
}

// TestTakenElsewhere: a slot that was written in place, given back and taken by somebody else stays theirs.
func TestTakenElsewhere(t *testing.T) {
	a, b := socketPair(t)
	wm, rm := sharedPair(t, a, b, 1)
	text := append(wm.Take(), make([]byte, 100_000)...)
	rec := linesIn(text, 10)
	defer rec.Release()
	if wm.Take() != nil {
		t.Fatal("two have the one slot")
	}
	w, err := NewWriter(a, rec.Schema(), WithWriteMemory(wm))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rec); err != nil || !w.InPlace() {
		t.Fatal(err, w.InPlace())
	}
	if wm.Take() != nil {
		t.Fatal("a slot that the reader has was taken")
	}
	// A reader that gives back what it was not given, and what there is not, gets nothing by it.
	if _, err := b.Write([]byte{7, 255}); err != nil {
		t.Fatal(err)
	}
	if collect(t, wm, a); wm.Take() != nil {
		t.Fatal("a slot that nobody gave back was taken")
	}
	r, err := NewReader(b, WithReadMemory(rm))
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	got.Release()
	if collect(t, wm, a); wm.Take() == nil {
		t.Error("a slot that was given back was not taken")
	}
}

// waiting starts a call of Await, and returns when so many wait.
func waiting(ctx context.Context, wm *WriteMemory, many int) <-chan []byte {
	got := make(chan []byte, 1)
	go func() { got <- wm.Await(ctx) }()
	for {
		wm.mu.Lock()
		n, listens := wm.waiting, wm.from == nil || wm.from.listening
		wm.mu.Unlock()
		if n == many && listens {
			return got
		}
		runtime.Gosched()
	}
}

// TestAwait: whoever waits for a slot has the next one that is given back, and waits no longer than its context, or than anything
// can be given back.
func TestAwait(t *testing.T) {
	a, b := socketPair(t)
	wm, rm := sharedPair(t, a, b, 1)
	text := append(wm.Await(t.Context()), make([]byte, 100_000)...)
	ctx, cancel := context.WithCancel(t.Context())
	got := waiting(ctx, wm, 1)
	if cancel(); <-got != nil {
		t.Fatal("two have the one slot")
	}

	got = waiting(t.Context(), wm, 1)
	rec := linesIn(text, 10)
	defer rec.Release()
	read := passed(t, a, b, wm, rm, rec)
	if len(got) > 0 {
		t.Fatal("a slot that the reader has was taken")
	}
	read.Release()
	collect(t, wm, a)
	taken := <-got
	if taken == nil {
		t.Fatal("a slot that was given back was not taken")
	}

	got = waiting(t.Context(), wm, 1)
	if !wm.Put(taken) || <-got == nil {
		t.Fatal("a slot that was put back was not taken")
	}
	got = waiting(t.Context(), wm, 1)
	if wm.Over(); <-got != nil || wm.Await(t.Context()) != nil {
		t.Error("the one slot was taken twice")
	}
}

// TestAwaitOfConnection: TestAwait, where the memory reads the connection, for several who wait.
func TestAwaitOfConnection(t *testing.T) {
	a, b := socketPair(t)
	wm, rm := sharedPair(t, a, b, 1)
	words := make(chan byte, 1)
	if err := wm.ReceiveFrom(a.(*net.UnixConn), func(word byte) { words <- word }); err != nil {
		t.Fatal(err)
	}
	text := append(wm.Take(), make([]byte, 100_000)...)
	ctx, cancel := context.WithCancel(t.Context())
	first, second := waiting(ctx, wm, 1), waiting(t.Context(), wm, 2)
	if cancel(); <-first != nil {
		t.Fatal("two have the one slot")
	}

	rec := linesIn(text, 10)
	defer rec.Release()
	read := passed(t, a, b, wm, rm, rec)
	if len(second) > 0 || wm.Take() != nil {
		t.Fatal("a slot that the reader has was taken")
	}
	if _, err := b.Write([]byte{255}); err != nil {
		t.Fatal(err)
	}
	if word := <-words; word != 255 {
		t.Errorf("it was told %d", word)
	}
	read.Release()
	taken := <-second
	if taken == nil {
		t.Fatal("a slot that was given back was not taken")
	}

	// What is put back comes over no connection.
	first, second = waiting(t.Context(), wm, 1), waiting(t.Context(), wm, 2)
	if !wm.Put(taken) {
		t.Fatal("a slot was not put back")
	}
	select {
	case taken = <-first:
	case taken = <-second:
		first, second = second, first
	}
	if taken == nil {
		t.Fatal("a slot that was put back was not taken")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if <-second != nil || wm.Await(t.Context()) != nil {
		t.Error("the one slot was taken twice")
	}
}

// TestMemoryLies: what a message says of the memory is checked.
func TestMemoryLies(t *testing.T) {
	schema := schemaOf([]arrow.DataType{arrow.PrimitiveTypes.Int64})
	batch := (&encoder{nodes: []fieldNode{{8, 0}}, buffers: []bufferRange{{0, 0}, {0, 64}}, body: 64}).metadata(8, arrow.Metadata{})
	empty := (&encoder{nodes: []fieldNode{{0, 0}}, buffers: []bufferRange{{0, 0}, {0, 0}}}).metadata(0, arrow.Metadata{})
	long := (&encoder{nodes: []fieldNode{{8, 0}}, buffers: []bufferRange{{0, 0}, {0, 64}}, body: SlotBytes + 64}).metadata(8, arrow.Metadata{})
	position := func(at uint64) []byte { return binary.LittleEndian.AppendUint64(nil, at) }
	type part struct {
		metadata []byte
		at       uint64
	}
	for _, c := range []struct {
		name  string
		parts []part
		fine  int
	}{
		{"good", []part{{batch, 64}, {batch, SlotBytes}, {empty, 1 << 40}}, 3},
		{"behind the file", []part{{batch, 2 * SlotBytes}}, 0},
		{"far behind", []part{{batch, 1<<64 - 64}}, 0},
		{"over the end of a slot", []part{{batch, SlotBytes - 32}}, 0},
		{"larger than a slot", []part{{long, 0}}, 0},
		{"not aligned", []part{{batch, 8}}, 0},
		{"a slot that is out", []part{{batch, 0}, {batch, 128}}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := socketPair(t)
			_, rm := sharedPair(t, a, b, 2)
			var out bytes.Buffer
			w, err := NewWriter(&out, schema)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range c.parts {
				if err := w.send(atMemory, position(p.at), p.metadata, nil); err != nil {
					t.Fatal(err)
				}
			}
			plain := bytes.NewReader(out.Bytes())
			r, err := NewReader(plain, WithReadMemory(rm))
			if err != nil {
				t.Fatal(err)
			}
			var got []arrow.Record
			for {
				rec, err := r.Read()
				if err != nil {
					if len(got) < len(c.parts) && !errors.Is(err, ErrMalformed) {
						t.Errorf("got %v", err)
					}
					break
				}
				got = append(got, rec)
			}
			if len(got) != c.fine {
				t.Errorf("%d batches were taken; expected %d", len(got), c.fine)
			}
			for _, rec := range got {
				rec.Release()
			}
			if rm.lent != 0 || r.Outstanding() != 0 {
				t.Errorf("%d slots are lent, %d bodies outstanding", rm.lent, r.Outstanding())
			}
			// Without memory there is no such message.
			r, err = NewReader(bytes.NewReader(out.Bytes()))
			if err == nil {
				_, err = r.Read()
			}
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("without memory: %v", err)
			}
		})
	}
	for name, head := range map[string][]byte{
		"an end":   {0xFF, 0xFF, 0xFF, 0xFE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"a schema": append([]byte{0xFF, 0xFF, 0xFF, 0xFE}, smallStream(t)[4:]...),
	} {
		a, b := socketPair(t)
		_, rm := sharedPair(t, a, b, 1)
		if _, err := NewReader(bytes.NewReader(head), WithReadMemory(rm)); !coded(err) {
			t.Errorf("%s in the memory: %v", name, err)
		}
	}
}

// TestWriterThatWritesAgain: a writer that changes a body behind the reader's back changes values, and no more: lengths and
// places stay as they were checked.
func TestWriterThatWritesAgain(t *testing.T) {
	registerCode(t)
	a, b := socketPair(t)
	wm, rm := sharedPair(t, a, b, 1)
	random := rand.New(rand.NewSource(7))
	rec := randomRecord(memory.DefaultAllocator, random, schemaOf(everyType()), 600, 0.2)
	defer rec.Release()
	got := passed(t, a, b, wm, rm, rec)
	defer got.Release()
	if rm.lent != 1 {
		t.Fatal("the batch is not in the memory")
	}
	for range 20 {
		for _, c := range got.Columns() {
			touch(c)
		}
		random.Read(wm.file.data)
	}
	for i, c := range got.Columns() {
		if want := rec.Column(i); c.Len() != want.Len() || c.NullN() != want.NullN() {
			t.Errorf("column %d has %d values and %d nulls by now", i, c.Len(), c.NullN())
		}
	}
}

// TestForeignFiles: a writer maps only a file as a reader makes it.
func TestForeignFiles(t *testing.T) {
	sealed := func(size int64, seals int) *os.File {
		fd, err := unix.MemfdCreate("other", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(fd), "other")
		t.Cleanup(func() { file.Close() })
		if err := file.Truncate(size); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
			t.Fatal(err)
		}
		return file
	}
	ordinary, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer ordinary.Close()
	if err := ordinary.Truncate(SlotBytes); err != nil {
		t.Fatal(err)
	}
	a, _ := socketPair(t)
	for name, file := range map[string]*os.File{
		"can shrink":        sealed(SlotBytes, unix.F_SEAL_GROW|unix.F_SEAL_SEAL),
		"can grow":          sealed(SlotBytes, unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL),
		"cannot be written": sealed(SlotBytes, memorySeals|unix.F_SEAL_WRITE),
		"empty":             sealed(0, memorySeals),
		"half a slot":       sealed(SlotBytes/2, memorySeals),
		"too large":         sealed((maxSlots+1)*SlotBytes, memorySeals),
		"ordinary":          ordinary,
	} {
		if _, err := NewWriteMemory(file); !errors.Is(err, ErrMemory) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := NewReadMemory(a.(*net.UnixConn), maxSlots+1); !errors.Is(err, ErrMemory) {
		t.Errorf("too many slots: %v", err)
	}
}

// passed is a record as the reader has it, whom the writer has sent it.
func passed(t *testing.T, a, b net.Conn, wm *WriteMemory, rm *ReadMemory, rec arrow.Record) arrow.Record {
	t.Helper()
	w, err := NewWriter(a, rec.Schema(), WithWriteMemory(wm))
	if err == nil {
		err = w.Write(rec)
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(b, WithReadMemory(rm))
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestMemoryIsGone: no mapping stays, whenever the last record is released, or if it never is.
func TestMemoryIsGone(t *testing.T) {
	if n := mappings(t); n != 0 {
		t.Fatalf("%d before", n)
	}
	read := func() (*WriteMemory, *ReadMemory, arrow.Record) {
		a, b := socketPair(t)
		wm, rm := sharedPair(t, a, b, 2)
		rec := linesIn(append(wm.Take(), make([]byte, 100_000)...), 10)
		defer rec.Release()
		got := passed(t, a, b, wm, rm, rec)
		if n := mappings(t); n != 2 {
			t.Fatalf("%d mappings and descriptors; expected a mapping at each end", n)
		}
		wm.Close()
		a.Close()
		return wm, rm, got
	}
	wm, rm, rec := read()
	if wm.Take() != nil {
		t.Error("closed memory was taken")
	}
	rec.Release()
	rm.Close()
	if n := mappings(t); n != 0 {
		t.Errorf("%d after a release and Close", n)
	}
	_, rm, rec = read()
	rm.Close()
	if n := mappings(t); n != 1 || rec.Column(0).(*array.Binary).ValueBytes()[0] != 0 {
		t.Errorf("%d while a record is held", n)
	}
	rec.Release()
	if n := mappings(t); n != 0 {
		t.Errorf("%d after Close and the release", n)
	}
}

// TestGarbageOfMemory: a batch that a run has dropped without a release keeps no memory.
func TestGarbageOfMemory(t *testing.T) {
	a, _ := socketPair(t)
	func() {
		rm, file, err := NewReadMemory(a.(*net.UnixConn), 1)
		if err != nil {
			t.Fatal(err)
		}
		file.Close()
		if _, _, err := rm.lend(0, 64); err != nil {
			t.Fatal(err)
		}
		rm.Close()
	}()
	for end := time.Now().Add(30 * time.Second); mappings(t) > 0; runtime.GC() {
		if time.Now().After(end) {
			t.Fatal("the memory is mapped still")
		}
	}
}

// FuzzMemory is FuzzReader with bodies in shared memory.
func FuzzMemory(f *testing.F) {
	schema := schemaOf(everyType()[:len(everyType())-2])
	rec := randomRecord(memory.DefaultAllocator, rand.New(rand.NewSource(2)), schema, 9, 0.3)
	var out bytes.Buffer
	w, err := NewWriter(&out, schema)
	if err != nil {
		f.Fatal(err)
	}
	for i, l := range w.columns {
		d := rec.Column(i).Data()
		if err := w.enc.column(l, d, d.Offset(), 9); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.send(atMemory, make([]byte, 8), w.enc.metadata(9, arrow.Metadata{}), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes(), bytes.Join(w.enc.pieces, nil))
	f.Add(smallStream(f), []byte(nil))
	a, c := socketPair(f)
	wm, rm := sharedPair(f, a, c, 1)
	f.Fuzz(func(t *testing.T, b, body []byte) {
		copy(wm.file.data, body)
		rd, err := NewReader(bytes.NewReader(b), WithReadMemory(rm), WithMaxMessageBytes(1<<20))
		for err == nil {
			var rec arrow.Record
			if rec, err = rd.Read(); err != nil {
				break
			}
			clear(wm.file.data[:len(body)]) // what was checked must not have been there
			if rec.NumRows() <= 1<<16 && !longArray(rec) {
				for _, column := range rec.Columns() {
					touch(column)
				}
			}
			rec.Release()
			copy(wm.file.data, body)
		}
		if err != io.EOF && !coded(err) {
			t.Fatal(err)
		}
		if rm.lent != 0 {
			t.Fatalf("%d slots are lent", rm.lent)
		}
	})
}
