package mysql

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// opened is a session of a test, whose memory must be back when the test ends.
func opened(t *testing.T, s Settings) *Session {
	t.Helper()
	session, err := Connect(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	session.SetEnv(sdk.Env{Memory: mem, BatchRows: 2})
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
		mem.AssertSize(t, 0)
	})
	return session
}

// readOut are the rows of a statement as text.
func readOut(t *testing.T, session *Session, query string, args ...any) (schema string, rows [][]string) {
	t.Helper()
	reader, err := session.Read(context.Background(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	for {
		r, err := reader.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return reader.Schema().String(), rows
		}
		if err != nil {
			t.Fatal(err)
		}
		for row := range int(r.NumRows()) {
			var cells []string
			for i, c := range r.Columns() {
				cells = append(cells, strings.Clone(cell(c, row, r.Schema().Field(i))))
			}
			rows = append(rows, cells)
		}
		r.Release()
	}
}

// TestSessionReadsAsTheSource: schema and values are those that the source gives of the table, instants included.
func TestSessionReadsAsTheSource(t *testing.T) {
	server := dbtest.MariaDB(t)
	server.Exec(`SET time_zone = '+00:00'; CREATE TABLE r (id BIGINT PRIMARY KEY, name VARCHAR(20), at TIMESTAMP(3) NULL, day DATE, b BLOB, n DECIMAL(40,2));
INSERT INTO r VALUES (1, 'Ä', '2026-04-04 15:30:00.123', '2024-02-29', x'00ff', -12345678901234567890.12), (2, NULL, NULL, NULL, NULL, NULL), (3, '', '1970-01-01 00:00:01', '1000-01-01', '', 0)`)
	for _, zone := range []string{"server", "+10:00"} {
		session := opened(t, Settings{URL: config.NewSecret(server.DSN(server.Database())), TimeZone: zone})
		want := mustRead(t, settings{"url": server.DSN(server.Database()), "time_zone": zone,
			"request": map[string]any{"table_name": "r", "allowed_tables": "*"}})
		schema, rows := readOut(t, session, "SELECT * FROM r WHERE id >= ? ORDER BY id", int64(1))
		if schema != want.schema.String() {
			t.Errorf("%s: the schema is\n%s\nand of the source\n%s", zone, schema, want.schema)
		}
		if got, want := rows, want.rows; len(got) != len(want) || strings.Join(got[0], "|") != strings.Join(want[0], "|") || strings.Join(got[2], "|") != strings.Join(want[2], "|") {
			t.Errorf("%s: the rows are %q and of the source %q", zone, got, want)
		}
		if _, rows := readOut(t, session, "SELECT id FROM r WHERE b = ? AND at = ?", []byte{0, 0xff}, "2026-04-04 15:30:00.123"); len(rows) != 1 {
			t.Errorf("%s: by bytes and an instant of UTC, %d rows were found", zone, len(rows))
		}
	}
}

// TestSessionGoesOn: an error of the server ends its statement, and a session that was left in the middle of one says so.
func TestSessionGoesOn(t *testing.T) {
	t.Parallel()
	server, ctx := dbtest.MariaDB(t), context.Background()
	server.Exec("CREATE TABLE r (id INT PRIMARY KEY); INSERT INTO r SELECT seq FROM seq_1_to_100")
	session := opened(t, Settings{URL: config.NewSecret(server.DSN(server.Database()))})
	if !session.MariaDB() || !strings.Contains(session.Version(), "MariaDB") || strings.HasPrefix(session.Version(), "5.5.5") || session.Database() != server.Database() {
		t.Errorf("the session is on %q of %q", session.Database(), session.Version())
	}
	_, err := session.Read(ctx, "SELECT * FROM missing")
	wantFault(t, err, codeUnknownTable)
	wantFault(t, session.Exec(ctx, "SELEC 'secret'"), codeSyntax)
	wantFault(t, session.Exec(ctx, "DELETE FROM r"), codeReadOnly)
	_, err = session.Read(ctx, "SELECT * FROM r WHERE id = ?")
	wantFault(t, err, codeArgumentCount)
	var texts []string
	if err := session.Rows(ctx, "SELECT id FROM r WHERE id < 3 ORDER BY id", func(row []string) { texts = append(texts, row[0]) }); err != nil || strings.Join(texts, ",") != "1,2" {
		t.Fatalf("%v: %v", texts, err)
	}
	if _, rows := readOut(t, session, "SELECT id FROM r"); len(rows) != 100 {
		t.Errorf("%d rows", len(rows))
	}
	for range 50 { // prepared statements are dropped again
		readOut(t, session, "SELECT id FROM r WHERE id = ?", int64(5))
	}
	if got := server.Query("SHOW GLOBAL STATUS LIKE 'prepared_stmt_count'"); strings.HasSuffix(strings.TrimSpace(got), "50") {
		t.Errorf("statements stay prepared: %s", got)
	}

	reader, err := session.Read(ctx, "SELECT id FROM r")
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Exec(ctx, "SELECT 1"); err == nil {
		t.Error("a statement was executed in the middle of another")
	}
	r, err := reader.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r.Release()
	if err := errors.Join(reader.Close(), reader.Close()); err != nil {
		t.Error(err)
	}
	if err := session.Exec(ctx, "SELECT 1"); err == nil {
		t.Error("a session that was left in the middle of a statement goes on")
	}
}

// TestSessionIsCancelled: a statement that nobody waits for is ended on the server.
func TestSessionIsCancelled(t *testing.T) {
	t.Parallel()
	server := dbtest.MariaDB(t)
	session := opened(t, Settings{URL: config.NewSecret(server.DSN(server.Database()))})
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	if err := session.Exec(ctx, "SELECT SLEEP(600), '"+server.Database()+"'"); !errors.Is(err, why) {
		t.Errorf("error is %v", err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if left := server.Query("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(600), \\'" + server.Database() + "%'"); strings.TrimSpace(left) == "0" {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("%s statements still run", left)
		}
	}
	if err := session.Exec(context.Background(), "SELECT 1"); !errors.Is(err, why) {
		t.Errorf("afterwards the session says %v", err)
	}
}
