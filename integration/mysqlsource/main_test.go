package mysqlsource

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestMain(m *testing.M) { servers.Main(m) }

// eachServer runs a test on MySQL and on MariaDB.
func eachServer(t *testing.T, test func(t *testing.T, db *servers.Server)) {
	t.Helper()
	t.Run("mysql", func(t *testing.T) { test(t, servers.MySQL(t)) })
	t.Run("mariadb", func(t *testing.T) { test(t, servers.MariaDB(t)) })
}

// settings is what a pipeline's `with:` would hold.
type settings map[string]any

// result is everything that a source delivered, values as text.
type result struct {
	schema *arrow.Schema
	rows   [][]string

	mu       sync.Mutex
	counters map[string]int64
	facts    map[string]string
	log      strings.Builder
}

func (r *result) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(b)
}

// read runs the source to its end.
func read(t *testing.T, with settings) (*result, error) {
	t.Helper()
	raw, err := json.Marshal(with)
	if err != nil {
		t.Fatal(err)
	}
	r := &result{counters: map[string]int64{}, facts: map[string]string{}}
	allocator := memory.NewCheckedAllocator(memory.NewGoAllocator())
	instance, err := mysql.Stage().Make(raw, sdk.Env{
		Log: slog.New(slog.NewTextHandler(r, nil)), Memory: allocator,
		Count: func(name string, n int64) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.counters[name] += n
		},
		Fact: func(name, value string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.facts[name] = value
		},
	})
	if err != nil {
		return r, err
	}
	source := instance.(sdk.Source)
	defer func() {
		if err := source.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		allocator.AssertSize(t, 0)
	}()
	if r.schema, err = source.Open(context.Background()); err != nil {
		return r, err
	}
	for {
		record, err := source.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return r, err
		}
		for i := range int(record.NumRows()) {
			row := make([]string, record.NumCols())
			for j, column := range record.Columns() {
				row[j] = strings.Clone(column.ValueStr(i))
			}
			r.rows = append(r.rows, row)
		}
		record.Release()
	}
}

// mustRead is read of what must succeed.
func mustRead(t *testing.T, with settings) *result {
	t.Helper()
	r, err := read(t, with)
	if err != nil {
		t.Fatalf("%v: %v (%+v)", with, err, fault.From(err))
	}
	return r
}

func wantRows(t *testing.T, got *result, want ...[]string) {
	t.Helper()
	if !slices.EqualFunc(got.rows, want, slices.Equal) {
		t.Errorf("rows are %q, want %q", got.rows, want)
	}
}

func wantFault(t *testing.T, err error, code string) *fault.Fault {
	t.Helper()
	f := fault.From(err)
	if f == nil || f.Code != code {
		t.Fatalf("got %v (%+v), want %s", err, f, code)
	}
	return f
}
