package row

import (
	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/zone"
)

// Options say what the settings of the mysql source say, by the same words.
type Options struct {
	// MariaDB is the server's sort, false for MySQL.
	MariaDB bool
	// ZeroDates is null, error or text; empty is error.
	ZeroDates string
	// Geometry is wkb or ewkb; empty is wkb.
	Geometry string
	// Zone is that of the session whose SELECT is the measure. It is needed where a TIMESTAMP is no instant in the schema:
	// with zero_dates: text. An instant needs none.
	Zone *zone.Zone
	// LargestRow bounds a row in bytes of Arrow; 0 is 256 MiB.
	LargestRow int
}

// Decoder decodes the row images of one table. It is not safe for concurrent use.
type Decoder struct {
	rows int
}

// NewDecoder makes one of a table's columns, in their order and all of them, of which the wanted ones, by index, are the
// fields of the schema. The schema is what the mysql source gives for a SELECT of them, in that order.
func NewDecoder(columns []Column, wanted []int, schema *arrow.Schema, o Options) (*Decoder, error) {
	return nil, nil
}

// Table takes the description that stands in the log before rows of the table. It is a fault of CodeTable when it is not
// that of the columns, by number, types and what else the server logged. No row can be decoded before.
func (d *Decoder) Table(m TableMap) error { return nil }

// Row decodes the image that data begins with and appends it as a row. present has a bit for each column of the table that
// is in the image, the first column in the lowest bit (columns_present_bitmap of the event). It returns what is behind the
// image. After a fault nothing of the row was appended, and the rows before it are still there.
func (d *Decoder) Row(data, present []byte) (rest []byte, err error) { return nil, nil }

// Rows is how many rows were appended since Record.
func (d *Decoder) Rows() int { return d.rows }

// Bytes is how many bytes of Arrow they take.
func (d *Decoder) Bytes() int { return 0 }

// Record takes the rows that were appended, which may be none; the caller releases it. It holds no memory of the images.
func (d *Decoder) Record() arrow.Record { return nil }

// ZeroDates takes how many zero, partial and impossible dates were decoded since it was asked last.
func (d *Decoder) ZeroDates() int64 { return 0 }
