// Package stage defines what a pipeline stage is: the six kinds, the three
// shapes of data that flow between them, and the contract that a plugin author
// implements for each kind. It owns the contracts and the definitions that tie
// a contract to its settings; it never runs a stage (package runner does) and
// never moves data between processes (package wire does).
//
// Plugin authors import package sdk, which re-exports everything here.
package stage

// Kind is one of the six kinds of stage.
type Kind string

// The kinds, in the usual order of a pipeline.
const (
	KindSource     Kind = "source"
	KindFilter     Kind = "filter"
	KindEncoder    Kind = "encoder"
	KindCompressor Kind = "compressor"
	KindEncryptor  Kind = "encryptor"
	KindSink       Kind = "sink"
)

// Kinds lists every kind in the usual order of a pipeline.
var Kinds = []Kind{KindSource, KindFilter, KindEncoder, KindCompressor, KindEncryptor, KindSink}

// Shape is the form of the data between two stages. Every shape is a stream of
// Arrow record batches.
type Shape string

// The shapes.
const (
	// ShapeNone is what a source takes and a sink gives: nothing.
	ShapeNone Shape = ""
	// ShapeTable is typed columns, as a source delivers them.
	ShapeTable Shape = "table"
	// ShapeRecords is one binary column; each value is one encoded record with its
	// line end.
	ShapeRecords Shape = "records"
	// ShapeBytes is one binary column whose values are consecutive pieces of one
	// byte stream.
	ShapeBytes Shape = "bytes"
)

// Accepts reports whether a stage that takes shape s can follow one that gives
// from. Records are accepted wherever bytes are.
func (s Shape) Accepts(from Shape) bool {
	return s == from || s == ShapeBytes && from == ShapeRecords
}
