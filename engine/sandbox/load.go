package sandbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/go-sql-driver/mysql"
)

// LoadConfig says what Load puts where.
type LoadConfig struct {
	// DSN is mysql://user:password@host:3306/database, with the parameters
	// socket, tls, tls_ca, tls_cert, tls_key and tls_pin. The database is created if it
	// doesn't exist.
	DSN string
	// SQL holds schema.sql and procedures/*.sql.
	SQL fs.FS
	// Options choose the rows.
	Options Options
	// Tables are the tables that get their rows; the others stay empty. Empty means all.
	Tables []string
	// Replace drops the practice's tables and procedures first. Without it,
	// finding any of them is a fault with CodeExists. Other tables are never touched.
	Replace bool
	// Progress, when not nil, is called after every piece of a table, by one
	// goroutine at a time, with the rows of the table loaded so far. Tables are
	// loaded in the order of schema.sql, but a few at the same time.
	Progress func(LoadProgress)
}

// LoadProgress is how far a table is.
type LoadProgress struct {
	Table       string
	Rows, Total int64
}

// Method is the way rows went into the server.
type Method string

// The methods.
const (
	// Infile is LOAD DATA LOCAL INFILE.
	Infile Method = "load data local infile"
	// Inserts are INSERT statements of many rows, used when the server refuses
	// LOAD DATA LOCAL.
	Inserts Method = "multi-row insert"
)

// LoadResult says what was loaded.
type LoadResult struct {
	Method  Method
	Tables  []LoadProgress
	Elapsed time.Duration
}

// Rows is the number of rows in all tables.
func (r *LoadResult) Rows() (n int64) {
	for _, t := range r.Tables {
		n += t.Rows
	}
	return n
}

// cleanupTime bounds the removal of a half-loaded database after a failure.
const cleanupTime = 30 * time.Second

// Load creates the practice's tables and procedures in a MySQL or MariaDB server
// and fills them. When it fails or is cancelled, it removes again what it made.
func Load(ctx context.Context, cfg LoadConfig) (*LoadResult, error) {
	started := time.Now()
	config, err := parseDSN(cfg.DSN)
	if err != nil {
		return nil, err
	}
	defs, err := ReadDefinitions(cfg.SQL)
	if err != nil {
		return nil, err
	}
	tables, err := Tables(cfg.Options)
	if err != nil {
		return nil, err
	}
	if tables, err = chosen(tables, cfg.Tables); err != nil {
		return nil, err
	}
	if err := createDatabase(ctx, config); err != nil {
		return nil, err
	}
	db, err := open(config)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	l := &loader{db: db, defs: defs, database: config.DBName, progress: cfg.Progress}
	if err := l.makeRoom(ctx, cfg.Replace); err != nil {
		return nil, err
	}
	result, err := l.run(ctx, tables)
	if err != nil {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		if cleanupErr := l.drop(cleanup); cleanupErr != nil {
			err = errors.Join(err, fmt.Errorf("removing the half-loaded tables: %w", cleanupErr))
		}
		return nil, err
	}
	result.Elapsed = time.Since(started)
	return result, nil
}

// chosen keeps the tables of those names.
func chosen(tables []Table, names []string) ([]Table, error) {
	for _, name := range names {
		if !slices.ContainsFunc(tables, func(t Table) bool { return t.Name == name }) {
			return nil, fault.New(CodeOptions, fault.Usage, "the practice has no table %q", name).
				WithHint("its tables are those of schema.sql, such as patient and appointment")
		}
	}
	if len(names) == 0 {
		return tables, nil
	}
	return slices.DeleteFunc(tables, func(t Table) bool { return !slices.Contains(names, t.Name) }), nil
}

// open prepares connections whose sessions make every lossy conversion an error.
func open(config *mysql.Config) (*sql.DB, error) {
	config = config.Clone()
	config.Logger = log.New(io.Discard, "", 0) // what it says comes back as an error too
	config.Params = map[string]string{
		"sql_mode": "'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE'",
	}
	if err := config.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return nil, dsnFault("cannot be used: %w", err)
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, dsnFault("cannot be used: %w", err)
	}
	return sql.OpenDB(connector), nil
}

// createDatabase makes the database when it isn't there. It is the first thing
// that talks to the server.
func createDatabase(ctx context.Context, config *mysql.Config) error {
	config = config.Clone()
	name := config.DBName
	config.DBName = ""
	db, err := open(config)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return connectFault(ctx, err, config)
	}
	var found int
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?", name).Scan(&found); err != nil {
		return loadFault(ctx, err, "looking for database %q", name)
	}
	if found > 0 {
		return nil
	}
	if _, err := db.ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS "+quoteName(name)+" CHARACTER SET utf8mb4"); err != nil {
		return loadFault(ctx, err, "creating database %q", name)
	}
	return nil
}

type loader struct {
	db       *sql.DB
	defs     Definitions
	database string
	progress func(LoadProgress)
	inserts  atomic.Bool // the server refuses LOAD DATA LOCAL
}

// makeRoom sees to it that none of the practice's objects exist.
func (l *loader) makeRoom(ctx context.Context, replace bool) error {
	if replace {
		return l.drop(ctx)
	}
	found, err := l.existing(ctx)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return fault.New(CodeExists, fault.Usage, "database %q already holds %s", l.database, strings.Join(found, ", ")).
			WithHint("name an empty database, or ask to replace the practice's tables and procedures")
	}
	return nil
}

func (l *loader) existing(ctx context.Context) ([]string, error) {
	var found []string
	for _, look := range []struct {
		what, query string
		defs        []Definition
	}{
		{"table", "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?", l.defs.Tables},
		{"procedure", "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = 'PROCEDURE' AND ROUTINE_SCHEMA = ?", l.defs.Procedures},
	} {
		names, err := l.strings(ctx, look.query, l.database)
		if err != nil {
			return nil, loadFault(ctx, err, "looking for the practice's %ss", look.what)
		}
		for _, def := range look.defs {
			if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, def.Name) }) {
				found = append(found, look.what+" "+def.Name)
			}
		}
	}
	return found, nil
}

func (l *loader) strings(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := l.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// drop removes the practice's tables and procedures, where they exist.
func (l *loader) drop(ctx context.Context) error {
	for _, def := range l.defs.Procedures {
		if _, err := l.db.ExecContext(ctx, "DROP PROCEDURE IF EXISTS "+quoteName(def.Name)); err != nil {
			return loadFault(ctx, err, "dropping procedure %s", def.Name)
		}
	}
	for _, def := range l.defs.Tables {
		if _, err := l.db.ExecContext(ctx, "DROP TABLE IF EXISTS "+quoteName(def.Name)); err != nil {
			return loadFault(ctx, err, "dropping table %s", def.Name)
		}
	}
	return nil
}

func (l *loader) run(ctx context.Context, tables []Table) (*LoadResult, error) {
	for _, def := range slices.Concat(l.defs.Tables, l.defs.Procedures) {
		if _, err := l.db.ExecContext(ctx, def.Statement); err != nil {
			return nil, loadFault(ctx, err, "creating %s", def.Name)
		}
	}
	done, err := l.fill(ctx, tables)
	if err != nil {
		return nil, err
	}
	// A table gets its keys with its last row, or as soon as it is clear that there is none; some are not to be filled.
	for _, def := range l.defs.Tables {
		if slices.ContainsFunc(tables, func(t Table) bool { return t.Name == def.Name }) {
			continue
		}
		if err := l.addKeys(ctx, l.db, def.Name); err != nil {
			return nil, err
		}
	}
	result := &LoadResult{Method: Infile, Tables: done}
	if l.inserts.Load() {
		result.Method = Inserts
	}
	return result, nil
}

// connectFault codes a failure to reach or enter the server.
func connectFault(ctx context.Context, err error, config *mysql.Config) error {
	if ctx.Err() != nil {
		return fmt.Errorf("connecting to %s: %w", config.Addr, context.Cause(ctx))
	}
	f := fault.New(CodeConnect, fault.Connect, "cannot connect to %s as %q: %w", config.Addr, config.User, err)
	var refused *mysql.MySQLError
	if errors.As(err, &refused) {
		return f.WithHint("check the user, the password and the host in the connection URL")
	}
	return f.WithRetry().WithHint("check that the server runs and that the host, port or socket is right")
}

// loadFault codes what a server said to a statement; cancellation stays what it is.
func loadFault(ctx context.Context, err error, format string, args ...any) error {
	doing := fmt.Sprintf(format, args...)
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, context.Cause(ctx))
	}
	f := fault.New(CodeLoad, fault.Source, "%s: %w", doing, err)
	var refused *mysql.MySQLError
	if errors.As(err, &refused) {
		f.WithDetail("mysql_errno", fmt.Sprint(refused.Number))
	} else {
		f.WithRetry()
	}
	return f
}

// quoteName quotes an identifier.
func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
