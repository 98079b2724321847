package run

import (
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Repeatable reports whether a run that ended with err may be run again with the same inputs and another identifier:
// the fault may go away by itself (Fault.Retryable), nothing of the run was left behind, and its output is for certain
// not visible, so that there cannot be a second one. Of a sink whose bytes are seen as they come only its owner knows
// whether any were.
func Repeatable(err error) bool {
	f := fault.From(err)
	return f != nil && f.Retryable && f.Details[DetailLeft] == "" && f.Details[host.DetailCommit] == ""
}
