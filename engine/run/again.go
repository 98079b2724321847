package run

import (
	"context"
	"os"
	"path/filepath"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// startAgain starts new processes for all groups, none from the pool. It is called when a process from the pool has
// died before any group had begun: its neighbours know its number already, so it cannot be replaced alone.
func (r *run) startAgain(ctx context.Context, h Host, dir string) error {
	r.close()
	left, err := os.ReadDir(dir)
	if err == nil {
		for _, entry := range left {
			if err = os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
				break
			}
		}
	}
	if err != nil {
		return fault.New("host.directory", fault.Internal, "cannot empty a private directory: %w", err)
	}
	r.fresh = true
	return r.start(ctx, h, dir)
}
