package suite

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/cipherstream/cipherstream/sdk/control"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Process lists the checks of a stage in processes of its own, in the order in which they are run. Every case starts
// one process.
func Process(m control.Manifest, start Starter, o Options) []Check {
	b := &processHarness{harness: newHarness(m.Kind, m.Name, o), manifest: m, start: start}
	checks := []Check{
		b.check(CheckDeclaration, func(p *probe) { declaration(p, m.Kind, m.About) }),
		b.check(CheckSettings, func(p *probe) { b.settings(p) }),
		b.check(CheckCancel, func(p *probe) { b.cancellation(p) }),
		b.check(CheckPlain, func(p *probe) { b.tryInput(p, "plain rows", plainBatches()...) }),
	}
	if m.Kind != stage.KindSource {
		checks = append(checks,
			b.check(CheckHeartbeat, func(p *probe) { b.heartbeat(p) }),
			b.check(CheckCutInput, func(p *probe) { b.cutInput(p) }),
			b.check(CheckZeroBatches, func(p *probe) { b.tryInput(p, "a stream without batches") }),
			b.check(CheckZeroRows, func(p *probe) { b.tryInput(p, "batches without rows", batch{}, batch{rows: 2}, batch{}) }),
			b.check(CheckOneRow, func(p *probe) { b.tryInput(p, "one row", batch{rows: 1}) }),
			b.check(CheckHuge, func(p *probe) { b.tryInput(p, "values of 1 MiB", batch{rows: 3, long: 1 << 20}) }),
		)
	} else {
		checks = append(checks, b.reportsOf(CheckCheckpoints))
	}
	if m.In == stage.ShapeTable {
		checks = append(checks, b.check(CheckCheckpoints, func(p *probe) { b.checkpoints(p) }))
	}
	switch m.Kind {
	case stage.KindFilter, stage.KindEncoder:
		checks = append(checks, b.check(CheckTypes, func(p *probe) { b.types(p) }))
	case stage.KindEncryptor:
		checks = append(checks, b.check(CheckSeals, func(p *probe) {
			d, ok := b.tryInput(p, "plain pieces", plainBatches()...)
			if ok && bytes.Contains(d.data, []byte("a plain line that nobody should read")) {
				p.fail("the plain text stands in what the stage has sealed")
			}
		}))
	case stage.KindSink:
		if m.In == stage.ShapeTable {
			checks = append(checks, b.check(CheckTypes, func(p *probe) { b.types(p) }))
		}
		checks = append(checks, b.check(CheckAbort, func(p *probe) { b.refused(p) }), b.undo(),
			b.reportsOf(CheckReceipt), b.hidden())
	}
	switch m.Kind {
	case stage.KindFilter, stage.KindEncoder, stage.KindCompressor:
		checks = append(checks, b.check(CheckRepeat, func(p *probe) { b.repeat(p) }))
	}
	switch {
	case m.Out == stage.ShapeTable:
		checks = append(checks, b.reportsOf(CheckSchema))
		if m.KeepsRows {
			checks = append(checks, b.reportsOf(CheckKeepsRows))
		}
	case m.Out != stage.ShapeNone:
		checks = append(checks, b.reportsOf(CheckMedia))
		if m.Out == stage.ShapeRecords {
			checks = append(checks, b.check(CheckEnds, func(p *probe) { b.records(p) }))
		}
	}
	return append(checks, b.reportsOf(CheckPanics), b.reportsOf(CheckErrors), b.accepts())
}

// input makes a trial of batches: of the stage's table, or of a byte stream with as many lines.
func (h *processHarness) input(batches ...batch) (trial, error) {
	switch h.manifest.In {
	case stage.ShapeNone:
		return trial{}, nil
	case stage.ShapeTable:
		return h.table(h.options.input(batches...)), nil
	}
	lines := &streamHarness{h.harness, stage.Definition{About: h.manifest.About, Kind: h.manifest.Kind}}
	var chunks []chunk
	first := 0
	for _, spec := range batches {
		chunks = append(chunks, lines.records(first, spec.rows, max(spec.long, 60)))
		first += spec.rows
	}
	return h.stream(chunks)
}

// tryInput runs the stage on batches that it should take.
func (h *processHarness) tryInput(p *probe, what string, batches ...batch) (delivery, bool) {
	t, err := h.input(batches...)
	var d delivery
	if err == nil {
		d, err = h.attempt(p.ctx, t)
	}
	return d, p.try(what, err)
}

// settings opens the stage with settings that fit, and with one that nobody knows.
func (h *processHarness) settings(p *probe) {
	t, err := h.input()
	if err != nil {
		p.fail("%v", err)
		return
	}
	defer t.release()
	d, err := h.trial(p.ctx, t)
	if err == nil && !d.opened {
		err = d.err
	}
	if err != nil {
		h.setHung("the stage could not be started with these settings")
		_, text := judge(err)
		p.fail("%s", text)
		return
	}
	p.result.Cases++
	if why := h.hungReason(); why != "" {
		p.fail("with these settings, and an input that has nothing in it, %s", why)
		return
	}
	other := &processHarness{harness: newHarness(h.manifest.Kind, h.manifest.Name, h.options), manifest: h.manifest,
		start: h.start}
	other.options.Settings = map[string]any{"a_setting_that_nobody_knows": "x"}
	d, err = other.trial(p.ctx, t)
	if err == nil {
		err = d.err
	}
	var f *fault.Fault
	switch {
	case d.opened:
		p.fail("a setting that nobody knows was accepted: a misspelt one would be ignored")
	case !errors.As(err, &f) || f.Class != fault.Usage:
		p.fail("a setting that nobody knows must be refused by a fault of class usage, not by %v", err)
	}
}

// cancellation cancels a run in the middle, while the stage waits for more of its input, or while it delivers.
func (h *processHarness) cancellation(p *probe) {
	t, err := h.input(plainBatches()...)
	if err != nil {
		p.fail("%v", err)
		return
	}
	defer t.release()
	t.open, t.after = true, 200*time.Millisecond
	d, err := h.trial(p.ctx, t)
	switch {
	case err != nil:
	case d.err == nil && h.manifest.Kind != stage.KindSource:
		err = problemf("the run ended well, though its input did not")
	case d.stopped > h.options.Prompt:
		err = problemf("the run went on for %s after its cancellation", d.stopped.Round(10*time.Millisecond))
	case h.manifest.Kind == stage.KindSource && d.err == nil:
		// It was done sooner.
	case d.ended:
		err = problemf("the run was cancelled, but its output has an end-of-stream: whoever reads it takes it for whole")
	case len(d.left) > 0:
		err = problemf("after the cancellation %s is left", d.left[0])
	default:
		err = cancelled(d.err)
	}
	p.try("a run that is cancelled", err)
}

// cutInput ends the input as a stage before does that dies: the output must not look whole.
func (h *processHarness) cutInput(p *probe) {
	t, err := h.input(plainBatches()...)
	if err != nil {
		p.fail("%v", err)
		return
	}
	defer t.release()
	t.cut = true
	d, err := h.trial(p.ctx, t)
	p.result.Cases++
	switch {
	case err != nil:
		p.fail("%v", err)
	case d.err == nil:
		p.fail("the input ended without its end-of-stream, but the run ended well: rows are missing silently")
	case d.ended:
		p.fail("the input ended without its end-of-stream, but the output has one: whoever reads it takes it for whole")
	case len(d.left) > 0:
		p.fail("after a run that failed %s is left", d.left[0])
	}
}

// eventEvery is how often a plugin that works says something.
const eventEvery = time.Second

// heartbeat waits for longer than a plugin that works may say nothing. An event may be late by a quarter of the time
// that a cancellation has.
func (h *processHarness) heartbeat(p *probe) {
	t, err := h.input(batch{rows: 1})
	if err != nil {
		p.fail("%v", err)
		return
	}
	defer t.release()
	mostSilence := eventEvery + h.options.Prompt/4
	t.open, t.after = true, mostSilence+350*time.Millisecond
	d, err := h.trial(p.ctx, t)
	if err == nil && !d.cancelled {
		err = d.err // it did not get as far
	}
	if p.try("a stage that waits for its input", err) && d.silence > mostSilence {
		p.fail("no event came for %s; one is due every second", d.silence.Round(10*time.Millisecond))
	}
}

// types sends columns of every type, with nulls in every pattern: all at once, and one by one if the stage does not
// take them all.
func (h *processHarness) types(p *probe) {
	var batches []batch
	for _, nulls := range []pattern{noNulls, allNulls, alternate, lastNull} {
		batches = append(batches, batch{rows: 17, nulls: nulls})
	}
	fields := valueTypes()
	all := h.options.fields(fields[0])
	for i, f := range fields[1:] {
		f.Name = fmt.Sprint("value_", i+2)
		all = append(all, f)
	}
	if _, err := h.attempt(p.ctx, h.table(input{all, batches})); err == nil {
		p.try("columns of every type", nil)
		return
	}
	for _, f := range fields {
		if p.ctx.Err() != nil {
			return
		}
		_, err := h.attempt(p.ctx, h.table(input{h.options.fields(f), batches}))
		p.try(typeName(f), err)
	}
}

func (h *processHarness) repeat(p *probe) {
	one, ok := h.tryInput(p, "plain rows", plainBatches()...)
	if !ok {
		return
	}
	two, ok := h.tryInput(p, "plain rows again", plainBatches()...)
	if d := two.differs(one); ok && d != "" {
		p.fail("the same input became something else the second time: %s", d)
	}
}

// records counts what a stage that gives records makes of rows; a header and a footer are allowed.
func (h *processHarness) records(p *probe) {
	few, ok := h.tryInput(p, "ten rows", batch{rows: 10})
	if !ok {
		return
	}
	many, ok := h.tryInput(p, "thirty rows", batch{rows: 10}, batch{rows: 20})
	if ok && many.units-few.units != 20 {
		p.fail("20 rows more became %d records more: each row is one record", many.units-few.units)
	}
	p.breaches(CheckEnds)
}

// refused cancels a run when the sink has everything: nothing may stay.
func (h *processHarness) refused(p *probe) {
	t, err := h.input(plainBatches()...)
	if err != nil {
		p.fail("%v", err)
		return
	}
	defer t.release()
	t.refuse = true
	d, err := h.trial(p.ctx, t)
	switch {
	case err != nil:
	case d.err == nil:
		err = problemf("the run ended well, though nobody committed it")
	case !d.prepared:
		err = d.err
	case len(d.left) > 0:
		err = problemf("the run was not committed, but %s is left", d.left[0])
	default:
		err = cancelled(d.err)
	}
	p.try("a run that is not committed", err)
}

func (h *processHarness) hidden() Check {
	return h.check(CheckHidden, func(p *probe) {
		p.result.Cases = h.tried
		if h.options.Object == "" {
			p.skip("no path of the object was given")
		}
		p.breaches(CheckHidden)
	})
}
