package partitions

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// accounts is how many rows there are, and theirs what each has in the beginning.
const (
	accounts = 2000
	theirs   = 1000
)

// load moves money between accounts until the returned function is called, which says how many transactions there were in a
// second. Whatever is moved, the sum of what is there stays.
func load(t *testing.T, db *servers.Server) (end func() float64) {
	t.Helper()
	numbers(db, accounts)
	db.Exec(fmt.Sprintf("CREATE TABLE account (id INT PRIMARY KEY, cents BIGINT NOT NULL); INSERT INTO account SELECT n * 10, %d FROM numbers; ANALYZE TABLE account", theirs))
	const writers = 8
	pool := db.Open(db.Database())
	pool.SetMaxOpenConns(writers)
	pool.SetMaxIdleConns(writers)
	var wait sync.WaitGroup
	ending := make(chan struct{})
	var commits atomic.Int64
	began := time.Now()
	for n := range writers {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 3))
			for {
				select {
				case <-ending:
					return
				default:
				}
				if err := transfer(pool, random); err == nil {
					commits.Add(1)
				} else if !strings.Contains(err.Error(), "Deadlock") {
					t.Error(err)
					return
				}
			}
		})
	}
	return func() float64 {
		close(ending)
		wait.Wait()
		return float64(commits.Load()) / time.Since(began).Seconds()
	}
}

// transfer moves something from one account to another, in the first half of the key, in the second, or from one to the other;
// now and then an account gets another number.
func transfer(pool *sql.DB, random *rand.Rand) error {
	tx, err := pool.Begin()
	if err != nil {
		return err
	}
	from, to, cents := 10*(1+random.IntN(accounts)), 10*(1+random.IntN(accounts)), random.IntN(50)
	for _, step := range []struct {
		do   bool
		text string
		args []any
	}{
		{true, "UPDATE account SET cents = cents - ? WHERE id = ?", []any{cents, from}},
		{true, "UPDATE account SET cents = cents + ? WHERE id = ?", []any{cents, to}},
		{from == to || random.IntN(4) == 0, "UPDATE IGNORE account SET id = ? WHERE id = ?", []any{10*accounts + 10 - from, from}},
	} {
		if !step.do || err != nil {
			continue
		}
		var done sql.Result
		if done, err = tx.Exec(step.text, step.args...); err == nil && strings.Contains(step.text, "cents") {
			if n, _ := done.RowsAffected(); n != 1 && cents > 0 {
				return tx.Rollback() // the account has another number
			}
		}
	}
	if err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// sum is how many accounts an extract has, and what they have together.
func sum(t *testing.T, e *extract) (rows int, cents int64) {
	t.Helper()
	for _, row := range e.rows {
		_, text, _ := strings.Cut(row, "|")
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		cents += n
	}
	return len(e.rows), cents
}

// TestTransfers: while money is moved, every extract has all of it; and when nothing locks the table while the connections open
// their snapshots, some have not, so that the test sees what it is to see.
func TestTransfers(t *testing.T) {
	t.Parallel()
	eachLogging(t, func(t *testing.T, db *servers.Server) {
		end := load(t, db)
		ended := false
		defer func() {
			if !ended {
				end()
			}
		}()
		with := table(db.DSN(db.Database())+"?tls=disabled", "account").with(settings{"partitions": 4})
		together, alone := 0, 0
		for together < *runs {
			e := read(t, with)
			if rows, cents := sum(t, e); rows != accounts || cents != accounts*theirs {
				t.Fatalf("extract %d: %d accounts with %d cents (%v)", together+alone, rows, cents, e.facts)
			}
			switch fact := e.facts["partitions"]; {
			case strings.HasPrefix(fact, "4 connections"):
				together++
			case strings.HasPrefix(fact, "1 connection: transactions that change the tables did not let them be locked within a second") && alone < 2**runs:
				alone++ // of those that a busy machine has in the midst of things
			default:
				t.Fatalf("%d extracts were read by 4 connections and %d by one, and the next one says %q", together, alone, fact)
			}
		}
		torn, tries := 0, 0
		without := table(withoutLock(t, db)+"?tls=disabled", "account").with(settings{"partitions": 4})
		for deadline := time.Now().Add(time.Minute); torn == 0 && time.Now().Before(deadline); tries++ {
			if rows, cents := sum(t, read(t, without)); rows != accounts || cents != accounts*theirs {
				torn++
			}
		}
		if torn == 0 {
			t.Errorf("without the lock, %d extracts have everything: the test cannot fail", tries)
		}
		rate := end()
		ended = true
		t.Logf("%.0f transactions a second; %d extracts by 4 connections, %d by one; without the lock, extract %d is torn", rate, together, alone, tries)
	})
}

// withoutLock is the URL of the server behind somebody who makes nothing of LOCK TABLES.
func withoutLock(t *testing.T, db *servers.Server) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		listener.Close()
		wait.Wait()
	})
	wait.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(db.Port()))
			if err != nil {
				client.Close()
				continue
			}
			stop := context.AfterFunc(ctx, func() { client.Close() })
			wait.Go(func() {
				_, _ = io.Copy(client, server)
				client.Close()
			})
			wait.Go(func() {
				defer stop()
				defer server.Close()
				buffer := make([]byte, 64<<10)
				for {
					n, err := client.Read(buffer)
					if err != nil {
						return
					}
					// A statement is one small packet. What takes its place is as long.
					p := buffer[:n]
					if at := bytes.Index(p, []byte("LOCK TABLES `")); at >= 0 {
						copy(p[at:], "DO 0"+strings.Repeat(" ", n-at-4))
					}
					if _, err := server.Write(p); err != nil {
						return
					}
				}
			})
		}
	})
	return strings.Replace(db.DSN(db.Database()), ":"+strconv.Itoa(db.Port())+"/", ":"+strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)+"/", 1)
}
