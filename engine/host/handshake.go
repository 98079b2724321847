package host

import (
	"bufio"
	"io"
	"regexp"
)

const (
	// maxHandshake bounds the handshake line; with a certificate it has about 1 kB.
	maxHandshake = 16 << 10
	// maxChatter bounds what may come before it, in bytes.
	maxChatter = 64 << 10
)

// handshakeLine begins as go-plugin's handshake does: the version of go-plugin's
// protocol, that of ours, and the network of the address.
var handshakeLine = regexp.MustCompile(`^ *[0-9]+\|[0-9]+\|[a-z]+\|`)

// splitHandshake takes the handshake line out of a plugin's standard output and writes it to handshake, which it then
// closes. All else goes to the log: what follows the line, and the lines before it, which some library may have written
// and for each of which noted is called. After maxChatter bytes without a handshake handshake is closed empty.
func splitHandshake(from io.Reader, handshake *io.PipeWriter, log io.Writer, noted func()) {
	defer handshake.Close()
	reader := bufio.NewReaderSize(from, maxHandshake)
	for chatter, begun := 0, false; chatter <= maxChatter; {
		line, err := reader.ReadSlice('\n')
		if !begun && err != bufio.ErrBufferFull && handshakeLine.Match(line) {
			_, _ = handshake.Write(line)
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
	handshake.Close()
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
