package decrypt

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

func crc(b []byte) uint32 { return crc32.ChecksumIEEE(b) }

// TestZipForms reads archives in the forms that writers give them: descriptors with and
// without a signature, sizes of four and of eight bytes, with Zip64 ends, a comment.
func TestZipForms(t *testing.T) {
	t.Parallel()
	content := slices.Concat(seal(t, 1, customer, rows(3)...)...)
	plain := pack(t, "zip", content)
	// The standard library's descriptor: a signature and sizes of four bytes.
	directory := bytes.Index(plain, []byte("PK\x01\x02"))
	end := bytes.Index(plain, []byte("PK\x05\x06"))
	descriptor := plain[directory-16 : directory]
	if !bytes.HasPrefix(descriptor, []byte("PK\x07\x08")) {
		t.Fatal("there is no descriptor where one is expected")
	}
	packed, size := binary.LittleEndian.Uint32(descriptor[8:]), binary.LittleEndian.Uint32(descriptor[12:])
	le := binary.LittleEndian
	long := le.AppendUint64(le.AppendUint64(slices.Clone(descriptor[:8]), uint64(packed)), uint64(size))
	// build makes an archive with another descriptor, its end moved accordingly.
	build := func(descriptor []byte, zip64 bool, comment string) []byte {
		b := append(slices.Clone(plain[:directory-16]), descriptor...)
		at := len(b)
		b = append(b, plain[directory:end]...)
		length := len(b) - at
		short := uint32(at)
		if zip64 {
			locator := len(b)
			b = append(b, "PK\x06\x06"...)
			b = le.AppendUint64(b, 44)
			b = append(b, 45, 3, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0)
			for _, v := range []int{1, 1, length, at} {
				b = le.AppendUint64(b, uint64(v))
			}
			b = append(b, "PK\x06\x07\x00\x00\x00\x00"...)
			b = le.AppendUint64(b, uint64(locator))
			b = append(b, 1, 0, 0, 0)
			short = elsewhere
		}
		b = append(b, "PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00"...)
		b = le.AppendUint32(b, uint32(length))
		b = le.AppendUint32(b, short)
		b = le.AppendUint16(b, uint16(len(comment)))
		return append(b, comment...)
	}
	for _, c := range []struct {
		name    string
		archive []byte
	}{
		{"as it was", build(descriptor, false, "")},
		{"no signature", build(descriptor[4:], false, "")},
		{"long sizes", build(long, false, "")},
		{"long sizes, no signature", build(long[4:], false, "")},
		{"Zip64 end", build(descriptor, true, "")},
		{"comment", build(descriptor, false, "a comment")},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, result, err := decrypt(t, c.archive, Options{})
			if err != nil || got != string(slices.Concat(rows(3)...)) || result.Container != "zip" {
				t.Fatalf("%+v, %v", result, err)
			}
			for n := range c.archive {
				if _, _, err := decrypt(t, c.archive[:n], Options{}); err == nil {
					t.Fatalf("cut to %d of %d bytes, it is accepted", n, len(c.archive))
				}
			}
		})
	}
	for _, c := range []struct {
		name string
		at   int // byte to change
		want string
	}{
		{"checksum of the descriptor", directory - 12, "than what follows it says"},
		{"size in the directory", directory + 24, "the directory of the zip archive says something else"},
		{"name in the directory", directory + 46, "says something else"},
		{"place in the directory", directory + 42, "says something else"},
		{"signature of the directory", directory + 1, "than what follows it says"},
		{"number of entries", end + 10, "does not fit its directory"},
		{"place of the directory", end + 16, "does not fit its directory"},
		{"signature of the end", end + 3, "does not fit its directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := slices.Clone(plain)
			bad[c.at]++
			_, _, err := decrypt(t, bad, Options{})
			if !fault.Is(err, codeContainer) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
