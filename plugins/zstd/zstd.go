// Package zstd is the compressor stage that writes the Zstandard format (RFC 8878).
// It owns the one frame that a stream becomes, whatever the number of cores; the
// blocks are the library's. It never writes a second frame, because some readers
// stop after the first.
package zstd

import (
	"context"
	"encoding/binary"
	"runtime"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/cipherstream/cipherstream/plugins/internal/compress"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of the stage.
type Settings struct {
	Level int `config:"level" default:"3" min:"1" max:"19" doc:"Counts as the zstd program's levels do: 1 and 2 are fastest, 3 to 5 the usual, 6 to 9 smaller, 10 to 19 smallest and slow; within a group all are the same."`
}

const doc = `Writes one Zstandard frame (RFC 8878) with a checksum of its content. Any reader manages with
512 KiB of memory for the window. The frame is the same on any number of cores.

A stream of up to 8,192 bytes is stored, not compressed; it is a valid frame all the same. Behind an encryptor
of records, where only base64 is left to gain from, the stage takes the fastest level, whatever the setting, and
codes the text's letters: Zstandard has no mode without matches.`

// Stage defines the compressor.
func Stage() sdk.Definition {
	return sdk.DefineCompressor(sdk.About{
		Name:    "zstd",
		Summary: "Compresses with Zstandard (RFC 8878).",
		Doc:     doc,
		// The frame's matches reach back over pieces, so that they come in order; the
		// encoder itself works on all cores.
		Concurrent: false,
	}, func(s Settings, _ sdk.Env) (sdk.Compressor, error) {
		return &compressor{level: zstd.EncoderLevelFromZstd(s.Level), now: time.Now}, nil
	})
}

const (
	// window is how far matches reach back. The encoder works on four windows at a
	// time on each core, so that this bounds its memory: 2 MiB of input for each job.
	window = 512 << 10
	// mostJobs bounds the jobs under way, and with them memory, on large machines.
	mostJobs = 8
	// slow is the pause between two pieces from which on what is there is given on at
	// once: the encoder would hold it until megabytes have come. It is less than the second for which a source waits
	// for more rows.
	slow = 900 * time.Millisecond
)

type compressor struct {
	level  zstd.EncoderLevel
	sealed bool

	// now is the clock, and idle the time since which no piece has come, at first that of Begin.
	now  func() time.Time
	idle time.Time

	// held is the beginning, until it is known to be too long to be stored.
	held []byte

	// mu keeps the end of the run, which may come at any time, from an encoder at work.
	mu      sync.Mutex
	encoder *zstd.Encoder
	frame   frame
	stop    func() bool
}

func (c *compressor) Bind(in sdk.Media) (sdk.Media, error) {
	if err := compress.Refuse("zstd", in); err != nil {
		return in, err
	}
	c.sealed = in.Sealed
	in.ContentEncoding = "zstd" // RFC 8878, section 7.2
	in.Extension += ".zst"
	return in, nil
}

func (c *compressor) Begin(*sdk.Output) error {
	c.idle = c.now()
	return nil
}

func (c *compressor) options() []zstd.EOption {
	options := []zstd.EOption{
		zstd.WithEncoderLevel(c.level),
		zstd.WithWindowSize(window),
		// Two at least, also on one core: jobs decide what the frame looks like.
		zstd.WithEncoderConcurrency(min(max(2, runtime.GOMAXPROCS(0)), mostJobs)),
		zstd.WithConcurrentBlocks(true),
		zstd.WithEncoderCRC(true),
	}
	if c.sealed {
		options = append(options, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithAllLitEntropyCompression(true))
	}
	return options
}

func (c *compressor) Compress(ctx context.Context, piece []byte, out *sdk.Output) error {
	if c.encoder == nil && len(c.held)+len(piece) <= compress.StoredLimit {
		c.held = append(c.held, piece...)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.encoder == nil {
		if err := c.start(ctx); err != nil {
			return err
		}
	}
	if _, err := c.encoder.Write(piece); err != nil {
		return broken(err)
	}
	if c.now().Sub(c.idle) >= slow {
		if err := c.encoder.Flush(); err != nil {
			return broken(err)
		}
	}
	c.idle = c.now()
	c.frame.take(out)
	return nil
}

// start makes the encoder, which has goroutines of its own: a run that ends before
// End is called ends them.
func (c *compressor) start(ctx context.Context) error {
	encoder, err := zstd.NewWriter(&c.frame, c.options()...)
	if err != nil {
		return broken(err)
	}
	if _, err := encoder.Write(c.held); err != nil {
		return broken(err)
	}
	c.encoder, c.held = encoder, nil
	c.stop = context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		encoder.Reset(nil)
	})
	return nil
}

func (c *compressor) End(out *sdk.Output) error {
	if c.encoder == nil {
		return c.store(out)
	}
	if !c.stop() {
		return context.Canceled
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.encoder.Close(); err != nil {
		return broken(err)
	}
	c.frame.take(out)
	return nil
}

// store writes a frame of one raw block.
func (c *compressor) store(out *sdk.Output) error {
	sum, err := checksum(c.held)
	if err != nil {
		return err
	}
	const (
		magic = 0xfd2fb528 // section 3.1.1
		// Section 3.1.1.1.1: a size of two bytes, one segment, a checksum.
		descriptor = 1<<6 | 1<<5 | 1<<2
		sizeBias   = 256
	)
	length := len(c.held)
	out.Data = binary.LittleEndian.AppendUint32(out.Data, magic)
	if length < sizeBias {
		out.Data = append(out.Data, descriptor&^(1<<6), byte(length)) // a size of one byte
	} else {
		out.Data = append(out.Data, descriptor)
		out.Data = binary.LittleEndian.AppendUint16(out.Data, uint16(length-sizeBias))
	}
	// Section 3.1.1.2: the last block, raw, and its size.
	header := uint32(length)<<3 | 1
	out.Data = append(out.Data, byte(header), byte(header>>8), byte(header>>16))
	out.Data = append(out.Data, c.held...)
	out.Data = append(out.Data, sum[:]...)
	return nil
}

// checksum returns the content checksum of a frame that holds text. The library
// keeps its hash to itself, but ends every frame with it.
func checksum(text []byte) (sum [4]byte, err error) {
	if len(text) == 0 {
		// The low half of XXH64 of nothing, which the library leaves out.
		return [4]byte{0x99, 0xe9, 0xd8, 0x51}, nil
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return sum, broken(err)
	}
	frame := encoder.EncodeAll(text, nil)
	copy(sum[:], frame[len(frame)-len(sum):])
	return sum, nil
}

func broken(err error) error {
	return fault.New("zstd.encoder", fault.Internal, "the encoder failed: %w", err)
}

// frame collects what the encoder writes, from a goroutine of its own.
type frame struct {
	mu   sync.Mutex
	data []byte
}

func (f *frame) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.data = append(f.data, p...)
	return len(p), nil
}

// take moves what is there to out.
func (f *frame) take(out *sdk.Output) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out.Data = append(out.Data, f.data...)
	f.data = f.data[:0]
}
