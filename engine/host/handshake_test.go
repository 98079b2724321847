package host

import (
	"io"
	"strings"
	"testing"
)

// split runs splitHandshake over a plugin's whole output.
func split(output string) (handshake, log string, chatter bool) {
	read, write := io.Pipe()
	got := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(read)
		got <- string(text)
	}()
	var rest strings.Builder
	splitHandshake(strings.NewReader(output), write, &rest, func() { chatter = true })
	return <-got, rest.String(), chatter
}

func TestSplitHandshake(t *testing.T) {
	t.Parallel()
	const hello = "1|1|unix|/tmp/x|grpc|certificate\n"
	long := strings.Repeat("x", maxHandshake)
	for _, c := range []struct {
		name, output, handshake string
		chatter                 bool
	}{
		{"alone", hello, hello, false},
		{"without a line end", strings.TrimSpace(hello), strings.TrimSpace(hello), false},
		{"with more", hello + "more\n" + hello, hello, false},
		{"after a banner", "library 1.2|3\n\n" + hello + "more", hello, true},
		{"after a long line", long + "\n" + hello, hello, true},
		{"in a long line", long + hello, "", true},
		{"at the end of what may come before", strings.Repeat("chatter\n", maxChatter/8) + hello, hello, true},
		{"after it", strings.Repeat("chatter\n", maxChatter/8+1) + hello, "", true},
		{"too long", "1|1|unix|" + long + "\n", "", true},
		{"nothing", "", "", false},
		{"something else", "1|1", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			handshake, log, chatter := split(c.output)
			if handshake != c.handshake || chatter != c.chatter {
				t.Errorf("handshake %q, chatter %v", handshake, chatter)
			}
			if want := strings.Replace(c.output, c.handshake, "", 1); log != want {
				t.Errorf("%d bytes of log, want %d", len(log), len(want))
			}
		})
	}
}

// FuzzSplitHandshake: every byte goes to one of the two sides, and no more than one
// line to the handshake.
func FuzzSplitHandshake(f *testing.F) {
	f.Add("1|1|unix|/tmp/x|grpc\n")
	f.Add("hello\n 1|1|tcp|:1|grpc\nmore\n")
	f.Add(strings.Repeat("x", maxHandshake) + "1|1|unix|\n")
	f.Fuzz(func(t *testing.T, output string) {
		handshake, log, _ := split(output)
		if len(handshake)+len(log) != len(output) || strings.Count(handshake, "\n") > 1 || len(handshake) > maxHandshake {
			t.Errorf("handshake %q of %q", handshake, output)
		}
		if handshake != "" && !handshakeLine.MatchString(handshake) {
			t.Errorf("handshake %q", handshake)
		}
	})
}
