//go:build unix

package stream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/plugins/internal/partial"
	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var written = sdk.Object{RunID: "run-1"}

func newStream(t testing.TB, to string) sdk.Sink {
	t.Helper()
	made, err := Stage().Make(fmt.Appendf(nil, `{"to": %q}`, to), sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return made.(sdk.Sink)
}

func opened(t testing.TB, to string) sdk.Sink {
	t.Helper()
	s := newStream(t, to)
	if err := s.Open(context.Background(), written); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Abort(context.Background()) })
	return s
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// text has a part that is hashed in place and one that is hashed beside.
var text = bytes.Repeat([]byte("0123456789abcde\n"), 20_000)

func writeAll(t *testing.T, s sdk.Sink) {
	t.Helper()
	for _, p := range [][]byte{text[:10], text[10:200_000], nil, text[200_000:]} {
		if err := s.Write(context.Background(), p); err != nil {
			t.Fatal(err)
		}
	}
}

func commit(t *testing.T, s sdk.Sink, location string) {
	t.Helper()
	receipt, err := s.Commit(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	if want := (sdk.Receipt{Bytes: int64(len(text)), SHA256: hex.EncodeToString(sum[:]), Location: location}); receipt != want {
		t.Errorf("receipt %+v, want %+v", receipt, want)
	}
	if err := s.Abort(context.Background()); err != nil {
		t.Errorf("abort after commit: %v", err)
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.ndjson")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := opened(t, path)
	writeAll(t, s)
	if got, want := names(t, dir), ".out.ndjson.run-1.partial out.ndjson"; got != want {
		t.Errorf("while writing: %s, want %s", got, want)
	}
	if old, _ := os.ReadFile(path); string(old) != "old" {
		t.Errorf("the file changed before the commit")
	}
	commit(t, s, path)
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes (%v), want %d", len(got), err, len(text))
	}
	if info, _ := os.Stat(path); info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if got := names(t, dir); got != "out.ndjson" {
		t.Errorf("left behind: %s", got)
	}
}

// TestNoDigest writes the same bytes, to a file and to an open one, and says nothing of them but their number.
func TestNoDigest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	made, err := Stage().Make(fmt.Appendf(nil, `{"to": %q, "digest": "none"}`, path), sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.Create(path + "2")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for location, s := range map[string]sdk.Sink{path: made.(sdk.Sink), path + "2": To(other, path+"2", DigestNone)} {
		if err := s.Open(t.Context(), written); err != nil {
			t.Fatal(err)
		}
		writeAll(t, s)
		receipt, err := s.Commit(t.Context())
		if want := (sdk.Receipt{Bytes: int64(len(text)), Location: location}); err != nil || receipt != want {
			t.Errorf("receipt %+v, want %+v (%v)", receipt, want, err)
		}
		if got, err := os.ReadFile(location); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes (%v), want %d", len(got), err, len(text))
		}
	}
	if _, err := Stage().Make(fmt.Appendf(nil, `{"to": %q, "digest": "md5"}`, path), sdk.Env{}); err == nil {
		t.Error("an unknown digest was taken")
	}
}

func TestFileAbort(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.csv")
	for range 2 {
		s := opened(t, path)
		writeAll(t, s)
		cancelled, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := s.Commit(cancelled); !errors.Is(err, context.Canceled) {
			t.Errorf("commit after the end: %v", err)
		}
		for range 2 {
			if err := s.Abort(cancelled); err != nil {
				t.Error(err)
			}
		}
		if got := names(t, dir); got != "" {
			t.Errorf("left behind: %s", got)
		}
	}
	if err := newStream(t, path).Abort(context.Background()); err != nil {
		t.Errorf("abort before open: %v", err)
	}
}

func TestSymbolicLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(t.TempDir(), "link")
	if err := os.WriteFile(target, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	s := opened(t, link)
	writeAll(t, s)
	if _, err := s.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced (%v)", err)
	}
	if got, _ := os.ReadFile(target); !bytes.Equal(got, text) {
		t.Errorf("the target has %d bytes", len(got))
	}
}

func TestTemporaryName(t *testing.T) {
	for _, name := range []string{"a", strings.Repeat("x", 255), strings.Repeat("漢", 85)} {
		got := partial.Name(name, "run-1")
		if len(got) > 255 || !strings.HasSuffix(got, ".run-1.partial") || strings.ToValidUTF8(got, "") != got {
			t.Errorf("%q", got)
		}
	}
}

func TestOpenFaults(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	for _, path := range []string{file, filepath.Join(dir, ".taken.run-1.partial")} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	before := names(t, dir)
	for to, code := range map[string]string{
		dir:                                "sink.is_directory",
		fifo:                               "sink.not_a_file",
		filepath.Join(dir, "none", "file"): "sink.not_found",
		filepath.Join(file, "below"):       "sink.not_found",
		filepath.Join(dir, "taken"):        "sink.exists",
		"unix:" + dir + "/none":            "sink.not_found",
		"unix:" + file:                     "sink.unreachable",
	} {
		s := newStream(t, to)
		err := s.Open(context.Background(), written)
		f := fault.From(err)
		if f == nil || f.Code != code || f.Class != fault.Sink {
			t.Errorf("%s: %v, want %s", to, err, code)
		}
		if err := s.Abort(context.Background()); err != nil {
			t.Errorf("%s: abort: %v", to, err)
		}
	}
	if after := names(t, dir); after != before {
		t.Errorf("the folder changed from %s to %s", before, after)
	}
}

func TestTargetFaults(t *testing.T) {
	for _, to := range []string{"", "relative/file", "s3://bucket/x", "unix:", "handoff:/x"} {
		if _, err := Stage().Make(fmt.Appendf(nil, `{"to": %q}`, to), sdk.Env{}); !fault.Is(err, "sink.target") {
			t.Errorf("%q: %v", to, err)
		}
	}
}

func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	read := make(chan []byte, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			read <- nil
			return
		}
		defer conn.Close()
		all, _ := io.ReadAll(conn)
		read <- all
	}()
	s := opened(t, "unix:"+path)
	writeAll(t, s)
	commit(t, s, "unix:"+path)
	if got := <-read; !bytes.Equal(got, text) {
		t.Errorf("%d bytes arrived", len(got))
	}
}

// openedOn returns a sink that writes to an open file.
func openedOn(t *testing.T, file *os.File) sdk.Sink {
	t.Helper()
	s := To(file, "stdout", DigestSHA256)
	if err := s.Open(t.Context(), written); err != nil {
		t.Fatal(err)
	}
	if !s.(sdk.Streamer).Streams() {
		t.Error("a sink on an open file says that nothing is seen before Commit")
	}
	t.Cleanup(func() { s.Abort(context.Background()) })
	return s
}

// blockingPipe returns a pipe whose writing end blocks, as a shell gives it.
func blockingPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	w.Fd() // makes it blocking
	return r, w
}

func isBlocking(t *testing.T, f *os.File) bool {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var flags uintptr
	var errno syscall.Errno
	if err := raw.Control(func(fd uintptr) {
		flags, _, errno = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0)
	}); err != nil || errno != 0 {
		t.Fatal(err, errno)
	}
	return flags&syscall.O_NONBLOCK == 0
}

func TestOpenFile(t *testing.T) {
	r, w := blockingPipe(t)
	s := openedOn(t, w)
	read := make(chan []byte, 1)
	go func() {
		all, _ := io.ReadAll(r)
		read <- all
	}()
	writeAll(t, s)
	if !isBlocking(t, w) {
		t.Error("the caller's descriptor was made non-blocking")
	}
	commit(t, s, "stdout")
	w.Close()
	if got := <-read; !bytes.Equal(got, text) {
		t.Errorf("%d bytes arrived", len(got))
	}
}

func TestOpenRegularFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "redirected"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("before "); err != nil {
		t.Fatal(err)
	}
	s := openedOn(t, f)
	writeAll(t, s)
	commit(t, s, "stdout")
	if _, err := f.WriteString("after"); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(f.Name())
	if want := "before " + string(text) + "after"; string(got) != want {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}

func TestReaderCloses(t *testing.T) {
	for name, outlet := range outlets {
		t.Run(name, func(t *testing.T) {
			r, w := blockingPipe(t)
			s := &sink{to: &conn{name: "stdout", outlet: outlet(t, w)}, sum: object.NewDigest(), opened: true}
			if err := s.Write(context.Background(), text[:1000]); err != nil {
				t.Fatal(err)
			}
			r.Close()
			err := s.Write(context.Background(), text)
			if !fault.Is(err, "sink.closed") || !strings.Contains(err.Error(), "the reader closed the output after 1000 bytes") {
				t.Errorf("got %v", err)
			}
			if err := s.Abort(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

var outlets = map[string]func(t *testing.T, w *os.File) outlet{
	"chosen": func(t *testing.T, w *os.File) outlet {
		o, err := newOutlet(duplicate(t, w))
		if err != nil {
			t.Fatal(err)
		}
		return o
	},
	"detached": func(t *testing.T, w *os.File) outlet { return newDetached(duplicate(t, w)) },
}

func duplicate(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	// Nobody else holds the writing end when this one is closed.
	f.Close()
	return os.NewFile(uintptr(fd), "duplicate")
}

// TestCancelWhileBlocked fills a pipe that nobody reads and cancels.
func TestCancelWhileBlocked(t *testing.T) {
	for name, outlet := range outlets {
		t.Run(name, func(t *testing.T) {
			r, w := blockingPipe(t)
			s := &sink{to: &conn{name: "stdout", outlet: outlet(t, w)}, sum: object.NewDigest(), opened: true}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			large := bytes.Repeat(text, 10)
			go func() { done <- s.Write(ctx, large) }()
			// The first byte has come through, and the rest does not fit.
			if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if err := s.Abort(ctx); err != nil {
				t.Error(err)
			}
			// An abandoned goroutine ends with the reader.
			r.Close()
		})
	}
}

func TestDevice(t *testing.T) {
	s := opened(t, "/dev/null")
	writeAll(t, s)
	commit(t, s, "/dev/null")
	if info, err := os.Stat("/dev/null"); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		t.Fatalf("/dev/null is not what it was: %v (%v)", info, err)
	}
}

func BenchmarkFile(b *testing.B) {
	piece := bytes.Repeat(text, 4)
	s := opened(b, filepath.Join(b.TempDir(), "out"))
	// Over and over the same megabytes: the speed of the stage, not of the disk.
	file := s.(*sink).to.(*file).handle
	meter := sample.NewMeter(b)
	for b.Loop() {
		if meter.Size%(64<<20) < int64(len(piece)) {
			if _, err := file.Seek(0, io.SeekStart); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Write(context.Background(), piece); err != nil {
			b.Fatal(err)
		}
		meter.Rows += int64(len(piece)) / 589
		meter.Size += int64(len(piece))
	}
	meter.Report()
}
