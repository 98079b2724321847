package store

import (
	"context"
	"time"

	"github.com/cipherstream/cipherstream/sdk/changes"
)

// Codes of what goes wrong with data streams.
const (
	// CodeStreamEnabled: the stream is enabled, and what is asked for is possible only while it is not.
	CodeStreamEnabled = "store.stream_enabled"
	// CodeStreamLost: another process has the stream by now.
	CodeStreamLost = "store.stream_lost"
	// CodeStreamSequence: a number is none that can be acknowledged, or reset to.
	CodeStreamSequence = "store.stream_sequence"
	// CodeStreamDocument: what names a document cannot be written.
	CodeStreamDocument = "store.stream_document"
)

// Stream is what is set up for a customer's data stream.
type Stream struct {
	Customer string
	URL      string
	// Secret is the bearer text that requests carry, sealed for the customer; see package datakey.
	Secret []byte
	// Pins are the SHA-256 of public keys (SPKI, standard base64) that the receiver's certificate may have, at most two;
	// Certificate is one that it may be, in PEM. Where both are empty the system's authorities decide.
	Pins        []string
	Certificate string
	// OrganizationID is what requests name the customer; empty is Customer.
	OrganizationID    string
	RecordsPerRequest int
	RequestsPerMinute int
	Channels          []string // those that are enabled
	ContentEncoding   bool     // requests say Content-Encoding beside Encoding
	Enabled           bool
	// Fault is why the stream stands, until it is enabled again; nil is none.
	Fault *StreamFault
	// Times are of the record's clock.
	CreatedAt, UpdatedAt time.Time
}

// StreamFault says why a stream does not go on by itself.
type StreamFault struct {
	Code, Message, Hint string
	At                  time.Time
}

// StreamLease says that one process, and no other, reads and sends a stream. Fence grows with every holder of the stream.
type StreamLease struct {
	Customer, Holder string
	Fence            int64
	ExpiresAt        time.Time
}

// StreamLeaseTime is how long a lease holds that is not renewed, by the record's clock.
const StreamLeaseTime = 20 * time.Second

// StreamState is how far a stream is.
type StreamState struct {
	// Position is the source's; empty before the first copy.
	Position string
	Channels map[string]ChannelState
}

// ChannelState is how far one channel of a stream is.
type ChannelState struct {
	// Sequence is the last number that was given, Acknowledged the last one that the receiver has said to have.
	Sequence, Acknowledged int64
	AcknowledgedAt         time.Time
	// Waiting and WaitingBytes are the documents that were not acknowledged, OldestAt when the first of them was committed
	// (zero where there is none, or it is not known).
	Waiting, WaitingBytes int64
	OldestAt              time.Time
	// ResetAbove and ResetUntil are the latest numbers, ResetAbove excluded, of documents that a reset has read again. Both
	// are zero where there is none.
	ResetAbove, ResetUntil int64
	// Again is how many of them are left.
	Again int64
}

// Append is what is written of a piece of a stream in one transaction.
type Append struct {
	// Position is the source's behind these changes; empty leaves what is there.
	Position string
	Changes  []Change
}

// Change is a document that was written or deleted.
type Change struct {
	Channel, Type, ID string
	Deleted           bool
	// Again numbers what was deleted before and is deleted still; without it that changes nothing. The delete of a document
	// that was never numbered changes nothing in any case.
	Again bool
	// Same skips a change whose Digest is that of the document's last one.
	Same bool
	// Digest is the SHA-256 of the document's text.
	Digest [32]byte
	// Sealed is the document's text as it is sent, sealed by the caller.
	Sealed      []byte
	CommittedAt time.Time // zero is not known
}

// Waiting is a document that was not acknowledged.
type Waiting struct {
	Sequence    int64
	Type, ID    string
	Deleted     bool
	Sealed      []byte
	CommittedAt time.Time
}

// StreamLog is the database of one stream. It is one of its own, so that much work on it holds up nothing else of the record.
// What is written carries the fence of its writer's lease: a lower one than was seen before is CodeStreamLost. It stands here, and not with who uses it,
// because the record opens one.
type StreamLog interface {
	// State is how far the stream is.
	State(ctx context.Context) (StreamState, error)
	// Append numbers changes in their order, one number higher for each in its channel, writes index and waiting documents,
	// and the position, all in one transaction. A document that is changed twice gets two numbers, and both wait.
	Append(ctx context.Context, fence int64, a Append) (numbered int, err error)
	// Waiting are the first documents of a channel behind a number, ascending: at most so many, and so many bytes of sealed
	// text, but one at least where there is one.
	Waiting(ctx context.Context, channel string, after int64, most int, bytes int64) ([]Waiting, error)
	// Acknowledge notes that the receiver has all up to a number, and removes those. A number that is lower than the one
	// before, or higher than what was given, is an error that changes nothing.
	Acknowledge(ctx context.Context, fence int64, channel string, sequence int64) error
	// Documents are the ids of a type's documents that are not deleted and whose latest number is none above one, in the order of
	// those numbers, so many at most.
	Documents(ctx context.Context, channel, kind string, until int64, most int) (ids []string, err error)
	// Above counts the documents whose latest number is above one.
	Above(ctx context.Context, channel string, above int64) (int64, error)
	// Reset has the documents of a channel read again whose latest number is above one, and throws away those of them that
	// wait. With anew, which needs above to be 0, the position is forgotten as well, so that everything is copied first. It
	// returns how many are read again. What an earlier reset has left to read stays to be read.
	Reset(ctx context.Context, fence int64, channel string, above int64, anew bool) (int64, error)
	// Again are the next documents that a reset has left to read, in the order of their latest numbers, so many at most. One
	// that gets a new number is not among them any more.
	Again(ctx context.Context, channel string, most int) ([]changes.Document, error)
	Close() error
}
