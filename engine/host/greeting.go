package host

import (
	"bufio"
	"io"
	"regexp"
)

const (
	// maxGreeting bounds the handshake line; with a certificate it has about 1 kB.
	maxGreeting = 16 << 10
	// maxChatter bounds what may come before it, in bytes.
	maxChatter = 64 << 10
)

// greetingLine begins as go-plugin's greeting does: the version of go-plugin's
// protocol, that of ours, and the network of the address.
var greetingLine = regexp.MustCompile(`^ *[0-9]+\|[0-9]+\|[a-z]+\|`)

// splitGreeting looks for the greeting on a plugin's standard output and gives it to
// the handshake. The lines before it, which some library may have written, and
// everything after it, go to the log; noted is called when there are such lines
// before it. When they are too many it stops looking, which the handshake sees.
func splitGreeting(from io.Reader, greeting *io.PipeWriter, log io.Writer, noted func()) {
	defer greeting.Close()
	reader := bufio.NewReaderSize(from, maxGreeting)
	for chatter, begun := 0, false; chatter <= maxChatter; {
		line, err := reader.ReadSlice('\n')
		if !begun && err != bufio.ErrBufferFull && greetingLine.Match(line) {
			_, _ = greeting.Write(line)
			break
		}
		if len(line) > 0 {
			noted()
			chatter += len(line)
			_, _ = log.Write(line)
		}
		begun = err == bufio.ErrBufferFull
		if err != nil && !begun {
			break
		}
	}
	greeting.Close()
	_, _ = io.Copy(log, reader)
}

func (c *child) noteChatter() {
	c.mu.Lock()
	c.chatter = true
	c.mu.Unlock()
}

func (c *child) chattered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.chatter
}
