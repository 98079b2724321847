package runner

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// connected are the two ends of a connection as it is between two groups.
func connected(t *testing.T) (writer, reader *net.UnixConn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "runner") // short: the path of a socket has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := listen(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if reader, err = l.AcceptUnix(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	return conn.(*net.UnixConn), reader
}

// TestHeed: what a reader gives back of shared memory, whatever the slot's number, is never taken for the word that it needs no
// more batches, which would cut the rows short.
func TestHeed(t *testing.T) {
	writer, reader := connected(t)
	o := &output{conn: writer}
	words := make(chan struct{}, 300)
	stop, err := o.heed(true, func() { words <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	for slot := range memorySlots() {
		if _, err := reader.Write([]byte{byte(slot)}); err != nil {
			t.Fatal(err)
		}
	}
	in := &input{conn: reader}
	in.enough()
	select {
	case <-words:
	case <-time.After(10 * time.Second):
		t.Error("nobody hears that no more batches are needed")
	}
	stop()
	if len(words) > 0 {
		t.Errorf("it is heard %d times more", len(words))
	}
}
