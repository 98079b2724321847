package service

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"path/filepath"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/sandbox"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/service"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/telemetry"
	secrets "github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/envelope"
)

const (
	// sandboxCustomer is the customer of the published examples.
	sandboxCustomer = "sandbox"
	sandboxAddress  = "127.0.0.1:8080"
	// sandboxGrace is enough for an answer that has been sent to be written down.
	sandboxGrace = time.Second
)

// announced is what a sandbox tells whoever has started it.
type announced struct {
	URL           string `json:"url"`
	Documentation string `json:"documentation"`
	Customer      string `json:"customer_id"`
	Key           string `json:"key"`
	EncryptionKey string `json:"encryption_key"`
	Command       string `json:"command"`
	JobCommand    string `json:"job_command"`
	StreamCommand string `json:"data_stream_command"`
	State         string `json:"state"`
}

// serveSandbox serves generated data. What it makes is gone when it ends.
func (a *app) serveSandbox(ctx context.Context, f *serveFlags) (err error) {
	report, err := a.NewReporter(terminal.ProgressAuto, f.verbose, false)
	if err != nil {
		return err
	}
	database, err := sandbox.Start(ctx, a.Terminal, &f.data, "", sandbox.ServerLog(report))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	key := make([]byte, envelope.KeySize)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	encryption := base64.StdEncoding.EncodeToString(key)
	set := sandboxSettings(f, database.DSN(), encryption)
	level := new(slog.LevelVar)
	if level.Set(slog.LevelWarn); f.verbose {
		level.Set(slog.LevelInfo)
	}
	return a.running(ctx, set, telemetry.NewLog(a.Err, level), level, func(ctx context.Context, s *service.Service) error {
		issued, err := s.Registry().Manage(customer.Actor{Who: "user:sandbox", From: "local"}).CreateKey(ctx, customer.NewKey{Customer: sandboxCustomer, Label: "sandbox"})
		if err != nil {
			return err
		}
		if err := a.Print(func(w io.Writer) error { return a.announce(w, s.Address(), issued.Text, encryption, set.Directory) }); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.Failed():
			return err
		}
	})
}

// sandboxSettings are those of a service for generated data: on loopback, without TLS, and without the operators' listener.
func sandboxSettings(f *serveFlags, dsn, encryption string) *config.Settings {
	set := &config.Settings{Spec: config.Default(), Name: sandboxCustomer}
	if set.Listen.Address = f.listen; f.listen == "" {
		set.Listen.Address = sandboxAddress
	}
	set.Operations.Address = config.Off
	// A receiver to try a data stream or webhooks with is on this machine, and so is whoever has the key.
	set.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	set.Directory = "" // one of its own
	set.Shutdown.Grace = sandboxGrace
	set.Customers = []config.Customer{{
		CustomerSpec: config.CustomerSpec{
			ID: sandboxCustomer, Name: "Generated data", Demo: true, Bucket: sandboxCustomer,
			Allow:      config.Allow{Tables: []string{"*"}, Procedures: []string{"*"}},
			DataStream: config.DataStream{Pipeline: sandboxCustomer},
		},
		DSN: secrets.NewSecret(dsn), EncryptionKeys: []secrets.Secret{secrets.NewSecret(encryption)},
	}}
	return set
}

// ownBucket is a folder in the data directory for the sandbox's jobs.
func ownBucket(set *config.Settings) {
	folder := url.URL{Scheme: "file", Path: filepath.Join(set.Directory, "objects"), RawQuery: "create_dir=true"}
	set.Buckets = map[string]config.Bucket{sandboxCustomer: {BucketSpec: config.BucketSpec{URL: folder.String()}}}
}

// announce says how the sandbox is reached.
func (a *app) announce(w io.Writer, address, key, encryption, state string) error {
	url := "http://" + address
	command := fmt.Sprintf(`curl -sS -X POST %s/v1/procedures/appointments -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' `+
		`-d '{"customer_id": "%s", "from_date": "2024-01-01", "to_date": "2024-01-31"}'`, url, key, sandboxCustomer)
	job := fmt.Sprintf(`curl -sS -X POST %s/v1/procedures/treatment -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' `+
		`-d '{"customer_id": "%s", "mode": "job", "output_format": "parquet"}'`, url, key, sandboxCustomer)
	stream := fmt.Sprintf(`CIPHERSTREAM_API_KEY=%s cipherstream data-stream set https://127.0.0.1:8443/ --secret env:STREAM_SECRET --certificate receiver.pem `+
		`--channel entities --channel logs --server %s --customer %s`, key, url, sandboxCustomer)
	if a.JSON {
		return terminal.WriteJSON(w, announced{URL: url, Documentation: url + "/docs", Customer: sandboxCustomer, Key: key, EncryptionKey: encryption,
			Command: command, JobCommand: job, StreamCommand: stream, State: state})
	}
	_, err := fmt.Fprintf(w, `Serving generated data until interrupted.

  %s

  As a job, with a link to the result in what the answer's Location says:

  %s

  Changes, with --sandbox-changes 2s, to a receiver such as examples/data-stream; then "cipherstream data-stream enable":

  %s

  documentation   %s/docs
  encryption key  %s   (for "encrypted": true; cipherstream decrypt --keys opens what comes)

`, command, job, stream, url, encryption)
	return err
}
