package pipelinetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/engine/document"
)

// compareText compares bytes, and shows the first line that differs.
func compareText(want, got []byte) *Failure {
	if bytes.Equal(want, got) {
		return nil
	}
	if !utf8.Valid(want) || !utf8.Valid(got) {
		return compareBytes(want, got)
	}
	for line := 1; ; line++ {
		w, restWant := cutLine(want)
		g, restGot := cutLine(got)
		if bytes.Equal(w, g) && len(want) > 0 && len(got) > 0 {
			want, got = restWant, restGot
			continue
		}
		f := &Failure{Message: fmt.Sprintf("line %d of the output differs", line), Line: line}
		switch {
		case len(want) == 0:
			f.Message = fmt.Sprintf("the output goes on in line %d, where its end was expected", line)
			f.Got = visible(0, g)[0]
		case len(got) == 0:
			f.Message = fmt.Sprintf("the output ends before line %d", line)
			f.Expected = visible(0, w)[0]
		default:
			if bytes.Equal(bytes.TrimRight(w, "\r\n"), bytes.TrimRight(g, "\r\n")) {
				f.Message = fmt.Sprintf("line %d of the output differs in its line end", line)
				f.Hint = `a block of text ends its lines with \n, and every line; write "…\r\n" in double quotes for others, or use output_file`
			}
			shown := visible(common(w, g), w, g)
			f.Expected, f.Got = shown[0], shown[1]
		}
		return f
	}
}

// cutLine cuts off the first line with its end.
func cutLine(text []byte) (line, rest []byte) {
	i := bytes.IndexByte(text, '\n') + 1
	if i == 0 {
		i = len(text)
	}
	return text[:i], text[i:]
}

// common is how many bytes two texts have in common, at a character's beginning.
func common(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(a) && !utf8.RuneStart(a[n]) {
		n--
	}
	return n
}

// How many characters of a long line are shown before and after its first difference.
const (
	shownBefore = 40
	shownAfter  = 80
)

// visible shows lines around a byte offset. They are quoted when one of them ends in
// another way than with \n, or holds what cannot be seen.
func visible(at int, lines ...[]byte) []string {
	quote := false
	leads, texts, tails := make([]string, len(lines)), make([]string, len(lines)), make([]string, len(lines))
	for i, line := range lines {
		text, ended := strings.CutSuffix(string(line), "\n")
		from := min(at, len(text))
		before, after := []rune(text[:from]), []rune(text[from:])
		if len(before) > shownBefore {
			leads[i], before = "…", before[len(before)-shownBefore:]
		}
		if len(after) > shownAfter {
			tails[i], after = "…", after[:shownAfter]
		} else if !ended {
			tails[i] = " (without a line end)"
		}
		texts[i] = string(before) + string(after)
		unseen := strings.ContainsFunc(texts[i], func(r rune) bool { return r != ' ' && !unicode.IsGraphic(r) })
		quote = quote || !ended || unseen || texts[i] == "" || strings.TrimSpace(texts[i]) != texts[i]
	}
	for i := range texts {
		if quote {
			texts[i] = strconv.Quote(texts[i])
		}
		texts[i] = leads[i] + texts[i] + tails[i]
	}
	return texts
}

// compareBytes compares what is no text.
func compareBytes(want, got []byte) *Failure {
	n := 0
	for n < len(want) && n < len(got) && want[n] == got[n] {
		n++
	}
	around := func(b []byte) string {
		if n == len(b) {
			return fmt.Sprintf("the end, after %d bytes", len(b))
		}
		return fmt.Sprintf("%x… of %d bytes", b[n:min(n+16, len(b))], len(b))
	}
	return &Failure{Message: fmt.Sprintf("the output differs at byte %d (counted from 0)", n), Expected: around(want),
		Got: around(got)}
}

// compareRows compares NDJSON with expected rows, value by value. A key that is left
// out is null.
func compareRows(want []*document.Node, got []byte) *Failure {
	count := 0
	for line := range bytes.Lines(got) {
		count++
		var row map[string]json.RawMessage
		if err := json.Unmarshal(line, &row); err != nil {
			return &Failure{Message: fmt.Sprintf("line %d of the output is no JSON object: %v", count, err),
				Line: count, Got: visible(0, line)[0]}
		}
		if count > len(want) {
			continue
		}
		if f := compareRow(want[count-1], row, count); f != nil {
			return f
		}
	}
	if count != len(want) {
		return &Failure{Message: "the output has another number of rows", Expected: strconv.Itoa(len(want)),
			Got: strconv.Itoa(count)}
	}
	return nil
}

func compareRow(want *document.Node, row map[string]json.RawMessage, line int) *Failure {
	differs := func(column, expected, got string) *Failure {
		return &Failure{Message: fmt.Sprintf("row %d (counted from 1), column %q differs", line, column), Line: line,
			Expected: expected, Got: got}
	}
	for _, e := range want.Entries {
		got, ok := row[e.Key.Text]
		if !ok && e.Value.Kind != document.Null {
			return differs(e.Key.Text, string(encodeScalar(e.Value)), "no such key")
		}
		if ok && !same(e.Value, got) {
			return differs(e.Key.Text, string(encodeScalar(e.Value)), string(got))
		}
	}
	// The first key that was not expected, in the order of the alphabet: a map has none.
	unexpected := ""
	for key, value := range row {
		if want.Get(key) == nil && string(value) != "null" && (unexpected == "" || key < unexpected) {
			unexpected = key
		}
	}
	if unexpected != "" {
		return differs(unexpected, "null", string(row[unexpected]))
	}
	return nil
}

// same compares a value with JSON: text with text, by its characters, and anything
// else as it is written. An embedded document is compared with text.
func same(want *document.Node, got json.RawMessage) bool {
	if got[0] == '"' {
		var text string
		return json.Unmarshal(got, &text) == nil && want.Kind == document.Text && text == want.Text
	}
	if got[0] == '{' || got[0] == '[' {
		return want.Kind == document.Text && want.Text == string(got)
	}
	return want.Kind != document.Text && string(encodeScalar(want)) == string(got)
}
