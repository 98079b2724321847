package ageband

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/stagetest"
)

func TestConformance(t *testing.T) {
	stagetest.Run(t, Stage(), stagetest.Options{
		Settings: map[string]any{"column": "born", "as_at": "2024-06-30"},
		Columns:  []arrow.Field{{Name: "born", Type: arrow.FixedWidthTypes.Date32, Nullable: true}},
		Prompt:   10 * time.Second,
	})
}

func TestBands(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	counted := int64(0)
	raw, err := json.Marshal(map[string]any{"column": "born", "as_at": "2024-06-30", "width": 20, "top": 90})
	if err != nil {
		t.Fatal(err)
	}
	made, err := Stage().Make(raw, sdk.Env{Memory: mem, Count: func(_ string, n int64) { counted += n }})
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct{ born, want string }{
		{"2024-06-30", "0-19"}, {"2024-07-01", ""}, {"", ""},
		{"2004-06-30", "20-39"}, {"2004-07-01", "0-19"},
		{"1944-06-30", "80-89"}, {"1934-06-30", "90+"}, {"1934-07-01", "80-89"}, {"1890-01-01", "90+"},
		{"2004-02-29", "20-39"},
	}
	b := array.NewDate32Builder(mem)
	defer b.Release()
	for _, c := range cases {
		if day, err := time.Parse(time.DateOnly, c.born); err == nil {
			b.Append(arrow.Date32FromTime(day))
		} else {
			b.AppendNull()
		}
	}
	dates := b.NewArray()
	defer dates.Release()
	in := array.NewRecord(arrow.NewSchema([]arrow.Field{{Name: "born", Type: arrow.FixedWidthTypes.Date32, Nullable: true}}, nil),
		[]arrow.Array{dates}, int64(len(cases)))
	defer in.Release()
	f := made.(sdk.Filter)
	if _, err := f.Bind(in.Schema()); err != nil {
		t.Fatal(err)
	}
	out, err := f.Apply(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Release()
	bands := out.Column(0).(*array.String)
	for i, c := range cases {
		if bands.IsNull(i) != (c.want == "") || bands.IsValid(i) && bands.Value(i) != c.want {
			t.Errorf("born %q: %q, want %q", c.born, bands.Value(i), c.want)
		}
	}
	if counted != 1 {
		t.Errorf("%d were counted as born after as_at, want 1", counted)
	}
}
