package service

import (
	"log/slog"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDeadClientsAreFound: a connection that a listener takes ends when its client's system does not answer for half a minute,
// whether something is sent to it or not.
func TestDeadClientsAreFound(t *testing.T) {
	l, err := listen("127.0.0.1:0", slog.New(slog.DiscardHandler), func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer l.net.Close()
	client, err := net.Dial("tcp", l.address())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.net.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	raw, err := server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	option := func(level, name int) (value int) {
		if failed := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }); failed != nil || err != nil {
			t.Fatal(failed, err)
		}
		return value
	}
	if got := option(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); got != 30_000 {
		t.Errorf("what is not acknowledged may wait for %d ms", got)
	}
	idle, interval, count := option(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), option(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL), option(unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
	if option(unix.SOL_SOCKET, unix.SO_KEEPALIVE) == 0 || idle+interval*count != 30 {
		t.Errorf("a silent client is found after %d s and %d times %d s", idle, count, interval)
	}
}
