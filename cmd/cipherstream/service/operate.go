package service

import (
	"context"
	"errors"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/service"
	"github.com/cipherstream/cipherstream/engine/service/api/admin"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	secrets "github.com/cipherstream/cipherstream/sdk/config"
)

// envAdminKey holds an operator's key, for --server.
const envAdminKey = "CIPHERSTREAM_ADMIN_KEY"

// where says which service an operator's command is about.
type where struct {
	config string
	state  string
	remote remote
}

func (w *where) flags(c *cobra.Command) {
	c.PersistentFlags().StringVar(&w.config, "config", defaultConfig, "the service of the document `FILE`, on this machine: the one that runs, or its record when none does")
	c.PersistentFlags().StringVar(&w.state, "state", "", "the service that runs on this machine with the data directory `FOLDER`")
	w.remote.flags(c, "an operator's key, env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS", envAdminKey)
	_ = c.MarkPersistentFlagFilename("config", "yaml", "yml") // the flag exists
	_ = c.MarkPersistentFlagDirname("state")
}

// operate does an operator's work on the service that is meant.
func (a *app) operate(c *cobra.Command, w *where, do func(context.Context, admin.Manage) error) (err error) {
	ctx := c.Context()
	given := 0
	for _, flag := range []string{"config", "state", "server"} {
		if c.Flags().Changed(flag) {
			given++
		}
	}
	if given > 1 {
		return terminal.UsageFault("--config, --state and --server each name a service").WithHint("give one of them")
	}
	if w.remote.server != "" {
		key, err := w.remote.secret(ctx)
		if err != nil {
			return err
		}
		client, err := w.remote.client()
		if err != nil {
			return err
		}
		manage, err := admin.Connect(w.remote.server, secrets.NewSecret(key), client.Transport)
		if err != nil {
			return err
		}
		return do(ctx, manage)
	}
	if w.state != "" {
		manage, err := admin.Dial(ctx, w.state)
		if err != nil {
			return err
		}
		return do(ctx, manage)
	}
	set, err := a.settings(ctx, w.config, config.Options{})
	if err != nil {
		return err
	}
	direct := func() (admin.Manage, func() error, error) { return a.direct(ctx, w.config) }
	var manage admin.Manage
	var done func() error
	if set.Shared { // whoever runs sees in the record what is done there
		manage, done, err = direct()
	} else {
		manage, done, err = admin.Pick(ctx, set.Directory, direct)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	return do(ctx, manage)
}

// direct works on the record of a service that does not run.
func (a *app) direct(ctx context.Context, path string) (_ admin.Manage, done func() error, err error) {
	set, err := a.settings(ctx, path, config.Options{Secret: session.ReadSecret})
	if err != nil {
		return nil, nil, err
	}
	record, err := openRecord(ctx, set, nil)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, record.Close())
		}
	}()
	key, err := dataKey(set)
	if err != nil {
		return nil, nil, err
	}
	registry, err := service.Customers(ctx, set, record, key, time.Now)
	if err != nil {
		return nil, nil, err
	}
	return registry.Manage(customer.Actor{Who: "user:" + userName(), From: "local"}), record.Close, nil
}

// userName is who works on the record, for the audit.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}
