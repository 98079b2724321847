package partitions

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// logged is where the server's log ends.
func logged(t *testing.T, pool *sql.DB) (size string) {
	t.Helper()
	rows, err := pool.Query("SHOW BINARY LOGS")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		cells := make([]any, len(columns))
		for i := range cells {
			cells[i] = new(sql.RawBytes)
		}
		if err := rows.Scan(cells...); err != nil {
			t.Fatal(err)
		}
		size = string(*cells[0].(*sql.RawBytes)) + " " + string(*cells[1].(*sql.RawBytes))
	}
	return size
}

// TestStoppedCommit: while a transaction is in the log and not in the engine, the tables that it changes, also those that it
// changes by a foreign key, are not locked, and one connection reads; others see nothing of it.
func TestStoppedCommit(t *testing.T) {
	t.Parallel()
	eachLogging(t, func(t *testing.T, db *servers.Server) {
		numbers(db, 500)
		db.Exec("CREATE TABLE p (id INT PRIMARY KEY, v INT NOT NULL); INSERT INTO p SELECT n, 0 FROM numbers;" +
			"CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE); INSERT INTO c SELECT n, n FROM numbers;" +
			"CREATE TABLE other (id INT PRIMARY KEY); INSERT INTO other SELECT n FROM numbers; ANALYZE TABLE p, c, other")
		pool := db.Open(db.Database())
		before := logged(t, pool)
		resume := servers.HoldCommits(t, pool, db.IsMariaDB())
		committed := make(chan error, 1)
		go func() {
			_, err := pool.Exec("DELETE FROM p WHERE id IN (1, 499)")
			committed <- err
		}()
		resumed := false
		defer func() {
			if !resumed {
				resume()
				<-committed
			}
		}()
		for deadline := time.Now().Add(30 * time.Second); logged(t, pool) == before; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the log does not have the transaction")
			}
		}
		url := db.DSN(db.Database())
		for name, connections := range map[string]string{"p": "1 connection: transactions that change the tables", "c": "1 connection: transactions that change the tables", "other": "3 connections"} {
			e := read(t, table(url, name).with(settings{"partitions": 3}))
			if len(e.rows) != 500 || !strings.HasPrefix(e.facts["partitions"], connections) {
				t.Errorf("%s has %d rows while the commit is stopped, and the receipt says %q", name, len(e.rows), e.facts["partitions"])
			}
		}
		resume()
		resumed = true
		if err := <-committed; err != nil {
			t.Fatal(err)
		}
		for name, connections := range map[string]string{"p": "3 connections", "c": "3 connections"} {
			e := read(t, table(url, name).with(settings{"partitions": 3}))
			if len(e.rows) != 498 || !strings.HasPrefix(e.facts["partitions"], connections) {
				t.Errorf("%s has %d rows after the commit, and the receipt says %q", name, len(e.rows), e.facts["partitions"])
			}
		}
	})
}

// TestStoppedCommits: extracts have everything while commits are stopped again and again, and whole groups of them go on
// at once.
func TestStoppedCommits(t *testing.T) {
	t.Parallel()
	eachLogging(t, func(t *testing.T, db *servers.Server) {
		end := load(t, db)
		ctx, cancel := context.WithCancel(context.Background())
		stopped := make(chan int)
		pool, mariaDB := db.Open(db.Database()), db.IsMariaDB()
		go func() {
			random, stops := rand.New(rand.NewPCG(7, 7)), 0
			for ctx.Err() == nil {
				resume := servers.HoldCommits(t, pool, mariaDB)
				stops++
				select {
				case <-time.After(time.Duration(random.IntN(40)) * time.Millisecond):
				case <-ctx.Done():
				}
				resume()
				select {
				case <-time.After(time.Duration(random.IntN(20)) * time.Millisecond):
				case <-ctx.Done():
				}
			}
			stopped <- stops
		}()
		with := table(db.DSN(db.Database()), "account").with(settings{"partitions": 4})
		together := 0
		for i := range *runs {
			e := read(t, with)
			if rows, cents := sum(t, e); rows != accounts || cents != accounts*theirs {
				t.Errorf("extract %d: %d accounts with %d cents (%v)", i, rows, cents, e.facts)
				break
			}
			if strings.HasPrefix(e.facts["partitions"], "4 connections") {
				together++
			}
		}
		cancel()
		stops := <-stopped
		t.Logf("%.0f transactions a second, %d stops; %d of %d extracts by 4 connections", end(), stops, together, *runs)
		if together == 0 {
			t.Error("no extract was read by several connections")
		}
	})
}
