package outline

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// show writes a node on one line: {key: value}, [item], scalars as they are, and a key without colon as key?.
func show(n *Node) string {
	var parts []string
	switch n.Kind {
	case Map:
		for _, e := range n.Entries {
			if !e.Colon {
				parts = append(parts, e.Key+"?")
				continue
			}
			parts = append(parts, e.Key+": "+show(e.Value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case List:
		for _, item := range n.Items {
			parts = append(parts, show(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return strings.ReplaceAll(n.Text, "\n", "¶")
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"comments", "# a\n\n  # b\n", ""},
		{"a document", "---\na: 1 # one\nb:\n  c: x y\n  d: 'e: f'\n", "{a: 1, b: {c: x y, d: e: f}}"},
		{"byte order mark and CRLF", "\ufeffa: 1\r\nb:\r\n  c: 2\r\n", "{a: 1, b: {c: 2}}"},
		{"lists", "a:\n- b: 1\n  c: 2\n- d\nb:\n  - [x, y]\n  -\n    e: f\n", "{a: [{b: 1, c: 2}, d], b: [[x, y], {e: f}]}"},
		{"lists of lists", "- - a\n  - b\n- c\n", "[[a, b], c]"},
		{"in brackets", "a: {b: c, d: [e, 'f, g'], h: {i: 1}}\nj: 2\n", "{a: {b: c, d: [e, f, g], h: {i: 1}}, j: 2}"},
		{"brackets over lines", "a: {\n  b: c,\n  d: e\n}\nf: 1\n", "{a: {b: c, d: e}, f: 1}"},
		{"blocks", "a: >-\n  b: c\n\n  d\ne: |\n  x\nf: 1\n", "{a:   b: c¶¶  d, e:   x, f: 1}"},
		{"text over lines", "a: b\n  c\nd: \"e\n  f\"\ng: 1\n", "{a: b¶  c, d: e¶  f, g: 1}"},
		{"anchors and tags", "a: &x\n  b: 1\nc: &y d\ne: !t f\n", "{a: {b: 1}, c: d, e: f}"},
		{"keys in quotes", "\"a b\": 1\n'c' : 2\n", "{a b: 1, c: 2}"},
		{"colons in text", "a: mysql://x:y@z\n", "{a: mysql://x:y@z}"},

		{"a key that is typed", "a:\n  b: 1\n  ext\n", "{a: {b: 1, ext?}}"},
		{"a key that is typed before others", "a:\n  ext\n  b: 1\n", "{a: {ext?, b: 1}}"},
		{"a first key", "a:\n  ext\n", "{a: ext}"},
		{"brackets that are not closed", "a:\n  b: {c: d, e: {f\n  g: 1\nh: 2\n", "{a: {b: {c: d, e: {f?}}, g: 1}, h: 2}"},
		{"a list that is not closed", "a: [b, c\nd: 1\n", "{a: [b, c], d: 1}"},
		{"an item that is not closed", "- {a: 1, b\n- {a: 2}\n", "[{a: 1, b?}, {a: 2}]"},
		{"brackets closed too often", "a: {b: 1}}\nc: ]\nd: 2\n", "{a: {b: 1}, c: ], d: 2}"},
		{"a quote that is not closed", "a:\n  b: \"x\n  c: 1\nd: 2\n", "{a: {b: x, c: 1}, d: 2}"},
		{"a reference without quotes", "a: {b: ${params.x}, c: 1}\n", "{a: {b: ${params.x}, c: 1}}"},
		{"indented too far", "a:\n  b: 1\n     c: 2\n", "{a: {b: 1, c: 2}}"},
		{"indented too little", "a:\n    b: 1\n  c: 2\n", "{a: {b: 1}, c: 2}"},
		{"keys of an item that are indented too little", "a:\n  - b: 1\n   c: 2\n", "{a: [{b: 1, c: 2}]}"},
		{"dashes out of line", "- a: 1\n - b: 2\n- c: 3\n", "[{a: 1}, {b: 2}, {c: 3}]"},
		{"a tab", "a:\n\tb: 1\n", "{a: {b: 1}}"},
		{"only punctuation", "{:,}[\n]:{\n- ?\n", "{: }"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := show(Parse(c.text)); got != c.want {
				t.Errorf("%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// path writes steps as a.0.b.
func path(steps []Step) string {
	var parts []string
	for _, s := range steps {
		if s.Index >= 0 {
			parts = append(parts, fmt.Sprint(s.Index))
		} else {
			parts = append(parts, s.Key)
		}
	}
	return strings.Join(parts, ".")
}

// TestAt: | is where the cursor is.
func TestAt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"a:\n  b: |c\n", "a.b = c"},
		{"a:\n  b|b: c\n", "a, key bb"},
		{"a:\n  - x: 1\n    y: {z: q|}\n", "a.0.y.z = q"},
		{"a: [b, |c]\n", "a.1 = c"},
		{"a: {b: 1, |}\n", "a, a mapping"},
		{"a: \"${params.|}\"\nb: 1\n", "a = ${params.}"},
		{"a: |\nb: 1\n", "a = "},
	} {
		before, after, _ := strings.Cut(c.text, "|")
		p := Parse(before + after).At(len(before))
		got := path(p.Steps)
		switch {
		case p.Entry != nil:
			got += ", key " + p.Entry.Key
		case p.Node.Kind == Map:
			got += ", a mapping"
		default:
			got += " = " + p.Node.Text
		}
		if got != c.want {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
}

// check walks a node and holds its places.
func check(t *testing.T, text string, n *Node, depth int) {
	t.Helper()
	if n.Start < 0 || n.End < n.Start || n.End > len(text) || depth > 2*maxDepth+4 {
		t.Fatalf("%d to %d of %d, depth %d", n.Start, n.End, len(text), depth)
	}
	for _, e := range n.Entries {
		if e.KeyStart < 0 || e.KeyEnd < e.KeyStart || e.KeyEnd > len(text) {
			t.Fatalf("key %q from %d to %d of %d", e.Key, e.KeyStart, e.KeyEnd, len(text))
		}
		check(t, text, e.Value, depth+1)
	}
	for _, item := range n.Items {
		check(t, text, item, depth+1)
	}
}

// TestHostile: what is large or deep on purpose takes no longer than what is not.
func TestHostile(t *testing.T) {
	t.Parallel()
	const size = 1 << 18
	for _, piece := range []string{"[", "{", "- ", "a,", "[a,", "{a: ", "\"", "'\"", "a: \"\n", " a:\n", "a: |\n ", "\t", "#", "&x ", "a: {b\n", "-\n", ": ", "\r", "\ufeff", "a: b #\n  "} {
		text := strings.Repeat(piece, size/len(piece))
		for _, text := range []string{text, "[" + text, "a: [" + text, "a:\n  - " + text} {
			began := time.Now()
			n := Parse(text)
			check(t, text, n, 0)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%.20q takes %v", text, took)
			}
		}
	}
	var stairs strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&stairs, "%sa:\n", strings.Repeat(" ", i))
	}
	for i := range 1000 {
		fmt.Fprintf(&stairs, "%s- \n", strings.Repeat(" ", i))
	}
	check(t, stairs.String(), Parse(stairs.String()), 0)
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"a:\n  - b: {c: [d, 'e'], f: \"g\"}\n    h: >-\n      i\n", "- - a\n -b\n", "{a: ${x.y}, b", "a: &b !c 'd''e\n"} {
		f.Add(text, 5)
	}
	f.Fuzz(func(t *testing.T, text string, at int) {
		n := Parse(text)
		check(t, text, n, 0)
		n.At(at)
	})
}
