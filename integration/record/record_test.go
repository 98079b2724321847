package record

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"sync"
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

// databases are empty databases of records, which tests have one after another: to make the tables takes longer than most
// tests do.
type databases struct {
	on *servers.Server

	mu   sync.Mutex
	free []string
}

// opened is an empty record, with a clock of the test's.
func (d *databases) opened(t *testing.T) storetest.Opened {
	t.Helper()
	d.mu.Lock()
	if len(d.free) == 0 {
		d.free = append(d.free, d.on.NewDatabase())
	}
	name := d.free[len(d.free)-1]
	d.free = d.free[:len(d.free)-1]
	d.mu.Unlock()
	t.Cleanup(func() { // after the record is closed
		d.empty(t, name)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.free = append(d.free, name)
	})
	clock := storetest.NewClock()
	return storetest.Opened{
		Store: open(t, d.on.DSN(name), mysql.Options{Clock: clock.Now}), Advance: clock.Advance,
	}
}

func (d *databases) empty(t *testing.T, name string) {
	db := d.on.For(t).Open(name)
	for _, statement := range []string{
		"TRUNCATE TABLE audit", "TRUNCATE TABLE leftovers", "DELETE FROM `keys`", "DELETE FROM disabled", "DELETE FROM sealing_keys", "DELETE FROM sealing_uses",
		"DELETE FROM requests", "DELETE FROM jobs", "DELETE FROM job_transitions", "DELETE FROM shares", "DELETE FROM past_runs",
		"DELETE FROM idempotency", "DELETE FROM outbox", "TRUNCATE TABLE deliveries", "DELETE FROM delivery_attempts", "DELETE FROM endpoints", "DELETE FROM delivery_shares",
		"DELETE FROM webhooks", "DELETE FROM webhook_secrets", "DELETE FROM schedules", "DELETE FROM notices", "UPDATE counters SET value = 0",
		"DELETE FROM streams", "DELETE FROM stream_schema",
	} {
		if _, err := db.Exec(statement); err != nil {
			t.Error(err)
		}
	}
	dropStreams(t, db)
}

// dropStreams removes the tables of streams.
func dropStreams(t *testing.T, db *sql.DB) {
	rows, err := db.Query("SELECT table_name FROM information_schema.tables WHERE table_schema = database() AND table_name LIKE 'stream!_%!_%' ESCAPE '!'")
	if err != nil {
		t.Error(err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Error(err)
			return
		}
		if _, err := db.Exec("DROP TABLE `" + name + "`"); err != nil {
			t.Error(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Error(err)
	}
}

func TestConformance(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		d := &databases{on: on}
		storetest.Run(t, d.opened)
	})
}

// TestStreamTwins does the same of streams to both implementations and compares what they say.
func TestStreamTwins(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		d := &databases{on: on}
		for seed := range uint64(2) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				clock := storetest.NewClock()
				storetest.CompareStreams(t, rand.New(rand.NewPCG(seed, 1)), d.opened(t),
					storetest.Opened{Store: memory.NewAt(clock.Now), Advance: clock.Advance})
			})
		}
	})
}

// TestTwins does the same to both implementations and compares what they say.
func TestTwins(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		d := &databases{on: on}
		for seed := range uint64(3) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				clock := storetest.NewClock()
				storetest.Compare(t, rand.New(rand.NewPCG(seed, 1)), d.opened(t),
					storetest.Opened{Store: memory.NewAt(clock.Now), Advance: clock.Advance})
			})
		}
	})
}
