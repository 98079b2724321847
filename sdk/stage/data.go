package stage

import (
	"time"

	"github.com/apache/arrow/go/v15/arrow"
)

// Media says what a byte stream is.
type Media struct {
	// Type is the media type (RFC 6838) of the stream, "application/x-ndjson" for instance.
	Type string
	// Extension is the usual ending of a file's name with its dots: ".ndjson", ".csv.gz".
	Extension string
	// ContentEncoding is the HTTP content coding (RFC 9110, section 8.4.1) that was
	// applied: "gzip", or empty.
	ContentEncoding string
	// Sealed is true when records or chunks of the stream are encrypted.
	Sealed bool
}

// Object is what a sink is about to receive.
type Object struct {
	Media Media
	// RunID identifies the run; it is safe in a file name.
	RunID string
}

// Table is what a table sink is about to receive.
type Table struct {
	// Schema is that of every batch.
	Schema *arrow.Schema
	// RunID identifies the run; it is safe in a file name.
	RunID string
}

// Receipt is a sink's account of what it delivered.
type Receipt struct {
	// Bytes is the size of the object. A table sink that leaves an object of its own, such as the file of
	// a database, says its size and digest; one that adds to what was there leaves both out.
	Bytes int64
	// SHA256 is the lower-case hexadecimal digest of the object's bytes; empty where the sink was told to make none.
	SHA256 string
	// Location says where it is: a path, a URL without credentials, "stdout".
	Location string
	// Link is a URL by which the object can be fetched, and LinkExpires its real
	// end; empty where a sink gives none.
	Link        string
	LinkExpires time.Time
}

// Output collects what an encoder, compressor or encryptor makes of one batch.
// It is reused: a stage appends to Data and keeps no reference to it.
type Output struct {
	// Data is the bytes so far. Append to it.
	Data []byte
	// Ends holds the end offset of each record, for ShapeRecords only.
	Ends []int
	// Note travels from Compress to Merge.
	Note any
}

// EndRecord marks the end of Data as the end of a record.
func (o *Output) EndRecord() { o.Ends = append(o.Ends, len(o.Data)) }

// Write appends p, so that an Output is an io.Writer. It never fails.
func (o *Output) Write(p []byte) (int, error) {
	o.Data = append(o.Data, p...)
	return len(p), nil
}

// Reset empties the output and keeps its memory.
func (o *Output) Reset() {
	o.Data, o.Ends, o.Note = o.Data[:0], o.Ends[:0], nil
}

// Keys of Arrow field metadata that carry what a type alone cannot say.
const (
	// MetaFraction is the number of fractional second digits of a time column, "0" to "6".
	MetaFraction = "cipherstream.fraction"
	// MetaJSON is "true" on a text column whose values are JSON documents.
	MetaJSON = "cipherstream.json"
	// MetaSourceType is the type's name at the source, for instance "decimal(10,2)".
	MetaSourceType = "cipherstream.source_type"

	// MetaLocalTime is "true" on a timestamp column with a zone whose values a source knows only as
	// local times of that zone. A value in an hour that clocks showed twice stands for either instant:
	// an encoder that writes local times may write it, one that writes instants must refuse it.
	MetaLocalTime = "cipherstream.local_time"

	// MetaClocks, on a timestamp column in UTC, is what the clocks showed where no zone has a name: by how many seconds
	// they were ahead of UTC, and from which second since 1970 on by how many others, "36600,1775318400=37200". An
	// encoder that writes local times writes those of these clocks.
	MetaClocks = "cipherstream.clocks"

	// MetaUnknown is "true" on a column of which only the name is known; its type is null then. MetaOpen is "true" on a
	// schema that may have more columns than it lists. Both occur when a filter is checked without data, never in a
	// run.
	MetaUnknown = "cipherstream.unknown"
	MetaOpen    = "cipherstream.open"
)

// MetaCheckpoint is the key of a source's position in the custom metadata of a record batch on a data socket; see
// Checkpointer.
const MetaCheckpoint = "cipherstream.checkpoint"
