package decrypt

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// FuzzCopy opens anything. What is written begins what was sealed, because nobody who
// lacks the key can make anything else open.
func FuzzCopy(f *testing.F) {
	want := string(slices.Concat(rows(3)...))
	lines := slices.Concat(seal(f, 1, customer, rows(3)...)...)
	for _, container := range containers {
		delivery := pack(f, container, lines)
		f.Add(delivery)
		f.Add(delivery[:len(delivery)-5])
		f.Add(pack(f, "gzip", delivery))
	}
	f.Add([]byte{})
	f.Add([]byte("PK\x05\x06"))
	o := Options{Ring: ring(f, 1), Customer: customer, MaxUnit: 64 << 10}
	f.Fuzz(func(t *testing.T, delivery []byte) {
		var out bytes.Buffer
		result, err := Copy(context.Background(), &out, bytes.NewReader(delivery), o)
		if !strings.HasPrefix(want, out.String()) {
			t.Fatalf("%q was written", out.String())
		}
		if err == nil && (result.InputBytes != int64(len(delivery)) || result.OutputBytes != int64(out.Len())) {
			t.Fatalf("%+v of %d bytes", result, len(delivery))
		}
		if err != nil && fault.From(err).Class != fault.Data {
			t.Fatal(err)
		}
	})
}

// FuzzInner puts anything into chunks, and takes a container off it.
func FuzzInner(f *testing.F) {
	for _, container := range containers {
		packed := pack(f, container, []byte(strings.Repeat("some text, ", 100)))
		f.Add(packed)
		f.Add(packed[:len(packed)/2])
		f.Add(append(packed, "behind"...))
	}
	o := Options{Ring: ring(f, 1), Customer: customer, Decompress: true}
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) == 0 {
			return
		}
		delivery := slices.Concat(seal(t, 1, customer, slices.Collect(slices.Chunk(content, 100))...)...)
		var out bytes.Buffer
		result, err := Copy(context.Background(), &limited{&out}, bytes.NewReader(delivery), o)
		if err != nil {
			if f := fault.From(err); f.Class != fault.Data && err != errFull {
				t.Fatal(err)
			}
			return
		}
		if result.Inner == "" && !bytes.Equal(out.Bytes(), content) {
			t.Fatal("something else came out")
		}
		if result.InputBytes != int64(len(delivery)) || result.Units != int64((len(content)+99)/100) {
			t.Fatalf("%+v of %d bytes", result, len(delivery))
		}
	})
}

// limited keeps bombs small.
type limited struct{ out *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.out.Len()+len(p) > 1<<20 {
		return 0, errFull
	}
	return l.out.Write(p)
}

// FuzzReceipt reads anything. What is believed is what was authenticated, whatever stands beside it.
func FuzzReceipt(f *testing.F) {
	keys := ring(f, 1)
	want := receipt([]byte("x"), 3).Statement
	statement, mac, err := keys.Authenticate(want)
	if err != nil {
		f.Fatal(err)
	}
	want.KeyID = keys.Active()
	good := `{"statement":` + strconv.Quote(statement) + `,"mac":"` + mac + `","rows":3,"counters":{"e.seals_x":3,"e.sealed_rows":3}}`
	f.Add(good)
	f.Add(strings.Replace(good, "{", `{"rows":3,`, 1))
	f.Add(strings.Replace(good, "{", `{"x":[[[[{"y":1e3}]]]],`, 1))
	f.Add(`{"rows":1e3,"counters":{}}`)
	f.Add(`{"mac":NaN}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ReadReceipt(strings.NewReader(text), keys)
		if err != nil {
			switch fault.From(err).Code {
			case codeReceipt, envelope.ReceiptMalformed, envelope.ReceiptForged, envelope.ReceiptForeign:
			default:
				t.Fatal(err)
			}
			return
		}
		if r.Statement != want || r.Seals < -1 {
			t.Fatalf("%+v", r)
		}
	})
}

// BenchmarkCopy opens deliveries of rows and of chunks; MB/s are those of what was sealed.
func BenchmarkCopy(b *testing.B) {
	row := append(bytes.Repeat([]byte("x"), 588), '\n')
	var units [][]byte
	for range 20_000 {
		units = append(units, row)
	}
	content := slices.Concat(units...)
	for _, c := range []struct {
		name, container string
		units           [][]byte
	}{
		{"rows", "", units}, {"rows_gzip", "gzip", units}, {"rows_zip", "zip", units},
		{"chunks", "", slices.Collect(slices.Chunk(content, envelope.ChunkSize))},
	} {
		b.Run(c.name, func(b *testing.B) {
			delivery := pack(b, c.container, slices.Concat(seal(b, 1, customer, c.units...)...))
			o := Options{Ring: ring(b, 1), Customer: customer}
			b.ReportAllocs()
			var total int64
			for b.Loop() {
				result, err := Copy(context.Background(), &nowhere{}, bytes.NewReader(delivery), o)
				if err != nil {
					b.Fatal(err)
				}
				total += result.OutputBytes
			}
			seconds := b.Elapsed().Seconds()
			b.ReportMetric(float64(total)/589/seconds, "rows/s")
			b.ReportMetric(float64(total)/seconds/1e6, "MB/s")
		})
	}
}

// nowhere takes everything, and nothing but Write.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
