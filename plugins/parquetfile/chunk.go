package parquetfile

import (
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

// page is the open page, decoded so far that every encoding looks like PLAIN or like
// indexes.
type page struct {
	rows    int    // not read yet
	valid   []byte // bitmap of the rows that are not null, or nil if all are
	at      int    // the next row's bit
	data    []byte // PLAIN values from the next one on; for booleans, bits from the first on
	bit     int    // the next boolean
	indexes []uint32
	indexed bool
	buffer  []byte   // memory to be used again,
	store   []uint32 // for indexes too
}

// dictionary is the values of the column chunk's dictionary page.
type dictionary struct {
	data []byte
	ends []int // of byte arrays in data, behind their length prefixes
	n    int
}

// variable reports whether values have different lengths in Arrow.
func (c *column) variable() bool { return c.kind == kindBytes }

func (c *column) where() string {
	return fmt.Sprintf("%s, column %q, row group %d", c.source.settings.Path, shorten(c.name), c.group)
}

// maxChunkHeader bounds the header of a page, whose statistics may hold values.
const maxChunkHeader = 1 << 20

// open starts a column chunk.
func (c *column) open(group int, rows int64, m chunkMeta) error {
	c.group, c.codec, c.values, c.row = group, m.codec, rows, 0
	switch {
	case m.encrypted:
		return unsupported("it is encrypted")
	case m.elsewhere:
		return unsupported("it lies in another file")
	case m.physical != c.physical:
		return corrupt("it is %s here and %s in the schema", m.physical, c.physical)
	case m.values != rows:
		return corrupt("it has %d values; the row group has %d rows", m.values, rows)
	}
	start := m.data
	if m.dictionary > 0 && m.dictionary < start {
		start = m.dictionary
	}
	if start < int64(len(magic)) || m.compressed < 0 || start > c.source.size || m.compressed > c.source.size-start {
		return corrupt("it is said to have %d bytes at byte %d of a file of %d", m.compressed, start, c.source.size)
	}
	c.at, c.stop = start, start+m.compressed
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
		if h.compressed < 0 || h.uncompressed < 0 || h.values < 0 || int64(h.compressed) > c.stop-c.at-size {
			return corrupt("the page at byte %d announces %d bytes (%d uncompressed) and %d values; %d bytes are left",
				c.at, h.compressed, h.uncompressed, h.values, c.stop-c.at-size)
		}
		body := c.at + size
		c.at = body + int64(h.compressed)
		switch h.typ {
		case format.DataPage, format.DataPageV2:
			err = c.dataPage(h, body)
		case format.DictionaryPage:
			err = c.dictionaryPage(h, body)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// header reads the header of the page at c.at, and says how many bytes it takes.
func (c *column) header() (pageHeader, int64, error) {
	for window := int64(512); ; window *= 8 {
		n := min(window, c.stop-c.at)
		b := make([]byte, n)
		if err := c.source.readAt(b, c.at); err != nil {
			return pageHeader{}, 0, err
		}
		h, size, err := parsePageHeader(b)
		if err == nil {
			return h, int64(size), nil
		}
		if n < window || window > maxChunkHeader {
			return h, 0, corrupt("the page at byte %d has no valid header (%s)", c.at, fault.From(err).Message)
		}
	}
}

// body reads and checks the bytes of a page. They are valid until the next call.
func (c *column) body(h pageHeader, at int64) ([]byte, error) {
	s := c.source
	if err := s.budget.change(0, int64(h.compressed)); err != nil {
		return nil, err
	}
	defer s.budget.change(int64(h.compressed), 0)
	b := make([]byte, h.compressed)
	if err := s.readAt(b, at); err != nil {
		return nil, err
	}
	if h.hasCRC && !s.damaged && crc32.ChecksumIEEE(b) != h.crc {
		return nil, corrupt("the checksum of the page at byte %d does not match", at)
	}
	return b, nil
}

// dictionaryPage decodes the values that indexes point to.
func (c *column) dictionaryPage(h pageHeader, at int64) error {
	if c.dict.data != nil || c.dict.n > 0 {
		return corrupt("it has two dictionaries")
	}
	if h.encoding != format.Plain && h.encoding != plainDictionary {
		return unsupported("its dictionary has the encoding %s", h.encoding)
	}
	if c.physical == format.Boolean {
		return corrupt("booleans have no dictionary")
	}
	raw, err := c.body(h, at)
	if err != nil {
		return err
	}
	held := int64(h.uncompressed)
	if c.width == 0 {
		// A byte array takes four bytes at least, so the count is checked before it counts.
		if int64(h.values) > int64(h.uncompressed)/4 {
			return corrupt("its dictionary announces %d values in %d bytes", h.values, h.uncompressed)
		}
		held += 8 * int64(h.values)
	}
	if err := c.source.budget.change(0, held); err != nil {
		return err
	}
	c.dictHeld = held
	data, err := c.source.decompress(make([]byte, h.uncompressed), raw, c.codec)
	if err != nil {
		return err
	}
	c.dict = dictionary{data: data, n: int(h.values)}
	if c.width > 0 {
		if len(data)/c.width < c.dict.n {
			return corrupt("its dictionary announces %d values in %d bytes", h.values, len(data))
		}
		return nil
	}
	c.dict.ends = make([]int, 0, c.dict.n)
	for pos := 0; len(c.dict.ends) < c.dict.n; {
		end, ok := plainEnd(data, pos)
		if !ok {
			return corrupt("its dictionary ends in the middle of a value")
		}
		c.dict.ends = append(c.dict.ends, end)
		pos = end
	}
	return nil
}

// entry returns a byte array of the dictionary.
func (d *dictionary) entry(i uint32) []byte {
	start := 4
	if i > 0 {
		start += d.ends[i-1]
	}
	return d.data[start:d.ends[i]]
}

// dataPage decodes a page of rows.
func (c *column) dataPage(h pageHeader, at int64) error {
	if int64(h.values) > c.values {
		return corrupt("the page at byte %d holds %d values; %d are left in the row group", at, h.values, c.values)
	}
	raw, err := c.body(h, at)
	if err != nil {
		return err
	}
	// Beside the bytes: a bitmap, and up to eight bytes per value once it is decoded.
	held := int64(h.uncompressed) + 9*int64(h.values)
	if err := c.source.budget.change(c.held, held); err != nil {
		return err
	}
	c.held = held
	n := int(h.values)
	var levels, data []byte
	if h.typ == format.DataPageV2 {
		split := int64(h.repBytes) + int64(h.defBytes)
		if h.repBytes != 0 || h.defBytes < 0 || split > int64(len(raw)) || split > int64(h.uncompressed) {
			return corrupt("the page at byte %d announces levels of %d and %d bytes in %d", at, h.repBytes, h.defBytes, len(raw))
		}
		levels, data = raw[:split], raw[split:]
		codec := c.codec
		if !h.isCompressed {
			codec = format.Uncompressed
		}
		if data, err = c.source.decompress(c.memory(int(int64(h.uncompressed)-split)), data, codec); err != nil {
			return err
		}
	} else {
		if data, err = c.source.decompress(c.memory(int(h.uncompressed)), raw, c.codec); err != nil {
			return err
		}
		if c.optional {
			if h.levels != format.RLE {
				return unsupported("its levels have the encoding %s", h.levels)
			}
			if len(data) < 4 {
				return corrupt("the page at byte %d is too short for its levels", at)
			}
			size := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
			if uint64(size) > uint64(len(data)-4) {
				return corrupt("the page at byte %d announces levels of %d bytes in %d", at, size, len(data)-4)
			}
			levels, data = data[4:4+size], data[4+size:]
		}
	}
	p := &c.page
	present := n
	p.valid, p.at, p.bit = nil, 0, 0
	if c.optional {
		if p.valid, present, err = decodeLevels(levels, n); err != nil {
			return err
		}
	}
	if err := c.decode(data, h.encoding, present); err != nil {
		return err
	}
	p.rows = n
	c.values -= int64(n)
	return nil
}

// memory returns n bytes for the open page.
func (c *column) memory(n int) []byte {
	if cap(c.page.buffer) < n || cap(c.page.buffer) > 4*n+1<<20 {
		c.page.buffer = make([]byte, n)
	}
	return c.page.buffer[:n]
}

// decode makes the values of the page ready to be read.
func (c *column) decode(data []byte, encoding format.Encoding, n int) error {
	p := &c.page
	p.indexed, p.data, p.indexes = false, nil, nil
	if c.kind == kindNull {
		if n > 0 {
			return corrupt("it holds values, and its type is the one that has none")
		}
		return nil
	}
	var err error
	switch {
	case encoding == format.Plain:
		p.data = data
	case encoding == format.RLEDictionary || encoding == plainDictionary:
		if n == 0 {
			return nil
		}
		p.indexed = true
		p.indexes, err = decodeIndexes(p.store, data, n, c.dict.n)
		p.store = p.indexes
		return err
	case encoding == format.RLE && c.physical == format.Boolean:
		p.data, err = decodeBooleans(data, n)
	case encoding == format.DeltaBinaryPacked && (c.physical == format.Int32 || c.physical == format.Int64):
		p.data, err = decodeDeltaIntegers(data, n, c.width)
	case encoding == format.DeltaLengthByteArray && c.physical == format.ByteArray:
		p.data, err = decodeDeltaLengths(data, n)
	case encoding == format.DeltaByteArray && (c.physical == format.ByteArray || c.physical == format.FixedLenByteArray):
		p.data, err = c.decodeDeltaStrings(data, n)
	case encoding == format.ByteStreamSplit && c.width > 0:
		p.data, err = decodeSplit(data, n, c.width)
	default:
		return unsupported("%s values have the encoding %s", c.physical, encoding)
	}
	if err != nil {
		return err
	}
	switch {
	case c.physical == format.Boolean && len(p.data) < (n+7)/8, c.width > 0 && len(p.data)/c.width < n:
		return corrupt("a page announces %d values and has %d bytes for them", n, len(p.data))
	}
	return nil
}
