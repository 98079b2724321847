package host

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// TestLateOutput: what a process wrote before it ended is read by a host that was too
// busy to read it in time, and no more than that: somebody else may hold it open.
func TestLateOutput(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	words := strings.Repeat("the last words\n", 1000)
	if _, err := io.WriteString(write, words); err != nil {
		t.Fatal(err)
	}
	if err := read.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	close(ended)
	if got, err := io.ReadAll(newOutput(read, ended)); err != nil || string(got) != words {
		t.Errorf("%d of %d bytes, %v", len(got), len(words), err)
	}
}

// TestOutputEndsWithTheProcess: an output that is closed ends when the process has.
func TestOutputEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	write.Close()
	process := make(chan struct{})
	gone := false
	go func() {
		gone = true
		close(process)
	}()
	if got, err := io.ReadAll(newOutput(read, process)); err != nil || len(got) > 0 || !gone {
		t.Errorf("%q, %v; the process has ended: %t", got, err, gone)
	}
}
