package octets

import (
	"bytes"
	"testing"
)

// TestPacked: numbers with their lengths in front are read as the protocol's page has them, and what is not there is short.
func TestPacked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in    []byte
		want  uint64
		rest  int
		short bool
	}{
		{[]byte{0}, 0, 0, false},
		{[]byte{0xfa, 1}, 0xfa, 1, false},
		{[]byte{0xfc, 1, 2, 3}, 0x0201, 1, false},
		{[]byte{0xfd, 1, 2, 3}, 0x030201, 0, false},
		{[]byte{0xfe, 1, 2, 3, 4, 5, 6, 7, 8}, 0x0807060504030201, 0, false},
		{[]byte{0xfb, 1}, 0, 0, true}, // NULL
		{[]byte{0xff, 1}, 0, 0, true}, // an error
		{[]byte{0xfd, 1, 2}, 0, 0, true},
		{nil, 0, 0, true},
	} {
		r := Reader{Rest: c.in}
		if got := r.Packed(); got != c.want || len(r.Rest) != c.rest || r.Short != c.short {
			t.Errorf("%x: %#x, %d left, short %v", c.in, got, len(r.Rest), r.Short)
		}
	}
}

// TestShort: behind what was not there, there is nothing.
func TestShort(t *testing.T) {
	t.Parallel()
	r := Reader{Rest: []byte{2, 'a', 'b', 3, 'c'}}
	if got := r.Text(); !bytes.Equal(got, []byte("ab")) || r.Short {
		t.Errorf("%q, short %v", got, r.Short)
	}
	if got := r.Text(); got != nil || !r.Short {
		t.Errorf("%q, short %v", got, r.Short)
	}
	if r.Take(0) != nil || r.Byte() != 0 || r.Integer(8) != 0 || r.Text() != nil || !r.Short {
		t.Error("there is something behind it")
	}
	if r := (Reader{Rest: []byte{1}}); r.Take(-1) != nil || !r.Short {
		t.Error("fewer bytes than none were read")
	}
}
