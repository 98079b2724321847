package mysql

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/sdk/mysqlurl"
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

// newTarget reads the connection URL and the certificate files. No error quotes the URL.
func newTarget(s *Settings) (*target, error) {
	u, err := mysqlurl.Parse(s.URL.Reveal())
	if err != nil {
		return nil, urlFault(err)
	}
	if err := applyQuery(s, u.Query); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.Request.given() && u.Database == "" {
		return nil, noDatabase()
	}
	t := &target{
		host: u.Host, user: u.User, password: u.Password, database: u.Database,
		connectTimeout: s.ConnectTimeout, keepAlive: s.KeepAlive,
	}
	if t.network, t.address, err = u.Address(s.Socket); err != nil {
		return nil, urlFault(err)
	}
	t.protection, err = newProtection(s, t.host)
	return t, err
}

// urlFault makes a fault of a mysqlurl.Problem.
func urlFault(err error) error {
	var problem *mysqlurl.Problem
	if !errors.As(err, &problem) {
		return err
	}
	return settingsFault("%w", problem).WithHint("%s", problem.Hint)
}

// applyQuery takes the settings that stand in the URL.
func applyQuery(s *Settings, values url.Values) error {
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
		case key == "tls" && !slices.Contains(mysqlurl.Modes, list[0]):
			return settingsFault("the connection URL's tls is none of %s", strings.Join(mysqlurl.Modes, ", ")).
				WithHint(mysqlurl.ModeHint)
		case len(list) > 1 || *field != "" && *field != list[0] && !(key == "tls" && *field == mysqlurl.Auto):
			return settingsFault("%s is set twice, in the connection URL and beside it", key)
		}
		*field = list[0]
	}
	return nil
}
