package runtest

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// InMemory is a host without processes: what it starts runs in this one, joined by the same sockets. Attach and
// confinement it does not know.
type InMemory struct {
	t      *testing.T
	bundle stage.Bundle
	// Change, if set, may put something else in the place of a process that was started, such as one that fails.
	Change func(host.Process) host.Process

	mu   sync.Mutex
	open int
}

// NewInMemory makes a host of the stages of a bundle. At the end it holds that every process was closed.
func NewInMemory(t *testing.T, bundle stage.Bundle) *InMemory {
	t.Helper()
	h := &InMemory{t: t, bundle: bundle}
	t.Cleanup(func() {
		if h.open != 0 {
			t.Errorf("%d processes were not closed", h.open)
		}
	})
	return h
}

// Start serves the bundle once more.
func (h *InMemory) Start(_ context.Context, plugin string, _ ...host.Reach) (host.Process, error) {
	if plugin != h.bundle.Name {
		return nil, fault.New("plugin.unknown", fault.Usage, "there is no plugin %q", plugin)
	}
	return h.serve(), nil
}

// StartOwn is Start.
func (h *InMemory) StartOwn(ctx context.Context, plugin string, reach ...host.Reach) (host.Process, error) {
	return h.Start(ctx, plugin, reach...)
}

// Attach refuses: nobody else starts a process here.
func (h *InMemory) Attach(context.Context, string, func(host.Awaited)) (host.Process, error) {
	return nil, fault.New("plugin.attach", fault.Usage, "nothing can be attached to a host without processes")
}

// Local serves the bundle and some more stages.
func (h *InMemory) Local(added ...stage.Definition) host.Process { return h.serve(added...) }

// Footprint is what is in flight: there is no process beside it.
func (h *InMemory) Footprint(inFlight int64) int64 { return inFlight }

// NewDir makes a directory that the test removes.
func (h *InMemory) NewDir() (string, error) {
	dir, err := os.MkdirTemp("", "cs") // short, for sockets
	if err == nil {
		h.t.Cleanup(func() { os.RemoveAll(dir) })
	}
	return dir, err
}

// Keep remembers nothing: whoever dies here takes the test along.
func (h *InMemory) Keep(host.Leftover) (forget func(), err error) { return func() {}, nil }

// Leftovers shows none.
func (h *InMemory) Leftovers(func([]host.Leftover) []bool) {}

func (h *InMemory) serve(added ...stage.Definition) host.Process {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open++
	var p host.Process = &counted{Process: host.InProcess(h.bundle, added...), host: h}
	if h.Change != nil {
		p = h.Change(p)
	}
	return p
}

// counted tells the host when it is closed.
type counted struct {
	host.Process
	host *InMemory
	once sync.Once
}

func (c *counted) Close() {
	c.once.Do(func() {
		c.host.mu.Lock()
		defer c.host.mu.Unlock()
		c.host.open--
	})
	c.Process.Close()
}
