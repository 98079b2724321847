package parquetfile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// plainDictionary is how files of version 1 name both the encoding of a
// dictionary and that of the indexes into it. It is deprecated for writers; a
// reader meets it.
//
//lint:ignore SA1019 see above
const plainDictionary = format.PlainDictionary

// column reads one column of the file, row group after row group.
type column struct {
	source    *source
	name      string
	physical  format.Type
	optional  bool
	width     int // bytes of a PLAIN value, 0 if they vary or are bits
	kind      kind
	out       int // bytes of an Arrow value
	typ       arrow.DataType
	precision int32

	// The open column chunk.
	group  int
	codec  format.CompressionCodec
	at     int64 // in the file, of the next page
	stop   int64 // where the chunk ends
	values int64 // rows that are not in a page yet
	row    int64 // of the row group, the next one to be read

	dict     dictionary
	dictHeld int64

	page page
	held int64 // of the budget, by page
}

// page is the open page.
type page struct {
	rows    int     // not read yet
	valid   []byte  // bitmap of the rows that are not null, or nil if all are
	at      int     // the next row's bit
	values  values  // of the rows that are not null
	indexes []int32 // of these values in the dictionary, or nil if they are in the page
	next    int     // the next value
	buffer  []byte  // memory to be used again
}

// values lie one after another: as long as the column is wide, as bits, or with their ends.
type values struct {
	data []byte
	ends []int32 // of byte arrays, the first one's beginning in front
	gap  int     // bytes of each that belong to its length
	n    int
}

// dictionary is the values of the column chunk's dictionary page.
type dictionary struct {
	values
	read bool
}

// variable reports whether values have different lengths in Arrow.
func (c *column) variable() bool { return c.kind == kindBytes }

func (c *column) where() string {
	return fmt.Sprintf("%s, column %q, row group %d", c.source.settings.Path, shorten(c.name), c.group)
}

// maxPageHeader bounds the header of a page, whose statistics may hold values.
const maxPageHeader = 1 << 20

// open starts a column chunk.
func (c *column) open(group int, rows int64, chunk *columnChunk) error {
	m := &chunk.MetaData
	c.group, c.codec, c.values, c.row = group, m.Codec, rows, 0
	switch {
	case chunk.Encrypted.Valid:
		return unsupported("it is encrypted")
	case chunk.FilePath != "":
		return unsupported("it lies in another file")
	case m.Type != c.physical:
		return corrupt("it is %s here and %s in the schema", m.Type, c.physical)
	case m.Values != rows:
		return corrupt("it has %d values; the row group has %d rows", m.Values, rows)
	}
	start := m.Data
	if m.Dictionary > 0 && m.Dictionary < start {
		start = m.Dictionary
	}
	if start < int64(len(magic)) || m.Compressed < 0 || start > c.source.size || m.Compressed > c.source.size-start {
		return corrupt("it is said to have %d bytes at byte %d of a file of %d", m.Compressed, start, c.source.size)
	}
	c.at, c.stop = start, start+m.Compressed
	c.dict = dictionary{}
	err := c.source.budget.change(c.dictHeld, 0)
	c.dictHeld = 0
	return err
}

// end checks that the chunk held no more than the rows of its row group.
func (c *column) end() error {
	if c.values != 0 || c.page.rows != 0 {
		return corrupt("its pages hold more values than the row group has rows")
	}
	return nil
}

// nextPage decodes the next data page that has rows, and the dictionary page on the way.
func (c *column) nextPage() error {
	for c.page.rows == 0 {
		if c.at >= c.stop {
			return corrupt("its pages end %d rows early", c.values)
		}
		h, size, err := c.header()
		if err != nil {
			return err
		}
		body := c.at + size
		if h.Compressed < 0 || h.Uncompressed < 0 || int64(h.Compressed) > c.stop-body {
			return corrupt("the page at byte %d announces %d bytes (%d uncompressed); %d bytes are left",
				c.at, h.Compressed, h.Uncompressed, c.stop-body)
		}
		c.at = body + int64(h.Compressed)
		switch h.Type {
		case format.DataPage:
			err = c.dataPage(&h, body)
		case format.DataPageV2:
			err = c.dataPageV2(&h, body)
		case format.DictionaryPage:
			err = c.dictionaryPage(&h, body)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// header reads the header of the page at c.at, and says how many bytes it takes.
func (c *column) header() (h pageHeader, size int64, err error) {
	for window := int64(512); ; window *= 8 {
		n := min(window, c.stop-c.at)
		b := make([]byte, n)
		if err := c.source.readAt(b, c.at); err != nil {
			return h, 0, err
		}
		h = pageHeader{}
		size, err := decodeThrift(b, &h)
		if err == nil {
			return h, int64(size), nil
		}
		if n < window || window > maxPageHeader {
			return h, 0, corrupt("the page at byte %d has no valid header (%s)", c.at, fault.From(err).Message)
		}
	}
}

// slack is room behind the bytes of a page: parquet-go's decoders read whole words.
const slack = 64

// body reads and checks the bytes of a page.
func (c *column) body(h *pageHeader, at int64) ([]byte, error) {
	s := c.source
	if err := s.budget.change(0, int64(h.Compressed)); err != nil {
		return nil, err
	}
	defer s.budget.change(int64(h.Compressed), 0)
	b := make([]byte, h.Compressed, int(h.Compressed)+slack)
	if err := s.readAt(b, at); err != nil {
		return nil, err
	}
	if h.CRC.Valid && !s.damaged && crc32.ChecksumIEEE(b) != uint32(h.CRC.V) {
		return nil, corrupt("the checksum of the page at byte %d does not match", at)
	}
	return b, nil
}

// dictionaryPage decodes the values that indexes point to.
func (c *column) dictionaryPage(h *pageHeader, at int64) error {
	d := h.Dictionary.V
	n := int(d.NumValues)
	switch {
	case c.dict.read:
		return corrupt("it has two dictionaries")
	case c.physical == format.Boolean:
		return corrupt("booleans have no dictionary")
	case d.Encoding != format.Plain && d.Encoding != plainDictionary:
		return unsupported("its dictionary has the encoding %s", d.Encoding)
	case n < 0 || n > int(h.Uncompressed)/max(c.width, 4):
		// A byte array takes four bytes at least: the count is checked before it counts.
		return corrupt("its dictionary announces %d values in %d bytes", n, h.Uncompressed)
	}
	raw, err := c.body(h, at)
	if err != nil {
		return err
	}
	held := int64(h.Uncompressed) + 4*int64(n)
	if err := c.source.budget.change(0, held); err != nil {
		return err
	}
	c.dictHeld = held
	data, err := c.source.decompress(make([]byte, h.Uncompressed), raw, c.codec)
	if err != nil {
		return err
	}
	v, err := c.plain(data, n)
	c.dict = dictionary{values: v, read: true}
	return err
}

// claim checks how many rows a page announces, and holds memory for them.
func (c *column) claim(n int32, h *pageHeader, at int64) error {
	if n < 0 || int64(n) > c.values {
		return corrupt("the page at byte %d holds %d values; %d are left in the row group", at, n, c.values)
	}
	if err := c.source.budget.change(c.held, 0); err != nil {
		return err
	}
	c.held = 0
	// Beside the bytes: levels, and up to eight bytes per value once it is decoded.
	return c.hold(int64(h.Uncompressed) + 9*int64(n))
}

// hold holds more memory for the open page.
func (c *column) hold(more int64) error {
	if err := c.source.budget.change(c.held, c.held+more); err != nil {
		return err
	}
	c.held += more
	return nil
}

// dataPage decodes a page of rows, in which levels and values are compressed together.
func (c *column) dataPage(h *pageHeader, at int64) error {
	d := h.DataPage.V
	if err := c.claim(d.Values, h, at); err != nil {
		return err
	}
	raw, err := c.body(h, at)
	if err != nil {
		return err
	}
	data, err := c.source.decompress(c.memory(int(h.Uncompressed)), raw, c.codec)
	if err != nil {
		return err
	}
	var levels []byte
	if c.optional {
		if d.Levels != format.RLE {
			return unsupported("its levels have the encoding %s", d.Levels)
		}
		if len(data) < 4 {
			return corrupt("the page at byte %d is too short for its levels", at)
		}
		size := uint64(binary.LittleEndian.Uint32(data))
		if size > uint64(len(data)-4) {
			return corrupt("the page at byte %d announces levels of %d bytes in %d", at, size, len(data)-4)
		}
		levels, data = data[4:4+size], data[4+size:]
	}
	return c.ready(int(d.Values), levels, data, d.Encoding)
}

// dataPageV2 decodes a page of rows of version 2, whose levels are not compressed.
func (c *column) dataPageV2(h *pageHeader, at int64) error {
	d := h.DataPageV2.V
	if err := c.claim(d.Values, h, at); err != nil {
		return err
	}
	raw, err := c.body(h, at)
	if err != nil {
		return err
	}
	split := d.Definition
	if d.Repetition != 0 || split < 0 || split > h.Compressed || split > h.Uncompressed {
		return corrupt("the page at byte %d announces levels of %d and %d bytes in %d", at, d.Repetition, split,
			len(raw))
	}
	codec := c.codec
	if d.IsCompressed.Valid && !d.IsCompressed.V {
		codec = format.Uncompressed
	}
	data, err := c.source.decompress(c.memory(int(h.Uncompressed-split)), raw[split:], codec)
	if err != nil {
		return err
	}
	return c.ready(int(d.Values), raw[:split], data, d.Encoding)
}

// ready makes n rows ready to be read.
func (c *column) ready(n int, levels, data []byte, encoding format.Encoding) (err error) {
	p := &c.page
	present := n
	p.valid, p.at, p.next, p.indexes = nil, 0, 0, nil
	if c.optional {
		if p.valid, present, err = decodeBits(levels, n); err != nil {
			return err
		}
	}
	if c.kind == kindNull {
		if present > 0 {
			return corrupt("it holds values, and its type is the one that has none")
		}
	} else if encoding == format.RLEDictionary || encoding == plainDictionary {
		p.values = c.dict.values
		p.indexes, err = decodeIndexes(data, present, c.dict.n)
	} else {
		p.values, err = c.decode(data, encoding, present)
	}
	if err != nil {
		return err
	}
	p.rows = n
	c.values -= int64(n)
	return nil
}

// memory returns n bytes for the open page.
func (c *column) memory(n int) []byte {
	if cap(c.page.buffer) < n+slack || cap(c.page.buffer) > 4*n+1<<20 {
		c.page.buffer = make([]byte, n+slack)
	}
	return c.page.buffer[:n]
}
