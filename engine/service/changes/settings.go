package changes

import (
	"context"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
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

// Put sets a stream up, disabled, or changes what is set up, which takes effect at once.
func (m *Manager) Put(ctx context.Context, customer string, s Settings, by store.Actor) (View, error) {
	return View{}, errNotYet
}

// Get is a stream as it stands; store.CodeUnknown where none is set up.
func (m *Manager) Get(ctx context.Context, customer string) (View, error) {
	return View{}, errNotYet
}

// Check says whether a stream could be enabled: its channels have tables, its pipeline binds, and the source's own check finds
// nothing wrong.
func (m *Manager) Check(ctx context.Context, customer string) error {
	return errNotYet
}

// Enable checks a stream and has it run.
func (m *Manager) Enable(ctx context.Context, customer string, by store.Actor) (View, error) {
	return View{}, errNotYet
}

// Disable ends a stream. What waits stays.
func (m *Manager) Disable(ctx context.Context, customer string, by store.Actor) (View, error) {
	return View{}, errNotYet
}

// Reset has the documents of a channel whose latest numbers are above one read again, when the stream is enabled; it has to be
// disabled: store.CodeStreamEnabled. With anew, which needs above to be 0, the source's position is forgotten, which all
// channels share, so that all documents of all channels are copied and numbered again. A dry one only counts.
func (m *Manager) Reset(ctx context.Context, customer, channel string, above int64, anew, dry bool, by store.Actor) (ResetResult, error) {
	return ResetResult{}, errNotYet
}
