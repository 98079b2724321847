// Package changes is the table that sources of changes give, and that a stream of documents is made of: every row is one
// document that was written or deleted, as its flat JSON text, in the order in which the database committed it. It holds
// the schema and its words, so that a source of any plugin can feed the service's Data Stream; it reads and sends nothing.
package changes

import (
	"github.com/apache/arrow/go/v15/arrow"
)

// The columns of the table, in their order.
const (
	// ColumnChannel is the channel that the document belongs to: utf8, never null.
	ColumnChannel = iota
	// ColumnType is the document's type: utf8, never null.
	ColumnType
	// ColumnID is the document's id, the key of its row as text (see AppendID): utf8, never null. It is empty where the
	// operation is OpTruncate, OpBegin or OpEnd.
	ColumnID
	// ColumnOperation is one of the operations below: utf8, never null.
	ColumnOperation
	// ColumnOrigin is one of the origins below: utf8, never null.
	ColumnOrigin
	// ColumnDocument is the whole document, a flat JSON object without line ends that has the members "id" and "type": utf8;
	// null where there is none, because it was deleted.
	ColumnDocument
	// ColumnCommittedAt is when the change was committed, by the database's clock: timestamp[us, UTC]; null where that is
	// not known.
	ColumnCommittedAt
)

// The operations.
const (
	OpWrite    = "write"    // the document is as it stands here
	OpDelete   = "delete"   // there is no such document any more
	OpTruncate = "truncate" // there is no document of the type any more
	// OpBegin and OpEnd are around all that there is of a type: a document of it that is not written between the two, whatever
	// the origin, is not there any more at OpEnd. Changes of other types may come between. A source that goes on at a position
	// between the two begins with OpBegin again.
	OpBegin = "begin"
	OpEnd   = "end"
)

// The origins.
const (
	// OriginLog: the database's log of changes has it. Whatever is known of the document is older.
	OriginLog = "log"
	// OriginCopy: the row was read for the first copy, and stands in the order of the log: it is newer than every change
	// before it and older than every change behind it.
	OriginCopy = "copy"
	// OriginAgain: as OriginCopy, of a row that was asked for by its id (see Again). A row that is not there any more is
	// OpDelete.
	OriginAgain = "again"
	// OriginPoll: the row was found because its time of change is new. It may be as it was known before.
	OriginPoll = "poll"
)

// Schema is that of the table.
func Schema() *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{
		ColumnChannel:     {Name: "channel", Type: arrow.BinaryTypes.String},
		ColumnType:        {Name: "type", Type: arrow.BinaryTypes.String},
		ColumnID:          {Name: "id", Type: arrow.BinaryTypes.String},
		ColumnOperation:   {Name: "operation", Type: arrow.BinaryTypes.String},
		ColumnOrigin:      {Name: "origin", Type: arrow.BinaryTypes.String},
		ColumnDocument:    {Name: "document", Type: arrow.BinaryTypes.String, Nullable: true},
		ColumnCommittedAt: {Name: "committed_at", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, Nullable: true},
	}, nil)
}

// AppendID appends a part of an id: parts of a key of several columns are joined by ":", and ":" and "\" in a part are
// escaped by "\", so that different keys never have one id.
func AppendID(id []byte, part string) []byte {
	if id != nil {
		id = append(id, ':')
	} else {
		id = []byte{}
	}
	for i := range len(part) {
		if part[i] == ':' || part[i] == '\\' {
			id = append(id, '\\')
		}
		id = append(id, part[i])
	}
	return id
}

// Again asks for documents by their ids, in the order in which they are to come. As JSON it is what the setting "again" of
// a source takes: the source then delivers the log up to a position, these documents as they are there, and ends.
type Again struct {
	Documents []Document `json:"documents"`
}

// Document names a document.
type Document struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// MostAgain is how many documents can be asked for at once.
const MostAgain = 5000
