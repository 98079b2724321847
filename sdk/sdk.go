// Package sdk is what a plugin author imports. It re-exports the stage contracts
// (package stage), so that one import is enough, and Serve, which turns a list
// of stage definitions into a plugin program. It owns no behaviour of its own.
//
// README.md beside this file is the author's guide; "cipherstream plugin new" writes
// a module to begin with.
//
// A whole plugin:
//
//	func main() {
//		sdk.Serve(sdk.Bundle{Name: "upper", Version: "1.0.0", Stages: []sdk.Definition{
//			sdk.DefineFilter(sdk.About{Name: "upper", Summary: "Upper-cases text.", KeepsRows: true}, newUpper),
//		}})
//	}
package sdk

import (
	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/control"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// The contracts; see package stage for what each method promises.
type (
	Kind       = stage.Kind
	Shape      = stage.Shape
	Source     = stage.Source
	Filter     = stage.Filter
	Ender      = stage.Ender
	Finisher   = stage.Finisher
	Inverse    = stage.Inverse
	Encoder    = stage.Encoder
	Compressor = stage.Compressor
	Merger     = stage.Merger
	Encryptor  = stage.Encryptor
	Sink       = stage.Sink
	TableSink  = stage.TableSink
	Outcome    = stage.Outcome
	Streamer   = stage.Streamer
	Rows       = stage.Rows
	Chunk      = stage.Chunk
	Output     = stage.Output
	Totals     = stage.Totals
	Media      = stage.Media
	Object     = stage.Object
	Table      = stage.Table
	Receipt    = stage.Receipt
	About      = stage.About
	Env        = stage.Env
	Definition = stage.Definition
	Bundle     = stage.Bundle

	RowEstimator = stage.RowEstimator
	Checkpointer = stage.Checkpointer

	Resource = stage.Resource
	Undoer   = stage.Undoer

	SourceChecker = stage.SourceChecker
	SinkChecker   = stage.SinkChecker
	TableChecker  = stage.TableChecker
	Report        = stage.Report
	Finding       = stage.Finding
)

// Elsewhere is what Undo returns for something that does not belong to the place that its settings name.
func Elsewhere(format string, args ...any) error { return stage.Elsewhere(format, args...) }

// Foreign is what Undo returns for something that it cannot show to be its own.
func Foreign(format string, args ...any) error { return stage.Foreign(format, args...) }

// The shapes of data between stages.
const (
	ShapeTable   = stage.ShapeTable
	ShapeRecords = stage.ShapeRecords
	ShapeBytes   = stage.ShapeBytes
)

// Keys of Arrow field metadata.
const (
	MetaFraction   = stage.MetaFraction
	MetaLocalTime  = stage.MetaLocalTime
	MetaClocks     = stage.MetaClocks
	MetaJSON       = stage.MetaJSON
	MetaSourceType = stage.MetaSourceType
	MetaUnknown    = stage.MetaUnknown
	MetaOpen       = stage.MetaOpen
)

// TypeName is what a column's type is called wherever people read of it.
func TypeName(f arrow.Field) string { return stage.TypeName(f) }

// DefineSource declares a source with settings S.
func DefineSource[S any](about About, make func(S, Env) (Source, error)) Definition {
	return stage.DefineSource(about, make)
}

// DefineFilter declares a filter with settings S.
func DefineFilter[S any](about About, make func(S, Env) (Filter, error)) Definition {
	return stage.DefineFilter(about, make)
}

// DefineEncoder declares an encoder with settings S.
func DefineEncoder[S any](about About, make func(S, Env) (Encoder, error)) Definition {
	return stage.DefineEncoder(about, make)
}

// DefineCompressor declares a compressor with settings S.
func DefineCompressor[S any](about About, make func(S, Env) (Compressor, error)) Definition {
	return stage.DefineCompressor(about, make)
}

// DefineEncryptor declares an encryptor with settings S.
func DefineEncryptor[S any](about About, make func(S, Env) (Encryptor, error)) Definition {
	return stage.DefineEncryptor(about, make)
}

// DefineSink declares a sink with settings S.
func DefineSink[S any](about About, make func(S, Env) (Sink, error)) Definition {
	return stage.DefineSink(about, make)
}

// DefineTableSink declares a sink that takes a table, with settings S.
func DefineTableSink[S any](about About, make func(S, Env) (TableSink, error)) Definition {
	return stage.DefineTableSink(about, make)
}

// Serve runs a plugin program: it answers the host on the control service and
// runs the bundle's stages. It does not return until the host ends it; started
// by hand, it says what the program is and exits with 2.
func Serve(bundle Bundle) { control.Serve(bundle) }
