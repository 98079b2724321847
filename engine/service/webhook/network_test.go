package webhook

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// authority signs certificates of receivers.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{key: newKey(t), pool: x509.NewCertPool()}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// certificate is one for a name, valid until a time.
func (a *authority) certificate(t testing.TB, until time.Time, names ...string) tls.Certificate {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: names, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 2)}}
	if len(names) > 0 && names[0] == "other.example.com" {
		template.IPAddresses = nil
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// receiver is a server that answers what it is told to, byte by byte.
type receiver struct {
	net.Listener
	connections atomic.Int64
	conns       sync.WaitGroup
}

// listen starts a receiver at an address, each of whose connections is given to serve and then closed. It ends with the test.
func listen(t testing.TB, address string, serve func(net.Conn)) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{Listener: l}
	ctx, cancel := context.WithCancel(context.Background())
	r.conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.connections.Add(1)
			r.conns.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = c.Close() })()
				defer func() { _ = c.Close() }()
				if serve != nil {
					serve(c)
				}
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		r.conns.Wait()
	})
	return r
}

// port is that of the receiver.
func (r *receiver) port() string {
	_, port, _ := net.SplitHostPort(r.Addr().String())
	return port
}

// encrypted has a connection's handshake made before it is served.
func encrypted(cfg *tls.Config, serve func(c net.Conn, r *http.Request)) func(net.Conn) {
	return func(c net.Conn) {
		over := tls.Server(c, cfg)
		if over.Handshake() != nil {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(over))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		serve(over, r)
		_ = over.CloseWrite()
	}
}

// names is a DNS server that lies as it is told to.
type names struct {
	mu sync.Mutex
	// answers are those of a name, one for each look-up; the last one stays.
	answers map[string][][]string
	asked   map[string]int
}

// resolver asks it.
func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go n.serve(ours)
		return theirs, nil
	}}
}

func (n *names) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(query) != nil || len(m.Questions) != 1 {
			return
		}
		m.Response, m.Authoritative, m.Additionals = true, true, nil
		n.answer(&m)
		out, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}

// answer fills in what a name stands for: addresses, or another name with its addresses.
func (n *names) answer(m *dnsmessage.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := m.Questions[0]
	key := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	all, ok := n.answers[key]
	if !ok {
		m.RCode = dnsmessage.RCodeNameError
		return
	}
	// A look-up asks for both kinds of addresses.
	asked := n.asked[key] / 2
	n.asked[key]++
	owner := q.Name
	for _, text := range all[min(asked, len(all)-1)] {
		header := dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET, TTL: 0}
		a, err := netip.ParseAddr(text)
		switch {
		case err != nil:
			to := dnsmessage.MustNewName(text + ".")
			header.Type = dnsmessage.TypeCNAME
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.CNAMEResource{CNAME: to}})
			owner = to
		case a.Is4() && q.Type == dnsmessage.TypeA:
			header.Type = dnsmessage.TypeA
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: a.As4()}})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			header.Type = dnsmessage.TypeAAAA
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
}

func newNames(answers map[string][][]string) *names {
	return &names{answers: answers, asked: map[string]int{}}
}
