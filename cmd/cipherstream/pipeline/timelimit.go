package pipeline

import (
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
)

// longestLimit bounds --timeout and --stall, as limits of a pipeline are bounded.
const longestLimit = 7 * 24 * time.Hour

// limit puts --timeout and --stall into the inputs.
func (r *request) limit(req *engine.Inputs) error {
	switch {
	case r.timeout < 0 || r.timeout > longestLimit:
		return terminal.UsageFault("--timeout is a time of at most %v, or 0s for no limit, and not %v", longestLimit, r.timeout)
	case r.stall < 0 || r.stall > longestLimit || r.changed("stall") && r.stall == 0:
		return terminal.UsageFault("--stall is a time of more than nothing and at most %v, and not %v", longestLimit, r.stall)
	}
	req.Timeout, req.Stall = r.timeout, r.stall
	if r.changed("timeout") && r.timeout == 0 {
		req.Timeout = -1
	}
	return nil
}
