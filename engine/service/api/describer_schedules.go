package api

import (
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/schedule"
)

const tagSchedules = "Schedules"

// scheduleExample is a schedule as it is asked for.
var scheduleExample = map[string]any{
	"name": "nightly_appointments", "procedure": "appointments", "request": map[string]any{"output_format": "parquet"},
	"cron": "30 2 * * *", "time_zone": "Europe/Berlin", "jitter": "10m", "window": map[string]any{"first_days": 30},
}

// schedules registers the operations on schedules.
func (d *describer) schedules() {
	a := d.api
	d.registry.Map()["ScheduleRequest"] = scheduleSchema()
	id := pathParameter("customer_id", "Whose schedules they are. The API key must be this customer's, and have the scopes jobs and procedures.", nil)
	id.Schema.Pattern, id.Schema.MinLength, id.Schema.MaxLength = customer.IDPattern, ptr(1), ptr(64)
	one := pathParameter("schedule_id", "Identifier of the schedule.", nil)
	one.Schema.MaxLength = ptr(maxJobID)
	of := []*huma.Param{id, one}
	answer := func(status, schema string, headers []string, codes ...Code) map[string]*huma.Response {
		out := map[string]*huma.Response{status: {Description: "OK", Headers: d.headers(append(headers, "X-Request-Id", "RateLimit", "RateLimit-Policy")...)}}
		if schema != "" {
			out[status].Content = map[string]*huma.MediaType{typeJSON: {Schema: ref(schema)}}
		}
		d.errors(out, slices.Concat(codes, jobCodes, commonCodes, []Code{UnknownField, DuplicateField, InvalidRequest}))
		return out
	}
	body := &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{typeJSON: {Schema: ref("ScheduleRequest"), Example: scheduleExample}}}
	wrong := []Code{InvalidJSON, BodyTimeout, BodyTooLarge, UnsupportedMediaType, MissingParameter, InvalidParameter, InvalidDateRange, ConflictingParameters,
		UnknownProcedure, ScheduleExists, NoSealingKey, TableNotAvailable, CallNotAvailable}
	const root = "/v1/customers/{customer_id}/schedules"

	d.operation(huma.Operation{OperationID: "list_schedules", Method: http.MethodGet, Path: root, Tags: []string{tagSchedules}, Summary: "List schedules",
		Responses: answer("200", "ScheduleList", nil), Parameters: []*huma.Param{id}}, a.listSchedules)
	d.operation(huma.Operation{OperationID: "create_schedule", Method: http.MethodPost, Path: root, Tags: []string{tagSchedules}, Summary: "Make a schedule",
		Description: "At each tick a job is made as if it were asked for then, once over all processes of the service. With a window it reads what has changed since the last job that completed. A procedure whose pipeline keeps state does so without one.",
		Responses:   answer("201", "Schedule", []string{"Location"}, append(wrong, TooManySchedules)...), Parameters: []*huma.Param{id}, RequestBody: body}, a.createSchedule)
	d.operation(huma.Operation{OperationID: "get_schedule", Method: http.MethodGet, Path: root + "/{schedule_id}", Tags: []string{tagSchedules}, Summary: "A schedule",
		Description: "With its next runs, and how far its jobs have come.", Responses: answer("200", "Schedule", nil,
			ScheduleNotFound), Parameters: of}, a.schedule)
	d.operation(huma.Operation{OperationID: "replace_schedule", Method: http.MethodPut, Path: root + "/{schedule_id}", Tags: []string{tagSchedules}, Summary: "Replace a schedule",
		Description: "Its window and its state go on where the same rows are covered, and begin anew where others are.",
		Responses:   answer("200", "Schedule", nil, append(wrong, ScheduleNotFound, ScheduleManaged)...), Parameters: of, RequestBody: body}, a.replaceSchedule)
	d.operation(huma.Operation{OperationID: "delete_schedule", Method: http.MethodDelete, Path: root + "/{schedule_id}", Tags: []string{tagSchedules}, Summary: "Delete a schedule",
		Description: "Its jobs stay.", Responses: answer("204", "", nil, ScheduleNotFound, ScheduleManaged), Parameters: of}, a.deleteSchedule)
	run := answer("200", "Job", []string{"Location", "Link", "Retry-After"}, append(wrong, ScheduleNotFound, ScheduleBusy)...)
	run["202"] = &huma.Response{Description: "The same, where Prefer: respond-async asked for this status.", Headers: d.headers("Location", "Link", "Retry-After", "Preference-Applied", "X-Request-Id"),
		Content: map[string]*huma.MediaType{typeJSON: {Schema: ref("Job")}}}
	d.operation(huma.Operation{OperationID: "run_schedule", Method: http.MethodPost, Path: root + "/{schedule_id}/run", Tags: []string{tagSchedules}, Summary: "Run a schedule now",
		Description: "Makes its job at once, also of one that is not enabled; its ticks stay. Not while its last job has not ended.", Responses: run, Parameters: of}, a.runSchedule)
	d.operation(huma.Operation{OperationID: "reset_schedule", Method: http.MethodPost, Path: root + "/{schedule_id}/reset",
		Tags: []string{tagSchedules}, Summary: "Begin a schedule anew",
		Description: "Its next job reads what its first one did, with its window and its state. A job that runs goes on, and does not count for where the next one begins.",
		Responses:   answer("200", "Schedule", nil, ScheduleNotFound), Parameters: of}, a.resetSchedule)
}

// scheduleSchema is the body that makes a schedule, as its specification has it.
func scheduleSchema() *huma.Schema {
	text := func(doc string) *huma.Schema { return &huma.Schema{Type: huma.TypeString, Description: doc} }
	docs := map[string]string{}
	for _, f := range schedule.BodySpec.Fields {
		docs[f.Name] = f.Doc
	}
	choose := func(name, otherwise string, values ...any) *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Enum: values, Default: otherwise, Description: docs[name]}
	}
	days := func(most float64, doc string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeInteger, Minimum: ptr(0.0), Maximum: ptr(most), Description: doc}
	}
	name := text(docs["name"])
	name.MinLength, name.MaxLength = ptr(1), ptr(64)
	overlap := days(366, "How many days are read again, so that what was committed late is not missed.")
	overlap.Default = 1
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false, Required: []string{"cron", "name", "procedure"}, Properties: map[string]*huma.Schema{
		"name": name, "procedure": text(docs["procedure"]), "cron": text(docs["cron"]), "time_zone": text(docs["time_zone"]),
		"request": {Type: huma.TypeObject, AdditionalProperties: true, Description: "The fields of the request to the procedure, without customer_id and mode."},
		"overlap": choose("overlap", "skip", "skip", "queue"), "missed": choose("missed", "once", "once", "skip"), "jitter": text(docs["jitter"] + " A duration such as 10m, up to 24h."),
		"window": {Type: huma.TypeObject, AdditionalProperties: false, Description: docs["window"], Properties: map[string]*huma.Schema{
			"first_days": days(36500, "How many days back the first job reads. Without it, request has from_date."), "overlap_days": overlap}},
		"enabled": {Type: huma.TypeBoolean, Default: true, Description: docs["enabled"]},
	}}
}
