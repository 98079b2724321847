package decrypt

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const customer = "practice-7"

// ring returns a ring of keys that are each made of one byte.
func ring(t testing.TB, keys ...byte) *envelope.Ring {
	t.Helper()
	var text strings.Builder
	for _, k := range keys {
		text.WriteString(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{k}, envelope.KeySize)) + "\n")
	}
	r, err := envelope.ParseRing(text.String(), "")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// seal seals units with a key for a customer, from index 0.
func seal(t testing.TB, key byte, customer string, units ...[]byte) (lines [][]byte) {
	t.Helper()
	s, err := ring(t, key).Sealer(customer)
	if err != nil {
		t.Fatal(err)
	}
	for i, u := range units {
		lines = append(lines, s.Seal(nil, u, int64(i)))
	}
	return lines
}

func rows(n int) (units [][]byte) {
	for i := range n {
		units = append(units, fmt.Appendf(nil, "{\"row\":%d,\"text\":%q}\n", i, strings.Repeat("x", i%50)))
	}
	return units
}

// noise returns bytes that nothing compresses.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b) // it never fails
	return b
}

// pack puts content into a container.
func pack(t testing.TB, container string, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch container {
	case "":
		return content
	case "gzip":
		w = gzip.NewWriter(&out)
	case "zstd":
		w, err = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	case "zip", "zip stored":
		z := zip.NewWriter(&out)
		header := &zip.FileHeader{Name: "data.ndjson", Method: zip.Deflate}
		var entry io.Writer
		if container == "zip stored" {
			header.Method = zip.Store
			header.CompressedSize64, header.UncompressedSize64 = uint64(len(content)), uint64(len(content))
			header.CRC32 = crc(content)
			entry, err = z.CreateRaw(header)
		} else {
			entry, err = z.CreateHeader(header)
		}
		if err == nil {
			_, err = entry.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	default:
		t.Fatalf("no container %q", container)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var containers = []string{"", "gzip", "zip", "zip stored", "zstd"}

// receipt makes the receipt of a delivery of sealed rows.
func receipt(delivery []byte, rows int64) *Receipt {
	sum := sha256.Sum256(delivery)
	return &Receipt{Rows: rows, Bytes: int64(len(delivery)), SHA256: hex.EncodeToString(sum[:]), Seals: rows, RowSealed: true}
}

func decrypt(t testing.TB, delivery []byte, o Options) (string, Result, error) {
	t.Helper()
	if o.Ring == nil {
		o.Ring = ring(t, 1, 2)
	}
	if o.Customer == "" {
		o.Customer = customer
	}
	var out bytes.Buffer
	result, err := Copy(context.Background(), &out, bytes.NewReader(delivery), o)
	return out.String(), result, err
}

func TestRows(t *testing.T) {
	t.Parallel()
	for _, container := range containers {
		for _, n := range []int{0, 1, 3, 5000} {
			t.Run(fmt.Sprint(container, n), func(t *testing.T) {
				units := rows(n)
				delivery := pack(t, container, slices.Concat(seal(t, 2, customer, units...)...))
				got, result, err := decrypt(t, delivery, Options{Receipt: receipt(delivery, int64(n))})
				if err != nil {
					t.Fatal(err)
				}
				if got != string(slices.Concat(units...)) {
					t.Error("other rows came back")
				}
				want := Result{Units: int64(n), Container: strings.TrimSuffix(container, " stored"), InputBytes: int64(len(delivery)), OutputBytes: int64(len(got))}
				if result != want {
					t.Errorf("%+v, want %+v", result, want)
				}
				// The same a byte at a time.
				if n > 3 {
					return
				}
				var out bytes.Buffer
				if _, err := Copy(t.Context(), &out, iotest.OneByteReader(bytes.NewReader(delivery)), Options{Ring: ring(t, 2), Customer: customer, Receipt: receipt(delivery, int64(n))}); err != nil || out.String() != got {
					t.Errorf("a byte at a time: %v", err)
				}
			})
		}
	}
}

func TestChunks(t *testing.T) {
	t.Parallel()
	content := append(noise(envelope.ChunkSize+77), strings.Repeat("text,", 20_000)...)
	for _, inner := range containers {
		for _, outer := range []string{"", "gzip"} {
			t.Run(inner+" in "+outer, func(t *testing.T) {
				sealed := pack(t, inner, content)
				units := slices.Collect(slices.Chunk(sealed, envelope.ChunkSize))
				delivery := pack(t, outer, slices.Concat(seal(t, 1, customer, units...)...))
				got, result, err := decrypt(t, delivery, Options{})
				if err != nil || got != string(sealed) || result.Units != int64(len(units)) || result.Inner != "" {
					t.Fatalf("%+v, %v", result, err)
				}
				got, result, err = decrypt(t, delivery, Options{Decompress: true})
				if err != nil || got != string(content) || result.Inner != strings.TrimSuffix(inner, " stored") || result.OutputBytes != int64(len(content)) {
					t.Errorf("decompressed: %+v, %v", result, err)
				}
				// What was sealed was cut by whoever sealed it.
				cut := slices.Concat(seal(t, 1, customer, units[:len(units)-1]...)...)
				if _, _, err := decrypt(t, pack(t, outer, cut), Options{Decompress: true}); inner != "" && !fault.Is(err, codeTruncated) {
					t.Errorf("without the last chunk: %v", err)
				}
			})
		}
	}
}

// TestTampering changes lines within every container, whole as that is.
func TestTampering(t *testing.T) {
	t.Parallel()
	good := seal(t, 1, customer, rows(10)...)
	other := seal(t, 1, "practice-8", rows(10)...)
	foreign := seal(t, 9, customer, rows(10)...)
	altered := bytes.Clone(good[4])
	altered[60] ^= 1
	for _, c := range []struct {
		name  string
		lines [][]byte
		code  string
		index string
		rows  int // written before
	}{
		{"first missing", good[1:], envelope.Tampered, "0", 0},
		{"one missing", slices.Delete(slices.Clone(good), 4, 5), envelope.Tampered, "4", 4},
		{"swapped", [][]byte{good[0], good[2], good[1]}, envelope.Tampered, "1", 1},
		{"repeated", [][]byte{good[0], good[1], good[1], good[2]}, envelope.Tampered, "2", 2},
		{"appended", append(slices.Clone(good), good[0]), envelope.Tampered, "10", 10},
		{"altered", slices.Replace(slices.Clone(good), 4, 5, altered), envelope.Tampered, "4", 4},
		{"of another customer", slices.Replace(slices.Clone(good), 6, 7, other[6]), envelope.Tampered, "6", 6},
		{"of another key", slices.Replace(slices.Clone(good), 6, 7, foreign[6]), envelope.ForeignKey, "6", 6},
		{"all of another customer", other, envelope.Tampered, "0", 0},
		{"all of another key", foreign, envelope.ForeignKey, "0", 0},
		{"not sealed", [][]byte{good[0], []byte("{\"patient\":1}\n")}, envelope.Malformed, "1", 1},
		{"nothing sealed", [][]byte{[]byte("{\"patient\":1}\n")}, envelope.Malformed, "0", 0},
		{"blank line", [][]byte{good[0], []byte("\n"), good[1]}, envelope.Malformed, "1", 1},
		{"other line ends", [][]byte{[]byte(strings.TrimSuffix(string(good[0]), "\n") + "\r\n")}, envelope.Malformed, "0", 0},
		{"two in a line", [][]byte{bytes.TrimSpace(good[0]), good[1]}, envelope.Malformed, "0", 0},
		{"garbage behind", append(slices.Clone(good), []byte("garbage")), envelope.Malformed, "10", 10},
	} {
		for _, container := range containers {
			t.Run(c.name+" "+container, func(t *testing.T) {
				delivery := pack(t, container, slices.Concat(c.lines...))
				got, _, err := decrypt(t, delivery, Options{})
				f := fault.From(err)
				if f == nil || f.Code != c.code || f.Class != fault.Data || f.Details["index"] != c.index || f.Hint == "" {
					t.Fatalf("got %v %v, want %s at index %s", err, f.Details, c.code, c.index)
				}
				if !strings.Contains(f.Message, "index "+c.index) || strings.Contains(f.Error(), "patient") {
					t.Errorf("the message: %s", f.Message)
				}
				if want := string(slices.Concat(rows(c.rows)...)); got != want {
					t.Errorf("written before: %d bytes, want %d", len(got), len(want))
				}
			})
		}
	}
}

// TestEveryCut cuts small deliveries after every byte. Without a receipt only a cut
// between two lines may go unnoticed, and with one nothing.
func TestEveryCut(t *testing.T) {
	t.Parallel()
	lines := seal(t, 1, customer, rows(3)...)
	for _, container := range containers {
		delivery := pack(t, container, slices.Concat(lines...))
		whole := receipt(delivery, 3)
		for n := range delivery {
			cut := delivery[:n]
			got, _, err := decrypt(t, cut, Options{})
			between := container == "" && n > 0 && cut[n-1] == '\n'
			if (err == nil) != between {
				t.Errorf("%q cut to %d of %d bytes: %v", container, n, len(delivery), err)
			}
			if err != nil && fault.From(err).Class != fault.Data {
				t.Errorf("%q cut to %d: %v", container, n, err)
			}
			if !strings.HasPrefix(string(slices.Concat(rows(3)...)), got) {
				t.Errorf("%q cut to %d: something else was written", container, n)
			}
			if _, _, err := decrypt(t, cut, Options{Receipt: whole}); err == nil || between && !fault.Is(err, codeMismatch) {
				t.Errorf("%q cut to %d with a receipt: %v", container, n, err)
			}
		}
	}
}

// TestGarbageBehind puts something behind the end of a container.
func TestGarbageBehind(t *testing.T) {
	t.Parallel()
	lines := slices.Concat(seal(t, 1, customer, rows(3)...)...)
	for _, container := range containers[1:] {
		for _, garbage := range []string{"\x00", "x", "garbage behind", strings.Repeat("\x00", 4096), string(pack(t, "gzip", []byte("x"))), string(pack(t, "zip", []byte("x")))} {
			_, _, err := decrypt(t, append(pack(t, container, lines), garbage...), Options{})
			if f := fault.From(err); f == nil || f.Class != fault.Data {
				t.Errorf("%s with %.20q behind: %v", container, garbage, err)
			}
		}
	}
}

// TestEveryByte alters every byte of small containers: the rows are as they were, or
// there is an error.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	want := string(slices.Concat(rows(3)...))
	for _, container := range containers {
		delivery := pack(t, container, slices.Concat(seal(t, 1, customer, rows(3)...)...))
		for at := range delivery {
			bit := byte(1) << (at % 8)
			delivery[at] ^= bit
			got, _, err := decrypt(t, delivery, Options{})
			if err == nil && got != want {
				t.Errorf("%s: byte %d ^ %#x: other rows came back", container, at, bit)
			}
			if err != nil && fault.From(err).Class != fault.Data {
				t.Errorf("%s: byte %d ^ %#x: %v", container, at, bit, err)
			}
			if container == "" && err == nil {
				t.Errorf("byte %d ^ %#x made no difference", at, bit)
			}
			delivery[at] ^= bit
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	lines := slices.Concat(seal(t, 1, customer, rows(3)...)...)
	var twoEntries bytes.Buffer
	z := zip.NewWriter(&twoEntries)
	for _, name := range []string{"a", "b"} {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(lines); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	locked := pack(t, "zip", lines)
	locked[6] |= 1
	for _, c := range []struct {
		name     string
		delivery []byte
		o        Options
		code     string
		want     string
	}{
		{"empty", nil, Options{}, codeEmpty, "no bytes at all"},
		{"compressed twice", pack(t, "gzip", pack(t, "zstd", lines)), Options{}, envelope.Malformed, "it looks like zstd"},
		{"decompressed twice", pack(t, "gzip", pack(t, "gzip", lines)), Options{Decompress: true}, envelope.Malformed, "it looks like gzip"},
		{"two entries", twoEntries.Bytes(), Options{}, codeContainer, "more than one entry"},
		{"empty archive", append([]byte("PK\x05\x06"), make([]byte, 18)...), Options{}, codeContainer, "has no entry"},
		{"password", locked, Options{}, codeContainer, "has a password"},
		{"two members", append(pack(t, "gzip", lines), pack(t, "gzip", lines)...), Options{}, codeTrailing, "follows the end of the gzip data"},
		{"long row", slices.Concat(seal(t, 1, customer, make([]byte, 1003))...), Options{MaxUnit: 1000}, codeLine, "longer than a row of 1000 bytes"},
		{"no customer", lines, Options{Customer: "\n"}, "envelope.customer", "control character"},
		{"bomb", pack(t, "gzip", make([]byte, 16<<20)), Options{}, envelope.Malformed, "not a sealed delivery"},
		{"bomb in a line", pack(t, "gzip", append([]byte(`{"encrypted_data":"`), make([]byte, 16<<20)...)), Options{MaxUnit: 1 << 20}, codeLine, "is longer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := decrypt(t, c.delivery, c.o)
			if f := fault.From(err); !fault.Is(err, c.code) || f.Hint == "" && f.Code != codeContainer || !strings.Contains(f.Message, c.want) {
				t.Errorf("got %v, want %s with %q", err, c.code, c.want)
			}
		})
	}
	if got, _, err := decrypt(t, slices.Concat(seal(t, 1, customer, make([]byte, 1000))...), Options{MaxUnit: 1000}); err != nil || len(got) != 1000 {
		t.Errorf("the longest row that is allowed: %v", err)
	}
}

// TestReadError passes on why reading failed, through every container.
func TestReadError(t *testing.T) {
	t.Parallel()
	broken := errors.New("the cable is out")
	for _, container := range containers {
		delivery := pack(t, container, slices.Concat(seal(t, 1, customer, rows(100)...)...))
		for _, n := range []int{0, 1, 5, 60, len(delivery) - 1, len(delivery)} {
			src := io.MultiReader(bytes.NewReader(delivery[:n]), iotest.ErrReader(broken))
			_, err := Copy(t.Context(), io.Discard, src, Options{Ring: ring(t, 1), Customer: customer})
			if !fault.Is(err, codeRead) || !errors.Is(err, broken) {
				t.Errorf("%q after %d bytes: %v", container, n, err)
			}
		}
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := Copy(ctx, io.Discard, strings.NewReader("x"), Options{Ring: ring(t, 1), Customer: customer}); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

type fullDisk struct{}

var errFull = errors.New("no space is left")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestWriteError(t *testing.T) {
	t.Parallel()
	delivery := slices.Concat(seal(t, 1, customer, rows(3)...)...)
	for _, decompress := range []bool{false, true} {
		_, err := Copy(t.Context(), fullDisk{}, bytes.NewReader(delivery), Options{Ring: ring(t, 1), Customer: customer, Decompress: decompress})
		if err != errFull {
			t.Errorf("got %v", err)
		}
	}
}

func TestReceipt(t *testing.T) {
	t.Parallel()
	delivery := slices.Concat(seal(t, 1, customer, rows(3)...)...)
	sum := sha256.Sum256(delivery)
	write := func(change func(map[string]any)) string {
		fields := map[string]any{
			"run_id": "x", "rows": 3, "bytes": len(delivery), "sha256": hex.EncodeToString(sum[:]),
			"counters": map[string]int64{"encryptor.seals_a": 2, "encryptor.seals_b": 1, "encryptor.sealed_rows": 3, "source.seals": 7},
		}
		change(fields)
		text, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	set := func(name string, value any) string {
		return write(func(f map[string]any) { f[name] = value })
	}
	for _, c := range []struct{ name, text, code, want string }{
		{"good", write(func(map[string]any) {}), "", ""},
		{"without counters", set("counters", nil), "", ""},
		{"chunks", write(func(f map[string]any) {
			f["rows"], f["counters"] = 700, map[string]int64{"encryptor.seals_a": 3}
		}), "", ""},
		{"capital sum", set("sha256", strings.ToUpper(hex.EncodeToString(sum[:]))), "", ""},
		{"other seals", set("counters", map[string]int64{"encryptor.seals_a": 4}), codeMismatch, "counts 4 sealed lines, but there are 3"},
		{"other rows", set("rows", 4), codeMismatch, "says 4 rows, but there are 3"},
		{"other bytes", set("bytes", len(delivery)+1), codeMismatch, "bytes, but there are"},
		{"other sum", set("sha256", strings.Repeat("0", 64)), codeMismatch, "the SHA-256 is 000"},
		{"empty", " \n", codeReceipt, "it is empty"},
		{"not JSON", "rows: 3", codeReceipt, "invalid character"},
		{"two", "{} {}", codeReceipt, "invalid character"},
		{"a list", "[]", codeReceipt, "cannot unmarshal"},
		{"no fields", "{}", codeReceipt, "expected the fields rows, bytes and sha256"},
		{"no sum", write(func(f map[string]any) { delete(f, "sha256") }), codeReceipt, "expected the fields"},
		{"bad sum", set("sha256", "abc"), codeReceipt, "is not 64 hexadecimal digits"},
		{"half a row", set("rows", 2.5), codeReceipt, "cannot unmarshal"},
		{"negative", set("bytes", -1), codeReceipt, "it says 3 rows and -1 bytes"},
		{"negative counter", set("counters", map[string]int64{"e.seals_x": -1}), codeReceipt, `"e.seals_x" is -1`},
		{"large", `{"x":"` + strings.Repeat("x", maxReceipt) + `"}`, codeReceipt, "larger than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := ReadReceipt(strings.NewReader(c.text))
			if err == nil {
				_, _, err = decrypt(t, delivery, Options{Receipt: r})
			}
			f := fault.From(err)
			if c.code == "" {
				if err != nil {
					t.Error(err)
				}
			} else if f == nil || f.Code != c.code || f.Hint == "" || !strings.Contains(f.Message, c.want) {
				t.Errorf("got %v, want %s with %q", err, c.code, c.want)
			}
		})
	}
	if _, err := ReadReceipt(iotest.ErrReader(errFull)); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}
