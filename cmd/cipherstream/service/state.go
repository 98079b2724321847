package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/engine/service/store/mysql"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlite"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
	secrets "github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// keyEnding is what the name of a copy's key ends in.
const keyEnding = ".key"

// stateFlags say which record is meant.
type stateFlags struct{ config, state string }

func (f *stateFlags) load(ctx context.Context, a *app) (*config.Settings, error) {
	return a.settings(ctx, f.config, config.Options{State: f.state}) // secrets are not needed
}

func (a *app) stateCommand() *cobra.Command {
	var f stateFlags
	c := &cobra.Command{
		Use:   "state",
		Short: "Back up, restore and move the record of the service",
		Long: `Back up, restore and move the record of the service: keys, requests, jobs, the audit, and what data
streams have numbered and not yet sent. The key of the data directory, without which encryption keys
that the service has made do not open, goes into a file of its own beside the copy: keep the two
apart. Objects in folders are not part of it.

A record on a MySQL or MariaDB server is backed up with the server's own tools.`,
	}
	a.Group(c)
	c.PersistentFlags().StringVar(&f.config, "config", defaultConfig, "`FILE` of kind Service")
	c.PersistentFlags().StringVar(&f.state, "state", "", "data directory `FOLDER` instead of the document's state")
	_ = c.MarkPersistentFlagFilename("config", "yaml", "yml") // the flag exists
	_ = c.MarkPersistentFlagDirname("state")
	c.AddCommand(a.stateBackupCommand(&f), a.stateRestoreCommand(&f), a.stateMoveCommand(&f))
	return c
}

// loadDirectory is load for a record that is in a data directory; one on a server is refused.
func (f *stateFlags) loadDirectory(ctx context.Context, a *app) (*config.Settings, error) {
	set, err := f.load(ctx, a)
	if err == nil && set.Shared {
		return nil, fault.New(config.CodeState, fault.Usage, "the record is on a server").
			WithHint("back it up and restore it with the server's own tools, such as mariadb-dump --single-transaction")
	}
	return set, err
}

func (a *app) stateBackupCommand(f *stateFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the record into a file, beside the service that runs",
		Long: `Copy the record into a file that is not there yet, as it is at one moment, while the service runs on.
The copy is read whole before the command ends. FILE.key is the key of the data directory; where the
document gives a data_key, there is none. FILE.streams is a directory with the databases of data
streams, where there are any: it belongs to the copy.`,
		Example: "  cipherstream state backup /backup/record-2026-03-01.db --config /etc/cipherstream/service.yaml",
		Args:    a.oneArgument("one file"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			ctx, path := c.Context(), args[0]
			set, err := f.loadDirectory(ctx, a)
			if err != nil {
				return err
			}
			if err := sqlite.Copy(ctx, set.Directory, path); err != nil {
				return err
			}
			result := map[string]any{"record": path, "directory": set.Directory}
			what := "the record of " + set.Directory
			if beside := path + sqlite.StreamsEnding; isThere(beside) {
				result["streams"] = beside
				what += ", whose streams are in " + beside
			}
			if given := set.Spec.DataKey.Reveal(); given == "" {
				if err := copyKey(filepath.Join(set.Directory, datakey.FileName), path+keyEnding); err != nil {
					return errors.Join(err, os.Remove(path), os.RemoveAll(path+sqlite.StreamsEnding))
				}
				result["key"] = path + keyEnding
				return a.done(result, "%s is a copy of %s, and was read whole; %s is its key: keep the two apart", path, what, path+keyEnding)
			}
			return a.done(result, "%s is a copy of %s, and was read whole; its key is the document's data_key", path, what)
		}),
	}
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// copyKey copies the key of a data directory to a file that is not there yet.
func copyKey(from, to string) (err error) {
	failed := func(err error) error {
		return fault.New(datakey.CodeKey, fault.Usage, "the key of the data directory cannot be copied: %w", err)
	}
	in, err := os.OpenFile(from, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return failed(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return failed(err)
	}
	_, err = io.Copy(out, io.LimitReader(in, 1<<10))
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return failed(errors.Join(err, os.Remove(to)))
	}
	return nil
}

func (a *app) stateRestoreCommand(f *stateFlags) *cobra.Command {
	var key string
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a data directory of a copy",
		Long: `Make the data directory of the document, or of --state, of a copy that "cipherstream state backup" has
made, with the streams in FILE.streams. It is refused where the directory holds anything. The copy is
read whole before, and the record opened afterwards; when something fails, nothing is left.

Jobs that ran when the copy was made are begun anew, and what came after it is not known: also keys
that were revoked since. Data streams go on where they were then, with numbers above all that were
given since.`,
		Args: a.oneArgument("one file"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			ctx, path := c.Context(), args[0]
			set, err := f.loadDirectory(ctx, a)
			if err != nil {
				return err
			}
			own := set.Spec.DataKey.Reveal() == ""
			if key == "" {
				key = path + keyEnding
			}
			if own {
				if _, err := os.Stat(key); err != nil {
					return terminal.UsageFault("the key of the copy is not there: %w", err).
						WithHint("name it with --key-file; without it, encryption keys that the service has made do not open any more")
				}
				if err := checkKey(key); err != nil {
					return err
				}
			}
			if err := sqlite.Restore(ctx, path, set.Directory, time.Now); err != nil {
				return err
			}
			if own {
				if err := copyKey(key, filepath.Join(set.Directory, datakey.FileName)); err != nil {
					return err
				}
			}
			return a.done(map[string]any{"directory": set.Directory, "record": path}, "%s has the record of %s", set.Directory, path)
		}),
	}
	c.Flags().StringVar(&key, "key-file", "", "`FILE` with the key of the copy (default FILE.key)")
	return c
}

// checkKey makes sure that a file is a key, before anything is made.
func checkKey(path string) error {
	dir, err := os.MkdirTemp("", "cipherstream-key-")
	if err != nil {
		return terminal.UsageFault("the key of the copy cannot be looked at: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := copyKey(path, filepath.Join(dir, datakey.FileName)); err != nil {
		return err
	}
	_, err = datakey.Open(dir)
	return err
}

func (a *app) stateMoveCommand(f *stateFlags) *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "move",
		Short: "Bring the record of a data directory to a MySQL or MariaDB server",
		Long: `Bring the record of a data directory, whose service does not run, to an empty database of a MySQL or
MariaDB server, where any number of services and workers share it. All of it is there when the
command ends, and was compared row by row, or nothing is. The data directory stays as it is.

The document needs two changes then, which are shown: state refers to the server, and data_key to the
key that is in the data directory's data.key.`,
		Example: "  cipherstream state move --to env:CIPHERSTREAM_STATE --config /etc/cipherstream/service.yaml",
		Args:    a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) (err error) {
			ctx := c.Context()
			if to == "" {
				return terminal.UsageFault("where to is not said").WithHint("give --to %s for mysql://user:password@host:3306/database", session.SecretForms)
			}
			set, err := f.load(ctx, a)
			if err != nil {
				return err
			}
			url, err := session.ReadSecret(ctx, to)
			if err != nil {
				return err
			}
			if set.Shared {
				return usage("the record of %s is on a server already", f.config)
			}
			if _, err := os.Stat(set.Directory); err != nil {
				return terminal.UsageFault("there is no record in the data directory: %w", err)
			}
			from, err := sqlite.Open(ctx, set.Directory, time.Now)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, from.Close()) }()
			into, err := mysql.Open(ctx, secrets.NewSecret(url), mysql.Options{})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, into.Close()) }()
			streams, done, err := from.StreamMoves(ctx, into.MakeStream)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, done()) }()
			moved, err := sqlrecord.Move(ctx, from.Record, into.Record, streams...)
			if err != nil {
				return err
			}
			return a.Print(func(w io.Writer) error {
				if a.JSON {
					return terminal.WriteJSON(w, map[string]any{"directory": set.Directory, "tables": moved})
				}
				rows := [][]string{{"TABLE", "ROWS", "SHA-256 OF BOTH"}}
				for _, m := range moved {
					rows = append(rows, []string{m.Table, terminal.Grouped(m.Rows), m.SHA256})
				}
				if err := terminal.WriteTable(w, "", rows); err != nil {
					return err
				}
				_, err := fmt.Fprintf(w, "\nNow give %s\n\n  state: %s\n  data_key: file:%s\n", f.config, to, filepath.Join(set.Directory, datakey.FileName))
				return err
			})
		}),
	}
	c.Flags().StringVar(&to, "to", "", "`REFERENCE` to the URL of the server: env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS")
	return c
}
