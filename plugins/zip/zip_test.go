package zip

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/plugins/internal/compress"
	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/plugins/ndjson"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

var lines = sdk.Media{Type: "application/x-ndjson", Extension: ".ndjson"}

func pack(t testing.TB, settings string, in sdk.Media, pieces ...[]byte) []byte {
	t.Helper()
	c, _ := sample.NewCompressor(t, Stage(), settings, in)
	return sample.Compress(t, c, pieces...)
}

// only returns the one entry of an archive and its text.
func only(t testing.TB, packed []byte) (*zip.File, []byte) {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.File) != 1 {
		t.Fatalf("%d entries", len(r.File))
	}
	f, err := r.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return r.File[0], text
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

func unzip(t testing.TB, args ...string) string {
	t.Helper()
	command, err := exec.LookPath("unzip")
	if err != nil {
		t.Fatalf("unzip is needed to test the output independently: %v", err)
	}
	out, err := exec.CommandContext(t.Context(), command, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("unzip %v: %v: %s", args, err, out)
	}
	return string(out)
}

// inPython reads the archive with Python's zipfile, and once more as a stream, from
// the local header and the data descriptor alone.
const inPython = `
import io, struct, sys, zipfile, zlib
packed = sys.stdin.buffer.read()
z = zipfile.ZipFile(io.BytesIO(packed))
assert z.testzip() is None
[e] = z.infolist()
text = z.read(e)
sig, need, flags, method, t, d, crc, csize, size, n, x = struct.unpack("<IHHHHHIIIHH", packed[:30])
assert packed[30:30+n].decode() == e.filename
data = packed[30+n+x:]
if method == 8:
    assert flags & 8 and (crc, csize, size) == (0, 0, 0)
    inflate = zlib.decompressobj(-15)
    streamed = inflate.decompress(data) + inflate.flush()
    assert inflate.eof
    sig, crc, csize, size = struct.unpack("<IIII", inflate.unused_data[:16])
    assert sig == 0x08074b50 and csize == len(data) - len(inflate.unused_data)
else:
    assert method == 0 and not flags & 8 and csize == size
    streamed = data[:size]
assert streamed == text and crc == zlib.crc32(text) and size == len(text)
print(e.filename, *e.date_time, oct(e.external_attr >> 16), len(text), hex(zlib.crc32(text)))
`

func TestRoundTrip(t *testing.T) {
	t.Parallel()
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
		{"small pieces", sample.Cut(text, 700)},
		{"header, then large", sample.Cut(text, 300, 300_000)},
		{"mixed", sample.Cut(text, 10, 32<<10, 32<<10-1, 200_000, 0, 1)},
	} {
		for _, level := range []int{1, 3, 6} {
			t.Run(fmt.Sprintf("%s, level %d", c.name, level), func(t *testing.T) {
				t.Parallel()
				want := bytes.Join(c.pieces, nil)
				packed := pack(t, fmt.Sprintf(`{"level": %d, "name": "run-1"}`, level), lines, c.pieces...)
				f, got := only(t, packed)
				if !bytes.Equal(got, want) {
					t.Errorf("%d bytes became %d", len(want), len(got))
				}
				if stored := f.Method == zip.Store; stored != (len(want) <= compress.StoredLimit) {
					t.Errorf("%d bytes: stored is %t", len(want), stored)
				}
				if f.Name != "run-1.ndjson" || f.Mode() != 0o600 {
					t.Errorf("the entry is %s with mode %v", f.Name, f.Mode())
				}
			})
		}
	}
}

func TestPythonAndUnzip(t *testing.T) {
	t.Parallel()
	text := rows(t, 2<<20)
	for _, pieces := range [][][]byte{nil, sample.Cut(text[:5000], 999), sample.Cut(text, 300, 1<<20, 700)} {
		packed := pack(t, `{"name": "Auszüge 2024", "modified": "2024-02-29T12:34:57+01:00"}`, lines, pieces...)
		plain := bytes.Join(pieces, nil)
		want := fmt.Sprintf("Auszüge 2024.ndjson 2024 2 29 11 34 56 0o100600 %d %#x\n", len(plain), crc32.ChecksumIEEE(plain))
		if got := sample.Oracle(t, inPython, packed); string(got) != want {
			t.Errorf("Python read %s, want %s", got, want)
		}
		path := filepath.Join(t.TempDir(), "x.zip")
		if err := os.WriteFile(path, packed, 0o600); err != nil {
			t.Fatal(err)
		}
		unzip(t, "-tqq", path)
		if got := unzip(t, "-p", path); got != string(plain) {
			t.Errorf("unzip read %d bytes, want %d", len(got), len(plain))
		}
	}
}

// Sizes from 4 GiB on: the text's alone here, and below the archive's too.
func TestLongText(t *testing.T) {
	t.Parallel()
	c, _ := sample.NewCompressor(t, Stage(), `{"level": 1}`, lines)
	made := c.(*compressor)
	// One piece is deflated, and merged over and over.
	piece := make([]byte, 64<<20)
	var once sdk.Output
	if err := c.Compress(context.Background(), piece, &once); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	const times = 65
	for range times {
		out := sdk.Output{Data: bytes.Clone(once.Data), Note: once.Note}
		if err := made.Merge(&out); err != nil {
			t.Fatal(err)
		}
		packed.Write(out.Data)
	}
	var end sdk.Output
	if err := c.End(&end); err != nil {
		t.Fatal(err)
	}
	packed.Write(end.Data)
	path := filepath.Join(t.TempDir(), "x.zip")
	if err := os.WriteFile(path, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	unzip(t, "-tqq", path)
	got := sample.Oracle(t, `
import io, sys, zipfile
[e] = zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read())).infolist()
print(e.file_size, e.extract_version, e.extra[:4].hex(), len(e.extra))
`, packed.Bytes())
	// The Zip64 field has the two sizes alone (APPNOTE.TXT, 4.5.3): the usual field has the offset.
	if want := fmt.Sprintln(times*len(piece), versionZip64, "01001000", 20); string(got) != want {
		t.Errorf("Python sees %s, want %s", got, want)
	}
}

// An archive of more than 4 GiB whose data is a hole in a sparse file. Only the
// directory is read, which is all that is different.
func TestLongArchive(t *testing.T) {
	t.Parallel()
	const size = 4<<30 + 12345
	e := entry{name: "x.bin", modified: earliest, method: methodStore, streamed: true, size: size, packed: size}
	path := filepath.Join(t.TempDir(), "x.zip")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	head := e.appendLocal(nil)
	for at, part := range map[int64][]byte{0: head, int64(len(head)) + size: e.appendEnd(nil)} {
		if _, err := f.WriteAt(part, at); err != nil {
			t.Fatal(err)
		}
	}
	if got := unzip(t, "-l", path); !strings.Contains(got, fmt.Sprint(size)) {
		t.Errorf("unzip sees %s", got)
	}
	r, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if at, err := r.File[0].DataOffset(); err != nil || at != int64(len(head)) || r.File[0].UncompressedSize64 != size {
		t.Errorf("%d bytes at %d (%v)", r.File[0].UncompressedSize64, at, err)
	}
	got := sample.Oracle(t, `
import sys, zipfile
[e] = zipfile.ZipFile(sys.stdin.read()).infolist()
print(e.file_size, e.compress_size, e.header_offset)
`, []byte(path))
	if want := fmt.Sprintln(size, size, 0); string(got) != want {
		t.Errorf("Python sees %s, want %s", got, want)
	}
}

func TestSealedIsHuffmanOnly(t *testing.T) {
	t.Parallel()
	text := bytes.Repeat([]byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef0123456789+/"), 3000)
	packed := pack(t, `{"level": 6}`, sdk.Media{Sealed: true}, text)
	if _, got := only(t, packed); !bytes.Equal(got, text) {
		t.Error("the text changed")
	}
	if len(packed) < len(text)/2 {
		t.Errorf("%d of %d bytes: matches were looked for", len(packed), len(text))
	}
}

func TestMedia(t *testing.T) {
	t.Parallel()
	c, media := sample.NewCompressor(t, Stage(), `{}`, sdk.Media{Type: "text/csv", Extension: ".csv", Sealed: true})
	if media != (sdk.Media{Type: "application/zip", Extension: ".zip", Sealed: true}) {
		t.Errorf("%+v", media)
	}
	// Whatever was sealed, the entry holds sealed lines.
	for extension, want := range map[string]string{".ndjson": "data.ndjson", ".csv.gz.sealed.ndjson": "data.ndjson"} {
		c, _ := sample.NewCompressor(t, Stage(), `{}`, sdk.Media{Type: "application/x-ndjson", Extension: extension, Sealed: true})
		if entry, _ := only(t, sample.Compress(t, c, []byte("x"))); entry.Name != want {
			t.Errorf("%s becomes the entry %s, want %s", extension, entry.Name, want)
		}
	}
	for _, in := range []sdk.Media{media, {ContentEncoding: "gzip"}} {
		if _, err := c.Bind(in); !fault.Is(err, "zip.compressed_input") {
			t.Errorf("compressing %+v: %v", in, err)
		}
	}
	if _, err := c.Bind(sdk.Media{Extension: "/../x"}); !fault.Is(err, "zip.name") {
		t.Errorf("an ending that leads elsewhere: %v", err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ settings, code string }{
		{`{"name": "a/b"}`, "zip.name"},
		{`{"name": "..\\b"}`, "zip.name"},
		{`{"name": ".."}`, "zip.name"},
		{`{"name": "a "}`, "zip.name"},
		{`{"name": "a\u0000"}`, "zip.name"},
		{`{"modified": "yesterday"}`, "zip.modified"},
		{`{"modified": "1979-12-31T23:59:59Z"}`, "zip.modified"},
		{`{"modified": "2107-12-31T23:59:59-01:00"}`, "zip.modified"},
		{`{"name": "debtors_1700000000000_0badc0de", "modified": "2107-12-31T23:59:59Z"}`, ""},
	} {
		_, err := Stage().Make([]byte(c.settings), sdk.Env{})
		if c.code == "" && err != nil || c.code != "" && !fault.Is(err, c.code) {
			t.Errorf("%s: %v, want %q", c.settings, err, c.code)
		}
	}
}

func TestTimeDefault(t *testing.T) {
	t.Parallel()
	f, _ := only(t, pack(t, `{}`, lines, []byte("x")))
	if got := f.Modified.UTC(); !got.Equal(time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)) || f.Name != "data.ndjson" {
		t.Errorf("%s of %v", f.Name, got)
	}
}

func FuzzPieces(f *testing.F) {
	f.Add([]byte("hello"), uint64(1), uint16(3), "data")
	f.Add(bytes.Repeat([]byte("abc"), 9000), uint64(2), uint16(60000), "ü")
	f.Fuzz(func(t *testing.T, seed []byte, random uint64, largest uint16, name string) {
		if checkName(name) != nil || len(name) > 200 {
			return
		}
		r := rand.New(rand.NewPCG(random, 0))
		text := bytes.Repeat(seed, 1+r.IntN(1+100_000/(len(seed)+1)))
		var sizes []int
		for range 7 {
			sizes = append(sizes, r.IntN(int(largest)+1)+1)
		}
		c := &compressor{level: 1 + r.IntN(6), name: name, modified: earliest}
		sealed := r.IntN(2) == 0
		if _, err := c.Bind(sdk.Media{Sealed: sealed}); err != nil {
			t.Fatal(err)
		}
		if sealed {
			name += ".ndjson"
		}
		entry, got := only(t, sample.Compress(t, c, sample.Cut(text, sizes...)...))
		if !bytes.Equal(got, text) || strings.ToValidUTF8(entry.Name, "") != name {
			t.Errorf("%d bytes became %d in %q", len(text), len(got), entry.Name)
		}
	})
}

func BenchmarkCompress(b *testing.B) {
	text := rows(b, 1<<20)
	for _, level := range []int{1, 3, 6} {
		b.Run(fmt.Sprintf("level=%d", level), func(b *testing.B) { benchmark(b, fmt.Sprintf(`{"level": %d}`, level), lines, text) })
	}
	b.Run("sealed", func(b *testing.B) { benchmark(b, `{}`, sdk.Media{Sealed: true}, text) })
}

func benchmark(b *testing.B, settings string, in sdk.Media, text []byte) {
	c, _ := sample.NewCompressor(b, Stage(), settings, in)
	made := c.(*compressor)
	var out sdk.Output
	meter := sample.NewMeter(b)
	for b.Loop() {
		out.Reset()
		if err := made.Compress(context.Background(), text, &out); err != nil {
			b.Fatal(err)
		}
		if err := made.Merge(&out); err != nil {
			b.Fatal(err)
		}
		meter.Rows += int64(bytes.Count(text, []byte("\n")))
		meter.Size += int64(len(text))
	}
	meter.Report()
	b.ReportMetric(float64(len(text))/float64(len(out.Data)), "ratio")
}
