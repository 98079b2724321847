package mysql

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

const (
	headerSize = 4
	// fullPayload is the payload length that says that another packet continues
	// this one (MySQL protocol, "Sending more than 16Mb").
	fullPayload = 1<<24 - 1
	// readBuffer is large enough that a read system call fetches thousands of rows.
	readBuffer = 512 << 10
	// keptReassembly is how much memory for reassembled packets outlives a packet.
	keptReassembly = 4 << 20
)

// wire reads and writes packets on an authenticated connection. Packets that
// fit the read buffer are handed out in place.
type wire struct {
	conn net.Conn
	buf  []byte
	r, w int    // unread bytes are buf[r:w]
	big  []byte // the current packet, when it did not fit buf
	seq  byte
	// limit bounds packets after reassembly.
	limit bound
	// idle is the longest wait for bytes; 0 waits forever.
	idle time.Duration
	// flushAt, unless zero, is when next gives up waiting and returns errNotYet.
	flushAt time.Time
	// dead is true when the connection broke by itself, and was not interrupted by a deadline.
	dead bool

	mu          sync.Mutex
	interrupted bool
}

// bound is the largest packet that is taken.
type bound struct {
	bytes int
	// of says what the packets are of; empty means rows, whose size a setting bounds.
	of string
}

func (b bound) exceeded() error {
	if b.of != "" {
		return protocolFault("a packet of %s has more than %d bytes", b.of, b.bytes)
	}
	return fault.New(codeRowSize, fault.Data, "the server sends a row of more than %d bytes", b.bytes).
		WithHint("raise max_row_size (at most 1GiB), or select less")
}

func newWire(conn net.Conn, limit bound, idle time.Duration) *wire {
	return &wire{conn: conn, buf: make([]byte, readBuffer), limit: limit, idle: idle}
}

// interrupt makes the current and every later read fail at once.
func (c *wire) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupted = true
	_ = c.conn.SetDeadline(time.Unix(1, 0)) // a closed connection fails anyway
}

// setDeadline bounds reads and writes until it is called again; the zero time
// removes the bound. After interrupt it does nothing.
func (c *wire) setDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.interrupted {
		_ = c.conn.SetDeadline(t) // a closed connection fails anyway
	}
}

// next returns the payload of the next packet. It is valid until the next call.
func (c *wire) next() ([]byte, error) {
	if c.w-c.r >= headerSize {
		h := c.buf[c.r:c.w]
		end := headerSize + (int(h[0]) | int(h[1])<<8 | int(h[2])<<16)
		if end <= len(h) && h[3] == c.seq && end < headerSize+fullPayload && end-headerSize <= c.limit.bytes {
			c.seq++
			c.r += end
			return h[headerSize:end:end], nil
		}
	}
	return c.nextSlow()
}

// nextSlow handles packets that are not in the buffer as a whole.
func (c *wire) nextSlow() ([]byte, error) {
	if !c.flushAt.IsZero() {
		if err := c.await(c.flushAt); err != nil {
			return nil, err
		}
	}
	if cap(c.big) > keptReassembly {
		c.big = nil
	}
	c.big = c.big[:0]
	for {
		n, err := c.header()
		if err != nil {
			return nil, err
		}
		if len(c.big)+n > c.limit.bytes {
			return nil, c.limit.exceeded()
		}
		if len(c.big) == 0 && n < len(c.buf) {
			if err := c.fill(n); err != nil {
				return nil, err
			}
			p := c.buf[c.r : c.r+n : c.r+n]
			c.r += n
			return p, nil
		}
		if err := c.appendBody(n); err != nil {
			return nil, err
		}
		if n < fullPayload {
			return c.big, nil
		}
	}
}

// header consumes a packet header and returns the payload's length.
func (c *wire) header() (int, error) {
	if err := c.fill(headerSize); err != nil {
		return 0, err
	}
	h := c.buf[c.r:]
	if h[3] != c.seq {
		return 0, protocolFault("packet has sequence number %d, expected %d", h[3], c.seq)
	}
	c.seq++
	c.r += headerSize
	return int(h[0]) | int(h[1])<<8 | int(h[2])<<16, nil
}

// appendBody reads n bytes to the end of big. Memory is taken as bytes arrive,
// not as a length announces them.
func (c *wire) appendBody(n int) error {
	for n > 0 {
		if c.r < c.w {
			k := min(n, c.w-c.r)
			c.big = append(c.big, c.buf[c.r:c.r+k]...)
			c.r += k
			n -= k
			continue
		}
		step := min(n, 1<<20)
		c.big = slices.Grow(c.big, step)
		k, err := c.read(c.big[len(c.big) : len(c.big)+step])
		if err != nil {
			return err
		}
		c.big = c.big[:len(c.big)+k]
		n -= k
	}
	return nil
}

// fill makes at least n bytes available in buf[r:w]; n is at most len(buf).
func (c *wire) fill(n int) error {
	if c.w-c.r >= n {
		return nil
	}
	c.w = copy(c.buf, c.buf[c.r:c.w])
	c.r = 0
	for c.w < n {
		k, err := c.read(c.buf[c.w:])
		if err != nil {
			return err
		}
		c.w += k
	}
	return nil
}

// read reads at least one byte.
func (c *wire) read(p []byte) (int, error) {
	if c.idle > 0 {
		c.setReadDeadline(time.Now().Add(c.idle))
	}
	for {
		n, err := c.conn.Read(p)
		if n > 0 {
			return n, nil
		}
		if err != nil {
			return 0, c.lost("reading", err)
		}
	}
}

// lost codes an error of the connection. An end of file must not stay in the
// chain: to the caller of a source it means that everything went well.
func (c *wire) lost(doing string, err error) error {
	if errors.Is(err, io.EOF) {
		err = errServerClosed
	}
	c.dead = c.dead || !errors.Is(err, os.ErrDeadlineExceeded)
	if errors.Is(err, os.ErrDeadlineExceeded) && c.idle > 0 {
		return fault.New(codeConnectionLost, fault.Source, "the server sent nothing for %s: %w", c.idle, err).
			WithHint("raise read_timeout if the query may think for so long").WithRetry()
	}
	return fault.New(codeConnectionLost, fault.Source, "the connection to the server was lost while %s: %w", doing,
		err).
		WithHint("run again; check the network, and the server's log for a crash").WithRetry()
}

// errServerClosed stands for io.EOF.
var errServerClosed = errors.New("the server closed it")

// command sends a command and its payload, and resets the sequence number for it.
func (c *wire) command(cmd byte, payload []byte) error {
	c.seq = 0
	return c.write([]byte{cmd}, payload)
}

// write sends a payload, in several packets when it must.
func (c *wire) write(payload ...[]byte) error {
	message := append(make([]byte, headerSize), slices.Concat(payload...)...)
	for {
		n := min(len(message)-headerSize, fullPayload)
		binary.LittleEndian.PutUint32(message, uint32(n))
		message[3] = c.seq
		c.seq++
		if _, err := c.conn.Write(message[:headerSize+n]); err != nil {
			return c.lost("writing", err)
		}
		if n < fullPayload {
			return nil
		}
		message = message[n:] // the last 4 bytes sent make room for the next header
	}
}

// lengthEncoded reads a length-encoded integer at p[pos:] and returns it and the
// position after it. It fails on a truncated integer, and on 0xFB (NULL) and
// 0xFF, which are none.
func lengthEncoded(p []byte, pos int) (value uint64, next int, ok bool) {
	if pos >= len(p) {
		return 0, 0, false
	}
	size := 0
	switch b := p[pos]; b {
	case 0xfc:
		size = 2
	case 0xfd:
		size = 3
	case 0xfe:
		size = 8
	case 0xfb, 0xff:
		return 0, 0, false
	default:
		return uint64(b), pos + 1, true
	}
	pos++
	if len(p)-pos < size {
		return 0, 0, false
	}
	for i := size - 1; i >= 0; i-- {
		value = value<<8 | uint64(p[pos+i])
	}
	return value, pos + size, true
}

// lengthEncodedBytes reads a length-encoded string and returns the position after it.
func lengthEncodedBytes(p []byte, pos int) (value []byte, next int, ok bool) {
	n, pos, ok := lengthEncoded(p, pos)
	if !ok || n > uint64(len(p)-pos) {
		return nil, 0, false
	}
	end := pos + int(n)
	return p[pos:end:end], end, true
}

// appendLengthEncoded appends a length-encoded integer.
func appendLengthEncoded(b []byte, n uint64) []byte {
	switch {
	case n < 0xfb:
		return append(b, byte(n))
	case n < 1<<16:
		return append(b, 0xfc, byte(n), byte(n>>8))
	case n < 1<<24:
		return append(b, 0xfd, byte(n), byte(n>>8), byte(n>>16))
	}
	return binary.LittleEndian.AppendUint64(append(b, 0xfe), n)
}
