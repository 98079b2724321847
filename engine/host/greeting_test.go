package host

import (
	"io"
	"strings"
	"testing"
)

// split runs splitGreeting over a plugin's whole output.
func split(output string) (greeting, log string, chatter bool) {
	read, write := io.Pipe()
	got := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(read)
		got <- string(text)
	}()
	var rest strings.Builder
	splitGreeting(strings.NewReader(output), write, &rest, func() { chatter = true })
	return <-got, rest.String(), chatter
}

func TestSplitGreeting(t *testing.T) {
	t.Parallel()
	const hello = "1|1|unix|/tmp/x|grpc|certificate\n"
	long := strings.Repeat("x", maxGreeting)
	for _, c := range []struct {
		name, output, greeting string
		chatter                bool
	}{
		{"alone", hello, hello, false},
		{"without a line end", strings.TrimSpace(hello), strings.TrimSpace(hello), false},
		{"with more", hello + "more\n" + hello, hello, false},
		{"after a banner", "library 1.2|3\n\n" + hello + "more", hello, true},
		{"after a long line", long + "\n" + hello, hello, true},
		{"in a long line", long + hello, "", true},
		{"at the end of the patience", strings.Repeat("chatter\n", maxChatter/8) + hello, hello, true},
		{"after it", strings.Repeat("chatter\n", maxChatter/8+1) + hello, "", true},
		{"too long", "1|1|unix|" + long + "\n", "", true},
		{"nothing", "", "", false},
		{"something else", "1|1", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			greeting, log, chatter := split(c.output)
			if greeting != c.greeting || chatter != c.chatter {
				t.Errorf("greeting %q, chatter %v", greeting, chatter)
			}
			if want := strings.Replace(c.output, c.greeting, "", 1); log != want {
				t.Errorf("%d bytes of log, want %d", len(log), len(want))
			}
		})
	}
}

// FuzzSplitGreeting: every byte goes to one of the two sides, and no more than one
// line to the handshake.
func FuzzSplitGreeting(f *testing.F) {
	f.Add("1|1|unix|/tmp/x|grpc\n")
	f.Add("hello\n 1|1|tcp|:1|grpc\nmore\n")
	f.Add(strings.Repeat("x", maxGreeting) + "1|1|unix|\n")
	f.Fuzz(func(t *testing.T, output string) {
		greeting, log, _ := split(output)
		if len(greeting)+len(log) != len(output) || strings.Count(greeting, "\n") > 1 || len(greeting) > maxGreeting {
			t.Errorf("greeting %q of %q", greeting, output)
		}
		if greeting != "" && !greetingLine.MatchString(greeting) {
			t.Errorf("greeting %q", greeting)
		}
	})
}
