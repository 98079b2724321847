package mysql

import (
	"errors"
	"os"
	"time"
)

// flushAfter is the longest that rows wait for others to fill their batch. A query that
// finds ten rows a second then shows them each second, and not when thousands are there.
const flushAfter = time.Second

// errNotYet says that no whole packet has come by wire.flushAt. Nothing is lost: what has
// come of it stays in the buffer.
var errNotYet = errors.New("no packet has come yet")

// await reads until the next packet is in the buffer as a whole, or is so large that it
// never will be. It returns errNotYet when until has passed before.
func (c *wire) await(until time.Time) error {
	for {
		need := headerSize
		if h := c.buf[c.r:c.w]; len(h) >= headerSize {
			need += int(h[0]) | int(h[1])<<8 | int(h[2])<<16
		}
		if c.w-c.r >= need || need > len(c.buf) {
			return nil
		}
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
		n, err := c.readUntil(c.buf[c.w:], until)
		if err != nil {
			return err
		}
		c.w += n
	}
}

// readUntil is read with one bound more.
func (c *wire) readUntil(p []byte, until time.Time) (int, error) {
	if c.idle > 0 && time.Until(until) >= c.idle {
		return c.read(p)
	}
	c.setReadDeadline(until)
	defer c.setReadDeadline(time.Time{})
	for {
		n, err := c.conn.Read(p)
		switch {
		case n > 0:
			return n, nil
		case errors.Is(err, os.ErrDeadlineExceeded) && !c.isInterrupted():
			return 0, errNotYet
		case err != nil:
			return 0, c.lost("reading", err)
		}
	}
}

// setReadDeadline bounds reads; the zero time removes the bound. After interrupt it does
// nothing.
func (c *wire) setReadDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.interrupted {
		_ = c.conn.SetReadDeadline(t) // a closed connection fails anyway
	}
}

func (c *wire) isInterrupted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.interrupted
}
