package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// modelOnce replaces the error model of the library of operations, which is a variable of its package.
var modelOnce sync.Once

// GetStatus is for the library of operations.
func (e *errorBody) GetStatus() int { return e.status }

// Error is for the library of operations.
func (e *errorBody) Error() string { return e.Body.Message }

// replaceModel makes the library's own errors ours. It makes none here, because it reads no input; what it may come
// to say in another version has our form.
func replaceModel() {
	modelOnce.Do(func() {
		huma.NewError = func(status int, _ string, _ ...error) huma.StatusError {
			e := fail(Internal)
			if status > 0 && status < 500 {
				e = fail(InvalidRequest)
			}
			return &errorBody{Body: errorObject{Code: e.Code, Message: e.Message, Details: []Detail{}, Suggestion: e.Suggestion}, status: e.Status}
		}
	})
}

const schemaPrefix = "#/components/schemas/"

// schemaNames are those of the types that operations share.
var schemaNames = map[string]string{
	"errorBody": "Error", "errorObject": "ErrorObject", "problemBody": "Problem", "listBody": "ProcedureList", "summaryBody": "ProcedureSummary",
	"describeBody": "Procedure", "parameterBody": "Parameter", "columnBody": "Column", "limitsBody": "Limits", "requestBody": "Request",
	"jobBody": "Job", "jobMetadata": "JobMetadata", "jobListBody": "JobList", "transitionBody": "JobTransition", "progressBody": "JobProgress",
	"auditListBody": "AuditList", "auditBody": "AuditRow", "webhookBody": "Webhook", "retryBody": "WebhookRetry", "secretBody": "WebhookSecret",
	"testBody": "WebhookTest", "deliveryBody": "Delivery", "attemptBody": "DeliveryAttempt", "deliveryListBody": "DeliveryList", "resentBody": "Resent",
	"announcedBody": "Maintenance",
	"scheduleBody":  "Schedule", "scheduleListBody": "ScheduleList", "scheduleWindowBody": "ScheduleWindow", "scheduleRunBody": "ScheduleRun",
	"scheduleStateBody": "ScheduleState",
	"dataStreamBody":    "DataStream", "dataStreamErrorBody": "DataStreamError",
	"dataStreamChannelBody": "DataStreamChannel",
	"dataStreamRequestBody": "DataStreamRequest", "resetBody": "DataStreamReset",
}

func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return or(schemaNames[t.Name()], huma.DefaultSchemaNamer(t, hint))
}

// Schema is for the library of operations: a code is one of the table.
func (Code) Schema(huma.Registry) *huma.Schema { return ref("ErrorCode") }

// register makes the operations, and the document that describes them.
func (a *API) register() error {
	replaceModel()
	registry := huma.NewMapRegistry(schemaPrefix, schemaName)
	document := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info:    &huma.Info{Title: "CipherStream API", Version: or(a.Version, "0.0.0"), Description: introduction},
		Components: &huma.Components{Schemas: registry, Responses: map[string]*huma.Response{}, SecuritySchemes: map[string]*huma.SecurityScheme{
			"bearer": {Type: "http", Scheme: "bearer", Description: "An API key of the customer: cs_live_… or cs_demo_…."}}},
		Security: []map[string][]string{{"bearer": {}}},
		Tags:     a.tags(),
	}
	for _, server := range a.Servers {
		document.Servers = append(document.Servers, &huma.Server{URL: strings.TrimSuffix(server, "/")})
	}
	if len(document.Servers) == 0 {
		document.Servers = []*huma.Server{{URL: "/"}}
	}
	library := humago.New(a.mux, huma.Config{OpenAPI: document, Formats: huma.DefaultFormats, DefaultFormat: typeJSON})
	d := &describer{api: a, library: library, registry: registry, document: document}
	d.components()
	for _, name := range a.names {
		d.procedure(a.procedures[name])
	}
	d.others()
	d.jobs()
	d.schedules()
	d.webhooks()
	d.dataStreams()
	d.maintenance()
	a.mux.HandleFunc("POST /v1/procedures/{procedure}", handler(func(x *exchange) *Error {
		if e := x.authenticate("procedures"); e != nil {
			return e
		}
		return a.unknownProcedure(x.r.PathValue("procedure"))
	}))
	a.mux.HandleFunc("GET /openapi.json", handler(func(x *exchange) *Error {
		x.sendDocument("application/json", a.document)
		return nil
	}))
	if err := a.documentation(); err != nil {
		return err
	}
	a.mux.HandleFunc("/", handler(a.nothing))
	var err error
	if a.document, err = json.Marshal(document); err != nil {
		return fmt.Errorf("api: the OpenAPI document: %w", err)
	}
	return nil
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// handler runs an operation. Its error is the answer.
func handler(operation func(x *exchange) *Error) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		x := exchangeOf(r.Context())
		x.r = r
		if e := operation(x); e != nil {
			x.giveUp(e)
		}
	}
}

// nothing answers where there is nothing, or nothing by that method.
func (a *API) nothing(x *exchange) *Error {
	var allow []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		other := x.r.Clone(x.ctx)
		other.Method = method
		if _, pattern := a.mux.Handler(other); pattern != "/" && pattern != "" {
			allow = append(allow, method)
		}
	}
	if len(allow) == 0 {
		return x.anonymous(fail(NotFound))
	}
	if slices.Contains(allow, http.MethodGet) {
		allow = append(allow, http.MethodHead)
	}
	x.w.Header().Set("Allow", strings.Join(allow, ", "))
	return x.anonymous(fail(MethodNotAllowed))
}

func (a *API) tags() (out []*huma.Tag) {
	seen := map[string]bool{}
	for _, name := range a.names {
		if c := a.procedures[name].doc.Metadata.Category; !seen[c] {
			seen[c] = true
			out = append(out, &huma.Tag{Name: c})
		}
	}
	slices.SortFunc(out, func(a, b *huma.Tag) int { return strings.Compare(a.Name, b.Name) })
	return append(out, &huma.Tag{Name: tagCatalogue, Description: "What can be asked for."}, &huma.Tag{Name: tagRequests, Description: "What became of requests."},
		&huma.Tag{Name: tagJobs, Description: "Results that are made in the background, and are fetched when they are there."},
		&huma.Tag{Name: tagSchedules, Description: "Jobs that are made again and again."},
		&huma.Tag{Name: tagWebhooks, Description: "What is told of jobs, maintenance and limits, and how it went."},
		&huma.Tag{Name: tagDataStream, Description: "Every change of the practice's database, sent to a web service of the customer's."},
		&huma.Tag{Name: tagOperators, Description: "What operators do, with a key of their own from their own networks."},
		&huma.Tag{Name: tagAudit, Description: "What was done with the customer's data, and by whom."})
}

const (
	tagCatalogue = "Catalogue"
	tagRequests  = "Requests"
	tagJobs      = "Jobs"
	tagWebhooks  = "Webhooks"
	tagOperators = "Operators"
	tagAudit     = "Audit"
)

// describer registers operations.
type describer struct {
	api      *API
	library  huma.API
	registry huma.Registry
	document *huma.OpenAPI
}

// operation registers an operation. The library routes it and describes it; the rest is ours.
func (d *describer) operation(op huma.Operation, run func(x *exchange) *Error) {
	serve := handler(run)
	body := op.RequestBody
	op.RequestBody = nil // or the library would read and check it
	huma.Register(d.library, op, func(context.Context, *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			serve(w, r)
		}}, nil
	})
	if body != nil {
		item := d.document.Paths[op.Path]
		for _, o := range []*huma.Operation{item.Post, item.Put} {
			if o != nil && o.Method == op.Method {
				o.RequestBody = body
			}
		}
	}
}

// errors adds the answers that are errors. Those that are the same everywhere stand in the document once.
func (d *describer) errors(responses map[string]*huma.Response, codes []Code) {
	byStatus := map[int][]Code{}
	for _, c := range codes {
		byStatus[entries[c].Status] = append(byStatus[entries[c].Status], c)
	}
	for status, codes := range byStatus {
		slices.Sort(codes)
		name := fmt.Sprint("Status", status)
		for n := 2; ; n++ {
			known, ok := d.document.Components.Responses[name]
			if !ok {
				d.document.Components.Responses[name] = d.errorResponse(codes)
				break
			}
			if slices.Equal(known.Extensions["x-error-codes"].([]Code), codes) {
				break
			}
			name = fmt.Sprint("Status", status, "-", n)
		}
		responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/" + name}
	}
}

// errorResponse describes an answer that is one of these errors.
func (d *describer) errorResponse(codes []Code) *huma.Response {
	var text strings.Builder
	for _, c := range codes {
		fmt.Fprintf(&text, "* `%s`: %s %s\n", c, entries[c].Meaning, entries[c].Suggestion)
	}
	e := entries[codes[0]]
	headers := d.headers("X-Request-Id")
	if slices.ContainsFunc(codes, func(c Code) bool { return entries[c].Retryable }) {
		headers = d.headers("X-Request-Id", "Retry-After")
	}
	if slices.Contains(codes, RangeNotSatisfiable) {
		headers = d.headers("X-Request-Id", "Content-Range")
	}
	return &huma.Response{
		Description: text.String(), Headers: headers,
		Content: map[string]*huma.MediaType{
			typeJSON: {Schema: ref("Error"), Example: map[string]any{"error": map[string]any{
				"code": e.Code, "message": e.Meaning, "details": []any{}, "timestamp": "2024-02-01T03:04:05.678Z",
				"request_id": "req_0123456789abcdef01234567", "suggestion": e.Suggestion, "retryable": e.Retryable}}},
			typeProblem: {Schema: ref("Problem")},
		},
		Extensions: map[string]any{"x-error-codes": codes},
	}
}

func ref(name string) *huma.Schema { return &huma.Schema{Ref: schemaPrefix + name} }

// headerDocs are the headers of answers.
var headerDocs = map[string]struct{ text, kind string }{
	"X-Request-Id":        {"Identifier of the request, made by the service.", huma.TypeString},
	headerMode:            {"How the result comes: stream, or job.", huma.TypeString},
	headerRun:             {"Identifier of the run; of a job its job_id.", huma.TypeString},
	headerReplayed:        {"true of a job that an earlier request with this Idempotency-Key has made.", huma.TypeBoolean},
	"Location":            {"Address of the job, or of its result.", huma.TypeString},
	"Link":                {"Address of the job's events, as rel=monitor.", huma.TypeString},
	"Preference-Applied":  {"What of Prefer was followed.", huma.TypeString},
	"Accept-Ranges":       {"bytes", huma.TypeString},
	"Content-Range":       {"Which bytes come, of how many.", huma.TypeString},
	"Content-Length":      {"How many bytes come.", huma.TypeInteger},
	"Last-Modified":       {"When the job completed.", huma.TypeString},
	headerRows:            {"Number of rows: a header where the answer was whole before it was sent, and a trailer otherwise.", huma.TypeInteger},
	headerDigest:          {"SHA-256 of the body as it was sent (RFC 9530): a header or a trailer, as with the rows.", huma.TypeString},
	"Content-Encoding":    {"gzip or zstd, where that is the outermost layer. It is what compression asks for; Accept-Encoding changes nothing.", huma.TypeString},
	"Content-Disposition": {"Name for a file.", huma.TypeString},
	"Age":                 {"Seconds since the reference list was read from the database; only of one that was kept.", huma.TypeInteger},
	"ETag":                {"Digest of the answer, for If-None-Match.", huma.TypeString},
	"RateLimit":           {"What is left of the key's requests.", huma.TypeString},
	"RateLimit-Policy":    {"How many requests the key has.", huma.TypeString},
	"Retry-After":         {"Seconds after which to ask again.", huma.TypeInteger},
}

func (d *describer) headers(names ...string) map[string]*huma.Param {
	out := map[string]*huma.Param{}
	for _, name := range names {
		h := headerDocs[name]
		out[name] = &huma.Param{Description: h.text, Schema: &huma.Schema{Type: h.kind}}
	}
	return out
}

// sendDocument answers with bytes that change with the program alone.
func (x *exchange) sendDocument(contentType string, body []byte) {
	tag := documentTag(body)
	h := x.w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "no-cache")
	if matches(x.r.Header.Values("If-None-Match"), tag) {
		x.sendBytes(http.StatusNotModified, contentType, nil)
		return
	}
	x.sendBytes(http.StatusOK, contentType, body)
}
