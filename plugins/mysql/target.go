package mysql

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

const (
	tlsDisabled       = "disabled"
	tlsPreferred      = "preferred"
	tlsRequired       = "required"
	tlsVerifyCA       = "verify-ca"
	tlsVerifyIdentity = "verify-identity"
)

// target is where to connect to and as whom.
type target struct {
	network  string // "tcp" or "unix"
	address  string
	host     string
	user     string
	password string
	database string

	tlsMode   string
	tlsConfig *tls.Config // nil when TLS is off

	connectTimeout time.Duration
	keepAlive      time.Duration
}

// newTarget reads the connection URL and the certificate files. No error quotes
// the URL: a password whose special characters were not encoded can turn up in
// any part of it.
func newTarget(s *Settings) (*target, error) {
	u, err := url.Parse(s.URL.Reveal())
	if err != nil {
		return nil, settingsFault("the connection URL cannot be read").
			WithHint("write mysql://user:password@host:3306/database, special characters of user and password percent-encoded")
	}
	database := strings.TrimPrefix(u.Path, "/")
	switch {
	case u.Scheme != "mysql":
		return nil, settingsFault("the connection URL does not begin with mysql://")
	case u.User == nil || u.User.Username() == "":
		return nil, settingsFault("the connection URL names no user").WithHint("write mysql://user:password@host:3306/database")
	case u.Fragment != "" || strings.ContainsAny(database, "/@") || u.Opaque != "":
		return nil, settingsFault("the connection URL has more parts than user, password, host, port and database").
			WithHint("percent-encode special characters of user and password: # is %%23, / is %%2F, ? is %%3F, @ is %%40")
	}
	if err := applyQuery(s, u.RawQuery); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.Request.given() && database == "" {
		return nil, noDatabase()
	}
	password, _ := u.User.Password()
	t := &target{
		network: "tcp", host: u.Hostname(), user: u.User.Username(), password: password, database: database,
		tlsMode: s.TLS, connectTimeout: s.ConnectTimeout, keepAlive: s.KeepAlive,
	}
	port := u.Port()
	if port == "" {
		port = "3306"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, settingsFault("the connection URL's port is not from 1 to 65535")
	}
	t.address = net.JoinHostPort(t.host, port)
	if s.Socket != "" {
		t.network, t.address = "unix", s.Socket
		if t.tlsMode == tlsPreferred {
			t.tlsMode = tlsDisabled
		}
	} else if t.host == "" {
		return nil, settingsFault("the connection URL names no host, and no socket is set")
	}
	t.tlsConfig, err = t.newTLSConfig(s)
	return t, err
}

// applyQuery takes the settings that stand in the URL.
func applyQuery(s *Settings, raw string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return settingsFault("the part of the connection URL after '?' cannot be read")
	}
	modes := []string{tlsDisabled, tlsPreferred, tlsRequired, tlsVerifyCA, tlsVerifyIdentity}
	for key, list := range values {
		field, ok := map[string]*string{"socket": &s.Socket, "tls": &s.TLS, "tls_ca": &s.TLSCA, "tls_cert": &s.TLSCert, "tls_key": &s.TLSKey}[key]
		switch {
		case !ok:
			return settingsFault("the connection URL has an unknown key after '?'").
				WithHint("allowed are socket, tls, tls_ca, tls_cert and tls_key; in user and password, ? is written %%3F")
		case key == "tls" && !slices.Contains(modes, list[0]):
			return settingsFault("the connection URL's tls is none of %s", strings.Join(modes, ", "))
		case len(list) > 1 || *field != "" && *field != list[0] && !(key == "tls" && *field == tlsPreferred):
			return settingsFault("%s is set twice, in the connection URL and beside it", key)
		}
		*field = list[0]
	}
	return nil
}

// newTLSConfig builds the configuration of the mode.
func (t *target) newTLSConfig(s *Settings) (*tls.Config, error) {
	if t.tlsMode == tlsDisabled {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.host}
	if s.TLSCA != "" {
		pem, err := os.ReadFile(s.TLSCA)
		if err != nil {
			return nil, tlsFileFault("tls_ca", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, tlsFileFault("tls_ca", errors.New("the file holds no certificate in PEM form"))
		}
	}
	if s.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey)
		if err != nil {
			return nil, tlsFileFault("tls_cert and tls_key", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	switch t.tlsMode {
	case tlsPreferred, tlsRequired:
		c.InsecureSkipVerify = true
	case tlsVerifyCA:
		// The chain is checked below, the name is not.
		c.InsecureSkipVerify = true
		c.VerifyConnection = func(state tls.ConnectionState) error {
			options := x509.VerifyOptions{Roots: c.RootCAs, Intermediates: x509.NewCertPool()}
			for _, certificate := range state.PeerCertificates[1:] {
				options.Intermediates.AddCert(certificate)
			}
			_, err := state.PeerCertificates[0].Verify(options)
			return err
		}
	case tlsVerifyIdentity:
		if t.host == "" {
			return nil, settingsFault("tls: verify-identity needs a host in the connection URL, also with a socket")
		}
	}
	return c, nil
}

func tlsFileFault(setting string, err error) error {
	return fault.New(codeTLS, fault.Usage, "%s cannot be used: %w", setting, err)
}
