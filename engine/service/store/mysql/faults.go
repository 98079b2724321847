package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	driver "github.com/go-sql-driver/mysql"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Numbers of errors: https://dev.mysql.com/doc/mysql-errors/9.0/en/server-error-reference.html and
// https://mariadb.com/kb/en/mariadb-error-code-reference/.
const (
	erDuplicate        = 1062
	erLockWait         = 1205
	erDeadlock         = 1213
	erCommitRolledBack = 3101 // group replication refused the transaction
)

var (
	// rolledBack say that the transaction, or its last statement, came to nothing, and may be made again. Galera answers
	// COMMIT with a deadlock too.
	rolledBack = []uint16{erLockWait, erDeadlock, erCommitRolledBack,
		1020, // another has changed the row since (MariaDB, innodb_snapshot_isolation)
		1412, // the table was altered since
		1467, // a deadlock while the next number of AUTO_INCREMENT was read (MariaDB)
		1637, // too many transactions
	}
	// readOnly say that the server takes no changes: a fail-over has made it a replica, or is about to.
	readOnly = []uint16{1290, 1792, 1836}
	// away say that the server ends, or is not ready, or has ended this connection.
	away = []uint16{
		1040,       // too many connections
		1047,       // Galera: not part of the cluster yet
		1053, 1079, // it shuts down
		1158, 1159, 1160, 1161, 1184, // the network
		1317,             // the statement was killed
		1927,             // the connection was killed (MariaDB)
		3032, 3168, 4031, // offline, not available, cut for having been idle
	}
	// refusals are of the account.
	refusals = []uint16{1044, 1045, 1049, 1129, 1130, 1142, 1143, 1227, 1251, 1370, 1396, 1419, 1698, 1862, 3118, 3955}
	// full: no room on the server's disk.
	full = []uint16{3, 1021, 1030, 1041, 1114}
	// harmless texts hold no value of a statement.
	harmless = slices.Concat(rolledBack, readOnly, away, refusals, full, []uint16{1146, 1054, 1665})
)

func numberOf(err error) uint16 {
	var theirs *driver.MySQLError
	if errors.As(err, &theirs) {
		return theirs.Number
	}
	return 0
}

func isDuplicate(err error) bool { return numberOf(err) == erDuplicate }

// isLost reports whether the connection is of no use any more.
func isLost(err error) bool {
	var network net.Error
	return errors.Is(err, sqldriver.ErrBadConn) || errors.Is(err, driver.ErrInvalidConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrMalformPkt) ||
		errors.Is(err, driver.ErrPktSync) || errors.As(err, &network)
}

// isPassing reports whether what failed before COMMIT may work when it is tried again, perhaps on another connection.
func isPassing(err error) bool {
	n := numberOf(err)
	return isLost(err) || slices.Contains(rolledBack, n) || slices.Contains(readOnly, n) || slices.Contains(away, n)
}

// says is an error's text without what a statement held: an order, or the text of a message.
func says(err error) string {
	var theirs *driver.MySQLError
	switch {
	case !errors.As(err, &theirs):
		return err.Error()
	case slices.Contains(harmless, theirs.Number):
		return theirs.Error()
	}
	return fmt.Sprintf("Error %d (%s)", theirs.Number, theirs.SQLState[:])
}

// coded makes a fault of an error.
func coded(ctx context.Context, err error) error {
	var known *fault.Fault
	n := numberOf(err)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case slices.Contains(full, n):
		return fault.New(store.CodeDiskFull, fault.Internal, "there is no room for the record on its server (%s)", says(err)).
			WithHint("make room on the server's disk; nothing was lost, and nothing has to be restarted").WithRetry()
	case slices.Contains(readOnly, n):
		return fault.New(store.CodeReadOnly, fault.Internal, "the record's server takes no changes (%s)", says(err)).
			WithHint("a fail-over may be under way: let the connection URL lead to the primary").WithRetry()
	case slices.Contains(refusals, n):
		return fault.New(store.CodeServer, fault.Usage, "the account may not do what a record needs (%s)", says(err)).
			WithHint(grantHint)
	}
	return fault.New(store.CodeFailed, fault.Internal, "the record cannot be read or written (%s)", says(err)).
		WithHint("check the record's server, and the way to it").WithRetry()
}

// notKnown is the fault of a COMMIT whose answer did not come.
func notKnown(err error) error {
	return fault.New(store.CodeFailed, fault.Internal,
		"the record's server has not said whether it has made a change (%s)", says(err)).
		WithHint("check the record's server, and the way to it").WithRetry()
}

func errClosed() error { return fault.New(store.CodeClosed, fault.Internal, "the record is closed") }
