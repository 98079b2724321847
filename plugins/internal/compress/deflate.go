package compress

import (
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

const (
	// smallPiece is the size below which a piece waits for its neighbours: deflated on
	// its own, it would find too little to refer back to.
	smallPiece = 32 << 10
	// gatherLimit is how much waits before it is deflated.
	gatherLimit = 128 << 10
)

// Deflate is the deflated form of one stream (RFC 1951), made on all cores: pieces
// are deflated independently, each ended by a sync flush, small ones wait for their
// neighbours, and the checksums are combined. Compress may be called from several
// goroutines at once; Merge, Whole and Finish come one after another.
type Deflate struct {
	level     int
	deflaters sync.Pool

	gathered []byte
	deflated bool
	sum      uint32
	size     int64
	scratch  []byte
}

// NewDeflate returns an empty stream of what is in. Level is 1 to 9; for sealed
// input Huffman coding alone is used, because only base64 is left to gain from.
func NewDeflate(level int, in sdk.Media) *Deflate {
	if in.Sealed {
		level = flate.HuffmanOnly
	}
	return &Deflate{level: level}
}

// Sum returns the CRC-32 of what was merged.
func (d *Deflate) Sum() uint32 { return d.sum }

// Size returns the number of bytes that were merged, before compression.
func (d *Deflate) Size() int64 { return d.size }

// note is what Compress tells Merge about a piece.
type note struct {
	sum  uint32
	size int64
	// small is true when the output holds the piece as it came.
	small bool
}

// deflater is a flate writer whose destination can be let go of.
type deflater struct {
	out *sdk.Output
	w   *flate.Writer
}

func (f *deflater) Write(p []byte) (int, error) { return f.out.Write(p) }

// Compress appends to out what Merge needs of a piece.
func (d *Deflate) Compress(piece []byte, out *sdk.Output) error {
	n := note{sum: crc32.ChecksumIEEE(piece), size: int64(len(piece)), small: len(piece) < smallPiece}
	out.Note = n
	if n.small {
		out.Data = append(out.Data, piece...)
		return nil
	}
	return d.deflate(piece, out)
}

// deflate appends blocks that stand for piece and end on a byte.
func (d *Deflate) deflate(piece []byte, out *sdk.Output) error {
	if d.level == flate.HuffmanOnly {
		var ok bool
		if out.Data, ok = appendSealed(out.Data, piece); ok {
			return nil
		}
	}
	f, ok := d.deflaters.Get().(*deflater)
	if !ok {
		f = &deflater{}
		w, err := flate.NewWriter(f, d.level)
		if err != nil {
			return fmt.Errorf("deflate: level %d: %w", d.level, err)
		}
		f.w = w
	}
	f.out = out
	defer func() {
		f.out = nil
		d.deflaters.Put(f)
	}()
	f.w.Reset(f)
	if _, err := f.w.Write(piece); err != nil {
		return fmt.Errorf("deflate: %d bytes: %w", len(piece), err)
	}
	if err := f.w.Flush(); err != nil {
		return fmt.Errorf("deflate: %d bytes: %w", len(piece), err)
	}
	return nil
}

// Merge takes what Compress made, in stream order, and leaves in out the blocks
// that come next: none while everything so far is small.
func (d *Deflate) Merge(out *sdk.Output) error {
	n, ok := out.Note.(note)
	if !ok {
		return fault.New("deflate.note", fault.Internal, "a piece came to Merge without the note of Compress")
	}
	d.sum = combine(d.sum, n.sum, n.size)
	d.size += n.size
	if n.small {
		d.gathered = append(d.gathered, out.Data...)
		out.Data = out.Data[:0]
		if len(d.gathered) < gatherLimit {
			return nil
		}
		return d.release(out)
	}
	if len(d.gathered) == 0 {
		d.deflated = true
		return nil
	}
	// What was gathered comes before this piece.
	d.scratch = append(d.scratch[:0], out.Data...)
	out.Data = out.Data[:0]
	if err := d.release(out); err != nil {
		return err
	}
	out.Data = append(out.Data, d.scratch...)
	return nil
}

// release deflates what was gathered.
func (d *Deflate) release(out *sdk.Output) error {
	d.deflated = true
	err := d.deflate(d.gathered, out)
	d.gathered = d.gathered[:0]
	return err
}

// Whole returns the text of the whole stream when it is so small that it is to be
// stored; Finish is not called then. It comes after the last Merge.
func (d *Deflate) Whole() (text []byte, stored bool) {
	if d.deflated || d.size > StoredLimit {
		return nil, false
	}
	return d.gathered, true
}

// Finish appends the last blocks of the stream.
func (d *Deflate) Finish(out *sdk.Output) error {
	if len(d.gathered) > 0 {
		if err := d.release(out); err != nil {
			return err
		}
	}
	// An empty block with fixed codes, marked as the last (section 3.2.3).
	out.Data = append(out.Data, 3, 0)
	return nil
}
