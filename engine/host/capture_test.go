package host

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
)

func newLog() (*capture, *strings.Builder) {
	var text strings.Builder
	return newCapture("p", slog.New(slog.NewTextHandler(&text, nil))), &text
}

// TestRedaction: no part of a secret is in the log, in whatever form lines of text
// give it, and what is no secret stays.
func TestRedaction(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		secrets []string
		written string
		want    string // lines, joined
	}{
		{"plain", []string{"hunter2"}, "user root, password hunter2, again hunter2\n", "user root, password [secret], again [secret]"},
		{"one begins with another", []string{"hunter", "hunter2-more"}, "hunter2-more hunter\n", "[secret] [secret]"},
		{"short", []string{"abc", ""}, "abc abcd\n", "[secret] abcd"},
		{"lines", []string{"first line\nsecond line\r\n  third line\nyes\n"}, "first line\nsecond line\r\nthird line\nyes\n", "[secret]|[secret]|[secret]|yes"},
		{"lines in one", []string{"first line\nsecond line"}, `"first line\nsecond line" first line` + "\n", `"[secret]" [secret]`},
		{"quoted by Go", []string{"a\"b\\c\té"}, fmt.Sprintf("%q\n", "a\"b\\c\té"), `"[secret]"`},
		{"quoted by JSON", []string{`<a&b>"`}, `{"x":"\u003ca\u0026b\u003e\""} {"x":"<a&b>\""}` + "\n", `{"x":"[secret]"} {"x":"[secret]"}`},
		{"cut in it", []string{"hunter2-more"}, strings.Repeat("-", maxLine-8) + "hunter2-more\nnext\n", strings.Repeat("-", maxLine-8) + "[secret]|next"},
		{"cut before it", []string{"hunter2"}, strings.Repeat("-", maxLine) + "hunter2\n", strings.Repeat("-", maxLine)},
		{"cut after three bytes", []string{"hunter2"}, strings.Repeat("-", maxLine-3) + "hunter2\n", strings.Repeat("-", maxLine-3) + "hun"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			log, text := newLog()
			log.redact(c.secrets)
			if _, err := io.WriteString(log.stream("stderr"), c.written); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(log.last(), "|"); got != c.want {
				t.Errorf("last lines %q, want %q", got, c.want)
			}
			if n, want := strings.Count(text.String(), redacted), strings.Count(c.want, redacted); n != want {
				t.Errorf("%d blanks in the log, want %d: %s", n, want, text)
			}
		})
	}
}

// FuzzCapture: however text is cut into pieces, lines are whole, in order and bounded.
func FuzzCapture(f *testing.F) {
	f.Add("one\ntwo\r\n\nthree hunter2\n", uint8(3))
	f.Add(strings.Repeat("x", 3*maxLine)+"\nshort\n", uint8(255))
	f.Add("\xff\xfe\x00\n", uint8(0))
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		whole, _ := newLog()
		pieces, _ := newLog()
		for _, log := range []*capture{whole, pieces} {
			log.redact([]string{"hunter2"})
		}
		if n, err := io.WriteString(whole.stream("s"), text); n != len(text) || err != nil {
			t.Fatal(n, err)
		}
		w := pieces.stream("s")
		for rest := text; rest != ""; {
			n := min(int(size)+1, len(rest))
			if _, err := io.WriteString(w, rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		got, want := pieces.last(), whole.last()
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("in pieces %q, at once %q", got, want)
		}
		for _, line := range got {
			// A byte that is no text takes three.
			if len(line) > 3*maxLine+len(redacted) || strings.ContainsAny(line, "\n") || strings.Contains(line, "hunter2") {
				t.Errorf("line %q", line)
			}
		}
		if len(got) > keptLines {
			t.Errorf("%d lines", len(got))
		}
	})
}
