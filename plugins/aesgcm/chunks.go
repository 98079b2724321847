package aesgcm

import (
	"context"
	"runtime"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/envelope"
)

const chunksDoc = `Seals a byte stream, usually a compressed one, with AES-256-GCM in chunks of 1 MiB; the last may be shorter. Each becomes
a line, ` + "`{\"encrypted_data\":\"KEY_ID:IV:CIPHERTEXT_AND_TAG\"}`" + `, with the additional authenticated data
` + "`stream:CUSTOMER:INDEX`" + `, the index being the chunk's. An empty stream becomes one line, of an empty chunk.

The result is NDJSON whatever was sealed; a file's name keeps its ending and gets ` + "`.sealed.ndjson`" + ` behind it:
data.csv.gz.sealed.ndjson.
The counter ` + "`seals_KEY_ID`" + ` tells how many chunks the key has sealed.`

// Chunks defines the encryptor of a byte stream.
func Chunks() sdk.Definition {
	return sdk.DefineEncryptor(sdk.About{
		Name:    "aes-256-gcm",
		Summary: "Seals any byte stream with AES-256-GCM, in chunks.",
		Doc:     chunksDoc,
		In:      sdk.ShapeBytes,
		Out:     sdk.ShapeBytes,
		// Chunks are cut anew, for which the pieces must come in order; the sealing
		// itself is done on all cores.
		Concurrent: false,
	}, func(s Settings, env sdk.Env) (sdk.Encryptor, error) {
		seals, err := newSeals(s, env)
		if err != nil {
			return nil, err
		}
		return &chunks{seals: seals, atOnce: min(runtime.GOMAXPROCS(0), mostAtOnce)}, nil
	})
}

// mostAtOnce bounds the chunks that are sealed at once, and with them memory, on large
// machines: about 4 MiB for each.
const mostAtOnce = 8

// chunks cuts a stream into units and seals several at once. Each unit has a goroutine
// of its own, which waits for nothing, and so ends by itself however the run ends.
type chunks struct {
	*seals
	atOnce int
	// filling is the unit that the next bytes go to, or nil.
	filling *unit
	// sealing is the units that are being sealed, in stream order.
	sealing []*unit
	// free is units to be used again.
	free []*unit
	next int64
}

// unit is a chunk and what becomes of it.
type unit struct {
	index int64
	plain []byte
	line  []byte
	done  chan struct{} // holds a token when line is made
}

// Bind takes anything that is not sealed.
func (c *chunks) Bind(in sdk.Media) (sdk.Media, error) {
	if err := refuseSealed(in); err != nil {
		return in, err
	}
	return sdk.Media{Type: typeNDJSON, Extension: in.Extension + ".sealed.ndjson", Sealed: true}, nil
}

func (c *chunks) Begin(*sdk.Output) error {
	c.begin()
	return nil
}

// Seal takes a piece of any size.
func (c *chunks) Seal(ctx context.Context, in sdk.Chunk, out *sdk.Output) error {
	data := in.Data
	for len(data) > 0 {
		u := c.filling
		if u == nil {
			u = c.take()
			c.filling = u
		}
		n := min(len(data), envelope.ChunkSize-len(u.plain))
		u.plain = append(u.plain, data[:n]...)
		data = data[n:]
		if len(u.plain) == envelope.ChunkSize {
			if err := c.start(ctx, out); err != nil {
				return err
			}
		}
	}
	return nil
}

// End seals what is left.
func (c *chunks) End(out *sdk.Output) error {
	if c.filling == nil && c.next == 0 {
		c.filling = c.take()
	}
	// What follows is a few chunks at most: there is nothing to be cancelled.
	ctx := context.Background()
	if c.filling != nil {
		if err := c.start(ctx, out); err != nil {
			return err
		}
	}
	for len(c.sealing) > 0 {
		if err := c.finish(ctx, out); err != nil {
			return err
		}
	}
	return nil
}

// take returns an empty unit.
func (c *chunks) take() *unit {
	if n := len(c.free); n > 0 {
		u := c.free[n-1]
		c.free = c.free[:n-1]
		u.plain, u.line = u.plain[:0], u.line[:0]
		return u
	}
	return &unit{done: make(chan struct{}, 1)}
}

// start begins to seal the unit that was filled, when there is room for it.
func (c *chunks) start(ctx context.Context, out *sdk.Output) error {
	if err := c.seals.take(1); err != nil {
		return err
	}
	for len(c.sealing) >= c.atOnce {
		if err := c.finish(ctx, out); err != nil {
			return err
		}
	}
	u := c.filling
	c.filling = nil
	u.index = c.next
	c.next++
	c.sealing = append(c.sealing, u)
	if c.atOnce == 1 {
		c.seal(u)
	} else {
		go c.seal(u)
	}
	return nil
}

func (c *chunks) seal(u *unit) {
	u.line = c.sealer.Seal(u.line, u.plain, u.index)
	u.done <- struct{}{}
}

// finish waits for the first of the units that are being sealed and writes its line.
func (c *chunks) finish(ctx context.Context, out *sdk.Output) error {
	u := c.sealing[0]
	select {
	case <-u.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	out.Data = append(out.Data, u.line...)
	c.sealing = append(c.sealing[:0], c.sealing[1:]...)
	c.free = append(c.free, u)
	return nil
}
