package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/plugins/internal/zone"
)

// killTimeout bounds the attempt to kill a query that nobody waits for any more.
const killTimeout = 2 * time.Second

// ownAnswers bounds a packet of the answers to the session's own statements, those about
// the catalogue included, and largestAnswer an answer, in bytes.
var ownAnswers = bound{1 << 20, "an answer about the session or the catalogue"}

const largestAnswer = 64 << 20

// session is a connection that is ready for the statement.
type session struct {
	target   *target
	c        *wire
	id       uint32
	mariaDB  bool
	version  string
	mode     sqlMode
	identity string            // of the server, see identify
	hasRole  bool              // one is active, on MySQL
	zone     *zone.Zone        // the session's, nil where nobody knows it
	zoneName string            // as the server names it
	facts    map[string]string // for the receipt
	status   uint16            // the server's, at the end of the last statement of the session's own
	began    uint16            // the server's status when the statement's transaction had begun
}

// openSession connects and sets the session up.
func openSession(ctx context.Context, t *target, s *Settings) (*session, error) {
	started := time.Now()
	conn, err := t.connect(ctx)
	if err != nil {
		return nil, err
	}
	ses := &session{
		target: t, c: conn.wire, id: conn.handshake.connectionID, mariaDB: conn.handshake.mariaDB(),
		// MariaDB puts a version before its own, for replicas that know none of two digits.
		version: strings.TrimPrefix(conn.handshake.version, "5.5.5-"),
		facts:   map[string]string{"connection": conn.protection},
	}
	ses.c.limit = ownAnswers
	release := ses.watch(ctx)
	defer release()
	ses.c.setDeadline(started.Add(t.connectTimeout))
	if err := ses.setUp(s); err != nil {
		ses.c.conn.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if server, ok := err.(*serverError); ok {
			return nil, server.fault("setting the session up")
		}
		return nil, err
	}
	ses.c.setDeadline(time.Time{})
	ses.c.idle = s.ReadTimeout
	return ses, nil
}

// watch makes reads fail when ctx ends, until the returned function is called.
func (ses *session) watch(ctx context.Context) (release func()) {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		ses.c.interrupt()
		close(interrupted)
	})
	return func() {
		if !stop() {
			<-interrupted
		}
	}
}

// setUp sets what the decoder relies on (the character set), what changes
// results (see sessionVariables) and what the settings ask for.
func (ses *session) setUp(s *Settings) error {
	if _, err := ses.run("SET NAMES utf8mb4"); err != nil {
		return err
	}
	if err := ses.pin(s); err != nil {
		return err
	}
	transaction := "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"
	if s.ReadOnly {
		transaction += ", READ ONLY"
	}
	if _, err := ses.run(transaction); err != nil {
		return err
	}
	if err := ses.setZone(s.TimeZone); err != nil {
		return err
	}
	mode, err := ses.run("SELECT @@SESSION.sql_mode")
	if err != nil {
		return err
	}
	ses.mode = parseSQLMode(strings.Join(mode, ""))
	if ses.identity, err = ses.identify(); err != nil {
		return err
	}
	grants, err := ses.grants()
	if writing := writingGrants(grants); len(writing) > 0 {
		var privileges []string
		for _, g := range writing {
			privileges = append(privileges, g.privileges...)
		}
		slices.Sort(privileges)
		ses.facts["account_may_write"] = strings.Join(slices.Compact(privileges), ", ")
	}
	return err
}

// identify returns what tells one server from another behind the same address.
// Servers that lack the variables answer with an error, which tells enough.
func (ses *session) identify() (string, error) {
	row, err := ses.run("SELECT @@hostname, @@port, @@server_id")
	var server *serverError
	if errors.As(err, &server) {
		return "", nil
	}
	return strings.Join(row, "\x00"), err
}

// run executes one statement of the session's own and returns the texts of the
// last row, NULL being empty.
func (ses *session) run(sql string) (row []string, err error) {
	err = ses.runRows(sql, func(texts []string) { row = texts })
	return row, err
}

// runRows executes one statement of the session's own and visits the texts of its rows.
func (ses *session) runRows(sql string, visit func(row []string)) error {
	if err := ses.c.command(commandQuery, []byte(sql)); err != nil {
		return err
	}
	r := &results{c: ses.c}
	total := 0
	for {
		defs, _, err := r.next()
		if defs == nil || err != nil {
			ses.status = r.status
			return err
		}
		for {
			p, err := ses.c.next()
			if err != nil {
				return err
			}
			if end, err := r.endOfRows(p); err != nil {
				return err
			} else if end {
				break
			}
			if total += len(p); total > largestAnswer {
				return protocolFault("the answer to %q has more than %d bytes", sql, largestAnswer)
			}
			var row []string
			for pos := 0; pos < len(p); {
				v, next, ok := lengthEncodedBytes(p, pos)
				if !ok && p[pos] != 0xfb {
					return protocolFault("the answer to %q cannot be read", sql)
				}
				if !ok {
					next = pos + 1
				}
				row = append(row, string(v))
				pos = next
			}
			visit(row)
		}
	}
}

// errnoNoSuchThread is ER_NO_SUCH_THREAD, of MySQL and of MariaDB.
const errnoNoSuchThread = 1094

// kill ends the session's query on the server, through a connection of its own.
// It makes sure that this connection leads to the same server: behind a load
// balancer, the same number may be somebody else's session.
func (ses *session) kill() error {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	conn, err := ses.target.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.conn.Close()
	killer := &session{c: conn.wire}
	killer.c.limit = ownAnswers
	defer killer.watch(ctx)()
	identity, err := killer.identify()
	if err != nil {
		return err
	}
	if identity != ses.identity {
		return errors.New("a second connection leads to another server")
	}
	_, err = killer.run(fmt.Sprintf("KILL QUERY %d", ses.id))
	if server, ok := err.(*serverError); ok && server.errno == errnoNoSuchThread {
		err = nil // it has ended by itself
	}
	if err != nil {
		return err
	}
	return killer.c.command(commandQuit, nil)
}
