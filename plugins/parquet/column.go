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

// usage says whether a column is written with a dictionary.
type usage uint8

const (
	// usageOpen: too few values were seen to judge; they are in the dictionary for now.
	usageOpen usage = iota
	// usageYes: few distinct values.
	usageYes
	// usageNo: many, or a type that gains nothing.
	usageNo
)

// column is a column of the file. One goroutine at a time works on it.
type column struct {
	planned
	pageBytes int
	replace   bool
	count     func(string, int64)

	// The open page.
	rows    int      // with nulls
	nulls   int      //
	levels  []byte   // bitmap of the rows that are not null; empty while all are
	page    []byte   // PLAIN values
	indexes []uint16 // of the dictionary, instead of page
	bits    int      // booleans in page

	use        usage
	dictionary dictionary
	plainly    bool // the dictionary is full: the rest of the row group is plain
	bounds     bounds

	// The open column chunk.
	dictionaryPage blocks
	chunk          blocks // its finished data pages
	uncompressed   int64  // with headers
	values         int64  // with nulls
	chunkNulls     int64
	pagesIndexed   int32 // data pages by encoding
	pagesPlain     int32
}

// encodes reports whether the next values go through the dictionary.
func (c *column) encodes() bool { return c.use != usageNo && !c.plainly }

// held is about how many bytes the open page takes in memory.
func (c *column) held() int {
	return len(c.page) + 2*len(c.indexes) + len(c.levels) + len(c.dictionary.plain)
}

// note takes n rows, of which some are null, into the definition levels of the page.
// bitmap is Arrow's, its bit at being the first row; it may be nil if all are null.
func (c *column) note(n, nulls int, bitmap []byte, at int) {
	if nulls > 0 || len(c.levels) > 0 {
		seen, size := len(c.levels), int(bitutil.BytesForBits(int64(c.rows+n)))
		c.levels = slices.Grow(c.levels, size-seen)[:size]
		clear(c.levels[seen:])
		if seen == 0 {
			bitutil.SetBitsTo(c.levels, 0, int64(c.rows), true)
		}
		if nulls > 0 && bitmap != nil {
			bitutil.CopyBitmap(bitmap, at, n, c.levels, c.rows)
		} else {
			bitutil.SetBitsTo(c.levels, int64(c.rows), int64(n), nulls == 0)
		}
	}
	c.rows += n
	c.nulls += nulls
}

// flush ends the page, if it has rows.
func (c *column) flush(l *lane) error {
	if c.rows == 0 {
		return nil
	}
	body := l.body[:0]
	if c.optional {
		body = append(body, 0, 0, 0, 0)
		body = appendLevels(body, c.levels, c.rows, c.rows-c.nulls)
		binary.LittleEndian.PutUint32(body, uint32(len(body)-4))
	}
	encoding := format.Plain
	if len(c.indexes) > 0 {
		encoding = format.RLEDictionary
		// Indexes of the first pages of a dictionary need fewer bits than those of the last.
		width := 1
		for _, i := range c.indexes {
			width = max(width, bits.Len16(i))
		}
		body = append(body, byte(width))
		body = appendHybrid(body, c.indexes, width)
		c.pagesIndexed++
	} else {
		body = append(body, c.page...)
		c.pagesPlain++
	}
	l.body = body
	err := c.writePage(l, &c.chunk, body, format.PageHeader{
		Type: format.DataPage,
		DataPageHeader: thrift.New(format.DataPageHeader{
			NumValues:               int32(c.rows),
			Encoding:                encoding,
			DefinitionLevelEncoding: format.RLE,
			RepetitionLevelEncoding: format.RLE,
			Statistics:              format.Statistics{NullCount: int64(c.nulls)},
		}),
	})
	c.values += int64(c.rows)
	c.chunkNulls += int64(c.nulls)
	c.rows, c.nulls, c.bits = 0, 0, 0
	c.page, c.indexes, c.levels = c.page[:0], c.indexes[:0], c.levels[:0]
	if cap(c.page) > 4*c.pageBytes {
		c.page = nil // one huge value must not hold its memory
	}
	l.trim()
	return err
}

// writePage compresses a page and appends it with its header.
func (c *column) writePage(l *lane, to *blocks, body []byte, header format.PageHeader) error {
	if len(body) > math.MaxInt32 {
		return tooLarge(c.name, len(body))
	}
	packed := body
	if l.codec.id != format.Uncompressed {
		l.small = l.codec.compress(l.small, body)
		packed = l.small
	}
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

// trim drops the memory of an unusually large page.
func (l *lane) trim() {
	if cap(l.body) > 8*maxPageBytes {
		l.body = nil
	}
	if cap(l.small) > 8*maxPageBytes {
		l.small = nil
	}
}

// finish ends the column chunk.
func (c *column) finish(l *lane) error {
	if err := c.flush(l); err != nil {
		return err
	}
	if c.pagesIndexed == 0 {
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

// reset makes ready for the next row group; the pages have been taken away.
func (c *column) reset() {
	c.dictionary.reset()
	c.plainly = false
	c.bounds.reset()
	c.uncompressed, c.values, c.chunkNulls = 0, 0, 0
	c.pagesIndexed, c.pagesPlain = 0, 0
}

// metadata describes the column chunk that starts at offset in the file.
func (c *column) metadata(offset int64, codec format.CompressionCodec) format.ColumnMetaData {
	m := format.ColumnMetaData{
		Type:                  c.physical,
		Encoding:              []format.Encoding{format.Plain},
		PathInSchema:          []string{c.name},
		Codec:                 codec,
		NumValues:             c.values,
		TotalUncompressedSize: c.uncompressed,
		TotalCompressedSize:   c.dictionaryPage.size + c.chunk.size,
		DataPageOffset:        offset + c.dictionaryPage.size,
		Statistics:            format.Statistics{NullCount: c.chunkNulls},
	}
	if c.optional {
		m.Encoding = append(m.Encoding, format.RLE)
	}
	if c.pagesIndexed > 0 {
		m.Encoding = append(m.Encoding, format.RLEDictionary)
		m.DictionaryPageOffset = offset
		m.EncodingStats = append(m.EncodingStats,
			format.PageEncodingStats{PageType: format.DictionaryPage, Encoding: format.Plain, Count: 1},
			format.PageEncodingStats{PageType: format.DataPage, Encoding: format.RLEDictionary, Count: c.pagesIndexed})
	}
	if c.pagesPlain > 0 {
		m.EncodingStats = append(m.EncodingStats,
			format.PageEncodingStats{PageType: format.DataPage, Encoding: format.Plain, Count: c.pagesPlain})
	}
	m.Statistics.MinValue, m.Statistics.MaxValue = c.bounds.encoded(c.width)
	return m
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
