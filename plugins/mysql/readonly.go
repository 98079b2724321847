package mysql

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// A source reads. Three things see to it, because each of them leaves something open:
//
//   - A query begins with a word that reads. The server's read-only mode lets SET GLOBAL,
//     FLUSH, KILL, SHUTDOWN and INTO OUTFILE pass, and MariaDB's ANALYZE TABLE too.
//   - SET SESSION TRANSACTION READ ONLY (REPEATABLE READ, because READ UNCOMMITTED shows
//     rows that never were, and SERIALIZABLE locks those of others) holds when a procedure has committed.
//   - A READ ONLY transaction holds when a procedure changes the mode of the session,
//     which is about the next transaction.
//
// A procedure that does both, or that says START TRANSACTION READ WRITE, is not held
// back; transactionEnded notices it. The grants of the account are the real guard.

// readingWords are the words that a statement which reads begins with. Those of them that
// can write, such as WITH … DELETE, the server refuses in a READ ONLY transaction.
var readingWords = []string{"SELECT", "WITH", "VALUES", "TABLE", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "CALL"}

const readOnlyHint = "only whoever writes the pipeline can allow it, with read_only: false beside the call or query"

// checkReads refuses a query that does more than read. A comment that a server executes
// counts as a word of its own, which is none of those that read.
func checkReads(query string) error {
	words := leadingWords(query)
	first, _ := words()
	if !slices.Contains(readingWords, first) {
		if first == "" {
			first = "nothing"
		}
		return fault.New(codeReadOnly, fault.Usage, "the query begins with %s, and a source reads: expected one of %s",
			shown(first), strings.Join(readingWords, ", ")).WithHint(readOnlyHint)
	}
	for last, word := "", first; word != ""; {
		if last == "INTO" && (word == "OUTFILE" || word == "DUMPFILE") {
			return fault.New(codeReadOnly, fault.Usage,
				"the query writes a file on the server with INTO %s, and a source reads", word).
				WithHint(readOnlyHint)
		}
		last = word
		word, _ = words()
	}
	return nil
}

// leadingWords gives the words of a statement one after the other, in capitals, and empty
// text at its end. Quoted texts, comments and signs are left out.
func leadingWords(sql string) func() (string, bool) {
	pos := 0
	return func() (string, bool) {
		for pos < len(sql) {
			start := pos
			for pos < len(sql) && (sql[pos]|0x20 >= 'a' && sql[pos]|0x20 <= 'z' || sql[pos] == '_' || pos > start && sql[pos]-'0' <= 9) {
				pos++
			}
			if pos > start {
				return strings.ToUpper(sql[start:pos]), true
			}
			// Whether a backslash escapes a quote depends on the server; a session without
			// NO_BACKSLASH_ESCAPES is what queries are written for.
			pos = tokenEnd(sql, pos, sqlMode{})
			if token := sql[start:pos]; strings.HasPrefix(token, "/*!") || strings.HasPrefix(token, "/*M!") {
				return token, true
			}
		}
		return "", false
	}
}

// Server status flags of transactions.
const (
	statusInTransaction         = 0x0001
	statusInTransactionReadOnly = 0x2000
)

// beginTransaction starts the transaction that the statement runs in.
func (ses *session) beginTransaction(s *Settings) error {
	var options []string
	if s.Snapshot {
		options = append(options, "WITH CONSISTENT SNAPSHOT")
	}
	if s.ReadOnly {
		options = append(options, "READ ONLY")
	}
	if len(options) == 0 {
		return nil
	}
	start := "START TRANSACTION " + strings.Join(options, ", ")
	err := ses.startTransaction(start, s.Snapshot)
	ses.began = ses.status
	return err
}

// startTransaction runs a statement that not every server knows when it asks for a snapshot.
func (ses *session) startTransaction(sql string, snapshot bool) error {
	_, err := ses.run(sql)
	var server *serverError
	if errors.As(err, &server) && snapshot {
		return fault.New(codeSnapshot, fault.Source, "the server gives no consistent snapshot: %w", server).
			WithHint("set snapshot to false; this server cannot do it").
			WithDetail("errno", strconv.Itoa(int(server.errno))).
			WithDetail("sqlstate", server.state).
			WithDetail("server_message", server.message)
	}
	return err
}

// transactionEnded looks, when everything has been read, whether the statement got out of
// its read-only transaction: it fails when what follows could have been written, and
// reports true when a procedure has committed, which is all that it can know then. Status
// is the server's last one. Servers that do not tell of transactions are taken at their word.
func (ses *session) transactionEnded(status uint16) (bool, error) {
	if ses.began&statusInTransactionReadOnly == 0 || status&statusInTransactionReadOnly != 0 {
		return false, nil
	}
	writable := status&statusInTransaction != 0
	if !writable {
		variable := "transaction_read_only"
		if ses.mariaDB {
			variable = "tx_read_only"
		}
		mode, err := ses.run("SELECT @@SESSION." + variable)
		if err != nil {
			return false, err
		}
		writable = strings.Join(mode, "") == "0"
	}
	if writable {
		return false, fault.New(codeReadOnly, fault.Source, "the statement took the read-only mode away from its session; what it committed since cannot be undone").
			WithHint("a procedure that is meant to write needs read_only: false in its pipeline; look at it first")
	}
	return true, nil
}
