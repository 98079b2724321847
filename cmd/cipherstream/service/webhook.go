package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of what goes wrong with webhooks.
const (
	codeWebhookAnswer = "webhook.answer"
	codeWebhookTest   = "webhook.test"
)

// remoteWebhook is a webhook as a service tells of it.
type remoteWebhook struct {
	URL     string            `json:"webhook_url"`
	Events  []string          `json:"events"`
	Headers map[string]string `json:"custom_headers"`
	Policy  string            `json:"retry_policy"`
	Retry   *struct {
		Attempts   int     `json:"max_attempts"`
		Multiplier float64 `json:"backoff_multiplier"`
		Delay      float64 `json:"initial_delay_seconds"`
	} `json:"retry_config"`
	Timeout        int      `json:"timeout_seconds"`
	Batch          bool     `json:"batch_delivery"`
	PerMinute      int      `json:"rate_limit_per_minute"`
	MinTLS         string   `json:"tls_min_version"`
	Status         string   `json:"status"`
	Failures       int      `json:"failures"`
	FailingSince   string   `json:"failing_since"`
	DisabledAt     string   `json:"disabled_at"`
	DisabledReason string   `json:"disabled_reason"`
	Secret         string   `json:"secret"`
	SecretID       string   `json:"secret_id"`
	PendingID      string   `json:"pending_secret_id"`
	PendingAt      string   `json:"pending_activates_at"`
	Sources        []string `json:"source_addresses"`
}

// remoteSecret is a secret as a service tells of it.
type remoteSecret struct {
	ID          string `json:"secret_id"`
	Secret      string `json:"secret"`
	Pending     bool   `json:"pending"`
	ActivatesAt string `json:"activates_at"`
}

// remoteDelivery is a delivery as a service tells of it.
type remoteDelivery struct {
	ID         string `json:"delivery_id"`
	Channel    string `json:"channel"`
	Event      string `json:"event"`
	Job        string `json:"job_id"`
	Target     string `json:"target"`
	Status     string `json:"status"`
	Attempts   int    `json:"attempts"`
	CreatedAt  string `json:"created_at"`
	NextAt     string `json:"next_attempt_at"`
	EndedAt    string `json:"ended_at"`
	HTTPStatus int    `json:"http_status"`
	Code       string `json:"error_code"`
	Message    string `json:"error_message"`
	Log        []struct {
		Number     int     `json:"attempt"`
		At         string  `json:"at"`
		Duration   float64 `json:"duration_seconds"`
		HTTPStatus int     `json:"http_status"`
		Code       string  `json:"error_code"`
		Message    string  `json:"error_message"`
	} `json:"attempt_log"`
}

// webhookFlags say whose webhook is meant, and where.
type webhookFlags struct{ customerFlags }

// flags are those of one command: whoever stands beside it under "webhook" asks no service.
func (f *webhookFlags) flags(c *cobra.Command) *cobra.Command {
	f.remote.flags(c, "a customer's key, env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS", envKey)
	c.PersistentFlags().StringVar(&f.customer, "customer", "", "`ID` of the customer whose webhook is meant")
	return c
}

// customerWebhook is the webhook of a customer of a service.
type customerWebhook struct{ *ofCustomer }

func (f *webhookFlags) webhook(ctx context.Context) (*customerWebhook, error) {
	s, err := f.of(ctx)
	return &customerWebhook{s}, err
}

// path is that of the webhook, and of what belongs to it.
func (s *customerWebhook) path(parts ...string) string { return s.under("webhook", parts...) }

// ask asks, and gives the answer as it came beside what it says.
func (s *customerWebhook) ask(ctx context.Context, method, path string, body any, into any) (json.RawMessage, error) {
	var sent []byte
	if body != nil {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return nil, usage("the request cannot be written: %w", err)
		}
	}
	answer, err := s.send(ctx, method, path, sent)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusNoContent:
		return nil, nil
	case http.StatusOK, http.StatusAccepted:
	default:
		return nil, refused(answer)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxJobs))
	if err != nil {
		return nil, s.unreached(ctx, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return nil, fault.New(codeWebhookAnswer, fault.Source, "the server's answer is none of a CipherStream service about webhooks").WithHint("check --server")
	}
	return text, nil
}

func (a *app) webhookCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "webhook",
		Short: "Set a webhook of a service, look at its deliveries, and try a receiver",
		Long: `Set where a service tells a customer of its jobs, rotate the secret that this is signed with,
look at what was sent, and have it sent again. A receiver can be tried without a service.`,
		Example: `  export CIPHERSTREAM_API_KEY=cs_live_…
  cipherstream webhook set https://hooks.example.com/cipherstream --server https://api.example.com --customer sunrise
  cipherstream webhook deliveries --status dead --server https://api.example.com --customer sunrise`,
	}
	a.Group(c)
	secret := &cobra.Command{Use: "secret", Short: "Rotate the secret that deliveries are signed with"}
	a.Group(secret)
	var f webhookFlags
	secret.AddCommand(f.flags(a.webhookRotateCommand(&f)), f.flags(a.webhookActivateCommand(&f)))
	c.AddCommand(f.flags(a.webhookSetCommand(&f)), f.flags(a.webhookGetCommand(&f)), f.flags(a.webhookDeleteCommand(&f)), f.flags(a.webhookTestCommand(&f)),
		secret, f.flags(a.webhookDeliveriesCommand(&f)), f.flags(a.webhookRetryCommand(&f)))
	return c
}

// webhookSettings are the flags of set.
type webhookSettings struct {
	events, headers   []string
	retry             string
	attempts          int
	backoff           float64
	delay, timeout    time.Duration
	perMinute         int
	batch, off, tls12 bool
}

// body is what an endpoint is put with. What no flag says is left to the service.
func (w *webhookSettings) body(c *cobra.Command, address string) (map[string]any, error) {
	body := map[string]any{"webhook_url": address}
	given := c.Flags().Changed
	set := func(flag, name string, value any) {
		if given(flag) {
			body[name] = value
		}
	}
	set("event", "events", w.events)
	set("timeout", "timeout_seconds", w.timeout.Seconds())
	set("per-minute", "rate_limit_per_minute", w.perMinute)
	set("batch", "batch_delivery", w.batch)
	set("off", "enabled", !w.off)
	set("retry", "retry_policy", w.retry)
	if w.tls12 {
		body["tls_min_version"] = "1.2"
	}
	retry := map[string]any{}
	for flag, member := range map[string]struct {
		name  string
		value any
	}{"max-attempts": {"max_attempts", w.attempts}, "backoff": {"backoff_multiplier", w.backoff}, "initial-delay": {"initial_delay_seconds", w.delay.Seconds()}} {
		if given(flag) {
			retry[member.name] = member.value
		}
	}
	if len(retry) > 0 {
		body["retry_config"] = retry
	}
	headers := map[string]string{}
	for _, header := range w.headers {
		name, reference, has := strings.Cut(header, "=")
		if !has {
			headers[name] = "***" // as it is
			continue
		}
		value, err := session.ReadSecret(c.Context(), reference)
		if err != nil {
			return nil, err
		}
		headers[name] = value
	}
	if len(headers) > 0 {
		body["custom_headers"] = headers
	}
	return body, nil
}

func (a *app) webhookSetCommand(f *webhookFlags) *cobra.Command {
	var w webhookSettings
	c := &cobra.Command{
		Use:   "set URL",
		Short: "Set the webhook, all of it",
		Long: `Set where the service tells the customer of its jobs. It is set as a whole: what no flag says has
its default, custom headers too. The first time the secret that deliveries are signed with is shown,
once; a later one is made with "cipherstream webhook secret rotate".`,
		Example: `  cipherstream webhook set https://hooks.example.com/cipherstream --event job.completed --event job.failed \
    --header Authorization=env:HOOK_AUTHORIZATION --retry durable --server https://api.example.com --customer sunrise`,
		Args: a.oneArgument("one address"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			if err := a.CheckOutput("the secret", "it is shown once: let standard output go to a file, a pipe or a terminal"); err != nil {
				return err
			}
			s, err := f.webhook(c.Context())
			if err != nil {
				return err
			}
			body, err := w.body(c, args[0])
			if err != nil {
				return err
			}
			var is remoteWebhook
			text, err := s.ask(c.Context(), http.MethodPut, s.path(), body, &is)
			if err != nil {
				return err
			}
			return a.shownOrRotate(is.Secret, func(out io.Writer) error {
				if a.JSON {
					return terminal.WriteJSON(out, text)
				}
				if err := writeWebhook(out, &is); err != nil || is.Secret == "" {
					return err
				}
				_, err := fmt.Fprintf(out, "\n%s\n\nThis is the secret that deliveries are signed with, shown once: it cannot be had again.\n", is.Secret)
				return err
			})
		}),
	}
	flags := c.Flags()
	flags.StringArrayVar(&w.events, "event", nil, "`EVENT` that is sent: job.completed, job.failed, job.cancelled, job.progress, system.maintenance or api.rate_limit (repeatable; default all but job.progress)")
	flags.StringArrayVar(&w.headers, "header", nil, "`NAME=REFERENCE` of a header to send, with env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS for its value; NAME alone keeps the value that it has (repeatable)")
	flags.StringVar(&w.retry, "retry", "", "durable: try a delivery that fails over about 27 hours")
	flags.IntVar(&w.attempts, "max-attempts", 3, "try a delivery so many `TIMES`")
	flags.Float64Var(&w.backoff, "backoff", 2, "wait so many `TIMES` as long as before")
	flags.DurationVar(&w.delay, "initial-delay", time.Second, "first `TIME` to wait")
	flags.DurationVar(&w.timeout, "timeout", 30*time.Second, "`TIME` that the receiver may take, in whole seconds")
	flags.IntVar(&w.perMinute, "per-minute", 0, "send so many `REQUESTS` in a minute at most")
	flags.BoolVar(&w.batch, "batch", false, "send events that wait together")
	flags.BoolVar(&w.tls12, "tls-1.2", false, "speak TLS 1.2 where the receiver speaks nothing newer")
	flags.BoolVar(&w.off, "off", false, "send nothing until it is set again")
	session.Complete(c, "event", cobra.FixedCompletions(webhookEvents, cobra.ShellCompDirectiveNoFileComp))
	session.Complete(c, "retry", cobra.FixedCompletions([]string{"durable"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

var webhookEvents = []string{"job.completed", "job.failed", "job.cancelled", "job.progress", "system.maintenance", "api.rate_limit"}

// shownOrRotate shows what may have a secret in it, the one time that it is there.
func (a *app) shownOrRotate(secret string, write func(io.Writer) error) error {
	err := a.Print(write)
	if f := fault.From(err); err != nil && secret != "" && f.Code == terminal.CodeOutput {
		return fault.New(f.Code, fault.Sink, "a secret was made that could not be shown: %s", f.Message).
			WithHint("let standard output go where there is room, and make another one with cipherstream webhook secret rotate")
	}
	return err
}

// writeFields writes lines of a name and a value, of those that have one.
func writeFields(w io.Writer, fields [][2]string) error {
	var rows [][]string
	for _, f := range fields {
		if f[1] != "" {
			rows = append(rows, []string{f[0], f[1]})
		}
	}
	return terminal.WriteTable(w, "", rows)
}

func writeWebhook(w io.Writer, is *remoteWebhook) error {
	retry := is.Policy
	if r := is.Retry; r != nil {
		retry = fmt.Sprintf("%s, the first wait %gs, each %g times the one before", terminal.Counted(r.Attempts, "attempt"), r.Delay, r.Multiplier)
	}
	limit, batch, failing, pending := "", "", "", ""
	if is.PerMinute > 0 {
		limit = strconv.Itoa(is.PerMinute) + " a minute"
	}
	if is.Batch {
		batch = "up to 100 events in a request"
	}
	if is.Failures > 0 {
		failing = terminal.Counted(is.Failures, "failure") + " since " + is.FailingSince
	}
	if is.PendingID != "" {
		pending = is.PendingID + ", from " + is.PendingAt + " on"
	}
	return writeFields(w, [][2]string{{"url", is.URL}, {"status", is.Status}, {"events", strings.Join(is.Events, " ")},
		{"headers", strings.Join(slices.Sorted(maps.Keys(is.Headers)), " ")}, {"retry", retry}, {"timeout", (time.Duration(is.Timeout) * time.Second).String()}, {"batch", batch}, {"rate", limit},
		{"tls", is.MinTLS}, {"failing", failing}, {"disabled", is.DisabledAt}, {"because", is.DisabledReason}, {"secret", is.SecretID}, {"next secret", pending},
		{"comes from", strings.Join(is.Sources, " ")}})
}

func (a *app) webhookGetCommand(f *webhookFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "get",
		Short: "Show the webhook, and how it stands with it",
		Args:  a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			s, err := f.webhook(c.Context())
			if err != nil {
				return err
			}
			var is remoteWebhook
			text, err := s.ask(c.Context(), http.MethodGet, s.path(), nil, &is)
			if err != nil {
				return err
			}
			return a.answer(text, func(w io.Writer) error { return writeWebhook(w, &is) })
		}),
	}
}

func (a *app) webhookDeleteCommand(f *webhookFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "delete",
		Short: "Remove the webhook: nothing is sent any more",
		Args:  a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			s, err := f.webhook(c.Context())
			if err != nil {
				return err
			}
			if _, err := s.ask(c.Context(), http.MethodDelete, s.path(), nil, nil); err != nil {
				return err
			}
			return a.done(map[string]any{"customer_id": s.customer, "deleted": true}, "the webhook of %s is removed", s.customer)
		}),
	}
}

func (a *app) webhookRotateCommand(f *webhookFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate",
		Short: "Make another secret, and show it once",
		Long: `Make another secret, and show it once. Let the receiver take both, and then activate it; after
7 days it is activated by itself. The first secret of a customer is active at once.`,
		Args: a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			if err := a.CheckOutput("the secret", "it is shown once: let standard output go to a file, a pipe or a terminal"); err != nil {
				return err
			}
			s, err := f.webhook(c.Context())
			if err != nil {
				return err
			}
			var is remoteSecret
			text, err := s.ask(c.Context(), http.MethodPost, s.path("rotate-secret"), nil, &is)
			if err != nil {
				return err
			}
			return a.shownOrRotate(is.Secret, func(w io.Writer) error {
				if a.JSON {
					return terminal.WriteJSON(w, text)
				}
				next := "Deliveries are signed with it from now on."
				if is.Pending {
					next = "Deliveries are signed with the one before as well until " + is.ActivatesAt + ", or until you run\n\n  cipherstream webhook secret activate"
				}
				_, err := fmt.Fprintf(w, "%s\n\nThis is secret %s, shown once: it cannot be had again. %s\n", is.Secret, is.ID, next)
				return err
			})
		}),
	}
}

func (a *app) webhookActivateCommand(f *webhookFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "activate",
		Short: "Sign with the new secret alone",
		Args:  a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			s, err := f.webhook(c.Context())
			if err != nil {
				return err
			}
			var is remoteSecret
			text, err := s.ask(c.Context(), http.MethodPost, s.path("activate-secret"), nil, &is)
			if err != nil {
				return err
			}
			return a.done(text, "deliveries are signed with secret %s alone", is.ID)
		}),
	}
}

func (a *app) webhookTestCommand(f *webhookFlags) *cobra.Command {
	var wait time.Duration
	c := &cobra.Command{
		Use:   "test",
		Short: "Send the event webhook.test, and say how it went",
		Args:  a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			s, err := f.webhook(c.Context())
			if err != nil {
				return err
			}
			var test struct {
				AcceptedAt string `json:"accepted_at"`
			}
			if _, err := s.ask(c.Context(), http.MethodPost, s.path("test"), nil, &test); err != nil {
				return err
			}
			d, text, err := s.tested(c.Context(), test.AcceptedAt, wait)
			if err != nil {
				return err
			}
			failed := d.tested(wait)
			if a.JSON || failed == nil {
				failed = errors.Join(failed, a.done(text, "%s answered %d", d.Target, d.HTTPStatus))
			}
			return failed
		}),
	}
	c.Flags().DurationVar(&wait, "wait", 30*time.Second, "`TIME` to wait for the receiver")
	return c
}

// testEvery is how often it is asked how a test went.
const testEvery = 300 * time.Millisecond

// tested waits until a test has ended, or was tried once and failed.
func (s *customerWebhook) tested(ctx context.Context, since string, wait time.Duration) (d remoteDelivery, text json.RawMessage, err error) {
	over, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	ticks := time.NewTicker(testEvery)
	defer ticks.Stop()
	query := url.Values{"event": {"webhook.test"}, "limit": {"1"}, "since": {since}}.Encode()
	for {
		var list struct {
			Deliveries []json.RawMessage `json:"deliveries"`
		}
		if _, err := s.ask(ctx, http.MethodGet, s.path("deliveries")+"?"+query, nil, &list); err != nil {
			return d, nil, err
		}
		if len(list.Deliveries) > 0 {
			text = list.Deliveries[0]
			if err := json.Unmarshal(text, &d); err != nil {
				return d, nil, fault.New(codeWebhookAnswer, fault.Source, "the server's answer is none of a CipherStream service about webhooks").WithHint("check --server")
			}
			if d.Status == "delivered" || d.Status == "dead" {
				return d, text, nil
			}
		}
		select {
		case <-ticks.C:
		case <-over.Done():
			if ctx.Err() != nil {
				return d, nil, context.Cause(ctx)
			}
			if text == nil {
				text = json.RawMessage("null")
			}
			return d, text, nil
		}
	}
}

// tested is why a test has failed; nil where it was taken.
func (d *remoteDelivery) tested(wait time.Duration) error {
	switch d.Status {
	case "delivered":
		return nil
	case "dead":
		return fault.New(codeWebhookTest, fault.Sink, "the test was not taken: %s", d.why()).WithHint("cipherstream webhook deliveries %s shows each attempt", d.ID)
	}
	f := fault.New(codeWebhookTest, fault.Sink, "the test was not taken within %s: %s", wait, d.why()).WithRetry()
	if d.ID == "" {
		return f.WithHint("the service may be busy; cipherstream webhook deliveries shows it when it is on its way")
	}
	return f.WithHint("it is tried again; cipherstream webhook deliveries %s shows how it goes", d.ID)
}

// why says what came of the last attempt.
func (d *remoteDelivery) why() string {
	switch {
	case d.Code != "":
		return d.Code + ": " + d.Message
	case d.HTTPStatus != 0:
		return "the receiver answered " + strconv.Itoa(d.HTTPStatus)
	}
	return "it was not tried yet"
}

// deliveryFilter are the flags that choose deliveries.
type deliveryFilter struct {
	status, event, job, since, until string
	limit                            int
	offset                           int64
}

// moments checks and completes the times of a filter: what is given as an age is that long ago.
func (f *deliveryFilter) moments() error {
	for name, text := range map[string]*string{"since": &f.since, "until": &f.until} {
		if *text == "" {
			continue
		}
		if age, err := time.ParseDuration(*text); err == nil {
			*text = time.Now().Add(-age).UTC().Format(time.RFC3339)
		} else if _, err := time.Parse(time.RFC3339, *text); err != nil {
			return terminal.UsageFault("--%s takes a time such as 2024-02-01T00:00:00Z, or an age such as 2h, but got %q", name, diag.Printable(*text))
		}
	}
	return nil
}

func (a *app) webhookDeliveriesCommand(f *webhookFlags) *cobra.Command {
	var filter deliveryFilter
	c := &cobra.Command{
		Use:   "deliveries [ID]",
		Short: "List what was sent, the newest first, or show one delivery with its attempts",
		Example: `  cipherstream webhook deliveries --status dead --since 24h --server https://api.example.com --customer sunrise
  cipherstream webhook deliveries del_1706756645678_0a1b2c3d --server https://api.example.com --customer sunrise`,
		Args: a.atMostOne("the id of one delivery"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			s, err := f.webhook(c.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return a.showDelivery(c.Context(), s, args[0])
			}
			if err := filter.moments(); err != nil {
				return err
			}
			q := url.Values{"limit": {strconv.Itoa(filter.limit)}, "offset": {strconv.FormatInt(filter.offset, 10)}}
			for name, value := range map[string]string{"status": filter.status, "event": filter.event, "job_id": filter.job, "since": filter.since, "until": filter.until} {
				if value != "" {
					q.Set(name, value)
				}
			}
			var list struct {
				Deliveries []remoteDelivery `json:"deliveries"`
				Total      int64            `json:"total"`
			}
			text, err := s.ask(c.Context(), http.MethodGet, s.path("deliveries")+"?"+q.Encode(), nil, &list)
			if err != nil {
				return err
			}
			return a.answer(text, func(w io.Writer) error {
				rows := [][]string{{"DELIVERY", "STATUS", "EVENT", "ATTEMPTS", "ANSWER", "JOB", "CREATED"}}
				for _, d := range list.Deliveries {
					answer := d.Code
					if d.HTTPStatus > 0 {
						answer = strings.TrimSpace(strconv.Itoa(d.HTTPStatus) + " " + answer)
					}
					rows = append(rows, []string{d.ID, d.Status, d.Event, strconv.Itoa(d.Attempts), answer, d.Job, d.CreatedAt})
				}
				if err := terminal.WriteTable(w, "", rows); err != nil {
					return err
				}
				count := terminal.Grouped(list.Total) + " deliveries"
				if list.Total == 1 {
					count = "1 delivery"
				}
				_, err := fmt.Fprintf(w, "%d of %s\n", len(list.Deliveries), count)
				return err
			})
		}),
	}
	flags := c.Flags()
	flags.StringVar(&filter.status, "status", "", "only those that are waiting, sending, delivered or dead")
	flags.StringVar(&filter.event, "event", "", "only those of the event `NAME`")
	flags.StringVar(&filter.job, "job", "", "only those of the job `ID`")
	flags.StringVar(&filter.since, "since", "", "only those from this `TIME` on, or of this age and younger")
	flags.StringVar(&filter.until, "until", "", "only those before this `TIME`, or older than this age")
	flags.IntVar(&filter.limit, "limit", 50, "at most so many `DELIVERIES`, 100 at the most")
	flags.Int64Var(&filter.offset, "offset", 0, "leave out so many `DELIVERIES` before them")
	session.Complete(c, "status", cobra.FixedCompletions([]string{"waiting", "sending", "delivered", "dead"}, cobra.ShellCompDirectiveNoFileComp))
	session.Complete(c, "event", cobra.FixedCompletions(append(slices.Clone(webhookEvents), "webhook.test"), cobra.ShellCompDirectiveNoFileComp))
	return c
}

// atMostOne is cobra.Command.Args of a command that takes one or none.
func (a *app) atMostOne(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > 1 {
			return terminal.UsageFault("%s takes %s, but got %d arguments", c.CommandPath(), what, len(args)).WithHint("see %s --help", c.CommandPath())
		}
		return nil
	}
}

func (a *app) showDelivery(ctx context.Context, s *customerWebhook, id string) error {
	var d remoteDelivery
	text, err := s.ask(ctx, http.MethodGet, s.path("deliveries", id), nil, &d)
	if err != nil {
		return err
	}
	return a.answer(text, func(w io.Writer) error {
		if err := writeFields(w, [][2]string{{"delivery", d.ID}, {"event", d.Event}, {"job", d.Job}, {"to", d.Target}, {"status", d.Status}, {"created", d.CreatedAt}, {"next", d.NextAt}, {"ended", d.EndedAt}}); err != nil {
			return err
		}
		rows := [][]string{{"ATTEMPT", "AT", "TOOK", "ANSWER", "WHY"}}
		for _, t := range d.Log {
			answer := ""
			if t.HTTPStatus > 0 {
				answer = strconv.Itoa(t.HTTPStatus)
			}
			why := t.Code
			if t.Message != "" {
				why += ": " + t.Message
			}
			rows = append(rows, []string{strconv.Itoa(t.Number), t.At, fmt.Sprintf("%.3fs", t.Duration), answer, why})
		}
		if len(d.Log) == 0 {
			_, err := fmt.Fprintln(w, "\nIt was not tried yet.")
			return err
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		return terminal.WriteTable(w, "", rows)
	})
}

func (a *app) webhookRetryCommand(f *webhookFlags) *cobra.Command {
	var filter deliveryFilter
	c := &cobra.Command{
		Use:   "retry [ID]",
		Short: "Send a delivery again, or all dead ones",
		Long: `Send a delivery again that is dead or delivered, with the id that it had. Without an id all dead
ones are sent again, in their order; --since and --until say which, and --status delivered has those
sent again that were delivered.`,
		Args: a.atMostOne("the id of one delivery"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			s, err := f.webhook(c.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				if filter != (deliveryFilter{}) {
					return usage("a delivery is named, and flags choose others")
				}
				var d remoteDelivery
				text, err := s.ask(c.Context(), http.MethodPost, s.path("deliveries", args[0], "retry"), nil, &d)
				if err != nil {
					return err
				}
				return a.done(text, "delivery %s is sent again", d.ID)
			}
			if err := filter.moments(); err != nil {
				return err
			}
			body := map[string]string{}
			for name, value := range map[string]string{"since": filter.since, "until": filter.until, "status": filter.status} {
				if value != "" {
					body[name] = value
				}
			}
			var again struct {
				Resent int64 `json:"resent"`
			}
			text, err := s.ask(c.Context(), http.MethodPost, s.path("deliveries", "retry"), body, &again)
			if err != nil {
				return err
			}
			if again.Resent == 1 {
				return a.done(text, "1 delivery is sent again")
			}
			return a.done(text, "%s deliveries are sent again", terminal.Grouped(again.Resent))
		}),
	}
	flags := c.Flags()
	flags.StringVar(&filter.status, "status", "", "dead (default) or delivered")
	flags.StringVar(&filter.since, "since", "", "only those from this `TIME` on, or of this age and younger")
	flags.StringVar(&filter.until, "until", "", "only those before this `TIME`, or older than this age")
	session.Complete(c, "status", cobra.FixedCompletions([]string{"dead", "delivered"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}
