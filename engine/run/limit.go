package run

import (
	"time"

	"github.com/cipherstream/cipherstream/engine/plan"
)

// stallLimit is how long one call of a stage may take: the plan's limit, or the argument otherwise if the plan has
// none.
func stallLimit(p *plan.Plan, otherwise time.Duration) time.Duration {
	if s := p.Limits.StallSeconds; s > 0 {
		return time.Duration(s * float64(time.Second))
	}
	return otherwise
}
