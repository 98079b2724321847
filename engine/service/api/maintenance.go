package api

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/customer"
)

// Operators do what only operators may; *customer.Registry does.
type Operators interface {
	// Announce tells every customer of a maintenance.
	Announce(ctx context.Context, by customer.Actor, m customer.Maintenance) (customer.Announced, error)
}

// The fields of a maintenance.
const (
	fieldStarts  = "starts_at"
	fieldEnds    = "ends_at"
	fieldMessage = "message"
)

// announcedBody is a maintenance that customers are told of.
type announcedBody struct {
	StartsAt  string `json:"starts_at" format:"date-time" doc:"When it begins."`
	EndsAt    string `json:"ends_at" format:"date-time" doc:"When it ends."`
	Message   string `json:"message" doc:"What customers are told."`
	Customers int    `json:"customers" doc:"How many customers are told, if they have a webhook or mail for it."`
}

// announce answers POST /v1/maintenance, which is for operators.
func (a *API) announce(x *exchange) *Error {
	if e := x.authenticate(admission.Polling); e != nil {
		return e
	}
	if !x.principal.Scopes.Has(customer.Admin) {
		return fail(ScopeMissing)
	}
	if a.Operators == nil {
		return fail(WebhooksUnavailable)
	}
	f, e := x.readFields(fieldStarts, fieldEnds, fieldMessage)
	if e != nil {
		return e
	}
	want := customer.Maintenance{StartsAt: f.instant(fieldStarts), EndsAt: f.instant(fieldEnds)}
	want.Message, _ = f.text(fieldMessage)
	wrong := want.Check(a.Now())
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		switch {
		case mentioned(f.details, name):
		case f.values[name] == nil:
			f.add(MissingParameter, name, name+" is missing.")
		default:
			f.wrong(name, "%s.", wrong[name])
		}
	}
	if e := f.mistakes(); e != nil {
		return e
	}
	by := x.actor()
	done, err := a.Operators.Announce(x.ctx, customer.Actor{Who: by.Who, From: by.From, RequestID: by.RequestID}, want)
	if err != nil {
		return fromError(err)
	}
	if a.Webhooks != nil {
		a.Webhooks.Wake()
	}
	x.send(http.StatusOK, typeJSON, announcedBody{StartsAt: timeText(done.StartsAt), EndsAt: timeText(done.EndsAt), Message: done.Message, Customers: done.Customers})
	return nil
}

// maintenance registers POST /v1/maintenance.
func (d *describer) maintenance() {
	time := func(text, example string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Format: "date-time", Description: text, Examples: []any{example}}
	}
	responses := d.answered("Maintenance", InvalidJSON, BodyTimeout, BodyTooLarge, UnsupportedMediaType, InvalidRequest, UnknownField, DuplicateField, MissingParameter,
		InvalidParameter, WebhooksUnavailable)
	d.operation(huma.Operation{OperationID: "announce_maintenance", Method: http.MethodPost, Path: "/v1/maintenance", Tags: []string{tagOperators},
		Summary: "Announce a maintenance", Description: "Tells every customer that has a webhook, or mail, for system.maintenance. The key is one of the scope admin, " +
			"which is accepted from the operators' networks alone.", Responses: responses,
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{typeJSON: {Schema: &huma.Schema{
			Type: huma.TypeObject, AdditionalProperties: false, Required: []string{fieldStarts, fieldEnds, fieldMessage},
			Properties: map[string]*huma.Schema{
				fieldStarts: time("When it begins.", "2024-02-01T22:00:00Z"), fieldEnds: time("When it ends, at most 30 days later.", "2024-02-01T23:00:00Z"),
				fieldMessage: {Type: huma.TypeString, MinLength: ptr(1), MaxLength: ptr(customer.MostMessage), Description: "What customers are told.",
					Examples: []any{"The service is updated; jobs wait until then."}}}}}}},
	}, d.api.announce)
}
