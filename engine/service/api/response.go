package api

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/delivery"
)

// The headers of an answer that is a result. Where it was kept before it was sent, rows and digest stand before the
// body, and otherwise behind it, as trailers.
const (
	headerMode   = "X-CipherStream-Mode"
	headerRun    = "X-CipherStream-Run"
	headerRows   = "X-CipherStream-Rows"
	headerDigest = "Repr-Digest"
)

// response is an answer that a delivery writes. It implements delivery.Response.
type response struct {
	x    *exchange
	form Form
	// decorate, if set, adds headers before the status is sent.
	decorate func(h http.Header, head delivery.Head)

	// hold keeps the last byte of an answer of known length back until release: who has it all may ask at once what became of
	// the request, which has to be written down by then.
	hold   bool
	body   *body
	closed atomic.Bool // cut
}

// Begin sends the status and the header.
func (r *response) Begin(head delivery.Head) (delivery.Body, error) {
	h := r.x.w.Header()
	h.Set("Content-Type", r.form.ContentType)
	if r.form.ContentEncoding != "" {
		h.Set("Content-Encoding", r.form.ContentEncoding)
	}
	h.Set("Content-Disposition", `attachment; filename="`+r.form.FileName(head.RunID)+`"`)
	h.Set(headerMode, modeStream)
	h.Set(headerRun, head.RunID)
	if head.Length >= 0 {
		h.Set("Content-Length", strconv.FormatInt(head.Length, 10))
		r.x.info.Rows = head.Rows
		setTotals(h, head.Rows, head.SHA256)
	} else {
		h.Set("Trailer", headerRows+", "+headerDigest)
	}
	if r.decorate != nil {
		r.decorate(h, head)
	}
	b := &body{x: r.x, control: http.NewResponseController(r.x.w), closed: &r.closed, hold: r.hold, left: head.Length}
	r.body = b
	b.deadline()
	r.x.w.WriteHeader(http.StatusOK)
	return b, nil
}

// Finish sends the trailers.
func (r *response) Finish(tail delivery.Tail) error {
	r.x.info.Rows = tail.Rows
	if r.x.w.Header().Get("Trailer") != "" {
		setTotals(r.x.w.Header(), tail.Rows, tail.SHA256)
	}
	return nil
}

// Cut makes the answer end in a way that is no end: the connection is closed, or the stream reset. The handler does it
// when it sees that the answer is cut; here a write that waits for the client is given up.
func (r *response) Cut() {
	r.closed.Store(true)
	_ = http.NewResponseController(r.x.w).SetWriteDeadline(time.Unix(1, 0))
}

// release sends what was held back.
func (r *response) release() error {
	if r.body == nil || len(r.body.held) == 0 {
		return nil
	}
	_, err := r.x.w.Write(r.body.held)
	return err
}

// setTotals says how many rows an answer has, and the digest of its bytes (RFC 9530).
func setTotals(h http.Header, rows int64, sha string) {
	h.Set(headerRows, strconv.FormatInt(rows, 10))
	if sum, err := hex.DecodeString(sha); err == nil {
		h.Set(headerDigest, "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":")
	}
}

// body is the body of an answer. A client that takes nothing for a while is as good as gone.
type body struct {
	x       *exchange
	control *http.ResponseController
	closed  *atomic.Bool
	until   time.Time
	hold    bool
	left    int64 // bytes that still come, of an answer of known length
	held    []byte
}

// deadline gives the client time for the next piece. It is moved on only now and then: to set it costs more than a write.
func (b *body) deadline() {
	now := time.Now()
	if b.until.Sub(now) > writeTimeout/2 || b.closed.Load() {
		return
	}
	b.until = now.Add(writeTimeout)
	_ = b.control.SetWriteDeadline(b.until)
	if b.closed.Load() {
		_ = b.control.SetWriteDeadline(time.Unix(1, 0)) // it was cut meanwhile
	}
}

func (b *body) Write(p []byte) (int, error) {
	b.deadline()
	send := p
	if b.left -= int64(len(p)); b.hold && b.left == 0 && len(p) > 0 {
		send, b.held = p[:len(p)-1], []byte{p[len(p)-1]}
	}
	n, err := b.x.w.Write(send)
	if err == nil {
		n = len(p)
	}
	return n, err
}

func (b *body) Flush() error {
	b.deadline()
	if b.hold {
		return nil // the end goes out when the handler returns
	}
	return b.control.Flush()
}
