package changes

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// selfSigned is a certificate that nobody else has signed, for a name that nothing has, which has expired.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "practice"}, DNSNames: []string{"old.example.com"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// receiving starts a receiver with a certificate of its own.
func receiving(t *testing.T, serve http.HandlerFunc, certificate *tls.Certificate) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(serve)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if certificate != nil {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func poster(t *testing.T, cfg PosterConfig) *HTTPPoster {
	t.Helper()
	if cfg.Allow == nil {
		cfg.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	p := NewPoster(cfg)
	t.Cleanup(p.Close)
	return p
}

// TestPost: a request is what the contract says, to the letter, and connections are kept.
func TestPost(t *testing.T) {
	t.Parallel()
	var header http.Header
	var length int64
	var text string
	remotes := map[string]bool{}
	s := receiving(t, func(w http.ResponseWriter, r *http.Request) {
		header, length = r.Header.Clone(), r.ContentLength
		remotes[r.RemoteAddr] = true
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		body, err := io.ReadAll(unzipped)
		if err != nil || r.Method != http.MethodPost || r.URL.RequestURI() != "/in?x=1" {
			t.Errorf("%v %s %s", err, r.Method, r.URL)
		}
		text = string(body)
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, "busy")
	}, nil)
	p := poster(t, PosterConfig{Roots: pool(s.Certificate())})
	post := Post{Stream: store.Stream{Customer: clinic, URL: s.URL + "/in?x=1"}, Secret: config.NewSecret("s3cret"), Body: []byte(`{"a":1}`)}
	reply, err := p.Post(t.Context(), post)
	if err != nil || reply.Status != 503 || reply.RetryAfter != 7*time.Second || string(reply.Body) != "busy" || text != `{"a":1}` || length <= 0 {
		t.Errorf("%+v, %v, %q, %d", reply, err, text, length)
	}
	for name, want := range map[string]string{"Content-Type": "application/json; charset=utf8", "Encoding": "gzip", "Authorization": "bearer s3cret",
		"Content-Encoding": "", "Accept-Encoding": ""} {
		if got := header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	post.Stream.ContentEncoding = true
	if _, err := p.Post(t.Context(), post); err != nil || header.Get("Content-Encoding") != "gzip" || header.Get("Encoding") != "gzip" {
		t.Errorf("%v, %v", err, header)
	}
	if len(remotes) != 1 {
		t.Errorf("%d connections for two requests", len(remotes))
	}
}

func pool(c *x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c)
	return p
}

// TestPins: a certificate that is pinned, by its key or as it is, is accepted whoever has signed it, and no other one; without a
// pin the authorities decide.
func TestPins(t *testing.T) {
	t.Parallel()
	own, another := selfSigned(t), selfSigned(t)
	var asked atomic.Int64
	s := receiving(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) }, &own)
	text := func(c tls.Certificate) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))
	}
	parsed := func(c tls.Certificate) *x509.Certificate {
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf
	}
	right, wrong := spki(parsed(own)), spki(parsed(another))
	p := poster(t, PosterConfig{})
	for name, c := range map[string]struct {
		stream store.Stream
		code   string
	}{
		"no pin":            {store.Stream{}, CodeReceiverTLS},
		"pin":               {store.Stream{Pins: []string{right}}, ""},
		"second pin":        {store.Stream{Pins: []string{wrong, right}}, ""},
		"wrong pin":         {store.Stream{Pins: []string{wrong}}, CodeReceiverPin},
		"certificate":       {store.Stream{Certificate: text(own)}, ""},
		"wrong certificate": {store.Stream{Certificate: text(another)}, CodeReceiverPin},
		"either":            {store.Stream{Certificate: text(another), Pins: []string{right}}, ""},
	} {
		before := asked.Load()
		c.stream.URL, c.stream.Customer = s.URL, clinic
		_, err := p.Post(t.Context(), Post{Stream: c.stream, Secret: config.NewSecret("s3cret"), Body: []byte("{}")})
		if (err == nil) != (c.code == "") || err != nil && !fault.Is(err, c.code) {
			t.Errorf("%s: %v", name, err)
		}
		if reached := asked.Load() > before; reached != (err == nil) {
			t.Errorf("%s: reached %t", name, reached)
		}
	}
}

// TestUnreached: of every way in which there is no answer the code says which, and nothing of the address.
func TestUnreached(t *testing.T) {
	t.Parallel()
	own := selfSigned(t)
	leaf, err := x509.ParseCertificate(own.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pins := []string{spki(leaf)}
	redirects := receiving(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
	}, &own)
	breaks := receiving(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, _ := w.(http.Hijacker).Hijack()
		_ = c.Close()
	}, &own)
	cuts := receiving(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, _ := w.(http.Hijacker).Hijack()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
		_ = c.Close()
	}, &own)
	long := receiving(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 10*MostAnswer))
	}, &own)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := plain.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(c).ReadByte()
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = plain.Close() })
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "https://" + free.Addr().String()
	_ = free.Close()
	for name, c := range map[string]struct {
		url, code string
		status    int
	}{
		"redirect":  {redirects.URL, "", http.StatusFound},
		"broken":    {breaks.URL, CodeReceiverConnection, 0},
		"cut":       {cuts.URL, CodeReceiverConnection, 0},
		"long":      {long.URL, "", http.StatusOK},
		"plain":     {"https://" + plain.Addr().String(), CodeReceiverTLS, 0},
		"closed":    {closed, CodeReceiverConnection, 0},
		"forbidden": {"https://10.0.0.1/secret-path", CodeReceiverAddress, 0},
		"metadata":  {"https://169.254.169.254/secret-path", CodeReceiverAddress, 0},
	} {
		p := poster(t, PosterConfig{})
		reply, err := p.Post(t.Context(), Post{Stream: store.Stream{Customer: clinic, URL: c.url, Pins: pins}, Secret: config.NewSecret("s3cret"), Body: []byte("{}")})
		if reply.Status != c.status || (err == nil) != (c.code == "") || err != nil && !fault.Is(err, c.code) {
			t.Errorf("%s: %+v, %v", name, reply.Status, err)
		}
		if err != nil && (strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v", name, err)
		}
		if len(reply.Body) > MostAnswer+1 {
			t.Errorf("%s: %d bytes were read", name, len(reply.Body))
		}
	}
	// The end of the stream ends the request.
	silent := receiving(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}, &own)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := poster(t, PosterConfig{}).Post(ctx, Post{Stream: store.Stream{URL: silent.URL, Pins: pins}, Body: []byte("{}")}); err == nil {
		t.Error("there is an answer")
	}
}
