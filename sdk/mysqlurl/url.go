// Package mysqlurl reads the connection URL of a MySQL or MariaDB server,
//
//	mysql://user:password@host:3306/database
//
// and checks the certificate of who answers there. It owns what the URL and its TLS words mean, for
// whatever connects to such a server; it never connects, and no error of it holds a part of the URL:
// a password whose special characters were not encoded can turn up in any of them.
package mysqlurl

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

// URL is a connection URL.
type URL struct {
	Host     string // may be empty beside a socket
	Port     string // 1 to 65535
	User     string
	Password string
	Database string // may be empty
	// Query is what stands behind the question mark.
	Query url.Values
}

// Problem is why a URL cannot be used, and what to do.
type Problem struct{ Text, Hint string }

func (p *Problem) Error() string { return p.Text }

const form = "write mysql://user:password@host:3306/database, " +
	"special characters of user and password percent-encoded: # is %23, / is %2F, : is %3A, ? is %3F, @ is %40"

// Parse reads a URL. Its error is a *Problem.
func Parse(text string) (*URL, error) {
	refuse := func(what string) (*URL, error) { return nil, &Problem{"the connection URL " + what, form} }
	u, err := url.Parse(text)
	if err != nil {
		return refuse("cannot be read")
	}
	database := strings.TrimPrefix(u.Path, "/")
	query, err := url.ParseQuery(u.RawQuery)
	switch {
	case u.Scheme != "mysql":
		return refuse("does not begin with mysql://")
	case u.User.Username() == "":
		return refuse("names no user")
	case strings.ContainsRune(u.User.Username()+database, 0):
		return refuse("holds a zero byte in the user or the database, which no name has")
	case u.Fragment != "" || strings.ContainsAny(database, "/@") || u.Opaque != "":
		return refuse("has more parts than user, password, host, port and database")
	case err != nil:
		return refuse("has a part after '?' that cannot be read")
	}
	port := u.Port()
	if port == "" {
		port = "3306"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return refuse("has a port that is not from 1 to 65535")
	}
	password, _ := u.User.Password()
	return &URL{
		Host: u.Hostname(), Port: port, User: u.User.Username(), Password: password, Database: database, Query: query,
	}, nil
}

// Address is where to connect to: by TCP, or at the path of a unix socket if there is one. Its error is a *Problem.
func (u *URL) Address(socket string) (network, address string, err error) {
	switch {
	case socket != "":
		return "unix", socket, nil
	case u.Host == "":
		return "", "", &Problem{"the connection URL names no host, and no socket is set", form}
	}
	return "tcp", net.JoinHostPort(u.Host, u.Port), nil
}

// IsLoopback reports whether a host is this machine by its name, as it was written: no name service can say so.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
