package nodeplugin

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/peer"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// TestStrangers: in another language too, whoever does not know the words of a data socket is sent nothing, adds nothing and
// holds nobody up.
func TestStrangers(t *testing.T) {
	w := newWorkspace(t)
	h, err := host.New(host.Config{PluginDir: w.plugins})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, impostor := range []bool{false, true} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		dir, err := h.NewDir()
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		p, err := h.Start(ctx, "redact", host.Reach{Path: dir, Write: true})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if offer, err := p.Describe(ctx); err != nil || !offer.LinkWords {
			t.Fatalf("it does not know the words: %+v, %v", offer, err)
		}
		before := peer.Expected{Hello: peer.NewWord(), Welcome: peer.NewWord(), Timeout: patience}
		after := peer.Expected{Hello: peer.NewWord(), Welcome: peer.NewWord(), Timeout: patience}
		input, output := filepath.Join(dir, "i"), filepath.Join(dir, "o")
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: output, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		if err := p.Open(ctx, &pb.OpenRequest{
			RunId: "test", Stages: []*pb.Stage{{Id: "stage", Kind: "filter", Name: "text", Settings: []byte("{}")}}, Input: input, Output: output,
			InputPeer: control.PeerToProto(before), OutputPeer: control.PeerToProto(after),
		}, nil); err != nil {
			t.Fatal(err)
		}
		var strangers []net.Conn
		for _, text := range [][]byte{nil, []byte("GET / HTTP/1.0\r\n\r\n"), peer.NewWord(), bytes.Repeat([]byte("x"), 1<<16), before.Welcome} {
			conn, err := net.Dial("unix", input)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go func() { _, _ = conn.Write(text) }() // it may be turned away meanwhile
			strangers = append(strangers, conn)
		}
		read := make(chan int64, 1)
		go func() {
			if impostor {
				n := int64(-1)
				if conn, err := listener.AcceptUnix(); err == nil {
					_, _ = conn.Write(peer.NewWord())
					n, _ = io.Copy(io.Discard, conn) // until the plugin has seen enough
					conn.Close()
				}
				read <- n
				return
			}
			n := int64(-1)
			if conn, err := peer.Accept(ctx, listener, after, nil); err == nil {
				n = 0
				if reader, err := wire.NewReader(conn); err == nil {
					for {
						rec, err := reader.Read()
						if err != nil {
							break
						}
						n += rec.NumRows()
						rec.Release()
					}
				}
				conn.Close()
			}
			read <- n
		}()
		go sendOne(ctx, input, before)
		err = p.Start(ctx, func(*pb.Event) {})
		listener.Close() // it may have failed before it connected
		n := <-read
		if f := fault.From(err); impostor && (f == nil || f.Code != "link.stranger" || n > int64(len(after.Hello))) {
			t.Errorf("somebody else listens: %d bytes were sent there, and the run ended with %v", n, err)
		}
		if !impostor && (err != nil || n != 1) {
			t.Errorf("%d rows came, and the run ended with %v", n, err)
		}
		p.Close()
		for i, conn := range strangers {
			if n, _ := io.Copy(io.Discard, conn); n > 0 {
				t.Errorf("stranger %d was sent %d bytes", i, n)
			}
		}
	}
}

// sendOne sends one row, as the neighbour does. When the plugin goes away, its run says why.
func sendOne(ctx context.Context, path string, to peer.Expected) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return
	}
	defer c.Close()
	conn := c.(*net.UnixConn)
	if to.SendHello(conn) != nil || to.AwaitWelcome(ctx, conn) != nil {
		return
	}
	schema := arrow.NewSchema([]arrow.Field{{Name: "note", Type: arrow.BinaryTypes.String}}, nil)
	b := array.NewRecordBuilder(memory.NewGoAllocator(), schema)
	defer b.Release()
	b.Field(0).(*array.StringBuilder).Append("a note")
	rec := b.NewRecord()
	defer rec.Release()
	if writer, err := wire.NewWriter(conn, schema); err == nil && writer.Write(rec) == nil {
		_ = writer.Close()
	}
}
