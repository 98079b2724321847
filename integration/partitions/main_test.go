package partitions

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/sdk"
)

var runs = flag.Int("partition-runs", 10, "extracts under a writing load whose sums are looked at")

func TestMain(m *testing.M) { servers.Main(m) }

// eachServer runs a test on MySQL and on MariaDB.
func eachServer(t *testing.T, test func(t *testing.T, db *servers.Server)) {
	t.Helper()
	onEach(t, test, servers.MySQL, servers.MariaDB)
}

// eachLogging runs a test on servers of its own that write a log, and whose commits can be stopped (servers.HoldCommits).
func eachLogging(t *testing.T, test func(t *testing.T, db *servers.Server)) {
	t.Helper()
	logging := []string{"--log-bin=binlog", "--server-id=1", "--binlog-format=ROW"}
	onEach(t, test, func(tb testing.TB) *servers.Server {
		return servers.PrivateMySQL(tb, append(logging, servers.SemiSync)...)
	}, func(tb testing.TB) *servers.Server { return servers.PrivateMariaDB(tb, logging...) })
}

func onEach(t *testing.T, test func(t *testing.T, db *servers.Server), mysql, mariaDB func(testing.TB) *servers.Server) {
	t.Helper()
	t.Run("mysql", func(t *testing.T) {
		t.Parallel()
		test(t, mysql(t))
	})
	t.Run("mariadb", func(t *testing.T) {
		t.Parallel()
		test(t, mariaDB(t))
	})
}

// settings is what a pipeline's `with:` would hold.
type settings map[string]any

// with are settings and some more.
func (s settings) with(more settings) settings {
	all := settings{}
	for _, from := range []settings{s, more} {
		for name, value := range from {
			all[name] = value
		}
	}
	return all
}

// table are the settings that read a table.
func table(url, name string) settings {
	return settings{"url": url, "request": map[string]any{"table_name": name, "allowed_tables": "*"}}
}

// batchRows makes parts of small tables, too, and batchBytes batches that end before they have so many rows.
const (
	batchRows  = 16
	batchBytes = 2000
)

// extract is everything that a source delivered, values as text.
type extract struct {
	source sdk.Source
	schema *arrow.Schema
	rows   []string
	// batches are their rows.
	batches []int64

	mu        sync.Mutex
	facts     map[string]string
	counters  map[string]int64
	resources []sdk.Resource
	held      map[int]sdk.Resource // that are announced and not released, by their number
	notKilled int                  // sessions whose query the source could not kill, as its log says
}

// Enabled is part of slog.Handler.
func (e *extract) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle is part of slog.Handler.
func (e *extract) Handle(_ context.Context, r slog.Record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if strings.Contains(r.Message, "could not be killed") {
		e.notKilled++
	}
	return nil
}

// WithAttrs is part of slog.Handler.
func (e *extract) WithAttrs([]slog.Attr) slog.Handler { return e }

// WithGroup is part of slog.Handler.
func (e *extract) WithGroup(string) slog.Handler { return e }

// newExtract makes a source, which at the end of the test must have left nothing.
func newExtract(t *testing.T, with settings) (*extract, error) {
	t.Helper()
	raw, err := json.Marshal(with)
	if err != nil {
		t.Fatal(err)
	}
	e := &extract{facts: map[string]string{}, counters: map[string]int64{}, held: map[int]sdk.Resource{}}
	allocator := memory.NewCheckedAllocator(memory.NewGoAllocator())
	made, err := mysql.Stage().Make(raw, sdk.Env{
		Log: slog.New(e), Memory: allocator, BatchRows: batchRows, BatchBytes: batchBytes,
		Count: func(name string, n int64) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.counters[name] += n
		},
		Fact: func(name, value string) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.facts[name] = value
		},
		Announce: func(_ context.Context, r sdk.Resource) (func(), error) {
			e.mu.Lock()
			defer e.mu.Unlock()
			number := len(e.resources)
			e.resources = append(e.resources, r)
			e.held[number] = r
			return func() {
				e.mu.Lock()
				defer e.mu.Unlock()
				delete(e.held, number)
			}, nil
		},
	})
	if err != nil {
		return nil, err
	}
	e.source = made.(sdk.Source)
	t.Cleanup(func() {
		if err := e.close(); err != nil {
			t.Error(err)
		}
		allocator.AssertSize(t, 0)
		// A server under load may not have answered the KILL in time. The source then leaves the session to its host.
		if len(e.held) != e.notKilled {
			t.Errorf("%d announcements are not released, and %d queries could not be killed", len(e.held), e.notKilled)
		}
		for _, r := range e.held {
			if err := e.source.(sdk.Undoer).Undo(context.Background(), r); err != nil {
				t.Errorf("%s: %v", r.Name, err)
			}
		}
	})
	return e, nil
}

func (e *extract) close() error { return e.source.(io.Closer).Close() }

// run reads to the end.
func (e *extract) run(ctx context.Context) (err error) {
	if e.schema, err = e.source.Open(ctx); err != nil {
		return err
	}
	for {
		record, err := e.source.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		e.batches = append(e.batches, record.NumRows())
		for i := range int(record.NumRows()) {
			var row []string
			for _, column := range record.Columns() {
				row = append(row, column.ValueStr(i))
			}
			e.rows = append(e.rows, strings.Join(row, "|"))
		}
		record.Release()
	}
}

// read is an extract that must succeed.
func read(t *testing.T, with settings) *extract {
	t.Helper()
	e, err := newExtract(t, with)
	if err == nil {
		err = e.run(context.Background())
	}
	if err != nil {
		t.Fatalf("%v: %v", with, err)
	}
	return e
}
