package run

import (
	"math"
	"strings"

	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/fault"
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

// keptBy is what the stages of group i say that they may keep, beside what is in flight.
func keptBy(p *plan.Plan, i int) (sum int64) {
	for _, s := range p.Groups[i].Stages {
		sum += p.Stages[s].KeptBytes
	}
	return sum
}

// Memory estimates how much memory, in bytes, the processes of a plan take, for a caller that divides what there is
// among runs. It is no upper bound: a single batch passes whatever its size, and a stage may keep data that it does not
// speak of, as the encoder of Parquet keeps a row group. Only the host's limit for each process is one.
func Memory(h Host, p *plan.Plan) (sum int64) {
	for i, g := range p.Groups {
		needs := shareOf(p, i) + keptBy(p, i)
		if !g.InHost {
			needs = h.Footprint(needs)
		}
		sum += needs
	}
	return sum
}

// codeMemory is the code of a run whose stages may keep more than a process may have.
const codeMemory = "run.memory"

// checkKept refuses a plan whose stages may keep more than their process may have: it would be ended in the middle.
func checkKept(h Host, p *plan.Plan) error {
	limit := h.Footprint(math.MaxInt64)
	for i, g := range p.Groups {
		kept := keptBy(p, i)
		if g.InHost || g.Attach || kept == 0 || h.Footprint(shareOf(p, i)+kept) < limit {
			continue
		}
		var names []string
		for _, s := range g.Stages {
			if p.Stages[s].KeptBytes > 0 {
				names = append(names, p.Stages[s].ID)
			}
		}
		return fault.New(codeMemory, fault.Usage, "%s may keep %d MiB, and a process with that and what is in flight may need more than its limit of %d MiB",
			strings.Join(names, ", "), kept>>20, limit>>20).
			WithHint("let the stage keep less, give processes of plugins more (--plugin-memory), or give the stage one of its own with isolation: process")
	}
	return nil
}
