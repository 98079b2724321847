package stage

import (
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
)

// Source reads rows from somewhere.
//
// The runner calls Open once, then Next until it returns an error, then Close,
// always from one goroutine at a time. Next returns io.EOF after the last row. By then the source must have read
// everything to its end: an error that the server sends behind the last row is returned instead of io.EOF. The caller
// owns each record and releases it.
type Source interface {
	Open(ctx context.Context) (*arrow.Schema, error)
	Next(ctx context.Context) (arrow.Record, error)
	Close() error
}

// RowEstimator is an optional ability of a source. After Open the runner asks once: EstimateRows returns about how many
// rows will come, or 0 where that is not known without reading them. It is for people who wait: nothing relies on it.
type RowEstimator interface {
	EstimateRows() int64
}

// Checkpointer is an optional ability of a source that a later run can continue, such as one that follows changes. The
// runner asks after each Next that gave a batch, from the same goroutine: Checkpoint returns the position up to which
// everything that the source has delivered, this batch included, is covered, and "" where there is no new one. A batch
// without rows may carry one.
//
// A position is text that only the source understands, and takes as a setting of a later run. It is UTF-8, has at most
// LongestCheckpoint bytes, and holds no secret, and of rows at most the key of the one behind which it goes on: whoever
// keeps it keeps it as the rows' ids are kept, and logs it nowhere. A TableSink finds it in Rows, behind every row that it
// covers; whoever started the run is told it as an event, earlier.
type Checkpointer interface {
	Checkpoint() string
}

// LongestCheckpoint bounds a position, in bytes.
const LongestCheckpoint = 16 << 10

// CheckpointBreach says what is wrong with a source's position; "" is nothing.
func CheckpointBreach(position string) string {
	switch {
	case len(position) > LongestCheckpoint:
		return fmt.Sprintf("a checkpoint of %d bytes; at most %d are possible", len(position), LongestCheckpoint)
	case !utf8.ValidString(position):
		return "a checkpoint that is not UTF-8"
	}
	return ""
}

// Filter turns record batches into record batches: it drops, adds or changes
// columns or rows, and keeps their order.
//
// Bind is called once, before the first Apply. Apply borrows the record it is
// given and returns one that the caller owns and releases; to hand the input
// through, retain it. A result of zero rows is fine. With About.Concurrent,
// Apply is called from several goroutines at once. Only an Ender may hold rows back.
type Filter interface {
	Bind(in *arrow.Schema) (out *arrow.Schema, err error)
	Apply(ctx context.Context, in arrow.Record) (arrow.Record, error)
}

// Ender is an optional ability of a filter. End is called once, from one goroutine, after the last Apply has returned
// and when the input has ended well, also when there was no batch; never after a failure. It may give rows that the
// filter has held back: emit sends a batch on, behind all other rows, and returns when the stages behind have room. The
// batch has the schema that Bind returned and stays the filter's own; End returns an error of emit as it is. A filter
// with About.KeepsRows has no rows left to give, and uses End to check totals for instance. Behind any other Ender a
// source's checkpoints are delivered after End, because the rows before them may be held back until then.
type Ender interface {
	End(ctx context.Context, emit func(arrow.Record) error) error
}

// Finisher is an optional ability of a filter that is not About.Concurrent. Finished reports, after an Apply, that no
// further row will come out of the filter, whatever comes in. The runner then ends what stands before it well: the source
// is closed although it has more rows, and what filters before would have said or given at the end does not count. In the
// same process a fault of a later row does not count either. A source in another process is told: what it meets before it
// hears of that fails the run, and a plugin that does not listen (sdk/PROTOCOL.md) is read to its end. The filter is
// given batches that were under way, and gives none of their rows.
type Finisher interface {
	Finished() bool
}

// Inverse is an optional ability of a filter, for checks of a pipeline that read no data. Before is given the schema
// out that the filter has to produce, and returns the schema that it needs as its input for that, as far as this can be
// known: see MetaUnknown and MetaOpen. The planner then calls Bind with that input. A column of out that is missing in
// what Bind returns is reported as dropped by the filter.
type Inverse interface {
	Before(out *arrow.Schema) *arrow.Schema
}

// Rows is a record batch and its place in the stream.
type Rows struct {
	arrow.Record
	// First is the index of the batch's first row in the stream, from 0.
	First int64
	// Checkpoint is set in batches of a TableSink only: a position that the source gave (Checkpointer), or "" for none.
	// All rows that the source had delivered up to that position are in this batch and the ones before it.
	Checkpoint string
}

// Totals is what went through a stage when the stream has ended.
type Totals struct {
	// Rows is the number of rows that the stage was given.
	Rows int64
}

// Encoder turns typed rows into text or bytes.
//
// The runner calls Bind, then Begin, then Encode for every batch, then End. Each
// appends to out. A stage whose About.Out is ShapeRecords ends each record with
// out.EndRecord. With About.Concurrent, Encode is called from several goroutines
// at once with different outputs, and the results are put back in order; Rows.First
// tells a batch's place. Borrowed records must not be kept after Encode returns.
type Encoder interface {
	Bind(in *arrow.Schema) (Media, error)
	Begin(out *Output) error
	Encode(ctx context.Context, rows Rows, out *Output) error
	End(total Totals, out *Output) error
}

// Compressor turns a byte stream into a smaller one.
//
// The runner calls Bind with what the stage before it gives, then Begin, then
// Compress for consecutive pieces of the stream, then End. With
// About.Concurrent, Compress is called from several goroutines at once, each
// call being one piece; a stage that needs to see the results in order
// implements Merger too.
type Compressor interface {
	Bind(in Media) (Media, error)
	Begin(out *Output) error
	Compress(ctx context.Context, piece []byte, out *Output) error
	End(out *Output) error
}

// Merger is an optional ability of a concurrent compressor. Merge is called once
// for every piece, in stream order and from one goroutine, with the output that
// Compress made of it (its Note included); it may change that output.
type Merger interface {
	Merge(out *Output) error
}

// Chunk is consecutive encoded records, or pieces of a byte stream.
type Chunk struct {
	// Data is the bytes, end to end.
	Data []byte
	// Ends holds the end offset in Data of every record. It is nil for ShapeBytes.
	Ends []int
	// First is the stream index of the first record, from 0; for ShapeBytes it is
	// the index of the chunk itself.
	First int64
}

// Encryptor seals records (About.In and Out are ShapeRecords) or chunks of a
// byte stream (both are ShapeBytes).
//
// With About.Concurrent, Seal is called from several goroutines at once; the
// index of the first unit is in the chunk.
type Encryptor interface {
	Bind(in Media) (Media, error)
	Begin(out *Output) error
	Seal(ctx context.Context, in Chunk, out *Output) error
	End(out *Output) error
}

// Outcome is the second phase of every sink: what was written becomes visible, or leaves no trace.
//
// Abort is called when a method of the sink has returned an error, and when the run fails elsewhere. It removes all
// traces; calling it twice, or after Commit, does nothing. A Commit whose context ends may stop early or finish: its
// result says which, and decides about the run.
type Outcome interface {
	Commit(ctx context.Context) (Receipt, error)
	Abort(ctx context.Context) error
}

// Sink delivers a byte stream. It has two phases: nothing is visible under its
// final name before Commit, but see Streamer.
//
// The runner calls Open, then Write in stream order, then Commit or Abort. Write
// must not keep the slice. When its context ends, Write has two seconds to return; after that Abort is called
// although Write has not returned.
type Sink interface {
	Open(ctx context.Context, object Object) error
	Write(ctx context.Context, p []byte) error
	Outcome
}

// TableSink delivers rows with their types, as a database, a queue or a stream of documents takes them.
// It stands where the others stand behind an encoder, and has the same two phases.
//
// The runner calls Open once, which refuses what the sink cannot represent, then Write for every batch in
// order, then Commit or Abort. A batch is borrowed: Write keeps no part of it after it has returned, and
// it may have no rows, and a checkpoint all the same. All else is as with Sink.
type TableSink interface {
	Open(ctx context.Context, table Table) error
	Write(ctx context.Context, rows Rows) error
	Outcome
}

// Streamer is an optional ability of a sink of either sort. Streams reports, from Open on, whether bytes or rows can be
// read as soon as they are written, as in a pipe or the body of a response. Commit of such a sink only writes the end,
// and Abort cuts the stream, so that the reader sees that it is not complete.
type Streamer interface {
	Streams() bool
}
