package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/plugins/job"
	"github.com/cipherstream/cipherstream/sdk/config"
)

func (a *app) sweepCommand() *cobra.Command {
	var to delivery
	var keys secrets
	var options job.SweepOptions
	c := &cobra.Command{
		Use:   "sweep",
		Short: "Remove objects whose time is over from a bucket",
		Long: `Remove the objects of a bucket that "cipherstream run --job" left there and whose
expiry has passed, and, with --abandoned, uploads that a killed process left
unfinished. Objects that say nothing about an expiry are kept.`,
		Example: `  cipherstream sweep --bucket ./objects --abandoned 24h
  cipherstream sweep --bucket 's3://extracts?region=ap-southeast-2' --prefix jobs/ --abandoned 24h`,
		Args: a.noArguments,
		RunE: a.action(func(c *cobra.Command, _ []string) error {
			if options.Abandoned < 0 {
				return usageFault("--abandoned is an age, and cannot be %v", options.Abandoned)
			}
			bucket, err := to.bucketURL(false)
			if err != nil {
				return err
			}
			secret, err := keys.lookup(c.Context())
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
			swept, err := job.Sweep(c.Context(), settings, time.Now(), options)
			if err != nil {
				return err
			}
			return a.print(func(w io.Writer) error {
				if a.json {
					return writeJSON(w, swept)
				}
				_, err := fmt.Fprintf(w, "%s seen, %d removed (%s), %s ended\n", counted(int(swept.Seen), "object"), swept.Removed,
					size(swept.Bytes), counted(int(swept.Uploads), "unfinished upload"))
				return err
			})
		}),
	}
	to.bucketFlag(c)
	keys.flags(c)
	c.Flags().StringVar(&options.Prefix, "prefix", "", "look only at objects and uploads whose names begin with `TEXT`")
	c.Flags().DurationVar(&options.Abandoned, "abandoned", 0, "end uploads that are unfinished after this `AGE`; no run may take longer (default none)")
	return c
}

// sweepTimeout is the longest wait for one request.
const sweepTimeout = 2 * time.Minute
