package mysqlchanges_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/mysqlchanges"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// settings are those of the source.
type settings map[string]any

// tables is the setting of that name for tables of the same types.
func tables(names ...string) (list []map[string]any) {
	for _, name := range names {
		list = append(list, map[string]any{"table": name, "type": name, "channel": "entities", "rename": map[string]string{}})
	}
	return list
}

// stream is a run of the source, and the copy that a receiver has of it.
type stream struct {
	t        *testing.T
	source   sdk.Source
	position string
	copy     map[string]string // documents by type and id
	changes  []string          // all that came, in short
	// written are the documents that were since all of their type began, by type.
	written map[string]map[string]bool
	keep    bool // changes are kept
	rows    int
	batches int
}

// begin opens a run that goes on behind what st has.
func (st *stream) begin(s server, with settings, env sdk.Env) error {
	all := settings{"url": s.DSN(s.database), "position": st.position, "heartbeat": "1s"}
	for name, value := range with {
		all[name] = value
	}
	raw, err := json.Marshal(all)
	if err != nil {
		st.t.Fatal(err)
	}
	env.Log, env.Memory, env.Count = slog.New(slog.DiscardHandler), memory.NewGoAllocator(), func(string, int64) {}
	made, err := mysqlchanges.Stage().Make(raw, env)
	if err != nil {
		return err
	}
	st.source = made.(sdk.Source)
	_, err = st.source.Open(context.Background())
	return err
}

// open is a run from now on.
func open(t *testing.T, s server, with settings) *stream {
	t.Helper()
	st := &stream{t: t, copy: map[string]string{}, keep: true}
	t.Cleanup(func() { st.close() })
	if err := st.begin(s, with, sdk.Env{}); err != nil {
		t.Fatal(err)
	}
	return st
}

func (st *stream) close() {
	if st.source != nil {
		if err := st.source.Close(); err != nil {
			st.t.Errorf("Close: %v", err)
		}
		st.source = nil
	}
}

// next takes a batch.
func (st *stream) next(ctx context.Context) error {
	record, err := st.source.Next(ctx)
	if err != nil {
		return err
	}
	defer record.Release()
	st.batches++
	st.apply(record)
	if p := st.source.(sdk.Checkpointer).Checkpoint(); p != "" {
		st.position = p
	}
	return nil
}

func (st *stream) apply(record arrow.Record) {
	text := func(column, row int) string { return record.Column(column).(*array.String).Value(row) }
	for row := range int(record.NumRows()) {
		st.rows++
		kind, id, operation := text(changes.ColumnType, row), text(changes.ColumnID, row), text(changes.ColumnOperation, row)
		if st.keep {
			st.changes = append(st.changes, fmt.Sprintf("%s %s %s", operation, kind, id))
		}
		switch operation {
		case changes.OpWrite:
			st.copy[kind+"/"+id] = text(changes.ColumnDocument, row)
			if all := st.written[kind]; all != nil {
				all[kind+"/"+id] = true
			}
		case changes.OpDelete:
			delete(st.copy, kind+"/"+id)
		case changes.OpBegin:
			if st.written == nil {
				st.written = map[string]map[string]bool{}
			}
			st.written[kind] = map[string]bool{}
		case changes.OpEnd:
			for key := range st.copy {
				if strings.HasPrefix(key, kind+"/") && !st.written[kind][key] {
					delete(st.copy, key)
				}
			}
			delete(st.written, kind)
		case changes.OpTruncate:
			for key := range st.copy {
				if len(key) > len(kind) && key[:len(kind)+1] == kind+"/" {
					delete(st.copy, key)
				}
			}
		}
	}
}

// until takes batches until something is there.
func (st *stream) until(what string, there func() bool) {
	st.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for !there() {
		if err := st.next(ctx); err != nil {
			st.t.Fatalf("waiting for %s: %v; has %d documents after %d changes", what, err, len(st.copy), st.rows)
		}
	}
}

// fails takes batches until the run fails.
func (st *stream) fails(code string) *fault.Fault {
	st.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		if err := st.next(ctx); err != nil {
			f := fault.From(err)
			if f.Code != code || f.Hint == "" || errors.Is(err, io.EOF) {
				st.t.Fatalf("ended with %v (hint %q), want %s", err, f.Hint, code)
			}
			return f
		}
	}
}

// same compares the copy of a table with the database: a document of id and v.
func (st *stream) same(s server, table string) {
	st.t.Helper()
	want := map[string]string{}
	rows, err := s.Open(s.database).Query("SELECT id, v FROM " + table)
	if err != nil {
		st.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var v *string
		if err := rows.Scan(&id, &v); err != nil {
			st.t.Fatal(err)
		}
		text, _ := json.Marshal(v)
		want[table+"/"+id] = fmt.Sprintf(`{"id":"%s","type":"%s","key":%s,"v":%s}`, id, table, id, text)
	}
	got := 0
	for key, document := range st.copy {
		if len(key) <= len(table) || key[:len(table)+1] != table+"/" {
			continue
		}
		got++
		if want[key] != document {
			st.t.Errorf("%s is %s, want %s", key, document, want[key])
		}
	}
	if got != len(want) {
		st.t.Errorf("%d documents of %s, want %d", got, table, len(want))
	}
}

// ofA are the settings of a table a with a number id and a text v.
func ofA(names ...string) settings {
	list := tables(names...)
	for _, t := range list {
		t["rename"] = map[string]string{"id": "key"}
	}
	return settings{"tables": list}
}
