package api

import (
	"maps"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cipherstream/cipherstream/engine/service/customer"
)

// jobCodes are errors of every operation on a customer's jobs.
var jobCodes = []Code{CustomerNotFound, JobsNotAvailable}

// jobExample is a job that has completed.
func jobExample() map[string]any {
	const id = "appointments_1706756645678_0a1b2c3d"
	return map[string]any{
		"job_id": id, "customer_id": "sandbox", "procedure_name": "appointments", "job_type": "extract", "mode": "job", "status": "completed",
		"message": statusMessages["completed"], "priority": "normal", "progress_percent": 100, "rows_processed": 250000, "total_rows": 250000,
		"created_at": "2024-02-01T03:04:05.678Z", "started_at": "2024-02-01T03:04:05.702Z", "completed_at": "2024-02-01T03:04:12.345Z",
		"updated_at": "2024-02-01T03:04:12.345Z", "execution_time_seconds": 6.643, "output_format": "ndjson", "compression": "gzip", "encrypted": false,
		"file_size_bytes": 8123456, "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "file_name": id + ".ndjson.gz",
		"s3_url": "https://bucket.example.com/" + id + ".1.ndjson.gz?X-Amz-Signature=…", "expires_at": "2024-02-01T15:04:12.345Z", "retry_count": 0,
		"metadata": map[string]any{"from_date": "2024-01-01", "to_date": "2024-01-31", "date_modifier": "All", "endpoint": "/v1/procedures/appointments", "reason": "requested"},
	}
}

// orJob adds what the answer is of a request that has become a job.
func (d *describer) orJob(rows *huma.Response, responses map[string]*huma.Response) {
	job := []string{"Location", "Link", "Retry-After", headerReplayed, "Preference-Applied"}
	rows.Description = "The rows, or the job that the request has become: X-CipherStream-Mode says which. Of rows, their number and digest are headers " +
		"where the answer was whole before it was sent, and trailers otherwise. A job has Location, and is JSON of the schema Job."
	for name, h := range d.headers(job...) {
		rows.Headers[name] = h
	}
	asJSON := rows.Content[typeJSON]
	asJSON.Schema = &huma.Schema{OneOf: []*huma.Schema{asJSON.Schema, ref("Job")}}
	responses["202"] = &huma.Response{Description: "The job that the request has become, where Prefer: respond-async asked for this status.",
		Headers: d.headers(append(job, "X-Request-Id", headerMode, headerRun, "RateLimit", "RateLimit-Policy")...),
		Content: map[string]*huma.MediaType{typeJSON: {Schema: ref("Job")}}}
}

// jobs registers the operations on jobs, and what belongs to them.
func (d *describer) jobs() {
	a := d.api
	id := pathParameter("customer_id", "Whose jobs they are. The API key must be this customer's, and have the scope jobs.", nil)
	id.Schema.Pattern, id.Schema.MinLength, id.Schema.MaxLength = customer.IDPattern, ptr(1), ptr(64)
	one := pathParameter("job_id", "Identifier of the job.", nil)
	one.Schema.MaxLength = ptr(maxJobID)
	of := []*huma.Param{id, one}
	answer := func(schema string, headers []string, codes ...Code) map[string]*huma.Response {
		out := map[string]*huma.Response{"200": {Description: "OK", Headers: d.headers(append(headers, "X-Request-Id", "RateLimit", "RateLimit-Policy")...),
			Content: map[string]*huma.MediaType{typeJSON: {Schema: ref(schema)}}}}
		d.errors(out, append(append(codes, jobCodes...), commonCodes...))
		return out
	}
	const root = "/v1/customers/{customer_id}/jobs"
	query := []Code{InvalidRequest, UnknownField, DuplicateField, InvalidParameter}

	list := answer("JobList", nil, append(query, InvalidDateRange)...)
	d.operation(huma.Operation{OperationID: "list_jobs", Method: http.MethodGet, Path: root, Tags: []string{tagJobs}, Summary: "List jobs",
		Description: "Jobs are listed for 90 days after their end.", Responses: list, Parameters: []*huma.Param{id,
			whole(paramLimit, "How many at most.", 1, mostJobsOfList, jobsOfList), whole(paramOffset, "How many to leave out before them.", 0, mostOffset, 0),
			choice(paramStatus, "Only those of this status.", "", jobStatuses), choice(paramProcedure, "Only those of this procedure.", "", a.jobProcedures()),
			{Name: paramFrom, In: "query", Description: "Only those of this day (UTC, by created_at) and later ones.", Schema: &huma.Schema{Type: huma.TypeString, Format: "date"}},
			{Name: paramTo, In: "query", Description: "Only those of this day and earlier ones.", Schema: &huma.Schema{Type: huma.TypeString, Format: "date"}},
			choice(paramSort, "Their order.", jobSorts[0], jobSorts)},
	}, a.listJobs)

	status := answer("Job", []string{"Retry-After", "Preference-Applied"}, JobNotFound)
	status["200"].Content[typeJSON].Example = jobExample()
	d.operation(huma.Operation{OperationID: "get_job", Method: http.MethodGet, Path: root + "/{job_id}", Tags: []string{tagJobs}, Summary: "A job",
		Description: "With a fresh link to its result, when it is completed. Retry-After says when to ask again about one that has not ended.", Responses: status,
		Parameters: append([]*huma.Param{{Name: "Prefer", In: "header", Description: "wait=SECONDS, up to 50: the answer comes at the next change of status, or when the time is over.",
			Schema: &huma.Schema{Type: huma.TypeString, Examples: []any{"wait=50"}}}}, of...),
	}, a.job)

	d.operation(huma.Operation{OperationID: "cancel_job", Method: http.MethodPost, Path: root + "/{job_id}/cancel", Tags: []string{tagJobs}, Summary: "Cancel a job",
		Description: "One that is queued is cancelled at once, one that is running within seconds. To cancel one that is cancelled is no error.",
		Responses:   answer("Job", []string{"Retry-After"}, JobNotFound, JobEnded), Parameters: of,
	}, a.cancelJob)

	stream := answer("Job", nil, JobNotFound, InvalidParameter, TooManyStreams)
	stream["200"].Description = "Server-sent events until the job ends. The event job.STATUS is a change of its status, with the number of the change as id, and data of the schema " +
		"JobTransition; job.progress says how far it is, has no id, and data of the schema JobProgress. Without Last-Event-ID every change comes from the first on. " +
		"A comment comes every 15 seconds when nothing else does. The stream ends when the job has ended, the key is no longer good, or the service is about to end: come again with Last-Event-ID."
	var names []any
	data := map[string]any{"job.progress": ref("JobProgress")}
	for _, status := range jobStatuses {
		names = append(names, "job."+status)
		data["job."+status] = ref("JobTransition")
	}
	stream["200"].Content = map[string]*huma.MediaType{typeEvents: {Schema: &huma.Schema{Type: huma.TypeObject,
		Description: "One event.", Required: []string{"event", "data"}, Properties: map[string]*huma.Schema{
			"event": {Type: huma.TypeString, Enum: append(names, "job.progress"), Description: "What it is."},
			"id": {Type: huma.TypeString, Pattern: "^[1-9][0-9]*$",
				Description: "Number of the change, for Last-Event-ID; job.progress has none."},
			"data": {Type: huma.TypeString, Description: "One line of JSON; x-event-data says of which schema."}},
		Extensions: map[string]any{"x-event-data": data}}}}
	stream["204"] = &huma.Response{Description: "The job has ended, and Last-Event-ID is its last event: nothing follows, and there is nothing to come again for.", Headers: d.headers("X-Request-Id")}
	d.operation(huma.Operation{OperationID: "job_events", Method: http.MethodGet, Path: root + "/{job_id}/events", Tags: []string{tagJobs}, Summary: "What happens to a job",
		Responses: stream, Parameters: append([]*huma.Param{{Name: headerLastEvent, In: "header", Description: "id of the last event that was received: what comes after it is sent.",
			Schema: &huma.Schema{Type: huma.TypeString, Pattern: "^[0-9]*$"}}}, of...),
	}, a.events)

	d.operation(huma.Operation{OperationID: "get_manifest", Method: http.MethodGet, Path: root + "/{job_id}/manifest", Tags: []string{tagJobs}, Summary: "The manifest of a result",
		Responses: answer("Manifest", []string{"Content-Disposition"}, JobNotFound, JobNotCompleted), Parameters: of,
	}, a.manifest)

	redirect := answer("Job", nil, JobNotFound, JobNotCompleted, ResultExpired, StorageUnavailable)
	delete(redirect, "200")
	redirect["307"] = &huma.Response{Description: "The result is at Location, for as long as the link works.",
		Headers: d.headers("Location", "Content-Disposition", "X-Request-Id", "RateLimit", "RateLimit-Policy")}
	d.operation(huma.Operation{OperationID: "download_job", Method: http.MethodGet, Path: root + "/{job_id}/download", Tags: []string{tagJobs}, Summary: "Fetch a result",
		Description: "Redirects to a fresh link to the result, which needs no key. Ranges and If-Range are taken there.", Responses: redirect, Parameters: of,
	}, a.download)

	d.object()

	d.operation(huma.Operation{OperationID: "list_audit", Method: http.MethodGet, Path: "/v1/customers/{customer_id}/audit", Tags: []string{tagAudit}, Summary: "What was done",
		Description: "Keys, requests, jobs, links and downloads of the customer, the oldest first.", Responses: answer("AuditList", nil, query...),
		Parameters: []*huma.Param{id, whole(paramLimit, "How many at most, but for those of the same time.", 1, mostAuditOfList, auditOfList),
			{Name: paramSince, In: "query", Description: "From when on.", Schema: &huma.Schema{Type: huma.TypeString, Format: "date-time"}}},
	}, a.auditOf)
}

// object registers GET /v1/objects/{signed}.
func (d *describer) object() {
	body := map[string]*huma.MediaType{}
	for _, name := range mediaTypes() {
		body[name] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary", Description: "The result, or a range of it."}}
	}
	ranges := maps.Clone(body)
	ranges["multipart/byteranges"] = body[typeZip]
	headers := []string{"X-Request-Id", "Accept-Ranges", "Content-Length", "Content-Disposition", "ETag", "Last-Modified", headerDigest}
	responses := map[string]*huma.Response{
		"200": {Description: "The result.", Headers: d.headers(headers...), Content: body},
		"206": {Description: "The ranges that were asked for; several are multipart/byteranges.", Headers: d.headers(append(headers, "Content-Range")...), Content: ranges},
		"304": {Description: "The result is the one that If-None-Match names.",
			Headers: d.headers("X-Request-Id", "ETag", "Content-Disposition")},
	}
	d.errors(responses, []Code{LinkInvalid, ResultExpired, RateLimited, PreconditionFailed, RangeNotSatisfiable, StorageUnavailable, RecordUnavailable, Internal, ShuttingDown})
	signed := pathParameter("signed", "What s3_url or the Location of a download holds.", nil)
	signed.Schema.MaxLength = ptr(maxPass)
	text := func(name, description string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Description: description, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	d.operation(huma.Operation{OperationID: "get_object", Method: http.MethodGet, Path: objectsPath + "{signed}", Tags: []string{tagJobs}, Summary: "Read a result by its link",
		Description: "Where results are kept by the service itself. Who has the link needs no key.", Responses: responses, Security: []map[string][]string{},
		Parameters: []*huma.Param{signed, text("Range", "bytes=FIRST-LAST: which bytes are wanted, up to 16 ranges."), text("If-Range", "ETag of what is there already: the range is sent if the result is still that one, and all of it otherwise."),
			text("If-None-Match", "ETag of what is there already: 304 when the result is that one.")},
	}, d.api.object)
}

func whole(name, text string, least, most, otherwise int) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: text, Schema: &huma.Schema{Type: huma.TypeInteger, Minimum: ptr(float64(least)), Maximum: ptr(float64(most)), Default: otherwise}}
}

func choice(name, text, otherwise string, values []string) *huma.Param {
	s := &huma.Schema{Type: huma.TypeString}
	for _, v := range values {
		s.Enum = append(s.Enum, v)
	}
	if otherwise != "" {
		s.Default = otherwise
	}
	return &huma.Param{Name: name, In: "query", Description: text, Schema: s}
}
