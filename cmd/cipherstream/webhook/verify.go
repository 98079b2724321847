package webhook

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/webhook"
)

// maxCaptured bounds a request that was kept.
const maxCaptured = webhook.MaxBody + 64<<10

// verifyFlags are the flags of verify.
type verifyFlags struct {
	secrets, body, headers, at string
	tolerance                  time.Duration
	links                      bool
}

func (a *app) verifyCommand() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Say of a webhook that was kept which signatures hold",
		Long: `Say of a webhook that was kept which signatures hold, and what may have happened to it
where one does not.

FILE is the request as it was sent: headers, with or without the line before them, an empty
line, and the body. Without FILE, or with -, it is read from standard input. A receiver that
keeps both apart gives --headers, a file with a line of NAME: VALUE for each, and --body,
the bytes of the body as they came.

` + secretsHelp + `

A request that was kept is old. --at says when it came, and then its time has to be within
--tolerance of that; without it the time is shown, and not judged. The link to the result is
shown without what makes it open, unless --show-links is given.

The exit code is 0 where a receiver takes the request, and 1 where it has to refuse it.`,
		Example: `  cipherstream webhook verify request.txt --secrets file:secret.txt
  cipherstream webhook verify --headers headers.txt --body body.json --at 2026-01-31T06:00:00Z`,
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return terminal.UsageFault("%s takes one file, but got %d arguments", c.CommandPath(), len(args))
			case (f.body == "") != (f.headers == ""):
				return terminal.UsageFault("--body and --headers are given together").WithHint("or give the whole request as FILE")
			case f.body != "" && len(args) > 0:
				return terminal.UsageFault("a whole request is given, and --body with --headers too").WithHint("give one of them")
			}
			return nil
		},
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			name := "-"
			if len(args) > 0 {
				name = args[0]
			}
			return a.verify(c.Context(), name, &f)
		}),
	}
	c.Flags().StringVar(&f.secrets, "secrets", "", secretsUsage)
	c.Flags().StringVar(&f.headers, "headers", "", "`FILE` with the headers, a line of NAME: VALUE for each")
	c.Flags().StringVar(&f.body, "body", "", "`FILE` with the body as it came")
	c.Flags().StringVar(&f.at, "at", "", "`TIME` at which it came, 2026-01-31T06:00:00Z; then its own time is judged")
	c.Flags().DurationVar(&f.tolerance, "tolerance", webhook.DefaultTolerance, "`DURATION` that its time may be from --at")
	c.Flags().BoolVar(&f.links, "show-links", false, "show the link to the result whole: whoever has it has the rows")
	return c
}

// verify says what it finds of a request.
func (a *app) verify(ctx context.Context, name string, f *verifyFlags) error {
	var at time.Time
	var err error
	if f.at != "" {
		if at, err = time.Parse(time.RFC3339, f.at); err != nil {
			return terminal.UsageFault("--at is %q, which is no time", f.at).WithHint("write 2026-01-31T06:00:00Z")
		}
	}
	if f.tolerance <= 0 {
		return terminal.UsageFault("--tolerance is a time of more than nothing, and not %s", f.tolerance)
	}
	secrets, err := readSecrets(ctx, f.secrets)
	if err != nil {
		return err
	}
	request, err := a.captured(name, f)
	if err != nil {
		return err
	}
	e := examiner{secrets: secrets, tolerance: f.tolerance, links: f.links}
	found, err := e.examine(request.header, request.body, at)
	if err != nil {
		return err
	}
	found.Advice = append(request.notes, found.Advice...)
	err = a.Print(func(w io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(w, found)
		}
		if found.Authentic {
			fmt.Fprintln(w, "authentic")
		} else {
			fmt.Fprintln(w, "not to be believed")
		}
		return found.write(w)
	})
	if err == nil && !found.Authentic {
		err = fault.New(found.Code, fault.Data, "the request is not to be believed: %s", found.Why)
	}
	return err
}

// captured reads the request.
func (a *app) captured(name string, f *verifyFlags) (*captured, error) {
	if f.body == "" {
		text, err := a.readFile(name, "the request")
		if err != nil {
			return nil, err
		}
		return parseRequest(text)
	}
	head, err := a.readFile(f.headers, "the headers")
	if err != nil {
		return nil, err
	}
	body, err := a.readFile(f.body, "the body")
	if err != nil {
		return nil, err
	}
	header, err := parseHeaders(head)
	if err != nil {
		return nil, err
	}
	c := &captured{header: header, body: body}
	return c, c.trim() // what was sent in chunks was put together by whoever has kept it
}

// readFile reads a file, or standard input, of a bounded size.
func (a *app) readFile(name, what string) ([]byte, error) {
	in := a.In
	switch {
	case name != "-":
		f, err := os.Open(name)
		if err != nil {
			return nil, terminal.UsageFault("%s cannot be read: %w", what, err)
		}
		defer f.Close()
		in = f
	case terminal.IsTerminal(a.In):
		return nil, terminal.UsageFault("%s is not given, and standard input is a terminal", what).WithHint("give the path of a file")
	case terminal.WasClosed(a.In):
		return nil, fault.New(terminal.CodeNoInput, fault.Usage, "%s is not given, and standard input is closed", what).WithHint("give the path of a file")
	}
	text, err := io.ReadAll(io.LimitReader(in, maxCaptured+1))
	switch {
	case err != nil:
		return nil, terminal.UsageFault("%s cannot be read: %w", what, err)
	case len(text) > maxCaptured:
		return nil, terminal.UsageFault("%s is larger than that of a webhook may be, %s", what, terminal.Bytes(maxCaptured))
	}
	return text, nil
}
