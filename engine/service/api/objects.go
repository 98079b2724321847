package api

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/delivery"
	"github.com/cipherstream/cipherstream/engine/service/job"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// mostRanges is how many ranges are served in one answer. Who asks for more gets all of the object (RFC 9110, section
// 14.2): each range begins to read the object anew.
const mostRanges = 16

// object answers GET /v1/objects/{signed}: who has the link needs no key.
func (a *API) object(x *exchange) *Error {
	p, ok := a.open(x.r.PathValue("signed"))
	if !ok || a.Jobs == nil {
		return x.anonymous(fail(LinkInvalid))
	}
	x.info.Customer, x.info.KeyID = p.customer, p.key
	j, e := x.findJob(p.customer, p.job)
	switch {
	case e != nil && e.Code != JobNotFound:
		return e
	case e != nil || j.Status != store.Completed || j.Runs != p.runs || !j.ObjectRemoved.IsZero():
		return fail(ResultExpired)
	}
	x.info.Procedure, x.info.JobID = j.Procedure, j.ID
	return x.serveObject(j, store.Actor{Who: "link:" + p.key, From: x.info.From.String(), RequestID: x.info.RequestID})
}

// serveObject answers with the result of a job, or ranges of it. What conditions and ranges mean the standard library
// knows.
func (x *exchange) serveObject(j store.Job, by store.Actor) *Error {
	h := x.w.Header()
	h.Set("Content-Type", FormOf(j.Format, j.Compression, j.Encrypted, true).ContentType)
	h.Set("Content-Disposition", disposition(j))
	h.Set("ETag", `"`+j.SHA256+`"`)
	if sum, err := hex.DecodeString(j.SHA256); err == nil {
		h.Set(headerDigest, "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":")
	}
	r := x.r
	if strings.Count(r.Header.Get("Range"), ",") >= mostRanges {
		r = r.Clone(x.ctx)
		r.Header.Del("Range")
	}
	content := &objectReader{size: j.Size, open: func(offset int64) (io.ReadCloser, object.Info, error) {
		return x.api.Jobs.Open(x.ctx, j, offset, by)
	}}
	w := &rangeWriter{x: x, ready: content.begun}
	http.ServeContent(w, r, "", j.CompletedAt, content)
	failed := content.Close()
	if w.status < 400 && (failed != nil || w.failed != nil) && !w.begun {
		h.Del("Content-Range") // which a 416 has, and no other error
	}
	switch {
	case w.status == http.StatusRequestedRangeNotSatisfiable:
		return fail(RangeNotSatisfiable)
	case w.status == http.StatusPreconditionFailed:
		return fail(PreconditionFailed)
	case w.status >= 400:
		return fail(Internal)
	case w.failed != nil:
		gone := fault.New(delivery.CodeClientGone, fault.Sink, "the client did not take the object: %w", w.failed)
		x.giveUp(x.outcome(gone))
	case failed != nil:
		if fault.Is(failed, job.CodeNoObject) || fault.Is(failed, object.CodeMissing) {
			failed = fail(ResultExpired)
		}
		x.giveUp(x.outcome(failed))
	}
	w.begin() // where there is no body
	return nil
}

// rangeWriter sends what the standard library answers with, as soon as something of the object was read: until then
// what goes wrong can still be told. Errors are told by the table.
type rangeWriter struct {
	x      *exchange
	ready  func() bool
	status int
	held   bytes.Buffer // what stands before the first byte of the object, in an answer of several ranges
	begun  bool
	failed error // of the client
	until  time.Time
}

func (w *rangeWriter) Header() http.Header { return w.x.w.Header() }

func (w *rangeWriter) WriteHeader(status int) { w.status = status }

// begin sends the status and what was held back, once.
func (w *rangeWriter) begin() {
	if w.begun || w.status == 0 {
		return
	}
	w.begun = true
	w.deadline()
	w.x.w.WriteHeader(w.status)
	if w.held.Len() > 0 {
		_, w.failed = w.x.w.Write(w.held.Bytes())
	}
}

// deadline gives the client time for the next piece, now and then.
func (w *rangeWriter) deadline() {
	if now := time.Now(); w.until.Sub(now) < writeTimeout/2 {
		w.until = now.Add(writeTimeout)
		w.x.setWriteDeadline(writeTimeout)
	}
}

func (w *rangeWriter) Write(p []byte) (int, error) {
	switch {
	case w.status >= 400:
		return len(p), nil
	case !w.begun && !w.ready():
		return w.held.Write(p)
	}
	w.begin()
	w.deadline()
	n, err := w.x.w.Write(p)
	if err != nil && w.failed == nil {
		w.failed = err
	}
	return n, err
}

// objectReader reads an object from wherever it is told to, and opens it only to read.
type objectReader struct {
	size int64
	open func(offset int64) (io.ReadCloser, object.Info, error)

	mu     sync.Mutex // several ranges are read by a goroutine that may outlive the answer by a moment
	at     int64      // of the next byte
	body   io.ReadCloser
	read   bool // something was read
	failed error
	closed bool
}

var errClosed = errors.New("the object is no longer read")

// Seek moves to where the next byte is read.
func (r *objectReader) Seek(offset int64, whence int) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return r.at, errors.New("a place before the first byte")
	}
	if offset != r.at {
		r.release()
		r.at = offset
	}
	return r.at, nil
}

// begun reports whether something was read.
func (r *objectReader) begun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read
}

func (r *objectReader) release() {
	if r.body != nil {
		_ = r.body.Close()
		r.body = nil
	}
}

// Read reads. An object that ends before its size is an error, and never an end.
func (r *objectReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return 0, errClosed
	case r.failed != nil:
		return 0, r.failed
	case r.at >= r.size:
		return 0, io.EOF
	}
	if r.body == nil {
		body, info, err := r.open(r.at)
		if err != nil {
			r.failed = err
			return 0, err
		}
		if r.body = body; info.Size != r.size {
			r.failed = fault.New(codeOtherObject, fault.Sink, "the object has %d bytes, and the record says %d",
				info.Size, r.size)
			return 0, r.failed
		}
	}
	n, err := r.body.Read(p[:min(int64(len(p)), r.size-r.at)])
	r.at += int64(n)
	r.read = r.read || n > 0
	if err == io.EOF {
		if err = nil; r.at < r.size {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		r.failed = err
	}
	return n, err
}

// codeOtherObject is the code of an object that is not the one that the record names.
const codeOtherObject = "object.other"

// Close ends reading, and returns why it has failed.
func (r *objectReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.release()
	return r.failed
}
