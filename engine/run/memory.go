package run

import (
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/runner"
)

// shareOf is what group i of a plan may have in flight, in bytes. The caller's sink alone holds a few pieces that
// wait for it, and leaves the others most of theirs.
func shareOf(p *plan.Plan, i int) int64 {
	budget := p.Limits.MemoryBytes
	if budget <= 0 {
		budget = runner.DefaultBudget
	}
	sharing := int64(len(p.Groups))
	if last := len(p.Groups) - 1; p.OnlyCaller(p.Groups[last]) {
		if i == last {
			return max(budget/8, 1)
		}
		budget -= budget / 8
		sharing--
	}
	return max(budget/sharing, 1)
}

// Memory estimates how much memory, in bytes, the processes of a plan take, for a caller that divides what there is
// among runs. It is no upper bound: a single batch passes whatever its size, and a stage may keep data, as the encoder
// of Parquet keeps a row group. Only the host's limit for each process is one.
func Memory(h Host, p *plan.Plan) (sum int64) {
	for i, g := range p.Groups {
		share := shareOf(p, i)
		if g.InHost {
			sum += share
		} else {
			sum += h.Footprint(share)
		}
	}
	return sum
}
