package sandbox

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/go-sql-driver/mysql"
)

// parseDSN reads the product's connection URL,
// mysql://user:password@host:3306/database, of which the loader uses:
//
//   - socket: path of a unix socket, in place of host and port
//   - tls: disabled, skip-verify (encrypted, not verified), verify-ca (the chain),
//     verify-identity (the chain and the host name), or auto, the default: that is
//     verify-identity, but towards localhost and a socket TLS when the server offers it
//   - tls_pin: sha256: and the SHA-256 of the one key that the server may have
//   - tls_ca, tls_cert, tls_key: PEM files
//
// Other parameters belong to the mysql source and are left alone. No error holds
// the URL, which may hold a password.
func parseDSN(dsn string) (*mysql.Config, error) {
	u, err := url.Parse(dsn)
	if err != nil { // its text quotes the URL
		return nil, dsnFault("is not a URL; special characters of a password are written %%40 for @, %%3A for :, %%2F for /")
	}
	if u.Scheme != "mysql" {
		return nil, dsnFault("must start with mysql://")
	}
	c := mysql.NewConfig()
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	c.DBName = strings.TrimPrefix(u.Path, "/")
	if c.User == "" {
		return nil, dsnFault("names no user")
	}
	if c.DBName == "" || strings.Contains(c.DBName, "/") {
		return nil, dsnFault("must name one database after the host: /name")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, dsnFault("has malformed parameters after the question mark")
	}
	if socket := query.Get("socket"); socket != "" {
		c.Net, c.Addr = "unix", socket
	} else {
		port := u.Port()
		if port == "" {
			port = "3306"
		}
		if u.Hostname() == "" {
			return nil, dsnFault("names neither a host nor a socket")
		}
		c.Net, c.Addr = "tcp", net.JoinHostPort(u.Hostname(), port)
	}
	if err := setTLS(c, u.Hostname(), query); err != nil {
		return nil, err
	}
	return c, nil
}

func dsnFault(format string, args ...any) *fault.Fault {
	return fault.New(CodeDSN, fault.Usage, "the connection URL "+format, args...).
		WithHint("expected mysql://user:password@host:3306/database")
}

// setTLS maps the product's TLS modes to the driver's.
func setTLS(c *mysql.Config, host string, query url.Values) error {
	mode, pin := query.Get("tls"), strings.ToLower(query.Get("tls_pin"))
	ip := net.ParseIP(host)
	local := c.Net == "unix" || strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
	if pin != "" && mode != "" && mode != "auto" {
		return dsnFault("has tls_pin beside tls=%s; leave tls out", mode)
	}
	switch mode {
	case "disabled":
		return nil
	case "", "auto":
		switch {
		case pin != "" || query.Get("tls_ca") != "" || !local:
			mode = "verify-identity"
		default:
			mode, c.AllowFallbackToPlaintext = "skip-verify", true
		}
	case "skip-verify", "verify-ca", "verify-identity":
	case "preferred", "required":
		return dsnFault("has tls=%s, which checks no certificate; that is written skip-verify here", mode)
	default:
		return dsnFault("has tls=%s; expected auto, disabled, skip-verify, verify-ca or verify-identity", mode)
	}
	c.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if file := query.Get("tls_ca"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return dsnFault("names a tls_ca that cannot be read: %w", err)
		}
		c.TLS.RootCAs = x509.NewCertPool()
		if !c.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return dsnFault("names a tls_ca, %s, that holds no PEM certificate", file)
		}
	}
	if cert, key := query.Get("tls_cert"), query.Get("tls_key"); cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return dsnFault("names a tls_cert and tls_key that cannot be used: %w", err)
		}
		c.TLS.Certificates = []tls.Certificate{pair}
	}
	if pin != "" {
		// The key stands for authority and name.
		c.TLS.InsecureSkipVerify = true
		c.TLS.VerifyConnection = func(state tls.ConnectionState) error {
			sum := sha256.Sum256(state.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if got := "sha256:" + hex.EncodeToString(sum[:]); got != pin {
				return fmt.Errorf("the server's key is %s, and not what tls_pin says", got)
			}
			return nil
		}
		return nil
	}
	if mode == "verify-identity" {
		return nil
	}
	// The host name isn't checked; for verify-ca the chain still is.
	c.TLS.InsecureSkipVerify = true
	if mode == "verify-ca" {
		roots := c.TLS.RootCAs
		c.TLS.VerifyConnection = func(state tls.ConnectionState) error {
			intermediates := x509.NewCertPool()
			for _, cert := range state.PeerCertificates[1:] {
				intermediates.AddCert(cert)
			}
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates})
			return err
		}
	}
	return nil
}
