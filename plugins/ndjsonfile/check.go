package ndjsonfile

import (
	"context"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/opened"
	"github.com/cipherstream/cipherstream/sdk"
)

// CheckSource is part of sdk.SourceChecker. Opening a file tells its columns.
func (s *source) CheckSource(ctx context.Context, report *sdk.Report) *arrow.Schema {
	return opened.Check(ctx, s.Open, report)
}
