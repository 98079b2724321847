package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// What is read of an answer, and for how long after its status is known: that has decided, and a short answer may end.
const (
	mostAnswer = 1 << 10
	answerTime = 2 * time.Second
	// mostAnswerHeader bounds the header of an answer, with the provisional ones before it.
	mostAnswerHeader = 32 << 10
)

// connectTime bounds the try of one address of several; the time of the request bounds all of it.
const connectTime = 10 * time.Second

// maxURL bounds an address, in bytes.
const maxURL = 2048

// deniedv4 are addresses that no registry calls special, and that are: the platform's own in virtual machines of Azure
// (168.63.129.16).
var deniedv4 = []netip.Prefix{netip.MustParsePrefix("168.63.129.16/32")}

// SenderConfig is what a Sender needs.
type SenderConfig struct {
	// Allow are networks that may be sent to although they are not public: those of an operator's own receivers. The
	// default is none.
	Allow []netip.Prefix
	// Resolver finds addresses; the default is that of the system. Tests have one of their own.
	Resolver *net.Resolver
	// Roots sign the certificates of receivers; the default are those of the system.
	Roots *x509.CertPool
}

// Sender posts to addresses that customers have given, which may be anything: it connects to public addresses only,
// looked at after they were resolved and for each connection anew, speaks TLS alone, follows nowhere, goes through no
// proxy, and reads little.
type Sender struct{ tls13, tls12 *http.Transport }

// NewSender returns a sender. Each request has a connection of its own, so that each is looked at, and none tells of another
// customer's.
func NewSender(cfg SenderConfig) *Sender {
	dialer := Dialer(cfg.Allow, cfg.Resolver)
	transport := func(least uint16) *http.Transport {
		return &http.Transport{
			// Proxy stays nil: the environment's would reach what we do not.
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: least, RootCAs: cfg.Roots},
			TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1: one request a connection
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: mostAnswerHeader,
		}
	}
	return &Sender{tls13: transport(tls.VersionTLS13), tls12: transport(tls.VersionTLS12)}
}

// Dialer connects to addresses that customers have given: to public ones, looked at after they were resolved, and to those of
// the networks that are allowed. A nil resolver is that of the system.
func Dialer(allow []netip.Prefix, resolver *net.Resolver) *net.Dialer {
	var v4, v6 []netip.Prefix
	for _, p := range allow {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	guard := ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...),
		ssrf.WithDeniedV4Prefixes(deniedv4...))
	return &net.Dialer{Timeout: connectTime, KeepAlive: -1, Resolver: resolver, Control: guard.Safe}
}

// Post is a request.
type Post struct {
	URL string
	// Custom are the headers that the customer has set, and Signed those of the signature.
	Custom map[string]string
	Signed http.Header
	Body   []byte
	// Timeout bounds all of it, from the look-up of the name to the status; the default is store.DefaultTimeout.
	Timeout time.Duration
	TLS12   bool
}

// Send posts, and says what has become of it. What it says holds no part of the address, of a header, or of the answer but
// its status. The end of ctx is told as CodeStopped.
func (s *Sender) Send(ctx context.Context, p Post) store.Outcome {
	began := time.Now()
	o := s.send(ctx, p)
	o.Duration = time.Since(began)
	return o
}

func (s *Sender) send(ctx context.Context, p Post) store.Outcome {
	if err := CheckURL(p.URL); err != nil {
		return refused(CodeAddress, fault.From(err).Message)
	}
	if err := CheckHeaders(p.Custom); err != nil {
		return refused(CodeHeaders, fault.From(err).Message)
	}
	within, cancel := context.WithTimeout(ctx, cmp.Or(p.Timeout, store.DefaultTimeout))
	defer cancel()
	var handshake atomic.Bool // it failed
	within = httptrace.WithClientTrace(within, &httptrace.ClientTrace{
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { handshake.Store(err != nil) },
	})
	r, err := http.NewRequestWithContext(within, http.MethodPost, p.URL, bytes.NewReader(p.Body))
	if err != nil {
		return refused(CodeAddress, "the address is no URL")
	}
	for name, value := range p.Custom {
		r.Header.Set(name, value)
	}
	for name, values := range p.Signed {
		r.Header[name] = values
	}
	r.Header.Set("User-Agent", userAgent)
	transport := s.tls13
	if p.TLS12 {
		transport = s.tls12
	}
	answer, err := transport.RoundTrip(r)
	switch {
	case err != nil && ctx.Err() != nil:
		return store.Outcome{Verdict: store.Again, Code: CodeStopped, Message: "the service ended while it was sending"}
	case err != nil:
		_, literal := netip.ParseAddr(r.URL.Hostname())
		return Failed(err, within.Err() != nil, handshake.Load(), literal == nil)
	}
	// The status has decided. What follows it is not waited for longer than an honest receiver needs.
	defer context.AfterFunc(within, func() { _ = answer.Body.Close() })()
	defer time.AfterFunc(answerTime, cancel).Stop()
	_, _ = io.CopyN(io.Discard, answer.Body, mostAnswer)
	_ = answer.Body.Close()
	return Answered(answer.StatusCode, answer.Header.Get("Retry-After"), time.Now())
}

const userAgent = "CipherStream-Webhook/1"

// CheckURL says why a text cannot be the address of a receiver. Whether something may be sent there is looked at when it
// is, after its name was resolved.
func CheckURL(text string) error {
	bad := func(why string) error { return fault.New(CodeAddress, fault.Usage, "the address %s", why) }
	u, err := url.Parse(text)
	switch {
	case err != nil || len(text) > maxURL || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return bad("is no URL")
	case u.Scheme != "https":
		return bad("does not begin with https://")
	case u.Hostname() == "" || u.Opaque != "":
		return bad("has no host")
	case u.User != nil:
		return bad("has a user or a password in it, which would be sent to whoever answers; use a header")
	case u.Fragment != "" || strings.Contains(text, "#"):
		return bad("has a fragment, which is never sent")
	}
	return nil
}

// Failed says what a request comes to that got no answer: whether its time was over, its handshake failed, and its host is an
// address and no name. Its texts are fixed: those of the errors have the address in them,
// which may be a secret, or what a stranger has sent.
func Failed(err error, timedOut, handshake, literal bool) store.Outcome {
	var (
		name     *net.DNSError
		unknown  x509.UnknownAuthorityError
		host     x509.HostnameError
		invalid  x509.CertificateInvalidError
		checked  *tls.CertificateVerificationError
		noTLS    tls.RecordHeaderError
		late     net.Error
		prohibit = errors.Is(err, ssrf.ErrProhibitedIP) || errors.Is(err, ssrf.ErrProhibitedNetwork) ||
			errors.Is(err, ssrf.ErrProhibitedPort) || errors.Is(err, ssrf.ErrInvalidHostPort)
	)
	again := func(code, message string) store.Outcome {
		return store.Outcome{Verdict: store.Again, Code: code, Message: message}
	}
	switch {
	case prohibit && literal:
		return refused(CodeAddress, "the address is not a public one")
	case prohibit: // a name may be put right
		return again(CodeAddress, "the name stands for an address that is not a public one")
	case timedOut:
		return again(CodeTimeout, "the receiver did not answer in time")
	case errors.As(err, &name) && name.IsTimeout:
		return again(CodeDNS, "the name could not be looked up in time")
	case errors.As(err, &name):
		return again(CodeDNS, "the name has no address")
	case errors.As(err, &unknown):
		return again(CodeTLS, "the certificate is signed by nobody who is known")
	case errors.As(err, &host):
		return again(CodeTLS, "the certificate is that of another host")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return again(CodeTLS, "the certificate has expired, or is not valid yet")
	case errors.As(err, &invalid), errors.As(err, &checked):
		return again(CodeTLS, "the certificate is not valid")
	case errors.As(err, &noTLS):
		return again(CodeTLS, "the receiver does not speak TLS")
	case errors.Is(err, syscall.ECONNREFUSED):
		return again(CodeConnection, "the connection was refused")
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return again(CodeConnection, "the receiver ended the connection before it had answered")
	case handshake:
		return again(CodeTLS, "the receiver and the service agree on no version or cipher of TLS")
	case errors.As(err, &late) && late.Timeout():
		return again(CodeTimeout, "the receiver could not be reached in time")
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return again(CodeConnection, "the receiver cannot be reached")
	}
	return again(CodeConnection, "the receiver has answered with something that is no HTTP, or too much of it")
}

func refused(code, message string) store.Outcome {
	return store.Outcome{Verdict: store.Final, Code: code, Message: message}
}
