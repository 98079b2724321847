// Package decrypt owns the command that opens a sealed delivery: where keys, receipt and
// delivery come from, where the rows go, and what is said about what was proved. It never
// opens an envelope itself: engine/decrypt does.
package decrypt

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/decrypt"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// receiptSuffix is what the name of a delivery's receipt has behind the delivery's own.
const receiptSuffix = ".receipt.json"

// decryptFlags are the flags of decrypt.
type decryptFlags struct {
	customer, keys, receipt, output, maxRow string
	expectRun, newerThan                    string
	decompress, requireReceipt              bool
}

// app is the execution of the command line that the commands belong to.
type app struct{ *session.Session }

// Commands are those of this package.
func Commands(s *session.Session) []*cobra.Command {
	a := &app{s}
	return session.Under(session.Reading, a.decryptCommand())
}

func (a *app) decryptCommand() *cobra.Command {
	var f decryptFlags
	c := &cobra.Command{
		Use:   "decrypt [FILE]",
		Short: "Open a sealed delivery",
		Long: `Open a sealed delivery: a file whose rows were sealed one by one (NDJSON), or any
file that was sealed in chunks; as it is, or within gzip, zip or zstd. Without
FILE, or with -, it is read from standard input.

The keys come from --keys or ` + session.EnvKeys + `: each is 32 bytes in base64, one a
line or with commas between them. --keys does not take a key, which others could
see in the list of processes, but says where the keys are: env:VARIABLE,
file:PATH, or command:PROGRAM ARGUMENTS, whose words are separated by spaces and
which is started without a shell.

A line that is missing, altered, not in its place, or another customer's is an
error that names it. What a line cannot show is whether the delivery is whole,
whether all of it is of one run, and whether it is not an old one: the receipt
does, which is authenticated with the same keys. Give it with --receipt;
FILE` + receiptSuffix + ` is used by itself. What contradicts it is refused, and so is
a receipt that was forged or is another customer's. An old delivery comes with a
receipt of its own: --expect-run and --newer-than tell it. Without a receipt, a
warning says what is not proved, and --require-receipt makes it an error.

What was compressed and then sealed comes out compressed; --decompress takes that
off too. So it is with every format but NDJSON, for which a zip archive holds
sealed lines of gzip.

A file given with -o appears under its name when everything was verified, with
the receipt where there is one, and only then. To standard output each row goes
when it has been opened: the exit code tells whether all was proved. -o /dev/null
checks a delivery and keeps nothing.`,
		Example: `  cipherstream decrypt appointments.ndjson.gz --customer practice-7 --keys file:keys.txt -o appointments.ndjson
  cipherstream decrypt appointments.ndjson --customer practice-7 --newer-than 2026-01-31T06:00:00Z -o rows.ndjson
  cipherstream decrypt appointments.csv.gz.sealed.ndjson --customer practice-7 --decompress | head`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return terminal.UsageFault("%s takes one file, but got %d arguments", c.CommandPath(), len(args))
			}
			return nil
		},
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			name := "-"
			if len(args) > 0 {
				name = args[0]
			}
			return a.decrypt(c.Context(), name, &f)
		}),
	}
	c.Flags().StringVar(&f.customer, "customer", "", "`ID` of the customer that the delivery is for; required")
	c.Flags().StringVar(&f.keys, "keys", "", "`WHERE` the keys are: env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS (default env:"+session.EnvKeys+")")
	c.Flags().StringVar(&f.receipt, "receipt", "", "`FILE` with the receipt of the delivery (default the delivery's name with "+receiptSuffix+", if there is one)")
	c.Flags().StringVar(&f.expectRun, "expect-run", "", "`ID` of the run that the delivery must be of; needs a receipt")
	c.Flags().StringVar(&f.newerThan, "newer-than", "", "`TIME` after which the run must have begun, 2026-01-31T06:00:00Z or a day in UTC; needs a receipt")
	c.Flags().BoolVar(&f.requireReceipt, "require-receipt", false, "refuse a delivery without a receipt")
	c.Flags().StringVarP(&f.output, "output", "o", "-", "write to `FILE`; - is standard output")
	c.Flags().BoolVar(&f.decompress, "decompress", false, "decompress what was sealed: gzip, zip or zstd")
	c.Flags().StringVar(&f.maxRow, "max-row-size", config.Size(decrypt.DefaultMaxUnit).String(), "`SIZE` of the largest row that is taken, which bounds memory")
	_ = c.MarkFlagFilename("receipt") // the flag exists
	return c
}

// decrypt opens a delivery.
func (a *app) decrypt(ctx context.Context, name string, f *decryptFlags) error {
	o, err := f.options(ctx)
	if err != nil {
		return err
	}
	if f.output == "-" {
		if err := a.CheckOutput("what is opened", "to check the delivery and throw the rows away, say so: -o /dev/null"); err != nil {
			return err
		}
	}
	in, err := a.openDelivery(name)
	if err != nil {
		return err
	}
	if in != a.In {
		defer in.Close()
	}
	receipt, err := f.findReceipt(name)
	if err != nil {
		return err
	}
	if receipt != "" {
		if o.Receipt, err = openReceipt(receipt, o.Ring); err != nil {
			return err
		}
	}
	out, err := session.OpenOutput(a.Terminal, f.output, in)
	if err != nil {
		return err
	}
	defer out.Discard()
	result, err := copyDelivery(ctx, out, in, o)
	if err != nil {
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	a.warnUnproved(&result)
	return a.reportDecrypted(result, out.Path(), receipt)
}

// options are those of the opener, but for the receipt.
func (f *decryptFlags) options(ctx context.Context) (decrypt.Options, error) {
	o := decrypt.Options{Customer: f.customer, Decompress: f.decompress, ExpectRun: f.expectRun, RequireReceipt: f.requireReceipt}
	maxRow, err := config.ParseSize(f.maxRow)
	switch {
	case f.customer == "":
		return o, terminal.UsageFault("no customer is given").WithHint("give --customer ID, as in the request for the data")
	case f.output == "":
		return o, terminal.UsageFault("--output names no file")
	case err != nil:
		return o, terminal.UsageFault("--max-row-size: %w", err)
	case maxRow < 1 || maxRow > 1<<30:
		return o, terminal.UsageFault("--max-row-size is from 1 to 1GiB, not %s", f.maxRow)
	}
	o.MaxUnit = int(maxRow)
	if o.NewerThan, err = parseMoment(f.newerThan); err != nil {
		return o, err
	}
	if err := envelope.CheckCustomer(f.customer); err != nil {
		return o, err
	}
	from := f.keys
	if from == "" {
		if os.Getenv(session.EnvKeys) == "" {
			return o, terminal.UsageFault("no keys are given").WithHint("set %s, or give --keys file:PATH", session.EnvKeys)
		}
		from = "env:" + session.EnvKeys
	}
	keys, err := session.ReadSecret(ctx, from)
	if err != nil {
		return o, err
	}
	o.Ring, err = envelope.ParseRing(keys, "")
	return o, err
}

// parseMoment reads a time, or a day, which begins at midnight in UTC. Nothing is the zero time.
func parseMoment(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t, err = time.Parse(time.DateOnly, text)
	}
	if err != nil {
		return t, terminal.UsageFault("--newer-than is %q, which is no time", text).WithHint("write 2026-01-31T06:00:00Z, or 2026-01-31")
	}
	return t, nil
}

// openDelivery opens the file, or standard input.
func (a *app) openDelivery(name string) (*os.File, error) {
	if name == "-" {
		switch {
		case terminal.IsTerminal(a.In):
			return nil, terminal.UsageFault("no delivery is given, and standard input is a terminal").WithHint("give the path of a file")
		case terminal.WasClosed(a.In):
			return nil, fault.New(terminal.CodeNoInput, fault.Usage, "no delivery is given, and standard input is closed").WithHint("give the path of a file")
		}
		return a.In, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, terminal.UsageFault("the delivery cannot be read: %w", err)
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, terminal.UsageFault("the delivery, %s, is a folder", name)
	}
	return f, nil
}

// findReceipt returns the path of the receipt, or nothing.
func (f *decryptFlags) findReceipt(name string) (string, error) {
	if f.receipt != "" || name == "-" {
		return f.receipt, nil
	}
	beside := name + receiptSuffix
	info, err := os.Stat(beside)
	switch {
	case err == nil && !info.Mode().IsRegular():
		// A pipe of that name would be waited for.
		return "", terminal.UsageFault("the receipt beside the delivery, %s, is not a file", beside)
	case err == nil:
		return beside, nil
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	}
	return "", terminal.UsageFault("the receipt beside the delivery cannot be read: %w", err)
}

func openReceipt(path string, ring *envelope.Ring) (*decrypt.Receipt, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, terminal.UsageFault("the receipt cannot be read: %w", err)
	}
	defer f.Close()
	receipt, err := decrypt.ReadReceipt(f, ring)
	if err != nil {
		return nil, fault.From(err).WithDetail("receipt", path)
	}
	return receipt, nil
}

// interruptGrace is how long an interrupted command waits for what it is doing.
const interruptGrace = time.Second

// copyDelivery opens the delivery. It comes back when ctx ends, even while nobody writes
// to in or reads from out; the goroutine that is stuck then ends with the program.
func copyDelivery(ctx context.Context, out *session.Output, in io.Reader, o decrypt.Options) (decrypt.Result, error) {
	type outcome struct {
		result decrypt.Result
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		buffered := bufio.NewWriterSize(out, 256<<10)
		result, err := decrypt.Copy(ctx, buffered, in, o)
		// What was verified goes out, whatever came after it.
		if flushErr := buffered.Flush(); err == nil {
			err = flushErr
		}
		done <- outcome{result, err}
	}()
	select {
	case end := <-done:
		return end.result, end.err
	case <-ctx.Done():
	}
	select {
	case <-done:
	case <-time.After(interruptGrace):
	}
	return decrypt.Result{}, context.Cause(ctx)
}

// warnUnproved says what nothing has shown.
func (a *app) warnUnproved(result *decrypt.Result) {
	if len(result.Unproved) == 0 {
		return
	}
	code, message, hint := "decrypt.no_receipt",
		"every line is authentic, but without a receipt it is not proved that the delivery is whole, that all of it is of one run, and that it is not an old one",
		"give the receipt of the delivery with --receipt FILE"
	if len(result.Proved) > 0 {
		code = "decrypt.freshness"
		message = fmt.Sprintf("the delivery is whole, of run %s, which began at %s; it is not proved that it is not an old one",
			result.RunID, result.Time.Format(time.RFC3339))
		hint = "give --expect-run ID or --newer-than TIME"
	}
	if a.JSON {
		// Nowhere is left to say that this failed; likewise below.
		_ = json.NewEncoder(a.Err).Encode(map[string]any{"warning": map[string]any{
			"code": code, "message": message, "hint": hint, "proved": result.Proved, "unproved": result.Unproved,
		}})
		return
	}
	fmt.Fprintf(a.Err, "warning[%s]: %s\n  help: %s\n", code, message, hint)
}

// reportDecrypted says what was opened, where that does not come among the data.
func (a *app) reportDecrypted(result decrypt.Result, path, receipt string) error {
	if path == "" {
		return nil
	}
	if a.JSON {
		return a.Print(func(w io.Writer) error {
			return terminal.WriteJSON(w, struct {
				decrypt.Result
				Output  string `json:"output"`
				Receipt string `json:"receipt,omitempty"`
			}{result, path, receipt})
		})
	}
	checked := ""
	if receipt != "" {
		checked = ", proved by " + diag.Printable(receipt)
	}
	lines := "lines"
	if result.Units == 1 {
		lines = "line"
	}
	fmt.Fprintf(a.Err, "%s sealed %s opened%s → %s (%s)\n", terminal.Grouped(result.Units), lines, checked, diag.Printable(path), terminal.Bytes(result.OutputBytes))
	return nil
}
