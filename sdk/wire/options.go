package wire

import (
	"fmt"
	"math"
)

const (
	// alignment of every buffer relative to the start of its body, and of every body relative to the start of the
	// stream.
	alignment = 64

	// MaxMetadataBytes bounds the metadata of one message, which is ErrTooLarge above it. A record batch needs 16 bytes
	// per field and 16 per buffer, so this is room for hundreds of thousands of columns.
	MaxMetadataBytes = 16 << 20

	// maxRows bounds the rows of one batch, and the length of any nested array in it. Arrow asks for the same bound,
	// and it keeps a column without bytes (null type) from claiming an endless number of rows.
	maxRows = math.MaxInt32

	// maxDepth bounds the nesting of types, as Arrow's own implementations do.
	maxDepth = 64

	// maxFields bounds the number of fields of a schema, nested ones included.
	maxFields = 1 << 16

	defaultMaxBatchBytes   = 16 << 20
	defaultMaxMessageBytes = math.MaxInt32
	defaultPoolBytes       = 32 << 20
	defaultGrowBytes       = 16 << 20
)

// Option changes a setting of NewWriter or NewReader.
type Option func(*config)

type config struct {
	maxBatchBytes   int64
	maxMessageBytes int64
	poolBytes       int64
	trace           bool
	readMemory      *ReadMemory
	writeMemory     *WriteMemory

	// growBytes is how much of a body is allocated before the first of its bytes has arrived.
	growBytes int64
}

// WithMaxBatchBytes sets the size of a message body above which Writer splits a record by rows into several batches.
// Default 16 MiB. A single row that is larger goes as a batch of its own, up to WithMaxMessageBytes. Reader ignores it.
func WithMaxBatchBytes(n int64) Option { return func(c *config) { c.maxBatchBytes = n } }

// WithMaxMessageBytes sets the hard limit for one message body: Writer refuses to send more, Reader refuses to take
// more, both with ErrTooLarge. Default, and highest value, 2 GiB - 1.
func WithMaxMessageBytes(n int64) Option { return func(c *config) { c.maxMessageBytes = n } }

// WithPoolBytes sets how many bytes of released body buffers Reader keeps for the next bodies. Default 32 MiB; 0 keeps
// none. A buffer larger than half of it is not kept. Writer ignores it.
func WithPoolBytes(n int64) Option { return func(c *config) { c.poolBytes = n } }

// WithHolderTrace makes Reader note the stack of every Read, for Reader.Holders, and overwrite every buffer that is
// given back, so that a use after Release shows as garbage. For debugging and tests; it costs a stack walk and a pass
// over the body per batch. Writer ignores it.
func WithHolderTrace() Option { return func(c *config) { c.trace = true } }

// WithReadMemory makes Reader take bodies that lie in m. The stream must be that of m's connection. Writer ignores it.
func WithReadMemory(m *ReadMemory) Option { return func(c *config) { c.readMemory = m } }

// WithWriteMemory makes Writer put bodies into m. The stream must be that of m's connection. Reader ignores it.
func WithWriteMemory(m *WriteMemory) Option { return func(c *config) { c.writeMemory = m } }

func newConfig(opts []Option) (config, error) {
	c := config{
		maxBatchBytes:   defaultMaxBatchBytes,
		maxMessageBytes: defaultMaxMessageBytes,
		poolBytes:       defaultPoolBytes,
		growBytes:       defaultGrowBytes,
	}
	for _, o := range opts {
		o(&c)
	}
	if c.maxBatchBytes < 1 {
		return c, fmt.Errorf("wire: WithMaxBatchBytes(%d): expected at least 1", c.maxBatchBytes)
	}
	if c.maxMessageBytes < 1 || c.maxMessageBytes > defaultMaxMessageBytes {
		return c, fmt.Errorf("wire: WithMaxMessageBytes(%d): expected 1 to %d", c.maxMessageBytes, int64(defaultMaxMessageBytes))
	}
	if c.poolBytes < 0 {
		return c, fmt.Errorf("wire: WithPoolBytes(%d): expected 0 or more", c.poolBytes)
	}
	// A batch that must be refused if it is one row need not be tried whole.
	c.maxBatchBytes = min(c.maxBatchBytes, c.maxMessageBytes)
	return c, nil
}
