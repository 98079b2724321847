package suite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// sinkHarness tries sinks of bytes.
type sinkHarness struct {
	*harness
	definition stage.Definition
}

// sinkStage is a sink and the object that it should deliver.
type sinkStage struct {
	*instance
	sink   stage.Outcome
	object string // its path; empty if it has none
	wrote  bytes.Buffer
}

// bytes is the sink as one of bytes.
func (s *sinkStage) bytes() stage.Sink { return s.made.(stage.Sink) }

func (h *sinkHarness) open(ctx context.Context) (*sinkStage, error) {
	i, err := h.newInstance(ctx, h.definition)
	if err != nil {
		return nil, err
	}
	s := &sinkStage{instance: i, sink: i.made.(stage.Outcome), object: h.options.object(i.dir)}
	err = s.call(ctx, "Open", func(ctx context.Context) error {
		return s.bytes().Open(ctx, stage.Object{Media: h.options.Media, RunID: "conformance"})
	})
	if err != nil {
		_ = s.abort(ctx)
		s.close()
		return nil, err
	}
	return s, nil
}

// write writes pieces, each of which is overwritten afterwards.
func (s *sinkStage) write(ctx context.Context, pieces ...[]byte) error {
	for _, piece := range pieces {
		given := bytes.Clone(piece)
		err := s.call(ctx, "Write", func(ctx context.Context) error { return s.bytes().Write(ctx, given) })
		if !bytes.Equal(given, piece) {
			s.harness.report(CheckUntouched, "the sink changed the bytes that it was given")
		}
		fill(given)
		if err != nil {
			return err
		}
		s.wrote.Write(piece)
		if s.visible() {
			s.harness.report(CheckHidden, "the object is visible under its name before Commit")
		}
	}
	return nil
}

func (s *sinkStage) commit(ctx context.Context) (receipt stage.Receipt, err error) {
	err = s.call(ctx, "Commit", func(ctx context.Context) (err error) {
		receipt, err = s.sink.Commit(ctx)
		return err
	})
	return receipt, err
}

func (s *sinkStage) abort(ctx context.Context) error {
	return s.call(context.WithoutCancel(ctx), "Abort", func(context.Context) error { return s.sink.Abort(ctx) })
}

func (s *sinkStage) visible() bool {
	return s.object != "" && exists(s.object)
}

// left lists what lies in the stage's directory.
func (s *sinkStage) left() []string { return filesIn(s.dir) }

func filesIn(dir string) (list []string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			list = append(list, name)
		}
		return nil
	})
	return list
}

// receiptBreach compares a receipt, and the object if its path is known, with what was written.
func receiptBreach(r stage.Receipt, wrote []byte, object string) string {
	sum := sha256.Sum256(wrote)
	switch {
	case r.Bytes != int64(len(wrote)):
		return problemf("the receipt says %d bytes; %d were written", r.Bytes, len(wrote)).Error()
	case r.SHA256 != hex.EncodeToString(sum[:]):
		return problemf("the receipt's sha256 is %q; that of the bytes is %x", r.SHA256, sum).Error()
	case r.Location == "":
		return "the receipt has no location"
	case r.Link == "" != r.LinkExpires.IsZero():
		return "a link and its end come together in a receipt"
	}
	if object == "" {
		return ""
	}
	content, err := os.ReadFile(object)
	if err != nil {
		return "after Commit the object is not there: " + err.Error()
	}
	if !bytes.Equal(content, wrote) {
		return problemf("the object has %d bytes that are not the %d that were written", len(content),
			len(wrote)).Error()
	}
	return ""
}

// pieces are various sizes, an empty one and one larger than any buffer among them.
func pieces() [][]byte {
	var list [][]byte
	for n, size := range []int{1, 100, 0, 4096, 70_000, 3<<20 + 1, 5} {
		piece := make([]byte, size)
		for i := range piece {
			piece[i] = byte(i*31 + n + i>>8)
		}
		list = append(list, piece)
	}
	return list
}

// deliver takes an object all the way, and returns what was wrong with the receipt.
func (h *sinkHarness) deliver(ctx context.Context, list [][]byte) (breach string, err error) {
	s, err := h.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	if err := s.write(ctx, list...); err != nil {
		_ = s.abort(ctx)
		return "", err
	}
	receipt, err := s.commit(ctx)
	if err != nil {
		_ = s.abort(ctx)
		return "", err
	}
	breach = receiptBreach(receipt, s.wrote.Bytes(), s.object)
	h.committed(ctx, s)
	return breach, nil
}

func (h *sinkHarness) checks() []Check {
	commit := func(what string, list [][]byte) func(p *probe) {
		return func(p *probe) {
			breach, err := h.deliver(p.ctx, list)
			if p.try(what, err) && breach != "" {
				p.fail("%s: %s", what, breach)
			}
		}
	}
	phases := twoPhases{h.harness, h.definition, h.open,
		func(ctx context.Context, s *sinkStage) error { return s.write(ctx, pieces()...) },
		func(s *sinkStage) (func(context.Context) error, func()) {
			piece := make([]byte, 1<<20)
			return func(ctx context.Context) error { return s.bytes().Write(ctx, piece) }, func() {}
		}}
	return []Check{
		h.check(CheckCancel, phases.cancellation),
		h.check(CheckCommit, commit("several pieces", pieces())),
		h.check(CheckZeroBatches, commit("an empty object", nil)),
		h.check(CheckOneRow, commit("one byte", pieces()[:1])),
		h.check(CheckHuge, commit("pieces of 1 MiB", [][]byte{make([]byte, 1<<20), make([]byte, 1<<20)})),
		h.check(CheckHidden, func(p *probe) {
			p.result.Cases = h.tried
			if h.options.Object == "" {
				p.skip("no path of the object was given")
			}
			p.breaches(CheckHidden)
		}),
		h.check(CheckAbort, phases.aborts),
		h.undo(h.definition),
		h.leaks(func(ctx context.Context) error { _, err := h.deliver(ctx, pieces()); return err }),
		h.reportsOf(CheckUntouched), h.reportsOf(CheckPanics), h.reportsOf(CheckErrors), h.accepts(),
	}
}
