package peer_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/peer"
)

// connected is the two ends of a unix socket.
func connected(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	at := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"}
	l, err := net.ListenUnix("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.DialUnix("unix", nil, at); err != nil {
		t.Fatal(err)
	}
	if b, err = l.AcceptUnix(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// descriptors counts those that this process has.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestFile: a file arrives, that there is none arrives, and nothing else is taken or stays open.
func TestFile(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString("content"); err != nil {
		t.Fatal(err)
	}
	rights := func(said byte, fds ...int) func(*net.UnixConn) error {
		return func(conn *net.UnixConn) error {
			var control []byte
			if len(fds) > 0 {
				control = syscall.UnixRights(fds...)
			}
			_, _, err := conn.WriteMsgUnix([]byte{said}, control, nil)
			return err
		}
	}
	fd := int(file.Fd())
	for _, c := range []struct {
		name       string
		send       func(*net.UnixConn) error
		came, fine bool
	}{
		{"a file", func(conn *net.UnixConn) error { return peer.SendFile(conn, file) }, true, true},
		{"none", func(conn *net.UnixConn) error { return peer.SendFile(conn, nil) }, false, true},
		{"one that is announced, and does not come", rights(1), false, false},
		{"one that is not announced", rights(0, fd), false, false},
		{"two", rights(1, fd, fd), false, false},
		{"many", rights(1, fd, fd, fd, fd, fd), false, false},
		{"another word", rights(2), false, false},
		{"the end", func(conn *net.UnixConn) error { return conn.Close() }, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := connected(t)
			if err := c.send(a); err != nil {
				t.Fatal(err)
			}
			a.Close()
			before := descriptors(t)
			got, err := peer.ReceiveFile(t.Context(), b)
			if (err == nil) != c.fine || (got != nil) != c.came {
				t.Fatalf("got %v, %v", got, err)
			}
			if got == nil {
				if after := descriptors(t); after != before {
					t.Errorf("%d descriptors, %d before", after, before)
				}
				return
			}
			defer got.Close()
			text := make([]byte, 7)
			if _, err := got.ReadAt(text, 0); err != nil || string(text) != "content" {
				t.Errorf("%q, %v", text, err)
			}
			raw, err := got.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			if err := raw.Control(func(fd uintptr) {
				if flags, _, _ := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFD, 0); flags&syscall.FD_CLOEXEC == 0 {
					t.Error("a program that is started would get the file")
				}
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("an end of waiting", func(t *testing.T) {
		_, b := connected(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := peer.ReceiveFile(ctx, b); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}
