package service

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/service"
	"github.com/cipherstream/cipherstream/engine/service/api/admin"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/engine/service/store/mysql"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Codes of what is found. What a part of the service finds has its code.
const (
	codeDoctor      = "doctor.found"
	codeClock       = "doctor.clock"
	codeDisk        = "doctor.disk"
	codeCertificate = "doctor.certificate"
	codeKeys        = "doctor.keys"
	codeObject      = "doctor.object"
	codeSlow        = "doctor.slow"
	codeDurability  = "doctor.durability"
	codeDeliveries  = "doctor.deliveries"
)

// What is worth a warning.
const (
	expiresSoon  = 14 * 24 * time.Hour
	clockSkew    = 5 * time.Second
	bucketSkew   = time.Minute // S3 refuses what is signed a quarter of an hour off
	diskWarning  = 1 << 30
	diskTooFull  = 64 << 20
	doctorAtOnce = 6
)

// finding is something that was looked at.
type finding struct {
	Area    string            `json:"area"`
	Subject string            `json:"subject,omitempty"`
	Level   stage.Level       `json:"level"`
	Code    string            `json:"code,omitempty"`
	Class   fault.Class       `json:"class,omitempty"`
	Message string            `json:"message"`
	Hint    string            `json:"hint,omitempty"`
	Details map[string]string `json:"details,omitempty"`
}

// check looks at one thing of the service's.
type check struct {
	area, subject string
	look          func(ctx context.Context, r *findings)
}

// findings are those of one check. They may come after it was given up.
type findings struct {
	check *check
	mu    sync.Mutex
	list  []finding
}

func (f *findings) add(level stage.Level, err error) {
	is := fault.From(err)
	one := finding{Area: f.check.area, Subject: f.check.subject, Level: level, Message: is.Message, Hint: is.Hint, Details: is.Details}
	if level == stage.LevelWrong || level == stage.LevelWarning {
		one.Code = is.Code
	}
	if level == stage.LevelWrong {
		one.Class = is.Class
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, one)
}

func (f *findings) fine(format string, args ...any) {
	f.add(stage.LevelFine, fault.New(codeDoctor, fault.Internal, format, args...))
}

func (f *findings) unchecked(format string, args ...any) {
	f.add(stage.LevelUnchecked, fault.New(codeDoctor, fault.Internal, format, args...))
}

func (f *findings) warn(err error)  { f.add(stage.LevelWarning, err) }
func (f *findings) wrong(err error) { f.add(stage.LevelWrong, err) }

// doctorFlags are the flags of doctor.
type doctorFlags struct {
	serveFlags
	procedures []string
	timeout    time.Duration
	strict     bool
}

func (a *app) doctorCommand() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look whether everything is there that the service needs",
		Long: `Look whether everything is there that the service of a document needs: the record and how durable it
is; every bucket, where an object is written, read and removed; disks; clocks; the mail server, to
which nothing is sent; every customer's database with its grants, in which no row is read, and whether
it can be followed by a data stream; what expires soon, keys and certificates; and what customers
were not told: deliveries that were given up, or wait for long. It works beside a service that runs,
and where none does.

Each finding is wrong, a warning, unchecked or fine. The exit code is that of the worst one: 3 where
something cannot be reached or lets nobody in, 2 where a setting is wrong, 1 for anything else that
is wrong, and 0 otherwise; with --strict a warning is 1 as well.`,
		Example: `  cipherstream doctor --config /etc/cipherstream/service.yaml
  cipherstream doctor --procedure patients --procedure appointments --json`,
		Args: a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			if f.timeout <= 0 {
				return usage("--timeout is longer than 0s")
			}
			return a.doctor(c.Context(), &f)
		}),
	}
	c.Flags().StringVar(&f.config, "config", defaultConfig, "`FILE` of kind Service")
	c.Flags().StringVar(&f.state, "state", "", stateUsage)
	c.Flags().StringArrayVar(&f.procedures, "procedure", nil, "look whether every customer's database has what the procedure `NAME` needs (repeatable; default one of the catalogue)")
	c.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "`TIME` that each thing may take")
	c.Flags().BoolVar(&f.strict, "strict", false, "let a warning be a failure")
	_ = c.MarkFlagFilename("config", "yaml", "yml") // the flag exists
	return c
}

func (a *app) doctor(ctx context.Context, f *doctorFlags) (err error) {
	if err := f.missing(); err != nil {
		return err
	}
	set, diags, source := config.Load(ctx, f.config, f.options())
	if err := terminal.DiagnosticsError(diags, source); err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	e, err := a.newEngine(ctx, set, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	streams, err := a.streamsEngine(ctx, set, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, streams.Close()) }()
	d := &doctor{app: a, flags: f, set: set, engine: e, streamsEngine: streams}
	if d.streams, err = a.streamPipelines(streams, set); err != nil {
		return err
	}
	checks, err := d.checks(diags)
	if err != nil {
		return err
	}
	found := examine(ctx, checks, f.timeout)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return a.tell(ctx, f.config, found, f.strict)
}

// tell says what was found, and returns the error that the command ends with.
func (a *app) tell(ctx context.Context, document string, found []finding, strict bool) error {
	verdict := worst(found, strict)
	err := a.Print(func(w io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(w, map[string]any{"document": document, "ok": verdict == nil, "exit_code": terminal.ExitCode(ctx, verdict), "findings": found})
		}
		return writeFound(w, found, terminal.Colored(a.Out))
	})
	if err != nil {
		return err
	}
	return verdict
}

// examine makes checks, some at a time, and returns what they found in their order.
func examine(ctx context.Context, checks []check, timeout time.Duration) []finding {
	results := make([]*findings, len(checks))
	places := make(chan struct{}, doctorAtOnce)
	var all sync.WaitGroup
	for i := range checks {
		results[i] = &findings{check: &checks[i]}
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			done := make(chan struct{})
			go func() {
				defer close(done)
				checks[i].look(ctx, results[i])
			}()
			select {
			case <-done:
			case <-ctx.Done():
				select { // most end then, and tell of it in their own words
				case <-done:
				case <-time.After(time.Second):
				}
			}
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				results[i].wrong(fault.New(codeSlow, fault.Connect, "this took longer than %v", timeout).WithHint("look again with a longer --timeout"))
			}
		})
	}
	all.Wait()
	var out []finding
	for _, r := range results {
		r.mu.Lock()
		out = append(out, r.list...)
		r.mu.Unlock()
	}
	return out
}

// worst is the error that the command ends with; nil is that nothing is wrong.
func worst(found []finding, strict bool) error {
	rank := func(c fault.Class) int {
		switch c {
		case fault.Connect:
			return terminal.ExitConnect
		case fault.Usage:
			return terminal.ExitUsage
		}
		return terminal.ExitFailed
	}
	var class fault.Class
	wrong, warned := false, false
	for _, f := range found {
		switch {
		case f.Level == stage.LevelWrong && (!wrong || rank(f.Class) > rank(class)):
			wrong, class = true, f.Class
		case f.Level == stage.LevelWarning:
			warned = true
		}
	}
	switch {
	case wrong:
		return fault.New(codeDoctor, class, "something is wrong: %w", terminal.ErrTold)
	case warned && strict:
		return fault.New(codeDoctor, fault.Internal, "there are warnings: %w", terminal.ErrTold)
	}
	return nil
}

// writeFound renders findings for people: a table, and below what to do.
func writeFound(w io.Writer, found []finding, color bool) error {
	count := map[stage.Level]int{}
	rows := [][]string{}
	for _, f := range found {
		count[f.Level]++
		rows = append(rows, []string{string(f.Level), strings.TrimSpace(f.Area + " " + f.Subject), f.Message})
	}
	var table strings.Builder
	if err := terminal.WriteTable(&table, "", rows); err != nil {
		return err
	}
	i := 0
	for line := range strings.Lines(table.String()) {
		f := found[i]
		i++
		if style := terminal.LevelColors[f.Level]; color && style != "" {
			line = style + string(f.Level) + terminal.Reset + strings.TrimPrefix(line, string(f.Level))
		}
		if _, err := io.WriteString(w, line); err != nil {
			return err
		}
		if f.Hint != "" && f.Level != stage.LevelFine {
			fmt.Fprintf(w, "  help: %s\n", diag.Printable(f.Hint))
		}
	}
	_, err := fmt.Fprintln(w, terminal.Verdict(count))
	return err
}

// doctor looks at the service of a document.
type doctor struct {
	app    *app
	flags  *doctorFlags
	set    *config.Settings
	engine *engine.Engine
	// streams are the pipelines of data streams, by customer, of streamsEngine.
	streams       map[string]*engine.Prepared
	streamsEngine *engine.Engine
}

// checks are what there is to look at.
func (d *doctor) checks(diags diag.List) ([]check, error) {
	procedures, err := d.procedures()
	if err != nil {
		return nil, err
	}
	checks := []check{{area: "config", look: func(_ context.Context, r *findings) {
		r.fine("%s is good, %s", d.flags.config, terminal.Counted(len(d.set.Customers), "customer"))
		for _, one := range diags { // errors are not among them
			r.warn(fault.New(one.Code, fault.Usage, "%s", one.Message).WithHint("%s", one.Hint))
		}
	}}, {area: "record", look: d.record}}
	if d.set.Listen.Certificate != "" {
		checks = append(checks, check{area: "certificate", look: d.certificate})
	}
	for _, folder := range d.folders() {
		checks = append(checks, check{"disk", folder, func(_ context.Context, r *findings) { lookAtDisk(r, folder) }})
	}
	for _, name := range slices.Sorted(maps.Keys(d.set.Buckets)) {
		checks = append(checks, check{"bucket", name, func(ctx context.Context, r *findings) { d.bucket(ctx, r, name) }})
	}
	if d.set.Mail.Server != "" {
		checks = append(checks, check{"mail", d.set.Mail.Server, d.mail})
	}
	for i := range d.set.Customers {
		c := &d.set.Customers[i]
		if pipeline := d.streams[c.ID]; pipeline != nil {
			checks = append(checks, streamCheck(d.streamsEngine, pipeline, c))
		}
		for _, procedure := range procedures {
			checks = append(checks, check{"customer", c.ID + "/" + procedure, func(ctx context.Context, r *findings) { d.database(ctx, r, c, procedure) }})
		}
	}
	return checks, nil
}

// procedures are those that are looked for at customers: what was named, or the first of the catalogue that extracts data.
func (d *doctor) procedures() ([]string, error) {
	known := d.engine.Names()
	for _, name := range d.flags.procedures {
		if !slices.Contains(known, name) {
			return nil, usage("no procedure of the catalogue is called %q", name)
		}
	}
	if len(d.flags.procedures) > 0 {
		return d.flags.procedures, nil
	}
	for _, name := range known {
		if doc, _ := d.engine.Load(name); doc != nil && doc.Metadata.Class == "data" {
			return []string{name}, nil
		}
	}
	return known[:min(1, len(known))], nil
}

// record looks whether the record answers, at its clock, and at what expires in it.
func (d *doctor) record(ctx context.Context, r *findings) {
	if !d.set.Shared {
		if _, err := os.Stat(d.set.Directory); errors.Is(err, os.ErrNotExist) {
			r.fine("there is none yet: the first start makes it in %s", d.set.Directory)
			return
		}
		client, err := admin.Dial(ctx, d.set.Directory)
		if err == nil {
			defer client.Close()
			r.fine("a service runs with %s", d.set.Directory)
			d.keys(ctx, r, client)
			lookAtDeliveries(ctx, r, client)
			return
		}
		if !fault.Is(err, admin.CodeNotRunning) {
			r.wrong(err)
			return
		}
	}
	kept, err := openRecord(ctx, d.set, slog.New(slog.DiscardHandler))
	if err != nil {
		r.wrong(err)
		return
	}
	defer kept.Close()
	began := time.Now()
	clock, err := kept.Clock(ctx)
	if err != nil {
		r.wrong(err)
		return
	}
	took := time.Since(began)
	if skew := clock.Sub(began.Add(took / 2)); d.set.Shared && skew.Abs() > clockSkew+took {
		r.warn(fault.New(codeClock, fault.Usage, "its clock and this machine's differ by %v", skew.Round(time.Second)).WithHint("let both follow one (NTP)"))
	}
	r.fine("it answers within %v", took.Round(time.Millisecond))
	for _, w := range durability(kept) {
		r.warn(w)
	}
	key, err := dataKey(d.set)
	if err != nil {
		r.wrong(err)
		return
	}
	registry, err := service.Customers(ctx, d.set, kept, key, time.Now)
	if err != nil {
		r.wrong(err)
		return
	}
	manage := registry.Manage(customer.Actor{Who: "user:" + userName(), From: "local"})
	d.keys(ctx, r, manage)
	lookAtDeliveries(ctx, r, manage)
}

// mail looks whether the mail server lets the service in. Nothing is sent.
func (d *doctor) mail(ctx context.Context, r *findings) {
	m, err := service.Mailer(d.set)
	if err == nil {
		err = m.Check(ctx)
	}
	if err != nil {
		r.wrong(err)
		return
	}
	r.fine("it can be reached and lets the service in; nothing was sent")
}

// waitsLong is how long what customers are told may wait before it is worth a warning: a receiver may be down for some time.
const waitsLong = 24 * time.Hour

// lookAtDeliveries looks at what customers were not told.
func lookAtDeliveries(ctx context.Context, r *findings, m admin.Announcements) {
	found, err := m.Deliveries(ctx)
	if err != nil {
		r.wrong(err)
		return
	}
	if found.Dead > 0 {
		r.warn(fault.New(codeDeliveries, fault.Source, "%s deliveries to customers were given up", terminal.Grouped(found.Dead)).
			WithHint("the receivers' owners see why with cipherstream webhook deliveries --status dead, and have them sent again with webhook retry"))
	}
	oldest := time.Duration(found.OldestSeconds * float64(time.Second))
	if oldest > waitsLong {
		r.warn(fault.New(codeDeliveries, fault.Source, "of %s deliveries that wait the oldest has waited for %s", terminal.Grouped(found.Waiting), oldest.Round(time.Minute)).
			WithHint("where a service or a worker runs, its log says why: a receiver that is down, or the mail server"))
		return
	}
	r.fine("%s deliveries wait", terminal.Grouped(found.Waiting))
}

// allKeys are those that customers call with, and those that their deliveries are sealed with.
type allKeys interface {
	admin.Keys
	admin.SealingKeys
}

// keys looks at what expires or is used up, and at who cannot ask.
func (d *doctor) keys(ctx context.Context, r *findings, m allKeys) {
	for _, c := range d.set.Customers {
		d.sealingKeys(ctx, r, m, c.ID)
	}
	keys, err := m.ListKeys(ctx, "")
	if err != nil {
		r.wrong(err)
		return
	}
	active := map[string]int{}
	for _, k := range keys {
		if k.State != customer.KeyActive {
			continue
		}
		active[k.Customer]++
		if left := time.Until(k.ExpiresAt); !k.ExpiresAt.IsZero() && left < expiresSoon {
			r.warn(fault.New(codeKeys, fault.Usage, "key %s of %s expires on %s", k.ID, orOperators(k.Customer), moment(k.ExpiresAt)).
				WithHint("cipherstream key rotate %s makes another", k.ID))
		}
	}
	var without []string
	for _, c := range d.set.Customers {
		if active[c.ID] == 0 {
			without = append(without, c.ID)
		}
	}
	if len(without) > 0 {
		r.warn(fault.New(codeKeys, fault.Usage, "%s without a key that opens anything: %s", terminal.Counted(len(without), "customer"), strings.Join(without[:min(5, len(without))], ", ")).
			WithHint("cipherstream key create CUSTOMER"))
	}
}

// sealingKeys looks at how often keys were used that may seal more.
func (d *doctor) sealingKeys(ctx context.Context, r *findings, m admin.SealingKeys, id string) {
	keys, err := m.ListSealingKeys(ctx, id)
	switch {
	case fault.Is(err, customer.CodeUnknown):
		return // the service that runs has not read this document yet
	case err != nil:
		r.wrong(err)
		return
	}
	for _, k := range keys {
		if k.State != store.SealingRetired && k.NearlyUsedUp() {
			r.warn(fault.New(codeKeys, fault.Usage, "the sealing key %s of %s has sealed %d units, which is more than half of what it may", k.ID, id, k.Uses).
				WithHint("cipherstream customer key new %s makes another, and customer key activate has it used", id))
		}
	}
}

func orOperators(customer string) string {
	if customer == "" {
		return "operators"
	}
	return customer
}

// certificate looks at how long the certificate holds, and for whom.
func (d *doctor) certificate(_ context.Context, r *findings) {
	pair, err := tls.LoadX509KeyPair(d.set.Listen.Certificate, d.set.Listen.Key)
	if err != nil {
		r.wrong(fault.New(codeCertificate, fault.Usage, "certificate and key cannot be used: %w", err))
		return
	}
	end := pair.Leaf.NotAfter.UTC().Format(time.DateOnly)
	switch left := time.Until(pair.Leaf.NotAfter); {
	case left <= 0:
		r.wrong(fault.New(codeCertificate, fault.Usage, "the certificate ended on %s", end).WithHint("renew it, and send the service SIGHUP"))
	case left < expiresSoon:
		r.warn(fault.New(codeCertificate, fault.Usage, "the certificate ends on %s", end).WithHint("renew it, and send the service SIGHUP"))
	default:
		r.fine("it holds until %s", end)
	}
	for _, server := range d.set.Servers {
		if u, err := url.Parse(server); err == nil && u.Scheme == "https" && pair.Leaf.VerifyHostname(u.Hostname()) != nil {
			r.warn(fault.New(codeCertificate, fault.Usage, "the certificate is not for %s, which servers names", u.Hostname()).
				WithHint("where a proxy has that name and ends TLS itself, this is as it should be"))
		}
	}
}

// folders are those that the service writes to.
func (d *doctor) folders() []string {
	var out []string
	add := func(folder string) {
		if folder != "" && !slices.Contains(out, folder) {
			out = append(out, folder)
		}
	}
	add(d.set.Directory)
	add(d.set.Limits.Spool.Directory)
	if d.set.Limits.Spool.Directory == "" {
		add(os.TempDir())
	}
	for _, name := range slices.Sorted(maps.Keys(d.set.Buckets)) {
		if u, err := url.Parse(d.set.Buckets[name].URL); err == nil && u.Scheme == "file" {
			add(filepath.Clean(u.Path))
		}
	}
	return out
}

func lookAtDisk(r *findings, folder string) {
	at := folder
	for { // what is not there yet will be made
		if _, err := os.Stat(at); err == nil || at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	free, kind, err := space(at)
	switch {
	case err != nil:
		r.wrong(fault.New(codeDisk, fault.Usage, "%s cannot be looked at: %w", folder, err))
		return
	case free < diskTooFull:
		r.wrong(fault.New(codeDisk, fault.Sink, "%s is free", terminal.Bytes(free)).WithHint("make room"))
	case free < diskWarning:
		r.warn(fault.New(codeDisk, fault.Sink, "%s is free", terminal.Bytes(free)).WithHint("make room"))
	default:
		r.fine("%s is free", terminal.Bytes(free))
	}
	if kind != "" {
		r.warn(fault.New(codeDurability, fault.Usage, "the file system is %s", kind).WithHint("what has to outlive this machine's power belongs on a local disk"))
	}
}

// bucket writes, reads and removes an object.
func (d *doctor) bucket(ctx context.Context, r *findings, name string) {
	key, err := d.key()
	if err != nil {
		r.wrong(err)
		return
	}
	bucket, err := openBucket(d.set.Buckets[name], d.set, key)
	if err != nil {
		r.wrong(err)
		return
	}
	defer bucket.Close()
	content := []byte("cipherstream doctor " + rand.Text())
	object, err := put(ctx, bucket, "cipherstream-doctor-"+rand.Text(), content)
	if err != nil {
		r.wrong(err)
		return
	}
	began := time.Now()
	came, info, err := fetch(ctx, bucket, object)
	if err == nil && !bytes.Equal(came, content) {
		err = fault.New(codeObject, fault.Sink, "what was written to it is read otherwise")
	}
	if err := errors.Join(err, bucket.Delete(context.WithoutCancel(ctx), object)); err != nil {
		r.wrong(err)
		return
	}
	if skew := info.Modified.Sub(began); !inFolder(d.set.Buckets[name]) && skew.Abs() > bucketSkew {
		r.warn(fault.New(codeClock, fault.Usage, "its clock and this machine's differ by %v", skew.Round(time.Second)).WithHint("let both follow one (NTP); links and requests are signed with the time"))
	}
	r.fine("an object was written, read and removed")
	if d.set.Shared && inFolder(d.set.Buckets[name]) {
		r.warn(fault.New(codeDurability, fault.Usage, "it is a folder, and the record is shared by many machines").WithHint("each of them has to see the same folder; S3 is made for it"))
	}
}

// key is that of objects in folders. None is made here.
func (d *doctor) key() ([]byte, error) {
	if d.set.DataKey.Reveal() == "" {
		if _, err := os.Stat(filepath.Join(d.set.Directory, datakey.FileName)); errors.Is(err, os.ErrNotExist) {
			return make([]byte, 32), nil // what is written under it does not stay
		}
	}
	key, err := dataKey(d.set)
	if err != nil {
		return nil, err
	}
	return key.Derive("objects"), nil
}

func put(ctx context.Context, bucket object.Store, key string, content []byte) (string, error) {
	up, err := bucket.Create(ctx, key, object.About{ContentType: "text/plain"})
	if err != nil {
		return "", err
	}
	_, err = up.Write(content)
	if err == nil {
		_, err = up.Commit(ctx)
	}
	if err != nil {
		return "", errors.Join(err, up.Abort(context.WithoutCancel(ctx)))
	}
	return key, nil
}

func fetch(ctx context.Context, bucket object.Store, key string) ([]byte, object.Info, error) {
	in, info, err := bucket.Open(ctx, key, 0)
	if err != nil {
		return nil, info, err
	}
	came, err := io.ReadAll(in)
	return came, info, errors.Join(err, in.Close())
}

// database looks whether a customer's database has what a procedure needs, and lets the service have it.
func (d *doctor) database(ctx context.Context, r *findings, c *config.Customer, procedure string) {
	prepared, diags := d.engine.Prepare(procedure)
	if prepared == nil {
		r.wrong(diags.Err())
		return
	}
	plan, diags := prepared.Bind(engine.Inputs{
		Parameters: required(prepared.Document()), Timeout: d.flags.timeout, End: engine.EndCaller,
		Secrets:  func(name string) (string, bool) { return c.DSN.Reveal(), name == "dsn" },
		Customer: declared(c), Allow: engine.AllowList{Tables: c.Allow.Tables, Procedures: c.Allow.Procedures},
		Log: slog.New(slog.DiscardHandler),
	})
	if plan == nil {
		r.unchecked("%s needs to be told more than is known here (%s)", procedure, fault.From(diags.Err()).Message)
		return
	}
	if r.plan(ctx, d.engine, plan) {
		r.fine("its database answers, and has what %s needs", procedure)
	}
}

// declared is a customer as pipelines know it.
func declared(c *config.Customer) engine.Customer {
	attributes := map[string]any{}
	for name, value := range c.Attributes {
		attributes[name] = value
	}
	if c.TimeZone != "" {
		attributes["time_zone"] = c.TimeZone
	}
	return engine.Customer{ID: c.ID, Attributes: attributes}
}

// plan has the stages of a plan say what a run would fail with, and reports whether it would not.
func (f *findings) plan(ctx context.Context, e *engine.Engine, plan *engine.Plan) bool {
	found, err := e.Check(ctx, plan)
	if err != nil {
		f.wrong(err)
		return false
	}
	for _, one := range found.Findings {
		if one.Level == stage.LevelWrong || one.Level == stage.LevelWarning {
			f.add(one.Level, one.Fault)
		}
	}
	return found.Wrong() == nil
}

// required gives the parameters that have to be given, where a day is one.
func required(doc *engine.Document) map[string]any {
	given := map[string]any{}
	for _, p := range doc.Parameters {
		if p.Required && p.Type == "date" {
			given[p.Name] = time.Now().UTC().Format(time.DateOnly)
		}
	}
	return given
}

// durability is what the record says that it can lose.
func durability(kept record) (all []error) {
	if server, is := kept.(interface{ Warnings() []mysql.Warning }); is {
		for _, w := range server.Warnings() {
			all = append(all, fault.New(codeDurability, fault.Usage, "%s", w.Text).WithHint("%s", w.Hint))
		}
	}
	return all
}
