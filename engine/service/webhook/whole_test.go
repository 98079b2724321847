package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/webhook"
)

// TestOverTheNetwork: a dispatcher with its own sender, and a receiver that does what the documentation of sdk/webhook says.
// Its answer to the first request of each delivery gets lost, and one delivery it refuses.
func TestOverTheNetwork(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := newAuthority(t)
	cfg := &tls.Config{Certificates: []tls.Certificate{a.certificate(t, time.Now().Add(time.Hour))}}
	verifier := webhook.Verifier{Secrets: []string{secret}}
	var (
		mu      sync.Mutex
		seen    webhook.Seen
		lost    = map[string]bool{}
		handled []string
	)
	r := listen(t, "127.0.0.1:0", func(c net.Conn) {
		over := tls.Server(c, cfg)
		one := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			event, err := verifier.Request(w, r)
			switch {
			case err != nil:
				t.Errorf("%v", err)
				w.WriteHeader(http.StatusUnauthorized)
			case event.Event == store.EventMaintenance:
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, "what you sent was "+string(event.Data))
			case !seen.First(event.DeliveryID): // handled before
			default:
				handled = append(handled, event.Event)
				if !lost[event.DeliveryID] {
					lost[event.DeliveryID] = true
					panic(http.ErrAbortHandler)
				}
			}
		}), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
		l := &single{c: over, done: make(chan struct{})}
		one.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				l.once.Do(func() { close(l.done) })
			}
		}
		_ = one.Serve(l)
	})
	h.hook(clinic, func(w *store.Webhook) {
		w.URL = "https://127.0.0.1:" + r.port() + "/in?token=9f1"
		w.Retry = store.Retry{MaxAttempts: 3, InitialDelay: time.Millisecond, Multiplier: 1}
	})
	d, err := New(Config{Record: h.record, Secrets: h, Jobs: h, Customers: h, Holder: "a", Observer: h,
		Poster: NewSender(SenderConfig{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Roots: a.pool}),
		Log:    slog.New(slog.NewTextHandler(&locked{h: h}, nil))})
	h.must(err)
	h.end(h.run("patients_1_a", ""), store.JobCompleted)
	h.announce(clinic, store.EventMaintenance, `{"message":"patient 4711"}`, 1)
	d.Start()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for ctx.Err() == nil && strings.Count(h.states(clinic), ":dead:")+strings.Count(h.states(clinic), ":delivered:") != 2 {
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	stop(d)
	if got := h.states(clinic); got != "job.completed:delivered: system.maintenance:dead:webhook.status" {
		t.Errorf("%s", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(handled, " "); got != "job.completed" {
		t.Errorf("handled %s", got)
	}
	first := h.deliveries(clinic)[0]
	attempts, err := h.record.Attempts(context.Background(), clinic, first.ID)
	if err != nil || len(attempts) != 2 || attempts[0].Code != CodeConnection || attempts[1].HTTPStatus != 200 || first.Attempts != 2 {
		t.Errorf("%+v, %v", attempts, err)
	}
	for _, what := range []string{"objects.example.com", "9f1", "4711", "whsec_"} {
		if bytes.Contains(h.log.Bytes(), []byte(what)) {
			t.Errorf("the log has %s: %s", what, h.log.String())
		}
	}
}

// single is a listener of one connection.
type single struct {
	c     net.Conn
	taken bool
	once  sync.Once
	done  chan struct{}
}

func (s *single) Accept() (net.Conn, error) {
	if s.taken {
		<-s.done
		return nil, net.ErrClosed
	}
	s.taken = true
	return s.c, nil
}

func (s *single) Close() error   { return nil }
func (s *single) Addr() net.Addr { return s.c.LocalAddr() }
