package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// numberRuns is the least number of a run that begins with this file. The record may be a copy of another that went on
// after it was made: runs of its jobs that this one knows nothing of have left objects, whose keys have their numbers. So a
// file that is not the one that was opened last numbers its runs, and the fences of streams, from the time on, in seconds, as a server does that takes
// another's place (see package mysql). What Copy writes is no file's until it is opened.
func numberRuns(ctx context.Context, conn *sql.Conn, file os.FileInfo, now time.Time) (first int, err error) {
	id, last, used := fileID(file), int64(0), false
	if err := conn.QueryRowContext(ctx, `SELECT (SELECT value FROM counters WHERE name = 'file'),
		(SELECT value FROM counters WHERE name = 'first_run'), EXISTS (SELECT 1 FROM jobs) OR EXISTS (SELECT 1 FROM streams)`).Scan(&last, &first, &used); err != nil {
		return 0, err
	}
	if last == id {
		return first, nil
	}
	if used {
		first = max(first, int(now.Unix()))
	}
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_, rollback := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
			err = errors.Join(err, rollback)
		}
	}()
	if _, err := conn.ExecContext(ctx, "UPDATE counters SET value = CASE name WHEN 'file' THEN ? ELSE ? END WHERE name IN ('file', 'first_run')",
		id, first); err != nil {
		return 0, err
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return first, err
}

// fileID names a file on this machine, by its place on its disk: a copy has another one. Never 0.
func fileID(file os.FileInfo) int64 {
	if stat, ok := file.Sys().(*syscall.Stat_t); ok {
		return int64(stat.Ino) | 1<<62
	}
	return 1
}

// nobodys has a copy belong to no file. One of a record with an older schema, which has no such number, is not changed: its runs
// are numbered anew when it is migrated.
func (s schema) nobodys(ctx context.Context, path string) error {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	// With the journal that VACUUM leaves: nothing stays beside the file.
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: absolute, RawQuery: "mode=rw"}).String())
	if err != nil {
		return err
	}
	defer db.Close()
	var known bool
	if err := db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?)", s.owner).Scan(&known); err != nil || !known {
		return err
	}
	_, err = db.ExecContext(ctx, s.disown)
	return err
}
