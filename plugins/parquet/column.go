package parquet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"
	"slices"

	"github.com/apache/arrow/go/v15/arrow/bitutil"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// pageEncodings are those that data pages may have.
var pageEncodings = []format.Encoding{format.RLEDictionary, format.Plain, format.DeltaBinaryPacked,
	format.DeltaLengthByteArray}

// column is a column of the file. One goroutine at a time works on it.
type column struct {
	mapping
	pageBytes int
	replace   bool
	count     func(string, int64)

	open page // takes the rows that come
	choice
	bounds bounds // of the open column chunk

	// The open column chunk.
	dictionaryPage blocks
	chunk          blocks // its finished data pages
	index          pageIndex
	uncompressed   int64 // with headers
	values         int64 // with nulls
	chunkNulls     int64
	plainBytes     int64                     // what its values take in PLAIN form
	pages          map[format.Encoding]int32 // how many of each encoding

	// share is what a byte in PLAIN form took in the file in the row group before.
	share float64
}

// page is rows that stand together in a column chunk.
type page struct {
	rows    int      // with nulls
	nulls   int      //
	levels  []byte   // bitmap of the rows that are not null; empty while all are
	plain   []byte   // PLAIN values
	indexes []uint16 // of the dictionary, instead of them
	size    int      // what the indexed values take in PLAIN form
	bits    int      // booleans in plain
	bounds  bounds   // of the values in plain
}

// plainSize is how many bytes the values take in PLAIN form.
func (p *page) plainSize() int { return p.size + len(p.plain) }

func (p *page) reset() {
	p.rows, p.nulls, p.bits, p.size = 0, 0, 0, 0
	p.plain, p.indexes, p.levels = p.plain[:0], p.indexes[:0], p.levels[:0]
	p.bounds.reset()
}

// held is about how many bytes the rows take in memory that are not in finished pages.
func (c *column) held() int {
	return len(c.open.plain) + 2*(len(c.open.indexes)+c.waitingValues) + len(c.open.levels) + len(c.dictionary.plain)
}

// expected is about how many bytes the chunk will take in the file.
func (c *column) expected() int64 {
	share := c.share
	if c.plainBytes > 0 {
		share = float64(c.chunk.size) / float64(c.plainBytes)
	}
	return c.chunk.size + int64(share*float64(c.open.plainSize()+c.waitingBytes))
}

// note takes n rows, of which some are null, into the definition levels of the page.
// bitmap is Arrow's, its bit at being the first row; it may be nil if all are null.
func (p *page) note(n, nulls int, bitmap []byte, at int) {
	if nulls > 0 || len(p.levels) > 0 {
		seen, size := len(p.levels), int(bitutil.BytesForBits(int64(p.rows+n)))
		p.levels = slices.Grow(p.levels, size-seen)[:size]
		clear(p.levels[seen:])
		if seen == 0 {
			bitutil.SetBitsTo(p.levels, 0, int64(p.rows), true)
		}
		if nulls > 0 && bitmap != nil {
			bitutil.CopyBitmap(bitmap, at, n, p.levels, p.rows)
		} else {
			bitutil.SetBitsTo(p.levels, int64(p.rows), int64(n), nulls == 0)
		}
	}
	p.rows += n
	p.nulls += nulls
}

// endPage ends the open page, if it has rows.
func (c *column) endPage(l *lane) error {
	if c.open.rows == 0 {
		return nil
	}
	if c.use == useUndecided {
		c.wait()
		return nil
	}
	err := c.writeData(l, &c.open)
	c.open.reset()
	if cap(c.open.plain) > 4*c.pageBytes {
		c.open.plain = nil // one huge value must not hold its memory
	}
	l.trim()
	return err
}

// writeData writes a data page, as it is: with indexes or with values.
func (c *column) writeData(l *lane, p *page) error {
	body := l.body[:0]
	if c.optional {
		body = append(body, 0, 0, 0, 0)
		body = appendLevels(body, p.levels, p.rows, p.rows-p.nulls)
		binary.LittleEndian.PutUint32(body, uint32(len(body)-4))
	}
	encoding := format.Plain
	switch {
	case len(p.indexes) > 0:
		encoding = format.RLEDictionary
		c.boundIndexed(l, p)
		body = appendIndexes(body, p.indexes)
	case p.rows > p.nulls:
		encoding = c.encoding(l, p)
		body = append(body, c.encode(l, encoding, p.plain)...)
	}
	l.body = body
	from := c.chunk.size
	err := c.writePage(l, &c.chunk, body, format.PageHeader{
		Type: format.DataPage,
		DataPageHeader: thrift.New(format.DataPageHeader{
			NumValues:               int32(p.rows),
			Encoding:                encoding,
			DefinitionLevelEncoding: format.RLE,
			RepetitionLevelEncoding: format.RLE,
			Statistics:              format.Statistics{NullCount: int64(p.nulls)},
		}),
	})
	c.index.add(from, c.chunk.size-from, c.values, p)
	c.bounds.merge(&p.bounds)
	c.pages[encoding]++
	c.values += int64(p.rows)
	c.chunkNulls += int64(p.nulls)
	c.plainBytes += int64(p.plainSize())
	return err
}

// appendIndexes appends the values of a page as indexes of the dictionary.
func appendIndexes(dst []byte, indexes []uint16) []byte {
	// Indexes of the first pages of a dictionary need fewer bits than those of the last.
	width := 1
	for _, i := range indexes {
		width = max(width, bits.Len16(i))
	}
	return appendHybrid(append(dst, byte(width)), indexes, width)
}

// boundIndexed finds the bounds of a page of indexes.
func (c *column) boundIndexed(l *lane, p *page) {
	n := c.dictionary.count
	l.used = slices.Grow(l.used[:0], n)[:n]
	clear(l.used)
	for _, i := range p.indexes {
		l.used[i] = true
	}
	for i, used := range l.used {
		if used {
			p.bounds.addPlain(c.dictionary.entry(i))
		}
	}
}

// writePage compresses a page and appends it with its header.
func (c *column) writePage(l *lane, to *blocks, body []byte, header format.PageHeader) error {
	if len(body) > math.MaxInt32 {
		return tooLarge(c.name, len(body))
	}
	packed := l.pack(body)
	if len(packed) > math.MaxInt32 {
		return tooLarge(c.name, len(packed))
	}
	header.UncompressedPageSize, header.CompressedPageSize = int32(len(body)), int32(len(packed))
	header.CRC = int32(crc32.ChecksumIEEE(packed))
	head, err := encodeThrift(l.head[:0], &header)
	if err != nil {
		return err
	}
	l.head = head
	to.write(head)
	to.write(packed)
	c.uncompressed += int64(len(head) + len(body))
	return nil
}

// pack compresses a page, into memory that is valid until the next call.
func (l *lane) pack(body []byte) []byte {
	if l.codec.id == format.Uncompressed {
		return body
	}
	l.small = l.codec.compress(l.small, body)
	return l.small
}

// trim drops the memory of an unusually large page.
func (l *lane) trim() {
	for _, b := range []*[]byte{&l.body, &l.small, &l.plain, &l.delta} {
		if cap(*b) > 8*maxPageBytes {
			*b = nil
		}
	}
}

// finish ends the column chunk.
func (c *column) finish(l *lane) error {
	if err := c.endPage(l); err != nil {
		return err
	}
	if c.use == useUndecided {
		if err := c.decide(l); err != nil {
			return err
		}
	}
	if c.pages[format.RLEDictionary] == 0 {
		return nil
	}
	return c.writePage(l, &c.dictionaryPage, c.dictionary.plain, format.PageHeader{
		Type: format.DictionaryPage,
		DictionaryPageHeader: thrift.New(format.DictionaryPageHeader{
			NumValues: int32(c.dictionary.count),
			Encoding:  format.Plain,
		}),
	})
}

// reset makes ready for the next row group; the pages have been taken away. size is what the
// chunk took in the file.
func (c *column) reset(size int64) {
	if c.plainBytes > 0 {
		c.share = float64(size) / float64(c.plainBytes)
	}
	c.choice.reset()
	c.bounds.reset()
	c.index.reset()
	c.uncompressed, c.values, c.chunkNulls, c.plainBytes = 0, 0, 0, 0
	clear(c.pages)
}

// encodeThrift appends a structure of the format in Thrift's compact protocol.
func encodeThrift(dst []byte, v any) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	var protocol thrift.CompactProtocol
	if err := thrift.NewEncoder(protocol.NewWriter(b)).Encode(v); err != nil {
		return nil, fmt.Errorf("parquet: encoding %T: %w", v, err)
	}
	return b.Bytes(), nil
}
