package terminal

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
)

// TestWriteJSON: whatever a text holds, a terminal shows it, and a machine reads it back.
func TestWriteJSON(t *testing.T) {
	const text = "a\x1b[31m\u009b2J\u202e\u2028\U000e0041\x7f\r\n\t\u00a0 <ä 日本 😀> \ufffd \\ \""
	var b strings.Builder
	if err := WriteJSON(&b, map[string]string{text: text}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsFunc(b.String(), func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }) {
		t.Errorf("a terminal gets %q", b.String())
	}
	if !strings.Contains(b.String(), "<ä 日本 😀>") {
		t.Errorf("what is text is not left as it is: %s", b.String())
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil || got[text] != text {
		t.Errorf("read back: %q, %v", got, err)
	}
}
