package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/engine/service/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) storetest.Opened {
		clock := storetest.NewClock()
		return storetest.Opened{Store: memory.NewAt(clock.Now), Advance: clock.Advance}
	})
}
