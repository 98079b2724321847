package envelope

import (
	"crypto/rand"
	"slices"
	"strconv"
	"sync"
)

// Sealer seals the units of one customer's stream with the active key of a ring. It may
// be used by several goroutines at once.
type Sealer struct {
	key     key
	context string
	scratch sync.Pool
}

// scratch is what sealing one unit needs; cipher.AEAD makes what it is given escape.
type scratch struct {
	iv      [ivSize]byte
	context []byte
	sealed  []byte
}

// maxScratch is the largest buffer that is kept for the next unit.
const maxScratch = 4 << 20

// Sealer returns a sealer for that customer.
func (r *Ring) Sealer(customer string) (*Sealer, error) {
	if err := CheckCustomer(customer); err != nil {
		return nil, err
	}
	return &Sealer{key: r.keys[r.active], context: context(customer)}, nil
}

// KeyID returns the id of the key in use.
func (s *Sealer) KeyID() string { return s.key.id }

// Seal appends to dst the line, with its line end, of the unit of that index. The index
// counts from 0. The IV is drawn from the system's random source.
func (s *Sealer) Seal(dst, unit []byte, index int64) []byte {
	b, ok := s.scratch.Get().(*scratch)
	if !ok {
		b = &scratch{}
	}
	// It never fails: a program without randomness is ended.
	_, _ = rand.Read(b.iv[:])
	b.context = strconv.AppendInt(append(b.context[:0], s.context...), index, 10)
	dst = s.key.seal(dst, unit, b)
	if cap(b.sealed) > maxScratch {
		b.sealed = nil
	}
	s.scratch.Put(b)
	return dst
}

// seal appends the line of a unit, sealed with the IV and the additional data in b.
func (k *key) seal(dst, unit []byte, b *scratch) []byte {
	b.sealed = k.aead.Seal(b.sealed[:0], b.iv[:], unit, b.context)
	dst = slices.Grow(dst, LineSize(len(unit)))
	dst = append(dst, lineStart...)
	dst = append(dst, k.id...)
	dst = append(dst, ':')
	dst = appendBase64(dst, b.iv[:])
	dst = append(dst, ':')
	dst = appendBase64(dst, b.sealed)
	dst = append(dst, lineEnd...)
	return append(dst, '\n')
}
