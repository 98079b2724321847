package binlog

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	protocol "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/google/uuid"

	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Position is a place in a server's log, always between two transactions.
type Position struct {
	// Server is whose log File and Offset are of: a UUID of MySQL, a server_id of MariaDB.
	Server string `json:"server,omitempty"`
	File   string `json:"file"`
	Offset uint64 `json:"offset"`
	// GTIDs are the transactions before the place, by which it is found in the log of another server of the same history
	// too: a set of MySQL, or MariaDB's last one of each domain. MySQL has none unless gtid_mode is ON.
	GTIDs string `json:"gtids,omitempty"`
	// ByGTID says that GTIDs is what counts, also where it is empty.
	ByGTID bool `json:"by_gtid,omitempty"`
}

// Compare orders two places in the log of one server.
func (p Position) Compare(q Position) int {
	return cmp.Or(compareFiles(p.File, q.File), cmp.Compare(p.Offset, q.Offset))
}

// shownGTIDs is how many bytes of GTIDs a message has.
const shownGTIDs = 200

// String names the place for people.
func (p Position) String() string {
	text := p.File + ":" + strconv.FormatUint(p.Offset, 10)
	if p.GTIDs != "" {
		text += " (" + p.GTIDs[:min(len(p.GTIDs), shownGTIDs)]
		if len(p.GTIDs) > shownGTIDs {
			text += "…"
		}
		text += ")"
	}
	return text
}

// compareFiles orders names of log files by their number, which has six digits, and more from the millionth file on.
func compareFiles(a, b string) int {
	return cmp.Or(cmp.Compare(fileNumber(a), fileNumber(b)), strings.Compare(a, b))
}

func fileNumber(name string) uint64 {
	n, _ := strconv.ParseUint(name[strings.LastIndexByte(name, '.')+1:], 10, 64)
	return n
}

// Current is the end of the server's log.
func Current(ctx context.Context, s *mysql.Session) (Position, error) {
	var p Position
	var err error
	if p.Server, p.ByGTID, err = identify(ctx, s); err != nil {
		return p, err
	}
	row, err := status(ctx, s)
	if err != nil {
		return p, err
	}
	p.File = row[0]
	if p.Offset, err = strconv.ParseUint(row[1], 10, 64); err != nil {
		return p, malformed("the log's status has an offset of %q", row[1])
	}
	switch {
	case s.MariaDB():
		return At(ctx, s, p.File, p.Offset)
	case p.ByGTID && len(row) > 4:
		p.GTIDs = strings.Join(strings.Fields(row[4]), "")
	}
	return p, nil
}

// At is the place at an offset of a file of a MariaDB server's log, as Binlog_snapshot_file and Binlog_snapshot_position
// have it.
func At(ctx context.Context, s *mysql.Session, file string, offset uint64) (Position, error) {
	p := Position{File: file, Offset: offset, ByGTID: true}
	var err error
	if p.Server, _, err = identify(ctx, s); err != nil {
		return p, err
	}
	err = s.Rows(ctx, fmt.Sprintf("SELECT BINLOG_GTID_POS('%s', %d)", strings.ReplaceAll(file, "'", "''"), offset), func(row []string) { p.GTIDs = row[0] })
	return p, err
}

// status is the row of SHOW MASTER STATUS, which has had another name since MySQL 8.2, and lost the old one in 8.4.
func status(ctx context.Context, s *mysql.Session) (row []string, err error) {
	visit := func(r []string) { row = r }
	if s.MariaDB() {
		err = s.Rows(ctx, "SHOW MASTER STATUS", visit)
	} else if err = s.Rows(ctx, "SHOW BINARY LOG STATUS", visit); err != nil {
		if number, _, is := mysql.ServerError(err); is && number == errnoSyntax {
			err = s.Rows(ctx, "SHOW MASTER STATUS", visit)
		}
	}
	if err != nil {
		return nil, err
	}
	if len(row) < 2 || row[0] == "" {
		return nil, fault.New(CodeNoLog, fault.Source, "the server writes no binary log").
			WithHint("start it with log_bin and binlog_format=ROW, or use the source mysql-poll")
	}
	return row, nil
}

const errnoSyntax = 1064

// identify says which server a session is on, and whether its transactions have GTIDs.
func identify(ctx context.Context, s *mysql.Session) (server string, byGTID bool, err error) {
	query := "SELECT @@server_uuid, @@gtid_mode"
	if s.MariaDB() {
		query = "SELECT @@server_id, 'ON'"
	}
	var row []string
	if err := s.Rows(ctx, query, func(r []string) { row = r }); err != nil {
		return "", false, err
	}
	if len(row) != 2 {
		return "", false, malformed("the server does not say who it is")
	}
	return row[0], row[1] == "ON", nil
}

// history is the GTIDs of transactions.
type history struct {
	mysql   *protocol.MysqlGTIDSet
	mariaDB *protocol.MariadbGTIDSet
}

func parseHistory(text string, mariaDB bool) (h history, err error) {
	var set protocol.GTIDSet
	if mariaDB {
		set, err = protocol.ParseMariadbGTIDSet(text)
		h.mariaDB, _ = set.(*protocol.MariadbGTIDSet)
	} else {
		set, err = protocol.ParseMysqlGTIDSet(text)
		h.mysql, _ = set.(*protocol.MysqlGTIDSet)
	}
	if err != nil {
		return h, fault.New(CodePosition, fault.Usage, "the position's GTIDs cannot be read: %w", err).
			WithHint("give the position as this source gave it, and to a server of the same make")
	}
	return h, nil
}

// text is the set as the server writes it.
func (h history) text() string {
	switch {
	case h.mysql != nil:
		return h.mysql.String()
	case h.mariaDB != nil:
		return h.mariaDB.String()
	}
	return ""
}

// gtid is that of one transaction.
type gtid struct {
	uuid uuid.UUID
	tag  protocol.Tag
	gno  int64

	mariaDB *protocol.MariadbGTID
}

func (h history) add(g gtid) error {
	switch {
	case h.mysql != nil && g.gno > 0:
		h.mysql.AddGTIDWithTag(g.uuid, g.tag, g.gno)
	case h.mariaDB != nil && g.mariaDB != nil:
		return h.mariaDB.AddSet(g.mariaDB)
	}
	return nil
}

// encoded is the set as COM_BINLOG_DUMP_GTID takes it.
func (h history) encoded() []byte {
	if h.mysql == nil {
		return nil
	}
	return bytes.Clone(h.mysql.Encode())
}
