package service

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/decrypt"
	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/mysqlurl"
)

// Codes of a download that fails here.
const (
	codeDownload = "jobs.download"
	codeLink     = "jobs.link"
)

// downloadFlags are the flags of jobs download.
type downloadFlags struct {
	output, keys, progress string
	wait                   bool
}

func (a *app) jobsDownloadCommand(f *customerFlags) *cobra.Command {
	var d downloadFlags
	c := &cobra.Command{
		Use:   "download JOB",
		Short: "Fetch the result of a job, and check that it is whole",
		Long: `Fetch the result of a job. What comes is kept in a file that ends in .part until it is all there, so
that a download that was broken off goes on from where it was; the file has its name when its size
and its SHA-256 are those of the job, and only then.

With --decrypt, what comes is opened with the customer's encryption key, and held against the
receipt in the job's manifest.`,
		Args: a.oneArgument("the id of one job"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			ring, err := readRing(c.Context(), d.keys)
			if err != nil {
				return err
			}
			s, err := f.jobs(c.Context())
			if err != nil {
				return err
			}
			return a.download(c.Context(), s, args[0], &d, ring)
		}),
	}
	c.Flags().StringVarP(&d.output, "output", "o", "", "write to `FILE`; - is standard output (default the result's own name, in this folder)")
	c.Flags().StringVar(&d.keys, "decrypt", "", "open what comes with the encryption keys that `REFERENCE` names, and take compression off")
	c.Flags().BoolVar(&d.wait, "wait", false, "wait until the job has ended")
	c.Flags().StringVar(&d.progress, "progress", terminal.ProgressAuto, terminal.ProgressUsage)
	session.Complete(c, "progress", cobra.FixedCompletions(terminal.ProgressModes, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// readRing reads encryption keys; none are given by an empty reference.
func readRing(ctx context.Context, reference string) (*envelope.Ring, error) {
	if reference == "" {
		return nil, nil
	}
	keys, err := session.ReadSecret(ctx, reference)
	if err != nil {
		return nil, err
	}
	return envelope.ParseRing(keys, "")
}

// download fetches the result of a job.
func (a *app) download(ctx context.Context, s *customerJobs, id string, f *downloadFlags, ring *envelope.Ring) error {
	if f.output == "-" {
		if err := a.CheckOutput("the rows", "to throw the rows away, say so: -o /dev/null"); err != nil {
			return err
		}
	}
	var j *remoteJob
	var err error
	if f.wait {
		j, _, err = a.await(ctx, s, id, f.progress)
	} else {
		j, _, _, err = s.job(ctx, id)
	}
	if err == nil {
		err = j.failed()
	}
	if err != nil {
		return err
	}
	if sum, err := hex.DecodeString(j.SHA256); err != nil || len(sum) != sha256.Size {
		return fault.New(codeDigest, fault.Data, "the service does not say the SHA-256 of the result, so that it may not be whole")
	}
	if ring != nil && !j.Encrypted {
		return usage("--decrypt is given, and the result of job %s is not encrypted", id)
	}
	name := f.output
	if name == "" {
		// What a server says is a name, and never a path.
		name = filepath.Base(filepath.Clean("/" + strings.ReplaceAll(j.FileName, `\`, "/")))
		if j.FileName == "" || name == "/" || strings.HasPrefix(name, ".") {
			name = filepath.Base(j.ID)
		}
		if ring != nil {
			name = strings.TrimSuffix(strings.TrimSuffix(name, ".zip"), ".sealed.ndjson") + ".opened"
		}
	}
	report, err := a.NewReporter(f.progress, false, name == "-" && terminal.IsTerminal(a.Out))
	if err != nil {
		return err
	}
	defer report.Clear()
	d := &fetching{customerJobs: s, job: j, pause: 500 * time.Millisecond, tries: 8}
	began := time.Now()
	d.told = func(n int64) {
		elapsed := time.Since(began)
		report.Show(elapsed, func() string {
			return fmt.Sprintf("%s of %s  %s/s  %s", terminal.Bytes(n), terminal.Bytes(j.Size), terminal.Bytes(report.Rate(elapsed, n)), terminal.Clock(elapsed))
		})
	}
	done := &summary{Procedure: j.Procedure, RunID: j.ID, Mode: "job", Rows: j.TotalRows, Bytes: j.Size, SHA256: j.SHA256}
	if done.Output, err = a.deliver(ctx, d, name, ring, done); err != nil {
		return err
	}
	report.Clear()
	if done.Output == "" {
		return nil
	}
	return a.Print(func(w io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(w, done)
		}
		_, err := fmt.Fprintf(w, "%s: %s rows, %s, whole (job %s)\n", done.Output, terminal.Grouped(done.Rows), terminal.Bytes(done.Bytes), done.RunID)
		return err
	})
}

// deliver fetches the result to where it is wanted, and returns the path; empty is standard output.
func (a *app) deliver(ctx context.Context, d *fetching, name string, ring *envelope.Ring, done *summary) (path string, err error) {
	if info, err := os.Stat(name); name == "-" || err == nil && info.Mode()&fs.ModeCharDevice != 0 {
		out, err := session.OpenOutput(a.Terminal, name, nil)
		if err != nil {
			return "", err
		}
		defer out.Discard()
		if ring == nil {
			if err := d.into(ctx, newReceived(out)); err != nil {
				return "", err
			}
			return out.Path(), out.Commit()
		}
		kept, err := os.CreateTemp("", "cipherstream-download-") // mode 0600; sealed
		if err != nil {
			return "", usage("the result cannot be kept until it is whole: %w", err)
		}
		defer kept.Close()
		if err := os.Remove(kept.Name()); err != nil {
			return "", err
		}
		if err := d.into(ctx, newReceived(kept)); err != nil {
			return "", err
		}
		return out.Path(), errors.Join(d.opened(ctx, kept, out, ring, done), out.Commit())
	}
	if path, err = session.OutputPath(name); err != nil {
		return "", err
	}
	part, err := openPart(path, d.job.SHA256)
	if err != nil {
		return "", err
	}
	defer part.close()
	if err := part.resume(ctx, d.job.Size); err != nil {
		return "", err
	}
	if err := d.into(ctx, part.received); err != nil {
		if fault.Is(err, codeDigest) {
			err = errors.Join(err, part.remove())
		}
		return "", err
	}
	if ring == nil {
		return path, part.commit(path)
	}
	out, err := session.OpenOutput(a.Terminal, name, nil)
	if err != nil {
		return "", err
	}
	defer out.Discard()
	if err := d.opened(ctx, part.file, out, ring, done); err != nil {
		return "", err
	}
	if err := out.Commit(); err != nil {
		return "", err
	}
	return out.Path(), part.remove()
}

// opened opens a whole delivery.
func (d *fetching) opened(ctx context.Context, from *os.File, to io.Writer, ring *envelope.Ring, done *summary) error {
	manifest, err := d.do(ctx, http.MethodGet, d.path(d.job.ID, "manifest"), nil)
	if err != nil {
		return err
	}
	defer manifest.Body.Close()
	var says struct {
		Receipt json.RawMessage `json:"receipt"`
	}
	if err := json.NewDecoder(io.LimitReader(manifest.Body, maxJob)).Decode(&says); err != nil {
		return fault.New(codeJobAnswer, fault.Source, "the server's answer is no manifest as a CipherStream service gives it").WithHint("check --server")
	}
	proof, err := decrypt.ReadReceipt(bytes.NewReader(says.Receipt), ring)
	if err != nil {
		return err
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return err
	}
	opened, err := decrypt.Copy(ctx, to, from, decrypt.Options{Ring: ring, Customer: d.customer, Receipt: proof, ExpectRun: d.job.ID, RequireReceipt: true,
		Decompress: d.job.Compression != "" && d.job.Compression != "none"})
	done.Opened = &opened
	return err
}

// received is what has come of a result.
type received struct {
	to   io.Writer
	sum  hash.Hash
	size int64
	// restart forgets all of it; nil where what was written is gone.
	restart func() error
}

func newReceived(to io.Writer) *received { return &received{to: to, sum: sha256.New()} }

func (r *received) Write(p []byte) (int, error) {
	n, err := r.to.Write(p)
	r.sum.Write(p[:n])
	r.size += int64(n)
	if err != nil {
		err = &ownError{err}
	}
	return n, err
}

// part is the file of a result that is on its way. Its name says which result it is of, by its SHA-256, so that the rest of
// another one never comes behind it.
type part struct {
	file     *os.File
	received *received
}

func openPart(path, sum string) (*part, error) {
	name := path + "." + sum[:12] + ".part"
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, terminal.UsageFault("the output cannot be written: %w", err).WithHint("create its folder first, or choose another")
	}
	p := &part{file: file, received: newReceived(file)}
	p.received.restart = p.empty
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(usage("%s is being written by another download", name), file.Close())
	}
	return p, nil
}

// resume reads what there is already.
func (p *part) resume(ctx context.Context, size int64) error {
	info, err := p.file.Stat()
	if err != nil {
		return p.failed(err)
	}
	if info.Size() > size {
		return p.empty()
	}
	n, err := io.Copy(p.received.sum, &endingReader{ctx, p.file})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p.received.size = n
	return p.failed(err)
}

// endingReader reads until ctx ends.
type endingReader struct {
	ctx context.Context
	io.Reader
}

func (r *endingReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}

func (p *part) empty() error {
	p.received.sum.Reset()
	p.received.size = 0
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return p.failed(err)
	}
	return p.failed(p.file.Truncate(0))
}

// commit gives it the result's name.
func (p *part) commit(path string) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the link stays
	}
	if err := p.file.Sync(); err != nil {
		return p.failed(err)
	}
	return p.failed(os.Rename(p.file.Name(), path))
}

func (p *part) remove() error { return p.failed(os.Remove(p.file.Name())) }

func (p *part) close() { _ = p.file.Close() } // what counts was synced

func (p *part) failed(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(terminal.CodeOutput, fault.Sink, "%s cannot be written: %w", p.file.Name(), err)
}

// fetching is a result that is being fetched: by a fresh link whenever one does not work, and from the byte on that is
// missing.
type fetching struct {
	*customerJobs
	job  *remoteJob
	told func(n int64)
	// pause is before another try, and doubles; tries is how many in a row may bring nothing.
	pause time.Duration
	tries int

	etag string // of what has come
}

// errAnother is that another object lies there than the one that was begun with.
var errAnother = errors.New("the result was replaced")

// into fetches what is missing, and checks that it is the result then.
func (d *fetching) into(ctx context.Context, to *received) error {
	pause, left, restarted := d.pause, d.tries, false
	for first := true; first && to.size == 0 || to.size < d.job.Size; first = false {
		before := to.size
		err := d.once(ctx, to)
		var own *ownError
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &own):
			return own.err
		case errors.Is(err, errAnother):
			if to.restart == nil || restarted {
				return fault.New(codeDigest, fault.Data, "another result than the one that was begun with is there now").WithRetry()
			}
			restarted, d.etag = true, ""
			if err := to.restart(); err != nil {
				return err
			}
			continue
		case err == nil && to.size >= d.job.Size:
			continue
		case err != nil && !passing(err) && !fault.Is(err, codeDownload):
			return err
		}
		if left--; to.size > before {
			pause, left = d.pause, d.tries
		}
		if left < 0 {
			if err == nil {
				err = fault.New(codeDownload, fault.Source, "the result ends too early, after %d of %d bytes", to.size, d.job.Size)
			}
			return err
		}
		select {
		case <-time.After(max(pause, retryAfter(err))):
			pause = min(2*pause, 15*time.Second)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if to.size != d.job.Size || hex.EncodeToString(to.sum.Sum(nil)) != d.job.SHA256 {
		return fault.New(codeDigest, fault.Data, "what came is not the result of the job: it has %d bytes and another SHA-256 than the job's %d bytes", to.size, d.job.Size).
			WithHint("fetch it again; if it comes again, tell whoever runs the service").WithRetry()
	}
	return nil
}

// once fetches by one link, as far as it goes.
func (d *fetching) once(ctx context.Context, to *received) error {
	answer, err := d.open(ctx, to.size)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	skip := int64(0)
	etag := answer.Header.Get("ETag")
	if strings.HasPrefix(etag, "W/") {
		etag = ""
	}
	if d.etag != "" && etag != d.etag {
		return errAnother
	}
	switch answer.StatusCode {
	case http.StatusOK:
		skip = to.size // no ranges there
	case http.StatusPartialContent:
		from, size, ok := contentRange(answer.Header.Get("Content-Range"))
		if !ok || from != to.size || size != d.job.Size {
			return errAnother
		}
	case http.StatusRequestedRangeNotSatisfiable:
		return errAnother
	}
	d.etag = etag
	body := io.LimitReader(answer.Body, d.job.Size+1) // a byte more is seen, and is too much
	if _, err := io.CopyN(io.Discard, body, skip); err != nil {
		return d.broken(ctx, err)
	}
	buffer := make([]byte, 256<<10)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
			d.told(to.size)
		}
		switch {
		case to.size > d.job.Size:
			return errAnother
		case err == io.EOF:
			return nil
		case err != nil:
			return d.broken(ctx, err)
		}
	}
}

// broken is the error of a download that broke off.
func (d *fetching) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fault.New(codeDownload, fault.Source, "the download broke off: %w", err).WithRetry()
}

// contentRange reads bytes FROM-TO/SIZE.
func contentRange(text string) (from, size int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes ")
	first, total, _ := strings.Cut(text, "/")
	begin, _, _ := strings.Cut(first, "-")
	from, err := strconv.ParseInt(begin, 10, 64)
	size, wrong := strconv.ParseInt(total, 10, 64)
	return from, size, ok && err == nil && wrong == nil
}

// open asks for the result from an offset on: the service, and where it sends us to.
func (d *fetching) open(ctx context.Context, offset int64) (*http.Response, error) {
	var header []string
	if offset > 0 {
		header = append(header, "Range", fmt.Sprintf("bytes=%d-", offset))
		if d.etag != "" {
			header = append(header, "If-Range", d.etag)
		}
	}
	answer, err := d.send(ctx, http.MethodGet, d.path(d.job.ID, "download"), nil, header...)
	if err != nil {
		return nil, err
	}
	switch answer.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		return answer, nil
	case http.StatusTemporaryRedirect:
		_ = answer.Body.Close()
		return d.follow(ctx, answer.Header.Get("Location"), header)
	}
	defer answer.Body.Close()
	return nil, refused(answer)
}

// follow follows a link. The key stays here.
func (d *fetching) follow(ctx context.Context, location string, header []string) (*http.Response, error) {
	base, err := url.Parse(d.server)
	if err != nil {
		return nil, err // it was checked
	}
	link, err := base.Parse(location)
	if err != nil || link.Host == "" || link.Scheme != "https" && link.Scheme != "http" {
		return nil, fault.New(codeLink, fault.Source, "the service gives no link to the result")
	}
	client := d.client
	if link.Scheme != base.Scheme || link.Host != base.Host {
		if link.Scheme == "http" && !mysqlurl.IsLoopback(link.Hostname()) {
			return nil, fault.New(codeLink, fault.Connect, "the result would come from %s in the clear", link.Host).
				WithHint("whoever runs the service gives its bucket an address of https")
		}
		// The store has a certificate of its own, and versions of TLS that the service has not.
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		transport.DisableCompression = true
		transport.DisableKeepAlives = true
		client = &http.Client{Transport: transport, CheckRedirect: d.client.CheckRedirect}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, link.String(), nil)
	if err != nil {
		return nil, fault.New(codeLink, fault.Source, "the service gives no link to the result")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	r.Header.Set("User-Agent", "cipherstream/"+session.Version())
	answer, err := client.Do(r)
	if err != nil {
		return nil, d.unreached(ctx, err)
	}
	switch answer.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		return answer, nil
	}
	_ = answer.Body.Close()
	// What a store says may hold parts of the link. A link that has ended is replaced by another.
	return nil, fault.New(codeDownload, fault.Source, "%s answers %s for the result", link.Host, answer.Status).WithRetry()
}

// jobAnswer is the answer of a request that has become a job.
type jobAnswer struct {
	ID      string `json:"job_id"`
	Status  string `json:"status"`
	Message string `json:"message"`
}

// readJob reads it, and gives it as it came as well.
func readJob(answer *http.Response) (j jobAnswer, text json.RawMessage, err error) {
	text, err = io.ReadAll(io.LimitReader(answer.Body, maxJob))
	if err == nil {
		err = json.Unmarshal(text, &j)
	}
	if err != nil || j.ID == "" {
		return j, nil, fault.New(codeJob, fault.Source, "the service made a job of the request, and does not say which")
	}
	return j, text, nil
}
