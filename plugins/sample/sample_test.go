package sample

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func rowsOf(n int) arrow.Record {
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "name", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range n {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		if i%5 == 0 {
			b.Field(1).AppendNull()
		} else {
			b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("é%d", i%7))
		}
	}
	return b.NewRecord()
}

// chosen are the numbers of the rows that go on.
func chosen(t *testing.T, s Settings, in arrow.Record, batch int64) string {
	t.Helper()
	f, err := newFilter(s, sdk.Env{Memory: memory.DefaultAllocator})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Bind(in.Schema()); err != nil {
		t.Fatal(err)
	}
	var list []string
	for from := int64(0); from < in.NumRows(); from += batch {
		out, err := f.Apply(t.Context(), in.NewSlice(from, min(from+batch, in.NumRows())))
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(out.NumRows()) {
			list = append(list, fmt.Sprint(out.Column(0).(*array.Int64).Value(i)))
		}
	}
	return strings.Join(list, " ")
}

// oracle is the rule of the documentation, in another language.
const oracle = `
import hashlib, struct, sys
from fractions import Fraction
fraction, seed, by = Fraction(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
out = []
for i in range(1000):
    b = struct.pack(">q", seed)
    if by == "":
        b += struct.pack(">Q", i)
    else:
        for c in by.split(","):
            v = str(i) if c == "n" else None if i % 5 == 0 else "é%d" % (i % 7)
            b += b"\0" if v is None else b"\1" + struct.pack(">Q", len(v.encode())) + v.encode()
    if Fraction(int.from_bytes(hashlib.sha256(b).digest()[:8], "big")) < fraction * 2**64:
        out.append(str(i))
print(" ".join(out))
`

// TestChoice: the rows are those that the documented rule names, computed by another program, in batches of any size.
func TestChoice(t *testing.T) {
	t.Parallel()
	in := rowsOf(1000)
	for _, s := range []Settings{
		{Fraction: "0.05"}, {Fraction: "0.05", Seed: -3}, {Fraction: "0.333333333333333333333"}, {Fraction: "1"},
		{Fraction: "0.5", Seed: 9, By: []string{"n"}}, {Fraction: "0.5", By: []string{"name"}}, {Fraction: ".25", By: []string{"name", "n"}},
	} {
		out, err := exec.CommandContext(t.Context(), "python3", "-c", oracle, s.Fraction, fmt.Sprint(s.Seed), strings.Join(s.By, ",")).Output()
		if err != nil {
			t.Fatal(err)
		}
		want := strings.TrimSpace(string(out))
		for _, batch := range []int64{1, 7, 1000} {
			if got := chosen(t, s, in, batch); got != want {
				t.Errorf("%+v in batches of %d:\ngot  %s\nwant %s", s, batch, got, want)
			}
		}
	}
}

func TestFraction(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "0", "0.0", "1.1", "-0.5", "1/2", "1e-3", "x", "."} {
		if _, err := newFilter(Settings{Fraction: text}, sdk.Env{}); !fault.Is(err, "sample.fraction") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
