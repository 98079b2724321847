package suite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// tableSinkHarness tries sinks of rows.
type tableSinkHarness struct {
	*harness
	definition stage.Definition
}

// open makes a sink and opens it for rows of a schema.
func (h *tableSinkHarness) open(ctx context.Context, schema *arrow.Schema) (*sinkStage, stage.TableSink, error) {
	i, err := h.newInstance(ctx, h.definition)
	if err != nil {
		return nil, nil, err
	}
	sink := i.made.(stage.TableSink)
	s := &sinkStage{instance: i, sink: sink, object: h.options.object(i.dir)}
	err = s.call(ctx, "Open", func(ctx context.Context) error {
		return sink.Open(ctx, stage.Table{Schema: schema, RunID: "conformance"})
	})
	if err != nil {
		h.refusedClean(ctx, s)
		return nil, nil, err
	}
	return s, sink, nil
}

// refusedClean aborts what was not opened; nothing may stay of it.
func (h *tableSinkHarness) refusedClean(ctx context.Context, s *sinkStage) {
	_ = s.abort(ctx)
	if left := s.left(); len(left) > 0 && h.hungReason() == "" {
		h.report(CheckAbort, "Abort after an Open that failed left %s", left[0])
	}
	s.close()
}

// write gives the batches of an input. Kept, they live until the sink is closed; borrowed, each one's memory is
// overwritten when the sink may no longer read it.
func (h *tableSinkHarness) write(ctx context.Context, s *sinkStage, sink stage.TableSink, in input,
	schema *arrow.Schema, how way) error {
	guard := newGuard()
	first := int64(0)
	for i := range in.batches {
		rec := in.record(guard, schema, i, first)
		sealed := sealOf(rec)
		err := s.call(ctx, "Write", func(ctx context.Context) error { return sink.Write(ctx, stage.Rows{Record: rec, First: first}) })
		if h.hungReason() != "" {
			return err // rec may still be read
		}
		buffers := slices.Clone(sealed.buffers)
		if breach := sealed.open(); breach != "" {
			h.report(CheckUntouched, "%s", breach)
		}
		first += rec.NumRows()
		if how == kept {
			s.ends = append(s.ends, rec.Release)
		} else {
			wipeAll(buffers)
			rec.Release()
		}
		if err != nil {
			return err
		}
		if s.visible() {
			h.report(CheckHidden, "the object is visible under its name before Commit")
		}
	}
	if held, bytes := guard.held(); held > 0 && how != kept {
		h.report(CheckLeak, "after the last Write %d buffers (%d bytes) of batches that the sink was given are still held", held, bytes)
	}
	return nil
}

func wipeAll(buffers []*memory.Buffer) {
	for _, buffer := range buffers {
		fill(buffer.Bytes())
	}
}

// deliver takes rows all the way, and returns the object, if its path is known and it is a file.
func (h *tableSinkHarness) deliver(ctx context.Context, in input, how way) (object []byte, err error) {
	schema := in.schema()
	s, sink, err := h.open(ctx, schema)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := h.write(ctx, s, sink, in, schema, how); err != nil {
		_ = s.abort(ctx)
		return nil, err
	}
	receipt, err := s.commit(ctx)
	if err != nil {
		_ = s.abort(ctx)
		return nil, err
	}
	if breach := tableReceiptBreach(receipt, s.object); breach != "" {
		h.report(CheckReceipt, "%s", breach)
	}
	if s.object != "" {
		object, _ = os.ReadFile(s.object) // a folder is not compared
	}
	h.committed(ctx, s)
	return h.steady(object), nil
}

// tableReceiptBreach says what is wrong with the receipt of a sink of rows. Size and digest are its own choice: both,
// of the object, or neither.
func tableReceiptBreach(r stage.Receipt, object string) string {
	switch {
	case r.SHA256 == "" && r.Bytes != 0:
		return "the receipt has a size and no sha256: a sink of rows says both of its object, or neither"
	case r.Location == "":
		return "the receipt has no location"
	case r.Link == "" != r.LinkExpires.IsZero():
		return "a link and its end come together in a receipt"
	case object == "" || r.SHA256 == "":
		return ""
	}
	content, err := os.ReadFile(object)
	if err != nil {
		return "after Commit the object is not there: " + err.Error()
	}
	if sum := sha256.Sum256(content); r.Bytes != int64(len(content)) || r.SHA256 != hex.EncodeToString(sum[:]) {
		return problemf("the receipt says %d bytes with sha256 %s; the object has %d with %x", r.Bytes, r.SHA256,
			len(content), sum).Error()
	}
	return ""
}

func (h *tableSinkHarness) checks() []Check {
	plain := h.options.input(plainBatches()...)
	tried := func(p *probe, what string, in input) {
		_, err := h.deliver(p.ctx, in, kept)
		p.try(what, err)
	}
	schema := plain.schema()
	phases := twoPhases{h.harness, h.definition,
		func(ctx context.Context) (*sinkStage, error) { s, _, err := h.open(ctx, schema); return s, err },
		func(ctx context.Context, s *sinkStage) error {
			return h.write(ctx, s, s.sink.(stage.TableSink), plain, schema, kept)
		},
		func(s *sinkStage) (func(context.Context) error, func()) {
			rec := h.options.input(batch{rows: 2000, nulls: someNulls}).record(newGuard(), schema, 0, 0)
			return func(ctx context.Context) error {
				return s.sink.(stage.TableSink).Write(ctx, stage.Rows{Record: rec})
			}, rec.Release
		}}
	return []Check{
		h.check(CheckCancel, phases.cancellation),
		h.check(CheckCommit, func(p *probe) { tried(p, "plain rows", plain) }),
		h.check(CheckTypes, func(p *probe) {
			for _, f := range valueTypes() {
				tried(p, typeName(f), input{h.options.fields(f), []batch{{rows: 20, nulls: someNulls}}})
			}
		}),
		h.check(CheckNulls, func(p *probe) {
			for _, f := range valueTypes() {
				in := input{fields: h.options.fields(f)}
				for _, nulls := range []pattern{noNulls, allNulls, alternate, lastNull} {
					in.batches = append(in.batches, batch{rows: 17, nulls: nulls})
				}
				tried(p, "null patterns of "+typeName(f), in)
			}
		}),
		h.check(CheckZeroRows, func(p *probe) { tried(p, "batches without rows", h.options.input(batch{}, batch{rows: 2}, batch{})) }),
		h.check(CheckZeroBatches, func(p *probe) { tried(p, "a table without rows", h.options.input()) }),
		h.check(CheckOneRow, func(p *probe) { tried(p, "one row", h.options.input(batch{rows: 1})) }),
		h.check(CheckHuge, func(p *probe) {
			for _, t := range []arrow.DataType{arrow.BinaryTypes.String, arrow.BinaryTypes.Binary} {
				f := arrow.Field{Name: "value", Type: t, Nullable: true}
				tried(p, "values of 1 MiB of "+t.String(),
					input{h.options.fields(f), []batch{{rows: 3, long: 1 << 20}}})
			}
		}),
		h.check(CheckSliced, func(p *probe) { h.sliced(p) }),
		h.check(CheckBorrowed, func(p *probe) {
			h.compare(p, "plain rows", plain, plain, borrowed,
				"a batch's memory was overwritten after the call, and the object changed: the sink keeps a reference")
		}),
		h.check(CheckHidden, func(p *probe) {
			p.result.Cases = h.tried
			if h.options.Object == "" {
				p.skip("no path of the object was given")
			}
			p.breaches(CheckHidden)
		}),
		h.check(CheckAbort, phases.aborts),
		h.undo(h.definition),
		h.reportsOf(CheckReceipt),
		h.reportsOf(CheckLeak),
		h.leaks(func(ctx context.Context) error { _, err := h.deliver(ctx, plain, kept); return err }),
		h.reportsOf(CheckUntouched), h.reportsOf(CheckPanics), h.reportsOf(CheckErrors), h.accepts(),
	}
}

// compare delivers rows in two ways, which must make the same object. One that differs from run to run cannot be
// compared.
func (h *tableSinkHarness) compare(p *probe, what string, one, other input, how way, breach string) {
	var made [3][]byte
	for i, c := range []struct {
		in  input
		how way
	}{{one, kept}, {one, kept}, {other, how}} {
		var err error
		if made[i], err = h.deliver(p.ctx, c.in, c.how); !p.try(what, err) {
			return
		}
	}
	if bytes.Equal(made[0], made[1]) && !bytes.Equal(made[0], made[2]) {
		p.fail("%s: %s", breach, differsBytes(made[2:], made[:1]))
	}
}

func (h *tableSinkHarness) sliced(p *probe) {
	for _, f := range valueTypes() {
		whole := input{h.options.fields(f), []batch{{rows: 21, nulls: someNulls}, {rows: 9, nulls: alternate}}}
		slice := input{whole.fields, slices.Clone(whole.batches)}
		slice.batches[0].front, slice.batches[1].front = 3, mostFront
		h.compare(p, "slices of "+typeName(f), whole, slice, kept,
			"a slice of "+typeName(f)+" became something else than the same rows in a batch of their own")
	}
}
