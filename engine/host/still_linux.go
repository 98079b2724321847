package host

import (
	"bytes"
	"os"
)

// standsStill reports whether a process is stopped, or has ended and was not waited for
// (proc(5), the state in /proc/PID/stat).
func standsStill(pid int) bool {
	text, err := os.ReadFile(inProc(pid, "stat"))
	if err != nil {
		return true
	}
	// The name, in parentheses, may hold anything.
	_, after, found := bytes.Cut(text[bytes.LastIndexByte(text, ')')+1:], []byte(" "))
	return !found || len(after) == 0 || bytes.IndexByte([]byte("TtZX"), after[0]) >= 0
}
