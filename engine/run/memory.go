package run

import (
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/runner"
)

// shareOf is what each group of a plan may have in flight, in bytes.
func shareOf(p *plan.Plan) int64 {
	budget := p.Limits.MemoryBytes
	if budget <= 0 {
		budget = runner.DefaultBudget
	}
	return max(budget/int64(max(len(p.Groups), 1)), 1)
}

// Memory is what the processes of a plan take, in bytes, when they use what they are given:
// for whoever shares out what there is among runs. It is no bound: a single batch is let
// through whatever its size, and a stage may keep what it likes, as the encoder of Parquet
// does with a row group. The bound is the host's, for each process.
func Memory(h *host.Host, p *plan.Plan) (sum int64) {
	share := shareOf(p)
	for _, g := range p.Groups {
		if g.InHost {
			sum += share
		} else {
			sum += h.Footprint(share)
		}
	}
	return sum
}
