package mysql

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// target is where to connect to and as whom.
type target struct {
	network  string // "tcp" or "unix"
	address  string
	host     string
	user     string
	password string
	database string

	protection protection

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
	case strings.ContainsRune(u.User.Username()+database, 0):
		return nil, settingsFault("the connection URL's user or database holds a zero byte, which no name does")
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
		connectTimeout: s.ConnectTimeout, keepAlive: s.KeepAlive,
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
	} else if t.host == "" {
		return nil, settingsFault("the connection URL names no host, and no socket is set")
	}
	t.protection, err = newProtection(s, t.host)
	return t, err
}

// applyQuery takes the settings that stand in the URL.
func applyQuery(s *Settings, raw string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return settingsFault("the part of the connection URL after '?' cannot be read")
	}
	texts := map[string]*string{
		"socket": &s.Socket, "tls": &s.TLS, "tls_ca": &s.TLSCA, "tls_cert": &s.TLSCert, "tls_key": &s.TLSKey, "tls_pin": &s.TLSPin,
		"server_public_key": &s.ServerPublicKey,
	}
	for key, list := range values {
		if key == "cleartext_password" {
			if len(list) > 1 || list[0] != "true" && list[0] != "false" || list[0] == "false" && s.ClearTextPassword {
				return settingsFault("cleartext_password in the connection URL is neither true nor false, or contradicts the setting")
			}
			s.ClearTextPassword = list[0] == "true"
			continue
		}
		field, ok := texts[key]
		switch {
		case !ok:
			return settingsFault("the connection URL has an unknown key after '?'").
				WithHint("allowed are socket, tls, tls_ca, tls_cert, tls_key, tls_pin, server_public_key and cleartext_password; in user and password, ? is written %%3F")
		case key == "tls" && !slices.Contains(tlsModes, list[0]):
			return settingsFault("the connection URL's tls is none of %s", strings.Join(tlsModes, ", ")).
				WithHint("what other programs call preferred or required checks no certificate, which is written skip-verify here")
		case len(list) > 1 || *field != "" && *field != list[0] && !(key == "tls" && *field == tlsAuto):
			return settingsFault("%s is set twice, in the connection URL and beside it", key)
		}
		*field = list[0]
	}
	return nil
}
