package mysqlpoll_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/plugins/mysqlpoll"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestMain looks for goroutines when all tests are over, which run beside each other.
func TestMain(m *testing.M) {
	dbtest.Main(m, func() {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	})
}

type settings map[string]any

// newSource makes a source, whose memory is all back when the test ends.
func newSource(t *testing.T, with settings) (sdk.Source, error) {
	t.Helper()
	return newAnnouncing(t, with, nil)
}

// newAnnouncing is newSource with a host.
func newAnnouncing(t *testing.T, with settings, announce func(context.Context, sdk.Resource) (func(), error)) (sdk.Source, error) {
	t.Helper()
	raw, err := json.Marshal(with)
	if err != nil {
		t.Fatal(err)
	}
	allocator := memory.NewCheckedAllocator(memory.NewGoAllocator())
	made, err := mysqlpoll.Stage().Make(raw, sdk.Env{Log: slog.New(slog.DiscardHandler), Memory: allocator, BatchBytes: 4 << 20, BatchRows: 8192,
		Count: func(string, int64) {}, Fact: func(string, string) {}, Announce: announce})
	if err != nil {
		return nil, err
	}
	source := made.(sdk.Source)
	t.Cleanup(func() {
		if err := source.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		allocator.AssertSize(t, 0)
	})
	return source, nil
}

// until reads until a row has come.
func until(t *testing.T, ctx context.Context, source sdk.Source, row string) {
	t.Helper()
	for {
		rows, _, err := next(t, ctx, source)
		if err != nil {
			t.Fatalf("waiting for %s: %v", row, err)
		}
		if slices.Contains(rows, row) {
			return
		}
	}
}

// next gives the next batch's rows, as "ORIGIN OPERATION TYPE ID DOCUMENT", and the checkpoint of it.
func next(t *testing.T, ctx context.Context, source sdk.Source) (rows []string, checkpoint string, err error) {
	t.Helper()
	r, err := source.Next(ctx)
	if err != nil {
		return nil, "", err
	}
	defer r.Release()
	text := func(column, row int) string { return strings.Clone(r.Column(column).(*array.String).Value(row)) }
	for i := range int(r.NumRows()) {
		rows = append(rows, strings.Join([]string{text(changes.ColumnOrigin, i), text(changes.ColumnOperation, i), text(changes.ColumnType, i),
			text(changes.ColumnID, i), text(changes.ColumnDocument, i)}, " "))
	}
	return rows, source.(sdk.Checkpointer).Checkpoint(), nil
}

// readAll reads a bounded run to its end, and gives its last checkpoint.
func readAll(t *testing.T, with settings) (rows []string, checkpoint string) {
	t.Helper()
	source, err := newSource(t, with)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	schema, err := source.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !schema.Equal(changes.Schema()) {
		t.Fatalf("schema: %s", schema)
	}
	checkpoint, _ = with["position"].(string)
	for {
		more, at, err := next(t, ctx, source)
		if errors.Is(err, io.EOF) {
			return rows, checkpoint
		}
		if err != nil {
			t.Fatal(err)
		}
		if rows = append(rows, more...); at != "" {
			checkpoint = at
		}
	}
}

func want(t *testing.T, got []string, rows ...string) {
	t.Helper()
	if !slices.Equal(got, rows) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(rows, "\n  "))
	}
}

// practice is a database with a table of each sort of time.
func practice(t *testing.T) (*dbtest.Server, settings) {
	t.Helper()
	db := dbtest.MariaDB(t)
	db.Exec(`CREATE TABLE patients (id INT PRIMARY KEY, name VARCHAR(20), ts_4_update TIMESTAMP(3) NULL, KEY (ts_4_update));
		CREATE TABLE notes (patient INT, nr INT, text VARCHAR(20), moved DATETIME, PRIMARY KEY (patient, nr));
		INSERT INTO patients VALUES (1, 'Ann', '2026-01-01 10:00:00.5'), (2, 'Bob', NULL), (3, 'Cy', '2026-01-01 09:00:00');
		INSERT INTO notes VALUES (1, 1, 'a', '2026-01-01 10:00:00'), (1, 2, 'b', '2026-01-01 10:00:00')`)
	return db, settings{"url": db.DSN(db.Database()), "interval": "100ms", "overlap": "60s", "changed": settings{"notes": "moved"}, "again": `{"documents":[]}`,
		"tables": []settings{
			{"table": "patients", "type": "patient", "channel": "entities", "columns": []string{"name"}},
			{"table": "notes", "type": "note", "channel": "logs", "columns": []string{"text"}},
		}}
}

func with(s settings, key string, value any) settings {
	changed := settings{}
	for k, v := range s {
		changed[k] = v
	}
	changed[key] = value
	return changed
}

func TestCopyThenPoll(t *testing.T) {
	t.Parallel()
	db, bounded := practice(t)
	rows, at := readAll(t, bounded)
	// The round behind the copy gives what is within the overlap again, in the order of the times.
	want(t, rows,
		`copy write patient 1 {"id":"1","type":"patient","name":"Ann"}`,
		`copy write patient 2 {"id":"2","type":"patient","name":"Bob"}`,
		`copy write patient 3 {"id":"3","type":"patient","name":"Cy"}`,
		`poll write patient 1 {"id":"1","type":"patient","name":"Ann"}`,
		`copy write note 1:1 {"id":"1:1","type":"note","text":"a"}`,
		`copy write note 1:2 {"id":"1:2","type":"note","text":"b"}`,
		`poll write note 1:1 {"id":"1:1","type":"note","text":"a"}`,
		`poll write note 1:2 {"id":"1:2","type":"note","text":"b"}`)
	if strings.Contains(at, "Ann") || len(at) > 200 {
		t.Errorf("checkpoint: %s", at)
	}

	// What is new since then; what is late, within the overlap; not what is older, nor what is gone.
	db.Exec(`INSERT INTO patients VALUES (4, 'Di', '2026-01-01 10:05:00'), (5, 'late', '2026-01-01 09:59:30'), (6, 'too late', '2026-01-01 09:59:00');
		UPDATE patients SET name = 'Bo', ts_4_update = '2026-01-01 10:06:00' WHERE id = 2;
		DELETE FROM patients WHERE id = 1;
		INSERT INTO notes VALUES (1, 3, 'winter', '2026-01-01 09:10:00'), (2, 1, 'new', '2026-01-01 10:00:01')`)
	rows, at = readAll(t, with(bounded, "position", at))
	want(t, rows,
		`poll write patient 5 {"id":"5","type":"patient","name":"late"}`,
		`poll write patient 4 {"id":"4","type":"patient","name":"Di"}`,
		`poll write patient 2 {"id":"2","type":"patient","name":"Bo"}`,
		`poll write note 1:3 {"id":"1:3","type":"note","text":"winter"}`,
		`poll write note 1:1 {"id":"1:1","type":"note","text":"a"}`,
		`poll write note 1:2 {"id":"1:2","type":"note","text":"b"}`,
		`poll write note 2:1 {"id":"2:1","type":"note","text":"new"}`)

	// A clock that is wrong hides nothing.
	db.Exec(`INSERT INTO patients VALUES (7, 'future', '2037-01-01 00:00:00'); INSERT INTO notes VALUES (9, 9, 'future', '2099-01-01 00:00:00')`)
	_, at = readAll(t, with(bounded, "position", at))
	db.Exec(`INSERT INTO patients VALUES (8, 'now', UTC_TIMESTAMP(3)); INSERT INTO notes VALUES (9, 1, 'now', UTC_TIMESTAMP())`)
	rows, _ = readAll(t, with(bounded, "position", at))
	want(t, rows,
		`poll write patient 8 {"id":"8","type":"patient","name":"now"}`,
		`poll write patient 7 {"id":"7","type":"patient","name":"future"}`,
		`poll write note 9:1 {"id":"9:1","type":"note","text":"now"}`,
		`poll write note 9:9 {"id":"9:9","type":"note","text":"future"}`)
}

func TestAgain(t *testing.T) {
	t.Parallel()
	_, bounded := practice(t)
	_, at := readAll(t, bounded)
	again := `{"documents":[{"type":"note","id":"1:2"},{"type":"note","id":"8:8"},{"type":"patient","id":"3"},{"type":"note","id":"1:1"}]}`
	rows, _ := readAll(t, with(with(bounded, "position", at), "again", again))
	want(t, rows[len(rows)-4:],
		`again write note 1:2 {"id":"1:2","type":"note","text":"b"}`,
		`again delete note 8:8 `,
		`again write patient 3 {"id":"3","type":"patient","name":"Cy"}`,
		`again write note 1:1 {"id":"1:1","type":"note","text":"a"}`)
}

// TestRestart stops a first copy after every batch of it, and goes on in another run: every row is copied once.
func TestRestart(t *testing.T) {
	t.Parallel()
	db, bounded := practice(t)
	db.Exec(`INSERT INTO patients SELECT seq, CONCAT('n', seq), '2025-01-01 00:00:00' FROM seq_10_to_99`)
	bounded = with(bounded, "page_rows", 13)
	at, copied, runs := "", map[string]int{}, 0
	for more := true; more; runs++ {
		at, more = untilCopied(t, with(bounded, "position", at), copied)
	}
	if len(copied) != 3+90+2 || runs < 9 {
		t.Errorf("%d rows were copied in %d runs", len(copied), runs)
	}
	for row, n := range copied {
		if n != 1 {
			t.Errorf("%d times: %s", n, row)
		}
	}
}

// untilCopied runs a source until a batch of its copy, whose rows it counts; false says that there was none.
func untilCopied(t *testing.T, with settings, copied map[string]int) (at string, more bool) {
	t.Helper()
	source, err := newSource(t, with)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := source.Open(ctx); err != nil {
		t.Fatal(err)
	}
	for {
		rows, checkpoint, err := next(t, ctx, source)
		if errors.Is(err, io.EOF) {
			return at, false
		}
		if err != nil {
			t.Fatal(err)
		}
		at = checkpoint
		for _, row := range rows {
			if origin, row, _ := strings.Cut(row, " "); origin == "copy" {
				copied[row]++
				more = true
			}
		}
		if more {
			return at, true
		}
	}
}

// TestEndless: changes come by themselves, and the run ends when it is cancelled.
func TestEndless(t *testing.T) {
	t.Parallel()
	db, bounded := practice(t)
	endless := with(bounded, "again", "")
	endless["overlap"] = "0s"
	source, err := newSource(t, endless)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := source.Open(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, source, `copy write note 1:2 {"id":"1:2","type":"note","text":"b"}`)
	db.Exec(`UPDATE patients SET name = 'Anna', ts_4_update = '2026-01-02 00:00:00' WHERE id = 1`)
	until(t, ctx, source, `poll write patient 1 {"id":"1","type":"patient","name":"Anna"}`)
	stop, end := context.WithCancel(ctx)
	end()
	for range 10 { // what was read may come first
		if _, _, err = next(t, stop, source); err != nil {
			break
		}
	}
	if !errors.Is(err, context.Canceled) && fault.From(err).Code != "run.cancelled" {
		t.Errorf("cancelled: %v", err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	db, bounded := practice(t)
	db.Exec(`CREATE TABLE keyless (id INT NOT NULL, ts_4_update TIMESTAMP, UNIQUE (id)); CREATE TABLE timeless (id INT PRIMARY KEY, ts_4_update DATE)`)
	one := func(table string, more ...string) []settings {
		s := settings{"table": table, "type": "t", "channel": "logs"}
		if len(more) > 0 {
			s["columns"] = more
		}
		return []settings{s}
	}
	for _, c := range []struct {
		with settings
		code string
	}{
		{with(bounded, "tables", one("gone", "name")), "changes.unknown_table"},
		{with(bounded, "tables", one("patients")), "changes.settings"}, // changed names another table
		{settings{"tables": one("patients", "gone")}, "changes.column"},
		{settings{"tables": one("patients")}, "changes.member"},
		{settings{"tables": one("keyless", "ts_4_update")}, "changes.key"},
		{settings{"tables": one("timeless", "ts_4_update")}, "changes.changed_column"},
		{settings{"tables": one("notes", "text")}, "changes.changed_column"},
		{with(bounded, "position", `{"v":7}`), "changes.position"},
		{with(bounded, "position", `x`), "changes.position"},
		{with(bounded, "again", `{"documents":[{"type":"other","id":"1"}]}`), "changes.settings"},
		{with(bounded, "again", `{"documents":[{"type":"note","id":"1"}]}`), "changes.id"},
	} {
		c.with["url"] = bounded["url"]
		if tables, ok := c.with["tables"].([]settings); ok && tables[0]["table"] == "gone" {
			delete(c.with, "changed")
		}
		source, err := newSource(t, c.with)
		if err == nil {
			_, err = source.Open(context.Background())
		}
		for err == nil {
			_, _, err = next(t, context.Background(), source)
		}
		if f := fault.From(err); f.Code != c.code || f.Hint == "" {
			t.Errorf("%v: %v (%s), want %s", c.with["tables"], err, f.Hint, c.code)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	_, bounded := practice(t)
	source, err := newSource(t, bounded)
	if err != nil {
		t.Fatal(err)
	}
	var report sdk.Report
	if schema := source.(sdk.SourceChecker).CheckSource(context.Background(), &report); schema == nil {
		t.Error("no schema")
	}
	var warnings []string
	for _, f := range report.Findings {
		if f.Level == "warning" {
			warnings = append(warnings, f.Fault.Message+" "+f.Fault.Hint)
		}
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "table notes: no index begins with moved") || !strings.Contains(warnings[0], "CREATE INDEX `moved` ON ") {
		t.Errorf("warnings: %q", warnings)
	}
}

// TestLostConnection: a run goes on behind what it has when its session is ended on the server, as the host ends that of a
// dead plugin, and the host hears of every session and of its end.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	db, endless := practice(t)
	delete(endless, "again")
	var announced []sdk.Resource
	released := 0
	source, err := newAnnouncing(t, endless, func(_ context.Context, r sdk.Resource) (func(), error) {
		announced = append(announced, r)
		return func() { released++ }, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := source.Open(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, source, `copy write note 1:2 {"id":"1:2","type":"note","text":"b"}`)
	killer, err := newSource(t, endless)
	if err != nil {
		t.Fatal(err)
	}
	for n, name := range []string{"Ed", "Flo"} {
		if len(announced) != n+1 || released != n {
			t.Fatalf("%d sessions are announced, %d released", len(announced), released)
		}
		for range 2 { // the second time it is gone
			if err := killer.(sdk.Undoer).Undo(ctx, announced[n]); err != nil {
				t.Fatal(err)
			}
		}
		db.Exec("INSERT INTO patients VALUES (" + strconv.Itoa(50+n) + ", '" + name + "', UTC_TIMESTAMP(3))")
		until(t, ctx, source, `poll write patient `+strconv.Itoa(50+n)+` {"id":"`+strconv.Itoa(50+n)+`","type":"patient","name":"`+name+`"}`)
	}
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}
	if len(announced) != 3 || released != 3 {
		t.Errorf("%d sessions were announced, %d released", len(announced), released)
	}
	for _, r := range announced {
		if strings.Contains(r.Name+r.Remedy+string(r.State), db.Password()) {
			t.Errorf("a password is announced: %+v", r)
		}
	}
}
