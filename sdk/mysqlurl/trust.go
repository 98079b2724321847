package mysqlurl

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"

	"github.com/cipherstream/cipherstream/sdk/pin"
)

// The values of tls. Auto stands for verify-identity, except towards loopback and unix sockets, where nobody
// can stand in between.
const (
	Auto           = "auto"
	Disabled       = "disabled"
	SkipVerify     = "skip-verify" // encrypted, and no certificate is checked
	VerifyCA       = "verify-ca"   // the chain, whatever the host is called
	VerifyIdentity = "verify-identity"
)

// Modes lists the values of tls.
var Modes = []string{Auto, Disabled, SkipVerify, VerifyCA, VerifyIdentity}

// ModeHint says what those mean who write a mode of another program.
const ModeHint = "what other programs call preferred or required checks no certificate, " +
	"which is written skip-verify here"

// Trust says which server's certificate is taken.
type Trust struct {
	Mode   string // as it is written; empty stands for Auto
	Host   string
	Roots  *x509.CertPool    // nil means the system's
	Client []tls.Certificate // of this side
	Pin    string            // of the server's key, or empty
}

// ErrPin is the error of a text that is no pin.
var ErrPin = errors.New("it is not sha256: and 64 hexadecimal digits")

// SetPin takes the one key that the server may have. Its error is ErrPin.
func (t *Trust) SetPin(text string) error {
	wanted, ok := pin.Parse(text)
	if !ok {
		return ErrPin
	}
	t.Pin = wanted
	return nil
}

// ReadRoots reads the authorities that are trusted instead of the system's, in PEM form.
func (t *Trust) ReadRoots(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	t.Roots = x509.NewCertPool()
	if !t.Roots.AppendCertsFromPEM(text) {
		return errors.New("the file holds no certificate in PEM form")
	}
	return nil
}

// ReadClient reads the certificate and the key of this side, in PEM form.
func (t *Trust) ReadClient(certificate, key string) error {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	t.Client = []tls.Certificate{pair}
	return nil
}

// IsAuto reports whether the mode is left to Resolve.
func (t *Trust) IsAuto() bool { return t.Mode == "" || t.Mode == Auto }

// Resolve says what the mode stands for; local says that the peer is this machine. What is given to check a certificate
// with is meant to be used there too. Where it resolves Auto to SkipVerify, a server without TLS is fine.
func (t *Trust) Resolve(local bool) string {
	switch {
	case !t.IsAuto():
		return t.Mode
	case t.Pin != "" || t.Roots != nil || !local:
		return VerifyIdentity
	}
	return SkipVerify
}

// Config makes the configuration for a resolved mode, in which certificates are checked by verify alone.
func (t *Trust) Config(verify func(chain []*x509.Certificate) error) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: t.Host, Certificates: t.Client,
		InsecureSkipVerify: true,
		VerifyConnection:   func(state tls.ConnectionState) error { return verify(state.PeerCertificates) },
	}
}

// Verify checks the certificates of a server for a resolved mode. A pin stands for authority and name, unless
// the mode is written, which is checked as well.
func (t *Trust) Verify(mode string, chain []*x509.Certificate) error {
	if t.Pin != "" && t.Pin != pin.Of(chain[0]) {
		return errors.New("its key is another than tls_pin says")
	}
	if mode == SkipVerify || t.Pin != "" && t.IsAuto() {
		return nil
	}
	if mode == VerifyIdentity && t.Host == "" && !t.IsAuto() {
		return errors.New("there is no host whose name it could have")
	}
	options := x509.VerifyOptions{Roots: t.Roots, Intermediates: x509.NewCertPool()}
	if mode == VerifyIdentity {
		options.DNSName = t.Host
	}
	for _, certificate := range chain[1:] {
		options.Intermediates.AddCert(certificate)
	}
	_, err := chain[0].Verify(options)
	return err
}
