// Package mail writes to customers of what has happened to their jobs and endpoints: short texts with a link to the API,
// never one to a result, and no row of data. It hands each to the one server that the operator has set, encrypted unless
// that is on the machine itself; when a message is tried again, package webhook and the record say.
package mail

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	netmail "net/mail"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of mail that was not accepted. They stand in the logs of deliveries.
const (
	// CodeAddress: the address of the customer, or of the sender, is none that mail can go to.
	CodeAddress = "mail.address"
	// CodeConnection: the server cannot be reached, or has ended the connection, or does not speak SMTP.
	CodeConnection = "mail.connection"
	// CodeTimeout: the server has not answered in time.
	CodeTimeout = "mail.timeout"
	// CodeTLS: the server offers no encryption, or its certificate is not valid for it. Nothing was sent.
	CodeTLS = "mail.tls"
	// CodeLogin: the server does not take the name and the password.
	CodeLogin = "mail.login"
	// CodeLater: the server does not take the message now.
	CodeLater = "mail.later"
	// CodeRefused: the server does not take the message, and will not.
	CodeRefused = "mail.refused"
)

// TLS says how the connection to the server is encrypted.
type TLS string

// The ways.
const (
	StartTLS TLS = "starttls" // begins in the clear, and nothing is sent before it is encrypted
	Implicit TLS = "tls"      // is encrypted from the beginning
	None     TLS = "none"     // is not: for a server on this machine
)

// mostRead bounds what a server can send in all: its answers are lines.
const mostRead = 256 << 10

// Config is what a Sender needs.
type Config struct {
	Server string
	Port   int
	// From is an address, with a name before it or without.
	From string
	// Username and Password log in; the default is that nobody does.
	Username string
	Password config.Secret
	// TLS has StartTLS as its default.
	TLS TLS
	// API is where links to jobs begin, such as https://api.example.com. Without it the job is only named.
	API string
	// Timeout bounds all that is done for one message; the default is store.DefaultTimeout.
	Timeout time.Duration
	// Roots sign the server's certificate; the default are those of the system.
	Roots *x509.CertPool
}

// Sender writes mail. It may be used by many goroutines at once.
type Sender struct {
	cfg    Config
	domain string // of the sender
}

// New returns a sender. It connects to nothing.
func New(cfg Config) (*Sender, error) {
	from, err := netmail.ParseAddress(cfg.From)
	if err != nil || !Address(from.Address) {
		return nil, fault.New(CodeAddress, fault.Usage, "the sender is no address that mail can come from")
	}
	cfg.TLS, cfg.Timeout = cmp.Or(cfg.TLS, StartTLS), cmp.Or(cfg.Timeout, store.DefaultTimeout)
	cfg.API = strings.TrimSuffix(cfg.API, "/")
	_, domain, _ := strings.Cut(from.Address, "@")
	return &Sender{cfg, domain}, nil
}

// Address reports whether a text is an address, with no name beside it, that every server takes: no line ends in it, and
// nothing in it needs quoting.
func Address(text string) bool {
	a, err := netmail.ParseAddress(text)
	return err == nil && a.Name == "" && a.Address == text && len(text) <= 254 &&
		!strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"<>(),;:\[]`, r) })
}

// Send writes a delivery to its target, and says what has become of it. What it says holds nothing that the server has sent
// but the number of its answer.
func (s *Sender) Send(ctx context.Context, d store.Delivery) store.Outcome {
	began := time.Now()
	o := s.send(ctx, d)
	o.Duration = time.Since(began)
	return o
}

func (s *Sender) send(ctx context.Context, d store.Delivery) store.Outcome {
	if !Address(d.Target) {
		return store.Outcome{Verdict: store.Final, Code: CodeAddress, Message: "the address is none that mail can go to"}
	}
	m, err := s.message(d)
	if err != nil {
		return store.Outcome{Verdict: store.Final, Code: CodeAddress, Message: "the message cannot be written"}
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	client, err := s.client(ctx)
	if err != nil {
		return again(CodeConnection, "the settings of the server cannot be used")
	}
	connection, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return dialFailed(ctx, err)
	}
	err = client.SendWithSMTPClient(connection, m)
	// What follows the message changes nothing: a server that hangs then has it.
	if err == nil || m.IsDelivered() {
		_ = client.CloseWithSMTPClient(connection)
		return store.Outcome{Verdict: store.Accepted}
	}
	_ = connection.Close()
	return sendFailed(ctx, err)
}

// client is one for one message.
func (s *Sender) client(ctx context.Context) (*mail.Client, error) {
	cfg := &tls.Config{ServerName: s.cfg.Server, RootCAs: s.cfg.Roots, MinVersion: tls.VersionTLS12}
	// The time of the message is the end of ctx, which closes the connection; the library's own is behind it, so that an end
	// is always told as what it is.
	options := []mail.Option{
		mail.WithPort(s.cfg.Port), mail.WithTimeout(2 * s.cfg.Timeout), mail.WithTLSConfig(cfg), mail.WithTLSPolicy(mail.TLSMandatory),
		mail.WithoutNoop(), mail.WithoutRset(), mail.WithDialContextFunc(func(dialing context.Context, network, address string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(dialing, network, address)
			if err != nil {
				return nil, err
			}
			bounded := &bounded{Conn: c, left: mostRead}
			bounded.stop = context.AfterFunc(ctx, func() { _ = c.Close() })
			if s.cfg.TLS != Implicit {
				return bounded, nil
			}
			over := tls.Client(bounded, cfg)
			if err := over.HandshakeContext(dialing); err != nil {
				_ = bounded.Close()
				return nil, err
			}
			return over, nil
		}),
	}
	switch s.cfg.TLS {
	case Implicit:
		options = append(options, mail.WithSSL())
	case None:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	}
	if s.cfg.Username != "" {
		options = append(options, mail.WithUsername(s.cfg.Username), mail.WithPassword(s.cfg.Password.Reveal()),
			mail.WithOpportunisticSMTPAuth(mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthPlain, mail.SMTPAuthLogin, mail.SMTPAuthCramMD5))
	}
	return mail.NewClient(s.cfg.Server, options...)
}

// bounded is a connection that ends with the time of its message, and of which no more is read than an honest server sends.
type bounded struct {
	net.Conn
	left int
	stop func() bool
}

var errTooMuch = errors.New("mail: the server sends too much")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (b *bounded) Close() error {
	b.stop()
	return b.Conn.Close()
}

func again(code, message string) store.Outcome {
	return store.Outcome{Verdict: store.Again, Code: code, Message: message}
}

// answered is what a negative answer comes to.
func answered(status int) store.Outcome {
	number := strconv.Itoa(status)
	if status >= 500 {
		return store.Outcome{Verdict: store.Final, Code: CodeRefused, Message: "the server answered " + number}
	}
	return again(CodeLater, "the server answered "+number)
}

// dialFailed is what comes of a connection over which no message was begun. None of it is the message's fault, and all of
// it is tried again.
func dialFailed(ctx context.Context, err error) store.Outcome {
	var (
		answer  *textproto.Error
		checked *tls.CertificateVerificationError
		noTLS   tls.RecordHeaderError
		alert   tls.AlertError
		network *net.OpError
	)
	text := err.Error()
	switch {
	case ctx.Err() != nil, isTimeout(err):
		return again(CodeTimeout, "the server did not answer in time")
	case errors.As(err, &checked):
		return again(CodeTLS, "the certificate of the server is not valid for it")
	case strings.Contains(text, "does not support STARTTLS"):
		return again(CodeTLS, "the server offers no encryption")
	case errors.As(err, &noTLS), errors.As(err, &alert), errors.As(err, &network) && network.Op == "remote error", strings.HasPrefix(text, "tls: "):
		return again(CodeTLS, "the server and the service agree on no encryption")
	case strings.Contains(text, "AUTH"), strings.Contains(text, "auth"), errors.As(err, &answer) && (answer.Code == 535 || answer.Code == 534 || answer.Code == 530):
		return again(CodeLogin, "the server does not take the name and the password")
	case errors.As(err, &answer):
		return again(CodeLater, "the server answered "+strconv.Itoa(answer.Code))
	}
	return again(CodeConnection, "the server cannot be reached, has ended the connection, or does not speak SMTP")
}

func sendFailed(ctx context.Context, err error) store.Outcome {
	var failed *mail.SendError
	var answer *textproto.Error
	switch {
	case errors.As(err, &failed) && failed.ErrorCode() >= 400: // whatever it did then
		return answered(failed.ErrorCode())
	case ctx.Err() != nil, isTimeout(err):
		return again(CodeTimeout, "the server did not answer in time")
	case errors.As(err, &answer):
		return answered(answer.Code)
	case errors.As(err, &failed) && failed.Reason == mail.ErrNoUnencoded:
		return again(CodeLater, "the server takes no message of eight bits")
	case errors.Is(err, io.EOF):
		return again(CodeConnection, "the server ended the connection")
	}
	return again(CodeConnection, "the server ended the connection, or does not speak SMTP")
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}
