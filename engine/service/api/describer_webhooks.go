package api

import (
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/webhook"
)

// webhookCodes are errors of every operation on a customer's webhooks.
var webhookCodes = []Code{CustomerNotFound, WebhooksUnavailable}

// webhookExample is an endpoint as it is put.
func webhookExample() map[string]any {
	return map[string]any{"webhook_url": "https://hooks.example.com/cipherstream", "events": []string{"job.completed", "job.failed"},
		"custom_headers": map[string]string{"Authorization": "Bearer a-token-of-your-own"}, "retry_policy": durable}
}

// answered are the answers of an operation that answers with a schema, or with one of these errors or the common ones.
func (d *describer) answered(schema string, codes ...Code) map[string]*huma.Response {
	out := map[string]*huma.Response{"200": {Description: "OK", Headers: d.headers("X-Request-Id", "RateLimit", "RateLimit-Policy"),
		Content: map[string]*huma.MediaType{typeJSON: {Schema: ref(schema)}}}}
	d.errors(out, slices.Concat(codes, commonCodes))
	return out
}

// webhookSchema describes what an endpoint is put with.
func webhookSchema() *huma.Schema {
	events := make([]any, len(webhookEvents))
	for i, e := range webhookEvents {
		events[i] = e
	}
	number := func(kind, text string, least, most, otherwise float64) *huma.Schema {
		s := &huma.Schema{Type: kind, Description: text, Minimum: ptr(least), Maximum: ptr(most), Nullable: true}
		if s.Default = otherwise; kind == huma.TypeInteger {
			s.Default = int(otherwise)
		}
		return s
	}
	flag := func(text string, otherwise bool) *huma.Schema {
		return &huma.Schema{Type: huma.TypeBoolean, Description: text, Default: otherwise, Nullable: true}
	}
	perMinute := number(huma.TypeInteger, "Requests that are sent in a minute at most. Default any number.", 1, mostPerMinute, 0)
	perMinute.Default = nil
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false, Required: []string{fieldWebhook}, Properties: map[string]*huma.Schema{
		fieldWebhook: {Type: huma.TypeString, Format: "uri", Pattern: "^https://", MaxLength: ptr(maxWebhook),
			Description: "Where events are sent. Addresses that are not public are refused when something is sent."},
		fieldEvents: {Type: huma.TypeArray, MinItems: ptr(1), UniqueItems: true, Items: &huma.Schema{Type: huma.TypeString, Enum: events}, Nullable: true,
			Description: "The events that are sent. Default all but job.progress.", Default: slices.Clone(defaultEvents)},
		fieldEnabled: flag("Whether they are. true also enables an endpoint that the service has disabled.", true),
		fieldHeaders: {Type: huma.TypeObject, Nullable: true, MaxProperties: ptr(webhook.MostHeaders),
			AdditionalProperties: &huma.Schema{Type: huma.TypeString, MinLength: ptr(1), MaxLength: ptr(webhook.MaxHeaderValue)},
			Description: "Headers to send with each delivery, such as Authorization. They are kept sealed and never shown again; a value of *** keeps the one that is " +
				"there, as long as webhook_url stays on the same host."},
		fieldRetry: {Type: huma.TypeObject, Nullable: true, AdditionalProperties: false, Description: "How often, and when, a delivery that fails is tried. Not with retry_policy.",
			Properties: map[string]*huma.Schema{
				fieldAttempts:   number(huma.TypeInteger, "How often in all.", 1, mostAttempts, 3),
				fieldMultiplier: number(huma.TypeNumber, "How much longer each wait is than the one before.", 1, mostMultiplier, 2),
				fieldDelay:      number(huma.TypeNumber, "The first wait, in seconds.", leastDelay, mostDelay, 1)}},
		fieldRetryPolicy: {Type: huma.TypeString, Enum: []any{durable, nil}, Nullable: true,
			Description: "durable: 8 attempts over about 27 hours, for a receiver that may be down for long."},
		fieldTimeout:   number(huma.TypeInteger, "How long the receiver may take to answer.", 1, mostTimeout, 30),
		fieldBatch:     flag("Send events that wait together, up to 100 in a request, as the event batch.", false),
		fieldPerMinute: perMinute,
		fieldMinTLS: {Type: huma.TypeString, Enum: []any{tls12, tls13, nil}, Nullable: true, Default: tls13,
			Description: "The lowest version of TLS that is spoken with the endpoint."},
	}}
}

// webhooks registers the operations on a customer's webhooks.
func (d *describer) webhooks() {
	a := d.api
	id := pathParameter("customer_id", "Whose they are. The API key must be this customer's, and have the scope webhooks.", nil)
	id.Schema.Pattern, id.Schema.MinLength, id.Schema.MaxLength = customer.IDPattern, ptr(1), ptr(64)
	one := pathParameter("delivery_id", "Identifier of the delivery.", nil)
	one.Schema.MaxLength = ptr(maxDeliveryID)
	of, ofOne := []*huma.Param{id}, []*huma.Param{id, one}
	answer := func(schema string, codes ...Code) map[string]*huma.Response {
		return d.answered(schema, slices.Concat(codes, webhookCodes)...)
	}
	query := []Code{InvalidRequest, UnknownField}
	body := []Code{InvalidRequest, UnknownField, DuplicateField, InvalidJSON, BodyTimeout, BodyTooLarge, UnsupportedMediaType}
	operation := func(op huma.Operation, run func(x *exchange) *Error) {
		op.Tags = []string{tagWebhooks}
		if op.Parameters == nil {
			op.Parameters = of
		}
		d.operation(op, run)
	}
	nothing := &huma.RequestBody{Description: "Nothing, or an object without members.",
		Content: map[string]*huma.MediaType{typeJSON: {Schema: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false}}}}

	get := answer("Webhook", append(query, WebhookNotFound)...)
	operation(huma.Operation{OperationID: "get_webhook", Method: http.MethodGet, Path: webhookPath, Summary: "The webhook", Responses: get,
		Description: "Where the customer is told of its jobs, and how it stands there."}, a.webhook)

	operation(huma.Operation{OperationID: "put_webhook", Method: http.MethodPut, Path: webhookPath, Summary: "Set the webhook",
		Description: "All of it: what is left out has its default. The first answer of a customer has the secret that deliveries are signed with, and no later one does.",
		Responses:   answer("Webhook", append(body, MissingParameter, InvalidParameter, ConflictingParameters)...),
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{typeJSON: {Schema: webhookSchema(), Example: webhookExample()}}},
	}, a.putWebhook)

	gone := answer("Webhook", append(query, WebhookNotFound)...)
	delete(gone, "200")
	gone["204"] = &huma.Response{Description: "There is no webhook any more. The secret stays, for the next one.", Headers: d.headers("X-Request-Id", "RateLimit", "RateLimit-Policy")}
	operation(huma.Operation{OperationID: "delete_webhook", Method: http.MethodDelete, Path: webhookPath, Summary: "Remove the webhook", Responses: gone}, a.deleteWebhook)

	test := answer("WebhookTest", append(body, WebhookNotFound, WebhookDisabled)...)
	test["202"] = test["200"]
	test["202"].Description = "The event webhook.test is sent."
	delete(test, "200")
	operation(huma.Operation{OperationID: "test_webhook", Method: http.MethodPost, Path: webhookPath + "/test", Summary: "Test the webhook", Responses: test, RequestBody: nothing,
		Description: "Sends the event webhook.test, whatever events are sent otherwise. The deliveries tell how it went."}, a.testWebhook)

	operation(huma.Operation{OperationID: "rotate_webhook_secret", Method: http.MethodPost, Path: webhookPath + "/rotate-secret", Summary: "Make another secret",
		Description: "It is shown in the answer, and never again. Until it is activated, or 7 days are over, X-CipherStream-Signature is made with the secret before it, and " +
			"webhook-signature with both. The first secret of a customer waits for nothing.",
		Responses: answer("WebhookSecret", body...), RequestBody: nothing}, a.rotateSecret)

	operation(huma.Operation{OperationID: "activate_webhook_secret", Method: http.MethodPost, Path: webhookPath + "/activate-secret", Summary: "Sign with the new secret",
		Description: "Makes the secret of the last rotation the only one. The one before signs nothing any more.",
		Responses:   answer("WebhookSecret", append(body, NothingPending)...), RequestBody: nothing}, a.activateSecret)

	const deliveries = webhookPath + "/deliveries"
	moment := func(name, text string) *huma.Param {
		return &huma.Param{Name: name, In: "query", Description: text, Schema: &huma.Schema{Type: huma.TypeString, Format: "date-time"}}
	}
	operation(huma.Operation{OperationID: "list_deliveries", Method: http.MethodGet, Path: deliveries, Summary: "List deliveries",
		Description: "Of webhooks and mail, the newest first. They are listed for 90 days after their end.",
		Responses:   answer("DeliveryList", append(query, DuplicateField, InvalidParameter)...), Parameters: []*huma.Param{id,
			whole(paramLimit, "How many at most.", 1, mostJobsOfList, jobsOfList), whole(paramOffset, "How many to leave out before them.", 0, mostOffset, 0),
			choice(paramStatus, "Only those of this status; dead ones are the dead letters.", "", deliveryStates), choice(paramEvent, "Only those of this event.", "", deliveryEvents),
			{Name: paramJob, In: "query", Description: "Only those of this job.", Schema: &huma.Schema{Type: huma.TypeString, MaxLength: ptr(maxJobID), Pattern: "^[ -~]*$"}},
			moment(paramSince, "Only those of this time and later ones, by created_at."), moment(paramUntil, "Only those before this time.")},
	}, a.listDeliveries)

	single := answer("Delivery", append(query, DeliveryNotFound)...)
	operation(huma.Operation{OperationID: "get_delivery", Method: http.MethodGet, Path: deliveries + "/{delivery_id}", Summary: "A delivery",
		Description: "With what it tells, and each attempt.", Responses: single, Parameters: ofOne}, a.delivery)

	operation(huma.Operation{OperationID: "retry_delivery", Method: http.MethodPost, Path: deliveries + "/{delivery_id}/retry", Summary: "Send a delivery again",
		Description: "One that is dead or delivered, with the delivery_id that it had.", RequestBody: nothing,
		Responses: answer("Delivery", append(body, DeliveryNotFound, DeliveryNotEnded)...), Parameters: ofOne}, a.resendDelivery)

	again := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false, Properties: map[string]*huma.Schema{
		paramSince: {Type: huma.TypeString, Format: "date-time", Nullable: true, Description: "Only those of this time and later ones, by created_at. Required with status delivered."},
		paramUntil: {Type: huma.TypeString, Format: "date-time", Nullable: true, Description: "Only those before this time."},
		paramStatus: {Type: huma.TypeString, Enum: []any{endedStates[0], endedStates[1], nil}, Nullable: true, Default: endedStates[0],
			Description: "dead, or delivered."}}}
	operation(huma.Operation{OperationID: "retry_deliveries", Method: http.MethodPost, Path: deliveries + "/retry", Summary: "Send deliveries again",
		Description: "All dead ones, or those of some time, in the order that they had.",
		Responses:   answer("Resent", append(body, MissingParameter, InvalidParameter)...),
		RequestBody: &huma.RequestBody{Content: map[string]*huma.MediaType{typeJSON: {Schema: again, Example: map[string]any{paramSince: "2024-02-01T00:00:00Z"}}}},
	}, a.resendDeliveries)

	d.callbacks()
}

// callbacks describes what is sent.
func (d *describer) callbacks() {
	text := func(description string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Description: description}
	}
	event := &huma.Schema{Type: huma.TypeObject, Required: []string{"event", "timestamp", "signature", "delivery_id", "attempt", "data"}, Properties: map[string]*huma.Schema{
		"event":       {Type: huma.TypeString, Description: "What has happened. Events may be added."},
		"timestamp":   {Type: huma.TypeString, Format: "date-time", Description: "When this attempt began."},
		"signature":   text("sha256= and the HMAC-SHA256, hexadecimal, of this body without this member and the comma behind it."),
		"delivery_id": text("Identifier of the delivery, the same at every attempt: what was seen already need not be looked at again."),
		"attempt":     {Type: huma.TypeInteger, Description: "Number of the attempt, from 1."},
		"data":        {Type: huma.TypeObject, AdditionalProperties: true, Description: "What is told: of a job its members as GET …/jobs/{job_id} has them, with a fresh s3_url."}}}
	d.registry.Map()["WebhookEvent"] = event
	headers := map[string]string{
		"X-CipherStream-Signature": "sha256= and the HMAC-SHA256, hexadecimal, of the raw body under the text of the secret.",
		"webhook-id":               "delivery_id, as Standard Webhooks has it.",
		"webhook-timestamp":        "Seconds since 1970 when this attempt began.",
		"webhook-signature":        "v1, and the HMAC-SHA256 in base64 of ID.TIMESTAMP.BODY under the 32 bytes of the secret; during a rotation one of each secret.",
	}
	var parameters []*huma.Param
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		parameters = append(parameters, &huma.Param{Name: name, In: "header", Required: true, Description: headers[name], Schema: &huma.Schema{Type: huma.TypeString}})
	}
	d.document.Webhooks = map[string]*huma.PathItem{"event": {Post: &huma.Operation{
		OperationID: "webhook_event", Tags: []string{tagWebhooks}, Summary: "An event", Parameters: parameters,
		Description: "What is sent to webhook_url. See the guide for how to check a signature.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{typeJSON: {Schema: ref("WebhookEvent")}}},
		Responses: map[string]*huma.Response{
			"2XX": {Description: "It was taken."},
			"410": {Description: "Nothing is to be sent any more: the endpoint is disabled."},
			"429": {Description: "It is sent again, after Retry-After, of at most an hour. So are 408, 425, 5xx, and what does not answer in time."},
			"4XX": {Description: "It is not sent again, unless it is asked for. So is a redirect."}}}}}
}
