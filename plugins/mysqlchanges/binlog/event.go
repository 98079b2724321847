package binlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	protocol "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/serialization"

	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/internal/octets"
)

// eventType is the sort of an event (MySQL, enum Log_event_type in binlog_event.h; MariaDB's own begin with 160).
type eventType byte

const (
	typeQuery              eventType = 2
	typeStop               eventType = 3
	typeRotate             eventType = 4
	typeIntvar             eventType = 5
	typeAppendBlock        eventType = 9
	typeDeleteFile         eventType = 11
	typeRand               eventType = 13
	typeUserVar            eventType = 14
	typeFormatDescription  eventType = 15
	typeXID                eventType = 16
	typeBeginLoadQuery     eventType = 17
	typeExecuteLoadQuery   eventType = 18
	typeTableMap           eventType = 19
	typeWriteRows1         eventType = 23
	typeUpdateRows1        eventType = 24
	typeDeleteRows1        eventType = 25
	typeIncident           eventType = 26
	typeHeartbeat          eventType = 27
	typeIgnorable          eventType = 28
	typeRowsQuery          eventType = 29
	typeWriteRows2         eventType = 30
	typeUpdateRows2        eventType = 31
	typeDeleteRows2        eventType = 32
	typeGTID               eventType = 33
	typeAnonymousGTID      eventType = 34
	typePreviousGTIDs      eventType = 35
	typeTransactionContext eventType = 36
	typeViewChange         eventType = 37
	typeXAPrepare          eventType = 38
	typePartialUpdateRows  eventType = 39
	typePayload            eventType = 40
	typeHeartbeat2         eventType = 41
	typeTaggedGTID         eventType = 42

	typeAnnotateRows         eventType = 160
	typeBinlogCheckpoint     eventType = 161
	typeMariaDBGTID          eventType = 162
	typeGTIDList             eventType = 163
	typeStartEncryption      eventType = 164
	typeQueryCompressed      eventType = 165
	typeWriteRowsCompressed  eventType = 166
	typeUpdateRowsCompressed eventType = 167
	typeDeleteRowsCompressed eventType = 168
)

// passed are the events that are part of no change, or of one that says itself what it is.
var passed = map[eventType]bool{
	typeStop: true, typeIntvar: true, typeRand: true, typeUserVar: true, typeIgnorable: true, typeRowsQuery: true, typePreviousGTIDs: true,
	typeTransactionContext: true, typeViewChange: true, typeAnnotateRows: true, typeBinlogCheckpoint: true, typeGTIDList: true,
	typeStartEncryption: true,
}

// Flags of an event's header.
const (
	flagArtificial = 0x20 // the server made it for this connection: it is not in the log
	flagIgnorable  = 0x80
)

const (
	headerSize   = 19
	checksumSize = 4
)

// header is what every event begins with.
type header struct {
	at     uint32 // seconds
	typ    eventType
	server uint32
	size   uint32 // with the header, and the checksum
	next   uint32 // lower bits of where the event ends in its file; 0 where that says nothing
	flags  uint16
}

func parseHeader(b []byte) (h header, err error) {
	h = header{
		at: binary.LittleEndian.Uint32(b), typ: eventType(b[4]), server: binary.LittleEndian.Uint32(b[5:]), size: binary.LittleEndian.Uint32(b[9:]),
		next: binary.LittleEndian.Uint32(b[13:]), flags: binary.LittleEndian.Uint16(b[17:]),
	}
	if h.size < headerSize {
		return h, malformed("an event of %d bytes", h.size)
	}
	return h, nil
}

// sum reports whether an event ends with its checksum, which is that of all before it.
func sum(event []byte) bool {
	n := len(event) - checksumSize
	return n >= headerSize && crc32.ChecksumIEEE(event[:n]) == binary.LittleEndian.Uint32(event[n:])
}

// errShort says that an event ends before it should.
var errShort = errors.New("it is too short")

// whole says whether an event was as long as what was read of it.
func whole(r *octets.Reader) error {
	if r.Short {
		return errShort
	}
	return nil
}

// format is what a FORMAT_DESCRIPTION event says.
type format struct {
	checksum bool
	created  bool // by a server that had just started
}

// Sizes of what is behind the header of events whose layout has changed in the past.
var postHeaders = map[eventType]byte{typeTableMap: 8, typeWriteRows1: 8, typeUpdateRows1: 8, typeDeleteRows1: 8, typeWriteRows2: 10, typeUpdateRows2: 10, typeDeleteRows2: 10}

// parseFormat reads the body of such an event, which ends with a checksum whatever it says.
func parseFormat(body []byte) (f format, err error) {
	c := octets.Reader{Rest: body}
	version := c.Integer(2)
	c.Take(50) // the server's version
	f.created = c.Integer(4) != 0
	size := c.Integer(1)
	if c.Short || len(c.Rest) < 1+checksumSize {
		return f, errShort
	}
	if version != 4 || size != headerSize {
		return f, fmt.Errorf("the log is of version %d with headers of %d bytes; known are 4 and %d", version, size, headerSize)
	}
	lengths := c.Rest[:len(c.Rest)-1-checksumSize]
	for t, want := range postHeaders {
		if i := int(t) - 1; i < len(lengths) && lengths[i] != want && lengths[i] != 0 { // 0 is an event that the server does not write
			return f, fmt.Errorf("events of type %d have a header of %d bytes; known is %d", t, lengths[i], want)
		}
	}
	switch algorithm := c.Rest[len(lengths)]; algorithm {
	case 0:
	case 1:
		f.checksum = true
	default:
		return f, fmt.Errorf("its checksums are of the sort %d; known are none and CRC32", algorithm)
	}
	return f, nil
}

// parseGTID reads a GTID event of MySQL, or an anonymous one, and when the transaction was committed, in microseconds; 0
// is not known.
func parseGTID(body []byte) (g gtid, micros uint64, err error) {
	c := octets.Reader{Rest: body}
	c.Take(1)
	copy(g.uuid[:], c.Take(16))
	g.gno = int64(c.Integer(8))
	const logicalTimestamps = 2
	if len(c.Rest) > 0 && c.Rest[0] == logicalTimestamps {
		c.Take(1 + 8 + 8)
		if len(c.Rest) >= 7 {
			micros = c.Integer(7) &^ (1 << 55) // the bit says that another time follows: when it was committed originally
		}
	}
	return g, micros, whole(&c)
}

// parseTaggedGTID reads a GTID event with a tag, whose fields are serialised by mysql::serialization.
func parseTaggedGTID(body []byte) (g gtid, micros uint64, err error) {
	defer func() {
		if problem := recover(); problem != nil { // the library is written for what is well formed
			err = fmt.Errorf("it cannot be read: %v", problem)
		}
	}()
	var (
		uuid   = &serialization.FieldIntFixed{Length: 16}
		gno    = &serialization.FieldIntVar{}
		tag    = &serialization.FieldString{}
		commit = &serialization.FieldUintVar{}
	)
	m := serialization.Message{Format: serialization.Format{Fields: []serialization.Field{
		{Name: "gtid_flags", Type: &serialization.FieldIntFixed{Length: 1}},
		{Name: "uuid", Type: uuid},
		{Name: "gno", Type: gno},
		{Name: "tag", Type: tag},
		{Name: "last_committed", Type: &serialization.FieldIntVar{}},
		{Name: "sequence_number", Type: &serialization.FieldIntVar{}},
		{Name: "immediate_commit_timestamp", Type: commit},
	}}}
	if err := serialization.Unmarshal(body, &m); err != nil {
		return g, 0, err
	}
	if len(uuid.Value) != len(g.uuid) || gno.Value <= 0 {
		return g, 0, errors.New("it names no transaction")
	}
	copy(g.uuid[:], uuid.Value)
	g.gno, g.tag = gno.Value, protocol.NewTag(tag.Value)
	return g, commit.Value, nil
}

// Flags of MariaDB's GTID event.
const mariaDBStandalone = 0x01 // one statement, and no end

// parseMariaDBGTID reads a GTID event of MariaDB, whose server id is in the header.
func parseMariaDBGTID(body []byte, server uint32) (g gtid, alone bool, err error) {
	c := octets.Reader{Rest: body}
	g.mariaDB = &protocol.MariadbGTID{ServerID: server}
	g.mariaDB.SequenceNumber = c.Integer(8)
	g.mariaDB.DomainID = uint32(c.Integer(4))
	return g, c.Integer(1)&mariaDBStandalone != 0, whole(&c)
}

// parseQuery reads a QUERY event.
func parseQuery(body []byte) (database string, query []byte, err error) {
	c := octets.Reader{Rest: body}
	c.Take(4 + 4) // thread, seconds
	name := int(c.Integer(1))
	c.Take(2) // error
	c.Take(int(c.Integer(2)))
	database = string(c.Take(name))
	c.Take(1)
	return database, c.Rest, whole(&c)
}

// parseTableMap reads the part of a TABLE_MAP event that says which table it is.
func parseTableMap(body []byte) (id uint64, database, table string, err error) {
	c := octets.Reader{Rest: body}
	id = c.Integer(6)
	c.Take(2)
	database = string(c.Take(int(c.Integer(1))))
	c.Take(1)
	table = string(c.Take(int(c.Integer(1))))
	return id, database, table, whole(&c)
}

// rowsType is what a type of event says of its rows.
type rowsType struct {
	operation                  Operation
	two, compressed, isPartial bool
}

var rowsTypes = map[eventType]rowsType{
	typeWriteRows1: {operation: Insert}, typeUpdateRows1: {operation: Update}, typeDeleteRows1: {operation: Delete},
	typeWriteRows2: {operation: Insert, two: true}, typeUpdateRows2: {operation: Update, two: true}, typeDeleteRows2: {operation: Delete, two: true},
	typePartialUpdateRows:    {operation: Update, two: true, isPartial: true},
	typeWriteRowsCompressed:  {operation: Insert, compressed: true},
	typeUpdateRowsCompressed: {operation: Update, compressed: true},
	typeDeleteRowsCompressed: {operation: Delete, compressed: true},
}

// parseRows reads what is before the row images of an event.
func parseRows(body []byte, t rowsType, ev *Event) error {
	c := octets.Reader{Rest: body}
	ev.TableID = c.Integer(6)
	c.Take(2)
	if t.two {
		c.Take(int(c.Integer(2)) - 2) // its length counts itself
	}
	columns := c.Packed()
	if columns > 1<<16 {
		return errors.New("it has too many columns")
	}
	first := c.Take(int(columns+7) / 8)
	switch t.operation {
	case Insert:
		ev.After = first
	case Delete:
		ev.Before = first
	case Update:
		ev.Before, ev.After = first, c.Take(int(columns+7)/8)
	}
	ev.Columns, ev.Operation, ev.Partial, ev.Images = int(columns), t.operation, t.isPartial, c.Rest
	return whole(&c)
}

// committed is the time of an event, to the microsecond where that is known.
func committed(h header, micros uint64) time.Time {
	if micros > 0 {
		return time.UnixMicro(int64(micros)).UTC()
	}
	return time.Unix(int64(h.at), 0).UTC()
}
