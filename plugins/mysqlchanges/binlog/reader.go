package binlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/internal/octets"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Kind is what an event is.
type Kind int

// The kinds of events.
const (
	// Begin: a transaction begins, or a statement that is logged by itself.
	Begin Kind = iota + 1
	// Table: the rows that follow are of tables that are described here.
	Table
	// Rows: rows of a table were changed.
	Rows
	// Statement: a statement, as text.
	Statement
	// Commit: the transaction ends, and is valid.
	Commit
	// Rollback: the transaction ends, and is not valid.
	Rollback
	// XAPrepare: the transaction ends, and becomes valid with a statement XA COMMIT, later, or never.
	XAPrepare
	// Moved: there was nothing up to here that concerns a transaction.
	Moved
	// Incident: the server says that its log lacks something.
	Incident
	// Unknown: an event of a type that nobody here knows, and that may not be passed over.
	Unknown
)

// Operation is what became of rows.
type Operation int

// The operations.
const (
	Insert Operation = iota + 1
	Update
	Delete
)

// Event is one of the log. What it points to is good until the next is read.
type Event struct {
	Kind Kind
	// At is when the transaction was committed, by the server's clock.
	At time.Time
	// Type is the number of the event's type.
	Type int

	// Database and Name are the table's, and Body is what describes it, without the event's header and checksum; of Table.
	// TableID is what Rows call it, until the transaction ends.
	Name    string
	Body    []byte
	TableID uint64

	// Columns is how many the table has; of Rows.
	Columns int
	// Operation, and which columns are in the images: Before in those of rows before an update or a delete, After in those
	// after an insert or an update; of Rows.
	Operation     Operation
	Before, After []byte
	// Partial says that images after the update hold parts of JSON documents; of Rows.
	Partial bool
	// Images are those of the rows, each one before the one after; of Rows.
	Images []byte

	// Text is what was said, and Database the one that names without a database are of; of Statement.
	Database, Text string
}

// Config is how a log is read.
type Config struct {
	// ServerID is the replica's, which no other replica of the server may have, and UUID the one by which the server knows
	// a connection of before.
	ServerID uint32
	UUID     string
	// Heartbeat is how often an idle server says that it is there, LargestEvent the most bytes of one.
	Heartbeat    time.Duration
	LargestEvent int
}

// silence is how long a server may send nothing: heartbeats come late from a machine that is busy.
func (c *Config) silence() time.Duration { return 3*c.Heartbeat + 10*time.Second }

// Commands (MySQL protocol, enum_server_command), and what goes with them.
const (
	commandDump     = 0x12
	commandRegister = 0x15
	commandDumpGTID = 0x1e

	dumpThroughGTID = 0x04
)

// Reader reads a log. It is not safe for concurrent use.
type Reader struct {
	config  Config
	mariaDB bool
	session *mysql.Session
	packets *mysql.Packets
	from    Position

	checksum bool     // events end with one
	payload  *payload // the compressed transaction that is being read, or nil
	body     []byte   // of the last event

	history history // GTIDs before the transaction
	file    string
	offset  uint64 // behind the last event
	heard   time.Time
	// start is where the transaction begins, or the next one will.
	start Position
	open  bool // a transaction is
	// block says that the transaction has an end of its own. Without it is one statement, and due behind it.
	block, due bool
	gtid       gtid
	at         time.Time
	event      Event
}

// Open asks a server for what follows a position. The session is the reader's from then on, also when that fails.
func Open(ctx context.Context, s *mysql.Session, from Position, c Config) (_ *Reader, err error) {
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	r := &Reader{config: c, mariaDB: s.MariaDB(), session: s, from: from, file: from.File, offset: from.Offset, start: from}
	if from.ByGTID {
		if r.history, err = parseHistory(from.GTIDs, r.mariaDB); err != nil {
			return nil, err
		}
	}
	if err := r.check(ctx); err != nil {
		return nil, err
	}
	statements := []string{
		"SET @master_binlog_checksum = @@GLOBAL.binlog_checksum, @source_binlog_checksum = @@GLOBAL.binlog_checksum",
		fmt.Sprintf("SET @master_heartbeat_period = %[1]d, @source_heartbeat_period = %[1]d", c.Heartbeat.Nanoseconds()),
		fmt.Sprintf("SET @slave_uuid = '%[1]s', @replica_uuid = '%[1]s'", c.UUID),
	}
	if r.mariaDB {
		statements = append(statements, "SET @mariadb_slave_capability = 4",
			fmt.Sprintf("SET @slave_connect_state = '%s'", r.history.text()), "SET @slave_gtid_strict_mode = 1")
	}
	for _, sql := range statements {
		if err := s.Exec(ctx, sql); err != nil {
			return nil, err
		}
	}
	if err := s.Command(ctx, "COM_REGISTER_SLAVE", commandRegister, registration(c.ServerID)); err != nil {
		return nil, refused(err, from)
	}
	command, payload := dumpRequest(from, r.history, r.mariaDB, c.ServerID)
	if r.packets, err = s.Follow(ctx, command, payload, c.silence()); err != nil {
		return nil, err
	}
	r.heard = time.Now()
	return r, nil
}

// registration is the payload of COM_REGISTER_SLAVE, with which the server lists the replica.
func registration(serverID uint32) []byte {
	const host = "cipherstream"
	p := binary.LittleEndian.AppendUint32(nil, serverID)
	p = append(append(p, byte(len(host))), host...)
	return append(p, make([]byte, 1+1+2+4+4)...) // user, password, port, rank, source id
}

// dumpRequest is the command that asks for the log.
func dumpRequest(from Position, h history, mariaDB bool, serverID uint32) (command byte, p []byte) {
	switch {
	case mariaDB:
		p = binary.LittleEndian.AppendUint32(p, 4)
		p = binary.LittleEndian.AppendUint16(p, 0)
		return commandDump, binary.LittleEndian.AppendUint32(p, serverID)
	case !from.ByGTID:
		p = binary.LittleEndian.AppendUint32(p, uint32(from.Offset))
		p = binary.LittleEndian.AppendUint16(p, 0)
		p = binary.LittleEndian.AppendUint32(p, serverID)
		return commandDump, append(p, from.File...)
	}
	set := h.encoded()
	p = binary.LittleEndian.AppendUint16(p, dumpThroughGTID)
	p = binary.LittleEndian.AppendUint32(p, serverID)
	p = binary.LittleEndian.AppendUint32(p, 0) // length of a file's name
	p = binary.LittleEndian.AppendUint64(p, 4)
	p = binary.LittleEndian.AppendUint32(p, uint32(len(set)))
	return commandDumpGTID, append(p, set...)
}

// check finds out whether the server's log is the one of the position, and still has what follows it. What a server
// purges afterwards it says itself, and what MariaDB lacks too.
func (r *Reader) check(ctx context.Context) error {
	server, byGTID, err := identify(ctx, r.session)
	switch {
	case err != nil:
		return err
	case !r.from.ByGTID && server != r.from.Server:
		return otherHistory(r.from)
	case server != r.from.Server: // which names its files as it likes
		r.file, r.offset = "", 0
		r.start.Server, r.start.File, r.start.Offset = server, "", 0
	}
	switch {
	case r.mariaDB:
		return nil
	case !r.from.ByGTID:
		return r.checkFile(ctx)
	case !byGTID:
		return otherHistory(r.from).WithHint("the position is one of GTIDs: set gtid_mode=ON on the server, or reset the stream from 0")
	}
	set := r.history.text()
	var row []string
	err = r.session.Rows(ctx, fmt.Sprintf("SELECT GTID_SUBSET('%[1]s', @@GLOBAL.gtid_executed), GTID_SUBSET(@@GLOBAL.gtid_purged, '%[1]s')", set),
		func(texts []string) { row = texts })
	switch {
	case err != nil:
		return err
	case len(row) != 2:
		return malformed("the server does not compare GTIDs")
	case row[0] != "1":
		return otherHistory(r.from)
	case row[1] != "1":
		return lost(r.from)
	}
	return nil
}

// checkFile finds out whether the file is there, and as long as it was.
func (r *Reader) checkFile(ctx context.Context) error {
	found, first := false, ""
	err := r.session.Rows(ctx, "SHOW BINARY LOGS", func(row []string) {
		if first == "" {
			first = row[0]
		}
		if row[0] == r.from.File && len(row) > 1 {
			var size uint64
			_, _ = fmt.Sscan(row[1], &size)
			found = size >= r.from.Offset
		}
	})
	switch {
	case err != nil:
		return err
	case found:
		return nil
	case first != "" && compareFiles(r.from.File, first) < 0:
		return lost(r.from)
	}
	return otherHistory(r.from)
}

// Watch makes reads fail when ctx ends, until the returned function is called. The reader is of no use after that.
func (r *Reader) Watch(ctx context.Context) (release func()) { return r.packets.Watch(ctx) }

// Close ends the connection.
func (r *Reader) Close() error {
	if r.payload != nil {
		r.payload.close()
		r.payload = nil
	}
	return r.session.Close()
}

// Start is where the transaction begins whose events are being read, and between transactions where the next one does.
func (r *Reader) Start() Position {
	p := r.start // history has none but those before it
	p.GTIDs = r.history.text()
	return p
}

// Place is Start without its GTIDs.
func (r *Reader) Place() Position {
	p := r.start
	p.GTIDs = ""
	return p
}

// Next reads the next event. Where the server has sent none by the time until, it is mysql.ErrNotYet; the zero time waits.
func (r *Reader) Next(until time.Time) (*Event, error) {
	if r.due {
		r.due = false
		if err := r.end(Commit); err != nil {
			return nil, err
		}
		return &r.event, nil
	}
	for {
		h, body, err := r.read(until)
		if err != nil {
			return nil, r.placed(err)
		}
		if body == nil {
			continue
		}
		r.event = Event{Type: int(h.typ)}
		if err := r.take(h, body); err != nil {
			if fault.From(err).Code == "internal" {
				err = malformed("an event of type %d: %w", h.typ, err)
			}
			return nil, r.placed(err)
		}
		if r.event.Kind != 0 {
			r.event.At = r.at
			return &r.event, nil
		}
	}
}

// placed says of a fault in what the log has where it is.
func (r *Reader) placed(err error) error {
	f := *fault.From(err)
	if f.Code != CodeLog && f.Code != CodeEventSize {
		return err
	}
	at := r.Start()
	f.Message += ", in the transaction at " + at.String()
	return f.WithDetail("log_file", at.File).WithDetail("log_position", at.String())
}

// read reads an event, of the log or of the compressed transaction in it, without header and checksum. It is nil where
// such a transaction ends or begins.
func (r *Reader) read(until time.Time) (h header, body []byte, err error) {
	if r.payload != nil {
		event, err := r.payload.next(r.body[:0], r.config.LargestEvent)
		if errors.Is(err, io.EOF) {
			err = r.payload.finish()
			r.payload = nil
			return h, nil, err
		}
		if err != nil {
			return h, nil, err
		}
		r.body = event
		h, err = parseHeader(event)
		return h, event[headerSize:], err
	}
	if err := r.packets.Next(until); err != nil {
		if errors.Is(err, mysql.ErrNotYet) {
			if silent := time.Since(r.heard); silent > r.config.silence() {
				err = fault.New(CodeConnectionLost, fault.Source, "the server has sent nothing for %s, no heartbeat either", silent.Round(time.Second)).
					WithHint("check the network and the server").WithRetry()
			}
			return h, nil, err
		}
		if errors.Is(err, io.EOF) {
			err = fault.New(CodeConnectionLost, fault.Source, "the server has ended sending its log").WithHint("see the server's error log").WithRetry()
		}
		return h, nil, refused(err, r.Start())
	}
	r.heard = time.Now()
	var head [headerSize]byte
	if _, err := io.ReadFull(r.packets, head[:]); err != nil {
		return h, nil, short(err)
	}
	if h, err = parseHeader(head[:]); err != nil {
		return h, nil, err
	}
	if h.typ == typePayload {
		r.advance(h)
		r.payload, err = openPayload(r.packets, head[:], int64(h.size), r.checksum)
		return h, nil, err
	}
	if int64(h.size) > int64(r.config.LargestEvent) {
		return h, nil, fault.New(CodeEventSize, fault.Data, "an event of %d bytes; at most %d are taken", h.size, r.config.LargestEvent).
			WithHint("raise max_row_size, and --plugin-memory with it")
	}
	r.body, err = readBody(r.packets, append(r.body[:0], head[:]...), int(h.size)-headerSize)
	if err != nil {
		return h, nil, err
	}
	body, err = r.verify(h, r.body)
	r.advance(h)
	return h, body, err
}

// verify checks an event's checksum, and gives its body. The first event of a connection, which names the file, may have
// one or not before the event that says so.
func (r *Reader) verify(h header, event []byte) ([]byte, error) {
	has := r.checksum
	switch h.typ {
	case typeRotate:
		has = sum(event)
	case typeFormatDescription:
		f, err := parseFormat(event[headerSize:])
		if err != nil {
			return nil, malformed("the description of the log's format: %w", err)
		}
		has = f.checksum
		if !has { // the place of the checksum is there all the same
			return event[headerSize:], nil
		}
		if !sum(event) {
			return nil, malformed("the checksum of the description of the log's format is wrong")
		}
		return event[headerSize:], nil
	}
	if !has {
		return event[headerSize:], nil
	}
	if !sum(event) {
		return nil, malformed("the checksum of an event of type %d is wrong", h.typ)
	}
	return event[headerSize : len(event)-checksumSize], nil
}

// readBody appends n bytes. Memory is taken as bytes arrive, not as a length announces them.
func readBody(from io.Reader, to []byte, n int) ([]byte, error) {
	const step = 1 << 20
	for n > 0 {
		k := min(n, step)
		at := len(to)
		to = slices.Grow(to, k)[:at+k]
		if _, err := io.ReadFull(from, to[at:]); err != nil {
			return to[:at], short(err)
		}
		n -= k
	}
	return to, nil
}

// short codes an event that ends early.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return malformed("an event is shorter than it says")
	}
	return err
}

// advance takes note of where the log is behind an event.
func (r *Reader) advance(h header) {
	switch {
	case h.flags&flagArtificial != 0, h.typ == typeRotate, h.typ == typeHeartbeat, h.typ == typeHeartbeat2:
	case h.next != 0:
		r.moveTo(h.next)
	case h.typ != typeFormatDescription:
		r.offset += uint64(h.size)
	}
}

// moveTo goes on to the next offset that has such lower bits.
func (r *Reader) moveTo(low uint32) {
	next := r.offset&^0xffffffff | uint64(low)
	if next < r.offset && r.offset-next > 1<<31 {
		next += 1 << 32
	}
	r.offset = max(r.offset, next)
}

// take makes r.event of an event of the log; its kind stays 0 where it is nobody's business.
func (r *Reader) take(h header, body []byte) error {
	if t, is := rowsTypes[h.typ]; is {
		return r.rows(body, t)
	}
	switch h.typ {
	case typeRotate:
		return r.rotate(body)
	case typeFormatDescription:
		return r.describe(h, body)
	case typeGTID, typeAnonymousGTID:
		g, micros, err := parseGTID(body)
		if err != nil {
			return err
		}
		return r.begin(g, committed(h, micros), false)
	case typeTaggedGTID:
		g, micros, err := parseTaggedGTID(body)
		if err != nil {
			return err
		}
		return r.begin(g, committed(h, micros), false)
	case typeMariaDBGTID:
		g, alone, err := parseMariaDBGTID(body, h.server)
		if err != nil {
			return err
		}
		return r.begin(g, committed(h, 0), alone)
	case typeQuery, typeQueryCompressed:
		return r.statement(h, body)
	case typeXID:
		return r.end(Commit)
	case typeXAPrepare:
		return r.end(XAPrepare)
	case typeTableMap:
		var err error
		r.event.Kind, r.event.Body = Table, body
		r.event.TableID, r.event.Database, r.event.Name, err = parseTableMap(body)
		return err
	case typeHeartbeat:
		r.heartbeat(string(body), uint64(h.next))
	case typeIncident:
		r.event.Kind = Incident
	case typeBeginLoadQuery, typeExecuteLoadQuery, typeAppendBlock, typeDeleteFile:
		r.event.Kind, r.event.Text = Statement, "LOAD DATA"
	default:
		switch {
		case !passed[h.typ] && h.flags&flagIgnorable == 0:
			r.event.Kind = Unknown
		case !r.open:
			r.moved()
		}
	}
	return nil
}

// moved says that the log goes on behind what was read.
func (r *Reader) moved() {
	r.start.File, r.start.Offset = r.file, r.offset
	r.event.Kind = Moved
}

// rotate goes to another file.
func (r *Reader) rotate(body []byte) error {
	c := octets.Reader{Rest: body}
	offset := c.Integer(8)
	file := string(c.Rest)
	if c.Short || file == "" {
		return errShort
	}
	if file != r.file {
		r.file, r.offset = file, offset
	}
	r.offset = max(r.offset, offset)
	if !r.open {
		r.moved()
	}
	return nil
}

// describe takes note of how the events of a file are made.
func (r *Reader) describe(h header, body []byte) error {
	f, err := parseFormat(body)
	if err != nil {
		return err
	}
	r.checksum = f.checksum
	switch {
	case r.open && h.next != 0 && f.created: // the server has crashed in the middle of what it wrote
		return r.end(Rollback)
	case !r.open:
		r.moved()
	}
	return nil
}

// heartbeat takes note of how far the server is where it sends nothing, because there is nothing, or nothing new.
func (r *Reader) heartbeat(file string, offset uint64) {
	switch {
	case r.open || file == "":
		return
	case file == r.file:
		r.moveTo(uint32(offset))
	case compareFiles(file, r.file) > 0:
		r.file, r.offset = file, offset
	}
	r.moved()
}

// begin takes note that a transaction begins.
func (r *Reader) begin(g gtid, at time.Time, alone bool) error {
	if r.open {
		return errors.New("a transaction begins in the middle of another")
	}
	r.open, r.gtid, r.at = true, g, at
	r.block = r.mariaDB && !alone
	r.event.Kind = Begin
	return nil
}

// end takes note that a transaction ends, in one way or another.
func (r *Reader) end(kind Kind) error {
	if !r.open {
		return errors.New("a transaction ends that did not begin")
	}
	r.open = false
	if err := r.history.add(r.gtid); err != nil {
		return err
	}
	r.start.File, r.start.Offset = r.file, r.offset
	r.event.Kind = kind
	return nil
}

// statement judges a statement by what it says of the transaction that it is in.
func (r *Reader) statement(h header, body []byte) error {
	database, query, err := parseQuery(body)
	if err != nil {
		return err
	}
	if h.typ == typeQueryCompressed {
		if query, err = inflate(query, r.config.LargestEvent); err != nil {
			return err
		}
	}
	text := strings.TrimSpace(string(query))
	switch strings.ToUpper(text) {
	case "BEGIN":
		r.block = true
		return nil
	case "COMMIT":
		return r.end(Commit)
	case "ROLLBACK":
		return r.end(Rollback)
	}
	if strings.HasPrefix(strings.ToUpper(text), "XA START") {
		r.block = true
	}
	r.due = r.open && !r.block
	r.event.Kind, r.event.Database, r.event.Text = Statement, database, text
	return nil
}

// rows makes an event of changed rows.
func (r *Reader) rows(body []byte, t rowsType) error {
	r.event.Kind = Rows
	if err := parseRows(body, t, &r.event); err != nil || !t.compressed {
		return err
	}
	var err error
	r.event.Images, err = inflate(r.event.Images, r.config.LargestEvent)
	return err
}
