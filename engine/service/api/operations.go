package api

import (
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// MaxBody bounds the body of a request, in bytes.
const MaxBody = 1 << 20

// authenticate says whose key the request has, and takes one of the key's requests of a policy.
func (x *exchange) authenticate(policy admission.Policy) *Error {
	p, e := x.principalOf()
	switch {
	case e != nil && e.Status == http.StatusUnauthorized:
		return x.anonymous(e)
	case e != nil:
		return e
	}
	x.principal = p
	x.info.KeyID, x.info.Customer = p.KeyID, p.Customer
	return x.take(policy, p.KeyID)
}

// principalOf is whose key the request has.
func (x *exchange) principalOf() (p customer.Principal, _ *Error) {
	given := x.r.Header.Values("Authorization")
	if len(given) == 0 {
		return p, fail(AuthenticationRequired)
	}
	bearer, err := customer.ParseBearer(given[0])
	if len(given) > 1 || err != nil {
		return p, fail(AuthenticationRequired).saying("The header Authorization is not one of the form Bearer KEY.")
	}
	if p, err = x.api.Customers.Authenticate(x.ctx, bearer, x.info.From); err != nil {
		return p, fromError(err)
	}
	return p, nil
}

// anonymous refuses a request with e. One that no good key came with is counted for its address, and refused for that when there
// were as many of them as there may be. Requests with a good key are not held up by what else comes from their address.
func (x *exchange) anonymous(e *Error) *Error {
	if e.Status != http.StatusUnauthorized {
		if _, unknown := x.principalOf(); unknown == nil {
			return e
		}
	}
	if limited := x.take(admission.Anonymous, admission.AddressKey(x.info.From)); limited != nil {
		return limited
	}
	return e
}

// take takes one of the requests of a policy that a key may make, and says in the header how many are left.
func (x *exchange) take(policy admission.Policy, key string) *Error {
	d := x.api.Admission.Take(policy, key)
	x.limit = &d
	if d.Limited {
		name := strconv.Quote(string(d.Policy))
		h := x.w.Header()
		h.Set("RateLimit-Policy", name+";q="+strconv.Itoa(d.Quota)+";w="+seconds(d.Window))
		h.Set("RateLimit", name+";r="+strconv.Itoa(d.Remaining)+";t="+seconds(d.Reset))
	}
	if d.Allowed {
		return nil
	}
	x.info.Policy = string(d.Policy)
	e := fail(RateLimited)
	e.RetryAfter = d.RetryAfter
	return e
}

// seconds are whole seconds, rounded up.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// body reads the body of the request, which has a deadline since the request came.
func (x *exchange) body() ([]byte, *Error) {
	r := x.r
	if r.Header.Get("Content-Encoding") != "" && !strings.EqualFold(r.Header.Get("Content-Encoding"), "identity") {
		return nil, fail(UnsupportedMediaType).saying("The body is compressed, which is not taken.")
	}
	if given := r.Header.Get("Content-Type"); given != "" {
		name, parameters, err := mime.ParseMediaType(given)
		if err != nil || name != typeJSON || parameters["charset"] != "" && !strings.EqualFold(parameters["charset"], "utf-8") {
			return nil, fail(UnsupportedMediaType)
		}
	}
	if r.ContentLength > MaxBody {
		x.closeAfter() // what comes is not read
		return nil, fail(BodyTooLarge)
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		x.closeAfter()
		return nil, fail(BodyTimeout)
	case err != nil && x.r.Context().Err() != nil:
		return nil, fail(ClientGone)
	case err != nil:
		x.closeAfter()
		return nil, fail(InvalidJSON).saying("The body ends before its end.")
	case len(raw) > MaxBody:
		x.closeAfter()
		return nil, fail(BodyTooLarge)
	}
	// From here on the connection is watched for the client's end.
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Time{})
	return raw, nil
}

// closeAfter ends the connection after the answer, as what else comes on it is not read. Of HTTP/2 it is the stream
// that ends, by itself: the connection is that of other requests as well, and clients told of its end have been seen
// to throw the answer away.
func (x *exchange) closeAfter() {
	if x.r.ProtoMajor == 1 {
		x.w.Header().Set("Connection", "close")
	}
}

// order makes an order of a call: its customer is one that the key may use.
func (x *exchange) order(p *procedure, c *call) (*order, *Error) {
	who, err := x.api.Customers.Customer(x.ctx, x.principal, c.customer, customer.Procedures)
	if err != nil {
		return nil, fromError(err)
	}
	x.info.Customer, x.info.Procedure, x.info.Mode, x.info.Format = who.ID, p.name, c.mode, c.format
	return &order{call: c, procedure: p, customer: who, form: FormOf(c.format, c.compression, c.encrypted, false)}, nil
}

// procedure answers POST /v1/procedures/{procedure}.
func (a *API) procedure(x *exchange, p *procedure) *Error {
	if e := x.authenticate(admission.Procedures); e != nil {
		return e
	}
	key, e := x.idempotencyKey()
	if e != nil {
		return e
	}
	raw, e := x.body()
	if e != nil {
		return e
	}
	q, e := x.readParameters()
	if e != nil {
		return e
	}
	for i := range q.details {
		q.details[i].Suggestion = "Fields stand in the body; the address takes no parameters."
	}
	c, e := p.read(raw, q.details...)
	if e != nil {
		return e
	}
	o, e := x.order(p, c)
	switch {
	case e != nil:
		return e
	case p.reference():
		a.reference(x, o, false)
		return nil
	}
	if e := x.mayHaveWebhook(o); e != nil {
		return e
	}
	o.key = key
	switch c.mode {
	case modeJob:
		return a.createJob(x, o)
	case modeAuto:
		release, e := a.reserve(x, o)
		if release == nil {
			return e
		}
		o.release = sync.OnceFunc(release)
		defer o.release()
	}
	a.answer(x, o)
	return nil
}

// rows answers GET /v1/procedures/{reference}/rows.
func (a *API) rows(x *exchange, name string) *Error {
	if e := x.authenticate(admission.Procedures); e != nil {
		return e
	}
	p := a.procedures[name]
	if p == nil {
		return a.unknownProcedure(name)
	}
	if !p.reference() {
		return fail(NotFound).saying("Only reference lists can be read so; POST /v1/procedures/" + p.name + " instead.")
	}
	c, e := p.readQuery(x.r.URL.RawQuery)
	if e != nil {
		return e
	}
	o, e := x.order(p, c)
	if e != nil {
		return e
	}
	a.reference(x, o, true)
	return nil
}

// request is what became of a request, as customers see it.
type requestBody struct {
	RequestID   string       `json:"request_id" doc:"Identifier of the request."`
	RunID       string       `json:"run_id" doc:"Identifier of its run: zip entry, file name, receipt and log use it."`
	CustomerID  string       `json:"customer_id" doc:"Whose data it was."`
	Procedure   string       `json:"procedure_name" doc:"What was asked for."`
	Mode        string       `json:"mode" doc:"How it was asked for."`
	Format      string       `json:"output_format" doc:"Format of the answer."`
	Status      store.Status `json:"status" enum:"running,completed,failed,cancelled" doc:"Where it stands."`
	StartedAt   string       `json:"started_at" format:"date-time" doc:"When it came."`
	EndedAt     string       `json:"ended_at,omitempty" format:"date-time" doc:"When it ended."`
	Rows        int64        `json:"rows" doc:"Rows that were delivered."`
	Bytes       int64        `json:"bytes" doc:"Bytes that were delivered."`
	SHA256      string       `json:"sha256,omitempty" doc:"Digest of these bytes, of a request that is completed."`
	JobID       string       `json:"job_id,omitempty" doc:"The job that it has become, where it was answered with one."`
	Reason      string       `json:"reason,omitempty" doc:"Why it has become a job."`
	HasReceipt  bool         `json:"has_receipt" doc:"Whether there is a receipt, as of every sealed answer that is completed."`
	ErrorCode   string       `json:"error_code,omitempty" doc:"Why it failed; see the table of errors."`
	Message     string       `json:"error_message,omitempty" doc:"Why it failed, for people."`
	Suggestion  string       `json:"suggestion,omitempty" doc:"What to do."`
	IsRetryable bool         `json:"retryable" doc:"Whether the same request may succeed later, unchanged."`
}

// timeText is how answers write a time.
func timeText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// lookUp finds a request of the key's customer.
func (a *API) lookUp(x *exchange, id string) (store.Request, *Error) {
	if e := x.authenticate(admission.Polling); e != nil {
		return store.Request{}, e
	}
	if e := x.noParameters(); e != nil {
		return store.Request{}, e
	}
	if _, err := a.Customers.Customer(x.ctx, x.principal, x.principal.Customer, customer.Procedures); err != nil {
		if fault.Is(err, customer.CodeUnknown) {
			return store.Request{}, fail(RequestNotFound)
		}
		return store.Request{}, fromError(err)
	}
	r, err := a.Requests.Request(x.ctx, x.principal.Customer, printable(id, 64))
	switch {
	case fault.Is(err, store.CodeUnknown):
		return r, fail(RequestNotFound)
	case err != nil:
		return r, fromError(err)
	case a.Now().Sub(r.StartedAt) > RequestAge:
		return r, fail(RequestNotFound)
	}
	return r, nil
}

// RequestAge is how long a request can be asked about. Whoever has the record keeps it as long.
const RequestAge = 24 * time.Hour

// request answers GET /v1/requests/{request_id}.
func (a *API) request(x *exchange, id string) *Error {
	r, e := a.lookUp(x, id)
	if e != nil {
		return e
	}
	out := requestBody{RequestID: r.ID, RunID: r.RunID, CustomerID: r.Customer, Procedure: r.Procedure, Mode: r.Mode, Format: r.Format,
		Status: r.Status, StartedAt: timeText(r.StartedAt), Rows: r.Rows, Bytes: r.Bytes, SHA256: r.SHA256,
		HasReceipt: len(r.Receipt) > 0, ErrorCode: r.Code, Message: r.Message}
	if !r.EndedAt.IsZero() {
		out.EndedAt = timeText(r.EndedAt)
	}
	if r.Reason != "" {
		out.JobID, out.Reason = r.RunID, r.Reason
	}
	if entry := entries[Code(r.Code)]; entry != nil {
		out.Suggestion, out.IsRetryable = entry.Suggestion, entry.Retryable
		if out.Message == "" {
			out.Message = entry.Meaning
		}
	}
	x.send(http.StatusOK, typeJSON, out)
	return nil
}

// receipt answers GET /v1/requests/{request_id}/receipt.
func (a *API) receipt(x *exchange, id string) *Error {
	r, e := a.lookUp(x, id)
	switch {
	case e != nil:
		return e
	case len(r.Receipt) == 0:
		return fail(ReceiptNotFound)
	}
	x.w.Header().Set("Content-Disposition", `attachment; filename="`+r.RunID+`.receipt.json"`)
	x.sendBytes(http.StatusOK, typeJSON, append(r.Receipt, '\n'))
	return nil
}
