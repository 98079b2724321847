package service

import (
	"context"

	"github.com/cipherstream/cipherstream/engine"
)

// limited is the engine, with a limit for the buffers of each run: what a pipeline leaves open, or allows itself more of.
type limited struct {
	*engine.Engine
	buffers int64
}

// limit sets it. A plan is its caller's own.
func (l limited) limit(p *engine.Plan) *engine.Plan {
	if p.Limits.MemoryBytes <= 0 || p.Limits.MemoryBytes > l.buffers {
		p.Limits.MemoryBytes = l.buffers
	}
	return p
}

func (l limited) Memory(p *engine.Plan) int64 { return l.Engine.Memory(l.limit(p)) }

func (l limited) Run(ctx context.Context, p *engine.Plan, sink engine.AnySink, o engine.RunOptions) (*engine.Receipt, error) {
	return l.Engine.Run(ctx, l.limit(p), sink, o)
}
