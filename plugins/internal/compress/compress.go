// Package compress is what the compressor stages share: parallel deflate for gzip
// and zip, the size up to which nothing is compressed, and the refusal to compress
// twice. It never writes a container; that is each stage's own.
package compress

import (
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// StoredLimit is the size in bytes up to which a whole stream is stored as it is.
const StoredLimit = 8192

// TypeZip is the media type of a zip archive.
const TypeZip = "application/zip"

// Refuse returns a fault when the input of a stage is compressed already.
func Refuse(stage string, in sdk.Media) error {
	how := in.ContentEncoding
	if how == "" && in.Type == TypeZip {
		how = "zip"
	}
	if how == "" {
		return nil
	}
	return fault.New(stage+".compressed_input", fault.Usage, "the stream is already compressed (%s)", how).
		WithHint("keep one compressor in the pipeline")
}
