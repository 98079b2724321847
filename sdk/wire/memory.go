package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// A stream between two processes of one machine may have memory that both have mapped (SHARED.md). It is the reader's: a file in memory
// of a fixed size, cut into slots of SlotBytes. A body that lies in a slot does not cross the connection; the message says
// where it begins. After its last Release the reader sends the number of the slot back, one byte the other way, and the
// writer may use it again. A body for which no slot is free, and one that is small or larger than a slot, crosses the
// connection as in any stream, so that nobody has to wait for memory that somebody holds. Whoever makes values may wait for a
// slot to make them in.
//
// Such a message begins with the marker FF FF FF FE in place of FF FF FF FF, and has the position of the body in the file, 8
// bytes, little-endian, between the length of the metadata and the metadata. Everything else is as in a stream without memory.

// SlotBytes is the size of a slot: the most that a body may take that lies in the memory.
const SlotBytes = 2 << 20

// slotHead is how much of a slot is left free before what is made in it: for what a message has before that, which are the
// offsets of as many lines as a batch has.
const slotHead = 64 << 10

// maxSlots keeps the number of a slot below the other words that a reader may send, and a file within 64 MiB.
const maxSlots = 32

// leastShared is the size of the smallest body that is worth a slot.
const leastShared = 16 << 10

// atMemory is the marker of a message whose body lies in the memory.
const atMemory = 0xFEFFFFFF

// ErrMemory means that shared memory cannot be had, or that a file is not what a reader makes.
var ErrMemory = errors.New("wire: no shared memory")

// ReadMemory is the reader's side of shared memory. The writer can write what the reader reads at any time, so it is only for
// writers whose code is trusted: what is checked of a batch (offsets and bitmaps) is copied before, and values are not.
type ReadMemory struct {
	conn syscall.RawConn
	file mapping

	mu     sync.Mutex
	out    []bool // by slot
	lent   int    // how many are out
	closed bool
}

// NewReadMemory makes memory of some slots, at most 32, for what is read from a connection. The file is to be sent to the
// writer; the caller closes it then. Only touched pages are taken. The error is ErrMemory where a system does not have it.
func NewReadMemory(conn *net.UnixConn, slots int) (*ReadMemory, *os.File, error) {
	if slots < 1 || slots > maxSlots {
		return nil, nil, fmt.Errorf("%w: %d slots; expected 1 to %d", ErrMemory, slots, maxSlots)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrMemory, err)
	}
	mapped, file, err := makeMemory(slots * SlotBytes)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrMemory, err)
	}
	m := &ReadMemory{conn: raw, file: mapped, out: make([]bool, slots)}
	// Records that nobody released, and that are garbage now, must not keep it.
	mapped.unmapAfter(m)
	return m, file, nil
}

// Close gives the memory back as soon as the last record that lies in it is released, or is garbage.
func (m *ReadMemory) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.unmap()
}

func (m *ReadMemory) unmap() {
	if m.closed && m.lent == 0 {
		m.file.unmap()
	}
}

// lend finds a body of n bytes that the peer says is at a position, and counts its slot as out.
func (m *ReadMemory) lend(at uint64, n int64) (body []byte, slot int, err error) {
	size := uint64(len(m.out)) * SlotBytes
	switch {
	case n <= 0 || n > SlotBytes || at >= size || at%SlotBytes+uint64(n) > SlotBytes:
		return nil, 0, malformed("a body of %d bytes at position %d of the shared memory, which has %d slots of %d", n, at, len(m.out), SlotBytes)
	case at%alignment != 0:
		return nil, 0, malformed("a body at position %d of the shared memory; expected a multiple of %d", at, alignment)
	}
	slot = int(at / SlotBytes)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, 0, fmt.Errorf("%w: it is closed", ErrMemory)
	}
	if m.out[slot] {
		return nil, 0, malformed("a body in slot %d of the shared memory, which was not given back", slot)
	}
	m.out[slot] = true
	m.lent++
	return m.file.data[at : at+uint64(n) : at+uint64(n)], slot, nil
}

// giveBack returns a slot to the writer.
func (m *ReadMemory) giveBack(slot int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out[slot] = false
	m.lent--
	if !m.closed {
		// Never waits: a writer has no more slots than fit its side of the connection. One that is gone needs none.
		_ = m.conn.Control(func(fd uintptr) { sendByte(fd, byte(slot)) })
	}
	m.unmap()
}

// WriteMemory is the writer's side of shared memory.
type WriteMemory struct {
	file mapping

	mu      sync.Mutex
	from    *returns // where Take and Await read what is given back; nil where Receive is told
	slots   []slotState
	free    []byte // the one that was given back last is at the end, and the warmest
	waiting int    // calls of Await
	freed   chan struct{}
	over    bool // nothing is given back any more
	closed  bool
}

// returns is a connection over which a reader gives slots back.
type returns struct {
	conn      *net.UnixConn
	raw       syscall.RawConn
	other     func(word byte)
	listening bool // one call of Await waits for the connection, in the place of all
}

type slotState uint8

const (
	slotFree slotState = iota
	slotTaken
	slotSent
)

// NewWriteMemory maps the file that a reader has sent. The caller closes the file. It trusts no reader: a file that could
// shrink, which would end this process, is ErrMemory. Whoever reads the connection hands over by Receive what the reader
// gives back, or leaves that to ReceiveFrom.
func NewWriteMemory(file *os.File) (*WriteMemory, error) {
	mapped, err := mapMemory(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMemory, err)
	}
	m := &WriteMemory{file: mapped, slots: make([]slotState, len(mapped.data)/SlotBytes), freed: make(chan struct{})}
	for slot := len(m.slots) - 1; slot >= 0; slot-- {
		m.free = append(m.free, byte(slot))
	}
	return m, nil
}

// Close unmaps the memory. Nothing that was taken may be used any more.
func (m *WriteMemory) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free, m.closed = nil, true
	m.file.unmap()
}

// Take returns memory to make values in, without length, or nil when no slot is free. A record whose buffer of values
// begins where this memory does is written without a copy where that is possible. Then the memory is the reader's, as
// Writer.InPlace says, and else it is given back with Put. It may be called from any goroutine.
func (m *WriteMemory) Take() []byte {
	slot, ok := m.take()
	if !ok {
		return nil
	}
	return m.inSlot(slot)
}

// Await is Take, but waits for a slot. It returns nil when ctx has ended, and after Over. It is for those who give slots on
// without waiting for each other: a slot that somebody keeps for a later batch than this one's must not be the last.
func (m *WriteMemory) Await(ctx context.Context) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting++
	defer func() { m.waiting-- }()
	for {
		if slot, ok := m.pop(); ok {
			return m.inSlot(slot)
		}
		if m.over || ctx.Err() != nil {
			return nil
		}
		if m.from != nil && !m.from.listening {
			m.listen(ctx)
			continue
		}
		freed := m.freed
		m.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
		}
		m.mu.Lock()
	}
}

// ReceiveFrom has Take and Await themselves read from a connection what the reader gives back, when they find no slot free:
// a reader that gives one back while others are free wakes nobody. Nobody else may read the connection. Other is told each
// word that is no number of a slot, and must not call m. A connection that has ended does what Over does.
func (m *WriteMemory) ReceiveFrom(conn *net.UnixConn, other func(word byte)) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.from = &returns{conn: conn, raw: raw, other: other}
	return nil
}

// poll takes what was given back by now.
func (m *WriteMemory) poll() {
	var words [2 * maxSlots]byte
	n := 0
	// Whether the connection has ended finds who waits for it.
	_ = m.from.raw.Control(func(fd uintptr) { n = receiveBytes(fd, words[:]) })
	m.receive(words[:n])
}

// listen waits for what is given back, or the end of ctx.
func (m *WriteMemory) listen(ctx context.Context) {
	from := m.from
	from.listening = true
	m.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = from.conn.SetReadDeadline(time.Now()) }) // fails when it is closed, which ends the reading too
	var words [2 * maxSlots]byte
	n, err := from.conn.Read(words[:])
	stop()
	m.mu.Lock()
	from.listening = false
	m.receive(words[:n])
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded): // this ctx has ended, and not that of others, or something was put back
		_ = from.conn.SetReadDeadline(time.Time{})
	case err != nil:
		m.over = true
	}
	m.wake()
}

// Over says that Receive is not called any more: nobody waits for what is not given back.
func (m *WriteMemory) Over() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true
	m.wake()
}

// Slots is how many slots the memory has.
func (m *WriteMemory) Slots() int { return len(m.slots) }

func (m *WriteMemory) inSlot(slot int) []byte {
	return m.file.data[slot*SlotBytes+slotHead : slot*SlotBytes+slotHead : (slot+1)*SlotBytes]
}

// wake tells all calls of Await to look again.
func (m *WriteMemory) wake() {
	if m.waiting > 0 {
		close(m.freed)
		m.freed = make(chan struct{})
		if m.from != nil && m.from.listening {
			_ = m.from.conn.SetReadDeadline(time.Now()) // fails when it is closed, which ends the reading too
		}
	}
}

func (m *WriteMemory) take() (slot int, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pop()
}

func (m *WriteMemory) pop() (slot int, ok bool) {
	if len(m.free) == 0 && m.from != nil && !m.closed {
		m.poll()
	}
	last := len(m.free) - 1
	if last < 0 {
		return 0, false
	}
	slot = int(m.free[last])
	m.free = m.free[:last]
	m.slots[slot] = slotTaken
	return slot, true
}

// Receive takes the numbers of slots that the reader has given back. Only what was sent can be. It may be called from any
// goroutine.
func (m *WriteMemory) Receive(slots []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.receive(slots)
}

func (m *WriteMemory) receive(words []byte) {
	for _, word := range words {
		switch {
		case int(word) >= len(m.slots):
			if m.from != nil {
				m.from.other(word)
			}
		case m.slots[word] == slotSent && !m.closed:
			m.slots[word] = slotFree
			m.free = append(m.free, word)
			m.wake()
		}
	}
}

// Put gives back what Take returned and was not written in place, and reports whether b begins in such memory.
func (m *WriteMemory) Put(b []byte) bool {
	slot, at, in := m.find(b)
	if !in || at != slotHead {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.slots[slot] == slotTaken {
		m.slots[slot] = slotFree
		m.free = append(m.free, byte(slot))
		m.wake()
	}
	return true
}

// Holds reports whether b begins in the memory.
func (m *WriteMemory) Holds(b []byte) bool {
	_, _, in := m.find(b)
	return in
}

// find returns where b begins, if that is in the memory.
func (m *WriteMemory) find(b []byte) (slot, at int, in bool) {
	from := uintptr(unsafe.Pointer(unsafe.SliceData(m.file.data)))
	p := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	if p < from || p >= from+uintptr(len(m.file.data)) {
		return 0, 0, false
	}
	return int(p-from) / SlotBytes, int(p-from) % SlotBytes, true
}

// place brings a body into the memory, unless it is there, and returns its position. Without room it does nothing.
func (m *WriteMemory) place(pieces [][]byte, total int64) (position int64, inPlace, ok bool) {
	if total < leastShared || total > SlotBytes {
		return 0, false, false
	}
	before := 0
	for i, p := range pieces {
		slot, at, in := m.find(p)
		if !in || at != slotHead {
			before += len(p)
			continue
		}
		if !m.isTaken(slot) || before > slotHead || at-before+int(total) > SlotBytes {
			return 0, false, false
		}
		position = int64(slot*SlotBytes + at - before)
		m.copy(position, pieces, i)
		m.sent(slot)
		return position, true, true
	}
	slot, ok := m.take()
	if !ok {
		return 0, false, false
	}
	position = int64(slot * SlotBytes)
	m.copy(position, pieces, -1)
	m.sent(slot)
	return position, false, true
}

// copy copies pieces to a position, but for one that is there.
func (m *WriteMemory) copy(position int64, pieces [][]byte, there int) {
	to := m.file.data[position:]
	for i, p := range pieces {
		if i != there {
			copy(to, p)
		}
		to = to[len(p):]
	}
}

func (m *WriteMemory) isTaken(slot int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.slots[slot] == slotTaken
}

// sent says that a slot is the reader's, who may give it back at once.
func (m *WriteMemory) sent(slot int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.slots[slot] = slotSent
}
