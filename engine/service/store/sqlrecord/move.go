package sqlrecord

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// table is one that a record has, in every database, with its columns and the order of its rows. What else a database has
// is its own, and does not move.
type table struct {
	name, columns, order string
	// bytes are the columns that hold no text.
	bytes []string
}

// tables are all that a record is made of.
var tables = []table{
	{`"keys"`, "seq, " + keyColumns, "seq", []string{"hash"}},
	{"disabled", "customer", "customer", nil},
	{"sealing_keys", "seq, id, customer, sealed, state, created_at, activated_at, retired_at", "seq", []string{"sealed"}},
	{"sealing_uses", "customer, id, uses", "customer, id", nil},
	{"requests", requestColumns, "id", []string{"receipt"}},
	{"audit", "seq, " + auditColumns, "seq", nil},
	{"jobs", "seq, " + jobColumns, "seq", []string{"request", "manifest"}},
	{"job_transitions", "job, number, event, from_status, to_status, at, attempt, code", "job, number", nil},
	{"shares", "customer, queued, running, served", "customer", nil},
	{"past_runs", `customer, "procedure", "rows", bytes`, `customer, "procedure"`, nil},
	{"idempotency", "customer, route, idempotency_key, body, request, job, at", "customer, route, idempotency_key", []string{"body"}},
	{"outbox", "seq, customer, job, event, transition, at, data", "seq", []string{"data"}},
	{"leftovers", "seq, job, customer, bucket, since", "seq", nil},
	{"webhooks", webhookColumns, "customer", []string{"headers"}},
	{"webhook_secrets", "customer, pending, id, sealed, created_at, activates_at", "customer, pending", []string{"sealed"}},
	{"deliveries", "seq, " + deliveryColumns, "seq", []string{"data"}},
	{"delivery_attempts", "delivery, number, at, duration, http_status, code, message", "delivery, number", nil},
	{"endpoints", "id, " + endpointColumns, "id", nil},
	{"notices", "customer, name, at", "customer, name", nil},
	{"delivery_shares", "customer, in_flight, served, due", "customer", nil},
	{"schedules", scheduleColumns, "id", []string{"request", "state"}},
	{"streams", streamColumns, "customer", []string{"secret"}},
}

// streamTables are those of a stream's own database, without the prefix of their names.
var streamTables = []table{
	{"state", "id, position, fence, origin, floor", "id", nil},
	{"channels", streamChannelColumns, "channel", nil},
	{"documents", streamDocumentColumns, "channel, type, id_key", []string{"digest"}},
	{"waiting", streamWaitingColumns, "channel, sequence", []string{"sealed"}},
}

// StreamMove is a stream whose database moves with the record.
type StreamMove struct {
	Customer string
	From     *StreamLog
	// Prefix begins the names of its tables where it moves to. They are there, and hold nothing.
	Prefix string
}

// Moved is what a move has brought over: a table with its number of rows, and the SHA-256 of what they hold, which is the
// same in both records.
type Moved struct {
	Table  string
	Rows   int64
	SHA256 string
}

// Move copies a whole record into an empty one, in one transaction, and reads it there again before it is made: what is
// not the same, row for row, is not made at all. Nobody else may use either record. One that is not empty is CodeExists.
// Requests and jobs that ran are ended and recovered as after any end of a process: leases do not move. Streams move with it.
func Move(ctx context.Context, from, to *Record, streams ...StreamMove) (moved []Moved, err error) {
	err = to.write(ctx, Change{Access: true, Do: func(into Tx) error {
		moved = nil
		if err := into.isEmpty(); err != nil {
			return err
		}
		var failed error // of either record, which the one that is written to tells apart
		err := from.write(ctx, Change{Alone: true, Do: func(out Tx) error {
			if moved, failed = moveAll(out, into); failed != nil {
				return errMoveFailed
			}
			return nil
		}})
		for _, one := range streams {
			if err != nil {
				break
			}
			err = one.From.db.Write(ctx, Change{Do: func(out Tx) error {
				var tables []Moved
				if tables, failed = one.move(out, into); failed != nil {
					return errMoveFailed
				}
				moved = append(moved, tables...)
				return nil
			}})
		}
		if failed != nil {
			return failed
		}
		return err
	}})
	return moved, err
}

// errMoveFailed ends the change of the record that is read: what has failed is told by the other one.
var errMoveFailed = fault.New(store.CodeFailed, fault.Internal, "the move has failed")

func (tx Tx) isEmpty() error {
	for _, t := range tables {
		if err := tx.hasNone(t.name); err != nil {
			return err
		}
	}
	return nil
}

func (tx Tx) hasNone(table string) error {
	var rows int64
	if err := tx.Row("SELECT count(*) FROM " + table).Scan(&rows); err != nil {
		return err
	}
	if rows > 0 {
		return fault.New(store.CodeExists, fault.Usage, "the record to move to is not empty: its table %s has %d rows", table, rows).
			WithHint("move to a database that holds nothing")
	}
	return nil
}

// move copies the database of a stream.
func (s StreamMove) move(out, into Tx) (moved []Moved, err error) {
	if _, err := into.Exec("DELETE FROM " + s.Prefix + "state"); err != nil { // its one row, of a stream that has nothing
		return nil, err
	}
	for _, t := range streamTables {
		if err := into.hasNone(s.Prefix + t.name); err != nil {
			return nil, err
		}
		from, to := t, t
		from.name, to.name = s.From.db.Prefix+t.name, s.Prefix+t.name
		one, err := moveTable(from, out, to, into)
		if err != nil {
			return nil, err
		}
		one.Table = "stream " + s.Customer + ": " + t.name
		moved = append(moved, one)
	}
	return moved, nil
}

func moveAll(out, into Tx) (moved []Moved, err error) {
	for _, t := range tables {
		one, err := moveTable(t, out, t, into)
		if err != nil {
			return nil, err
		}
		moved = append(moved, one)
	}
	for _, statement := range into.dialect.AfterMove {
		if _, err := into.Exec(statement); err != nil {
			return nil, err
		}
	}
	return moved, nil
}

// moveTable copies the rows of a table, and reads them again where they are.
func moveTable(from table, out Tx, to table, into Tx) (Moved, error) {
	there, err := from.move(out, to, into)
	if err != nil {
		return there, err
	}
	here, err := to.each(into, func([]any) error { return nil })
	if err != nil {
		return here, err
	}
	if here.Rows != there.Rows || here.SHA256 != there.SHA256 {
		return here, fault.New(store.CodeFailed, fault.Internal,
			"the table %s has %d rows (SHA-256 %s), and %d (%s) where it was moved to", from.name, there.Rows, there.SHA256, here.Rows, here.SHA256).
			WithHint("nothing was moved")
	}
	return there, nil
}

// movedTogether is how many rows a statement inserts, and movedTogetherBytes bounds what they hold, but for a single row.
const (
	movedTogether      = 100
	movedTogetherBytes = 1 << 20
)

// move copies the rows of a table.
func (t table) move(out Tx, to table, into Tx) (Moved, error) {
	width := strings.Count(t.columns, ",") + 1
	row := "(" + marks(width) + ")"
	var together []any
	size := 0
	flush := func() error {
		n := len(together) / width
		if n == 0 {
			return nil
		}
		_, err := into.Exec("INSERT INTO "+to.name+" ("+to.columns+") VALUES "+strings.TrimSuffix(strings.Repeat(row+", ", n), ", "), together...)
		together, size = together[:0], 0
		return err
	}
	moved, err := t.each(out, func(values []any) error {
		bytes := 0
		for _, value := range values {
			switch v := value.(type) {
			case string:
				bytes += len(v)
			case []byte:
				bytes += len(v)
			}
		}
		if size+bytes > movedTogetherBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		size += bytes
		together = append(together, values...)
		if len(together) < movedTogether*width {
			return nil
		}
		return flush()
	})
	if err != nil {
		return moved, err
	}
	return moved, flush()
}

// each reads a table, and says what it holds.
func (t table) each(tx Tx, take func(values []any) error) (Moved, error) {
	moved, sum := Moved{Table: strings.Trim(t.name, `"`)}, sha256.New()
	var names []string
	for name := range strings.SplitSeq(t.columns, ",") {
		names = append(names, strings.Trim(strings.TrimSpace(name), `"`))
	}
	err := tx.Rows(func(rows *sql.Rows) error {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, value := range values {
			if raw, ok := value.([]byte); ok && !slices.Contains(t.bytes, names[i]) {
				value = string(raw)
			}
			if text, ok := value.(string); ok {
				value = strings.ToValidUTF8(text, "\uFFFD") // as every record but SQLite's keeps it
			}
			values[i] = value
			if err := hashValue(sum, value); err != nil {
				return fmt.Errorf("%s.%s: %w", t.name, names[i], err)
			}
		}
		moved.Rows++
		return take(values)
	}, "SELECT "+t.columns+" FROM "+t.name+" ORDER BY "+t.order)
	moved.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return moved, err
}

// hashValue writes a value so that no two are written alike: its kind, its length, and itself.
func hashValue(sum hash.Hash, value any) error {
	var kind, text string
	switch v := value.(type) {
	case nil:
		kind = "null"
	case int64:
		kind, text = "number", strconv.FormatInt(v, 10)
	case float64:
		// A whole number in a column of such is one in either database.
		kind, text = "number", strconv.FormatFloat(v, 'f', -1, 64)
	case float32:
		return fmt.Errorf("a number of type %T loses digits", value)
	case string:
		kind, text = "text", v
	case []byte:
		kind, text = "bytes", string(v)
	default:
		return fmt.Errorf("a value has the type %T", value)
	}
	_, err := fmt.Fprintf(sum, "%s %d %s\n", kind, len(text), text)
	return err
}
