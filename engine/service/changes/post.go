package changes

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/webhook"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of requests that failed. They are in the last request of a channel and in the metrics; each is tried again.
const (
	// CodeReceiverAddress: the receiver is not at a public address.
	CodeReceiverAddress = "changes.address"
	// CodeReceiverDNS: its name has no address, or could not be looked up.
	CodeReceiverDNS = "changes.dns"
	// CodeReceiverConnection: it could not be connected to, or has ended the connection, or does not speak HTTP.
	CodeReceiverConnection = "changes.connection"
	// CodeReceiverTLS: its certificate is not valid for it, or it speaks no TLS that is good enough.
	CodeReceiverTLS = "changes.tls"
	// CodeReceiverPin: its certificate is not one of those that are pinned.
	CodeReceiverPin = "changes.pin"
	// CodeReceiverTimeout: there was no whole answer in time.
	CodeReceiverTimeout = "changes.timeout"
)

// Poster posts to receivers; *HTTPPoster does.
type Poster interface {
	// Post makes one request, and reads its answer. The error is a fault, and the reply empty, where there was none.
	Post(ctx context.Context, p Post) (Reply, error)
}

// Post is a request.
type Post struct {
	// Stream says where to, and who may answer there.
	Stream store.Stream
	Secret config.Secret
	// Body is JSON, not compressed yet.
	Body []byte
}

// Reply is what a receiver has answered.
type Reply struct {
	Status     int
	RetryAfter time.Duration
	// Body has one byte more than MostAnswer where the answer was longer.
	Body []byte
}

// MostAnswer is how long the body of an answer may be, in bytes.
const MostAnswer = 64 << 10

const (
	// postTime bounds a request, from the look-up of the name to the end of the answer.
	postTime = 60 * time.Second
	// idleTime is how long a connection is kept between requests.
	idleTime = 30 * time.Second
	// mostAnswerHeader bounds the header of an answer, with the provisional ones before it.
	mostAnswerHeader = 32 << 10
	// mostTransports is how many receivers' connections are kept.
	mostTransports = 256
	userAgent      = "CipherStream-DataStream/1"
)

// PosterConfig is what an HTTPPoster is made of.
type PosterConfig struct {
	// Allow are networks that may be posted to although they are not public. The default is none.
	Allow []netip.Prefix
	// Resolver finds addresses; the default is that of the system.
	Resolver *net.Resolver
	// Roots sign the certificates of receivers that have no pins; the default are those of the system.
	Roots *x509.CertPool
}

// HTTPPoster posts with HTTPS to addresses that customers have given: to public ones only, looked at for each connection after
// they were resolved, through no proxy, and following nowhere. A stream's connections are its own, and are kept between
// requests, because it sends several a second.
type HTTPPoster struct {
	cfg PosterConfig

	mu         sync.Mutex
	transports map[string]*http.Transport // by customer and what may answer
}

// NewPoster returns a poster.
func NewPoster(cfg PosterConfig) *HTTPPoster {
	return &HTTPPoster{cfg: cfg, transports: map[string]*http.Transport{}}
}

// transport is that of a stream's connections, for as long as it has the same pins.
func (p *HTTPPoster) transport(s store.Stream) *http.Transport {
	name := strings.Join(append([]string{s.Customer, s.URL, s.Certificate}, s.Pins...), "\x00")
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.transports[name]; t != nil {
		return t
	}
	if len(p.transports) >= mostTransports {
		p.closeIdle()
	}
	security := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.cfg.Roots}
	if len(s.Pins) > 0 || s.Certificate != "" {
		security.InsecureSkipVerify = true // the pins decide, in its place
		security.VerifyConnection = func(c tls.ConnectionState) error { return checkPins(s, c.PeerCertificates) }
	}
	t := &http.Transport{
		// Proxy stays nil: the environment's would reach what we do not.
		DialContext:            webhook.Dialer(p.cfg.Allow, p.cfg.Resolver).DialContext,
		TLSClientConfig:        security,
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1
		IdleConnTimeout:        idleTime,
		MaxIdleConnsPerHost:    len(Channels),
		DisableCompression:     true,
		MaxResponseHeaderBytes: mostAnswerHeader,
	}
	p.transports[name] = t
	return t
}

// Close ends the connections that are kept.
func (p *HTTPPoster) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closeIdle()
}

func (p *HTTPPoster) closeIdle() {
	for name, t := range p.transports {
		t.CloseIdleConnections()
		delete(p.transports, name)
	}
}

var errPin = errors.New("the certificate is not pinned")

// checkPins accepts a certificate whose public key, or which itself, is pinned, whoever has signed it, and whatever name and
// time it says: who has its private key is who was meant.
func checkPins(s store.Stream, presented []*x509.Certificate) error {
	if len(presented) == 0 {
		return errPin
	}
	leaf := presented[0]
	if slices.Contains(s.Pins, spki(leaf)) {
		return nil
	}
	if block, _ := pem.Decode([]byte(s.Certificate)); block != nil && bytes.Equal(block.Bytes, leaf.Raw) {
		return nil
	}
	return errPin
}

// spki is the pin of a certificate's public key.
func spki(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Post makes one request. What its errors say holds no part of the address, of a header or of the answer.
func (p *HTTPPoster) Post(ctx context.Context, post Post) (Reply, error) {
	var body bytes.Buffer
	w, _ := gzip.NewWriterLevel(&body, gzip.BestSpeed) // of a level that there is
	_, _ = w.Write(post.Body)                          // a buffer takes all
	_ = w.Close()
	within, cancel := context.WithTimeout(ctx, postTime)
	defer cancel()
	var handshake atomic.Bool // it failed
	within = httptrace.WithClientTrace(within, &httptrace.ClientTrace{
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { handshake.Store(err != nil) },
	})
	r, err := http.NewRequestWithContext(within, http.MethodPost, post.Stream.URL, bytes.NewReader(body.Bytes()))
	if err != nil {
		return Reply{}, fault.New(CodeReceiverAddress, fault.Connect, "the address is no URL")
	}
	r.Header = http.Header{
		"Content-Type":  {"application/json; charset=utf8"},
		"Encoding":      {"gzip"},
		"Authorization": {"bearer " + post.Secret.Reveal()},
		"User-Agent":    {userAgent},
	}
	if post.Stream.ContentEncoding {
		r.Header.Set("Content-Encoding", "gzip")
	}
	answer, err := p.transport(post.Stream).RoundTrip(r)
	if err != nil {
		return Reply{}, noReply(err, r, ctx.Err() == nil && within.Err() != nil, handshake.Load())
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, MostAnswer+1))
	if err != nil {
		return Reply{}, noReply(err, r, ctx.Err() == nil && within.Err() != nil, false)
	}
	return Reply{Status: answer.StatusCode, RetryAfter: retryAfter(answer.Header.Get("Retry-After")), Body: text}, nil
}

// noReply is the fault of a request without a whole answer.
func noReply(err error, r *http.Request, timedOut, handshake bool) error {
	if errors.Is(err, errPin) {
		return fault.New(CodeReceiverPin, fault.Connect, "the receiver's certificate is not one of those that are pinned").
			WithHint("set up the pin of the new one, or its PEM")
	}
	_, literal := netip.ParseAddr(r.URL.Hostname())
	o := webhook.Failed(err, timedOut, handshake, literal == nil)
	return fault.New("changes."+strings.TrimPrefix(o.Code, "webhook."), fault.Connect, "%s", o.Message)
}

// retryAfter reads Retry-After in seconds; its other form is not taken, as our own pauses do as well.
func retryAfter(text string) time.Duration {
	seconds, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, int(mostPause/time.Second))) * time.Second
}
