package service

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/api"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/pin"
)

// listener is an address, and the server that answers there. A nil one is nowhere.
type listener struct {
	net    net.Listener
	server *http.Server
	pair   atomic.Pointer[tls.Certificate] // nil is no TLS
	fail   func(error)

	// running counts the requests that are being answered, and cut ends them.
	running atomic.Int64
	cut     context.CancelCauseFunc
	once    sync.Once
	wasCut  bool
	done    chan struct{} // closed when serving is over; nil before it began
}

// deadAfter is how long a client may give no sign of life while something is sent to it, or waited for with it: what an answer's
// pieces and the pings of HTTP/2 have as well. Without it, a run would go on for minutes whose client's cable was pulled.
const deadAfter = 30 * time.Second

// attentive listens with what finds such clients. A probe is answered by the system of the client, however busy that is.
var attentive = net.ListenConfig{
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: deadAfter / 3, Interval: deadAfter / 6, Count: 4},
	Control:         limitUnanswered,
}

// listen takes an address. Fail is called when serving ends by itself.
func listen(address string, log *slog.Logger, fail func(error)) (*listener, error) {
	l, err := attentive.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fault.New(CodeListen, fault.Usage, "%s cannot be listened on: %w", address, err).
			WithHint("another program may have it; give another address")
	}
	base, cut := context.WithCancelCause(context.Background())
	server := api.Server(nil, log)
	server.BaseContext = func(net.Listener) context.Context { return base }
	return &listener{net: l, server: server, fail: fail, cut: cut}, nil
}

// certificate has the listener speak TLS; empty paths are none.
func (l *listener) certificate(certificate, key string) error {
	pair, err := readCertificate(certificate, key)
	if err == nil {
		l.use(pair)
	}
	return err
}

func readCertificate(certificate, key string) (*tls.Certificate, error) {
	if certificate == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, fault.New(CodeListen, fault.Usage, "certificate and key cannot be used: %w", err)
	}
	return &pair, nil
}

func (l *listener) use(pair *tls.Certificate) { l.pair.Store(pair) }

// serve answers from now on.
func (l *listener) serve(handler http.Handler) {
	l.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.running.Add(1)
		defer l.running.Add(-1)
		handler.ServeHTTP(w, r)
	})
	l.done = make(chan struct{})
	secure := l.pair.Load() != nil
	if secure {
		l.server.TLSConfig.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return l.pair.Load(), nil }
	}
	go func() {
		defer close(l.done)
		var err error
		if secure {
			err = l.server.ServeTLS(l.net, "", "")
		} else {
			err = l.server.Serve(l.net)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			l.fail(fault.New(CodeListen, fault.Internal, "serving %s ended: %w", l.net.Addr(), err))
		}
	}()
}

// stop takes no more connections, waits until ctx ends for what runs, cuts it then, and reports whether it did.
func (l *listener) stop(ctx context.Context) (cut bool) {
	if l == nil {
		return false
	}
	l.once.Do(func() {
		if l.done == nil {
			_ = l.net.Close()
			return
		}
		if l.server.Shutdown(ctx) != nil { // also for a connection that has just been made, or is about to be closed
			l.wasCut = l.running.Load() > 0
			l.cut(api.Stopping())
			over, cancel := context.WithTimeout(context.WithoutCancel(ctx), cutTime)
			defer cancel()
			if l.server.Shutdown(over) != nil {
				_ = l.server.Close() // whoever does not even take an error
			}
		}
		<-l.done
	})
	l.cut(nil)
	return l.wasCut
}

// serving reports whether it answers, or did and was not stopped.
func (l *listener) serving() bool {
	if l == nil || l.done == nil {
		return false
	}
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

func (l *listener) address() string {
	if l == nil {
		return ""
	}
	return l.net.Addr().String()
}

func (l *listener) pin() string {
	pair := l.pair.Load()
	if pair == nil {
		return ""
	}
	return pin.Of(pair.Leaf)
}
