package mysql

import (
	"context"
	"crypto/x509"
	"database/sql"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/mysqlurl"
	"github.com/cipherstream/cipherstream/sdk/pin"
)

// Times of a connection. A server that says nothing for silence is taken for gone: longer than any lock is waited for.
const (
	connectTime = 10 * time.Second
	silence     = 30 * time.Second
)

// urlKeys may stand in the URL's query.
var urlKeys = []string{"socket", "tls", "tls_ca", "tls_cert", "tls_key", "tls_pin"}

// parseURL reads the connection URL into what the driver takes.
func parseURL(secret config.Secret) (*driver.Config, error) {
	u, err := mysqlurl.Parse(secret.Reveal())
	if err != nil {
		return nil, problemFault(err)
	}
	for key := range u.Query {
		if !slices.Contains(urlKeys, key) {
			return nil, urlFault("has a part after '?' that is none of " + strings.Join(urlKeys, ", "))
		}
	}
	c := driver.NewConfig()
	c.User, c.Passwd, c.DBName = u.User, u.Password, u.Database
	if c.DBName == "" {
		return nil, urlFault("names no database")
	}
	if c.Net, c.Addr, err = u.Address(u.Query.Get("socket")); err != nil {
		return nil, problemFault(err)
	}
	if err := setTLS(c, u); err != nil {
		return nil, err
	}
	c.Timeout, c.ReadTimeout, c.WriteTimeout = connectTime, silence, silence
	// Faults say what went wrong; the driver's own words go nowhere.
	c.Logger = &driver.NopLogger{}
	// RowsAffected is of the rows that a WHERE met, as everywhere else.
	c.ClientFoundRows = true
	// One round trip a statement, not three.
	c.InterpolateParams = true
	c.Params = map[string]string{}
	if err := c.Apply(driver.Charset("utf8mb4", "")); err != nil {
		return nil, err
	}
	return c, nil
}

// setTLS maps the words of mysqlurl to the driver's.
func setTLS(c *driver.Config, u *mysqlurl.URL) error {
	t := mysqlurl.Trust{Mode: u.Query.Get("tls"), Host: u.Host}
	ca, cert, key, pinned := u.Query.Get("tls_ca"), u.Query.Get("tls_cert"), u.Query.Get("tls_key"), u.Query.Get("tls_pin")
	unchecked := t.Mode == mysqlurl.Disabled || t.Mode == mysqlurl.SkipVerify
	switch {
	case !t.IsAuto() && !slices.Contains(mysqlurl.Modes, t.Mode):
		return urlFault("has a tls that is none of " + strings.Join(mysqlurl.Modes, ", ")).WithHint(mysqlurl.ModeHint)
	case unchecked && (ca != "" || pinned != ""):
		return urlFault("has tls_ca or tls_pin beside a tls that checks no certificate").WithHint("leave tls out")
	case (cert == "") != (key == ""):
		return urlFault("has one of tls_cert and tls_key, which go together")
	case cert != "" && t.Mode == mysqlurl.Disabled:
		return urlFault("has tls_cert beside tls=disabled, with which it has no effect")
	case t.Mode == mysqlurl.VerifyIdentity && u.Host == "":
		return urlFault("names no host that tls=verify-identity could check, which it needs with a socket too")
	case t.Mode == mysqlurl.Disabled:
		return nil
	}
	if pinned != "" {
		if err := t.SetPin(pinned); err != nil {
			return urlFault("has a tls_pin that is none: %w", err)
		}
	}
	if ca != "" {
		if err := t.ReadRoots(ca); err != nil {
			return urlFault("names a tls_ca that cannot be used: %w", err)
		}
	}
	if cert != "" {
		if err := t.ReadClient(cert, key); err != nil {
			return urlFault("names a tls_cert and tls_key that cannot be used: %w", err)
		}
	}
	mode := t.Resolve(c.Net == "unix" || mysqlurl.IsLoopback(u.Host))
	optional := t.IsAuto() && mode == mysqlurl.SkipVerify
	if optional && c.Net == "unix" {
		return nil
	}
	c.AllowFallbackToPlaintext = optional
	c.TLS = t.Config(func(chain []*x509.Certificate) error {
		problem := t.Verify(mode, chain)
		if problem == nil {
			return nil
		}
		came := pin.Of(chain[0])
		return fault.New(store.CodeServer, fault.Connect, "the certificate of the record's server at %s is not trusted: %w",
			c.Addr, problem).WithDetail("tls_pin", came).
			WithHint("trust its authority with tls_ca=FILE (and tls=verify-ca if it does not name the host), or, after "+
				"comparing with the server's own (openssl x509 -in server-cert.pem -noout -pubkey | openssl pkey -pubin "+
				"-outform der | sha256sum), pin it: tls_pin=%s", came)
	})
	return nil
}

func urlFault(format string, args ...any) *fault.Fault {
	return fault.New(store.CodeURL, fault.Usage, "the record's connection URL "+format, args...).
		WithHint("write mysql://user:password@host:3306/database")
}

// problemFault makes a fault of a mysqlurl.Problem.
func problemFault(err error) error {
	var problem *mysqlurl.Problem
	if !errors.As(err, &problem) {
		return urlFault("cannot be read")
	}
	return fault.New(store.CodeURL, fault.Usage, "of the record: %s", problem.Text).WithHint("%s", problem.Hint)
}

// unhurried is connect for what may take long, such as a migration.
func (s *Store) unhurried(ctx context.Context) (conn *sql.Conn, done func(), err error) {
	slow := s.target.Clone()
	slow.ReadTimeout = 0
	return connect(ctx, slow)
}

// connect opens a connection that is of no pool; done closes it.
func connect(ctx context.Context, target *driver.Config) (conn *sql.Conn, done func(), err error) {
	connector, err := driver.NewConnector(target)
	if err != nil {
		return nil, nil, urlFault("cannot be used")
	}
	db := sql.OpenDB(connector)
	if conn, err = db.Conn(ctx); err != nil {
		_ = db.Close() // there is nothing open
		return nil, nil, unreachable(ctx, err)
	}
	return conn, func() {
		// What was done on it has been acknowledged.
		_ = conn.Close()
		_ = db.Close()
	}, nil
}

// isLocal reports whether the server is on this machine.
func isLocal(target *driver.Config) bool {
	host, _, _ := net.SplitHostPort(target.Addr) // of another form it is no loopback
	return target.Net == "unix" || mysqlurl.IsLoopback(host)
}

// unreachable is the fault of a server that lets nobody in.
func unreachable(ctx context.Context, err error) error {
	var known *fault.Fault
	var theirs *driver.MySQLError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &known):
		return known
	case errors.As(err, &theirs) && slices.Contains(refusals, theirs.Number):
		return fault.New(store.CodeServer, fault.Connect, "the record's server lets this account not in (%s)", says(theirs)).
			WithHint("check user, password and database in the connection URL, and from which hosts the account may come")
	case errors.Is(err, driver.ErrNoTLS):
		return fault.New(store.CodeServer, fault.Connect, "the record's server offers no TLS").
			WithHint("give the server a certificate, or say tls=disabled where nobody can listen")
	}
	return fault.New(store.CodeServer, fault.Connect, "the record's server cannot be reached (%s)", says(err)).
		WithHint("check host and port, and that the server is up").WithRetry()
}
