// Package opened is the check of sources that need only be opened to tell their columns, as
// files do. It owns what such a check says; it never reads a row.
package opened

import (
	"context"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk"
)

// Check opens a file with the Open of its source and reports what came of it: the whole of
// sdk.SourceChecker for such a source.
func Check(ctx context.Context, open func(context.Context) (*arrow.Schema, error), report *sdk.Report) *arrow.Schema {
	schema, err := open(ctx)
	if err != nil {
		report.Wrong(err)
		return nil
	}
	report.Fine("the file can be read, and has %d columns", schema.NumFields())
	return schema
}
