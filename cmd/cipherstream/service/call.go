package service

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/decrypt"
	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// envKey holds a customer's key.
const envKey = "CIPHERSTREAM_API_KEY"

// Codes of a call that fails here. One that the service refuses has codeRefused, and the service's code in its message.
const (
	codeRefused   = "call.refused"
	codeUnreached = "call.unreachable"
	codeCut       = "call.cut"
	codeDigest    = "call.digest"
	codeRows      = "call.rows"
	codeJob       = "call.job"
)

// unreached is the error of a service that does not answer. Addresses may hold what opens an object, and are not in it.
func (s *caller) unreached(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	f := fault.New(codeUnreached, fault.Connect, "%s cannot be asked: %w", s.server, err)
	var refused *tls.CertificateVerificationError
	switch {
	case errors.As(err, &refused):
		return f.WithHint("where the certificate is the service's own, give --pin with the pin that the service logs when it starts")
	case errors.Is(err, errPin):
		return f.WithHint("compare with the pin that the service logs when it starts: whoever answers may be somebody else")
	}
	return f.WithRetry()
}

// callFlags are the flags of call.
type callFlags struct {
	remote      remote
	customer    string
	parameters  []string
	format      string
	compression string
	mode        string
	encrypted   bool
	limit       int
	output      string
	keys        string
	wait        bool
	progress    string
}

func (a *app) callCommand() *cobra.Command {
	var f callFlags
	c := &cobra.Command{
		Use:   "call PROCEDURE",
		Short: "Fetch an answer of a service, and check that it is whole",
		Long: `Fetch the rows of a procedure from a service. They are written as they come; a file given
with -o appears under its name when it is whole, and only then: its digest and its number of rows
are those that the service says, in the header or behind the last byte. Its name says format and
compression, as for run: appointments.csv.gz. An answer that was cut is
an error, with the reason that the service gives.

A request that becomes a job, because --mode job asks for one or because its answer is too large, is
told with its id; with --wait its end is waited for, and its result fetched as by jobs download.
Without --wait an answer that was not asked to be a job and is one is an error: nothing was fetched.

With --decrypt, what comes is opened with the customer's encryption key, and held against the
receipt of the delivery.`,
		Example: `  export CIPHERSTREAM_API_KEY=cs_live_…
  cipherstream call appointments --server https://api.example.com --customer sunrise \
    -p from_date=2024-01-01 -p to_date=2024-01-31 -o appointments.csv
  cipherstream call patients --server https://api.example.com --customer sunrise --pin sha256:… \
    -p from_date=2024-01-01 -p to_date=2024-01-31 --encrypted --decrypt file:keys.txt -o patients.ndjson`,
		Args: a.oneArgument("one procedure"),
		RunE: a.Action(func(c *cobra.Command, args []string) error { return a.call(c.Context(), args[0], &f) }),
	}
	f.remote.flags(c, "a customer's key, env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS", envKey)
	c.Flags().StringVar(&f.customer, "customer", "", "`ID` of the customer whose data is asked for")
	c.Flags().StringArrayVarP(&f.parameters, "parameter", "p", nil, "`NAME=VALUE` of a field of the request; NAME:=JSON for what is no text (repeatable)")
	c.Flags().StringVarP(&f.format, "format", "f", "", "`FORMAT` of the answer: ndjson, json, csv, parquet or arrow (default by the name given with -o, or the service's)")
	c.Flags().StringVarP(&f.compression, "compression", "c", "", "`COMPRESSION` of the answer: none, gzip, zip or zstd (default by the name given with -o, or the service's)")
	c.Flags().StringVar(&f.mode, "mode", "", "`MODE` of the answer: auto, stream or job (default the service's)")
	c.Flags().BoolVar(&f.wait, "wait", false, "wait for a request that becomes a job, and fetch its result")
	c.Flags().StringVar(&f.progress, "progress", terminal.ProgressAuto, terminal.ProgressUsage)
	c.Flags().BoolVar(&f.encrypted, "encrypted", false, "have the answer encrypted with the customer's key")
	c.Flags().IntVar(&f.limit, "limit", 0, "a preview of so many `ROWS`")
	c.Flags().StringVarP(&f.output, "output", "o", "-", "write to `FILE`; - is standard output")
	c.Flags().StringVar(&f.keys, "decrypt", "", "open what comes with the encryption keys that `REFERENCE` names, and take compression off")
	return c
}

// request is the body. What it says of format, compression and encryption is in the flags then, however it was given.
func (f *callFlags) request() (map[string]any, error) {
	if f.customer == "" {
		return nil, terminal.UsageFault("no customer is given").WithHint("give --customer ID")
	}
	body := map[string]any{}
	for _, text := range f.parameters {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" || name == ":" {
			return nil, terminal.UsageFault("-p takes NAME=VALUE, and not %q", text).WithHint("write -p from_date=2024-01-01, or -p limit:=10 for a number")
		}
		raw, is := strings.CutSuffix(name, ":")
		if _, twice := body[raw]; twice {
			return nil, usage("-p %s is given twice", raw)
		}
		if body[raw] = value; is {
			if !json.Valid([]byte(value)) {
				return nil, usage("-p %s:= takes JSON, and %q is none", raw, value)
			}
			body[raw] = json.RawMessage(value)
		}
	}
	for name, value := range map[string]string{"customer_id": f.customer, session.FormatParameter: f.format, session.CompressionParameter: f.compression, "mode": f.mode} {
		if _, twice := body[name]; twice && value != "" {
			return nil, usage("%s is given by -p and by a flag of its own", name)
		}
		if value != "" {
			body[name] = value
		}
	}
	if f.encrypted || f.keys != "" {
		body["encrypted"] = true
	}
	if f.limit != 0 {
		body["limit"] = f.limit
	}
	// They may have come by -p.
	f.format, f.compression = textOf(body[session.FormatParameter]), textOf(body[session.CompressionParameter])
	f.encrypted = !slices.Contains([]string{"", "false"}, textOf(body["encrypted"]))
	return body, f.infer(body)
}

// textOf is a field of the body as text; empty where it is not there.
func textOf(value any) string {
	if raw, is := value.(json.RawMessage); is {
		if json.Unmarshal(raw, &value) != nil {
			return string(raw)
		}
	}
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

// infer asks for the format and the compression that the name of the output says, where nothing else says them, and refuses a
// name that says something else than what comes. What is opened has no compression left.
func (f *callFlags) infer(body map[string]any) error {
	if f.output == "-" || f.output == "" {
		return nil
	}
	said := session.ReadOutputName(f.output)
	sealed := f.encrypted && f.keys == ""
	if said.Sealed && !sealed {
		if f.keys != "" {
			return terminal.UsageFault("-o names %q, which is a sealed file's name, and with --decrypt it is opened", f.output).WithHint("give another name")
		}
		return session.NotSealed("-o", f.output)
	}
	var err error
	if f.format, err = said.Infer("-o", f.output, session.FormatParameter, f.format, sealed); err != nil {
		return err
	}
	switch {
	case f.keys == "":
		if f.compression, err = said.Infer("-o", f.output, session.CompressionParameter, f.compression, sealed); err != nil {
			return err
		}
	case said.Compression != "":
		return terminal.UsageFault("-o names %q, which is %s, and --decrypt takes compression off", f.output, said.Compression).
			WithHint("give a name without that ending")
	}
	for name, value := range map[string]string{session.FormatParameter: f.format, session.CompressionParameter: f.compression} {
		if _, given := body[name]; !given && value != "" {
			body[name] = value
		}
	}
	return nil
}

// summary is what a call came to.
type summary struct {
	Procedure string `json:"procedure"`
	RunID     string `json:"run_id,omitempty"`
	RequestID string `json:"request_id"`
	Mode      string `json:"mode,omitempty"`
	Rows      int64  `json:"rows"`
	// Counted says that the rows were counted here, too.
	Counted bool   `json:"rows_counted"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`
	Output  string `json:"output,omitempty"`
	// Opened is set when the answer was decrypted.
	Opened *decrypt.Result `json:"decrypted,omitempty"`
}

func (a *app) call(ctx context.Context, procedure string, f *callFlags) error {
	body, err := f.request()
	if err != nil {
		return err
	}
	s, err := f.remote.caller(ctx)
	if err != nil {
		return err
	}
	ring, err := readRing(ctx, f.keys)
	if err != nil {
		return err
	}
	if f.output == "-" {
		if err := a.CheckOutput("the rows", "to throw the rows away, say so: -o /dev/null"); err != nil {
			return err
		}
	}
	out, err := session.OpenOutput(a.Terminal, f.output, nil)
	if err != nil {
		return err
	}
	defer out.Discard()
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	answer, err := s.do(ctx, http.MethodPost, "/v1/procedures/"+url.PathEscape(procedure), text)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.Header.Get(headerMode) == "job" {
		out.Discard()
		return a.becameJob(ctx, s, answer, f, body["mode"] == "job", ring)
	}
	var done *summary
	if ring == nil {
		done, err = s.fetch(ctx, answer, out, f.format, f.encrypted)
	} else {
		done, err = s.fetchAndOpen(ctx, answer, out, f, ring)
	}
	if err != nil {
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	done.Procedure, done.Output = procedure, out.Path()
	if out.Path() == "" {
		return nil
	}
	return a.Print(func(w io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(w, done)
		}
		_, err := fmt.Fprintf(w, "%s: %s rows, %s, whole (run %s)\n", out.Path(), terminal.Grouped(done.Rows), terminal.Bytes(done.Bytes), done.RunID)
		return err
	})
}

// becameJob tells of the job that a request has become, or waits for it.
func (a *app) becameJob(ctx context.Context, s *caller, answer *http.Response, f *callFlags, asked bool, ring *envelope.Ring) error {
	j, text, err := readJob(answer)
	switch {
	case err != nil:
		return err
	case f.wait:
		return a.download(ctx, &customerJobs{&ofCustomer{s, f.customer}}, j.ID, &downloadFlags{output: f.output, progress: f.progress, wait: true}, ring)
	case !asked:
		return fault.New(codeJob, fault.Source, "the request has become job %s, and nothing was fetched", j.ID).WithDetail("job_id", j.ID).
			WithHint("cipherstream jobs download %s --wait fetches it; call --wait does so by itself", j.ID)
	}
	return a.answer(text, func(w io.Writer) error {
		pinned := ""
		if f.remote.pin != "" {
			pinned = " --pin " + f.remote.pin
		}
		_, err := fmt.Fprintf(w, "job %s is %s\n\n  cipherstream jobs download %s --wait --server %s --customer %s%s\n",
			j.ID, j.Status, j.ID, s.server, f.customer, pinned)
		return err
	})
}

// caller speaks to a service with a key.
type caller struct {
	client      *http.Client
	server, key string
}

// headers of answers.
const (
	headerRequest = "X-Request-Id"
	headerRun     = "X-Cipherstream-Run"
	headerMode    = "X-Cipherstream-Mode"
	headerRows    = "X-Cipherstream-Rows"
	headerDigest  = "Repr-Digest"
)

// do sends a request, with fields and values of its header by turns. An answer that is an error is one here.
func (s *caller) do(ctx context.Context, method, path string, body []byte, header ...string) (*http.Response, error) {
	answer, err := s.send(ctx, method, path, body, header...)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusAccepted {
		defer answer.Body.Close()
		return nil, refused(answer)
	}
	return answer, nil
}

// send is do of an answer that may be anything.
func (s *caller) send(ctx context.Context, method, path string, body []byte, header ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, s.server+path, bytes.NewReader(body))
	if err != nil {
		return nil, usage("the request cannot be made: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+s.key)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("User-Agent", "cipherstream/"+session.Version())
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return nil, s.unreached(ctx, err)
	}
	return answer, nil
}

// maxError bounds the body of an error, in bytes.
const maxError = 64 << 10

// refused is the error that an answer is.
func refused(answer *http.Response) error {
	var body struct {
		Error struct {
			Code, Message, Suggestion string
			Details                   json.RawMessage
		}
	}
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxError))
	class := fault.Source
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		class = fault.Connect
	case http.StatusBadRequest, http.StatusNotFound, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		class = fault.Usage // and not 409: nothing is wrong with what was asked, and a moment earlier or later it may be had
	}
	var f *fault.Fault
	if json.Unmarshal(text, &body) != nil || body.Error.Code == "" {
		f = fault.New(codeRefused, class, "the server answered %s, and not as a CipherStream service does", answer.Status).WithHint("check --server")
	} else {
		f = fault.New(codeRefused, class, "%s: %s", body.Error.Code, body.Error.Message).WithHint("%s", body.Error.Suggestion)
		if details := mistakes(body.Error.Details); details != "" {
			f = f.WithDetail("details", details)
		}
	}
	f = f.WithDetail("status", answer.Status)
	if id := answer.Header.Get(headerRequest); id != "" {
		f = f.WithDetail("request_id", id)
	}
	if after := answer.Header.Get("Retry-After"); after != "" {
		f = f.WithDetail("retry_after", after).WithRetry()
	}
	return f
}

// mistakes are the details of an error for a reader: every mistake with what to do about it. Details of another form, as
// a later service may have, are given as they came.
func mistakes(details json.RawMessage) string {
	var list []struct{ Code, Message, Suggestion string }
	if json.Unmarshal(details, &list) != nil {
		return strings.TrimSpace(string(details))
	}
	var told []string
	for _, d := range list {
		text := cmp.Or(d.Message, d.Code)
		if text == "" {
			return strings.TrimSpace(string(details))
		}
		if d.Suggestion != "" {
			text += " (" + strings.TrimSuffix(d.Suggestion, ".") + ")"
		}
		told = append(told, text)
	}
	return strings.Join(told, "; ")
}

// fetch writes the answer's body, and checks it.
func (s *caller) fetch(ctx context.Context, answer *http.Response, to io.Writer, format string, sealed bool) (*summary, error) {
	done := &summary{RequestID: answer.Header.Get(headerRequest), RunID: answer.Header.Get(headerRun), Mode: answer.Header.Get(headerMode)}
	sum := sha256.New()
	counter := newCounter(answer.Header.Get("Content-Type"), answer.Header.Get("Content-Encoding"), format, sealed)
	n, err := io.Copy(io.MultiWriter(writer{to}, sum, counter), answer.Body)
	rows, counted, countErr := counter.finish()
	var own *ownError
	switch {
	case errors.As(err, &own):
		return nil, own.err
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, s.why(done.RequestID, n, err)
	}
	done.Bytes, done.SHA256 = n, hex.EncodeToString(sum.Sum(nil))
	if err := checkDigest(answer, sum); err != nil {
		return nil, err
	}
	said, err := strconv.ParseInt(either(answer, headerRows), 10, 64)
	if err != nil {
		return nil, fault.New(codeRows, fault.Data, "the service did not say how many rows the answer has, so that it may not be whole")
	}
	if err := checkRows(said, rows, counted, countErr); err != nil {
		return nil, err
	}
	done.Rows, done.Counted = said, counted
	return done, nil
}

// checkRows holds what was counted against what the service has said.
func checkRows(said, rows int64, counted bool, countErr error) error {
	switch {
	case countErr != nil:
		return fault.New(codeRows, fault.Data, "the rows of the answer cannot be counted: %w", countErr)
	case counted && rows != said:
		return fault.New(codeRows, fault.Data, "the answer has %d rows, and the service says %d", rows, said)
	}
	return nil
}

// ownError is an error of what is written to, and not of what is read.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }

type writer struct{ to io.Writer }

func (w writer) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	if err != nil {
		err = &ownError{err}
	}
	return n, err
}

// either is a field of the header, or of the trailer.
func either(answer *http.Response, name string) string {
	if value := answer.Header.Get(name); value != "" {
		return value
	}
	return answer.Trailer.Get(name)
}

// checkDigest holds the bytes against the digest of RFC 9530.
func checkDigest(answer *http.Response, sum hash.Hash) error {
	field := either(answer, headerDigest)
	for item := range strings.SplitSeq(field, ",") {
		algorithm, value, _ := strings.Cut(strings.TrimSpace(item), "=")
		if algorithm != "sha-256" {
			continue
		}
		if value != ":"+base64.StdEncoding.EncodeToString(sum.Sum(nil))+":" {
			return fault.New(codeDigest, fault.Data, "what came is not what the service sent: its SHA-256 is another").WithRetry()
		}
		return nil
	}
	return fault.New(codeDigest, fault.Data, "the service sent no digest with the answer, so that it may not be whole").
		WithHint("a proxy between here and the service may drop trailers; mode auto sends the digest in the header")
}

// whyTime is how long the service may take to say why an answer was cut.
const whyTime = 5 * time.Second

// why asks the service for the reason of a cut answer.
func (s *caller) why(requestID string, n int64, cut error) error {
	f := fault.New(codeCut, fault.Source, "the answer was cut after %d bytes: %w", n, cut).WithRetry().WithDetail("request_id", requestID)
	ctx, cancel := context.WithTimeout(context.Background(), whyTime)
	defer cancel()
	answer, err := s.do(ctx, http.MethodGet, "/v1/requests/"+url.PathEscape(requestID), nil)
	if err != nil {
		return f
	}
	defer answer.Body.Close()
	var body struct {
		Status    string `json:"status"`
		ErrorCode string `json:"error_code"`
		Message   string `json:"error_message"`
		Error     struct{ Code, Message, Suggestion string }
	}
	if json.NewDecoder(io.LimitReader(answer.Body, maxError)).Decode(&body) != nil {
		return f
	}
	code, message := body.Error.Code, body.Error.Message
	if code == "" {
		code, message = body.ErrorCode, body.Message
	}
	if code == "" {
		return f
	}
	return fault.New(codeCut, fault.Source, "the answer was cut after %d bytes, because of %s: %s", n, code, message).
		WithHint("%s", body.Error.Suggestion).WithRetry().WithDetail("request_id", requestID)
}

// fetchAndOpen keeps the answer beside its output until all of it is there, and opens it then.
func (s *caller) fetchAndOpen(ctx context.Context, answer *http.Response, out *session.Output, f *callFlags, ring *envelope.Ring) (*summary, error) {
	kept, err := os.CreateTemp("", "cipherstream-call-") // mode 0600; sealed
	if err != nil {
		return nil, usage("the answer cannot be kept until it is whole: %w", err)
	}
	defer kept.Close()
	if err := os.Remove(kept.Name()); err != nil {
		return nil, err
	}
	done, err := s.fetch(ctx, answer, kept, f.format, true)
	if err != nil {
		return nil, err
	}
	receipt, err := s.do(ctx, http.MethodGet, "/v1/requests/"+url.PathEscape(done.RequestID)+"/receipt", nil)
	if err != nil {
		return nil, err
	}
	defer receipt.Body.Close()
	proof, err := decrypt.ReadReceipt(io.LimitReader(receipt.Body, maxError), ring)
	if err != nil {
		return nil, err
	}
	if _, err := kept.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	counter := begin(counting[cmp.Or(f.format, "ndjson")], "")
	opened, err := decrypt.Copy(ctx, io.MultiWriter(out, counter), kept, decrypt.Options{Ring: ring, Customer: f.customer, Receipt: proof, ExpectRun: done.RunID,
		RequireReceipt: true, Decompress: f.compression != "" && f.compression != "none"})
	done.Opened = &opened
	rows, counted, countErr := counter.finish()
	if err != nil {
		return done, err
	}
	done.Counted = done.Counted || counted
	return done, checkRows(done.Rows, rows, counted, countErr)
}
