package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	t.Parallel()
	of := func(value, lowest, highest, aim float64) figure {
		return figure{Name: "f", Value: value, Lowest: lowest, Highest: highest, Aim: aim}
	}
	for _, c := range []struct {
		name       string
		was, is    figure
		says       string // at the end of the figure's line
		worse, big bool   // big: it should be large
	}{
		{"the same", of(1, 0.9, 1.1, 1), of(1, 0.9, 1.1, 1), "| 1.00 |  |", false, false},
		{"a little worse", of(1, 0.99, 1.01, 1), of(1.09, 1.08, 1.1, 1), "| 1.09 |  |", false, false},
		{"worse by a tenth", of(1, 0.99, 1.01, 1), of(1.1, 1.09, 1.11, 1), "| 1.10 | **WORSE** |", true, false},
		{"worse, and the rounds before were as high", of(1, 0.9, 1.3, 1), of(1.2, 1.19, 1.21, 1), "| 1.20 | noise |", false, false},
		{"worse, and the rounds after are as low", of(1, 0.99, 1.01, 1), of(1.2, 0.98, 1.21, 1), "| 1.20 | noise |", false, false},
		{"worse, and the rounds overlap beside both medians", of(1, 0.9, 1.15, 1), of(1.3, 1.1, 1.4, 1), "| 1.30 | **WORSE** |", true, false},
		{"worse, of a ratio without an aim", of(1, 0.99, 1.01, 0), of(1.2, 1.19, 1.21, 0), "| 1.20 | worse |", false, false},
		{"better", of(1, 0.99, 1.01, 1), of(0.5, 0.49, 0.51, 1), "| 0.50 | better |", false, false},
		{"less, of what should be large", of(8, 8, 8, 5.7), of(7, 7, 7, 5.7), "| 0.88 | **WORSE** |", true, true},
		{"more, of what should be large", of(8, 8, 8, 5.7), of(9, 9, 9, 5.7), "| 1.12 | better |", false, true},
	} {
		c.was.AtLeast, c.is.AtLeast = c.big, c.big
		before := figures{Measured: "run", Rows: 10, Figures: []figure{c.was}}
		after := figures{Measured: "run", Rows: 10, Figures: []figure{c.is}}
		var out bytes.Buffer
		err := compareFigures(&out, before, after)
		if (err != nil) != c.worse || err != nil && !strings.Contains(err.Error(), "\n  f") {
			t.Errorf("%s: %v", c.name, err)
		}
		if !strings.HasSuffix(out.String(), c.says+"\n") {
			t.Errorf("%s: no %q at the end of\n%s", c.name, c.says, out.String())
		}
	}
}

func TestCompareOthers(t *testing.T) {
	t.Parallel()
	run := figures{Measured: "run", Rows: 1000, Figures: []figure{{Name: "gone", Value: 1, Lowest: 1, Highest: 1, Aim: 2}}}
	more := figures{Measured: "run", Rows: 1000, Figures: []figure{{Name: "came", Value: 1, Lowest: 1, Highest: 1, Aim: 2}}}
	var out bytes.Buffer
	if err := compareFigures(&out, run, more); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"| came | ≤ 2.00 | | | 1.00 | 1.00–1.00 | | new |", "| gone | ≤ 2.00 | 1.00 | 1.00–1.00 | | | | not measured |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	for _, other := range []figures{{Measured: "peers", Rows: 1000}, {Measured: "run", Rows: 10}} {
		if err := compareFigures(&out, run, other); err == nil || !strings.Contains(err.Error(), "cannot be compared") {
			t.Errorf("%+v: %v", other, err)
		}
	}
}

// TestFiguresFile: what is written is read again, and nothing else is.
func TestFiguresFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "f.json")
	f := figures{Format: figuresFormat, Measured: "start", Rows: 10, Rounds: 3}
	f.add("a", []float64{3, 1, 2}, 4)
	f.add("none", nil, 4)
	f.addAtLeast("b", 8, 5)
	if err := f.write(file); err != nil {
		t.Fatal(err)
	}
	got, err := readFigures(file)
	if err != nil || len(got.Figures) != 2 || got.Figures[0] != (figure{"a", 2, 1, 3, 4, false}) || got.Figures[1] != (figure{"b", 8, 8, 8, 5, true}) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, c := range map[string]struct{ text, says string }{
		"no JSON":          {"{", "is not what -json writes"},
		"another format":   {`{"format":"cipherstream-bench/0"}`, "measure again"},
		"nothing measured": {`{"format":"` + figuresFormat + `","figures":[{"name":"a"}]}`, `"a" is 0`},
		"odd rounds":       {`{"format":"` + figuresFormat + `","figures":[{"name":"a","value":2,"lowest":3,"highest":4}]}`, "between 3 and 4"},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readFigures(file); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := compareFiles(&bytes.Buffer{}, file, file); err == nil {
		t.Error("a file that cannot be read was compared")
	}
}
