package aesgcm

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/plugins/ndjson"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	first  = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, envelope.KeySize))
	second = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{2}, envelope.KeySize))
)

const customer = "practice-7"

// settings returns settings in JSON, those given over the usual ones.
func settings(t testing.TB, over map[string]string) []byte {
	t.Helper()
	all := map[string]string{"keys": first + "\n" + second, "customer": customer}
	for k, v := range over {
		all[k] = v
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// counts is what a stage counted.
type counts struct {
	mu sync.Mutex
	n  map[string]int64
}

func (c *counts) env() sdk.Env {
	c.n = map[string]int64{}
	return sdk.Env{Count: func(name string, n int64) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.n[name] += n
	}}
}

func newEncryptor(t testing.TB, d sdk.Definition, over map[string]string, env sdk.Env) sdk.Encryptor {
	t.Helper()
	made, err := d.Make(settings(t, over), env)
	if err != nil {
		t.Fatal(err)
	}
	return made.(sdk.Encryptor)
}

// open opens every line with our own opener and returns the units.
func open(t testing.TB, sealed []byte) (units [][]byte) {
	t.Helper()
	ring, err := envelope.ParseRing(first+"\n"+second, "")
	if err != nil {
		t.Fatal(err)
	}
	o, err := ring.Opener(customer)
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed) > 0 && sealed[len(sealed)-1] != '\n' {
		t.Fatal("the last line has no end")
	}
	for line := range bytes.Lines(sealed) {
		unit, err := o.Open(line[:len(line)-1], int64(len(units)))
		if err != nil {
			t.Fatal(err)
		}
		units = append(units, bytes.Clone(unit))
	}
	return units
}

func ringIDs(t testing.TB) []string {
	t.Helper()
	ring, err := envelope.ParseRing(first+"\n"+second, "")
	if err != nil {
		t.Fatal(err)
	}
	return ring.IDs()
}

func TestSettings(t *testing.T) {
	for _, d := range []sdk.Definition{Rows(), Chunks()} {
		for _, c := range []struct {
			name, setting, value, code string
		}{
			{"no key", "keys", "", "envelope.keys"},
			{"short key", "keys", first[:20], "envelope.keys"},
			{"unknown active key", "active", "0123456789abcdef", "envelope.keys"},
			{"line end in the customer", "customer", "a\nb", "envelope.customer"},
		} {
			t.Run(d.Name+"/"+c.name, func(t *testing.T) {
				_, err := d.Make(settings(t, map[string]string{c.setting: c.value}), sdk.Env{})
				if f := fault.From(err); !fault.Is(err, c.code) || f.Class != fault.Usage || strings.Contains(f.Error()+f.Hint, first[:10]) {
					t.Errorf("got %v, want %s", err, c.code)
				}
			})
		}
		for _, text := range []string{`{}`, `{"keys":"` + first + `"}`, `{"keys":"` + first + `","customer":""}`} {
			if _, err := d.Make([]byte(text), sdk.Env{}); err == nil {
				t.Errorf("%s: %d bytes of settings were accepted", d.Name, len(text))
			}
		}
	}
}

func TestBind(t *testing.T) {
	ndjsonMedia := sdk.Media{Type: typeNDJSON, Extension: ".ndjson"}
	for _, c := range []struct {
		stage sdk.Definition
		in    sdk.Media
		out   sdk.Media
		code  string
	}{
		{Rows(), ndjsonMedia, sdk.Media{Type: typeNDJSON, Extension: ".ndjson", Sealed: true}, ""},
		{Rows(), sdk.Media{Type: "text/csv; header=present", Extension: ".csv"}, sdk.Media{}, "aesgcm.not_ndjson"},
		{Rows(), sdk.Media{Type: typeNDJSON, ContentEncoding: "gzip"}, sdk.Media{}, "aesgcm.not_ndjson"},
		{Rows(), sdk.Media{Type: typeNDJSON, Sealed: true}, sdk.Media{}, "aesgcm.sealed_input"},
		{Chunks(), ndjsonMedia, sdk.Media{Type: typeNDJSON, Extension: ".ndjson.sealed.ndjson", Sealed: true}, ""},
		{Chunks(), sdk.Media{Type: "text/csv", Extension: ".csv.gz", ContentEncoding: "gzip"}, sdk.Media{Type: typeNDJSON, Extension: ".csv.gz.sealed.ndjson", Sealed: true}, ""},
		{Chunks(), sdk.Media{Type: typeNDJSON, Sealed: true}, sdk.Media{}, "aesgcm.sealed_input"},
	} {
		got, err := newEncryptor(t, c.stage, nil, sdk.Env{}).Bind(c.in)
		if c.code != "" {
			if f := fault.From(err); !fault.Is(err, c.code) || f.Class != fault.Usage || f.Hint == "" {
				t.Errorf("%s after %+v: %v, want %s", c.stage.Name, c.in, err, c.code)
			}
		} else if err != nil || got != c.out {
			t.Errorf("%s after %+v: %+v, %v, want %+v", c.stage.Name, c.in, got, err, c.out)
		}
	}
}

func TestRows(t *testing.T) {
	record := sample.Everything()
	defer record.Release()
	encoded, err := sample.Encode(sample.NewEncoder(t, ndjson.Stage(), `{}`, sdk.Env{}), sdk.Rows{Record: record})
	if err != nil {
		t.Fatal(err)
	}
	var counted counts
	e := newEncryptor(t, Rows(), map[string]string{"active": ringIDs(t)[1]}, counted.env())
	var all, out sdk.Output
	if err := e.Begin(&out); err != nil || len(out.Data) != 0 {
		t.Fatalf("Begin: %q, %v", out.Data, err)
	}
	// Twice the same records: the second lot has other indexes.
	for lot := range int64(2) {
		out.Reset()
		if err := e.Seal(context.Background(), sdk.Chunk{Data: encoded.Data, Ends: encoded.Ends, First: lot * record.NumRows()}, &out); err != nil {
			t.Fatal(err)
		}
		if len(out.Ends) != len(encoded.Ends) || out.Ends[len(out.Ends)-1] != len(out.Data) {
			t.Fatalf("%d records, expected %d", len(out.Ends), len(encoded.Ends))
		}
		all.Data = append(all.Data, out.Data...)
	}
	units := open(t, all.Data)
	start := 0
	for i, end := range encoded.Ends {
		for lot := range 2 {
			if want := encoded.Data[start:end]; !bytes.Equal(units[i+lot*len(encoded.Ends)], want) {
				t.Errorf("record %d: %q, want %q", i, units[i+lot*len(encoded.Ends)], want)
			}
		}
		start = end
	}
	want := 2 * record.NumRows()
	if counted.n["seals_"+ringIDs(t)[1]] != want || counted.n["sealed_rows"] != want || len(counted.n) != 2 {
		t.Errorf("counted %v, want %d", counted.n, want)
	}
}

// TestNotRecords gives bytes without ends, which would be lost.
func TestNotRecords(t *testing.T) {
	e := newEncryptor(t, Rows(), nil, sdk.Env{})
	for _, in := range []sdk.Chunk{{Data: []byte("{}\n")}, {Data: []byte("{}\n{}\n"), Ends: []int{3}}} {
		var out sdk.Output
		if err := e.Seal(context.Background(), in, &out); !fault.Is(err, "aesgcm.records") || len(out.Data) > 0 {
			t.Errorf("%+v: %v", in, err)
		}
	}
	var out sdk.Output
	if err := e.Seal(context.Background(), sdk.Chunk{}, &out); err != nil {
		t.Error(err)
	}
}

// TestKeySpent comes to the end of what a key may seal.
func TestKeySpent(t *testing.T) {
	r := newEncryptor(t, Rows(), nil, sdk.Env{}).(*rows)
	r.total.Store(envelope.MaxSeals - 1)
	one := sdk.Chunk{Data: []byte("{}\n"), Ends: []int{3}}
	var out sdk.Output
	if err := r.Seal(context.Background(), one, &out); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := r.Seal(context.Background(), one, &out); !fault.Is(err, "aesgcm.key_spent") || len(out.Data) > 0 {
		t.Errorf("got %v and %d bytes", err, len(out.Data))
	}
	c := newEncryptor(t, Chunks(), nil, sdk.Env{}).(*chunks)
	c.total.Store(envelope.MaxSeals)
	if err := c.End(&out); !fault.Is(err, "aesgcm.key_spent") {
		t.Errorf("got %v", err)
	}
}

// noise returns bytes that the length determines.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b) // it never fails
	return b
}

func TestChunks(t *testing.T) {
	const mib = envelope.ChunkSize
	for _, size := range []int{0, 1, mib - 1, mib, mib + 1, 5*mib + 12345} {
		for _, pieces := range [][]int{{1 << 30}, {mib}, {100_000, 7, 0}, {mib - 1, 2}} {
			for _, atOnce := range []int{1, 3} {
				t.Run(fmt.Sprint(size, pieces, atOnce), func(t *testing.T) {
					var counted counts
					c := newEncryptor(t, Chunks(), nil, counted.env()).(*chunks)
					c.atOnce = atOnce
					plain := noise(size)
					var sealed []byte
					var out sdk.Output
					collect := func(err error) {
						t.Helper()
						if err != nil {
							t.Fatal(err)
						}
						sealed = append(sealed, out.Data...)
						out.Reset()
					}
					collect(c.Begin(&out))
					rest := plain
					for i := 0; len(rest) > 0; i++ {
						n := min(pieces[i%len(pieces)], len(rest))
						// The piece's memory is another's afterwards.
						piece := bytes.Clone(rest[:n])
						collect(c.Seal(context.Background(), sdk.Chunk{Data: piece, First: int64(i)}, &out))
						clear(piece)
						rest = rest[n:]
					}
					collect(c.End(&out))
					units := open(t, sealed)
					if want := max(1, (size+mib-1)/mib); len(units) != want || counted.n["seals_"+ringIDs(t)[0]] != int64(want) || len(counted.n) != 1 {
						t.Fatalf("%d units, counted %v, want %d", len(units), counted.n, want)
					}
					for i, u := range units[:len(units)-1] {
						if len(u) != mib {
							t.Errorf("unit %d has %d bytes", i, len(u))
						}
					}
					if !bytes.Equal(slices.Concat(units...), plain) {
						t.Error("other bytes came back")
					}
				})
			}
		}
	}
}

// TestChunksCancelled ends a run while chunks are being sealed.
func TestChunksCancelled(t *testing.T) {
	c := newEncryptor(t, Chunks(), nil, sdk.Env{}).(*chunks)
	c.atOnce = 2
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	var out sdk.Output
	// A unit that is never done keeps the stage waiting.
	c.sealing = []*unit{{done: make(chan struct{})}, {done: make(chan struct{})}}
	if err := c.Seal(ctx, sdk.Chunk{Data: make([]byte, envelope.ChunkSize)}, &out); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

// TestRun takes rows through the runner, on several cores, and holds the order.
func TestRun(t *testing.T) {
	bundle := runnertest.Bundle("test")
	const count = 20_000
	for _, d := range []sdk.Definition{Rows(), Chunks()} {
		t.Run(d.Name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out")
			source, _ := bundle.Find("source", "count")
			sink, _ := bundle.Find("sink", "file")
			target, err := json.Marshal(map[string]string{"path": path})
			if err != nil {
				t.Fatal(err)
			}
			group, err := runner.Open(runner.Config{RunID: "r", Workers: 4, Stages: []runner.Stage{
				{ID: "source", Definition: source, Settings: fmt.Appendf(nil, `{"rows":%d,"batch":777}`, count)},
				{ID: "encoder", Definition: ndjson.Stage(), Settings: []byte(`{}`)},
				{ID: "encryptor", Definition: d, Settings: settings(t, nil)},
				{ID: "sink", Definition: sink, Settings: target},
			}})
			if err != nil {
				t.Fatal(err)
			}
			if err := group.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := group.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			sealed, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			units := open(t, sealed)
			var want strings.Builder
			for i := range count {
				fmt.Fprintf(&want, "{\"n\":%d}\n", i)
			}
			if string(slices.Concat(units...)) != want.String() {
				t.Error("other rows came back")
			}
			result := group.Result()
			if got := result.Counters["encryptor.seals_"+ringIDs(t)[0]]; got != int64(len(units)) || !result.Media.Sealed {
				t.Errorf("counted %d, but there are %d; %+v", got, len(units), result.Media)
			}
		})
	}
}

func BenchmarkRows(b *testing.B) {
	record := sample.Appointments(2048, 1)
	defer record.Release()
	encoded, err := sample.Encode(sample.NewEncoder(b, ndjson.Stage(), `{}`, sdk.Env{}), sdk.Rows{Record: record})
	if err != nil {
		b.Fatal(err)
	}
	e := newEncryptor(b, Rows(), nil, sdk.Env{})
	var out sdk.Output
	meter := sample.NewMeter(b)
	for b.Loop() {
		out.Reset()
		if err := e.Seal(context.Background(), sdk.Chunk{Data: encoded.Data, Ends: encoded.Ends}, &out); err != nil {
			b.Fatal(err)
		}
		meter.Rows += record.NumRows()
		meter.Size += int64(len(encoded.Data))
	}
	meter.Report()
}

// BenchmarkChunks counts a piece of 256 KiB as a row.
func BenchmarkChunks(b *testing.B) {
	for _, atOnce := range []int{1, 2} {
		b.Run(fmt.Sprintf("at_once_%d", atOnce), func(b *testing.B) {
			c := newEncryptor(b, Chunks(), nil, sdk.Env{}).(*chunks)
			c.atOnce = atOnce
			piece := noise(256 << 10)
			var out sdk.Output
			meter := sample.NewMeter(b)
			for b.Loop() {
				out.Reset()
				if err := c.Seal(context.Background(), sdk.Chunk{Data: piece}, &out); err != nil {
					b.Fatal(err)
				}
				meter.Rows++
				meter.Size += int64(len(piece))
			}
			meter.Report()
			if err := c.End(&out); err != nil {
				b.Fatal(err)
			}
		})
	}
}
