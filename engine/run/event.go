package run

import (
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Event is something that happened in a run: an Awaiting, Attached, Started, Opened, Progress, Checkpoint, Log,
// StagesEnded or Ended. A run that attaches processes begins with Awaiting and Attached; every other one begins with Started. The last
// event is Ended.
type Event interface{ event() }

// Awaiting says that the run waits until a process is attached, which the host does not start.
type Awaiting struct {
	Stage  string
	Plugin string
	// Environment is what has to be in the process's environment, as NAME=VALUE.
	Environment string
	// Program and Args are what the host would start; another build does as well.
	Program string
	Args    []string
	// Interpreter is the name of what runs Program, such as python3 or node; empty where Program runs by itself.
	Interpreter string
}

// Attached says that the process has been attached.
type Attached struct {
	Stage  string
	Plugin string
	PID    int // 0 is unknown
}

// Started says that every process is up.
type Started struct {
	RunID     string
	Processes []ProcessInfo
}

// ProcessInfo is one process group of the run.
type ProcessInfo struct {
	Plugin string
	// PID is 0 for stages in the host's own process.
	PID    int
	Stages []string
}

// Opened says what the source delivers.
type Opened struct {
	Columns []Column
	// EstimatedRows is about how many rows will come, where the source can say (stage.RowEstimator); 0 is unknown. More
	// may come, or fewer.
	EstimatedRows int64
}

// Column is one column of the source's schema.
type Column struct {
	Name       string
	Type       string // the Arrow type
	Nullable   bool
	SourceType string // the type's name at the source, if known
}

// Progress is sent about four times a second.
type Progress struct {
	// Rows that the source has delivered, and bytes that the sink was given.
	Rows, Bytes int64
	// EncodedRows and EncodedBytes are as in the receipt, so far. They stay 0 where the encoder's program does not say.
	EncodedRows, EncodedBytes int64
	Elapsed                   time.Duration
}

// Checkpoint says how far a source has come that a later run can continue (stage.Checkpointer), about four times a
// second, the newest only. The rows before it have left the source, and may not have reached the sink: a position is
// safe to keep when a TableSink of the caller's has been given it (stage.Rows), or, of any sink, when the run has been
// committed.
type Checkpoint struct {
	Position string
	// Rows is how many rows the source had delivered by then.
	Rows int64
}

// Log is a line from a stage.
type Log struct {
	Level      int // as in log/slog
	Stage      string
	Message    string
	Attributes map[string]string
}

// StagesEnded says that the stages of a process have come to their end, and what they did. Those of a process that ended without
// an account are told of by Ended alone.
type StagesEnded struct {
	Stages []string
	// Rows entered the first of them, and Bytes left the last one.
	Rows, Bytes int64
	// EncodedRows and EncodedBytes are as in the receipt; 0 where no encoder is among them.
	EncodedRows, EncodedBytes int64
}

// Ended carries the outcome: the receipt and, of a run that has failed, the fault that ended it. The receipt of a
// failed run says what was done until then.
type Ended struct {
	Receipt *Receipt
	Fault   *fault.Fault
}

func (Awaiting) event()    {}
func (Attached) event()    {}
func (Started) event()     {}
func (Opened) event()      {}
func (Progress) event()    {}
func (Checkpoint) event()  {}
func (Log) event()         {}
func (StagesEnded) event() {}
func (Ended) event()       {}
