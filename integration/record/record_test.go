package record

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/engine/service/store/mysql"
	"github.com/cipherstream/cipherstream/engine/service/store/storetest"
	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/sdk/config"
)

func TestMain(m *testing.M) { servers.Main(m) }

// kinds are the servers that a record may be on.
var kinds = map[string]func(testing.TB) *servers.Server{"mysql": servers.MySQL, "mariadb": servers.MariaDB}

// eachServer runs a test beside others on MySQL and on MariaDB.
func eachServer(t *testing.T, test func(t *testing.T, on *servers.Server)) {
	t.Helper()
	t.Parallel()
	for name, server := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, server(t))
		})
	}
}

// open opens the record in a database; the test closes it.
func open(t testing.TB, url string, o mysql.Options) *mysql.Store {
	t.Helper()
	s, err := mysql.Open(t.Context(), config.NewSecret(url), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		storetest.Run(t, func(t *testing.T) storetest.Opened {
			on, clock := on.For(t), storetest.NewClock()
			return storetest.Opened{
				Store: open(t, on.DSN(on.NewDatabase()), mysql.Options{Clock: clock.Now}), Advance: clock.Advance,
			}
		})
	})
}

// TestTwins does the same to both implementations and compares what they say.
func TestTwins(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				on := on.For(t)
				storetest.Compare(t, rand.New(rand.NewPCG(seed, 1)), open(t, on.DSN(on.NewDatabase()), mysql.Options{}), memory.New())
			})
		}
	})
}
