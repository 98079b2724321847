package mysql

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"strings"

	"github.com/cipherstream/cipherstream/plugins/internal/pin"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The values of the setting tls. Auto stands for verify-identity, except towards
// loopback and unix sockets, where nobody can stand in between.
const (
	tlsAuto           = "auto"
	tlsDisabled       = "disabled"
	tlsSkipVerify     = "skip-verify"
	tlsVerifyCA       = "verify-ca"
	tlsVerifyIdentity = "verify-identity"
)

var tlsModes = []string{tlsAuto, tlsDisabled, tlsSkipVerify, tlsVerifyCA, tlsVerifyIdentity}

// protection is what a connection's target wants of TLS.
type protection struct {
	mode      string
	host      string
	roots     *x509.CertPool // nil means the system's
	client    []tls.Certificate
	pin       string         // of the server's key, or empty
	serverKey *rsa.PublicKey // for passwords without TLS, or nil
	clearText bool           // mysql_clear_password may be answered
}

// newProtection reads the settings and the files that they name.
func newProtection(s *Settings, host string) (protection, error) {
	p := protection{mode: s.TLS, host: host, clearText: s.ClearTextPassword}
	if s.TLSPin != "" {
		wanted, ok := pin.Parse(s.TLSPin)
		if !ok {
			return p, settingsFault("tls_pin is not sha256: and 64 hexadecimal digits").
				WithHint("connect without it: the fault prints the pin of the server that answers, to be compared with the server's own")
		}
		p.pin = wanted
	}
	if s.TLSCA != "" {
		text, err := os.ReadFile(s.TLSCA)
		if err != nil {
			return p, tlsFileFault("tls_ca", err)
		}
		p.roots = x509.NewCertPool()
		if !p.roots.AppendCertsFromPEM(text) {
			return p, tlsFileFault("tls_ca", errors.New("the file holds no certificate in PEM form"))
		}
	}
	if s.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey)
		if err != nil {
			return p, tlsFileFault("tls_cert and tls_key", err)
		}
		p.client = []tls.Certificate{pair}
	}
	if s.ServerPublicKey != "" {
		text, err := os.ReadFile(s.ServerPublicKey)
		if err != nil {
			return p, tlsFileFault("server_public_key", err)
		}
		if p.serverKey, err = parseServerKey(text); err != nil {
			return p, tlsFileFault("server_public_key", err)
		}
	}
	if p.mode == tlsVerifyIdentity && host == "" {
		return p, settingsFault("tls: verify-identity needs a host in the connection URL, also with a socket")
	}
	return p, nil
}

// parseServerKey reads an RSA public key in PEM form, which MySQL calls public_key.pem.
func parseServerKey(text []byte) (*rsa.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is not in PEM form")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("it is not an RSA public key")
	}
	return public, nil
}

// resolve says what auto stands for. Local says that the peer is this machine. What is
// given to check a certificate with is meant to be used there too.
func (p *protection) resolve(local bool, g *greeting, network string) string {
	switch {
	case p.mode != tlsAuto:
		return p.mode
	case p.pin != "" || p.roots != nil || !local:
		return tlsVerifyIdentity
	case network == "unix" || !g.offersTLS:
		return tlsDisabled
	}
	return tlsSkipVerify
}

// isLoopback reports whether a connection goes to this machine: by the name that was
// written, so that no name service can say so, and by where it went.
func isLoopback(host string, conn net.Conn) bool {
	if conn.RemoteAddr().Network() == "unix" {
		return true
	}
	ip := net.ParseIP(host)
	address, ok := conn.RemoteAddr().(*net.TCPAddr)
	return ok && address.IP.IsLoopback() && (strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback())
}

// config makes the configuration for a resolved mode, in which certificates are checked
// here alone.
func (p *protection) config(mode, address string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: p.host, Certificates: p.client,
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			return p.verify(mode, address, state.PeerCertificates)
		},
	}
}

// verify checks the certificates of a server. A pin stands for authority and name, unless
// the mode is written, which is checked as well.
func (p *protection) verify(mode, address string, chain []*x509.Certificate) error {
	came := pin.Of(chain[0])
	refuse := func(problem error) error {
		return fault.New(codeTLS, fault.Connect, "the certificate of the server at %s is not trusted: %w", address, problem).
			WithDetail("tls_pin", came).
			WithHint("trust its authority with tls_ca=FILE (and tls=verify-ca if it does not name the host), or, after comparing with the server's own "+
				"(openssl x509 -in server-cert.pem -noout -pubkey | openssl pkey -pubin -outform der | sha256sum), pin it: tls_pin=%s", came)
	}
	if p.pin != "" && p.pin != came {
		return refuse(errors.New("its key is another than tls_pin says"))
	}
	if mode == tlsSkipVerify || p.pin != "" && p.mode == tlsAuto {
		return nil
	}
	options := x509.VerifyOptions{Roots: p.roots, Intermediates: x509.NewCertPool()}
	if mode == tlsVerifyIdentity {
		options.DNSName = p.host
	}
	for _, certificate := range chain[1:] {
		options.Intermediates.AddCert(certificate)
	}
	if _, err := chain[0].Verify(options); err != nil {
		return refuse(err)
	}
	return nil
}

// describe says for the receipt how a connection is protected; state is nil without TLS.
func (p *protection) describe(mode, network string, local bool, state *tls.ConnectionState) string {
	where := ""
	switch {
	case network == "unix":
		where = " over a unix socket"
	case local:
		where = " over loopback"
	}
	if state == nil {
		return "plain text" + where
	}
	checked := map[string]string{
		tlsSkipVerify: "certificate not checked", tlsVerifyCA: "certificate of a trusted authority", tlsVerifyIdentity: "certificate verified for " + p.host,
	}[mode]
	if p.pin != "" {
		if p.mode == tlsAuto {
			checked = "certificate pinned"
		} else {
			checked += " and pinned"
		}
	}
	return tls.VersionName(state.Version) + where + ", " + checked
}

func tlsFileFault(setting string, err error) error {
	return fault.New(codeTLS, fault.Usage, "%s cannot be used: %w", setting, err)
}
