package changes

import (
	"errors"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

var errNotYet = errors.New("changes: not made yet")

// held is a stream that this process has the lease of.
type held struct{}

func newHeld(m *Manager, s store.Stream, lease store.StreamLease, began time.Time) *held {
	return &held{}
}

func (h *held) seen(store.Stream) {}

func (h *held) run() {}
