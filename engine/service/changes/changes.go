// Package changes is the Data Stream: it numbers every change of a practice's database, keeps what was numbered until the
// customer's receiver has it, and posts it there, by the contract of the service. It has two halves. The ingest is a run of
// a source of changes (sdk/changes) into a sink that writes numbers, index, documents and the source's position in one
// transaction; the sender posts what waits, and saves what the receiver acknowledges. One process at a time does that for
// a stream, by a lease. The package owns the order of all that; it never reads a database itself.
//
// # Exactness
//
// Every batch of the source is written with the position behind it, so that a source that is run again goes on behind what was
// numbered: nothing is left out, and nothing is numbered twice. A number is given once, to a text that is kept until it is
// acknowledged, so that no number has two contents however often it is sent. What cannot be followed stops the stream with its
// code, which somebody has to end; what may go away by itself, the database and the receiver above all, is tried again for ever,
// with pauses up to a minute. No answer of a receiver has a document skipped.
//
// A process that takes a stream first writes under its own fence: from then on the one before it writes nothing, and what is
// read of the record then is what there is. A request is written down before it goes out, which proves the lease, and lets the
// limit of requests hold over processes (limit, memo).
//
// # Reset
//
// A reset marks documents in the record's index. Runs of the source that end read them again by their ids, as many at once as
// may be asked for, each joining the log; when none is left, the run begins that does not end. A reset anew forgets the position,
// which all channels share, so that all of them are marked: one run copies everything, and what is marked yet when it has ended
// was deleted, which asking for it shows.
package changes

import (
	"context"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// Record is what is remembered of streams, all of them together.
type Record interface {
	// Streams are all that are set up, by customer.
	Streams(ctx context.Context) ([]store.Stream, error)
	// Stream is one; store.CodeUnknown where there is none.
	Stream(ctx context.Context, customer string) (store.Stream, error)
	// PutStream sets one up, or changes what is set up. Whether it is enabled, its fault and CreatedAt stay.
	PutStream(ctx context.Context, s store.Stream, audit store.Audit) (store.Stream, error)
	// SwitchStream enables or disables it; enabling ends its fault. Where it is so already nothing changes.
	SwitchStream(ctx context.Context, customer string, enabled bool, audit store.Audit) (store.Stream, error)
	// FailStream notes, with its audit, why the stream stands. It stays enabled, and is not claimed while it has a fault. It
	// is store.CodeStreamLost where the lease is another's.
	FailStream(ctx context.Context, l store.StreamLease, f store.StreamFault, audit store.Audit) error
	// ClaimStream gives the stream to a holder, if it is enabled, has no fault, and no lease of it holds: ok says so. A holder
	// that has it already gets it anew, with a higher fence.
	ClaimStream(ctx context.Context, customer, holder string) (l store.StreamLease, ok bool, err error)
	// ClaimDisabled gives a stream that is disabled to a holder, for a reset, which needs a fence: ok is false while a lease of
	// it holds that is another's. It is store.CodeStreamEnabled where the stream is enabled. Such a lease is not renewed, and
	// nobody has the stream, enabled again, before it is released or over.
	ClaimDisabled(ctx context.Context, customer, holder string) (l store.StreamLease, ok bool, err error)
	// RenewStream prolongs a lease: store.CodeStreamLost where it is another's, or the stream was disabled.
	RenewStream(ctx context.Context, l store.StreamLease) (store.StreamLease, error)
	// ReleaseStream gives a lease back. One that is another's by now changes nothing.
	ReleaseStream(ctx context.Context, l store.StreamLease) error
	// AppendAudit adds a row to the audit.
	AppendAudit(ctx context.Context, a store.Audit) error
	// Log opens the database of a customer's stream, and makes it where there is none. It may be open many times at once.
	Log(ctx context.Context, customer string) (store.StreamLog, error)
}
