package gzip

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cipherstream/cipherstream/plugins/internal/compress"
	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/plugins/ndjson"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func newCompressor(t testing.TB, settings string, media sdk.Media) *compressor {
	t.Helper()
	c, _ := sample.NewCompressor(t, Stage(), settings, media)
	return c.(*compressor)
}

// expand reads the first member alone and asserts that nothing follows it.
func expand(t testing.TB, packed []byte) []byte {
	t.Helper()
	in := bytes.NewReader(packed)
	r, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	r.Multistream(false)
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if in.Len() != 0 {
		t.Fatalf("%d bytes follow the first member", in.Len())
	}
	return text
}

// rows returns NDJSON of about so many bytes.
func rows(t testing.TB, size int) []byte {
	t.Helper()
	record := sample.Appointments(size/500+1, 11)
	defer record.Release()
	out, err := sample.Encode(sample.NewEncoder(t, ndjson.Stage(), `{}`, sdk.Env{}), sdk.Rows{Record: record})
	if err != nil {
		t.Fatal(err)
	}
	return out.Data[:min(size, len(out.Data))]
}

func TestRoundTrip(t *testing.T) {
	text := rows(t, 1<<20)
	for _, c := range []struct {
		name   string
		pieces [][]byte
	}{
		{"nothing", nil},
		{"empty pieces", [][]byte{{}, {}}},
		{"one byte", [][]byte{{'x'}}},
		{"the last stored", sample.Cut(text[:compress.StoredLimit], 100)},
		{"the first deflated", sample.Cut(text[:compress.StoredLimit+1], 100)},
		{"one piece", [][]byte{text}},
		{"large pieces", sample.Cut(text, 300_000)},
		{"small pieces", sample.Cut(text, 700)},
		{"header, then large", sample.Cut(text, 300, 300_000)},
		{"mixed", sample.Cut(text, 10, 32<<10, 32<<10-1, 200_000, 0, 1)},
	} {
		for _, settings := range []string{`{}`, `{"level": 1}`, `{"level": 6}`} {
			t.Run(c.name+settings, func(t *testing.T) {
				want := bytes.Join(c.pieces, nil)
				packed := sample.Compress(t, newCompressor(t, settings, sdk.Media{}), c.pieces...)
				if got := expand(t, packed); !bytes.Equal(got, want) {
					t.Errorf("%d bytes became %d", len(want), len(got))
				}
				if stored := packed[10]&7 == 1; stored != (len(want) <= compress.StoredLimit) {
					t.Errorf("%d bytes: stored is %t", len(want), stored)
				}
			})
		}
	}
}

func TestPythonAndGzip(t *testing.T) {
	command, err := exec.LookPath("gzip")
	if err != nil {
		t.Fatalf("gzip is needed to test the output independently: %v", err)
	}
	text := rows(t, 2<<20)
	for _, pieces := range [][][]byte{nil, sample.Cut(text[:5000], 999), sample.Cut(text, 300, 1<<20, 700)} {
		packed := sample.Compress(t, newCompressor(t, `{}`, sdk.Media{}), pieces...)
		path := filepath.Join(t.TempDir(), "x.gz")
		if err := os.WriteFile(path, packed, 0o600); err != nil {
			t.Fatal(err)
		}
		if message, err := exec.CommandContext(t.Context(), command, "-t", path).CombinedOutput(); err != nil {
			t.Errorf("gzip -t: %v: %s", err, message)
		}
		// zlib's object stops after one member, unlike module gzip.
		got := sample.Oracle(t, `
import sys, zlib, gzip, hashlib
packed = sys.stdin.buffer.read()
d = zlib.decompressobj(31)
text = d.decompress(packed) + d.flush()
assert d.eof and not d.unused_data
assert gzip.decompress(packed) == text
print(len(text), hex(zlib.crc32(text)))
`, packed)
		plain := bytes.Join(pieces, nil)
		if want := fmt.Sprintf("%d %#x\n", len(plain), crc32.ChecksumIEEE(plain)); string(got) != want {
			t.Errorf("Python read %s, want %s", got, want)
		}
	}
}

func TestRatio(t *testing.T) {
	text := rows(t, 2<<20)
	ratio := func(pieces [][]byte, settings string) float64 {
		return float64(len(text)) / float64(len(sample.Compress(t, newCompressor(t, settings, sdk.Media{}), pieces...)))
	}
	whole := ratio([][]byte{text}, `{}`)
	for _, size := range []int{200, 8192, 1 << 20} {
		if r := ratio(sample.Cut(text, size), `{}`); r < 0.93*whole {
			t.Errorf("pieces of %d bytes: ratio %.2f, in one piece %.2f", size, r, whole)
		}
	}
	if small := ratio(sample.Cut(text, 1<<20), `{"level": 6}`); small <= whole {
		t.Errorf("level 6 has ratio %.2f, the default %.2f", small, whole)
	}
}

func TestSealedIsHuffmanOnly(t *testing.T) {
	// Text that repeats has no gain from Huffman codes alone: a wrong choice shows.
	text := bytes.Repeat([]byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef0123456789+/"), 3000)
	packed := sample.Compress(t, newCompressor(t, `{"level": 6}`, sdk.Media{Sealed: true}), text)
	if !bytes.Equal(expand(t, packed), text) {
		t.Error("the text changed")
	}
	if len(packed) < len(text)/2 {
		t.Errorf("%d of %d bytes: matches were looked for", len(packed), len(text))
	}
}

func TestMedia(t *testing.T) {
	c := newCompressor(t, `{}`, sdk.Media{})
	media, err := c.Bind(sdk.Media{Type: "text/csv", Extension: ".csv"})
	if err != nil || media != (sdk.Media{Type: "text/csv", Extension: ".csv.gz", ContentEncoding: "gzip"}) {
		t.Errorf("%+v (%v)", media, err)
	}
	if _, err := c.Bind(media); !fault.Is(err, "gzip.compressed_input") {
		t.Errorf("compressing twice: %v", err)
	}
}

func TestAllocations(t *testing.T) {
	c := newCompressor(t, `{}`, sdk.Media{})
	text := rows(t, 1<<20)
	var out sdk.Output
	compressOnce := func() {
		out.Reset()
		if err := c.Compress(context.Background(), text, &out); err != nil {
			t.Error(err)
		}
	}
	compressOnce()
	// The note. The collector, and the race detector on purpose, may take the writer
	// from the pool, which then costs a dozen; a piece has over a thousand rows.
	if allocations := testing.AllocsPerRun(20, compressOnce); allocations > 20 {
		t.Errorf("%.0f allocations for a piece", allocations)
	}
}

func FuzzPieces(f *testing.F) {
	f.Add([]byte("hello"), uint64(1), uint16(3), uint8(1))
	f.Add(bytes.Repeat([]byte("abc"), 9000), uint64(2), uint16(60000), uint8(8))
	f.Fuzz(func(t *testing.T, seedText []byte, seed uint64, largest uint16, level uint8) {
		r := rand.New(rand.NewPCG(seed, 0))
		text := bytes.Repeat(seedText, 1+r.IntN(1+100_000/(len(seedText)+1)))
		var sizes []int
		for range 7 {
			sizes = append(sizes, r.IntN(int(largest)+1)+1)
		}
		c := newCompressor(t, fmt.Sprintf(`{"level": %d}`, 1+level%9), sdk.Media{Sealed: level&128 != 0})
		if got := expand(t, sample.Compress(t, c, sample.Cut(text, sizes...)...)); !bytes.Equal(got, text) {
			t.Errorf("%d bytes became %d", len(text), len(got))
		}
	})
}

func BenchmarkCompress(b *testing.B) {
	const size = 1 << 20
	text := rows(b, size)
	for _, level := range []int{1, 2, 3, 5, 6} {
		b.Run(fmt.Sprintf("level=%d", level), func(b *testing.B) {
			benchmark(b, newCompressor(b, fmt.Sprintf(`{"level": %d}`, level), sdk.Media{}), text)
		})
	}
	b.Run("sealed", func(b *testing.B) { benchmark(b, newCompressor(b, `{}`, sdk.Media{Sealed: true}), text) })
}

func benchmark(b *testing.B, c *compressor, text []byte) {
	var out sdk.Output
	meter := sample.NewMeter(b)
	for b.Loop() {
		out.Reset()
		if err := c.Compress(context.Background(), text, &out); err != nil {
			b.Fatal(err)
		}
		if err := c.Merge(&out); err != nil {
			b.Fatal(err)
		}
		meter.Rows += int64(bytes.Count(text, []byte("\n")))
		meter.Size += int64(len(text))
	}
	meter.Report()
	b.ReportMetric(float64(len(text))/float64(len(out.Data)), "ratio")
}
