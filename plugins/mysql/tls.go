package mysql

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/mysqlurl"
	"github.com/cipherstream/cipherstream/sdk/pin"
)

// protection is what a connection's target wants of TLS.
type protection struct {
	mysqlurl.Trust
	serverKey *rsa.PublicKey // for passwords without TLS, or nil
	clearText bool           // mysql_clear_password may be answered
}

// newProtection reads the settings and the files that they name.
func newProtection(s *Settings, host string) (protection, error) {
	p := protection{Trust: mysqlurl.Trust{Mode: s.TLS, Host: host}, clearText: s.ClearTextPassword}
	if s.TLSPin != "" {
		if err := p.SetPin(s.TLSPin); err != nil {
			return p, settingsFault("tls_pin is not what one looks like: %w", err).
				WithHint("connect without it: the fault prints the pin of the server that answers, to be compared with the server's own")
		}
	}
	if s.TLSCA != "" {
		if err := p.ReadRoots(s.TLSCA); err != nil {
			return p, tlsFileFault("tls_ca", err)
		}
	}
	if s.TLSCert != "" {
		if err := p.ReadClient(s.TLSCert, s.TLSKey); err != nil {
			return p, tlsFileFault("tls_cert and tls_key", err)
		}
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
	if p.Mode == mysqlurl.VerifyIdentity && host == "" {
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

// resolve says what the mode stands for. Local says that the peer is this machine: there auto does without
// TLS where the server has none, and on a unix socket.
func (p *protection) resolve(local bool, g *serverHandshake, network string) string {
	mode := p.Resolve(local)
	if p.IsAuto() && mode == mysqlurl.SkipVerify && (network == "unix" || !g.offersTLS) {
		return mysqlurl.Disabled
	}
	return mode
}

// isLoopback reports whether a connection goes to this machine: by the name that was
// written, so that no name service can say so, and by where it went.
func isLoopback(host string, conn net.Conn) bool {
	if conn.RemoteAddr().Network() == "unix" {
		return true
	}
	address, ok := conn.RemoteAddr().(*net.TCPAddr)
	return ok && address.IP.IsLoopback() && mysqlurl.IsLoopback(host)
}

// config makes the configuration for a resolved mode. What is wrong with a certificate is a fault with its pin.
func (p *protection) config(mode, address string) *tls.Config {
	return p.Config(func(chain []*x509.Certificate) error {
		problem := p.Verify(mode, chain)
		if problem == nil {
			return nil
		}
		came := pin.Of(chain[0])
		return fault.New(codeTLS, fault.Connect, "the certificate of the server at %s is not trusted: %w", address,
			problem).
			WithDetail("tls_pin", came).
			WithHint("trust its authority with tls_ca=FILE (and tls=verify-ca if it does not name the host), or, after comparing with the server's own "+
				"(openssl x509 -in server-cert.pem -noout -pubkey | openssl pkey -pubin -outform der | sha256sum), pin it: tls_pin=%s", came)
	})
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
		mysqlurl.SkipVerify:     "certificate not checked",
		mysqlurl.VerifyCA:       "certificate of a trusted authority",
		mysqlurl.VerifyIdentity: "certificate verified for " + p.Host,
	}[mode]
	if p.Pin != "" {
		if p.IsAuto() {
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
