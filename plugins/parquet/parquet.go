// Package parquet is the encoder stage that writes one Apache Parquet file
// (https://parquet.apache.org/docs/file-format/). It owns the mapping of Arrow
// types to Parquet types, pages, dictionaries, row groups and the footer; the
// structures of the format and their Thrift form are parquet-go's. It holds at most
// about two row groups in memory, and never a row as such: values go from the
// buffers of an Arrow column into a page, and from there into a compressed chunk.
//
// The file depends on the data and the settings alone: the same batches give the
// same bytes, whatever the number of cores.
package parquet

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/cipherstream/cipherstream/plugins/internal/zone"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of the stage.
type Settings struct {
	Compression string      `config:"compression" enum:"zstd,snappy,none" default:"zstd" doc:"How pages are compressed: zstd makes the smaller files; snappy costs a little less time and is read by older tools; none is for storage that compresses by itself."`
	RowGroup    config.Size `config:"row_group" default:"8MiB" min:"64KiB" max:"256MiB" doc:"The size at which a row group ends, in bytes of the file. A reader that reads whole row groups needs several times as much memory, and so does the encoder about twice."`
	Durations   string      `config:"durations" enum:"integer,time" default:"integer" doc:"How a duration is written, such as MySQL's TIME: as an integer of microseconds, which holds all of -838:59:59 to 838:59:59; or as TIME, which every reader shows as a time of day: a value that is none fails the run."`
	InvalidUTF8 string      `config:"invalid_utf8" enum:"error,replace" default:"error" doc:"What happens to text that is not valid UTF-8: the run fails, or each bad byte becomes U+FFFD and the value is counted."`
}

// The values of the setting durations.
const durationsInteger, durationsTime = "integer", "time"

const doc = `One Parquet file of format version 2.6 with pages of version 1. In every row group a column is encoded in the
way that makes the least of its values: as indexes into a dictionary, until that is full; packed
differences (DELTA_BINARY_PACKED, of integers, decimals up to 18 digits, dates and times); lengths apart
from text (DELTA_LENGTH_BYTE_ARRAY); or PLAIN. Every page has a checksum; every page and
every column chunk has its minimum and maximum, of long text the first 64 bytes, and a page index says
where they are, so that a reader skips what a condition excludes.

| column | Parquet |
|---|---|
| int8 to int64, uint8 to uint64 | INT32 or INT64, annotated where it is not the plain signed type |
| float32, float64, boolean | FLOAT, DOUBLE, BOOLEAN |
| decimal | DECIMAL in INT32 (up to 9 digits), INT64 (18) or FIXED_LEN_BYTE_ARRAY (76; beyond 38 digits of 24 or 32 bytes) |
| date | DATE |
| timestamp | TIMESTAMP, isAdjustedToUTC only for instants; milli-, micro- or nanoseconds, seconds become milliseconds |
| time of day | TIME, isAdjustedToUTC false; seconds become milliseconds |
| time | a duration: INT64 microseconds (nanoseconds stay what they are), as Parquet has no type for it. Or TIME, see durations |
| string, json | STRING, JSON |
| binary | BYTE_ARRAY, or FIXED_LEN_BYTE_ARRAY where all values have the same length by their type |
| untyped NULL | INT32 of type UNKNOWN, all NULL |

Decimals beyond 38 digits, as MySQL's SUM of a BIGINT has them, are exact in the file. pyarrow reads them exactly, DuckDB
as DOUBLE (16 digits), Polars not at all: a CAST to DECIMAL(38, n) in the query makes them fit
everywhere. A duration is an integer for readers that do not know Arrow's schema, which pyarrow and Polars do; DuckDB's
to_microseconds(x) makes an INTERVAL of it.

Columns that are declared NOT NULL are REQUIRED, and a NULL in one fails the run. Whatever the
types of Parquet lose (durations, the declared fraction of a time, the type at the source) stands in the key-value
metadata under ARROW:schema, as Arrow's own writers put it there.`

// Stage defines the encoder.
func Stage() sdk.Definition {
	return sdk.DefineEncoder(sdk.About{
		Name:    "parquet",
		Summary: "Writes an Apache Parquet file.",
		Doc:     doc,
		Out:     sdk.ShapeBytes,
	}, func(s Settings, env sdk.Env) (sdk.Encoder, error) {
		return &encoder{settings: s, count: env.Count, workers: runtime.GOMAXPROCS(0)}, nil
	})
}

const (
	magic = "PAR1"
	// pagesBytes is what the open pages of all columns may hold together.
	pagesBytes = 6 << 20
	// minPageBytes and maxPageBytes bound the size at which a page ends, which is
	// the same for all columns of a file.
	minPageBytes, maxPageBytes = 8 << 10, 1 << 20
	// maxPageRows bounds a page whose values take next to nothing.
	maxPageRows = 32 << 10
	// maxGroupRows bounds a row group whose values take next to nothing.
	maxGroupRows = 1 << 20
	// maxGroupExpansion is how much larger than its size in the file a row group may
	// be in the memory of a reader.
	maxGroupExpansion = 16
	// firstShare is what a byte in PLAIN form is expected to take in the file, until a
	// column has finished pages.
	firstShare = 0.5
	// maxGroups is how many row groups the format can count.
	maxGroups = 1<<15 - 1
	// drainBytes is how much of a finished row group goes out with one batch, so that
	// no single output is large.
	drainBytes = 1 << 20
	// parallelRows is how many rows a batch needs for a second core to pay.
	parallelRows = 256
)

// encoder is the implementation of sdk.Encoder.
type encoder struct {
	settings Settings
	count    func(string, int64)
	workers  int

	schema  *arrow.Schema // as it comes
	stored  string        // the schema of the values as they are stored, for the footer
	columns []*column
	guard   *zone.Guard
	pool    *blockPool
	codec   *codec
	lanes   []*lane

	groupRows int64
	groups    groupList
	pending   blocks // finished row groups that have not gone out yet
	offset    int64  // in the file, of the next row group
}

func (e *encoder) Bind(in *arrow.Schema) (sdk.Media, error) {
	media := sdk.Media{Type: "application/vnd.apache.parquet", Extension: ".parquet"}
	stored, columns, err := mapColumns(in, e.settings.Durations)
	if err != nil {
		return media, err
	}
	e.schema, e.columns, e.guard = in, columns, zone.NewGuard(in)
	if e.stored, err = storedSchema(stored); err != nil {
		return media, err
	}
	pageBytes := min(max(pagesBytes/len(columns), minPageBytes), maxPageBytes)
	e.pool = &blockPool{size: min(max(pageBytes/4, 4<<10), 64<<10), limit: int(e.settings.RowGroup)}
	if e.codec, err = newCodec(e.settings.Compression, e.workers); err != nil {
		return media, err
	}
	for range min(e.workers, len(columns)) {
		e.lanes = append(e.lanes, &lane{codec: e.codec})
	}
	dictionaryBytes := min(max(dictionariesBytes/len(columns), minDictionaryBytes), maxDictionaryBytes)
	for _, c := range columns {
		c.pageBytes, c.chunk.pool, c.dictionaryPage.pool = pageBytes, e.pool, e.pool
		c.replace, c.count = e.settings.InvalidUTF8 == "replace", e.count
		c.bounds = bounds{order: c.order, width: c.width, text: c.text}
		c.open.bounds = c.bounds
		c.dictionary.width, c.dictionary.limit = c.width, dictionaryBytes
		c.pages, c.share = map[format.Encoding]int32{}, firstShare
		c.choice.reset()
	}
	e.pending.pool = e.pool
	e.groups.indexLimit = maxIndexBytes
	return media, nil
}

func (e *encoder) Begin(out *sdk.Output) error {
	out.Data = append(out.Data, magic...)
	e.offset = int64(len(magic))
	return nil
}

func (e *encoder) Encode(ctx context.Context, rows sdk.Rows, out *sdk.Output) error {
	if s := rows.Schema(); s != e.schema && !s.Equal(e.schema) {
		return fault.New("encoder.schema_changed", fault.Internal,
			"a batch has another schema than the stream:\n%s\ninstead of\n%s", s, e.schema)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.guard.Check(rows.Record, rows.First); err != nil {
		return err
	}
	parallel := rows.NumRows() >= parallelRows
	err := e.each(parallel, func(l *lane, i int) error {
		return e.columns[i].append(l, rows.Column(i), rows.First)
	})
	if err != nil {
		return err
	}
	e.groupRows += rows.NumRows()
	if e.full() {
		if err := e.closeGroup(); err != nil {
			return err
		}
	}
	// What is kept back stays within the size of one row group.
	e.drain(max(drainBytes, e.pending.size-int64(e.settings.RowGroup)), out)
	return nil
}

// full reports whether the row group should end.
func (e *encoder) full() bool {
	var size, memory int64
	for _, c := range e.columns {
		size += c.expected()
		memory += c.uncompressed + int64(c.held())
	}
	limit := int64(e.settings.RowGroup)
	return size >= limit || memory >= maxGroupExpansion*limit || e.groupRows >= maxGroupRows
}

// closeGroup ends the row group and queues it to go out.
func (e *encoder) closeGroup() error {
	if len(e.groups.groups) == maxGroups {
		return fault.New("encoder.too_large", fault.Usage,
			"the file needs more than %d row groups, which the format cannot count", maxGroups).
			WithHint("raise row_group from %s", e.settings.RowGroup)
	}
	err := e.each(true, func(l *lane, i int) error { return e.columns[i].finish(l) })
	if err != nil {
		return err
	}
	size, err := e.groups.add(e.columns, e.groupRows, e.offset, e.codec.id)
	if err != nil {
		return err
	}
	for _, c := range e.columns {
		taken := c.dictionaryPage.size + c.chunk.size
		e.pending.take(&c.dictionaryPage)
		e.pending.take(&c.chunk)
		c.reset(taken)
	}
	e.offset += size
	e.groupRows = 0
	return nil
}

// drain moves about n bytes of finished row groups to out.
func (e *encoder) drain(n int64, out *sdk.Output) {
	out.Data = slices.Grow(out.Data, int(min(n+int64(e.pool.size), e.pending.size)))
	for n > 0 && e.pending.size > 0 {
		b := e.pending.pop()
		out.Data = append(out.Data, b...)
		n -= int64(len(b))
		e.pool.put(b)
	}
}

func (e *encoder) End(_ sdk.Totals, out *sdk.Output) error {
	if e.groupRows > 0 {
		if err := e.closeGroup(); err != nil {
			return err
		}
	}
	e.pool.limit = 0 // what goes out now is not needed again
	e.drain(e.pending.size, out)
	footer, err := e.groups.footer(e.stored, e.columns, e.offset)
	if err != nil {
		return err
	}
	out.Data = append(out.Data, footer...)
	return nil
}

// lane is the memory of one core.
type lane struct {
	codec *codec
	body  []byte // a page before it is compressed
	small []byte // a page after
	head  []byte // the header of a page
	plain []byte // values of a page
	delta []byte // the same in another encoding
	used  []bool // which entries of a dictionary a page has
	i32   []int32
	i64   []int64
	bytes []byte
}

// each runs f for every column, on all cores if parallel. Columns are independent
// of each other, so their order does not show in the file.
func (e *encoder) each(parallel bool, f func(l *lane, column int) error) error {
	if !parallel || len(e.lanes) == 1 {
		for i := range e.columns {
			if err := f(e.lanes[0], i); err != nil {
				return err
			}
		}
		return nil
	}
	var next atomic.Int64
	var wait sync.WaitGroup
	errs := make([]error, len(e.columns))
	work := func(l *lane) {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(e.columns) {
				return
			}
			if errs[i] = guarded(l, i, f); errs[i] != nil {
				return
			}
		}
	}
	for _, l := range e.lanes[1:] {
		wait.Go(func() { work(l) })
	}
	work(e.lanes[0])
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// guarded turns a panic into an error: in a goroutine of its own it would end the
// process without a word about the stage.
func guarded(l *lane, i int, f func(*lane, int) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("column %d: panic: %v", i+1, p)
		}
	}()
	return f(l, i)
}
