package python

import (
	"bytes"
	"strings"
	"testing"
)

// TestScript: scripts get their input and arguments, print bytes, and know nothing of each other, also after one that
// failed or printed half of something.
func TestScript(t *testing.T) {
	input := bytes.Repeat([]byte("\x00\xffä\r\n"), 1<<18)
	const reverse = "import sys\nfound = sys.argv[1:]\nassert found == ['a b', 'ü']\nsys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])"
	for range 2 {
		got := Script(t, reverse, input, "a b", "ü")
		if len(got) != len(input) || got[0] != '\n' || got[len(got)-1] != 0 {
			t.Fatalf("%d bytes, want %d", len(got), len(input))
		}
	}
	if got := string(Script(t, "print('found' in globals(), len(__import__('sys').argv), input())", []byte("ä\n"))); got != "False 1 ä\n" {
		t.Errorf("%q", got)
	}
	for _, bad := range []string{"print('half', end='')\nraise ValueError('oh no')", "import sys; sys.exit('oh no')", "oh no"} {
		if out, err := inSession(bad, nil, nil); err == nil || len(out) > 0 || !strings.Contains(err.Error(), "oh no") {
			t.Errorf("%s: %q, %v", bad, out, err)
		}
	}
	if n := len(sessions.idle); n != 1 {
		t.Errorf("%d interpreters, want one", n)
	}
	// One that breaks off is not used again.
	if _, err := inSession("import os; os._exit(7)", nil, nil); err == nil || len(sessions.idle) != 0 {
		t.Errorf("%v, %d interpreters", err, len(sessions.idle))
	}
	if got := string(Script(t, "print(1)", nil)); got != "1\n" {
		t.Errorf("%q", got)
	}
}
