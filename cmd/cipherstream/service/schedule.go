package service

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	documents "github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/engine/service"
	"github.com/cipherstream/cipherstream/engine/service/api"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// codeSchedule: there is no such schedule, or the answer tells of none.
const codeSchedule = "schedule.not_found"

// remoteSchedule is a schedule as a service tells of it.
type remoteSchedule struct {
	ID          string `json:"schedule_id"`
	Name        string `json:"name"`
	Procedure   string `json:"procedure"`
	Cron        string `json:"cron"`
	TimeZone    string `json:"time_zone"`
	Overlap     string `json:"overlap"`
	Missed      string `json:"missed"`
	Jitter      string `json:"jitter"`
	Enabled     bool   `json:"enabled"`
	Managed     bool   `json:"managed"`
	LastTick    string `json:"last_tick"`
	LastOutcome string `json:"last_outcome"`
	LastJob     string `json:"last_job_id"`
	NextSince   string `json:"next_since"`
	State       struct {
		Cursor  string `json:"cursor"`
		Value   string `json:"value"`
		Job     string `json:"job_id"`
		SavedAt string `json:"saved_at"`
	} `json:"state"`
	Next []struct {
		At    string `json:"at"`
		Local string `json:"local"`
	} `json:"next_runs"`
}

func (a *app) scheduleCommand() *cobra.Command {
	var f customerFlags
	c := &cobra.Command{
		Use:   "schedule",
		Short: "List, make, run, reset and delete schedules of a service",
		Long: `List the schedules of a customer of a service with their next runs, make one of a document of
kind Schedule, run one at once, have one begin anew, and delete one. Those that the service's own
configuration names can be run and reset, and not changed.`,
		Example: `  export CIPHERSTREAM_API_KEY=cs_live_…
  cipherstream schedule put nightly.yaml --server https://api.example.com --customer sunrise
  cipherstream schedule list --server https://api.example.com --customer sunrise`,
	}
	a.Group(c)
	f.remote.flags(c, "a customer's key, env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS", envKey)
	c.PersistentFlags().StringVar(&f.customer, "customer", "", "`ID` of the customer whose schedules are meant")
	c.AddCommand(a.scheduleListCommand(&f), a.scheduleGetCommand(&f), a.schedulePutCommand(&f),
		a.scheduleDeleteCommand(&f), a.scheduleRunCommand(&f), a.scheduleResetCommand(&f))
	return c
}

// schedulePath is that of a schedule, or of all of them, and of what is asked of it.
func (s *customerJobs) schedulePath(parts ...string) string { return s.under("schedules", parts...) }

// change sends what changes a schedule, and gives the answer as it came; empty is one without a body.
func (s *customerJobs) change(ctx context.Context, method, path string, body []byte) (json.RawMessage, error) {
	answer, err := s.send(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return nil, refused(answer)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxJob))
	if err != nil {
		return nil, s.unreached(ctx, err)
	}
	return text, nil
}

// schedules are those of the customer.
func (s *customerJobs) schedules(ctx context.Context) ([]remoteSchedule, json.RawMessage, error) {
	var list struct {
		Schedules []remoteSchedule `json:"schedules"`
	}
	text, _, err := s.read(ctx, http.MethodGet, s.schedulePath(), maxJobs, &list)
	return list.Schedules, text, err
}

// schedule finds one by its name or identifier.
func (f *customerFlags) schedule(ctx context.Context, name string) (*customerJobs, *remoteSchedule, error) {
	s, err := f.jobs(ctx)
	if err != nil {
		return nil, nil, err
	}
	all, _, err := s.schedules(ctx)
	if err != nil {
		return nil, nil, err
	}
	if i := slices.IndexFunc(all, func(one remoteSchedule) bool { return one.ID == name || one.Name == name }); i >= 0 {
		return s, &all[i], nil
	}
	return nil, nil, fault.New(codeSchedule, fault.Usage, "the customer has no schedule %q", name).WithHint("cipherstream schedule list shows those that there are")
}

func (a *app) scheduleListCommand(f *customerFlags) *cobra.Command {
	var next int
	c := &cobra.Command{
		Use:   "list",
		Short: "List schedules with their next runs",
		Long: `List schedules with their next runs: as the clock of their time zone shows them, and in UTC. What
the clock leaps over comes right after the gap, and what it shows twice is taken once.`,
		Args: a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			if next < 1 || next > 5 {
				return usage("--next takes 1 to 5, and not %d", next)
			}
			s, err := f.jobs(c.Context())
			if err != nil {
				return err
			}
			all, text, err := s.schedules(c.Context())
			if err != nil {
				return err
			}
			return a.answer(text, func(w io.Writer) error { return writeSchedules(w, all, next) })
		}),
	}
	c.Flags().IntVar(&next, "next", 2, "so many of the next `RUNS` of each")
	return c
}

func writeSchedules(w io.Writer, all []remoteSchedule, next int) error {
	rows := [][]string{{"NAME", "PROCEDURE", "CRON", "NEXT, LOCAL", "NEXT, UTC", "LAST"}}
	for _, one := range all {
		last := strings.TrimSpace(one.LastTick + " " + one.LastOutcome)
		row := []string{one.Name, one.Procedure, one.Cron + " " + one.TimeZone, "", "", last}
		if !one.Enabled {
			row[3] = "not enabled"
			rows = append(rows, row)
			continue
		}
		for i, run := range one.Next[:min(next, len(one.Next))] {
			if i > 0 {
				row = []string{"", "", "", "", "", ""}
			}
			row[3], row[4] = run.Local, run.At
			rows = append(rows, row)
		}
		if len(one.Next) == 0 {
			rows = append(rows, row)
		}
	}
	if err := terminal.WriteTable(w, "", rows); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, terminal.Counted(len(all), "schedule"))
	return err
}

func (a *app) scheduleGetCommand(f *customerFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "get NAME",
		Short: "Show a schedule",
		Args:  a.oneArgument("the name or the id of one schedule"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			s, found, err := f.schedule(c.Context(), args[0])
			if err != nil {
				return err
			}
			var one remoteSchedule
			text, _, err := s.read(c.Context(), http.MethodGet, s.schedulePath(found.ID), maxJob, &one)
			if err != nil {
				return err
			}
			return a.showSchedule(&one, text)
		}),
	}
}

// showSchedule tells of a schedule, to a machine as the service does.
func (a *app) showSchedule(one *remoteSchedule, text json.RawMessage) error {
	return a.answer(text, func(w io.Writer) error {
		rows := [][]string{{"schedule", one.ID}, {"name", one.Name}, {"procedure", one.Procedure}, {"cron", one.Cron}, {"time zone", one.TimeZone},
			{"overlap", one.Overlap}, {"missed", one.Missed}, {"jitter", one.Jitter}}
		add := func(name, value string) {
			if value != "" {
				rows = append(rows, []string{name, value})
			}
		}
		if !one.Enabled {
			add("enabled", "no")
		}
		if one.Managed {
			add("managed", "by a document of the service")
		}
		for _, run := range one.Next {
			add("next run", run.Local+"  "+run.At)
		}
		add("last tick", strings.TrimSpace(one.LastTick+" "+one.LastOutcome))
		add("last job", one.LastJob)
		add("next since", one.NextSince)
		add("state", strings.TrimSpace(one.State.Cursor+" "+one.State.Value))
		add("state of", strings.TrimSpace(one.State.Job+" "+one.State.SavedAt))
		return terminal.WriteTable(w, "", rows)
	})
}

func (a *app) schedulePutCommand(f *customerFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "put FILE",
		Short: "Make a schedule of a document, or replace the one of its name",
		Long: `Make a schedule of a document of kind Schedule, or replace the one of the customer that has the
name of the document. It is the document that a service's configuration can name as well.`,
		Args: a.oneArgument("one document"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			s, err := f.jobs(c.Context())
			if err != nil {
				return err
			}
			name, body, err := a.scheduleBody(args[0], s.customer)
			if err != nil {
				return err
			}
			all, _, err := s.schedules(c.Context())
			if err != nil {
				return err
			}
			method, path := http.MethodPost, s.schedulePath()
			if i := slices.IndexFunc(all, func(one remoteSchedule) bool { return one.Name == name }); i >= 0 {
				method, path = http.MethodPut, s.schedulePath(all[i].ID)
			}
			text, err := s.change(c.Context(), method, path, body)
			if err != nil {
				return err
			}
			return a.showMade(text)
		}),
	}
}

// showMade tells of the schedule that a service answers a change with.
func (a *app) showMade(text json.RawMessage) error {
	var made remoteSchedule
	if err := json.Unmarshal(text, &made); err != nil || made.ID == "" {
		return fault.New(codeJobAnswer, fault.Source,
			"the server's answer is no schedule as a CipherStream service tells it").WithHint("check --server")
	}
	return a.showSchedule(&made, text)
}

// scheduleBody is a document as the body of a request.
func (a *app) scheduleBody(path, customer string) (name string, body []byte, err error) {
	loader := &documents.Loader{}
	one, diags := config.ReadSchedule(loader, path)
	if one != nil && one.Customer != "" && one.Customer != customer {
		diags.Add(diag.At(one.At("customer"), documents.CodeNotAllowed, "the schedule is one of the customer %q, and --customer names %q",
			diag.Printable(one.Customer), diag.Printable(customer)))
	}
	if err := a.Check(loader.Source, diags.Normalise()); err != nil {
		return "", nil, err
	}
	members := map[string]any{}
	if err := json.Unmarshal(one.JSON(), &members); err != nil {
		return "", nil, err
	}
	delete(members, "customer")
	members["name"] = one.Name
	body, err = json.Marshal(members)
	return one.Name, body, err
}

func (a *app) scheduleDeleteCommand(f *customerFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a schedule; its jobs stay",
		Args:  a.oneArgument("the name or the id of one schedule"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			s, found, err := f.schedule(c.Context(), args[0])
			if err != nil {
				return err
			}
			if _, err := s.change(c.Context(), http.MethodDelete, s.schedulePath(found.ID), nil); err != nil {
				return err
			}
			return a.done(map[string]any{"schedule_id": found.ID, "deleted": true}, "schedule %s is deleted", found.Name)
		}),
	}
}

func (a *app) scheduleResetCommand(f *customerFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "reset NAME",
		Short: "Have a schedule begin anew",
		Long: `Have a schedule begin anew, with its window, and with the state of a pipeline that keeps one: its
next job reads what its first one did. A job that runs goes on, and does not count for where the
next one begins.`,
		Args: a.oneArgument("the name or the id of one schedule"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			s, found, err := f.schedule(c.Context(), args[0])
			if err != nil {
				return err
			}
			text, err := s.change(c.Context(), http.MethodPost, s.schedulePath(found.ID, "reset"), nil)
			if err != nil {
				return err
			}
			return a.showMade(text)
		}),
	}
}

func (a *app) scheduleRunCommand(f *customerFlags) *cobra.Command {
	var wait bool
	var progress string
	c := &cobra.Command{
		Use:   "run NAME",
		Short: "Make the job of a schedule at once",
		Long: `Make the job of a schedule at once, also of one that is not enabled; its next runs stay as they
are. While its last job has not ended there is no other one. With --wait its end is waited for.`,
		Args: a.oneArgument("the name or the id of one schedule"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			s, found, err := f.schedule(c.Context(), args[0])
			if err != nil {
				return err
			}
			text, err := s.change(c.Context(), http.MethodPost, s.schedulePath(found.ID, "run"), nil)
			if err != nil {
				return err
			}
			var j remoteJob
			if err := json.Unmarshal(text, &j); err != nil || j.ID == "" {
				return fault.New(codeJobAnswer, fault.Source, "the server's answer is no job as a CipherStream service tells it").WithHint("check --server")
			}
			if !wait {
				return a.showJob(&j, text)
			}
			ended, text, err := a.await(c.Context(), s, j.ID, progress)
			if err != nil {
				return err
			}
			if err := a.showJob(ended, text); err != nil {
				return err
			}
			return ended.failed()
		}),
	}
	c.Flags().BoolVar(&wait, "wait", false, "wait until the job has ended")
	c.Flags().StringVar(&progress, "progress", terminal.ProgressAuto, terminal.ProgressUsage)
	session.Complete(c, "progress", cobra.FixedCompletions(terminal.ProgressModes, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// checkSchedules holds the schedules of a configuration against the catalogue that it names.
func (a *app) checkSchedules(ctx context.Context, set *config.Settings) error {
	if len(set.Schedules) == 0 {
		return nil
	}
	cold := *set
	cold.Limits.Warm = 0
	e, err := a.newEngine(ctx, &cold, nil)
	if err != nil {
		return err
	}
	defer e.Close()
	orders, err := api.NewOrders(e)
	if err != nil {
		return err
	}
	return a.Check(func(file string) []byte {
		text, _ := os.ReadFile(file) // without it the lines are not shown
		return text
	}, service.CheckSchedules(set, orders, time.Now()))
}
