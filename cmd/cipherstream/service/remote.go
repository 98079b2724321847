package service

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/sdk/mysqlurl"
	"github.com/cipherstream/cipherstream/sdk/pin"
)

// errPin is a certificate that is not the pinned one.
var errPin = errors.New("not the one of --pin")

// remote is a service elsewhere, and how it is reached.
type remote struct {
	server, key, pin string
	variable         string // holds the key where no reference is given
}

func (r *remote) flags(c *cobra.Command, what, variable string) {
	r.variable = variable
	f := c.PersistentFlags()
	f.StringVar(&r.server, "server", "", "base `URL` of the service, such as https://api.example.com")
	f.StringVar(&r.key, "key", "", "`REFERENCE` to "+what+" (default env:"+variable+")")
	f.StringVar(&r.pin, "pin", "", "take the one certificate whose public key has this `SHA-256`, sha256:HEX, which the service shows at its start; no authority is asked")
}

// secret is the key.
func (r *remote) secret(ctx context.Context) (string, error) {
	if r.key != "" {
		return session.ReadSecret(ctx, r.key)
	}
	if os.Getenv(r.variable) == "" {
		return "", terminal.UsageFault("no key is given").WithHint("set %s, or give --key %s", r.variable, session.SecretForms)
	}
	return session.ReadSecret(ctx, "env:"+r.variable)
}

// caller speaks to the service with the key.
func (r *remote) caller(ctx context.Context) (*caller, error) {
	if r.server == "" {
		return nil, terminal.UsageFault("no service is given").WithHint("give --server URL")
	}
	client, err := r.client()
	if err != nil {
		return nil, err
	}
	key, err := r.secret(ctx)
	if err != nil {
		return nil, err
	}
	return &caller{client: client, server: strings.TrimSuffix(r.server, "/"), key: key}, nil
}

// client speaks to the service: by TLS 1.3, and in the clear to this machine only. Answers come as they are sent.
func (r *remote) client() (*http.Client, error) {
	u, err := url.Parse(r.server)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http":
		return nil, terminal.UsageFault("--server takes a base URL such as https://api.example.com")
	case u.Scheme == "http" && !mysqlurl.IsLoopback(u.Hostname()):
		return nil, terminal.UsageFault("the key and the data would go to %s in the clear", u.Host).WithHint("give an https URL; http is for this machine only")
	case u.Scheme == "http" && r.pin != "":
		return nil, terminal.UsageFault("--pin is about a certificate, and http has none")
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS13}
	if r.pin != "" {
		wanted, ok := pin.Parse(r.pin)
		if !ok {
			return nil, terminal.UsageFault("--pin takes sha256: and 64 hexadecimal digits").WithHint("the service shows it at its start")
		}
		// Whose certificate it is says the pin, instead of an authority and a name.
		trust.InsecureSkipVerify = true
		trust.VerifyConnection = func(s tls.ConnectionState) error {
			if found := pin.Of(s.PeerCertificates[0]); found != wanted {
				return fmt.Errorf("the server's certificate has the pin %s, and %w", found, errPin)
			}
			return nil
		}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = trust
	transport.DisableCompression = true // what comes is what is checked
	return &http.Client{
		Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the key goes nowhere else
		},
	}, nil
}

// customerFlags say whose things are meant, and where.
type customerFlags struct {
	remote   remote
	customer string
}

// ofCustomer is what a service has of one customer.
type ofCustomer struct {
	*caller
	customer string
}

func (f *customerFlags) of(ctx context.Context) (*ofCustomer, error) {
	if f.customer == "" {
		return nil, terminal.UsageFault("no customer is given").WithHint("give --customer ID")
	}
	s, err := f.remote.caller(ctx)
	return &ofCustomer{s, f.customer}, err
}

// under is the path of a kind of things, and of parts of it.
func (s *ofCustomer) under(kind string, parts ...string) string {
	path := "/v1/customers/" + url.PathEscape(s.customer) + "/" + kind
	for _, part := range parts {
		path += "/" + url.PathEscape(part)
	}
	return path
}

// answer tells what came of a command: to a machine as JSON, what a service has answered as it came; to a person as write has it.
func (a *app) answer(value any, write func(io.Writer) error) error {
	return a.Print(func(w io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(w, value)
		}
		return write(w)
	})
}
