package changes

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/webhook"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are what is set up of a customer's stream.
type Settings struct {
	// URL is where to post to; https only.
	URL string
	// Secret is what requests are authorised with. Empty keeps the one that is set up; the first Put needs one.
	Secret config.Secret
	// Pins are the SHA-256 of public keys (SPKI, standard base64) that the receiver's certificate may have, at most two, and
	// Certificate is one that it may be, in PEM. Where there is one of them no authority is asked, so that a certificate may be
	// self-signed.
	Pins        []string
	Certificate string
	// OrganizationID is what requests name the customer; the default is its id.
	OrganizationID string
	// RecordsPerRequest is 1 to 1,000; the default is 500. RequestsPerMinute is 1 to 300; the default is 60.
	RecordsPerRequest int
	RequestsPerMinute int
	// Channels are those that are enabled, at least one. They change only while the stream is disabled.
	Channels []string
	// ContentEncoding has requests say Content-Encoding beside Encoding.
	ContentEncoding bool
}

// View is a stream as it is shown.
type View struct {
	Customer string
	// Settings are without the secret; the default values are filled in.
	Settings Settings
	Enabled  bool
	// Fault is why the stream stands, until it is enabled again; nil is none.
	Fault                *store.StreamFault
	CreatedAt, UpdatedAt time.Time
	// Copied: the source has a position, so that something was read.
	Copied bool
	// Paused names the channels whose waiting documents have reached their bound: nothing is read before they are fewer.
	Paused []string
	// Reading is why reading, which is tried again by itself, does not succeed; nil is none.
	Reading *store.StreamFault
	// Channels are the channels that there are, in the order of the variable Channels.
	Channels []ChannelView
}

// ChannelView is one channel of a stream.
type ChannelView struct {
	Name    string
	Enabled bool
	store.ChannelState
	// Lag is how many numbers the receiver has not acknowledged, and LagTime how long ago the first of them was committed; 0
	// where there is none, or that is not known.
	Lag     int64
	LagTime time.Duration
	// Last is the last request and what came of it; nil is none yet.
	Last *Request
}

// Request is a request and its answer.
type Request struct {
	At time.Time `json:"at"`
	// First and Last are the numbers that were sent, of so many documents and in so many bytes before compression.
	First     int64 `json:"first"`
	Last      int64 `json:"last"`
	Documents int   `json:"documents"`
	Bytes     int   `json:"bytes"`
	// Milliseconds is how long it took.
	Milliseconds int64 `json:"milliseconds"`
	HTTPStatus   int   `json:"http_status,omitempty"`
	// Code and Message say what was wrong; both are empty of a good answer, which has the number in Acknowledged.
	Code         string `json:"code,omitempty"`
	Message      string `json:"message,omitempty"`
	Hint         string `json:"hint,omitempty"`
	Acknowledged int64  `json:"acknowledged,omitempty"`
	// RetryAt is when the next one follows one that was not good.
	RetryAt time.Time `json:"retry_at,omitzero"`
}

// ResetResult is what a reset comes to.
type ResetResult struct {
	// Documents are read again, deleted ones included: of all channels where they are copied anew.
	Documents int64
}

// Bounds of settings, and what they are where nothing is said.
const (
	mostRecords, defaultRecords   = 1000, 500
	mostRequests, defaultRequests = 300, 60
	mostPins                      = 2
	mostOrganization              = 256
	mostSecret                    = 4096
	mostCertificate               = 64 << 10
)

// Put sets a stream up, disabled, or changes what is set up, which takes effect at once.
func (m *Manager) Put(ctx context.Context, customer string, s Settings, by store.Actor) (View, error) {
	before, err := m.cfg.Record.Stream(ctx, customer)
	unknown := fault.Is(err, store.CodeUnknown)
	if err != nil && !unknown {
		return View{}, err
	}
	if err := s.complete(); err != nil {
		return View{}, err
	}
	next := store.Stream{Customer: customer, URL: s.URL, Secret: before.Secret, Pins: s.Pins, Certificate: s.Certificate, OrganizationID: s.OrganizationID,
		RecordsPerRequest: s.RecordsPerRequest, RequestsPerMinute: s.RequestsPerMinute, Channels: s.Channels, ContentEncoding: s.ContentEncoding}
	switch secret := s.Secret.Reveal(); {
	case secret != "":
		next.Secret = m.cfg.Key.Seal(secretPurpose, customer, []byte(secret))
	case unknown:
		return View{}, wrongSetting("secret", "there is no shared secret")
	}
	if before.Enabled && !slices.Equal(before.Channels, next.Channels) {
		return View{}, fault.New(store.CodeStreamEnabled, fault.Usage, "the channels of a stream change only while it is disabled").
			WithHint("disable it first")
	}
	audit := audited("data_stream.put", customer, by, map[string]string{"channels": strings.Join(next.Channels, " ")})
	if _, err := m.cfg.Record.PutStream(ctx, next, audit); err != nil {
		return View{}, err
	}
	m.Wake()
	return m.Get(ctx, customer)
}

func audited(what, customer string, by store.Actor, details map[string]string) store.Audit {
	return store.Audit{At: time.Now(), Who: by.Who, What: what, Customer: customer, From: by.From, RequestID: by.RequestID, Outcome: "ok", Details: details}
}

func wrongSetting(setting, format string, args ...any) *fault.Fault {
	return fault.New(CodeSettings, fault.Usage, format, args...).WithDetail(fault.DetailSetting, setting)
}

// complete checks settings, fills in what is not said, and brings them into one form.
func (s *Settings) complete() error {
	if err := webhook.CheckURL(s.URL); err != nil {
		return wrongSetting("url", "%s", fault.From(err).Message)
	}
	secret := s.Secret.Reveal()
	if len(secret) > mostSecret || strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return wrongSetting("secret", "the shared secret is a text of 1 to %d visible characters of ASCII without spaces, as it stands in a header", mostSecret)
	}
	if len(s.Pins) > mostPins {
		return wrongSetting("pins", "there are %d pins; at most %d are possible, the one in use and the next", len(s.Pins), mostPins)
	}
	for _, pin := range s.Pins {
		if raw, err := base64.StdEncoding.Strict().DecodeString(pin); err != nil || len(raw) != 32 {
			return wrongSetting("pins", "a pin is the SHA-256 of a public key (SPKI) in standard base64, 44 characters").
				WithHint("openssl x509 -in CERTIFICATE -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64")
		}
	}
	if s.Certificate != "" {
		block, rest := pem.Decode([]byte(s.Certificate))
		if len(s.Certificate) > mostCertificate || block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
			return wrongSetting("certificate", "the certificate is not one in PEM, that of the receiver and no other")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return wrongSetting("certificate", "the certificate cannot be read")
		}
	}
	if len(s.OrganizationID) > mostOrganization || !utf8.ValidString(s.OrganizationID) {
		return wrongSetting("organization_id", "the organization is named by a text of at most %d bytes", mostOrganization)
	}
	s.RecordsPerRequest, s.RequestsPerMinute = cmp.Or(s.RecordsPerRequest, defaultRecords), cmp.Or(s.RequestsPerMinute, defaultRequests)
	if s.RecordsPerRequest < 1 || s.RecordsPerRequest > mostRecords {
		return wrongSetting("records_per_request", "there are 1 to %d records per request", mostRecords)
	}
	if s.RequestsPerMinute < 1 || s.RequestsPerMinute > mostRequests {
		return wrongSetting("requests_per_minute", "there are 1 to %d requests a minute", mostRequests)
	}
	for _, channel := range s.Channels {
		if !slices.Contains(Channels, channel) {
			return wrongSetting("channels", "there is no channel %q", channel).WithHint("the channels are %s", strings.Join(Channels, " and "))
		}
	}
	if len(s.Channels) == 0 {
		return wrongSetting("channels", "no channel is enabled").WithHint("the channels are %s", strings.Join(Channels, " and "))
	}
	s.Channels = slices.DeleteFunc(slices.Clone(Channels), func(channel string) bool { return !slices.Contains(s.Channels, channel) })
	return nil
}

// secret is what requests of a stream are authorised with.
func (m *Manager) secret(s store.Stream) (config.Secret, error) {
	text, err := m.cfg.Key.Open(secretPurpose, s.Customer, s.Secret)
	if err != nil {
		return config.Secret{}, fault.New(CodeSealed, fault.Internal, "the shared secret of the stream does not open: %w", err).
			WithHint("%s; or set the secret up again", fault.From(err).Hint)
	}
	return config.NewSecret(string(text)), nil
}

// Get is a stream as it stands; store.CodeUnknown where none is set up.
func (m *Manager) Get(ctx context.Context, customer string) (View, error) {
	s, err := m.cfg.Record.Stream(ctx, customer)
	if err != nil {
		return View{}, err
	}
	state, note, position, err := m.state(ctx, customer)
	if err != nil {
		return View{}, err
	}
	v := View{Customer: customer, Enabled: s.Enabled, Fault: s.Fault, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, Copied: position != "",
		Reading: note.Reading, Settings: Settings{URL: s.URL, Pins: s.Pins, Certificate: s.Certificate, OrganizationID: cmp.Or(s.OrganizationID, customer),
			RecordsPerRequest: s.RecordsPerRequest, RequestsPerMinute: s.RequestsPerMinute, Channels: s.Channels, ContentEncoding: s.ContentEncoding}}
	of := map[string]store.ChannelState{}
	for _, name := range Channels {
		c := ChannelView{Name: name, Enabled: enabled(s, name), ChannelState: state.Channels[name]}
		c.Lag = c.Sequence - c.Acknowledged
		if !c.OldestAt.IsZero() {
			c.LagTime = max(0, time.Since(c.OldestAt))
		}
		if last, ok := note.Last[name]; ok {
			c.Last = &last
		}
		if c.Enabled {
			of[name] = c.ChannelState
		}
		v.Channels = append(v.Channels, c)
	}
	if s.Enabled {
		v.Paused = m.full(of)
	}
	return v, nil
}

// state reads a stream's database.
func (m *Manager) state(ctx context.Context, customer string) (state store.StreamState, note memo, position string, err error) {
	log, err := m.cfg.Record.Log(ctx, customer)
	if err != nil {
		return state, note, "", err
	}
	defer log.Close()
	if state, err = log.State(ctx); err == nil {
		note, position, err = readMemo(state.Position)
	}
	return state, note, position, err
}
