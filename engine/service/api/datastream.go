package api

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/changes"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/pin"
)

// DataStreams are the data streams of customers; *changes.Manager has them. What is unknown is store.CodeUnknown.
type DataStreams interface {
	// Put sets one up, or changes what is set up. Settings without a secret keep the one that is there.
	Put(ctx context.Context, customer string, s changes.Settings, by store.Actor) (changes.View, error)
	Get(ctx context.Context, customer string) (changes.View, error)
	Enable(ctx context.Context, customer string, by store.Actor) (changes.View, error)
	Disable(ctx context.Context, customer string, by store.Actor) (changes.View, error)
	// Reset has the documents of a channel above a number read again, or says how many that would be.
	Reset(ctx context.Context, customer, channel string, above int64, anew, dry bool, by store.Actor) (changes.ResetResult, error)
}

// dataStreamPath is where the data stream of a customer is.
const dataStreamPath = "/v1/customers/{customer_id}/data-stream"

// The fields of a data stream.
const (
	fieldStreamURL    = "url"
	fieldSharedSecret = "shared_secret"
	fieldCertificate  = "certificate"
	fieldPins         = "certificate_pins"
	fieldOrganization = "organization_id"
	fieldPerRequest   = "records_per_request"
	fieldChannels     = "channels"
	fieldEncoding     = "content_encoding"

	fieldChannel = "channel"
	fieldAbove   = "above"
	fieldAnew    = "anew"
	fieldDry     = "dry_run"
)

// What these fields may be.
const (
	mostPerRequest        = 1000
	mostRequestsPerMinute = 300
	mostSharedSecret      = 1024
	mostOrganization      = 256
	mostCertificate       = 64 << 10
	mostPins              = 2
)

// dataStreamBody is a data stream as customers see it.
type dataStreamBody struct {
	CustomerID      string   `json:"customer_id" doc:"Whose it is."`
	URL             string   `json:"url" format:"uri" doc:"Where documents are sent."`
	SharedSecret    string   `json:"shared_secret" doc:"*** stands in the place of the secret, which is kept sealed."`
	Certificate     string   `json:"certificate,omitempty" doc:"The certificate that the receiver has to show, in PEM. Absent: another one may be."`
	Pins            []string `json:"certificate_pins,omitempty" nullable:"false" doc:"SHA-256 of the public keys, in base64, one of which the receiver's certificate has to have. Absent: an authority has to know it."`
	OrganizationID  string   `json:"organization_id" doc:"What requests call the customer."`
	PerRequest      int      `json:"records_per_request" doc:"Documents in a request at most."`
	PerMinute       int      `json:"rate_limit_per_minute" doc:"Requests in any minute at most."`
	Channels        []string `json:"channels" nullable:"false" enum:"entities,logs" doc:"The channels that are sent."`
	ContentEncoding bool     `json:"content_encoding" doc:"Whether requests have the header Content-Encoding beside Encoding."`
	Enabled         bool     `json:"enabled" doc:"Whether it is sent."`

	State  string                  `json:"status" enum:"disabled,starting,running,failing,stopped" doc:"disabled: it is not enabled; starting: nothing was read yet; running; failing: the receiver does not take what is sent, or the database cannot be read, which is tried again; stopped: it does not go on by itself, see error."`
	Error  *dataStreamErrorBody    `json:"error,omitempty" nullable:"false" doc:"Why it is stopped, or why reading fails. Enabling one that is stopped lets it go on once that is mended."`
	Paused []string                `json:"paused_by,omitempty" nullable:"false" enum:"entities,logs" doc:"The channels whose waiting documents are as many as may wait: nothing more is read until the receiver has taken some."`
	Status []dataStreamChannelBody `json:"channel_status" nullable:"false" doc:"How far each channel is."`

	CreatedAt string `json:"created_at" format:"date-time" doc:"When it was put for the first time."`
	UpdatedAt string `json:"updated_at" format:"date-time" doc:"When it was put, enabled or disabled the last time."`
}

// dataStreamErrorBody says why a stream stands.
type dataStreamErrorBody struct {
	Code       string `json:"code" doc:"What went wrong."`
	Message    string `json:"message,omitempty" doc:"The same in words."`
	At         string `json:"at" format:"date-time" doc:"When."`
	Suggestion string `json:"suggestion,omitempty" doc:"What to do."`
}

// dataStreamChannelBody is how far a channel is.
type dataStreamChannelBody struct {
	Channel        string                 `json:"channel" enum:"entities,logs" doc:"The channel."`
	Enabled        bool                   `json:"enabled" doc:"Whether it is sent."`
	Sequence       int64                  `json:"sequence" doc:"The last number that a document was given."`
	Acknowledged   int64                  `json:"acknowledged" doc:"The last number that the receiver has said to have."`
	AcknowledgedAt string                 `json:"acknowledged_at,omitempty" format:"date-time" doc:"When it said so."`
	Lag            int64                  `json:"lag" doc:"How far acknowledged is behind sequence."`
	LagSeconds     *float64               `json:"lag_seconds,omitempty" doc:"How long ago the oldest change that waits was made. Absent where nothing waits, or that is not known."`
	Waiting        int64                  `json:"waiting" doc:"Documents that wait to be acknowledged."`
	WaitingBytes   int64                  `json:"waiting_bytes" doc:"Their size as it is kept."`
	Again          int64                  `json:"reset_remaining,omitempty" doc:"Documents that a reset has still to read again."`
	Last           *dataStreamRequestBody `json:"last_request,omitempty" nullable:"false" doc:"The last request. Absent: none was sent yet."`
}

// dataStreamRequestBody is a request to the receiver, and what came of it.
type dataStreamRequestBody struct {
	At         string  `json:"at" format:"date-time" doc:"When it was sent."`
	First      int64   `json:"first" doc:"Number of its first document."`
	Last       int64   `json:"last" doc:"Number of its last document."`
	Documents  int     `json:"documents" doc:"How many documents it had."`
	Bytes      int     `json:"bytes" doc:"Their bytes, before compression."`
	Seconds    float64 `json:"duration_seconds" doc:"How long the answer took."`
	HTTPStatus int     `json:"http_status,omitempty" doc:"Status of the answer. Absent where there was none."`
	Processed  int64   `json:"max_sequence_processed,omitempty" doc:"What the receiver has said to have."`
	Code       string  `json:"error_code,omitempty" doc:"What was wrong with the answer. Absent where it was good."`
	Message    string  `json:"error_message,omitempty" doc:"The same in words."`
	Suggestion string  `json:"suggestion,omitempty" doc:"What to do."`
	NextAt     string  `json:"next_attempt_at,omitempty" format:"date-time" doc:"When it is tried again."`
}

// resetBody is what a reset does.
type resetBody struct {
	Channel   string `json:"channel" enum:"entities,logs" doc:"The channel."`
	Above     int64  `json:"above" doc:"Documents above this number are sent again."`
	Anew      bool   `json:"anew" doc:"Whether all tables are copied first, as if there had been no stream."`
	DryRun    bool   `json:"dry_run" doc:"Whether that was asked only, and nothing was changed."`
	Documents int64  `json:"documents" doc:"How many documents that are. Each gets a new number above all that were given."`
}

// myDataStream lets the key in to a customer's data stream.
func (x *exchange) myDataStream() (*customer.Customer, *Error) {
	if e := x.authenticate(admission.Polling); e != nil {
		return nil, e
	}
	who, err := x.api.Customers.Customer(x.ctx, x.principal, x.r.PathValue("customer_id"), customer.DataStream)
	if err != nil {
		return nil, fromError(err)
	}
	if x.api.DataStreams == nil {
		return nil, fail(DataStreamUnavailable)
	}
	x.info.Customer = who.ID
	return who, nil
}

// fromStreams is fromError of what concerns a data stream.
func fromStreams(err error) *Error {
	if fault.Is(err, store.CodeUnknown) {
		return fail(DataStreamNotFound)
	}
	return fromError(err)
}

// sendDataStream answers with a stream.
func (x *exchange) sendDataStream(v changes.View, err error) *Error {
	if err != nil {
		return fromStreams(err)
	}
	x.send(http.StatusOK, typeJSON, dataStreamBodyOf(v))
	return nil
}

// dataStream answers GET /v1/customers/{customer_id}/data-stream.
func (a *API) dataStream(x *exchange) *Error {
	who, e := x.myDataStream()
	if e != nil {
		return e
	}
	if e := x.noParameters(); e != nil {
		return e
	}
	return x.sendDataStream(a.DataStreams.Get(x.ctx, who.ID))
}

// putDataStream answers PUT /v1/customers/{customer_id}/data-stream.
func (a *API) putDataStream(x *exchange) *Error {
	who, e := x.myDataStream()
	if e != nil {
		return e
	}
	f, e := x.readFields(fieldStreamURL, fieldSharedSecret, fieldCertificate, fieldPins, fieldOrganization, fieldPerRequest, fieldPerMinute, fieldChannels,
		fieldEncoding, fieldEnabled)
	if e != nil {
		return e
	}
	before, err := a.DataStreams.Get(x.ctx, who.ID)
	if err != nil && !fault.Is(err, store.CodeUnknown) {
		return fromError(err)
	}
	s := f.streamSettings(before.Settings.URL)
	enabled := f.flag(fieldEnabled, before.Enabled)
	if e := f.mistakes(); e != nil {
		return e
	}
	if before.Enabled && !enabled { // first, as some of it can change only then
		if _, err := a.DataStreams.Disable(x.ctx, who.ID, x.actor()); err != nil {
			return fromStreams(err)
		}
	}
	v, err := a.DataStreams.Put(x.ctx, who.ID, s, x.actor())
	if err == nil && enabled && !v.Enabled {
		v, err = a.DataStreams.Enable(x.ctx, who.ID, x.actor())
	}
	return x.sendDataStream(v, err)
}

// streamSettings are those of a stream, whose address was another one before; empty is that there was none.
func (f *fields) streamSettings(before string) changes.Settings {
	s := changes.Settings{
		URL:               f.webhookURL(fieldStreamURL),
		RecordsPerRequest: int(f.whole(fieldPerRequest, 500, 1, mostPerRequest)),
		RequestsPerMinute: int(f.whole(fieldPerMinute, 60, 1, mostRequestsPerMinute)),
		Channels:          f.someOf(fieldChannels, changes.Channels, changes.Channels[:1]),
		ContentEncoding:   f.flag(fieldEncoding, false),
	}
	s.Secret = config.NewSecret(f.sharedSecret(s.URL, before))
	if s.OrganizationID, _ = f.text(fieldOrganization); s.OrganizationID != printable(s.OrganizationID, mostOrganization) {
		f.wrong(fieldOrganization, "expected %d printable characters at most.", mostOrganization)
	}
	s.Certificate = f.certificate()
	s.Pins = f.pins()
	return s
}

// sharedSecret is the secret that requests carry; empty keeps the one that is there, as long as it goes to the same host: or
// whoever may change an address could have the secret sent to his own.
func (f *fields) sharedSecret(address, before string) string {
	text, given := f.text(fieldSharedSecret)
	switch {
	case f.values[fieldSharedSecret] != nil && !given: // it was said
	case !given && before == "":
		f.add(MissingParameter, fieldSharedSecret, fieldSharedSecret+" is missing.")
	case given && text != hiddenValue:
		if text == "" || len(text) > mostSharedSecret || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			f.wrong(fieldSharedSecret, "expected 1 to %d printable characters of ASCII, without spaces.", mostSharedSecret)
		}
		return text
	case before == "":
		f.wrong(fieldSharedSecret, "%s stands for a secret that is there already, and there is none.", hiddenValue)
	case hostOf(address) != hostOf(before):
		f.wrong(fieldSharedSecret, "the secret that is there was sent to another host; give the secret itself.")
	}
	return ""
}

// certificate is the one that the receiver has to show, in PEM.
func (f *fields) certificate() string {
	text, given := f.text(fieldCertificate)
	if !given || text == "" {
		return ""
	}
	block, rest := pem.Decode([]byte(text))
	if block != nil && block.Type == "CERTIFICATE" && len(text) <= mostCertificate && strings.TrimSpace(string(rest)) == "" {
		if _, err := x509.ParseCertificate(block.Bytes); err == nil {
			return text
		}
	}
	f.wrong(fieldCertificate, "expected one certificate in PEM.")
	return ""
}

// pins are the SHA-256 of public keys, in base64 however they were written.
func (f *fields) pins() (out []string) {
	value, given := f.values[fieldPins]
	if !given {
		return nil
	}
	list, ok := value.([]any)
	if !ok || len(list) > mostPins {
		f.wrong(fieldPins, "expected a list of %d pins at most.", mostPins)
		return nil
	}
	for i, one := range list {
		text, _ := one.(string)
		sum, ok := pinOf(text)
		if !ok {
			f.wrong(pointerOf(fieldPins, strconv.Itoa(i)), "expected the SHA-256 of a public key (SPKI): 44 characters of base64, or sha256: and 64 hexadecimal digits.")
			continue
		}
		out = append(out, sum)
	}
	return out
}

// pinOf is a pin in base64.
func pinOf(text string) (string, bool) {
	if sum, ok := pin.Parse(text); ok {
		return pin.Base64(sum), true
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(text)
	return text, err == nil && len(sum) == 32
}

// switchDataStream answers what enables or disables the stream, which takes no fields.
func (x *exchange) switchDataStream(to func(s DataStreams, ctx context.Context, customer string, by store.Actor) (changes.View, error)) *Error {
	who, e := x.myDataStream()
	if e != nil {
		return e
	}
	f, e := x.readOptional([]string{}...)
	if e != nil {
		return e
	}
	if e := f.mistakes(); e != nil {
		return e
	}
	return x.sendDataStream(to(x.api.DataStreams, x.ctx, who.ID, x.actor()))
}

// enableDataStream answers POST /v1/customers/{customer_id}/data-stream/enable, and disableDataStream …/disable.
func (a *API) enableDataStream(x *exchange) *Error { return x.switchDataStream(DataStreams.Enable) }

func (a *API) disableDataStream(x *exchange) *Error { return x.switchDataStream(DataStreams.Disable) }

// resetDataStream answers POST /v1/customers/{customer_id}/data-stream/reset.
func (a *API) resetDataStream(x *exchange) *Error {
	who, e := x.myDataStream()
	if e != nil {
		return e
	}
	f, e := x.readFields(fieldChannel, fieldAbove, fieldAnew, fieldDry)
	if e != nil {
		return e
	}
	b := resetBody{Channel: f.oneOf(fieldChannel, "", changes.Channels), Above: f.whole(fieldAbove, 0, 0, math.MaxInt64),
		Anew: f.flag(fieldAnew, false), DryRun: f.flag(fieldDry, false)}
	if f.values[fieldChannel] == nil {
		f.add(MissingParameter, fieldChannel, fieldChannel+" is missing.")
	}
	if b.Anew && b.Above > 0 {
		f.add(ConflictingParameters, fieldAnew, fieldAnew+" copies everything, and "+fieldAbove+" names what not.")
	}
	if e := f.mistakes(); e != nil {
		return e
	}
	done, err := a.DataStreams.Reset(x.ctx, who.ID, b.Channel, b.Above, b.Anew, b.DryRun, x.actor())
	if err != nil {
		return fromStreams(err)
	}
	b.Documents = done.Documents
	x.send(http.StatusOK, typeJSON, b)
	return nil
}

// The states of a data stream.
const (
	streamDisabled = "disabled"
	streamStarting = "starting"
	streamRunning  = "running"
	streamFailing  = "failing"
	streamStopped  = "stopped"
)

func dataStreamBodyOf(v changes.View) *dataStreamBody {
	s := v.Settings
	b := &dataStreamBody{
		CustomerID: v.Customer, URL: s.URL, SharedSecret: hiddenValue, Certificate: s.Certificate, Pins: s.Pins, OrganizationID: or(s.OrganizationID, v.Customer),
		PerRequest: s.RecordsPerRequest, PerMinute: s.RequestsPerMinute, Channels: s.Channels, ContentEncoding: s.ContentEncoding, Enabled: v.Enabled,
		State: streamRunning, Error: streamError(v.Fault), Paused: v.Paused, Status: []dataStreamChannelBody{},
		CreatedAt: timeText(v.CreatedAt), UpdatedAt: timeText(v.UpdatedAt),
	}
	failing := v.Reading != nil
	for _, c := range v.Channels {
		failing = failing || c.Last != nil && c.Last.Code != ""
		b.Status = append(b.Status, dataStreamChannel(c))
	}
	switch {
	case !v.Enabled:
		b.State = streamDisabled
	case v.Fault != nil:
		b.State = streamStopped
	case failing:
		b.State = streamFailing
	case !v.Copied:
		b.State = streamStarting
	}
	if b.Error == nil {
		b.Error = streamError(v.Reading)
	}
	return b
}

// streamError is what is told of a fault of a stream, which holds what customers may know.
func streamError(f *store.StreamFault) *dataStreamErrorBody {
	if f == nil {
		return nil
	}
	return &dataStreamErrorBody{Code: f.Code, Message: f.Message, Suggestion: f.Hint, At: timeText(f.At)}
}

func dataStreamChannel(v changes.ChannelView) dataStreamChannelBody {
	c := dataStreamChannelBody{Channel: v.Name, Enabled: v.Enabled, Sequence: v.Sequence, Acknowledged: v.Acknowledged, AcknowledgedAt: timeOf(v.AcknowledgedAt),
		Lag: v.Lag, Waiting: v.Waiting, WaitingBytes: v.WaitingBytes, Again: v.ChannelState.Again}
	if v.LagTime > 0 {
		seconds := v.LagTime.Seconds()
		c.LagSeconds = &seconds
	}
	if last := v.Last; last != nil {
		c.Last = &dataStreamRequestBody{At: timeText(last.At), First: last.First, Last: last.Last, Documents: last.Documents, Bytes: last.Bytes,
			Seconds: float64(last.Milliseconds) / 1000, HTTPStatus: last.HTTPStatus, Processed: last.Acknowledged, Code: last.Code, Message: last.Message,
			Suggestion: last.Hint, NextAt: timeOf(last.RetryAt)}
	}
	return c
}
