package engine

import "github.com/cipherstream/cipherstream/sdk/stage"

// Sink is where a run's output goes: Open, Write for each piece in order, then Commit or Abort. A caller's own is called
// in this process; see stage.Sink for the contract.
type Sink = stage.Sink

// Streamer is what a sink is as well whose bytes are seen as they come: the body of a response, a pipe.
type Streamer = stage.Streamer

// Object is what a sink is told when it is opened, and Delivery what it says when it has committed.
type (
	Object   = stage.Object
	Media    = stage.Media
	Delivery = stage.Receipt
)
