package datastream

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// tables make the practice. Of a patient's columns one has a name that is taken; a booking's key has two columns, of which one is
// text that is compared without regard to case; a device's key is binary. Scratch is in no stream.
const tables = `
CREATE TABLE patients (
	patient_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(120), type VARCHAR(20), born DATE,
	balance DECIMAL(20,4), weight DOUBLE, active TINYINT NOT NULL DEFAULT 1, notes MEDIUMTEXT, photo BLOB, sex ENUM('F','M','X'),
	flags SET('a','b','c'), seen DATETIME(3), changed TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
	opens TIME(2), small SMALLINT, since YEAR, details JSON, latin VARCHAR(40) CHARACTER SET latin1, INDEX (name)) ENGINE=InnoDB;
CREATE TABLE bookings (
	clinic VARCHAR(20) NOT NULL, number INT NOT NULL, patient_id BIGINT UNSIGNED, starts DATETIME, minutes SMALLINT UNSIGNED, reason TEXT,
	PRIMARY KEY (clinic, number), INDEX (patient_id)) ENGINE=InnoDB;
CREATE TABLE devices (serial BINARY(6) NOT NULL PRIMARY KEY, label VARCHAR(60), raw VARBINARY(80)) ENGINE=InnoDB;
CREATE TABLE entries (
	entry BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, who VARCHAR(40), message TEXT, at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)) ENGINE=InnoDB;
CREATE TABLE scratch (n INT NOT NULL AUTO_INCREMENT PRIMARY KEY, filler VARCHAR(200)) ENGINE=InnoDB;
CREATE TABLE digits (d INT NOT NULL PRIMARY KEY) ENGINE=InnoDB;
INSERT INTO digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9);
`

// streamed are the tables of the stream, with their types, channels, keys and renamed columns.
var streamed = []struct {
	table, kind, channel string
	keys                 []string
	rename               map[string]string
}{
	{"patients", "patient", entities, []string{"patient_id"}, map[string]string{"type": "patient_type"}},
	{"bookings", "booking", entities, []string{"clinic", "number"}, nil},
	{"devices", "device", entities, []string{"serial"}, nil},
	{"entries", "entry", logs, []string{"entry"}, nil},
}

// practice fills an empty database.
func practice(t testing.TB, s *servers.Server, patients int) {
	t.Helper()
	s.Exec(tables)
	for made := 0; made < patients; made += 100_000 {
		s.Exec(fmt.Sprintf(`INSERT INTO patients (name, born, balance, notes) SELECT CONCAT('first ', n), '1970-01-01' + INTERVAL n %% 20000 DAY, n / 7, REPEAT('n', n %% 300)
	FROM (%s) x;`, counted(min(patients-made, 100_000))))
	}
	s.Exec(`INSERT INTO entries (who, message) SELECT 'setup', CONCAT('patient ', patient_id) FROM patients WHERE patient_id % 3 = 0;
INSERT INTO bookings SELECT CONCAT('C:', patient_id % 7), patient_id, patient_id, '2024-02-29 12:00:00', 15, NULL FROM patients WHERE patient_id % 2 = 0;`)
}

// counted is a query of the numbers below n, which is at most 100,000.
func counted(n int) string {
	return fmt.Sprintf(`SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d AS n FROM digits a, digits b, digits c, digits e, digits f
		WHERE a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d < %d`, n)
}

// load changes the rows of a practice at random, while its server may be killed.
type load struct {
	db    *sql.DB
	large int // the most rows that one statement changes
	// pause is how long a worker waits between transactions, at most.
	pause time.Duration
	// steady is how many rows a second more workers change by their keys, all over the table of patients. Default: none do.
	steady int

	mu    sync.Mutex
	begun time.Time
	rows  int64 // changed
	done  map[string]int
	bad   []error
}

// start lets workers change rows until the context has ended; wait returns when they have.
func (l *load) start(ctx context.Context, workers int) (wait func()) {
	l.done, l.begun = map[string]int{}, time.Now()
	var going sync.WaitGroup
	for n := range workers {
		going.Go(func() {
			w := &worker{load: l, Rand: rand.New(rand.NewPCG(rand.Uint64(), uint64(n)))}
			for ctx.Err() == nil {
				name, err := w.transaction()
				l.note(name, err)
				select {
				case <-time.After(time.Duration(w.Int64N(int64(l.pause) + 1))):
				case <-ctx.Done():
				}
			}
		})
	}
	for range min(l.steady, steadyWorkers) {
		going.Go(func() {
			w := &worker{load: l, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
			for n := 1; ctx.Err() == nil; n++ {
				name, err := w.turn()
				l.note(name, err)
				select {
				case <-time.After(time.Until(l.begun.Add(time.Duration(n) * steadyWorkers * rowsOfTurn * time.Second / time.Duration(l.steady)))):
				case <-ctx.Done():
				}
			}
		})
	}
	return going.Wait
}

const (
	steadyWorkers = 4
	rowsOfTurn    = 20 // are changed in a turn
)

// turn is a transaction of a steady worker.
func (w *worker) turn() (name string, err error) {
	tx, err := w.db.Begin()
	if err != nil {
		return "steady", err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	key := func() string { return fmt.Sprint(1 + w.IntN(1_000_000)) }
	keys := make([]string, rowsOfTurn/2)
	for i := range keys {
		keys[i] = key()
	}
	for _, statement := range []string{
		fmt.Sprintf("UPDATE patients SET name = %s, balance = %s WHERE patient_id IN (%s)", w.text(), w.decimal(), strings.Join(keys, ", ")),
		"INSERT INTO entries (who, message) VALUES ('steady', 'a')" + strings.Repeat(", ('steady', 'b')", rowsOfTurn/2-3),
		"DELETE FROM patients WHERE patient_id = " + key(),
		"INSERT INTO patients (name, notes) VALUES ('steady', 'new')",
	} {
		if err := w.changed(tx.Exec(statement)); err != nil {
			return "steady", err
		}
	}
	return "steady", tx.Commit()
}

// changed counts the rows of a statement.
func (l *load) changed(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows += n
	return err
}

// note counts what was done. Of what failed only that is bad which neither the death of a server nor another worker explains.
func (l *load) note(name string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var said *mysql.MySQLError
	var network net.Error
	switch {
	case err == nil:
		l.done[name]++
	case errors.As(err, &said) && slices.Contains([]uint16{
		1053, 1062, 1205, 1213, 1317, // shutting down, a duplicate key, a lock that was waited for, a deadlock, interrupted
		1020, // MariaDB: a row was changed by another since it was read
		1467, // MariaDB: a deadlock, or a lock that was waited for, while the next number of a key was read
	}, said.Number):
		l.done["refused"]++
	case errors.As(err, &said):
		l.bad = append(l.bad, fmt.Errorf("%s: %w", name, err))
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, mysql.ErrInvalidConn), errors.As(err, &network):
		l.done["cut"]++
	default:
		l.bad = append(l.bad, fmt.Errorf("%s: %w", name, err))
	}
}

// report fails the test for what was bad, and says what was done.
func (l *load) report(t testing.TB) string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, err := range l.bad[:min(len(l.bad), 5)] {
		t.Errorf("the load: %v", err)
	}
	return fmt.Sprintf("%.0f rows a second, %v", float64(l.rows)/time.Since(l.begun).Seconds(), l.done)
}

// worker is one connection's.
type worker struct {
	*load
	*rand.Rand
	made int // tables
}

// transaction does one thing at random, and says what.
func (w *worker) transaction() (name string, err error) {
	step := w.step()
	// Nothing is cut by the end of the load: what became of it would not be known, and a server goes on with a statement whose
	// client has left, in the midst of what is compared then.
	if step.alone {
		for _, statement := range step.statements {
			if err := w.changed(w.db.Exec(statement)); err != nil {
				return step.name, err
			}
		}
		return step.name, nil
	}
	tx, err := w.db.Begin()
	if err != nil {
		return step.name, err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	name = step.name
	for more := w.IntN(4); ; more-- {
		for _, statement := range step.statements {
			if err := w.changed(tx.Exec(statement)); err != nil {
				return name, err
			}
		}
		if more <= 0 {
			break
		}
		if step = w.step(); step.alone {
			break
		}
	}
	if w.IntN(6) == 0 {
		return "rolled back", tx.Rollback()
	}
	return name, tx.Commit()
}

// step is one thing that is done to the rows.
type step struct {
	name       string
	statements []string
	alone      bool // in no transaction
}

func one(name, format string, args ...any) step {
	return step{name: name, statements: []string{fmt.Sprintf(format, args...)}}
}

// step is a random one. Common ones are as likely as their weights say.
func (w *worker) step() step {
	const insertPatient = "(name, type, born, balance, weight, active, notes, photo, sex, flags, seen, opens, small, since, details, latin)"
	kinds := []struct {
		weight int
		make   func() step
	}{
		{10, func() step {
			return one("insert", "INSERT INTO patients %s VALUES (%s)", insertPatient, w.patient())
		}},
		{3, func() step {
			return one("insert many", "INSERT INTO patients %s VALUES (%s), (%s), (%s)", insertPatient, w.patient(), w.patient(), w.patient())
		}},
		{10, func() step {
			return one("update", "UPDATE patients SET %s = %s WHERE patient_id = %s", "name", w.text(), w.anyPatient())
		}},
		{5, func() step {
			return one("update numbers", "UPDATE patients SET balance = %s, weight = %s, small = -1 - small, photo = %s, details = %s WHERE patient_id = %s",
				w.decimal(), w.double(), w.binary(90), w.json(), w.anyPatient())
		}},
		{2, func() step {
			return one("update nothing", "UPDATE patients SET name = name, small = small WHERE patient_id = %s", w.anyPatient())
		}},
		{3, func() step {
			return one("update a range", "UPDATE patients SET seen = %s, type = %s WHERE patient_id BETWEEN %s AND %s + %d LIMIT %d",
				w.moment(), w.text(), w.anyPatient(), w.anyPatient(), w.IntN(30), w.large)
		}},
		{5, func() step { return one("delete", "DELETE FROM patients WHERE patient_id = %s", w.anyPatient()) }},
		{2, func() step { // there and back in one transaction: one id is written, deleted and written
			id := w.IntN(50) + 1
			return step{name: "replace by hand", statements: []string{fmt.Sprintf("DELETE FROM patients WHERE patient_id = %d", id),
				fmt.Sprintf("INSERT INTO patients (patient_id, name) VALUES (%d, %s)", id, w.text())}}
		}},
		{3, func() step { // the key of a row changes
			return one("change key", "UPDATE patients SET patient_id = %d WHERE patient_id = %s", 1_000_000+w.IntN(1_000_000), w.anyPatient())
		}},
		{1, func() step { // two rows have each other's key
			a, b := w.IntN(100)+1, w.IntN(100)+1
			return step{name: "swap keys", statements: []string{fmt.Sprintf("UPDATE patients SET patient_id = 9999999 WHERE patient_id = %d", a),
				fmt.Sprintf("UPDATE patients SET patient_id = %d WHERE patient_id = %d", a, b), fmt.Sprintf("UPDATE patients SET patient_id = %d WHERE patient_id = 9999999", b)}}
		}},
		{6, func() step {
			return one("book", "INSERT INTO bookings VALUES (%s, %d, %d, %s, %d, %s) ON DUPLICATE KEY UPDATE reason = %s", w.clinic(), w.IntN(200), w.IntN(2000), w.moment(), w.IntN(65536), w.text(), w.text())
		}},
		{4, func() step {
			return one("replace", "REPLACE INTO bookings VALUES (%s, %d, NULL, NULL, %d, %s)", w.clinic(), w.IntN(200), w.IntN(100), w.text())
		}},
		{3, func() step { // also from a spelling to another one of the same key
			return one("move", "UPDATE bookings SET clinic = %s WHERE clinic = %s AND number = %d", w.clinic(), w.clinic(), w.IntN(200))
		}},
		{2, func() step { return one("cancel", "DELETE FROM bookings WHERE number = %d", w.IntN(200)) }},
		{4, func() step {
			return one("device", "REPLACE INTO devices VALUES (x'%02x0000%02x003a', %s, %s)", w.IntN(16), w.IntN(4), w.text(), w.binary(80))
		}},
		{1, func() step { return one("no device", "DELETE FROM devices WHERE serial < x'%02x'", w.IntN(16)) }},
		{8, func() step {
			return one("log", "INSERT INTO entries (who, message) VALUES (%s, %s)", w.text(), w.text())
		}},
		{1, func() step { return one("forget", "DELETE FROM entries ORDER BY entry LIMIT %d", w.IntN(40)) }},
		{1, func() step {
			return one("large insert", "INSERT INTO entries (who, message) SELECT 'large', CONCAT(%s, n) FROM (%s) x", w.text(), counted(w.IntN(w.large)+1))
		}},
		{1, func() step {
			return one("large update", "UPDATE entries SET message = CONCAT('was ', LEFT(message, 50)) ORDER BY entry DESC LIMIT %d", w.IntN(w.large)+1)
		}},
		{1, func() step {
			return one("large delete", "DELETE FROM entries ORDER BY entry LIMIT %d", w.IntN(w.large)+1)
		}},
		{1, func() step {
			return step{name: "truncate", statements: []string{"TRUNCATE TABLE devices"}, alone: true}
		}},
		{2, func() step {
			return step{name: "savepoint", statements: []string{"SAVEPOINT here", fmt.Sprintf("INSERT INTO entries (who, message) VALUES ('nobody', %s)", w.text()),
				fmt.Sprintf("UPDATE patients SET name = 'nobody' WHERE patient_id < %d", w.IntN(50)), "ROLLBACK TO SAVEPOINT here",
				fmt.Sprintf("INSERT INTO entries (who, message) VALUES ('somebody', %s)", w.text())}}
		}},
		{2, w.definition},
	}
	all := 0
	for _, k := range kinds {
		all += k.weight
	}
	n := w.IntN(all)
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			return k.make()
		}
	}
	panic("not reached: the weights end there")
}

// definition changes what the stream does not have, or nothing of a row.
func (w *worker) definition() step {
	w.made++
	name := fmt.Sprintf("made_%d", w.IntN(1<<30))
	list := [][]string{
		{"CREATE TABLE " + name + " (n INT PRIMARY KEY, type TEXT)", "INSERT INTO " + name + " VALUES (1, 'one')", "ALTER TABLE " + name + " ADD COLUMN m INT DEFAULT 7 FIRST",
			"UPDATE " + name + " SET m = n", "RENAME TABLE " + name + " TO " + name + "_b", "TRUNCATE TABLE " + name + "_b", "DROP TABLE " + name + "_b"},
		{"CREATE OR REPLACE VIEW seen_" + fmt.Sprint(w.IntN(3)) + " AS SELECT patient_id, name FROM patients WHERE active"},
		{"INSERT INTO scratch (filler) VALUES ('a'), ('b')", "DELETE FROM scratch"},
		{"ANALYZE TABLE patients"},
		{"CREATE TABLE IF NOT EXISTS " + name + " AS SELECT name FROM patients LIMIT 10", "DROP TABLE IF EXISTS " + name},
		{"TRUNCATE TABLE scratch"},
	}
	return step{name: "definition", statements: list[w.IntN(len(list))], alone: true}
}

// anyPatient is a key that there may be: of the first rows, of one that was moved, or of the last ones.
func (w *worker) anyPatient() string {
	if w.steady > 0 {
		// MariaDB looks at, and locks, every row for a key that a query gives: too many beside others that shall keep a rate.
		return fmt.Sprint(1 + w.IntN(1_000_000))
	}
	switch w.IntN(4) {
	case 0:
		return fmt.Sprint(w.IntN(60))
	case 1:
		return fmt.Sprintf("(SELECT * FROM (SELECT COALESCE(MIN(patient_id), 0) FROM patients WHERE patient_id >= %d) x)", 1_000_000+w.IntN(1_000_000))
	default:
		return fmt.Sprintf("(SELECT * FROM (SELECT COALESCE(MAX(patient_id), 0) FROM patients WHERE patient_id < 1000000) x) - %d", w.IntN(200))
	}
}

// patient are the values of a new one.
func (w *worker) patient() string {
	return strings.Join([]string{w.text(), w.text(), w.pick("NULL", "'1000-01-01'", "'9999-12-31'", "'2024-02-29'"), w.decimal(), w.double(), w.pick("0", "1", "-128", "127"),
		w.long(), w.binary(300), w.pick("NULL", "'F'", "'M'", "'X'"), w.pick("NULL", "''", "'a'", "'a,c'", "'a,b,c'"), w.moment(),
		w.pick("NULL", "'-838:59:59'", "'838:59:59'", "'00:00:00.01'", "'-00:00:01.5'"), w.pick("NULL", "-32768", "32767", "0"), w.pick("NULL", "0", "1901", "2155"),
		w.json(), w.pick("NULL", "''", "'Zo\u00eb'", "'\u20ac'")}, ", ")
}

func (w *worker) pick(list ...string) string { return list[w.IntN(len(list))] }

func (w *worker) text() string {
	switch w.IntN(8) {
	case 0:
		return "NULL"
	case 1:
		return w.pick("''", "' '", "'NULL'", "'0'", "'\u2028'", "'\U0001F600 \u4e2d'", `'"\\\\\'\n\t'`, "x'0001'", "'<&>'", "'a:b'")
	default:
		return fmt.Sprintf("'text %x'", w.Uint32()>>w.IntN(32))
	}
}

func (w *worker) long() string {
	return w.pick("NULL", "''", "'short'", fmt.Sprintf("REPEAT('l\u00f6ng ', %d)", w.IntN(2000)), fmt.Sprintf("REPEAT('x', %d)", w.IntN(300)))
}

func (w *worker) binary(most int) string {
	if w.IntN(5) == 0 {
		return w.pick("NULL", "''", "x'00'", "x'2020'")
	}
	b := make([]byte, 1+w.IntN(most-1))
	for i := range b {
		b[i] = byte(w.Uint32())
	}
	return "x'" + hex.EncodeToString(b) + "'"
}

func (w *worker) decimal() string {
	return w.pick("NULL", "0", "-0.0001", "9999999999999999.9999", "-9999999999999999.9999", fmt.Sprintf("%d.%04d", w.Int64N(1e15), w.IntN(10000)))
}

func (w *worker) double() string {
	return w.pick("NULL", "0", "1e300", "-1e-300", "0.1", "1234567.891", "1e22", fmt.Sprintf("%g", w.NormFloat64()))
}

func (w *worker) moment() string {
	return w.pick("NULL", "'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'", fmt.Sprintf("'2024-02-29 12:34:56' + INTERVAL %d SECOND", w.IntN(1<<25)))
}

func (w *worker) json() string {
	return w.pick("NULL", "'{}'", "'null'", `'{"b": 1, "a": [1, 2.5, "x", null, true], "long key": {"c": "\\\\"}}'`, "'[]'", fmt.Sprintf(`'{"n": %d}'`, w.Int64()), "'\"\u4e2d\"'")
}

// clinic is a part of a key, in one of its spellings.
func (w *worker) clinic() string {
	return w.pick("'North'", "'north'", "'NORTH'", "'a:b'", `'a\\\\b'`, "'\u00e9'", "'e'", "''", "'South'")
}
