package zstd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/plugins/internal/compress"
	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/plugins/ndjson"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func pack(t testing.TB, settings string, in sdk.Media, pieces ...[]byte) []byte {
	t.Helper()
	c, _ := sample.NewCompressor(t, Stage(), settings, in)
	return sample.Compress(t, c, pieces...)
}

// expand reads with the library, and with the zstd program, which has to find one
// frame that ends with a checksum.
func expand(t testing.TB, packed []byte) []byte {
	t.Helper()
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	text, err := d.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.zst")
	if err := os.WriteFile(path, packed, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := program(t, "-dcq", "--memory=512KiB", path); got != string(text) {
		t.Errorf("zstd read %d bytes, the library %d", len(got), len(text))
	}
	if facts := program(t, "-lv", path); !strings.Contains(facts, "# Zstandard Frames: 1\n") || !strings.Contains(facts, "Check: XXH64") {
		t.Errorf("not one frame with a checksum: %s", facts)
	}
	return text
}

func program(t testing.TB, args ...string) string {
	t.Helper()
	command, err := exec.LookPath("zstd")
	if err != nil {
		t.Fatalf("zstd is needed to test the output independently: %v", err)
	}
	var stderr bytes.Buffer
	c := exec.CommandContext(t.Context(), command, args...)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("zstd %v: %v: %s", args, err, stderr.Bytes())
	}
	return string(out)
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
	text := rows(t, 6<<20)
	for _, c := range []struct {
		name   string
		pieces [][]byte
	}{
		{"nothing", nil},
		{"empty pieces", [][]byte{{}, {}}},
		{"one byte", [][]byte{{'x'}}},
		{"255 bytes", [][]byte{text[:255]}},
		{"256 bytes", [][]byte{text[:256]}},
		{"the last stored", sample.Cut(text[:compress.StoredLimit], 100)},
		{"the first compressed", sample.Cut(text[:compress.StoredLimit+1], 100)},
		{"one piece", [][]byte{text}},
		{"a job exactly", [][]byte{text[:4*window]}},
		{"small pieces", sample.Cut(text, 700)},
		{"header, then large", sample.Cut(text, 300, 300_000)},
	} {
		for _, level := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, level %d", c.name, level), func(t *testing.T) {
				want := bytes.Join(c.pieces, nil)
				packed := pack(t, fmt.Sprintf(`{"level": %d}`, level), sdk.Media{}, c.pieces...)
				if got := expand(t, packed); !bytes.Equal(got, want) {
					t.Errorf("%d bytes became %d", len(want), len(got))
				}
				if stored := len(packed) >= len(want); stored != (len(want) <= compress.StoredLimit) {
					t.Errorf("%d bytes became %d", len(want), len(packed))
				}
			})
		}
	}
}

// Repeated offsets carry over from block to block in the format, but jobs know
// nothing of each other: text that is full of repetitions at the seams shows a
// mistake.
func TestSeams(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for level := range 4 {
		text := make([]byte, 8, 12*window)
		for len(text) < 11*window {
			distance := []int{1, 4, 8, 3, 7, 1 + r.IntN(len(text))}[r.IntN(6)]
			for range 3 + r.IntN(60) {
				text = append(text, text[len(text)-min(distance, len(text))])
			}
			for range r.IntN(8) {
				text = append(text, byte(r.Uint32()))
			}
		}
		packed := pack(t, fmt.Sprintf(`{"level": %d}`, []int{1, 3, 6, 10}[level]), sdk.Media{}, sample.Cut(text, 1_000_000)...)
		if got := expand(t, packed); !bytes.Equal(got, text) {
			t.Errorf("level %d: the text changed", level)
		}
	}
}

// Equal data makes an equal frame, however it is cut and on any machine, as long as no second passes without some.
func TestDeterministic(t *testing.T) {
	text := rows(t, 6<<20)
	pack := func(pieces ...[]byte) []byte {
		c, _ := sample.NewCompressor(t, Stage(), `{}`, sdk.Media{})
		c.(*compressor).now = func() time.Time { return time.Unix(0, 0) }
		return sample.Compress(t, c, pieces...)
	}
	want := pack(text)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, cores := range []int{1, 3, 8} {
		runtime.GOMAXPROCS(cores)
		if got := pack(sample.Cut(text, 10_000*cores, 7)...); !bytes.Equal(got, want) {
			t.Errorf("%d cores: the frame is another", cores)
		}
	}
}

// TestSlowPieces: a piece that comes after a pause is given on at once, the first one too.
func TestSlowPieces(t *testing.T) {
	c, _ := sample.NewCompressor(t, Stage(), `{}`, sdk.Media{})
	now := time.Unix(0, 0)
	c.(*compressor).now = func() time.Time { return now }
	var out sdk.Output
	if err := c.Begin(&out); err != nil {
		t.Fatal(err)
	}
	text := rows(t, 3*40_000)
	for i, pause := range []time.Duration{time.Second, time.Millisecond, time.Second} {
		now = now.Add(pause)
		before := len(out.Data)
		if err := c.Compress(t.Context(), text[i*40_000:(i+1)*40_000], &out); err != nil {
			t.Fatal(err)
		}
		if given, want := len(out.Data) > before, pause >= time.Second; given != want {
			t.Errorf("piece %d, after %s: given on %t, want %t", i, pause, given, want)
		}
	}
	if err := c.End(&out); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(expand(t, out.Data), text[:3*40_000]) {
		t.Error("the text changed")
	}
}

func TestSealed(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 1<<20)
	for i := range text {
		text[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[r.IntN(64)]
	}
	packed := pack(t, `{"level": 10}`, sdk.Media{Sealed: true}, text)
	if !bytes.Equal(expand(t, packed), text) {
		t.Error("the text changed")
	}
	if ratio := float64(len(packed)) / float64(len(text)); ratio > 0.76 {
		t.Errorf("base64 shrinks to %.3f; its letters hold 0.75", ratio)
	}
}

func TestMedia(t *testing.T) {
	c, media := sample.NewCompressor(t, Stage(), `{}`, sdk.Media{Type: "text/csv", Extension: ".csv"})
	if media != (sdk.Media{Type: "text/csv", Extension: ".csv.zst", ContentEncoding: "zstd"}) {
		t.Errorf("%+v", media)
	}
	if _, err := c.Bind(media); !fault.Is(err, "zstd.compressed_input") {
		t.Errorf("compressing twice: %v", err)
	}
}

// A run that ends early ends the encoder's goroutines (TestMain), and what comes
// afterwards is refused.
func TestAbandoned(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, _ := sample.NewCompressor(t, Stage(), `{}`, sdk.Media{})
	var out sdk.Output
	for range 3 {
		if err := c.Compress(ctx, make([]byte, 3<<20), &out); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := c.Compress(ctx, make([]byte, 3<<20), &out); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	if err := c.End(&out); !errors.Is(err, context.Canceled) {
		t.Errorf("End after the end: %v", err)
	}
}

func FuzzPieces(f *testing.F) {
	f.Add([]byte("hello"), uint64(1), uint16(3))
	f.Add(bytes.Repeat([]byte("abc"), 9000), uint64(2), uint16(60000))
	f.Fuzz(func(t *testing.T, seed []byte, random uint64, largest uint16) {
		r := rand.New(rand.NewPCG(random, 0))
		text := bytes.Repeat(seed, 1+r.IntN(1+3_000_000/(len(seed)+1)))
		var sizes []int
		for range 7 {
			sizes = append(sizes, r.IntN(int(largest)+1)+1)
		}
		packed := pack(t, fmt.Sprintf(`{"level": %d}`, 1+r.IntN(6)), sdk.Media{Sealed: r.IntN(2) == 0}, sample.Cut(text, sizes...)...)
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if got, err := d.DecodeAll(packed, nil); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes became %d (%v)", len(text), len(got), err)
		}
	})
}

func BenchmarkCompress(b *testing.B) {
	text := rows(b, 16<<20)
	run := func(name, settings string, in sdk.Media) {
		b.Run(name, func(b *testing.B) {
			meter := sample.NewMeter(b)
			size := 0
			for b.Loop() {
				size = len(pack(b, settings, in, sample.Cut(text, 1_200_000)...))
				meter.Rows += int64(bytes.Count(text, []byte("\n")))
				meter.Size += int64(len(text))
			}
			meter.Report()
			b.ReportMetric(float64(len(text))/float64(size), "ratio")
		})
	}
	for _, level := range []int{1, 3, 6} {
		run(fmt.Sprintf("level=%d", level), fmt.Sprintf(`{"level": %d}`, level), sdk.Media{})
	}
	run("sealed", `{}`, sdk.Media{Sealed: true})
}
