package csvfile

import (
	"context"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk"
)

// CheckSource is part of sdk.SourceChecker. Opening a file tells its columns.
func (s *source) CheckSource(ctx context.Context, report *sdk.Report) *arrow.Schema {
	schema, err := s.Open(ctx)
	if err != nil {
		report.Wrong(err)
		return nil
	}
	report.Fine("the file can be read, and has %d columns", schema.NumFields())
	return schema
}
