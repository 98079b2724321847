package spool

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newPool(t testing.TB, cfg Config) *Pool {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s := p.Stats(); s.Spools != 0 || s.Bytes != 0 {
			t.Errorf("left in the pool: %+v", s)
		}
	})
	return p
}

func newSpool(t testing.TB, p *Pool) *Spool {
	t.Helper()
	s := p.New()
	t.Cleanup(func() { s.Close() })
	return s
}

func write(t testing.TB, s *Spool, p []byte) {
	t.Helper()
	if n, err := s.Write(p); n != len(p) || err != nil {
		t.Fatalf("%d of %d bytes, %v", n, len(p), err)
	}
}

// noise is bytes that differ everywhere.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func check(t testing.TB, s *Spool, want []byte) {
	t.Helper()
	if s.Size() != int64(len(want)) || s.SHA256() != sha256.Sum256(want) {
		t.Errorf("size %d and its digest, want %d", s.Size(), len(want))
	}
	var b bytes.Buffer
	if n, err := s.WriteTo(&b); n != int64(len(want)) || err != nil || !bytes.Equal(b.Bytes(), want) {
		t.Errorf("WriteTo gave %d bytes, %v; want %d", n, err, len(want))
	}
	r := s.Reader()
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Reader gave %d bytes, %v; want %d", len(got), err, len(want))
	}
}

// TestSpool: what was written comes back, on every side of the bounds between memory, file and the last chunk.
func TestSpool(t *testing.T) {
	t.Parallel()
	for _, memory := range []int64{1, chunkSize - 1, chunkSize, 2*chunkSize + 1, 1 << 20} {
		p := newPool(t, Config{Memory: memory})
		for _, size := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 2 * chunkSize, 3*chunkSize - 1, 3 * chunkSize, 5*chunkSize + 7, 40 * chunkSize} {
			for _, piece := range []int{997, chunkSize, 3*chunkSize + 1} {
				s, want := newSpool(t, p), noise(size)
				for rest := want; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
					write(t, s, rest[:min(piece, len(rest))])
				}
				check(t, s, want)
				if file := s.file != nil; file != (int64(size)/chunkSize*chunkSize > memory/chunkSize*chunkSize) {
					t.Errorf("%d bytes, %d in memory: a file %v", size, memory, file)
				}
				s.Close()
			}
		}
	}
}

// TestReadersBesideWriter: each reader gives exactly what was there when it was made, while the writer goes on.
func TestReadersBesideWriter(t *testing.T) {
	t.Parallel()
	s := newSpool(t, newPool(t, Config{Memory: chunkSize}))
	want := noise(30*chunkSize + 11)
	var wait sync.WaitGroup
	for rest := want; len(rest) > 0; {
		n := min(len(rest), chunkSize/3+len(rest)%100)
		write(t, s, rest[:n])
		rest = rest[n:]
		size := len(want) - len(rest)
		r := s.Reader()
		wait.Go(func() {
			defer r.Close()
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want[:size]) {
				t.Errorf("%d bytes, %v; want %d", len(got), err, size)
			}
		})
	}
	wait.Wait()
	check(t, s, want)
}

// TestLimits: an answer and all of them may have exactly what they may have; whoever is refused is as before, and what is
// closed is there again.
func TestLimits(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{Answer: 1000, Process: 1500})
	a, b := newSpool(t, p), newSpool(t, p)
	write(t, a, noise(1000))
	refused := func(s *Spool, n int) {
		t.Helper()
		if n, err := s.Write(noise(n)); n != 0 || !fault.Is(err, CodeFull) {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	refused(a, 1)
	write(t, b, noise(300))
	refused(b, 201)
	check(t, b, noise(300))
	if got := p.Stats(); got != (Stats{Spools: 2, Bytes: 1300, Limit: 1500}) {
		t.Errorf("%+v", got)
	}
	write(t, b, noise(200))
	refused(b, 1)
	a.Close()
	if got := p.Stats(); got != (Stats{Spools: 1, Bytes: 500, Limit: 1500}) {
		t.Errorf("%+v", got)
	}
	write(t, b, noise(500))
	refused(b, 1)
	check(t, b, append(append(noise(300), noise(200)...), noise(500)...))
	refused(newSpool(t, p), 501)
	_, err := b.Write(make([]byte, 501))
	if f := fault.From(err); f.Retryable || f.Hint == "" {
		t.Errorf("an answer that is too large: %+v", f)
	}
}

// TestLimitsOfMany: writers at once never have more than all may have.
func TestLimitsOfMany(t *testing.T) {
	t.Parallel()
	const each, all = 100, 2000
	p := newPool(t, Config{Process: all, Memory: 1})
	var mu sync.Mutex
	var full int
	var wait sync.WaitGroup
	for range 50 {
		s := newSpool(t, p)
		wait.Go(func() {
			if _, err := s.Write(noise(each)); err != nil {
				mu.Lock()
				full++
				mu.Unlock()
			}
			if p.Stats().Bytes > all {
				t.Error("more than all may have")
			}
		})
	}
	wait.Wait()
	if full != 50-all/each {
		t.Errorf("%d were refused", full)
	}
}

// diskFull is the size of the disk in TestDiskFull.
const diskFull = 1 << 20

// TestDiskFull: a disk that fills up is a coded error, after which the spool gives nothing any more, and the room is there
// again when it is closed.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	p := newPool(t, Config{Dir: disk, Memory: chunkSize})
	if disk == "" {
		t.Log("NOT ON A REAL FILE SYSTEM: nothing can be mounted here, a file that says ENOSPC stands for it")
		p.create = func(string) (file, error) { return &shortFile{}, nil }
	}
	for range 3 { // Close makes room again
		s := newSpool(t, p)
		var err error
		var written int
		for err == nil && written < 10*diskFull {
			_, err = s.Write(noise(100_000))
			written += 100_000
		}
		f := fault.From(err)
		if !fault.Is(err, CodeDiskFull) || !errors.Is(err, syscall.ENOSPC) || f.Class != fault.Sink || !f.Retryable || f.Hint == "" || strings.Contains(f.Message, "/") {
			t.Fatalf("after %d bytes: %+v", written, err)
		}
		if written < diskFull/2 || written > 2*diskFull {
			t.Errorf("the disk was full after %d bytes", written)
		}
		if _, err := s.Write([]byte("more")); !fault.Is(err, CodeDiskFull) {
			t.Errorf("after the disk was full: %v", err)
		}
		if n, err := s.WriteTo(io.Discard); n != 0 || !fault.Is(err, CodeDiskFull) {
			t.Errorf("a spool that is not whole gave %d bytes, %v", n, err)
		}
		s.Close()
	}
}

// shortFile is a file on a disk of diskFull bytes.
type shortFile struct{ size int64 }

func (f *shortFile) WriteAt(p []byte, at int64) (int, error) {
	if f.size = max(f.size, at+int64(len(p))); f.size > diskFull {
		return 0, &os.PathError{Op: "write", Path: "/spools/x", Err: syscall.ENOSPC}
	}
	return len(p), nil
}
func (*shortFile) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }
func (*shortFile) Close() error                      { return nil }

// TestFileFails: a file that cannot be made or written is coded, without its path.
func TestFileFails(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{Dir: filepath.Join(t.TempDir(), "none")}); !fault.Is(err, CodeIO) || !errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), "none") {
		t.Errorf("no folder: %v", err)
	}
	p := newPool(t, Config{Memory: 1})
	p.create = func(string) (file, error) { return nil, &os.PathError{Op: "open", Path: "/x", Err: syscall.EACCES} }
	s := newSpool(t, p)
	if _, err := s.Write(noise(chunkSize)); !fault.Is(err, CodeIO) || strings.Contains(err.Error(), "/x") {
		t.Errorf("no file: %v", err)
	}
	s.Close()
	p.create = func(string) (file, error) { return brokenFile{}, nil }
	s = newSpool(t, p)
	write(t, s, noise(chunkSize))
	if n, err := s.WriteTo(io.Discard); n != 0 || !fault.Is(err, CodeIO) {
		t.Errorf("a file that cannot be read: %d bytes, %v", n, err)
	}
	if err := s.Close(); !fault.Is(err, CodeIO) {
		t.Errorf("a file that cannot be closed: %v", err)
	}
}

type brokenFile struct{}

func (brokenFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (brokenFile) ReadAt(p []byte, _ int64) (int, error)  { return len(p) / 2, syscall.EIO }
func (brokenFile) Close() error                           { return syscall.EIO }

// TestTampered: whatever somebody does to the file is an error, and no wrong byte comes out.
func TestTampered(t *testing.T) {
	t.Parallel()
	const sealed = chunkSize + overhead
	want := noise(6*chunkSize + 5)
	for name, tamper := range map[string]func(f *os.File) error{
		"emptied": func(f *os.File) error { return f.Truncate(0) },
		"cut":     func(f *os.File) error { return f.Truncate(3*sealed - 1) },
		"a bit": func(f *os.File) error {
			var b [1]byte
			_, _ = f.ReadAt(b[:], 2*sealed+100)
			b[0] ^= 4
			_, err := f.WriteAt(b[:], 2*sealed+100)
			return err
		},
		"the tag": func(f *os.File) error { _, err := f.WriteAt(make([]byte, overhead), 3*sealed-overhead); return err },
		"chunks in another order": func(f *os.File) error {
			a, b := make([]byte, sealed), make([]byte, sealed)
			_, _ = f.ReadAt(a, 2*sealed)
			_, _ = f.ReadAt(b, 3*sealed)
			_, _ = f.WriteAt(a, 3*sealed)
			_, err := f.WriteAt(b, 2*sealed)
			return err
		},
		"a chunk twice": func(f *os.File) error {
			a := make([]byte, sealed)
			_, _ = f.ReadAt(a, 1*sealed)
			_, err := f.WriteAt(a, 2*sealed)
			return err
		},
	} {
		p := newPool(t, Config{Memory: chunkSize})
		s := newSpool(t, p)
		write(t, s, want)
		if err := tamper(s.file.(*os.File)); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := s.WriteTo(&b); !fault.Is(err, CodeCorrupt) || !bytes.HasPrefix(want, b.Bytes()) {
			t.Errorf("%s: %v after %d bytes", name, err, b.Len())
		}
		s.Close()
	}
	// Of another spool.
	p := newPool(t, Config{Memory: 1})
	a, b := newSpool(t, p), newSpool(t, p)
	write(t, a, want)
	write(t, b, want)
	a.file, b.file = b.file, a.file
	if n, err := a.WriteTo(io.Discard); n != 0 || !fault.Is(err, CodeCorrupt) {
		t.Errorf("the file of another spool: %d bytes, %v", n, err)
	}
}

// TestClose: it may come twice, and while somebody reads; nobody gets anything afterwards, and the memory is empty.
func TestClose(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{Memory: chunkSize})
	s := newSpool(t, p)
	write(t, s, bytes.Repeat([]byte("patient "), 3*chunkSize/8+1))
	r := s.Reader()
	if _, err := io.ReadFull(r, make([]byte, chunkSize+1)); err != nil { // into the file
		t.Fatal(err)
	}
	var held [][]byte
	for _, b := range append(s.head, s.tail, r.(*reader).plain) {
		held = append(held, b[:cap(b)])
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.ReadAll(r); !fault.Is(err, CodeClosed) {
		t.Errorf("a reader: %v", err)
	}
	for range 2 {
		r.Close()
	}
	if _, err := r.Read(make([]byte, 1)); !fault.Is(err, CodeClosed) {
		t.Errorf("a closed reader: %v", err)
	}
	for i, b := range held {
		if len(bytes.Trim(b, "\x00")) > 0 {
			t.Errorf("buffer %d still holds something", i)
		}
	}
	if _, err := s.Write([]byte("x")); !fault.Is(err, CodeClosed) {
		t.Errorf("Write: %v", err)
	}
	if _, err := s.WriteTo(io.Discard); !fault.Is(err, CodeClosed) {
		t.Errorf("WriteTo: %v", err)
	}
}

// TestCloseBesideReaders: readers that are in the middle of the file get all or an error.
func TestCloseBesideReaders(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{Memory: chunkSize})
	want := noise(20 * chunkSize)
	for range 20 {
		s := newSpool(t, p)
		write(t, s, want)
		var wait sync.WaitGroup
		begun := make(chan struct{}, 4)
		for range cap(begun) {
			wait.Go(func() {
				var b bytes.Buffer
				_, err := s.WriteTo(io.MultiWriter(&b, signal(begun)))
				if err == nil && b.Len() != len(want) && b.Len() != 0 || err != nil && !fault.Is(err, CodeClosed) || !bytes.HasPrefix(want, b.Bytes()) {
					t.Errorf("%d bytes, %v", b.Len(), err)
				}
			})
		}
		<-begun
		s.Close()
		wait.Wait()
	}
}

// signal tells once that something was written.
type signal chan struct{}

func (s signal) Write(p []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(p), nil
}

// TestWriterFails: the error of whoever is written to is given back as it is.
func TestWriterFails(t *testing.T) {
	t.Parallel()
	s := newSpool(t, newPool(t, Config{}))
	write(t, s, noise(3*chunkSize))
	r, w := io.Pipe()
	r.CloseWithError(syscall.EPIPE)
	if n, err := s.WriteTo(w); n != 0 || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("%d, %v", n, err)
	}
}

// TestRemoved: where there are no files without a name, the name is gone at once.
func TestRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := removed(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
	info, err := f.(*os.File).Stat()
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := removed(filepath.Join(dir, "none")); err == nil {
		t.Error("no folder is no error")
	}
}

// FuzzSpool: in any order of writes and reads, a spool is a buffer.
func FuzzSpool(f *testing.F) {
	f.Add(uint16(1), []byte{10, 200, 0, 255, 3})
	f.Add(uint16(65535), []byte{255, 255, 255, 255, 0, 255, 1})
	f.Fuzz(func(t *testing.T, memory uint16, steps []byte) {
		p := newPool(t, Config{Memory: 3 * int64(memory), Dir: os.TempDir()})
		s := p.New()
		defer s.Close()
		var want bytes.Buffer
		source := noise(1 << 17)
		for i, step := range steps[:min(len(steps), 64)] {
			if step%8 == 0 {
				check(t, s, want.Bytes())
				continue
			}
			piece := source[i : i+int(step)*int(step)*2]
			write(t, s, piece)
			want.Write(piece)
		}
		check(t, s, want.Bytes())
	})
}

func BenchmarkSpool(b *testing.B) {
	for _, size := range []int64{512 << 10, 64 << 20} {
		piece := noise(256 << 10)
		b.Run(fmt.Sprintf("write/%dKiB", size>>10), func(b *testing.B) {
			p := newPool(b, Config{})
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				s := p.New()
				for range size / int64(len(piece)) {
					write(b, s, piece)
				}
				s.Close()
			}
		})
		b.Run(fmt.Sprintf("read/%dKiB", size>>10), func(b *testing.B) {
			s := newSpool(b, newPool(b, Config{}))
			for range size / int64(len(piece)) {
				write(b, s, piece)
			}
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.WriteTo(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
