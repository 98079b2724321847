package api

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	typeJSON    = "application/json"
	typeProblem = "application/problem+json"
)

// errorBody is an error as it is sent.
type errorBody struct {
	Body   errorObject `json:"error" doc:"The error."`
	status int
}

type errorObject struct {
	Code       Code     `json:"code" doc:"What went wrong; see the table of errors."`
	Message    string   `json:"message" doc:"What went wrong, for people."`
	Details    []Detail `json:"details" nullable:"false" doc:"Every mistake of the request, or what is known of the cause."`
	Timestamp  string   `json:"timestamp" format:"date-time" doc:"When, in UTC."`
	RequestID  string   `json:"request_id" doc:"Identifier of the request, also in the header X-Request-Id."`
	Suggestion string   `json:"suggestion,omitempty" doc:"What to do."`
	Retryable  bool     `json:"retryable" doc:"Whether the same request may succeed later, unchanged."`
}

// problemBody is an error in the form of RFC 9457, for who asks for it.
type problemBody struct {
	Type       string   `json:"type" format:"uri-reference" doc:"Address of the error's documentation."`
	Title      string   `json:"title" doc:"What the code means."`
	Status     int      `json:"status" doc:"Status of the answer."`
	Detail     string   `json:"detail" doc:"What went wrong, for people."`
	Instance   string   `json:"instance" format:"uri-reference" doc:"Where to ask what became of the request."`
	Code       Code     `json:"code" doc:"What went wrong; see the table of errors."`
	Details    []Detail `json:"details" nullable:"false" doc:"Every mistake of the request, or what is known of the cause."`
	Timestamp  string   `json:"timestamp" format:"date-time" doc:"When, in UTC."`
	RequestID  string   `json:"request_id" doc:"Identifier of the request."`
	Suggestion string   `json:"suggestion,omitempty" doc:"What to do."`
	Retryable  bool     `json:"retryable" doc:"Whether the same request may succeed later, unchanged."`
}

// errorsPage is where the errors are documented.
const errorsPage = "/docs/errors"

// fail answers with an error. When an answer was begun it cannot be taken back: it is cut.
func (x *exchange) fail(e *Error) {
	x.failure = e
	if x.w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	h := x.w.Header()
	for _, name := range []string{"Content-Encoding", "Content-Disposition", "Content-Length", "Trailer", "ETag", "Age", "Repr-Digest", "X-CipherStream-Rows",
		"Last-Modified", "Accept-Ranges"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	if e.Retryable {
		h.Set("Retry-After", seconds(max(time.Second, e.RetryAfter)))
	}
	challenge(h, e)
	body := e.body(x.info.RequestID, x.api.Now())
	if wantsProblem(x.r.Header.Values("Accept")) {
		x.send(e.Status, typeProblem, problemBody{
			Type: errorsPage + "#" + string(e.Code), Title: e.Meaning, Status: e.Status, Detail: e.Message,
			Instance: "/v1/requests/" + x.info.RequestID, Code: e.Code, Details: body.Body.Details, Timestamp: body.Body.Timestamp,
			RequestID: x.info.RequestID, Suggestion: e.Suggestion, Retryable: e.Retryable,
		})
		return
	}
	x.send(e.Status, typeJSON, body)
}

// body is the error as it is sent.
func (e *Error) body(requestID string, now time.Time) errorBody {
	details := e.Details
	if details == nil {
		details = []Detail{}
	}
	return errorBody{Body: errorObject{
		Code: e.Code, Message: e.Message, Details: details, Timestamp: timeText(now),
		RequestID: requestID, Suggestion: e.Suggestion, Retryable: e.Retryable,
	}}
}

// challenge says which authentication is wanted, where there was none (RFC 9110, section 11.6.1).
func challenge(h http.Header, e *Error) {
	if e.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="CipherStream"`)
	}
}

// wantsProblem reports whether the client names the media type of RFC 9457.
func wantsProblem(accept []string) bool {
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, parameters, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err == nil && name == typeProblem && parameters["q"] != "0" {
			return true
		}
	}
	return false
}

// send answers with a JSON value.
func (x *exchange) send(status int, contentType string, value any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		panic("api: an answer cannot be encoded: " + err.Error())
	}
	x.sendBytes(status, contentType, b.Bytes())
}

// writeTimeout is how long a client may take to accept a piece of an answer.
const writeTimeout = 30 * time.Second

func (x *exchange) sendBytes(status int, contentType string, body []byte) {
	h := x.w.Header()
	h.Set("Content-Type", contentType)
	if status != http.StatusNotModified {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(writeTimeout))
	x.w.WriteHeader(status)
	if status != http.StatusNotModified && x.r.Method != http.MethodHead {
		_, _ = x.w.Write(body)
	}
}
