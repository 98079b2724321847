package engine

import "github.com/cipherstream/cipherstream/sdk/stage"

// AnySink is where a run's output goes: a Sink or a TableSink, as the plan ends. A caller's own is called in this
// process; see package stage for the contract.
type AnySink = stage.Outcome

// Sink takes the output's bytes: Open, Write for each piece in order, then Commit or Abort.
type Sink = stage.Sink

// TableSink takes rows with their types: Open with the schema, Write for each batch in order, then Commit or Abort.
// Batches are borrowed and come without copies.
type TableSink = stage.TableSink

// Streamer is what a sink is as well whose output is seen as it comes: the body of a response, a pipe.
type Streamer = stage.Streamer

// Object and Table are what a sink is told when it is opened, Rows is a batch and its place, and Delivery what a sink
// says when it has committed.
type (
	Object   = stage.Object
	Media    = stage.Media
	Table    = stage.Table
	Rows     = stage.Rows
	Delivery = stage.Receipt
)
