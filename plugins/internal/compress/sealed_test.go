package compress

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
)

// sealedLines looks like what an encryptor makes.
func sealedLines(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	var text strings.Builder
	for range n {
		unit := make([]byte, r.IntN(700))
		for i := range unit {
			unit[i] = byte(r.Uint32())
		}
		fmt.Fprintf(&text, "{\"encrypted_data\":\"%016x:%s:%s\"}\n", r.Uint64(),
			base64.StdEncoding.EncodeToString(unit[:min(12, len(unit))]), base64.StdEncoding.EncodeToString(unit))
	}
	return []byte(text.String())
}

// inflate reads blocks with the standard library. last ends them.
func inflate(t testing.TB, blocks []byte) []byte {
	t.Helper()
	text, err := io.ReadAll(flate.NewReader(bytes.NewReader(append(bytes.Clone(blocks), 3, 0))))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestLetters: the lengths are a complete prefix code.
func TestLetters(t *testing.T) {
	t.Parallel()
	sum := 0
	for _, n := range letterBits() {
		if n > longestLetter {
			t.Errorf("a code has %d bits", n)
		}
		if n > 0 {
			sum += 1 << (longestLetter - n)
		}
	}
	if sum != 1<<longestLetter {
		t.Errorf("the codes use %d of %d", sum, 1<<longestLetter)
	}
}

func TestSealed(t *testing.T) {
	t.Parallel()
	text := sealedLines(200, 1)
	var blocks []byte
	for _, piece := range sample.Cut(text, 1, 2, 3, 5, 6, 7, 11, 12, 13, 4096, 17) {
		var ok bool
		if blocks, ok = appendSealed(blocks, piece); !ok {
			t.Fatalf("refused %q", piece)
		}
	}
	if got := inflate(t, blocks); !bytes.Equal(got, text) {
		t.Errorf("%d bytes came back as %d", len(text), len(got))
	}
	// Python's zlib and Go's flate are different readers.
	whole, _ := appendSealed(nil, text)
	python := sample.Oracle(t, `
import sys, zlib
sys.stdout.buffer.write(zlib.decompress(sys.stdin.buffer.read() + b"\x03\x00", -15))
`, whole)
	if !bytes.Equal(python, text) {
		t.Error("Python reads something else")
	}
	if ratio := float64(len(text)) / float64(len(whole)); ratio < 1.30 {
		t.Errorf("ratio %.3f", ratio)
	}
}

// TestSealedRefuses: letters that have no code are left to the general coder, and
// nothing of the attempt stays.
func TestSealedRefuses(t *testing.T) {
	t.Parallel()
	text := sealedLines(3, 2)
	for _, at := range []int{0, 1, 5, 6, 7, 100, len(text) - 1} {
		piece := bytes.Clone(text)
		piece[at] = ' '
		got, ok := appendSealed([]byte("before"), piece)
		if ok || string(got) != "before" {
			t.Errorf("a space at %d: %t, %q", at, ok, got)
		}
	}
}

func FuzzSealed(f *testing.F) {
	f.Add(sealedLines(2, 3))
	f.Add([]byte("{{{{{{\"\"\"\"\"\"======++++++\n\n\n\n\n\n::::::"))
	f.Add([]byte("\x00\xff"))
	f.Fuzz(func(t *testing.T, piece []byte) {
		if blocks, ok := appendSealed(nil, piece); ok && !bytes.Equal(inflate(t, blocks), piece) {
			t.Errorf("%q came back as %q", piece, inflate(t, blocks))
		}
	})
}

func BenchmarkSealed(b *testing.B) {
	text := sealedLines(2000, 1)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var out []byte
	for b.Loop() {
		out, _ = appendSealed(out[:0], text)
	}
	b.ReportMetric(float64(len(text))/float64(len(out)), "ratio")
}
