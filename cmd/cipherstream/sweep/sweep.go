// Package sweep owns the command that removes what is over or was left behind: expired
// objects, unfinished uploads and hidden files of killed runs. It never decides what that
// is: the store of objects, the engine and the sink of files do.
package sweep

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/plugins/job"
	"github.com/cipherstream/cipherstream/plugins/stream"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// app is the execution of the command line that the commands belong to.
type app struct{ *session.Session }

// Commands are those of this package.
func Commands(s *session.Session) []*cobra.Command {
	a := &app{s}
	return session.Under(session.Reading, a.sweepCommand())
}

func (a *app) sweepCommand() *cobra.Command {
	var to session.Delivery
	var keys session.Secrets
	var options job.SweepOptions
	var output string
	c := &cobra.Command{
		Use:   "sweep",
		Short: "Remove objects whose time is over, and what killed runs left behind",
		Long: `Remove the objects of a bucket that "cipherstream run --job" left there and whose
expiry has passed, and the uploads that runs have left unfinished which were killed
together with all their processes. Objects that say nothing about an expiry are kept.

In a folder, and in S3 for runs of this user on this machine, it is known which runs
are alive, whose uploads stay. Of other uploads in S3 nothing tells but their age: they
are ended with --abandoned. With --output the hidden files go that killed runs have
left beside a file, or in a folder, and no bucket is looked at.`,
		Example: `  cipherstream sweep --bucket ./objects
  cipherstream sweep --output ./extracts
  cipherstream sweep --bucket 's3://extracts?region=ap-southeast-2' --prefix jobs/ --abandoned 24h`,
		Args: a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			if options.Abandoned < 0 {
				return terminal.UsageFault("--abandoned is an age, and cannot be %v", options.Abandoned)
			}
			if output != "" {
				return a.sweepFiles(output)
			}
			bucket, err := to.BucketURL(false)
			if err != nil {
				return err
			}
			secret, err := keys.Lookup(c.Context())
			if err != nil {
				return err
			}
			of := func(name string) config.Secret {
				value, _ := secret(name)
				return config.NewSecret(value)
			}
			settings := job.Settings{
				Bucket:      bucket,
				AccessKeyID: of("s3_access_key_id"), SecretAccessKey: of("s3_secret_access_key"), SessionToken: of("s3_session_token"),
				Encryption: "none", Timeout: sweepTimeout,
			}
			e, err := a.Engine(c.Context(), slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			defer e.Close()
			undone, err := e.UndoLeftovers(c.Context(), stage.KindSink, "job", map[string]any{
				"bucket": bucket, "access_key_id": settings.AccessKeyID, "secret_access_key": settings.SecretAccessKey,
				"session_token": settings.SessionToken, "link_ttl": "0s",
			})
			if err != nil {
				return err
			}
			swept, err := job.Sweep(c.Context(), settings, time.Now(), options)
			if err != nil {
				return err
			}
			return a.Print(func(w io.Writer) error {
				if a.JSON {
					// Undone counts what killed runs had announced, ended by now or before.
					return terminal.WriteJSON(w, struct {
						job.Swept
						Undone int `json:"undone"`
					}{swept, undone})
				}
				_, err := fmt.Fprintf(w, "%s seen, %d removed (%s), %s ended\n", terminal.Counted(int(swept.Seen), "object"), swept.Removed,
					terminal.Bytes(swept.Bytes), terminal.Counted(int(swept.Uploads)+undone, "unfinished upload"))
				return err
			})
		}),
	}
	to.BucketFlag(c)
	keys.Flags(c)
	c.Flags().StringVar(&options.Prefix, "prefix", "", "look only at objects and uploads whose names begin with `TEXT`")
	c.Flags().DurationVar(&options.Abandoned, "abandoned", 0, "end uploads that are unfinished after this `AGE`, of which nothing else tells; no run may take longer (default none)")
	c.Flags().StringVarP(&output, "output", "o", "", "remove what killed runs left of this `FILE`, or in this folder, instead of a bucket")
	c.MarkFlagsMutuallyExclusive("output", "bucket")
	return c
}

// sweepFiles removes what killed runs left of a file that was given with run -o, or in a folder.
func (a *app) sweepFiles(output string) error {
	path, err := session.OutputPath(output)
	if err != nil {
		return err
	}
	removed, err := stream.Sweep(path)
	if err != nil {
		return err
	}
	return a.Print(func(w io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(w, map[string]int{"files": removed})
		}
		_, err := fmt.Fprintf(w, "%s removed\n", terminal.Counted(removed, "unfinished file"))
		return err
	})
}

// sweepTimeout is the longest wait for one request.
const sweepTimeout = 2 * time.Minute
