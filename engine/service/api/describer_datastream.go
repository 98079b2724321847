package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cipherstream/cipherstream/engine/service/changes"
	"github.com/cipherstream/cipherstream/engine/service/customer"
)

const tagDataStream = "Data Stream"

// dataStreamExample is a data stream as it is put.
var dataStreamExample = map[string]any{"url": "https://receiver.example.com/documents", "shared_secret": "a-secret-of-your-own",
	"certificate_pins": []string{"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}, "records_per_request": 500, "rate_limit_per_minute": 60,
	"channels": []string{"entities"}}

// dataStreamSchema describes what a data stream is put with.
func dataStreamSchema() *huma.Schema {
	number := func(text string, most, otherwise int) *huma.Schema {
		return &huma.Schema{Type: huma.TypeInteger, Description: text, Minimum: ptr(1.0), Maximum: ptr(float64(most)), Default: otherwise, Nullable: true}
	}
	channels := []any{changes.Channels[0], changes.Channels[1]}
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false, Required: []string{fieldStreamURL}, Properties: map[string]*huma.Schema{
		fieldStreamURL: {Type: huma.TypeString, Format: "uri", Pattern: "^https://", MaxLength: ptr(maxWebhook),
			Description: "Where documents are sent. Addresses that are not public are refused when something is sent."},
		fieldSharedSecret: {Type: huma.TypeString, MinLength: ptr(1), MaxLength: ptr(mostSharedSecret), Pattern: "^[!-~]+$", Nullable: true,
			Description: "What requests carry as Authorization: bearer. It is kept sealed and never shown again. Left out, or ***, it stays as it is, as long as url stays on the same host."},
		fieldCertificate: {Type: huma.TypeString, MaxLength: ptr(mostCertificate), Nullable: true,
			Description: "The certificate that the receiver has to show, in PEM; it may be signed by itself. Default any that an authority knows."},
		fieldPins: {Type: huma.TypeArray, MaxItems: ptr(mostPins), Items: &huma.Schema{Type: huma.TypeString}, Nullable: true,
			Description: "SHA-256 of the public key (SPKI) of the receiver's certificate, as base64 or as sha256: and hexadecimal digits; two while it is renewed. " +
				"The certificate may then be signed by itself."},
		fieldOrganization: {Type: huma.TypeString, MaxLength: ptr(mostOrganization), Nullable: true, Description: "What requests call the customer. Default its customer_id."},
		fieldPerRequest:   number("Documents in a request at most. A request stays below 8 MiB whatever that is.", mostPerRequest, 500),
		fieldPerMinute:    number("Requests in any minute at most.", mostRequestsPerMinute, 60),
		fieldChannels: {Type: huma.TypeArray, MinItems: ptr(1), UniqueItems: true, Items: &huma.Schema{Type: huma.TypeString, Enum: channels}, Nullable: true,
			Description: "The channels that are sent: entities are clinical data and configuration, logs what the practice's software logs. They change only while the stream is disabled.", Default: changes.Channels[:1]},
		fieldEncoding: {Type: huma.TypeBoolean, Default: false, Nullable: true,
			Description: "Send Content-Encoding: gzip beside Encoding: gzip, for a receiver whose framework inflates by itself."},
		fieldEnabled: {Type: huma.TypeBoolean, Nullable: true, Description: "Whether it is sent, as by enable and disable. Default as it is; of a new one false."},
	}}
}

// resetSchema describes what a reset is asked with.
func resetSchema() *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false, Required: []string{fieldChannel}, Properties: map[string]*huma.Schema{
		fieldChannel: {Type: huma.TypeString, Enum: []any{changes.Channels[0], changes.Channels[1]}, Description: "The channel."},
		fieldAbove: {Type: huma.TypeInteger, Format: "int64", Minimum: ptr(0.0), Default: 0, Nullable: true,
			Description: "Documents whose latest number is above this one are sent again. 0 is all."},
		fieldAnew: {Type: huma.TypeBoolean, Default: false, Nullable: true,
			Description: "Copy all tables first, as if there had been no stream: where the log of the database was lost. Not with above."},
		fieldDry: {Type: huma.TypeBoolean, Default: false, Nullable: true, Description: "Say how many documents that would be, and change nothing."}}}
}

// dataStreams registers the operations on a customer's data stream.
func (d *describer) dataStreams() {
	a := d.api
	id := pathParameter("customer_id", "Whose it is. The API key must be this customer's, and have the scope data_stream.", nil)
	id.Schema.Pattern, id.Schema.MinLength, id.Schema.MaxLength = customer.IDPattern, ptr(1), ptr(64)
	common := []Code{CustomerNotFound, DataStreamUnavailable, UnknownField, DuplicateField, InvalidRequest}
	body := append([]Code{InvalidJSON, BodyTimeout, BodyTooLarge, UnsupportedMediaType, MissingParameter, InvalidParameter}, common...)
	refused := []Code{ChannelEmpty, ChannelNew, DataStreamEnding, DataStreamEnabled, DataStreamRefused, DatabaseUnavailable, SourceFailed, StageFailed}
	with := func(codes []Code, more ...Code) []Code { return append(append([]Code{}, codes...), more...) }
	operation := func(op huma.Operation, run func(x *exchange) *Error) {
		op.Tags, op.Parameters = []string{tagDataStream}, []*huma.Param{id}
		d.operation(op, run)
	}
	content := func(s *huma.Schema, example any, required bool) *huma.RequestBody {
		return &huma.RequestBody{Required: required, Content: map[string]*huma.MediaType{typeJSON: {Schema: s, Example: example}}}
	}
	nothing := content(&huma.Schema{Type: huma.TypeObject, AdditionalProperties: false}, nil, false)

	operation(huma.Operation{OperationID: "get_data_stream", Method: http.MethodGet, Path: dataStreamPath, Summary: "The data stream",
		Description: "What is set up, how far each channel is, and what came of the last request.", Responses: d.answered("DataStream", with(common, DataStreamNotFound)...)}, a.dataStream)

	operation(huma.Operation{OperationID: "put_data_stream", Method: http.MethodPut, Path: dataStreamPath, Summary: "Set the data stream",
		Description: "All of it: what is left out has its default, but for the secret and enabled, which stay as they are. One that is enabled goes on with what is set. Where enabled: true is refused, " +
			"what is set stays set.",
		Responses: d.answered("DataStream", append(with(body), refused...)...), RequestBody: content(dataStreamSchema(), dataStreamExample, true)}, a.putDataStream)

	operation(huma.Operation{OperationID: "enable_data_stream", Method: http.MethodPost, Path: dataStreamPath + "/enable", Summary: "Enable the data stream",
		Description: "It goes on where it was; the first time all tables are copied first. Pipeline and database are looked at before, and what could not be followed exactly is refused. " +
			"One that has stopped is enabled again once that is mended.",
		Responses: d.answered("DataStream", append(with(body, DataStreamNotFound), refused...)...), RequestBody: nothing}, a.enableDataStream)

	operation(huma.Operation{OperationID: "disable_data_stream", Method: http.MethodPost, Path: dataStreamPath + "/disable", Summary: "Disable the data stream",
		Description: "Within seconds nothing is read or sent any more. What waits stays, and the position too: the database has to keep its log for as long.",
		Responses:   d.answered("DataStream", with(body, DataStreamNotFound)...), RequestBody: nothing}, a.disableDataStream)

	operation(huma.Operation{OperationID: "reset_data_stream", Method: http.MethodPost, Path: dataStreamPath + "/reset", Summary: "Send documents again",
		Description: "Of one channel, while the stream is disabled. Each document above a number, deleted ones too, is read again and gets a new number above all that were given, " +
			"in the old order: no number ever has two contents. It begins when the stream is enabled.",
		Responses:   d.answered("DataStreamReset", with(body, ConflictingParameters, DataStreamNotFound, DataStreamEnabled, DataStreamEnding)...),
		RequestBody: content(resetSchema(), map[string]any{fieldChannel: changes.Channels[0], fieldAbove: 0, fieldDry: true}, true)}, a.resetDataStream)

	d.document.Webhooks["data_stream"] = d.dataStreamRequest()
}

// dataStreamRequest describes what is sent.
func (d *describer) dataStreamRequest() *huma.PathItem {
	number := func(text string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeInteger, Format: "int64", Minimum: ptr(1.0), Description: text}
	}
	channel := &huma.Schema{Type: huma.TypeString, Enum: []any{changes.Channels[0], changes.Channels[1]}, Description: "The channel."}
	organization := &huma.Schema{Type: huma.TypeString, Description: "organization_id of the data stream."}
	document := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Required: []string{"id", "type"}, Description: "A row, flat; of one that was deleted nothing but id, type and deleted.",
		Properties: map[string]*huma.Schema{
			"id":      {Type: huma.TypeString, Description: "Its primary key as text; several columns are joined by a colon."},
			"type":    {Type: huma.TypeString, Description: "What it is a row of."},
			"deleted": {Type: huma.TypeBoolean, Description: "true: there is no such row any more. Absent otherwise."}}}
	d.registry.Map()["DataStreamDocuments"] = &huma.Schema{Type: huma.TypeObject, Required: []string{"channel", "organization_id", "documents"}, Properties: map[string]*huma.Schema{
		"channel": channel, "organization_id": organization,
		"documents": {Type: huma.TypeArray, MinItems: ptr(1), MaxItems: ptr(mostPerRequest), Description: "Ascending by sequence.",
			Items: &huma.Schema{Type: huma.TypeObject, Required: []string{"document", "sequence"}, Properties: map[string]*huma.Schema{
				"document": document, "sequence": number("Number of the change, one of the channel.")}}}}}
	d.registry.Map()["DataStreamAnswer"] = &huma.Schema{Type: huma.TypeObject, Required: []string{"status", "organization_id", "channel", "max_sequence_processed"},
		Properties: map[string]*huma.Schema{"status": {Type: huma.TypeString, Enum: []any{"ok"}, Description: "ok."}, "organization_id": organization, "channel": channel,
			"max_sequence_processed": {Type: huma.TypeInteger, Format: "int64", Minimum: ptr(0.0),
				Description: "The last number that the receiver has, and keeps. It may be lower than the last one that was sent: the next request begins behind it."}}}
	header := func(name, value string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Required: true, Description: value, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	return &huma.PathItem{Post: &huma.Operation{OperationID: "data_stream_documents", Tags: []string{tagDataStream}, Summary: "Documents",
		Description: "What is sent to url: the body is compressed with gzip. What is not answered well is sent again, later and later, and never left out.",
		Parameters:  []*huma.Param{header("Authorization", "bearer and the shared secret."), header("Encoding", "gzip.")},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{typeJSON: {Schema: ref("DataStreamDocuments")}}},
		Responses: map[string]*huma.Response{"200": {Description: "It was taken, up to max_sequence_processed.",
			Content: map[string]*huma.MediaType{typeJSON: {Schema: ref("DataStreamAnswer")}}},
			"default": {Description: "It was not taken: it is sent again."}}}}
}
