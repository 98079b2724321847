package pipelinetest

import (
	"context"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// memory is the sink of a case: it keeps the output, as much of it as is compared.
type memory struct{ data []byte }

func (m *memory) Open(context.Context, engine.Object) error { return nil }

func (m *memory) Write(_ context.Context, p []byte) error {
	if len(m.data)+len(p) > maxOutput {
		return fault.New(CodeFile, fault.Usage, "the output is larger than %d bytes, which is more than is compared",
			maxOutput).
			WithHint("test with fewer rows")
	}
	m.data = append(m.data, p...)
	return nil
}

func (m *memory) Commit(context.Context) (engine.Delivery, error) {
	return engine.Delivery{Bytes: int64(len(m.data))}, nil
}

func (m *memory) Abort(context.Context) error { return nil }
