package webhook

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/pin"
	"github.com/cipherstream/cipherstream/sdk/webhook"
)

// listenFlags are the flags of listen.
type listenFlags struct {
	secrets, listen, cert, key, saveCert string
	plain, links                         bool
	answers
	tolerance time.Duration
	maxBody   int64
}

func (a *app) listenCommand() *cobra.Command {
	var f listenFlags
	c := &cobra.Command{
		Use:   "listen",
		Short: "Receive webhooks, show them, and answer as told",
		Long: `Receive webhooks until interrupted: of each request show what came and which signatures
hold, and answer as told. What is not signed, or too old, is answered with 401 or 400, and
so is an altered one. What comes again is said to: the next attempt at a delivery, and the
same attempt once more, which may be somebody's who has recorded it.

` + secretsHelp + `

It listens on loopback, with a certificate that it makes; its pin is shown, and --save-cert
writes it to a file, so that a sender may trust it: a service on this machine does where it
is started with SSL_CERT_FILE, and its document allows the network. Give --cert and --key for
one of your own, or --plain behind something that ends TLS.

--fail-first answers so many requests with 503 before it goes on with --status, and --delay
waits before each answer. The link to a result is shown without what makes it open, unless
--show-links is given. With --json each request is a line.`,
		Example: `  cipherstream webhook listen --secrets file:secret.txt --save-cert listen.pem
  cipherstream webhook listen --secrets file:secret.txt --status 503 --retry-after 20s
  cipherstream webhook listen --plain --listen 127.0.0.1:8080 --fail-first 2 --json`,
		Args: a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return a.listen(c.Context(), &f)
		}),
	}
	c.Flags().StringVar(&f.secrets, "secrets", "", secretsUsage)
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8443", "`ADDRESS` to listen on; port 0 takes a free one")
	c.Flags().StringVar(&f.cert, "cert", "", "`FILE` with the certificate in PEM, and those that have signed it")
	c.Flags().StringVar(&f.key, "key", "", "`FILE` with the key of the certificate in PEM")
	c.Flags().StringVar(&f.saveCert, "save-cert", "", "write the certificate that is made to `FILE`")
	c.Flags().BoolVar(&f.plain, "plain", false, "speak HTTP without TLS, behind something that ends it")
	c.Flags().IntVar(&f.status, "status", http.StatusOK, "`STATUS` to answer with, 200 to 599")
	c.Flags().DurationVar(&f.delay, "delay", 0, "`DURATION` to wait before each answer")
	c.Flags().IntVar(&f.failFirst, "fail-first", 0, "`NUMBER` of requests to answer with 503 before that")
	c.Flags().DurationVar(&f.retryAfter, "retry-after", 0, "`DURATION` that answers from 400 on ask to wait for, in Retry-After")
	c.Flags().DurationVar(&f.tolerance, "tolerance", webhook.DefaultTolerance, "`DURATION` that the time of a request may be from the clock")
	c.Flags().BoolVar(&f.links, "show-links", false, "show links to results whole: whoever has one has the rows")
	f.maxBody = webhook.MaxBody
	return c
}

func (f *listenFlags) check() error {
	switch {
	case f.status < 200 || f.status > 599:
		return terminal.UsageFault("--status is from 200 to 599, and not %d", f.status)
	case f.delay < 0 || f.retryAfter < 0:
		return terminal.UsageFault("--delay and --retry-after are no time before now")
	case f.failFirst < 0:
		return terminal.UsageFault("--fail-first is 0 or more, and not %d", f.failFirst)
	case f.tolerance <= 0:
		return terminal.UsageFault("--tolerance is a time of more than nothing, and not %s", f.tolerance)
	case (f.cert == "") != (f.key == ""):
		return terminal.UsageFault("--cert and --key are given together")
	case f.plain && (f.cert != "" || f.saveCert != ""):
		return terminal.UsageFault("--plain has no certificate, and --cert or --save-cert is given")
	case f.cert != "" && f.saveCert != "":
		return terminal.UsageFault("--save-cert writes the certificate that is made, and --cert is given")
	}
	return nil
}

// shutdownTime is how long requests that are being answered have when the command ends.
const shutdownTime = 2 * time.Second

// listen receives until ctx ends.
func (a *app) listen(ctx context.Context, f *listenFlags) error {
	secrets, err := readSecrets(ctx, f.secrets)
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(f.listen)
	if err != nil {
		return terminal.UsageFault("--listen is no address: %w", err).WithHint("write 127.0.0.1:8443")
	}
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fault.New("webhook.listen", fault.Connect, "nobody can listen on %s: %w", f.listen, err)
	}
	defer listener.Close()
	at := opening{URL: "http://" + listener.Addr().String()}
	if !f.plain {
		c, err := certificate(f.cert, f.key, host)
		if err != nil {
			return err
		}
		if f.saveCert != "" {
			if err := saveCertificate(f.saveCert, c); err != nil {
				return err
			}
		}
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12})
		at = opening{URL: "https://" + listener.Addr().String(), Pin: pin.Of(c.Leaf)}
	}

	failed := make(chan error, 1)
	r := newReceiver(&examiner{secrets: secrets, tolerance: f.tolerance, links: f.links}, f.answers, f.maxBody)
	r.show = func(s *received) {
		if err := a.Print(func(w io.Writer) error { return a.showReceived(w, s) }); err != nil {
			select {
			case failed <- err:
			default: // the first is enough
			}
		}
	}
	if err := a.Print(func(w io.Writer) error { return a.announce(w, at) }); err != nil {
		return err
	}
	server := &http.Server{
		Handler: r, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(io.Discard, "", 0), // that somebody does not trust the certificate is said where that is known
	}
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(listener) }()
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	over, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if server.Shutdown(over) != nil {
		server.Close()
	}
	<-serving
	return err
}

// opening says where the receiver is.
type opening struct {
	URL string `json:"listening"`
	Pin string `json:"certificate_pin,omitempty"`
}

func (a *app) announce(w io.Writer, at opening) error {
	if a.JSON {
		return line(w, at)
	}
	text := "Receiving at " + at.URL + " until interrupted.\n"
	if at.Pin != "" {
		text += "The pin of the certificate is " + at.Pin + ".\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

func (a *app) showReceived(w io.Writer, s *received) error {
	if a.JSON {
		return line(w, s)
	}
	_, err := fmt.Fprintf(w, "\n%s  %s → %s\n", s.At.Format(time.TimeOnly), s.headline(), s.answered())
	if err == nil && s.Refused == "" {
		err = s.report.write(w)
	}
	return err
}

// line writes a value as one line of JSON.
func line(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(value)
}
