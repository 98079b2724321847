package stage

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk/config"
)

// About describes a stage to people and to the planner.
type About struct {
	// Name is how a pipeline refers to the stage: `use: NAME`. Lower case, digits and dashes.
	Name string
	// Summary is one line; Doc is the longer text, in Markdown.
	Summary, Doc string
	// In and Out are the shapes that the stage takes and gives. The usual ones of
	// its kind are filled in when they are empty.
	In, Out Shape
	// Concurrent says that the per-batch method may be called from several
	// goroutines at once.
	Concurrent bool
	// KeepsRows says that a filter gives exactly one row for every row it takes.
	KeepsRows bool
}

// Env is what the runner gives to a stage.
type Env struct {
	// Log reaches the run's log under the stage's name. Never log row data or secrets.
	Log *slog.Logger
	// Memory allocates Arrow buffers. What a stage allocates it releases.
	Memory memory.Allocator
	// BatchRows and BatchBytes are the size that a source's batches aim at,
	// whichever comes first. Defaults: 8,192 rows and 4 MiB.
	BatchRows, BatchBytes int
	// Count adds to a named counter that appears in the receipt, for instance
	// "zero_dates". It is safe for concurrent use.
	Count func(name string, n int64)
	// Fact says something of this run that no number tells and that appears in the
	// receipt, for instance "connection". It is one line of at most 1,000 bytes; the last
	// one of a name counts. Never row data or secrets. It is safe for concurrent use.
	Fact func(name, value string)
	// Announce tells the host of something outside of this process that the stage is about to begin and that
	// outlives it: a temporary file, an upload, a session. It returns when the host has it, so that what is begun
	// afterwards is ended however the process ends; see Undoer, which the stage has to be. The stage calls release
	// when it has ended the thing itself, or has handed it over in Commit. It is called from Open on, and not when
	// the stage is made; an error means that nothing may be begun. Outside of a run it is nil or does nothing.
	Announce func(ctx context.Context, r Resource) (release func(), err error)
	// Dir is a private directory that is removed when the run ends.
	Dir string
	// Traceparent is the W3C trace context of who asked for the run, as the header of that name: for requests that a
	// stage makes, and for what it logs. Empty when there is none.
	Traceparent string
}

// The facts of a source that continues where an earlier run has ended (config.Cursor), stated when its last row is read.
// Whoever keeps the state takes them from the receipt of a run that has been committed.
const (
	// FactCursor is the greatest value of the cursor's column that was read, as text that is exact, and no later than
	// the time at which the rows were seen, by the clock of where they come from: a value from the future would leave
	// out the rows of all the time until then. A run without rows does not state it.
	FactCursor = "cursor"
	// FactCursorZone is the time zone that the value is shown in, of a timestamp or a date: UTC, an offset such as
	// +10:00, or a name.
	FactCursorZone = "cursor_zone"
	// FactCursorOrigin says where the rows come from, without credentials, such as the address and name of a database.
	FactCursorOrigin = "cursor_origin"
)

// Definition is a stage that a plugin offers: its description, its settings and
// how to make one.
type Definition struct {
	About
	Kind Kind
	Spec *config.Spec

	make func(settings []byte, env Env) (any, error)
}

// Make builds a stage from settings in JSON. The result implements the
// interface of the definition's kind.
func (d Definition) Make(settings []byte, env Env) (any, error) { return d.make(settings, env) }

// DefineSource declares a source with settings S.
func DefineSource[S any](about About, make func(S, Env) (Source, error)) Definition {
	return define(KindSource, about, ShapeNone, ShapeTable, make)
}

// DefineFilter declares a filter with settings S.
func DefineFilter[S any](about About, make func(S, Env) (Filter, error)) Definition {
	return define(KindFilter, about, ShapeTable, ShapeTable, make)
}

// DefineEncoder declares an encoder with settings S. Out is ShapeBytes unless
// about says ShapeRecords.
func DefineEncoder[S any](about About, make func(S, Env) (Encoder, error)) Definition {
	return define(KindEncoder, about, ShapeTable, ShapeBytes, make)
}

// DefineCompressor declares a compressor with settings S.
func DefineCompressor[S any](about About, make func(S, Env) (Compressor, error)) Definition {
	return define(KindCompressor, about, ShapeBytes, ShapeBytes, make)
}

// DefineEncryptor declares an encryptor with settings S. About names its shapes.
func DefineEncryptor[S any](about About, make func(S, Env) (Encryptor, error)) Definition {
	return define(KindEncryptor, about, ShapeBytes, ShapeBytes, make)
}

// DefineSink declares a sink with settings S.
func DefineSink[S any](about About, make func(S, Env) (Sink, error)) Definition {
	return define(KindSink, about, ShapeBytes, ShapeNone, make)
}

// DefineTableSink declares a sink that takes a table, with settings S.
func DefineTableSink[S any](about About, make func(S, Env) (TableSink, error)) Definition {
	return define(KindSink, about, ShapeTable, ShapeNone, make)
}

func define[S, T any](kind Kind, about About, in, out Shape, build func(S, Env) (T, error)) Definition {
	if about.In == ShapeNone {
		about.In = in
	}
	if about.Out == ShapeNone {
		about.Out = out
	}
	spec := config.Of[S]()
	return Definition{
		About: about,
		Kind:  kind,
		Spec:  spec,
		make: func(raw []byte, env Env) (any, error) {
			settings, err := config.Decode[S](spec, raw)
			if err != nil {
				return nil, fmt.Errorf("settings of %s %q: %w", kind, about.Name, err)
			}
			return build(settings, env)
		},
	}
}

// Bundle is the stages that one plugin program offers.
type Bundle struct {
	// Name is the plugin's name; `use: NAME/STAGE` refers to a stage in it.
	Name string
	// Version is the plugin's semantic version.
	Version string
	// Network says that a stage opens network connections, name lookups included. Who
	// installs the plugin must allow it. Default no network, where the system can
	// withhold it.
	Network bool
	// Stages are the definitions, their names unique.
	Stages []Definition
}

// Find returns the stage of that kind and name.
func (b Bundle) Find(kind Kind, name string) (Definition, bool) {
	for _, d := range b.Stages {
		if d.Kind == kind && d.Name == name {
			return d, true
		}
	}
	return Definition{}, false
}
