package suite

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// streamHarness tries stages between two byte streams: compressors and encryptors.
type streamHarness struct {
	*harness
	definition stage.Definition
}

func (h *streamHarness) seals() bool { return h.definition.Kind == stage.KindEncryptor }

// chunk is what such a stage is given at once.
type chunk struct {
	data []byte
	ends []int
}

// records makes a chunk of n records of about size bytes. Each is a line that says which it is.
func (h *streamHarness) records(first, n, size int) chunk {
	var c chunk
	for i := range n {
		line := fmt.Appendf(nil, `{"id":%d,"text":"a plain line that nobody should read"`, first+i)
		for len(line) < size {
			line = fmt.Appendf(line, `,"n%d":%d`, len(line), (first+i)*7919+len(line))
		}
		c.data = append(append(c.data, line...), "}\n"...)
		c.ends = append(c.ends, len(c.data))
	}
	if h.definition.In != stage.ShapeRecords {
		c.ends = nil
	}
	return c
}

// chunks cuts a stream into chunks of so many records.
func (h *streamHarness) chunks(size int, counts ...int) []chunk {
	var list []chunk
	first := 0
	for _, n := range counts {
		list = append(list, h.records(first, n, size))
		first += n
	}
	return list
}

func (h *streamHarness) plain() []chunk { return h.chunks(60, 5, 200, 1, 3000, 17) }

// run takes chunks through a new stage and returns what came out, and the ends of its records.
func (h *streamHarness) run(ctx context.Context, in []chunk, how way) (data []byte, units int, err error) {
	i, err := h.newInstance(ctx, h.definition)
	if err != nil {
		return nil, 0, err
	}
	defer i.close()
	compressor, _ := i.made.(stage.Compressor)
	encryptor, _ := i.made.(stage.Encryptor)
	merger, _ := i.made.(stage.Merger)
	err = i.call(ctx, "Bind", func(context.Context) error {
		var media stage.Media
		var err error
		if h.seals() {
			media, err = encryptor.Bind(h.options.Media)
		} else {
			media, err = compressor.Bind(h.options.Media)
		}
		if err != nil {
			return err
		}
		if breach := mediaBreach(media); breach != "" {
			h.report(CheckMedia, "%s", breach)
		}
		if h.seals() && !media.Sealed {
			h.report(CheckMedia, "an encryptor must say that its stream is sealed (Media.Sealed)")
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}

	wipe := how == borrowed
	take := func(out *stage.Output, records int) {
		if breach := endsBreach(h.definition.Out, out, records); breach != "" {
			h.report(CheckEnds, "%s", breach)
		}
		units += len(out.Ends)
		data = append(data, out.Data...)
		if wipe {
			fill(out.Data[:cap(out.Data)])
		}
	}
	edge := func(what string, f func(*stage.Output) error) error {
		out := &stage.Output{}
		if err := i.call(ctx, what, func(context.Context) error { return f(out) }); err != nil {
			return err
		}
		take(out, -1)
		return nil
	}
	var begin, end func(*stage.Output) error
	if h.seals() {
		begin, end = encryptor.Begin, encryptor.End
	} else {
		begin, end = compressor.Begin, compressor.End
	}
	if err := edge("Begin", begin); err != nil {
		return nil, 0, err
	}

	firsts, next := make([]int64, len(in)), int64(0)
	for n, c := range in {
		firsts[n] = next
		if h.definition.In == stage.ShapeRecords {
			next += int64(len(c.ends))
		} else {
			next++
		}
	}
	give := func(n int, out *stage.Output) error {
		given := chunk{bytes.Clone(in[n].data), slices.Clone(in[n].ends)}
		err := i.call(ctx, map[bool]string{true: "Seal", false: "Compress"}[h.seals()], func(ctx context.Context) error {
			if h.seals() {
				return encryptor.Seal(ctx, stage.Chunk{Data: given.data, Ends: given.ends, First: firsts[n]}, out)
			}
			return compressor.Compress(ctx, given.data, out)
		})
		if !bytes.Equal(given.data, in[n].data) || !slices.Equal(given.ends, in[n].ends) {
			h.report(CheckUntouched, "the stage changed the bytes that it was given")
		}
		if wipe {
			fill(given.data)
			for i := range given.ends {
				given.ends[i] = -1
			}
		}
		return err
	}
	outs := make([]*stage.Output, len(in))
	for n := range outs {
		outs[n] = &stage.Output{}
	}
	collect := func(n int) error {
		if merger != nil {
			if err := i.call(ctx, "Merge", func(context.Context) error { return merger.Merge(outs[n]) }); err != nil {
				return err
			}
		}
		records := -1
		if h.definition.Out == stage.ShapeRecords {
			records = len(in[n].ends)
		}
		take(outs[n], records)
		return nil
	}
	switch how {
	case together:
		err = severally(len(in), func(n int) error { return give(n, outs[n]) })
	case reversed:
		for n := len(in) - 1; n >= 0 && err == nil; n-- {
			err = give(n, outs[n])
		}
	default:
		for n := 0; n < len(in) && err == nil; n++ {
			if err = give(n, outs[n]); err == nil {
				err = collect(n)
			}
		}
	}
	if how == together || how == reversed {
		for n := 0; n < len(in) && err == nil; n++ {
			err = collect(n)
		}
	}
	if err == nil {
		err = edge("End", end)
	}
	return data, units, err
}

func (h *streamHarness) checks() []Check {
	run := h.check
	tried := func(p *probe, what string, in []chunk) []byte {
		data, _, err := h.run(p.ctx, in, kept)
		p.try(what, err)
		return data
	}
	checks := []Check{
		run(CheckCancel, func(p *probe) { h.cancellation(p) }),
		run(CheckPlain, func(p *probe) { tried(p, "plain pieces", h.plain()) }),
		run(CheckZeroBatches, func(p *probe) { tried(p, "an empty stream", nil) }),
		run(CheckZeroRows, func(p *probe) {
			tried(p, "an empty piece", []chunk{{data: []byte{}}})
			tried(p, "an empty piece between others", []chunk{h.records(0, 2, 0), {data: []byte{}}, h.records(2, 2, 0)})
		}),
		run(CheckOneRow, func(p *probe) { tried(p, "one line", h.chunks(0, 1)) }),
		run(CheckHuge, func(p *probe) { tried(p, "lines of 1 MiB", h.chunks(1<<20, 2, 1)) }),
		run(CheckBorrowed, func(p *probe) {
			h.compare(p, h.plain(), kept, borrowed, "a piece's memory, or an output's, was overwritten after the call, and the result changed: the stage keeps a reference")
		}),
	}
	if !h.seals() {
		checks = append(checks, run(CheckRepeat, func(p *probe) {
			h.compare(p, h.plain(), kept, kept, "the same bytes became something else the second time")
		}))
	} else {
		checks = append(checks, run(CheckSeals, func(p *probe) {
			if data := tried(p, "plain pieces", h.plain()); bytes.Contains(data, []byte("a plain line that nobody should read")) {
				p.fail("the plain text stands in what the stage has sealed")
			}
		}))
	}
	if h.definition.Concurrent {
		checks = append(checks, run(CheckConcurrent, func(p *probe) {
			h.compare(p, h.plain(), kept, reversed,
				"About.Concurrent says that pieces may come in any order, but their order changes the result")
			for range 3 {
				h.compare(p, h.plain(), kept, together,
					"About.Concurrent allows calls from several goroutines, but they change the result")
			}
		}))
	}
	checks = append(checks,
		h.leaks(func(ctx context.Context) error { _, _, err := h.run(ctx, h.plain(), kept); return err }),
		h.reportsOf(CheckMedia))
	if h.definition.Out == stage.ShapeRecords {
		checks = append(checks, h.reportsOf(CheckEnds))
	}
	return append(checks, h.reportsOf(CheckUntouched), h.reportsOf(CheckPanics), h.reportsOf(CheckErrors), h.accepts())
}

// compare runs a stream in two ways, which must give the same. Sealed bytes are never the same; how many records there
// are is.
func (h *streamHarness) compare(p *probe, in []chunk, one, other way, breach string) {
	want, wantUnits, err := h.run(p.ctx, in, one)
	if !p.try("plain pieces", err) {
		return
	}
	got, gotUnits, err := h.run(p.ctx, in, other)
	if !p.try("plain pieces again", err) {
		return
	}
	if wantUnits != gotUnits {
		p.fail("%s: %d records in one run and %d in the other", breach, gotUnits, wantUnits)
	}
	if h.seals() {
		if len(got) != len(want) {
			p.fail("%s: %d bytes in one run and %d in the other", breach, len(got), len(want))
		}
		return
	}
	if d := differsBytes([][]byte{h.steady(got)}, [][]byte{h.steady(want)}); d != "" {
		p.fail("%s: %s", breach, d)
	}
}

func (h *streamHarness) cancellation(p *probe) {
	in := h.records(0, 2000, 60)
	for _, already := range []bool{true, false} {
		what := "a piece whose run is cancelled while it is worked on"
		if already {
			what = "a piece of a run that was cancelled before"
		}
		i, err := h.newInstance(p.ctx, h.definition)
		if err != nil {
			p.try(what, err)
			return
		}
		defer i.close()
		err = i.call(p.ctx, "Begin", func(context.Context) error {
			if s, ok := i.made.(stage.Encryptor); ok {
				if _, err := s.Bind(h.options.Media); err != nil {
					return err
				}
				return s.Begin(&stage.Output{})
			}
			s := i.made.(stage.Compressor)
			if _, err := s.Bind(h.options.Media); err != nil {
				return err
			}
			return s.Begin(&stage.Output{})
		})
		if err == nil {
			err = i.callCancelled(p.ctx, "a call with a piece", already, func(ctx context.Context) error {
				if s, ok := i.made.(stage.Encryptor); ok {
					return s.Seal(ctx, stage.Chunk{Data: in.data, Ends: in.ends}, &stage.Output{})
				}
				return i.made.(stage.Compressor).Compress(ctx, in.data, &stage.Output{})
			})
		}
		p.try(what, cancelled(err))
		if h.hungReason() != "" {
			return
		}
	}
}
