package decrypt

import (
	"archive/zip"
	"bytes"
	"compress/flate"
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
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

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

// pack puts content into a container, deflated in the fastest way: under the race detector the standard library's usual
// one takes longer than all that is tested.
func pack(t testing.TB, container string, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch container {
	case "":
		return content
	case "gzip":
		w, err = gzip.NewWriterLevel(&out, gzip.BestSpeed)
	case "zstd":
		w, err = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	case "zip", "zip stored":
		z := zip.NewWriter(&out)
		z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
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
	return &Receipt{Statement: envelope.Statement{
		RunID: "patients_1767225600000_0a1b2c3d", Procedure: "patients", Parameters: strings.Repeat("0", 64),
		Rows: rows, Bytes: int64(len(delivery)), SHA256: hex.EncodeToString(sum[:]), Time: begun,
	}, Seals: rows, RowSealed: true}
}

// begun is when the run of receipt began.
var begun = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

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
				want := Result{Units: int64(n), Container: strings.TrimSuffix(container, " stored"), InputBytes: int64(len(delivery)), OutputBytes: int64(len(got)),
					Proved: []Property{Whole, OneRun}, Unproved: []Property{Fresh}, RunID: "patients_1767225600000_0a1b2c3d", Time: result.Time}
				if !reflect.DeepEqual(result, want) || !result.Time.Equal(begun) {
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
	// Another letter in the midst of the base64, so that it is base64 still.
	altered := bytes.Clone(good[4])
	if altered[60] = 'A'; good[4][60] == 'A' {
		altered[60] = 'B'
	}
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
		{"blank line of others", [][]byte{good[0], []byte("\r\n"), good[1]}, envelope.Malformed, "1", 1},
		{"other object", [][]byte{good[0], []byte("{\"Encrypted_data\":1}\n")}, envelope.Malformed, "1", 1},
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

// TestOtherJSON opens deliveries whose lines were written again in other words, as the published code does: with
// CRLF, spaces, members of others, without the last line end. A receipt tells that they are not as they were.
func TestOtherJSON(t *testing.T) {
	t.Parallel()
	units := append(rows(3), bytes.Repeat([]byte("long "), 100_000))
	lines := seal(t, 1, customer, units...)
	whole := map[string]*Receipt{}
	for _, container := range containers {
		whole[container] = receipt(pack(t, container, slices.Concat(lines...)), 4)
	}
	for name, again := range map[string]func(line string) string{
		"CRLF":   func(line string) string { return line + "\r\n" },
		"spaces": func(line string) string { return strings.Replace(line, `":"`, `" : "`, 1) + " \n" },
		"pretty": func(line string) string { return "\t{ " + strings.TrimSuffix(line[1:], "}") + " }\n" },
		"members": func(line string) string {
			return strings.TrimSuffix(strings.Replace(line, "{", `{"a":[{}],`, 1), "}") + `,"z":null}` + "\n"
		},
		"no line end": func(line string) string { return "\n" + line },
	} {
		for _, container := range containers {
			t.Run(name+" "+container, func(t *testing.T) {
				var text strings.Builder
				for _, line := range lines {
					text.WriteString(again(strings.TrimSuffix(string(line), "\n")))
				}
				delivery := pack(t, container, []byte(strings.TrimPrefix(text.String(), "\n")))
				got, result, err := decrypt(t, delivery, Options{})
				if err != nil || got != string(slices.Concat(units...)) || result.Units != 4 {
					t.Errorf("%+v, %v", result, err)
				}
				if _, _, err := decrypt(t, delivery, Options{Receipt: whole[container]}); !fault.Is(err, codeMismatch) {
					t.Errorf("with the receipt of what it was: %v", err)
				}
			})
		}
	}
}

// TestOneRun opens what every line by itself allows: lines of two deliveries of one customer, an old delivery in the
// place of a new one, one that was cut. The receipt tells them apart.
func TestOneRun(t *testing.T) {
	t.Parallel()
	older, newer := seal(t, 1, customer, rows(6)...), seal(t, 1, customer, rows(6)...)
	spliced := slices.Concat(slices.Concat(newer[:2], older[2:4], newer[4:])...)
	r := receipt(slices.Concat(newer...), 6)
	for name, delivery := range map[string][]byte{
		"spliced": spliced, "old": slices.Concat(older...), "cut": slices.Concat(newer[:5]...),
	} {
		if _, result, err := decrypt(t, delivery, Options{}); err != nil || !slices.Equal(result.Unproved, []Property{Whole, OneRun, Fresh}) || len(result.Proved) > 0 {
			t.Errorf("%s: %+v, %v", name, result, err)
		}
		if _, _, err := decrypt(t, delivery, Options{Receipt: r}); !fault.Is(err, codeMismatch) {
			t.Errorf("%s, with a receipt: %v", name, err)
		}
	}
	whole := slices.Concat(newer...)
	for _, c := range []struct {
		name string
		o    Options
		code string
	}{
		{"this run", Options{Receipt: r, ExpectRun: r.RunID}, ""},
		{"another run", Options{Receipt: r, ExpectRun: r.RunID[:10]}, codeOtherRun},
		{"newer", Options{Receipt: r, NewerThan: begun.Add(-time.Millisecond)}, ""},
		{"as old", Options{Receipt: r, NewerThan: begun}, codeOld},
		{"older", Options{Receipt: r, NewerThan: begun.Add(time.Hour)}, codeOld},
		{"required", Options{RequireReceipt: true}, codeNoReceipt},
		{"a run without a receipt", Options{ExpectRun: r.RunID}, codeNoReceipt},
		{"newer without a receipt", Options{NewerThan: begun.Add(-time.Hour)}, codeNoReceipt},
	} {
		got, result, err := decrypt(t, whole, c.o)
		if c.code == "" {
			if err != nil || !slices.Equal(result.Proved, []Property{Whole, OneRun, Fresh}) || len(result.Unproved) > 0 {
				t.Errorf("%s: %+v, %v", c.name, result, err)
			}
		} else if !fault.Is(err, c.code) || got != "" || fault.From(err).Hint == "" {
			t.Errorf("%s: %v, and %d bytes were written", c.name, err, len(got))
		}
	}
}

// TestEveryCut cuts small deliveries after every byte. Without a receipt only a cut
// between two lines may go unnoticed, or of a line end alone, and with one nothing.
func TestEveryCut(t *testing.T) {
	t.Parallel()
	lines := seal(t, 1, customer, rows(3)...)
	for _, container := range containers {
		delivery := pack(t, container, slices.Concat(lines...))
		whole := receipt(delivery, 3)
		for n := range delivery {
			cut := delivery[:n]
			got, _, err := decrypt(t, cut, Options{})
			between := container == "" && n > 0 && (cut[n-1] == '\n' || cut[n-1] == '}')
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
	write := func(change func(map[string]any)) string {
		r := receipt(delivery, 3)
		statement, mac, err := ring(t, 1).Authenticate(r.Statement)
		if err != nil {
			t.Fatal(err)
		}
		fields := map[string]any{
			"run_id": r.RunID, "pipeline": r.Procedure, "rows": 3, "bytes": r.Bytes, "sha256": r.SHA256, "statement": statement, "mac": mac,
			"counters": map[string]int64{"encryptor.seals_a": 2, "encryptor.seals_b": 1, "encryptor.sealed_rows": 3, "source.seals": 7},
		}
		change(fields)
		text, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	good := write(func(map[string]any) {})
	set := func(name string, value any) string {
		return write(func(f map[string]any) { f[name] = value })
	}
	without := func(names ...string) string {
		return write(func(f map[string]any) {
			for _, name := range names {
				delete(f, name)
			}
		})
	}
	// What somebody makes who has another key.
	forged := func(key byte, change func(*envelope.Statement)) string {
		s := receipt(delivery[:len(delivery)/3], 1).Statement
		change(&s)
		statement, mac, err := ring(t, key).Authenticate(s)
		if err != nil {
			t.Fatal(err)
		}
		return `{"statement":` + strconv.Quote(statement) + `,"mac":"` + mac + `"}`
	}
	for _, c := range []struct{ name, text, code, want string }{
		{"good", good, "", ""},
		{"without counters", set("counters", nil), "", ""},
		{"alone", without("run_id", "pipeline", "rows", "bytes", "sha256", "counters"), "", ""},
		{"chunks", write(func(f map[string]any) { f["counters"] = map[string]int64{"encryptor.seals_a": 3} }), "", ""},
		{"other seals", set("counters", map[string]int64{"encryptor.seals_a": 4}), codeMismatch, "counts 4 sealed lines, but there are 3"},
		{"another delivery's", forged(1, func(*envelope.Statement) {}), codeMismatch, "bytes, but there are"},
		{"other sum", forged(1, func(s *envelope.Statement) { s.Bytes = int64(len(delivery)) }), codeMismatch, "that the SHA-256 is"},
		{"no mac", without("mac"), codeReceipt, "it is not authenticated"},
		{"no statement", without("statement"), codeReceipt, "it is not authenticated"},
		{"nothing proved", without("mac", "statement"), codeReceipt, "it is not authenticated"},
		{"other mac", set("mac", strings.Repeat("0", 64)), envelope.ReceiptForged, "its mac is not the one"},
		{"other statement", strings.Replace(good, `\"rows\":3`, `\"rows\":2`, 1), envelope.ReceiptForged, "its mac is not the one"},
		{"foreign", forged(9, func(*envelope.Statement) {}), envelope.ReceiptForeign, "which is not among those given"},
		{"other rows", set("rows", 4), envelope.ReceiptForged, `its "rows" is not what its statement proves, 3`},
		{"other bytes", set("bytes", len(delivery)+1), envelope.ReceiptForged, `its "bytes"`},
		{"other digest", set("sha256", strings.Repeat("0", 64)), envelope.ReceiptForged, `its "sha256"`},
		{"other run", set("run_id", "x"), envelope.ReceiptForged, `its "run_id"`},
		{"other pipeline", set("pipeline", "x"), envelope.ReceiptForged, `its "pipeline"`},
		{"half a row", set("rows", 2.5), envelope.ReceiptForged, `its "rows"`},
		{"empty", " \n", codeReceipt, "it is empty"},
		{"not JSON", "rows: 3", codeReceipt, "invalid character"},
		{"two", good + good, codeReceipt, "invalid character"},
		{"a list", "[]", codeReceipt, "cannot unmarshal"},
		{"no fields", "{}", codeReceipt, "it is not authenticated"},
		{"no text", set("statement", nil), codeReceipt, `"statement" is not a text`},
		{"a number", set("mac", 7), codeReceipt, `"mac" is not a text`},
		{"twice", strings.Replace(good, "{", `{"rows":3,`, 1), codeReceipt, `its member "rows" comes twice`},
		{"twice inside", strings.Replace(good, "{", `{"x":[{"y":{},"y":1}],`, 1), codeReceipt, `its member "y" comes twice`},
		{"not a number", strings.Replace(good, `"rows":3`, `"rows":NaN`, 1), codeReceipt, "invalid character 'N'"},
		{"not UTF-8", strings.Replace(good, "{", "{\"x\":\"\xff\",", 1), codeReceipt, "not UTF-8"},
		{"nested", strings.Replace(good, "{", `{"x":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+`,`, 1), codeReceipt, "nested too deep"},
		{"negative counter", set("counters", map[string]int64{"e.seals_x": -1}), codeReceipt, `"e.seals_x" is -1`},
		{"other counters", set("counters", "x"), codeReceipt, "counters are not"},
		{"large", `{"x":"` + strings.Repeat("x", maxReceipt) + `"}`, codeReceipt, "larger than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := ReadReceipt(strings.NewReader(c.text), ring(t, 1, 2))
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
	if _, err := ReadReceipt(iotest.ErrReader(errFull), ring(t, 1)); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}
