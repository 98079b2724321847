//go:build unix

// Package stream is the sink stage that writes a byte stream to a file or a unix
// socket, and the sink with which a program writes a run's output to its own standard
// output. It owns the two phases of a file, the
// count and the digest of the bytes, and an end that comes promptly even while
// nobody reads; it never changes a byte.
package stream

import (
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// Settings are the settings of the stage.
type Settings struct {
	To     string `config:"to,required" doc:"An absolute path of a file, or unix:PATH for a unix socket that somebody listens on."`
	Digest string `config:"digest" enum:"sha256,none" default:"sha256" doc:"What the receipt says of the bytes besides their number: their SHA-256, or nothing, where nobody reads it."`
}

// DigestNone is the setting of a sink that makes no digest, and DigestSHA256 the usual one.
const (
	DigestNone   = "none"
	DigestSHA256 = "sha256"
)

const doc = `A file is written under a hidden name beside its final one, synchronised to the disk and then
renamed, so that the final name only ever holds a whole file; an existing file is replaced. The file
can be read by its owner alone (mode 0600), because it holds health data. A device such as /dev/null is
written to directly. The hidden file of a run that was killed is removed by its host, by the next run that writes the same
file, or by cipherstream sweep; it is locked as long as somebody writes it.

On a socket or a device, bytes are on their way before the run has succeeded: whoever
reads them learns from the run's result, not from the end of the stream, whether they are all.

The SHA-256 takes up to a quarter of the processor time of a run that neither compresses nor seals. It is made all the
same unless ` + "`digest: none`" + ` says that nobody reads it, because whoever is given the output later can hold it against the
receipt, and cannot make up for a digest that was left out. A sealed output has one always, because its receipt is
authenticated with it.`

// Stage defines the sink.
func Stage() sdk.Definition {
	return sdk.DefineSink(sdk.About{
		Name:    "stream",
		Summary: "Writes to a file or a unix socket.",
		Doc:     doc,
	}, newSink)
}

func newSink(s Settings, env sdk.Env) (sdk.Sink, error) {
	sink := newOutput(s.Digest)
	scheme, address, found := strings.Cut(s.To, ":")
	switch {
	case strings.HasPrefix(s.To, "/"):
		sink.to = &file{path: filepath.Clean(s.To), announce: env.Announce}
	case found && address == "":
		return nil, fault.New("sink.target", fault.Usage, "%q names no path behind the colon", s.To)
	case found && scheme == "unix":
		sink.to = &conn{name: s.To, dial: func(ctx context.Context) (outlet, error) { return dialSocket(ctx, address) }}
	default:
		return nil, fault.New("sink.target", fault.Usage, "%q is no place to write to", s.To).
			WithHint("give an absolute path, or unix:PATH")
	}
	return sink, nil
}

// target is where the bytes go. Errors are not coded yet.
type target interface {
	open(ctx context.Context, runID string) error
	// write returns how many bytes were taken, also with an error.
	write(ctx context.Context, p []byte) (int, error)
	commit() error
	// abort removes every trace. It may come at any time, and more than once.
	abort() error
	location() string
	// streams reports whether what is written is seen at once.
	streams() bool
}

// To returns a sink that writes to an open file: standard output, under the given name in receipts and faults. The
// file stays open and is not changed; it must outlive the run. Digest is DigestSHA256 or DigestNone.
func To(f *os.File, name, digest string) sdk.Sink {
	sink := newOutput(digest)
	sink.to = &conn{name: name, dial: func(context.Context) (outlet, error) { return sharing(f) }}
	return sink
}

func newOutput(digest string) *sink {
	if digest == DigestNone {
		return &sink{}
	}
	return &sink{sum: object.NewDigest()}
}

type sink struct {
	to        target
	sum       *object.Digest // nil without one
	bytes     int64          // that were taken
	opened    bool
	committed bool
}

func (s *sink) Open(ctx context.Context, object sdk.Object) error {
	err := s.to.open(ctx, object.RunID)
	s.opened = err == nil
	if f, is := s.to.(*file); is && f.temporary != "" {
		_, _ = Sweep(f.path) // what dead runs have left of it; it does not keep this one from its own
	}
	return s.code(err)
}

// Streams reports whether the bytes are seen as they come.
func (s *sink) Streams() bool { return s.to.streams() }

func (s *sink) Write(ctx context.Context, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	write := func(p []byte) error {
		n, err := s.to.write(ctx, p)
		s.bytes += int64(n)
		return s.code(err)
	}
	if s.sum == nil {
		return write(p)
	}
	_, err := s.sum.Beside(p, write)
	return err
}

func (s *sink) Commit(ctx context.Context) (sdk.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return sdk.Receipt{}, err
	}
	if err := s.to.commit(); err != nil {
		return sdk.Receipt{}, s.code(err)
	}
	s.committed = true
	receipt := sdk.Receipt{Bytes: s.bytes, Location: s.to.location()}
	if s.sum != nil {
		sum := s.sum.SHA256()
		receipt.SHA256 = hex.EncodeToString(sum[:])
	}
	return receipt, nil
}

// Abort works on a cancelled context too.
func (s *sink) Abort(context.Context) error {
	if s.committed {
		return nil
	}
	return s.code(s.to.abort())
}
