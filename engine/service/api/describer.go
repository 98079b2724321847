package api

import (
	"maps"
	"net/http"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cipherstream/cipherstream/engine/service/binding"
	"github.com/cipherstream/cipherstream/engine/service/job"
)

// introduction stands at the head of the document.
const introduction = `Extracts of a dental practice's database: 38 procedures and custom tables, as NDJSON, JSON, CSV, Parquet or Arrow, compressed and
sealed if wanted.

Ask with ` + "`POST /v1/procedures/{procedure}`" + `, an API key and a JSON body. An answer that ends early is cut: the connection is closed
or the stream reset, and ` + "`GET /v1/requests/{request_id}`" + ` says why. What is large, or is asked for with ` + "`mode: job`" + `, is made in the background: see Jobs.
Guides: [/docs](/docs).`

// commonCodes are errors of every operation, and runCodes those of a result.
var (
	commonCodes = []Code{AuthenticationRequired, InvalidAPIKey, IPNotAllowed, ScopeMissing, CustomerDisabled, RateLimited, Internal,
		RecordUnavailable, ShuttingDown}
	runCodes = []Code{UnknownField, DuplicateField, MissingParameter, InvalidParameter, InvalidRequest, CustomerNotFound,
		NoSealingKey, TooManyStreams, SourceFailed, DataRefused, SchemaChanged, StageFailed, DatabaseUnavailable, DatabaseBusy, TimeLimit,
		ServiceBusy, SpoolFull, SealingExhausted}
	bodyCodes = []Code{InvalidJSON, BodyTimeout, BodyTooLarge, UnsupportedMediaType, ConflictingParameters}
)

// components are the schemas that operations share.
func (d *describer) components() {
	codes := make([]any, 0, len(table))
	rows := make([]any, 0, len(table))
	for _, e := range table {
		codes = append(codes, e.Code)
		rows = append(rows, map[string]any{"code": e.Code, "status": e.Status, "meaning": e.Meaning, "suggestion": e.Suggestion, "retryable": e.Retryable})
	}
	d.registry.Map()["ErrorCode"] = &huma.Schema{Type: huma.TypeString, Enum: codes, Description: "What went wrong. Codes may be added.",
		Extensions: map[string]any{"x-errors": rows}}
	for _, value := range []any{errorBody{}, problemBody{}, listBody{}, describeBody{}, requestBody{}, binding.Receipt{},
		jobBody{}, jobListBody{}, transitionBody{}, progressBody{}, auditListBody{}, job.Manifest{},
		webhookBody{}, secretBody{}, testBody{}, deliveryBody{}, deliveryListBody{}, resentBody{}, announcedBody{},
		scheduleBody{}, scheduleListBody{}, dataStreamBody{}, resetBody{}} {
		d.registry.Schema(reflect.TypeOf(value), true, "")
	}
	forms := map[bool][]any{}
	for _, f := range Forms() {
		forms[f.Job] = append(forms[f.Job], map[string]any{"output_format": f.Format, "compression": f.Compression, "encrypted": f.Sealed,
			"content_type": f.ContentType, "content_encoding": f.ContentEncoding, "file_name": f.FileName("{run_id}"), "zip_entry": entryDoc(f)})
	}
	d.document.Extensions = map[string]any{"x-answers": forms[false], "x-results": forms[true]}
	d.registry.Map()["SealedLine"] = &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false, Required: []string{"encrypted_data"},
		Description: "A sealed line: a row where output_format is ndjson, and otherwise a chunk of the file.",
		Properties: map[string]*huma.Schema{"encrypted_data": {Type: huma.TypeString, Pattern: `^[0-9a-f]{16}:[A-Za-z0-9+/]{16}:[A-Za-z0-9+/]+=*$`,
			Description: "key_id:iv_b64:ciphertext_plus_tag_b64, AES-256-GCM with the AAD stream:{customer_id}:{row_index}."}}}
}

func entryDoc(f Form) string {
	if f.Entry == "" {
		return ""
	}
	return f.EntryName("{run_id}")
}

// procedure registers POST /v1/procedures/NAME.
func (d *describer) procedure(p *procedure) {
	body, row := p.name+"_request", p.name+"_row"
	d.registry.Map()[body], d.registry.Map()[row] = p.bodySchema(), p.rowSchema()
	codes := slices.Concat(commonCodes, runCodes, bodyCodes)
	headers := []string{"X-Request-Id", headerMode, headerRun, headerRows, headerDigest, "Content-Encoding", "Content-Disposition", "RateLimit", "RateLimit-Policy"}
	switch {
	case p.reference():
		headers = append(headers, "Age", "ETag")
	default:
		codes = append(codes, JobsNotAvailable, WebhooksUnavailable, InvalidDateRange, IdempotencyBusy, IdempotencyMismatch)
	}
	if p.doc.Metadata.Class == classSpecial {
		codes = append(codes, TableNotAvailable, CallNotAvailable)
	}
	if p.doc.State != nil {
		codes = append(codes, ScheduleRequired)
	}
	answer := &huma.Response{
		Description: "The rows. Rows and digest are headers where the answer was whole before it was sent, and trailers otherwise.",
		Headers:     d.headers(headers...), Content: d.content(row),
	}
	responses := map[string]*huma.Response{"200": answer}
	if !p.reference() {
		d.orJob(answer, responses)
	}
	d.errors(responses, codes)
	m := p.doc.Metadata
	d.operation(huma.Operation{
		OperationID: p.name, Method: http.MethodPost, Path: "/v1/procedures/" + p.name, Tags: []string{m.Category},
		Summary: m.Title, Description: m.Description, Responses: responses,
		Parameters: []*huma.Param{
			{Name: headerIdempotency, In: "header", Description: "For answers that are a job: for 24 hours an equal request with the key is answered with the same job. One that is answered with rows is run again: it changes nothing.",
				Schema: &huma.Schema{Type: huma.TypeString, MinLength: ptr(1), MaxLength: ptr(maxIdempotency), Pattern: "^[ -~]+$"}},
			{Name: "Prefer", In: "header", Description: "respond-async: a job is answered with 202.", Schema: &huma.Schema{Type: huma.TypeString}},
			{Name: "traceparent", In: "header", Description: "W3C trace context; carried through the run.", Schema: &huma.Schema{Type: huma.TypeString}},
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			typeJSON: {Schema: ref(body), Examples: p.examples()}}},
		Extensions: map[string]any{"x-procedure-class": m.Class},
	}, func(x *exchange) *Error { return d.api.procedure(x, p) })
}

// content is what a result may be.
func (d *describer) content(row string) map[string]*huma.MediaType {
	out := map[string]*huma.MediaType{}
	for _, name := range mediaTypes() {
		out[name] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	}
	out[typeLines].Schema = &huma.Schema{OneOf: []*huma.Schema{ref(row), ref("SealedLine")}, Description: "One such object a line."}
	out[typeJSON].Schema = &huma.Schema{Type: huma.TypeObject, Required: []string{"data", "metadata"}, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{
			"data": {Type: huma.TypeArray, Items: ref(row)},
			"metadata": {Type: huma.TypeObject, Required: []string{"execution_time", "record_count"}, Properties: map[string]*huma.Schema{
				"execution_time": {Type: huma.TypeNumber, Description: "Seconds."},
				"record_count":   {Type: huma.TypeInteger, Description: "Rows in data."}}},
		}}
	out["text/csv"].Schema = &huma.Schema{Type: huma.TypeString, Description: "RFC 4180 with a header; NULL is empty."}
	return out
}

// examples are bodies that work.
func (p *procedure) examples() map[string]*huma.Example {
	out := map[string]*huma.Example{}
	for name, with := range map[string]map[string]any{
		"ndjson":             {},
		"sealed, auto":       {paramCompression: "gzip", paramEncrypted: true, paramMode: modeAuto},
		"sealed, stream":     {paramCompression: "gzip", paramEncrypted: true, paramMode: modeStream},
		"JSON":               {paramFormat: "json"},
		"CSV":                {paramFormat: "csv"},
		"zip archive of CSV": {paramFormat: "csv", paramCompression: "zip"},
		"job":                {paramMode: modeJob, paramCompression: "gzip"},
	} {
		body := p.example()
		maps.Copy(body, with)
		out[name] = &huma.Example{Summary: name, Value: body}
	}
	return out
}

func pathParameter(name, text string, values []string) *huma.Param {
	s := &huma.Schema{Type: huma.TypeString}
	for _, v := range values {
		s.Enum = append(s.Enum, v)
	}
	return &huma.Param{Name: name, In: "path", Required: true, Description: text, Schema: s}
}

// others registers what is not a procedure.
func (d *describer) others() {
	a := d.api
	answer := func(schema string, codes ...Code) map[string]*huma.Response {
		out := map[string]*huma.Response{"200": {Description: "OK", Headers: d.headers("X-Request-Id", "RateLimit", "RateLimit-Policy"),
			Content: map[string]*huma.MediaType{typeJSON: {Schema: ref(schema)}}}}
		d.errors(out, slices.Concat(codes, commonCodes, []Code{UnknownField, InvalidRequest}))
		return out
	}
	d.operation(huma.Operation{OperationID: "list_procedures", Method: http.MethodGet, Path: "/v1/procedures", Tags: []string{tagCatalogue},
		Summary: "List the procedures", Responses: answer("ProcedureList")}, a.list)
	d.operation(huma.Operation{OperationID: "describe_procedure", Method: http.MethodGet, Path: "/v1/procedures/{procedure}", Tags: []string{tagCatalogue},
		Summary: "Describe a procedure", Responses: answer("Procedure", UnknownProcedure),
		Parameters: []*huma.Param{pathParameter("procedure", "Name of the procedure.", a.names)},
	}, func(x *exchange) *Error { return a.describe(x, x.r.PathValue("procedure")) })
	d.rows()
	id := pathParameter("request_id", "The X-Request-Id of an answer.", nil)
	id.Schema.Pattern = "^req_[0-9a-f]{24}$"
	d.operation(huma.Operation{OperationID: "get_request", Method: http.MethodGet, Path: "/v1/requests/{request_id}", Tags: []string{tagRequests},
		Summary: "What became of a request", Description: "For 24 hours, of requests that were run. A reference list that was kept is no run.",
		Responses: answer("Request", RequestNotFound), Parameters: []*huma.Param{id},
	}, func(x *exchange) *Error { return a.request(x, x.r.PathValue("request_id")) })
	d.operation(huma.Operation{OperationID: "get_receipt", Method: http.MethodGet, Path: "/v1/requests/{request_id}/receipt", Tags: []string{tagRequests},
		Summary:     "The receipt of a sealed answer",
		Description: "What cipherstream decrypt takes as --receipt: it proves that an answer is whole, of one run, and when that was.",
		Responses:   answer("Receipt", RequestNotFound, ReceiptNotFound), Parameters: []*huma.Param{id},
	}, func(x *exchange) *Error { return a.receipt(x, x.r.PathValue("request_id")) })
}

// rows registers GET /v1/procedures/{reference}/rows.
func (d *describer) rows() {
	a := d.api
	var names []string
	for _, name := range a.names {
		if a.procedures[name].reference() {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return
	}
	parameters := []*huma.Param{pathParameter("reference", "Name of a reference procedure.", names),
		{Name: "If-None-Match", In: "header", Description: "ETag of an earlier answer: 304 when it would be the same.", Schema: &huma.Schema{Type: huma.TypeString}}}
	for _, f := range a.procedures[names[0]].fields {
		if f.name == fieldCustomer || f.pipeline && f.name != paramMode {
			parameters = append(parameters, &huma.Param{Name: f.name, In: "query", Required: f.required, Description: f.description, Schema: f.schema()})
		}
	}
	responses := map[string]*huma.Response{
		"200": {Description: "The list.", Headers: d.headers("X-Request-Id", headerMode, headerRun, headerRows, headerDigest, "Content-Encoding",
			"Content-Disposition", "Age", "ETag", "RateLimit", "RateLimit-Policy"), Content: d.content(names[0] + "_row")},
		"304": {Description: "The list is the one that If-None-Match names.", Headers: d.headers("X-Request-Id", "ETag", "Age")},
	}
	for name := range responses["200"].Content {
		if name == typeLines || name == typeJSON {
			responses["200"].Content[name].Schema = &huma.Schema{Type: huma.TypeString, Description: "As of the procedure's POST."}
		}
	}
	d.errors(responses, slices.Concat(commonCodes, runCodes, []Code{UnknownProcedure, NotFound}))
	d.operation(huma.Operation{OperationID: "get_rows", Method: http.MethodGet, Path: "/v1/procedures/{reference}/rows", Tags: []string{tagCatalogue},
		Summary: "Read a reference list", Description: "With ETag, so that an unchanged list is not sent again.", Parameters: parameters, Responses: responses,
	}, func(x *exchange) *Error { return a.rows(x, x.r.PathValue("reference")) })
}
