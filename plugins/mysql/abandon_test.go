package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// oneConnection lets one connection through to a server, and refuses every other. cut
// breaks the one.
func oneConnection(t *testing.T, server int) (port int, cut func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	broken, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		near, err := listener.Accept()
		listener.Close()
		if err != nil {
			return
		}
		defer near.Close()
		far, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", server))
		if err != nil {
			return
		}
		defer far.Close()
		copied := make(chan struct{}, 2)
		pass := func(to io.Writer, from io.Reader) {
			_, _ = io.Copy(to, from) // ends when one of them is closed
			copied <- struct{}{}
		}
		go pass(far, near)
		go pass(near, far)
		left := 2
		select {
		case <-broken:
		case <-copied:
			left--
		}
		near.Close()
		far.Close()
		for range left {
			<-copied
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-ended
	})
	return listener.Addr().(*net.TCPAddr).Port, func() { close(broken) }
}

// TestQueryThatCannotBeKilled: nobody is told of it who learns of a broken connection anyway;
// who cancels a run is told that the server works on.
func TestQueryThatCannotBeKilled(t *testing.T) {
	db := dbtest.MariaDB(t)
	for _, c := range []struct {
		name      string
		cancelled bool
	}{{"broken connection", false}, {"cancelled", true}} {
		t.Run(c.name, func(t *testing.T) {
			port, cut := oneConnection(t, db.Port())
			dsn := strings.Replace(db.DSN(db.Database()), fmt.Sprintf(":%d/", db.Port()), fmt.Sprintf(":%d/", port), 1)
			p, err := newProbe(t, settings{"url": dsn, "query": "SELECT seq, 'abandoned' FROM seq_1_to_1000000000"})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			if _, err := p.Open(ctx); err != nil {
				t.Fatal(err)
			}
			why := errors.New("somebody pressed a key")
			if c.cancelled {
				cancel(why)
			} else {
				cut()
			}
			for err == nil {
				record, nextErr := p.Next(ctx)
				if err = nextErr; err == nil {
					record.Release()
				}
			}
			if c.cancelled && !errors.Is(err, why) {
				t.Errorf("error is %v, want the context's cause", err)
			} else if !c.cancelled {
				wantFault(t, err, codeConnectionLost)
			}
			if told := strings.Contains(p.told(), complaint); told != c.cancelled {
				t.Errorf("the log is\n%s", p.told())
			}
		})
	}
}
