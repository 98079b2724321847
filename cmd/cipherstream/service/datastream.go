package service

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// remoteStream is a data stream as a service tells of it.
type remoteStream struct {
	URL             string   `json:"url"`
	Certificate     string   `json:"certificate"`
	Pins            []string `json:"certificate_pins"`
	Organization    string   `json:"organization_id"`
	PerRequest      int      `json:"records_per_request"`
	PerMinute       int      `json:"rate_limit_per_minute"`
	Channels        []string `json:"channels"`
	ContentEncoding bool     `json:"content_encoding"`
	Enabled         bool     `json:"enabled"`
	Status          string   `json:"status"`
	Error           *struct {
		Code       string `json:"code"`
		Message    string `json:"message"`
		At         string `json:"at"`
		Suggestion string `json:"suggestion"`
	} `json:"error"`
	Paused  []string              `json:"paused_by"`
	Channel []remoteStreamChannel `json:"channel_status"`
}

// remoteStreamChannel is one channel of a data stream.
type remoteStreamChannel struct {
	Name           string   `json:"channel"`
	Enabled        bool     `json:"enabled"`
	Sequence       int64    `json:"sequence"`
	Acknowledged   int64    `json:"acknowledged"`
	AcknowledgedAt string   `json:"acknowledged_at"`
	Lag            int64    `json:"lag"`
	LagSeconds     *float64 `json:"lag_seconds"`
	Waiting        int64    `json:"waiting"`
	Again          int64    `json:"reset_remaining"`
	Last           *struct {
		At         string `json:"at"`
		Documents  int    `json:"documents"`
		HTTPStatus int    `json:"http_status"`
		Code       string `json:"error_code"`
		Message    string `json:"error_message"`
		Suggestion string `json:"suggestion"`
		NextAt     string `json:"next_attempt_at"`
	} `json:"last_request"`
}

// customerStream is the data stream of a customer of a service.
type customerStream struct{ *customerWebhook }

func (f *customerFlags) stream(ctx context.Context) (*customerStream, error) {
	s, err := f.of(ctx)
	return &customerStream{&customerWebhook{s}}, err
}

// path is that of the stream, and of what is asked of it.
func (s *customerStream) path(parts ...string) string { return s.under("data-stream", parts...) }

func (a *app) dataStreamCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "data-stream",
		Short: "Set, enable, watch and reset a data stream of a service",
		Long: `Set where a service sends every change of a customer's database, enable and disable that, look
how far it is, and have documents sent again. Before any of that, "check" says what in a database
keeps it from being followed exactly.`,
		Example: `  export CIPHERSTREAM_API_KEY=cs_live_…
  cipherstream data-stream set https://receiver.example.com/documents --secret env:STREAM_SECRET --server https://api.example.com --customer sunrise
  cipherstream data-stream enable --server https://api.example.com --customer sunrise
  cipherstream data-stream status --server https://api.example.com --customer sunrise`,
	}
	a.Group(c)
	var f customerFlags
	of := func(c *cobra.Command) *cobra.Command {
		f.remote.flags(c, "a customer's key, env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS", envKey)
		c.PersistentFlags().StringVar(&f.customer, "customer", "", "`ID` of the customer whose data stream is meant")
		return c
	}
	c.AddCommand(of(a.dataStreamSetCommand(&f)), of(a.dataStreamGetCommand(&f)), of(a.dataStreamStatusCommand(&f)),
		of(a.dataStreamSwitchCommand(&f, "enable", "Enable the data stream, once it was looked at",
			`Enable the data stream. Its pipeline and the database are looked at first. It goes on where it was, and
the first time all tables are copied first. One that has stopped is enabled again once that is mended.`)),
		of(a.dataStreamSwitchCommand(&f, "disable", "Disable the data stream; what waits stays",
			`Disable the data stream. Within seconds nothing is read or sent any more. What waits stays, and the
position too: the database has to keep its log for as long as the stream is disabled.`)),
		of(a.dataStreamResetCommand(&f)), a.dataStreamCheckCommand())
	return c
}

// streamSettings are the flags of set.
type streamSettings struct {
	secret, certificate, organization string
	pins, channels                    []string
	perRequest, perMinute             int
	encoding                          bool
}

// body is what a stream is put with. What no flag says is left to the service.
func (s *streamSettings) body(c *cobra.Command, address string) (map[string]any, error) {
	body := map[string]any{"url": address}
	for flag, member := range map[string]struct {
		name  string
		value any
	}{
		"certificate-pin": {"certificate_pins", s.pins}, "organization": {"organization_id", s.organization}, "records-per-request": {"records_per_request", s.perRequest},
		"per-minute": {"rate_limit_per_minute", s.perMinute}, "channel": {"channels", s.channels}, "content-encoding": {"content_encoding", s.encoding},
	} {
		if c.Flags().Changed(flag) {
			body[member.name] = member.value
		}
	}
	if s.secret != "" {
		secret, err := session.ReadSecret(c.Context(), s.secret)
		if err != nil {
			return nil, err
		}
		body["shared_secret"] = secret
	}
	if s.certificate != "" {
		text, err := os.ReadFile(s.certificate)
		if err != nil {
			return nil, terminal.UsageFault("--certificate cannot be read: %w", err)
		}
		body["certificate"] = string(text)
	}
	return body, nil
}

func (a *app) dataStreamSetCommand(f *customerFlags) *cobra.Command {
	var settings streamSettings
	c := &cobra.Command{
		Use:   "set URL",
		Short: "Set the data stream, all of it but its secret",
		Long: `Set where the service sends changes, and how. It is set as a whole: what no flag says has its
default, but for the secret, which stays as it is as long as the host does. Whether it is enabled
stays too.`,
		Example: `  cipherstream data-stream set https://receiver.example.com/documents --secret env:STREAM_SECRET --channel entities --channel logs \
    --certificate-pin sha256:0f3e… --server https://api.example.com --customer sunrise`,
		Args: a.oneArgument("one address"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			s, err := f.stream(c.Context())
			if err != nil {
				return err
			}
			body, err := settings.body(c, args[0])
			if err != nil {
				return err
			}
			return a.askStream(c.Context(), s, http.MethodPut, s.path(), body, writeStreamSettings)
		}),
	}
	flags := c.Flags()
	flags.StringVar(&settings.secret, "secret", "", "`REFERENCE` to the shared secret that requests carry: env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS")
	flags.StringVar(&settings.certificate, "certificate", "", "`FILE` with the certificate in PEM that the receiver has to show; it may be signed by itself")
	flags.StringArrayVar(&settings.pins, "certificate-pin", nil, "`SHA-256` of the public key of the receiver's certificate, sha256:HEX or base64; two while it is renewed (repeatable)")
	flags.StringVar(&settings.organization, "organization", "", "`ID` that requests call the customer by (default the customer's own)")
	flags.IntVar(&settings.perRequest, "records-per-request", 500, "so many `DOCUMENTS` in a request at most")
	flags.IntVar(&settings.perMinute, "per-minute", 60, "so many `REQUESTS` in any minute at most")
	flags.StringArrayVar(&settings.channels, "channel", []string{"entities"}, "`CHANNEL` that is sent: entities or logs (repeatable)")
	flags.BoolVar(&settings.encoding, "content-encoding", false, "send Content-Encoding beside Encoding, for a receiver that inflates by itself")
	session.Complete(c, "channel", cobra.FixedCompletions(streamChannels, cobra.ShellCompDirectiveNoFileComp))
	_ = c.MarkFlagFilename("certificate", "pem", "crt") // the flag exists
	return c
}

var streamChannels = []string{"entities", "logs"}

// askStream asks, and shows the stream that is answered.
func (a *app) askStream(ctx context.Context, s *customerStream, method, path string, body any, write func(io.Writer, *remoteStream) error) error {
	var is remoteStream
	text, err := s.ask(ctx, method, path, body, &is)
	if err != nil {
		return err
	}
	return a.answer(text, func(w io.Writer) error {
		return write(w, &is)
	})
}

func (a *app) dataStreamGetCommand(f *customerFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "get",
		Short: "Show what is set of the data stream",
		Args:  a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			s, err := f.stream(c.Context())
			if err != nil {
				return err
			}
			return a.askStream(c.Context(), s, http.MethodGet, s.path(), nil, writeStreamSettings)
		}),
	}
}

func (a *app) dataStreamStatusCommand(f *customerFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how far the data stream is",
		Long: `Show how far the data stream is: of each channel the last number, the one that the receiver has
acknowledged, how old the oldest change is that waits, and what came of the last request.`,
		Args: a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			s, err := f.stream(c.Context())
			if err != nil {
				return err
			}
			return a.askStream(c.Context(), s, http.MethodGet, s.path(), nil, writeStreamStatus)
		}),
	}
}

func (a *app) dataStreamSwitchCommand(f *customerFlags, what, short, long string) *cobra.Command {
	return &cobra.Command{
		Use:   what,
		Short: short,
		Long:  long,
		Args:  a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			s, err := f.stream(c.Context())
			if err != nil {
				return err
			}
			return a.askStream(c.Context(), s, http.MethodPost, s.path(what), nil, writeStreamStatus)
		}),
	}
}

func (a *app) dataStreamResetCommand(f *customerFlags) *cobra.Command {
	var channel string
	var above int64
	var anew, dry bool
	c := &cobra.Command{
		Use:   "reset",
		Short: "Have documents of a channel sent again",
		Long: `Have documents of a channel sent again, while the data stream is disabled: all of them, or with
--above those of later numbers. Each gets a new number above all that were given, and begins to be
read when the stream is enabled. --dry says how many that are, and changes nothing. --anew copies
all tables of all channels first: where the database's log was lost, or a table has changed.`,
		Example: `  cipherstream data-stream reset --channel entities --above 120000 --dry --server https://api.example.com --customer sunrise`,
		Args:    a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			if channel == "" {
				return terminal.UsageFault("no channel is given").WithHint("give --channel entities, or logs")
			}
			s, err := f.stream(c.Context())
			if err != nil {
				return err
			}
			var done struct {
				Documents int64 `json:"documents"`
			}
			text, err := s.ask(c.Context(), http.MethodPost, s.path("reset"), map[string]any{"channel": channel, "above": above, "anew": anew, "dry_run": dry}, &done)
			if err != nil {
				return err
			}
			if dry {
				return a.done(text, "%s documents would be sent again", terminal.Grouped(done.Documents))
			}
			return a.done(text, "%s documents are sent again when the data stream is enabled", terminal.Grouped(done.Documents))
		}),
	}
	flags := c.Flags()
	flags.StringVar(&channel, "channel", "", "`CHANNEL` that is meant: entities or logs")
	flags.Int64Var(&above, "above", 0, "only documents whose latest number is above `NUMBER`")
	flags.BoolVar(&anew, "anew", false, "copy all tables first, as if there had been no stream")
	flags.BoolVar(&dry, "dry", false, "say how many documents that are, and change nothing")
	session.Complete(c, "channel", cobra.FixedCompletions(streamChannels, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func writeStreamSettings(w io.Writer, is *remoteStream) error {
	trust := "an authority"
	switch {
	case len(is.Pins) > 0:
		trust = "sha256 " + strings.Join(is.Pins, " ")
	case is.Certificate != "":
		trust = "the certificate that is set"
	}
	encoding := ""
	if is.ContentEncoding {
		encoding = "sent beside Encoding"
	}
	return writeFields(w, [][2]string{{"url", is.URL}, {"status", is.Status}, {"channels", strings.Join(is.Channels, " ")}, {"organization", is.Organization},
		{"trusts", trust}, {"request", "up to " + terminal.Counted(is.PerRequest, "document")}, {"rate", strconv.Itoa(is.PerMinute) + " a minute"}, {"content-encoding", encoding}})
}

func writeStreamStatus(w io.Writer, is *remoteStream) error {
	fields := [][2]string{{"status", is.Status}}
	if e := is.Error; e != nil {
		fields = append(fields, [2]string{"since", e.At}, [2]string{"because", strings.TrimSpace(e.Code + " " + e.Message)}, [2]string{"help", e.Suggestion})
	}
	if len(is.Paused) > 0 {
		fields = append(fields, [2]string{"paused", "until the receiver has taken some of " + strings.Join(is.Paused, " and ")})
	}
	for _, c := range is.Channel {
		if !c.Enabled && c.Sequence == 0 {
			continue
		}
		name := c.Name
		fields = append(fields, [2]string{name, fmt.Sprintf("%s of %s acknowledged, %s behind%s", terminal.Grouped(c.Acknowledged), terminal.Grouped(c.Sequence),
			terminal.Grouped(c.Lag), ago(c.LagSeconds))})
		if c.Again > 0 {
			fields = append(fields, [2]string{name + " reset", terminal.Grouped(c.Again) + " documents are left to read again"})
		}
		if l := c.Last; l != nil {
			text := fmt.Sprintf("%s, %s: ", l.At, terminal.Counted(l.Documents, "document"))
			switch {
			case l.Code == "":
				text += "good"
			default:
				text += strings.TrimSpace(l.Code + " " + l.Message)
				if l.NextAt != "" {
					text += ", again at " + l.NextAt
				}
			}
			fields = append(fields, [2]string{name + " last request", text}, [2]string{name + " help", l.Suggestion})
		}
	}
	return writeFields(w, fields)
}

// ago says since when something waits, where that is known.
func ago(seconds *float64) string {
	if seconds == nil {
		return ""
	}
	return ", since " + time.Duration(*seconds*float64(time.Second)).Round(time.Second).String()
}
