package host_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/engine/host"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
)

// arrowStream is a stream of n numbers as Arrow's own writer makes it, and the
// offset at which the end-of-stream begins.
func arrowStream(t *testing.T, n int) (stream []byte, end int) {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	b := array.NewRecordBuilder(memory.NewGoAllocator(), schema)
	defer b.Release()
	for i := range n {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
	}
	rec := b.NewRecord()
	defer rec.Release()
	var buffer bytes.Buffer
	w := ipc.NewWriter(&buffer, ipc.WithSchema(schema))
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	end = buffer.Len()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes(), end
}

// TestDataSocket gives the group after a stage what that stage should not send. A
// stream that isn't whole never becomes output, and no process is harmed.
func TestDataSocket(t *testing.T) {
	stream, end := arrowStream(t, 1000)
	replaced := func(at int, with ...byte) []byte {
		s := bytes.Clone(stream)
		copy(s[at:], with)
		return s
	}
	message := func(length uint32, rest ...byte) []byte {
		return append(binary.LittleEndian.AppendUint32([]byte{0xff, 0xff, 0xff, 0xff}, length), rest...)
	}
	for _, c := range []struct {
		name string
		sent []byte
		code string // empty: it is fine
	}{
		{"whole", stream, ""},
		{"nothing", nil, runner.UpstreamEnded},
		{"one byte", stream[:1], runner.UpstreamEnded},
		{"half a schema", stream[:40], runner.UpstreamEnded},
		{"half a batch", stream[:end-3000], runner.UpstreamEnded},
		{"no end-of-stream", stream[:end], runner.UpstreamEnded},
		{"half an end-of-stream", stream[:end+4], runner.UpstreamEnded},
		{"text", []byte("panic: runtime error: invalid memory address\n" + strings.Repeat("goroutine 1 [running]:\n", 100)), runner.LinkProtocol},
		{"zeros", make([]byte, 4096), runner.LinkProtocol},
		{"end-of-stream at once", message(0), runner.LinkProtocol},
		{"a message of 2 GiB", message(0x7ffffff8, 1, 2, 3), runner.LinkProtocol},
		{"a message of -8 bytes", message(0xfffffff8, 1, 2, 3), runner.LinkProtocol},
		{"garbage for a schema", message(64, bytes.Repeat([]byte{0xab}, 64)...), runner.LinkProtocol},
		{"garbage after the schema", append(bytes.Clone(stream[:end-8000-200]), bytes.Repeat([]byte{0x55}, 9000)...), runner.LinkProtocol},
		{"text for an end-of-stream", append(bytes.Clone(stream[:end]), "oh no, oh no"...), runner.LinkProtocol},
		{"a schema twice", append(bytes.Clone(stream[:bytes.Index(stream[4:], []byte{0xff, 0xff, 0xff, 0xff})+4]), stream...), runner.LinkProtocol},
		{"a spoilt header", replaced(8, 0xff, 0xff, 0xff, 0x7f), runner.LinkProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSetup(t, host.Config{})
			p, err := s.Start(t.Context(), firstParty)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			socket := filepath.Join(s.out, "e")
			if len(socket) > 100 {
				socket = filepath.Join(s.tmp, "e")
			}
			if err := p.Open(t.Context(), s.group(socket, "encoder/lines", "sink/file"), nil); err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				_, _ = conn.Write(c.sent) // fails where the group has seen enough
				conn.Close()
			}()
			err = p.Start(t.Context(), func(e *pb.Event) {
				if e.GetPrepared() != nil && c.code == "" {
					if _, err := p.Commit(context.Background()); err != nil {
						t.Errorf("commit: %v", err)
					}
				} else if e.GetPrepared() != nil {
					t.Error("the group holds that it has everything")
				}
			})
			left := names(t, s.out)
			if c.code == "" {
				if err != nil || len(left) != 1 || left[0] != "out" {
					t.Errorf("got %v, files %v", err, left)
				}
				return
			}
			if f := fault.From(err); f == nil || f.Code != c.code || f.Class != fault.Plugin {
				t.Fatalf("got %+v, want %s", f, c.code)
			}
			if len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
