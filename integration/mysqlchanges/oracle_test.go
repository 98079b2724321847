package mysqlchanges_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"testing"
	"time"

	protocol "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/binlog"
)

// testOracle: our reader gives of a log what a reader by others gives of it: the same transactions in the same order, with
// the same places and GTIDs, of the same tables, operations, rows and values, whatever the log is made of. Nobody else
// writes to it meanwhile, because the server's checksums are switched off and on again.
func testOracle(t *testing.T, shared *servers.Server) {
	own := shared.For(t)
	s := server{own, own.NewDatabase()}
	second := server{own, own.NewDatabase()}
	mariaDB := s.IsMariaDB()
	c := session(t, s.Server)
	defer c.Close()
	current := func() binlog.Position {
		at, err := binlog.Current(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	was := strings.TrimSpace(s.Query("SELECT @@GLOBAL.binlog_checksum"))
	t.Cleanup(func() { s.Exec("SET GLOBAL binlog_checksum = " + was) })
	s.Exec("SET GLOBAL binlog_checksum = CRC32")

	from := current()
	summed, err := follow(t, s, from)
	if err != nil {
		t.Fatal(err)
	}
	s.writeAll(second.database, mariaDB, from.ByGTID)
	s.Exec("SET GLOBAL binlog_checksum = NONE")
	middle := current()
	unsummed, err := follow(t, s, middle)
	if err != nil {
		t.Fatal(err)
	}
	s.Exec("DROP TABLE a, m; DROP TABLE " + second.database + ".a")
	s.writeAll(second.database, mariaDB, from.ByGTID)
	s.Exec("SET GLOBAL binlog_checksum = CRC32")
	s.Exec("DROP TABLE a, m; DROP TABLE " + second.database + ".a")
	s.writeAll(second.database, mariaDB, from.ByGTID)
	end := current()

	for name, part := range map[string]struct {
		reader *binlog.Reader
		from   binlog.Position
	}{"opened with checksums": {summed, from}, "opened without checksums": {unsummed, middle}} {
		ours, theirs := readOurs(t, part.reader, end), readTheirs(t, s, mariaDB, part.from, end)
		for i := range max(len(ours), len(theirs)) {
			if i >= len(ours) || i >= len(theirs) || ours[i] != theirs[i] {
				first := max(0, i-5)
				t.Fatalf("%s: %d lines, want %d; from line %d on\n%s\nwant\n%s", name, len(ours), len(theirs), first,
					strings.Join(ours[first:min(len(ours), i+3)], "\n"), strings.Join(theirs[first:min(len(theirs), i+3)], "\n"))
			}
		}
		all := strings.Join(ours, "\n")
		for part, least := range map[string]int{"commit ": 40, ", rows 1 ": 20, "insert ": 50, "update ": 50, "delete ": 50, "XA PREPARE ": 2, "ALTER TABLE ": 2, "TRUNCATE ": 2, "rollback ": 2} {
			if n := strings.Count(all, part); n < least && !(part == "rollback " && from.ByGTID && !mariaDB) {
				t.Errorf("%s: %q is there %d times, and not %d", name, part, n, least)
			}
		}
		if at := part.reader.Start(); at.Compare(end) != 0 || at.GTIDs != end.GTIDs {
			t.Errorf("%s: is at %s, and the server at %s", name, at, end)
		}
	}
}

// writeAll writes transactions of all kinds. Its tables are made as those of imageText are.
func (s server) writeAll(second string, mariaDB, byGTID bool) {
	const columns = " (id INT PRIMARY KEY, v VARCHAR(255)) CHARACTER SET latin1 "
	recursion, compressed, plain := "SET SESSION max_recursive_iterations = 1000000;", "SET GLOBAL log_bin_compress = ON;", "SET GLOBAL log_bin_compress = OFF;"
	if !mariaDB {
		recursion = "SET SESSION cte_max_recursion_depth = 1000000;"
		compressed, plain = "SET SESSION binlog_transaction_compression = ON;", "SET SESSION binlog_transaction_compression = OFF;"
	}
	large := func(first, last int) string {
		return fmt.Sprintf("INSERT INTO a WITH RECURSIVE n (i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i, REPEAT(SHA2(i, 256), 3) FROM n;", first, last)
	}
	s.Exec("CREATE TABLE a" + columns + "ENGINE=InnoDB; CREATE TABLE m" + columns + "ENGINE=MyISAM; CREATE TABLE " + second + ".a" + columns + "ENGINE=InnoDB;" + recursion +
		// Small ones, one after the other and in one, over two databases.
		"INSERT INTO a VALUES (1, 'x'), (2, NULL), (3, ''); UPDATE a SET v = CONCAT(v, '!'); UPDATE a SET id = 30 WHERE id = 3; DELETE FROM a WHERE id = 1;" +
		"BEGIN; INSERT INTO a VALUES (4, 'four'); INSERT INTO " + second + ".a SELECT * FROM a; DELETE FROM a WHERE id = 2; UPDATE " + second + ".a SET v = 'other'; COMMIT;" +
		"UPDATE a JOIN " + second + ".a AS o ON o.id = a.id SET a.v = 'both', o.v = 'both';" +
		// What is rolled back, in whole and in part, and what cannot be.
		"BEGIN; INSERT INTO a VALUES (5, 'never'); ROLLBACK; BEGIN; INSERT INTO a VALUES (6, 'kept'); SAVEPOINT p; INSERT INTO a VALUES (7, 'never'); ROLLBACK TO p; COMMIT;" +
		"INSERT INTO m VALUES (1, 'x');" +
		// Definitions between.
		"CREATE TABLE b LIKE a; INSERT INTO b SELECT * FROM a; ALTER TABLE b ADD w INT; INSERT INTO b VALUES (100, 'wide', 7), (101, 'wide', NULL); RENAME TABLE b TO c; UPDATE c SET w = 1; TRUNCATE c; DROP TABLE c;" +
		"CREATE TABLE d (PRIMARY KEY (id)) CHARACTER SET latin1 ENGINE=InnoDB AS SELECT id, v FROM a; DROP TABLE d; CREATE PROCEDURE p() UPDATE a SET v = 'called'; CALL p(); DROP PROCEDURE p;" +
		"CREATE TEMPORARY TABLE e (id INT); INSERT INTO e VALUES (1); INSERT INTO a SELECT id + 500, 'temporary' FROM e; DROP TEMPORARY TABLE e;" +
		// Large ones, compressed ones, and another file.
		large(1000, 9000) + "UPDATE a SET v = REVERSE(v) WHERE id >= 1000; FLUSH BINARY LOGS; DELETE FROM a WHERE id >= 1000 AND id % 3 = 0;")
	s.Exec(recursion + compressed + "BEGIN;" + large(20000, 30000) + "UPDATE a SET v = CONCAT(LEFT(v, 10), '…') WHERE id >= 20000; DELETE FROM a WHERE id >= 20000 AND id % 2 = 0; COMMIT;" +
		"CREATE TABLE f (id INT PRIMARY KEY, v VARCHAR(255)) CHARACTER SET latin1 COMMENT '" + strings.Repeat("long ", 200) + "'; INSERT INTO f SELECT * FROM a; DROP TABLE f;" +
		"INSERT INTO " + second + ".a VALUES (50, REPEAT('y', 255)); BEGIN; UPDATE " + second + ".a SET v = 'z'; FLUSH BINARY LOGS; UPDATE a SET v = 'z' WHERE id < 100; COMMIT;" + plain +
		"XA START 'one'; INSERT INTO a VALUES (70, 'xa'); XA END 'one'; XA PREPARE 'one'; XA COMMIT 'one';" +
		"XA START 'two'; INSERT INTO a VALUES (71, 'xa'); XA END 'two'; XA PREPARE 'two'; XA ROLLBACK 'two';" +
		"XA START 'all'; INSERT INTO a VALUES (72, 'xa'); XA END 'all'; XA COMMIT 'all' ONE PHASE;")
	if mariaDB || !byGTID { // a transaction that cannot be rolled back as a whole; GTIDs of MySQL forbid it
		s.Exec("SET SESSION binlog_format = 'STATEMENT'; BEGIN; INSERT INTO a VALUES (80, 'never'); INSERT INTO m VALUES (80, 'stays'); ROLLBACK")
	}
}

// line says what became of rows of a table. Values are compared by a sum of their text.
func line(database, table, operation string, images []string) string {
	sum := fnv.New64a()
	for _, image := range images {
		fmt.Fprintln(sum, image)
	}
	n := len(images)
	if operation == "update" {
		n /= 2
	}
	return fmt.Sprintf("%s %s.%s, rows %d (%x)", operation, database, table, n, sum.Sum64())
}

// imageText is the values of the first image of a row: id INT, v VARCHAR of less than 256 bytes, and perhaps w INT.
func imageText(image []byte, columns int) (text string, rest []byte) {
	nulls, rest := image[0], image[1:]
	var values []any
	for i := range columns {
		switch {
		case nulls&(1<<i) != 0:
			values = append(values, nil)
		case i == 1:
			n := int(rest[0])
			values = append(values, string(rest[1:1+n]))
			rest = rest[1+n:]
		default:
			values = append(values, int32(binary.LittleEndian.Uint32(rest)))
			rest = rest[4:]
		}
	}
	return fmt.Sprint(values), rest
}

// readOurs gives what our reader gives, up to a place.
func readOurs(t *testing.T, r *binlog.Reader, end binlog.Position) (lines []string) {
	t.Helper()
	operations := map[binlog.Operation]string{binlog.Insert: "insert", binlog.Update: "update", binlog.Delete: "delete"}
	type name struct{ database, table string }
	names := map[uint64]name{}
	for deadline := time.Now().Add(time.Minute); r.Place().Compare(end) < 0; {
		e, err := r.Next(deadline)
		if err != nil {
			t.Fatalf("%v, behind %d lines: %s", err, len(lines), strings.Join(lines[max(0, len(lines)-5):], "\n"))
		}
		ended := func(how string) {
			at := r.Start()
			lines = append(lines, fmt.Sprintf("%s %s:%d %s", how, at.File, at.Offset, at.GTIDs))
		}
		switch e.Kind {
		case binlog.Begin:
			lines = append(lines, "begin "+e.At.Format(time.DateTime))
		case binlog.Table:
			names[e.TableID] = name{e.Database, e.Name}
		case binlog.Rows:
			var images []string
			for rest := e.Images; len(rest) > 0; {
				var text string
				text, rest = imageText(rest, e.Columns)
				images = append(images, text)
			}
			lines = append(lines, line(names[e.TableID].database, names[e.TableID].table, operations[e.Operation], images))
		case binlog.Statement:
			lines = append(lines, e.Database+": "+e.Text)
		case binlog.Commit:
			ended("commit")
		case binlog.Rollback:
			ended("rollback")
		case binlog.XAPrepare:
			ended("XA PREPARE")
		case binlog.Incident, binlog.Unknown:
			lines = append(lines, fmt.Sprintf("event %d", e.Type))
		}
	}
	return lines
}

// theirs reads a log with go-mysql.
type theirs struct {
	lines   []string
	mariaDB bool
	file    string
	offset  uint32
	gtids   protocol.GTIDSet // nil where the place is one of a file
	next    protocol.GTIDSet // of the transaction
	open    bool
	block   bool // it has an end of its own
}

// readTheirs gives what go-mysql's reader gives, from a place up to another one.
func readTheirs(t *testing.T, s server, mariaDB bool, from, end binlog.Position) []string {
	t.Helper()
	readerID++
	flavour, secure := protocol.MySQLFlavor, &tls.Config{InsecureSkipVerify: true} // without it MySQL takes no password
	if mariaDB {
		flavour, secure = protocol.MariaDBFlavor, nil // of which an older one has no TLS
	}
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: readerID, Flavor: flavour, Host: "127.0.0.1", Port: uint16(s.Port()), User: "root", Password: s.Password(), VerifyChecksum: true,
		Logger: slog.New(slog.DiscardHandler), DisableRetrySync: true, TLSConfig: secure,
	})
	defer syncer.Close()
	streamer, err := syncer.StartSync(protocol.Position{Name: from.File, Pos: uint32(from.Offset)})
	if err != nil {
		t.Fatal(err)
	}
	o := &theirs{mariaDB: mariaDB, file: from.File, offset: uint32(from.Offset)}
	if from.ByGTID {
		if o.gtids, err = protocol.ParseGTIDSet(flavour, from.GTIDs); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for o.open || o.file != end.File || uint64(o.offset) < end.Offset {
		e, err := streamer.GetEvent(ctx)
		if err == nil {
			err = o.take(e)
		}
		if err != nil {
			t.Fatalf("the other reader: %v, at %s:%d", err, o.file, o.offset)
		}
	}
	return o.lines
}

// take takes an event of the log.
func (o *theirs) take(e *replication.BinlogEvent) error {
	const artificial = 0x20
	if rotate, is := e.Event.(*replication.RotateEvent); is {
		o.file, o.offset = string(rotate.NextLogName), uint32(rotate.Position)
		return nil
	}
	if e.Header.Flags&artificial != 0 || e.Header.EventType == replication.HEARTBEAT_EVENT || e.Header.EventType == replication.HEARTBEAT_LOG_EVENT_V2 {
		return nil
	}
	switch {
	case e.Header.LogPos != 0:
		o.offset = e.Header.LogPos
	case e.Header.EventType != replication.FORMAT_DESCRIPTION_EVENT:
		o.offset += e.Header.EventSize
	}
	if payload, is := e.Event.(*replication.TransactionPayloadEvent); is {
		for _, inner := range payload.Events {
			if err := o.event(inner); err != nil {
				return err
			}
		}
		return nil
	}
	return o.event(e)
}

func (o *theirs) event(e *replication.BinlogEvent) (err error) {
	switch ev := e.Event.(type) {
	case *replication.GTIDEvent:
		return o.begin(e, ev)
	case *replication.GtidTaggedLogEvent:
		return o.begin(e, &ev.GTIDEvent)
	case *replication.MariadbGTIDEvent:
		if o.next, err = protocol.ParseMariadbGTIDSet(ev.GTID.String()); err != nil {
			return err
		}
		o.open, o.block = true, !ev.IsStandalone()
		o.lines = append(o.lines, "begin "+time.Unix(int64(e.Header.Timestamp), 0).UTC().Format(time.DateTime))
	case *replication.QueryEvent:
		return o.query(strings.TrimSpace(string(ev.Query)), string(ev.Schema))
	case *replication.XIDEvent:
		return o.end("commit")
	case *replication.RowsEvent:
		var images []string
		for _, row := range ev.Rows {
			images = append(images, fmt.Sprint(row))
		}
		operation := map[replication.EnumRowsEventType]string{replication.EnumRowsEventTypeInsert: "insert", replication.EnumRowsEventTypeUpdate: "update",
			replication.EnumRowsEventTypeDelete: "delete"}[ev.Type()]
		o.lines = append(o.lines, line(string(ev.Table.Schema), string(ev.Table.Table), operation, images))
	default:
		if e.Header.EventType == replication.XA_PREPARE_LOG_EVENT {
			return o.end("XA PREPARE")
		}
	}
	return nil
}

func (o *theirs) begin(e *replication.BinlogEvent, ev *replication.GTIDEvent) (err error) {
	if o.gtids != nil {
		if o.next, err = ev.GTIDNext(); err != nil {
			return err
		}
	}
	o.open, o.block = true, false
	at := time.Unix(int64(e.Header.Timestamp), 0)
	if ev.ImmediateCommitTimestamp > 0 {
		at = time.UnixMicro(int64(ev.ImmediateCommitTimestamp))
	}
	o.lines = append(o.lines, "begin "+at.UTC().Format(time.DateTime))
	return nil
}

func (o *theirs) query(text, database string) error {
	switch text {
	case "BEGIN":
		o.block = true
		return nil
	case "COMMIT":
		return o.end("commit")
	case "ROLLBACK":
		return o.end("rollback")
	}
	o.block = o.block || strings.HasPrefix(text, "XA START")
	o.lines = append(o.lines, database+": "+text)
	if !o.block {
		return o.end("commit")
	}
	return nil
}

func (o *theirs) end(how string) error {
	if !o.open {
		return errors.New("a transaction ends that did not begin")
	}
	o.open = false
	text := ""
	if o.gtids != nil {
		if err := o.gtids.Update(o.next.String()); err != nil {
			return err
		}
		text = o.gtids.String()
	}
	o.lines = append(o.lines, fmt.Sprintf("%s %s:%d %s", how, o.file, o.offset, text))
	return nil
}
