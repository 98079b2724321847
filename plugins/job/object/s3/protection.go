package s3

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/pin"
)

// protection is how the way to a store is protected. What is weaker than a verified certificate is either on this
// machine or written in the bucket's URL.
type protection struct {
	// plain is http; local allows it to this machine only.
	plain, local bool
	// pin is the SHA-256 of the one public key that is taken, or empty for the system's authorities.
	pin string
	// version is that of TLS, once there was a connection.
	version atomic.Uint32
}

// parseProtection reads the parameters endpoint, tls and tls_pin of a bucket. Nothing has been sent yet.
func parseProtection(endpoint, mode, key string) (*protection, error) {
	p := &protection{}
	if endpoint != "" {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
			return nil, badBucket("the parameter endpoint is not an http or https URL")
		}
		p.plain = u.Scheme == "http"
		p.local = p.plain && mode == ""
		if p.local && !isLoopback(u.Hostname()) {
			return nil, fault.New("sink.insecure", fault.Usage, "the endpoint is http://, so that everybody on the way to %s could read and change the data", u.Host).
				WithHint("write https://, or add tls=none to the bucket's URL if the way is protected otherwise")
		}
	}
	switch {
	case mode != "" && mode != "none":
		return nil, badBucket("the parameter tls is none, or not there")
	case mode == "none" && !p.plain:
		return nil, badBucket("tls=none is for an endpoint of http://, and this one is https")
	case key == "":
		return p, nil
	case p.plain:
		return nil, badBucket("tls_pin is for an endpoint of https, and this one is http://")
	}
	wanted, ok := pin.Parse(key)
	if !ok {
		return nil, badBucket("tls_pin is not sha256: and 64 hexadecimal digits").
			WithHint("leave it out, and the error of the connection shows the pin of the certificate that came")
	}
	p.pin = wanted
	return p, nil
}

func badBucket(why string) *fault.Fault {
	return fault.New("sink.bucket", fault.Usage, "the bucket's URL cannot be used: %s", why)
}

// isLoopback reports whether a host is this machine by its name. Where the name leads is checked when it is dialled.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// dialer dials what the protection allows.
func (p *protection) dialer() *net.Dialer {
	d := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if p.local {
		d.Control = func(_, address string, _ syscall.RawConn) error {
			if to, err := netip.ParseAddrPort(address); err != nil || !to.Addr().Unmap().IsLoopback() {
				return fault.New("sink.insecure", fault.Connect, "localhost is %s here, another machine", address).
					WithHint("write https://, or add tls=none to the bucket's URL")
			}
			return nil
		}
	}
	return d
}

// tls configures the client. A pinned certificate needs no authority and no name.
func (p *protection) tls() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: p.pin != "",
		VerifyConnection: func(s tls.ConnectionState) error {
			p.version.Store(uint32(s.Version))
			if p.pin == "" {
				return nil
			}
			if came := pin.Of(s.PeerCertificates[0]); came != p.pin {
				return fault.New("sink.tls", fault.Connect,
					"the store's certificate has another public key than the pinned one: %s", came).
					WithHint("if whoever runs the store has changed its key, pin this one; otherwise somebody stands between")
			}
			return nil
		},
	}
}

// Protection says how the way to the store is protected, as the receipt does.
func (b *Bucket) Protection() string { return b.protection.String() }

// String says how the way was protected, for the receipt.
func (p *protection) String() string {
	version := "TLS"
	if v := p.version.Load(); v != 0 {
		version = tls.VersionName(uint16(v))
	}
	switch {
	case p.local:
		return "none (http, on this machine)"
	case p.plain:
		return "none (http, tls=none)"
	case p.pin != "":
		return version + ", pinned key"
	}
	return version + ", certificate verified"
}

// untrusted is the fault of a certificate that nobody known has signed. It shows the pin to copy.
func (b *Bucket) untrusted(doing string, why *tls.CertificateVerificationError) error {
	f := fault.New("sink.tls", fault.Connect, "bucket %q: %s failed: the store's certificate is not trusted: %s",
		b.Name, doing, cut(errors.Unwrap(why).Error()))
	if len(why.UnverifiedCertificates) > 0 {
		f.WithHint("if it is the store's own, and whoever runs it confirms this pin, add tls_pin=%s to the bucket's URL", pin.Of(why.UnverifiedCertificates[0]))
	}
	return f
}
