package parquet

import (
	"encoding/binary"
	"slices"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/format"
)

// usage says what becomes of the values of a column in a row group.
type usage uint8

const (
	// useUndecided: they are in the dictionary, and pages wait for the decision.
	useUndecided usage = iota
	// useDictionary: pages hold indexes, until the dictionary is full.
	useDictionary
	// useValues: pages hold the values themselves.
	useValues
)

const (
	// repeats is how many values a distinct one must stand for, in fourths, before a
	// dictionary is considered at all.
	repeats = 5
	// manyRepeats is from where it needs no trial.
	manyRepeats = 64
	// waitingLimit is how many values wait at most for the decision.
	waitingLimit = 2 * maxPageRows
	// sampleValues is how many values show that a column is one of keys.
	sampleValues = 4096
)

// choice is how a column chunk is encoded. It is made anew in every row group: all rows
// are looked up in a dictionary until it is full, so many pages wait that they should
// go out, or the row group ends. Then one page is encoded and compressed both ways.
type choice struct {
	use        usage
	dictionary dictionary
	// waiting are pages of indexes that wait for the decision. Its memory is kept.
	waiting       []page
	waitingPages  int
	waitingValues int
	waitingBytes  int // in PLAIN form
	sampled       bool

	// direct is the encoding of pages that hold values, once it is known.
	direct      format.Encoding
	directKnown bool

	// before says that the row group before had no use for the dictionary.
	before bool
	never  bool // a dictionary is of no use to the type
}

func (c *choice) reset() {
	c.before = c.use == useValues && c.directKnown
	c.dictionary.reset()
	c.sampled, c.directKnown = false, false
	if c.use = useUndecided; c.never {
		c.use = useValues
	}
}

// looksUp reports whether the next values go through the dictionary.
func (c *choice) looksUp() bool { return c.use != useValues }

// wait puts the open page aside.
func (c *column) wait() {
	if c.waitingPages == len(c.waiting) {
		c.waiting = append(c.waiting, page{bounds: bounds{order: c.order, width: c.width, text: c.text}})
	}
	c.waitingValues += len(c.open.indexes)
	c.waitingBytes += c.open.size
	p := &c.waiting[c.waitingPages]
	*p, c.open = c.open, *p
	p.plain, c.open.plain = c.open.plain, p.plain // the page that is open may need the memory
	c.waitingPages++
}

// judge decides about the dictionary after values came in, if it is time.
func (c *column) judge(l *lane) error {
	switch {
	case c.use == useValues:
	case c.use == useDictionary:
		if c.dictionary.full() {
			// A page is of one kind.
			err := c.endPage(l)
			c.use = useValues
			return err
		}
	case c.dictionary.full() || c.waitingValues >= waitingLimit || 2*c.waitingValues >= c.pageBytes ||
		c.waitingPages > 0 && c.waitingValues >= manyRepeats*c.dictionary.count:
		return c.decide(l)
	case !c.sampled && c.waitingValues+len(c.open.indexes) >= sampleValues:
		c.sampled = true
		if c.keys() {
			return c.toValues(l)
		}
	}
	return nil
}

// keys reports whether the values so far look like keys, which no dictionary helps.
func (c *column) keys() bool {
	d, seen := &c.dictionary, c.waitingValues+len(c.open.indexes)
	if c.before {
		return 20*d.count > 19*seen
	}
	if d.count < seen {
		return false
	}
	for i := 1; i < d.count; i++ {
		if c.bounds.compare(d.entry(i-1), d.entry(i)) >= 0 {
			return false
		}
	}
	return true
}

// decide ends the time in which pages wait.
func (c *column) decide(l *lane) error {
	if !c.dictionaryPays(l) {
		return c.toValues(l)
	}
	c.use = useDictionary
	return c.release(l)
}

// dictionaryPays compares the sizes of all values so far, judged by one page.
func (c *column) dictionaryPays(l *lane) bool {
	n, d := c.waitingValues+len(c.open.indexes), c.dictionary.count
	switch {
	case 4*n < repeats*d || n == 0:
		return false
	case n >= manyRepeats*d:
		return true
	}
	p := &c.open
	for i := range c.waitingPages {
		if w := &c.waiting[i]; len(w.indexes) > len(p.indexes) {
			p = w
		}
	}
	l.body = appendIndexes(l.body[:0], p.indexes)
	indexed := len(l.pack(l.body))
	dictionary := len(l.pack(c.dictionary.plain))
	l.plain = c.dictionary.appendPlain(l.plain[:0], p.indexes)
	_, values := c.smallest(l, l.plain)
	// The page stands for all n values.
	return dictionary*len(p.indexes)+indexed*n < values*n
}

// toValues gives up the dictionary for the rest of the row group.
func (c *column) toValues(l *lane) error {
	undecided := c.use == useUndecided
	c.use = useValues
	if err := c.release(l); err != nil {
		return err
	}
	if p := &c.open; len(p.indexes) > 0 {
		p.plain = c.dictionary.appendPlain(p.plain, p.indexes)
		c.boundIndexed(l, p)
		p.indexes, p.size = p.indexes[:0], 0
	}
	if undecided {
		c.dictionary.drop()
	}
	return nil
}

// release writes the pages that wait.
func (c *column) release(l *lane) error {
	for i := range c.waitingPages {
		p := &c.waiting[i]
		if c.use == useValues {
			p.plain = c.dictionary.appendPlain(l.plain[:0], p.indexes)
			c.boundIndexed(l, p)
			p.indexes, p.size = p.indexes[:0], 0
		}
		err := c.writeData(l, p)
		if c.use == useValues {
			l.plain, p.plain = p.plain, nil
		}
		if err != nil {
			return err
		}
		p.reset()
	}
	l.trim()
	c.waitingPages, c.waitingValues, c.waitingBytes = 0, 0, 0
	return nil
}

// encoding returns the encoding of pages that hold values, which the first one decides for
// the row group.
func (c *column) encoding(l *lane, p *page) format.Encoding {
	if len(p.plain) > 4*maxPageBytes {
		return format.Plain // a copy of huge values would gain nothing
	}
	if !c.directKnown {
		c.direct, _ = c.smallest(l, p.plain)
		c.directKnown = true
	}
	return c.direct
}

// smallest returns the encoding that makes the least of PLAIN values, and what it makes.
func (c *column) smallest(l *lane, plain []byte) (format.Encoding, int) {
	best, size := format.Plain, len(l.pack(plain))
	if other := c.alternative(); other != format.Plain {
		// PLAIN is the quickest to read, so a trifle does not count.
		if n := len(l.pack(c.encode(l, other, plain))); n < size-size/32 {
			best, size = other, n
		}
	}
	return best, size
}

// alternative returns the encoding that competes with PLAIN.
func (c *column) alternative() format.Encoding {
	switch c.physical {
	case format.Int32, format.Int64:
		return format.DeltaBinaryPacked
	case format.ByteArray:
		return format.DeltaLengthByteArray
	}
	return format.Plain
}

// encode encodes PLAIN values. What it returns is valid until the next call.
func (c *column) encode(l *lane, as format.Encoding, plain []byte) []byte {
	// The encoders of parquet-go fail for other types only.
	switch {
	case as == format.DeltaBinaryPacked && c.width == 4:
		l.delta, _ = (&delta.BinaryPackedEncoding{}).EncodeInt32(l.delta[:0], arrow.GetData[int32](plain))
	case as == format.DeltaBinaryPacked:
		l.delta, _ = (&delta.BinaryPackedEncoding{}).EncodeInt64(l.delta[:0], arrow.GetData[int64](plain))
	case as == format.DeltaLengthByteArray:
		l.i32 = l.i32[:0]
		for b := plain; len(b) > 0; {
			n := binary.LittleEndian.Uint32(b)
			l.i32 = append(l.i32, int32(n))
			b = b[4+n:]
		}
		l.delta, _ = (&delta.BinaryPackedEncoding{}).EncodeInt32(l.delta[:0], l.i32)
		l.delta = slices.Grow(l.delta, len(plain))
		for _, n := range l.i32 {
			l.delta = append(l.delta, plain[4:4+n]...)
			plain = plain[4+n:]
		}
	default:
		return plain
	}
	return l.delta
}
