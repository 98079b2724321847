package sandbox

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/mysqlurl"
)

// parseDSN reads the product's connection URL, of which the loader uses socket, tls, tls_pin, tls_ca, tls_cert and
// tls_key; other parameters belong to the mysql source and are left alone. Towards this machine TLS is used when
// the server offers it. No error holds the URL, which may hold a password.
func parseDSN(dsn string) (*mysql.Config, error) {
	u, err := mysqlurl.Parse(dsn)
	if err != nil {
		return nil, urlFault(err)
	}
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = u.User, u.Password, u.Database
	if c.DBName == "" {
		return nil, dsnFault("names no database")
	}
	if c.Net, c.Addr, err = u.Address(u.Query.Get("socket")); err != nil {
		return nil, urlFault(err)
	}
	if err := setTLS(c, u); err != nil {
		return nil, err
	}
	return c, nil
}

func dsnFault(format string, args ...any) *fault.Fault {
	return fault.New(CodeDSN, fault.Usage, "the connection URL "+format, args...).
		WithHint("write mysql://user:password@host:3306/database")
}

// urlFault makes a fault of a mysqlurl.Problem.
func urlFault(err error) error {
	var problem *mysqlurl.Problem
	if !errors.As(err, &problem) {
		return err
	}
	return fault.New(CodeDSN, fault.Usage, "%w", problem).WithHint("%s", problem.Hint)
}

// setTLS maps the product's TLS modes to the driver's.
func setTLS(c *mysql.Config, u *mysqlurl.URL) error {
	t := mysqlurl.Trust{Mode: u.Query.Get("tls"), Host: u.Host}
	key := u.Query.Get("tls_pin")
	switch {
	case !t.IsAuto() && !slices.Contains(mysqlurl.Modes, t.Mode):
		return dsnFault("has a tls that is none of %s", strings.Join(mysqlurl.Modes, ", ")).WithHint(mysqlurl.ModeHint)
	case key != "" && (t.Mode == mysqlurl.Disabled || t.Mode == mysqlurl.SkipVerify):
		return dsnFault("has tls_pin beside tls=%s, with which it has no effect", t.Mode).WithHint("leave tls out")
	case t.Mode == mysqlurl.Disabled:
		return nil
	}
	if key != "" {
		if err := t.SetPin(key); err != nil {
			return dsnFault("has a tls_pin that is none: %w", err)
		}
	}
	if file := u.Query.Get("tls_ca"); file != "" {
		if err := t.ReadRoots(file); err != nil {
			return dsnFault("names a tls_ca that cannot be used: %w", err)
		}
	}
	if cert, key := u.Query.Get("tls_cert"), u.Query.Get("tls_key"); cert != "" || key != "" {
		if err := t.ReadClient(cert, key); err != nil {
			return dsnFault("names a tls_cert and tls_key that cannot be used: %w", err)
		}
	}
	mode := t.Resolve(c.Net == "unix" || mysqlurl.IsLoopback(u.Host))
	c.AllowFallbackToPlaintext = t.IsAuto() && mode == mysqlurl.SkipVerify
	c.TLS = t.Config(func(chain []*x509.Certificate) error { return t.Verify(mode, chain) })
	return nil
}
