package peer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func listen(t *testing.T) (*net.UnixListener, string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "cs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, path
}

func dial(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestWords: of many who connect, the one that says the word is taken; the others are sent nothing.
func TestWords(t *testing.T) {
	l, path := listen(t)
	want := Expected{Hello: NewWord(), Welcome: NewWord()}
	var strangers []*net.UnixConn
	for i := range mostPending + 10 { // more than may wait
		conn := dial(t, path)
		if i%3 == 0 {
			if _, err := conn.Write(NewWord()); err != nil {
				t.Fatal(err)
			}
		}
		strangers = append(strangers, conn)
	}
	mine := dial(t, path)
	if err := want.SendHello(mine); err != nil {
		t.Fatal(err)
	}
	if _, err := mine.Write([]byte("rows")); err != nil {
		t.Fatal(err)
	}
	turnedAway := 0
	conn, err := Accept(t.Context(), l, want, func(error) { turnedAway++ })
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := want.AwaitWelcome(t.Context(), mine); err != nil {
		t.Error(err)
	}
	mine.Close()
	if text, err := io.ReadAll(conn); err != nil || !bytes.Equal(text, []byte("rows")) {
		t.Errorf("%q, %v", text, err)
	}
	for i, s := range strangers {
		if text, _ := io.ReadAll(s); len(text) > 0 {
			t.Errorf("stranger %d was sent %d bytes", i, len(text))
		}
	}
	if _, err := net.Dial("unix", path); err == nil {
		t.Error("it listens on")
	}
}

// TestImpostor: a writer sends nothing after its word to who answers with another, or with none in time.
func TestImpostor(t *testing.T) {
	for name, answer := range map[string][]byte{"another": NewWord(), "none": nil} {
		l, path := listen(t)
		want := Expected{Hello: NewWord(), Welcome: NewWord(), Timeout: 10 * time.Millisecond}
		conn := dial(t, path)
		if err := want.SendHello(conn); err != nil {
			t.Fatal(err)
		}
		other, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if _, err := other.Write(answer); err != nil {
			t.Fatal(err)
		}
		var stranger *StrangerError
		if err := want.AwaitWelcome(t.Context(), conn); !errors.As(err, &stranger) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestProcess: where the system tells who is there, another process is turned away, whatever it says.
func TestProcess(t *testing.T) {
	l, path := listen(t)
	conn := dial(t, path)
	p, err := Of(conn)
	if err != nil {
		t.Fatal(err)
	}
	if p.UID < 0 || p.PID == 0 {
		t.Skip("the system does not tell who is there")
	}
	if p.UID != os.Geteuid() || p.PID != os.Getpid() {
		t.Errorf("got %+v", p)
	}
	const init = 1
	var stranger *StrangerError
	if err := (Expected{PID: init}).SendHello(conn); !errors.As(err, &stranger) {
		t.Errorf("the listener: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if conn, err := Accept(ctx, l, Expected{PID: init}, func(err error) {
		if !errors.As(err, &stranger) {
			t.Errorf("who connects: got %v", err)
		}
		cancel()
	}); err == nil || ctx.Err() == nil {
		t.Errorf("took %v, %v", conn, err)
	}
}
