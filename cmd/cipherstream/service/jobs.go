package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of jobs that end otherwise than was wanted, and of what comes of them.
const (
	codeJobFailed    = "jobs.failed"
	codeJobCancelled = "jobs.cancelled"
	codeJobNotEnded  = "jobs.not_ended"
	codeJobAnswer    = "jobs.answer"
)

// The states of jobs.
const (
	jobRunning   = "running"
	jobCompleted = "completed"
	jobFailed    = "failed"
	jobCancelled = "cancelled"
)

// remoteJob is a job as a service tells of it.
type remoteJob struct {
	ID            string   `json:"job_id"`
	Procedure     string   `json:"procedure_name"`
	Status        string   `json:"status"`
	Percent       *int     `json:"progress_percent"`
	Rows          int64    `json:"rows_processed"`
	EstimatedRows int64    `json:"estimated_rows"`
	Remaining     *float64 `json:"estimated_completion_seconds"`
	TotalRows     int64    `json:"total_rows"`
	CreatedAt     string   `json:"created_at"`
	CompletedAt   string   `json:"completed_at"`
	Seconds       *float64 `json:"execution_time_seconds"`
	Size          int64    `json:"file_size_bytes"`
	SHA256        string   `json:"sha256"`
	FileName      string   `json:"file_name"`
	Format        string   `json:"output_format"`
	Compression   string   `json:"compression"`
	Encrypted     bool     `json:"encrypted"`
	ExpiresAt     string   `json:"expires_at"`
	ErrorCode     string   `json:"error_code"`
	ErrorMessage  string   `json:"error_message"`
	Suggestion    string   `json:"suggestion"`
	Retries       int      `json:"retry_count"`
	Metadata      struct {
		Reason string `json:"reason"`
	} `json:"metadata"`
}

func (j *remoteJob) ended() bool {
	return j.Status == jobCompleted || j.Status == jobFailed || j.Status == jobCancelled
}

// failed is why a job that has ended has no result; nil of one that has.
func (j *remoteJob) failed() error {
	code, class := codeJobFailed, fault.Source
	switch j.Status {
	case jobCompleted:
		return nil
	case jobFailed:
	case jobCancelled:
		code = codeJobCancelled
	default:
		return fault.New(codeJobNotEnded, fault.Usage, "job %s is %s", j.ID, j.Status).WithHint("wait for it with --wait")
	}
	if j.ErrorCode == "" {
		return fault.New(code, class, "job %s was %s", j.ID, j.Status)
	}
	return fault.New(code, class, "job %s %s: %s: %s", j.ID, j.Status, j.ErrorCode, j.ErrorMessage).WithHint("%s", j.Suggestion)
}

// progress says in a line how far a job is.
func (j *remoteJob) progress(elapsed time.Duration) string {
	text := j.Status
	if j.Percent != nil {
		text += fmt.Sprintf("  %d %%", *j.Percent)
	}
	if j.Status == jobRunning {
		text += "  " + terminal.Grouped(j.Rows)
		if j.EstimatedRows > j.Rows {
			text += " of about " + terminal.Grouped(j.EstimatedRows)
		}
		text += " rows"
		if j.Remaining != nil {
			text += "  about " + terminal.Clock(time.Duration(*j.Remaining*float64(time.Second))) + " left"
		}
	}
	return diag.Printable(text) + "  " + terminal.Clock(elapsed)
}

// customerJobs are the jobs of a customer of a service.
type customerJobs struct{ *ofCustomer }

func (f *customerFlags) jobs(ctx context.Context) (*customerJobs, error) {
	s, err := f.of(ctx)
	return &customerJobs{s}, err
}

// path is that of a job, or of all of them, and of what is asked of it.
func (s *customerJobs) path(parts ...string) string { return s.under("jobs", parts...) }

// maxJobs bounds a list of jobs, in bytes, and maxJob one job.
const (
	maxJobs = 8 << 20
	maxJob  = 1 << 20
)

// read asks, and gives the answer as it came beside what it says.
func (s *customerJobs) read(ctx context.Context, method, path string, most int64, into any, header ...string) (json.RawMessage, *http.Response, error) {
	answer, err := s.do(ctx, method, path, nil, header...)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, most))
	if err != nil {
		return nil, nil, s.unreached(ctx, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return nil, nil, fault.New(codeJobAnswer, fault.Source, "the server's answer is no job as a CipherStream service tells it").WithHint("check --server")
	}
	return text, answer, nil
}

// job asks about a job.
func (s *customerJobs) job(ctx context.Context, id string, header ...string) (*remoteJob, json.RawMessage, *http.Response, error) {
	var j remoteJob
	text, answer, err := s.read(ctx, http.MethodGet, s.path(id), maxJob, &j, header...)
	if err == nil && (j.ID != id || j.Status == "") {
		err = fault.New(codeJobAnswer, fault.Source, "the server answers with another job than was asked for").WithHint("check --server")
	}
	if err != nil {
		return nil, nil, nil, err
	}
	return &j, text, answer, nil
}

func (a *app) jobsCommand() *cobra.Command {
	var f customerFlags
	c := &cobra.Command{
		Use:   "jobs",
		Short: "List, watch, cancel and download jobs of a service",
		Long: `List the jobs of a customer of a service, say how far one is, watch it until it ends, cancel
it, and download its result.`,
		Example: `  export CIPHERSTREAM_API_KEY=cs_live_…
  cipherstream jobs list --server https://api.example.com --customer sunrise --status running
  cipherstream jobs download JOB --wait -o appointments.parquet --server https://api.example.com --customer sunrise`,
	}
	a.Group(c)
	f.remote.flags(c, "a customer's key, env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS", envKey)
	c.PersistentFlags().StringVar(&f.customer, "customer", "", "`ID` of the customer whose jobs are meant")
	c.AddCommand(a.jobsListCommand(&f), a.jobsGetCommand(&f), a.jobsWatchCommand(&f), a.jobsCancelCommand(&f), a.jobsDownloadCommand(&f))
	return c
}

// jobList is a part of a list.
type jobList struct {
	Jobs   []remoteJob `json:"jobs"`
	Total  int64       `json:"total"`
	Offset int64       `json:"offset"`
}

func (a *app) jobsListCommand(f *customerFlags) *cobra.Command {
	var filter struct {
		status, procedure, from, to, sort string
		limit                             int
		offset                            int64
	}
	c := &cobra.Command{
		Use:   "list",
		Short: "List jobs, the newest first",
		Args:  a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			s, err := f.jobs(c.Context())
			if err != nil {
				return err
			}
			q := url.Values{}
			for name, value := range map[string]string{"status": filter.status, "procedure": filter.procedure, "from_date": filter.from, "to_date": filter.to,
				"sort": filter.sort} {
				if value != "" {
					q.Set(name, value)
				}
			}
			q.Set("limit", strconv.Itoa(filter.limit))
			q.Set("offset", strconv.FormatInt(filter.offset, 10))
			var list jobList
			text, _, err := s.read(c.Context(), http.MethodGet, s.path()+"?"+q.Encode(), maxJobs, &list)
			if err != nil {
				return err
			}
			return a.answer(text, func(w io.Writer) error { return writeJobs(w, &list) })
		}),
	}
	flags := c.Flags()
	flags.StringVar(&filter.status, "status", "", "only those that are queued, running, completed, failed or cancelled")
	flags.StringVar(&filter.procedure, "procedure", "", "only those of the procedure `NAME`")
	flags.StringVar(&filter.from, "from", "", "only those that were made on this `DAY` (UTC) or later, YYYY-MM-DD")
	flags.StringVar(&filter.to, "to", "", "only those that were made on this `DAY` (UTC) or earlier, YYYY-MM-DD")
	flags.StringVar(&filter.sort, "sort", "", "order: created_desc, created_asc, updated_desc or updated_asc")
	flags.IntVar(&filter.limit, "limit", 50, "at most so many `JOBS`, 100 at the most")
	flags.Int64Var(&filter.offset, "offset", 0, "leave out so many `JOBS` before them")
	session.Complete(c, "status", cobra.FixedCompletions([]string{"queued", jobRunning, jobCompleted, jobFailed, jobCancelled}, cobra.ShellCompDirectiveNoFileComp))
	session.Complete(c, "sort", cobra.FixedCompletions([]string{"created_desc", "created_asc", "updated_desc", "updated_asc"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func writeJobs(w io.Writer, list *jobList) error {
	rows := [][]string{{"JOB", "STATUS", "DONE", "ROWS", "SIZE", "CREATED"}}
	for _, j := range list.Jobs {
		done, size, count := "", "", j.Rows
		if j.Percent != nil {
			done = strconv.Itoa(*j.Percent) + " %"
		}
		if j.Status == jobCompleted {
			size, count = terminal.Bytes(j.Size), j.TotalRows
		}
		status := j.Status
		if j.ErrorCode != "" {
			status += " (" + j.ErrorCode + ")"
		}
		rows = append(rows, []string{j.ID, status, done, terminal.Grouped(count), size, j.CreatedAt})
	}
	if err := terminal.WriteTable(w, "", rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d of %s\n", len(list.Jobs), terminal.Counted(int(list.Total), "job"))
	return err
}

func (a *app) jobsGetCommand(f *customerFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "get JOB",
		Short: "Say how far a job is",
		Args:  a.oneArgument("the id of one job"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			s, err := f.jobs(c.Context())
			if err != nil {
				return err
			}
			j, text, _, err := s.job(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.showJob(j, text)
		}),
	}
}

// showJob tells of a job, to a machine as the service does.
func (a *app) showJob(j *remoteJob, text json.RawMessage) error {
	return a.answer(text, func(w io.Writer) error {
		rows := [][]string{{"job", j.ID}, {"procedure", j.Procedure}, {"status", j.Status}, {"created", j.CreatedAt}}
		add := func(name, value string) {
			if value != "" {
				rows = append(rows, []string{name, value})
			}
		}
		add("reason", j.Metadata.Reason)
		if j.Percent != nil {
			add("done", strconv.Itoa(*j.Percent)+" %")
		}
		add("rows", terminal.Grouped(max(j.Rows, j.TotalRows)))
		add("ended", j.CompletedAt)
		if j.Status == jobCompleted {
			add("file", j.FileName)
			add("size", terminal.Bytes(j.Size))
			add("sha256", j.SHA256)
			add("until", j.ExpiresAt)
		}
		if j.Retries > 0 {
			add("retries", strconv.Itoa(j.Retries))
		}
		add("error", strings.TrimPrefix(j.ErrorCode+": "+j.ErrorMessage, ": "))
		add("help", j.Suggestion)
		return terminal.WriteTable(w, "", rows)
	})
}

func (a *app) jobsCancelCommand(f *customerFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "cancel JOB",
		Short: "Tell a job to end",
		Long: `Tell a job to end. One that waits is cancelled at once, one that runs within seconds; one that
has been cancelled stays so, and one that has ended otherwise is an error.`,
		Args: a.oneArgument("the id of one job"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			s, err := f.jobs(c.Context())
			if err != nil {
				return err
			}
			var j remoteJob
			text, _, err := s.read(c.Context(), http.MethodPost, s.path(args[0], "cancel"), maxJob, &j)
			if err != nil {
				return err
			}
			return a.answer(text, func(w io.Writer) error {
				said := "is cancelled"
				if j.Status != jobCancelled {
					said = "was told to end"
				}
				_, err := fmt.Fprintf(w, "job %s %s\n", args[0], said)
				return err
			})
		}),
	}
}

func (a *app) jobsWatchCommand(f *customerFlags) *cobra.Command {
	var progress string
	c := &cobra.Command{
		Use:   "watch JOB",
		Short: "Show how far a job is, until it ends",
		Long: `Show how far a job is until it ends. What happens comes as it does (server-sent events), or where
something between here and the service does not let it, by asking. A connection that breaks is
made again. The exit code is 1 for a job that failed or was cancelled.`,
		Args: a.oneArgument("the id of one job"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			s, err := f.jobs(c.Context())
			if err != nil {
				return err
			}
			j, text, err := a.await(c.Context(), s, args[0], progress)
			if err != nil {
				return err
			}
			return errors.Join(a.showJob(j, text), j.failed())
		}),
	}
	c.Flags().StringVar(&progress, "progress", terminal.ProgressAuto, terminal.ProgressUsage)
	session.Complete(c, "progress", cobra.FixedCompletions(terminal.ProgressModes, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// await waits until a job has ended, and shows meanwhile how far it is.
func (a *app) await(ctx context.Context, s *customerJobs, id, progress string) (*remoteJob, json.RawMessage, error) {
	report, err := a.NewReporter(progress, false, false)
	if err != nil {
		return nil, nil, err
	}
	defer report.Clear()
	began := time.Now()
	w := newWatch(s, id)
	w.told = func(j *remoteJob) {
		fields := map[string]any{"job_id": j.ID, "status": j.Status, "rows_processed": j.Rows}
		if j.Percent != nil {
			fields["progress_percent"] = *j.Percent
		}
		report.Emit("job", fields)
		elapsed := time.Since(began)
		report.Show(elapsed, func() string { return j.progress(elapsed) })
	}
	return w.untilEnded(ctx)
}
