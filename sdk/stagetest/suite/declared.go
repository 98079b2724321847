package suite

import (
	"context"
	"io"
	"mime"
	"regexp"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

var (
	codePattern = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*$`)
	namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
)

var classes = map[fault.Class]bool{
	fault.Usage: true, fault.Connect: true, fault.Source: true, fault.Data: true,
	fault.Sink: true, fault.Plugin: true, fault.Cancelled: true, fault.Internal: true,
}

// shapes are what each kind may take and give.
var shapes = map[stage.Kind][][2]stage.Shape{
	stage.KindSource:     {{stage.ShapeNone, stage.ShapeTable}},
	stage.KindFilter:     {{stage.ShapeTable, stage.ShapeTable}},
	stage.KindEncoder:    {{stage.ShapeTable, stage.ShapeRecords}, {stage.ShapeTable, stage.ShapeBytes}},
	stage.KindCompressor: {{stage.ShapeBytes, stage.ShapeBytes}},
	stage.KindEncryptor:  {{stage.ShapeRecords, stage.ShapeRecords}, {stage.ShapeBytes, stage.ShapeBytes}},
	stage.KindSink:       {{stage.ShapeBytes, stage.ShapeNone}, {stage.ShapeTable, stage.ShapeNone}},
}

// declaration checks what a stage says of itself.
func declaration(p *probe, kind stage.Kind, about stage.About) {
	p.result.Cases = 1
	if !namePattern.MatchString(about.Name) {
		p.fail("%q is no name of a stage: it has lower-case letters, digits and dashes", about.Name)
	}
	if strings.TrimSpace(about.Summary) == "" || strings.Contains(about.Summary, "\n") {
		p.fail("the summary must be one line: %q", about.Summary)
	}
	fits, known := shapes[kind]
	if !known {
		p.fail("%q is no kind of stage", kind)
		return
	}
	ok := false
	for _, pair := range fits {
		ok = ok || pair == [2]stage.Shape{about.In, about.Out}
	}
	if !ok {
		p.fail("a %s does not take %q and give %q", kind, about.In, about.Out)
	}
	if about.KeepsRows && kind != stage.KindFilter {
		p.fail("only a filter keeps rows, not a %s", kind)
	}
}

// mediaBreach says what is wrong with a description of a byte stream.
func mediaBreach(m stage.Media) string {
	if _, _, err := mime.ParseMediaType(m.Type); err != nil || !strings.Contains(m.Type, "/") {
		return "the media type " + m.Type + " is none (RFC 6838)"
	}
	if m.Extension != "" && !strings.HasPrefix(m.Extension, ".") {
		return "the extension " + m.Extension + " must begin with a dot"
	}
	return ""
}

// Stage lists the checks of a stage in this process, in the order in which they are run.
func Stage(d stage.Definition, o Options) []Check {
	b := newHarness(d.Kind, d.Name, o)
	checks := []Check{
		b.check(CheckDeclaration, func(p *probe) { declaration(p, d.Kind, d.About) }),
		b.check(CheckSettings, func(p *probe) { b.settingsFit(p, d) }),
	}
	switch d.Kind {
	case stage.KindSource:
		return append(checks, (&sourceHarness{b, d}).checks()...)
	case stage.KindFilter, stage.KindEncoder:
		return append(checks, (&tableHarness{harness: b, definition: d}).checks()...)
	case stage.KindCompressor, stage.KindEncryptor:
		return append(checks, (&streamHarness{b, d}).checks()...)
	case stage.KindSink:
		if d.In == stage.ShapeTable {
			return append(checks, (&tableSinkHarness{b, d}).checks()...)
		}
		return append(checks, (&sinkHarness{b, d}).checks()...)
	}
	return checks
}

// settingsFit makes the stage once, and sees that it implements its kind.
func (h *harness) settingsFit(p *probe, d stage.Definition) {
	p.result.Cases = 1
	i, err := h.newInstance(p.ctx, d)
	if err != nil {
		h.setHung("the stage could not be made")
		_, text := judge(err)
		p.fail("%s", text)
		return
	}
	defer i.close()
	ok := false
	switch d.Kind {
	case stage.KindSource:
		_, ok = i.made.(stage.Source)
	case stage.KindFilter:
		_, ok = i.made.(stage.Filter)
	case stage.KindEncoder:
		_, ok = i.made.(stage.Encoder)
	case stage.KindCompressor:
		_, ok = i.made.(stage.Compressor)
	case stage.KindEncryptor:
		_, ok = i.made.(stage.Encryptor)
	case stage.KindSink:
		if _, ok = i.made.(stage.Sink); d.In == stage.ShapeTable {
			_, ok = i.made.(stage.TableSink)
		}
	}
	if !ok {
		h.setHung("the stage is not what its kind says")
		p.fail("it makes a %T, which is no %s", i.made, d.Kind)
	}
}

// leaks is the check for goroutines: runs of the same kind must not leave more and more of them. What a library keeps
// for later is started by the first runs.
func (h *harness) leaks(run func(ctx context.Context) error) Check {
	return h.check(CheckGoroutines, func(p *probe) {
		for range 2 {
			if err := run(p.ctx); err != nil {
				p.try("plain rows", err)
				return
			}
		}
		before, _ := h.labelled()
		const more = 3
		for n := range more {
			if !p.try("plain rows, run "+string(rune('1'+n)), run(p.ctx)) {
				return
			}
		}
		// A goroutine that is told to end needs a moment to do it.
		deadline := time.Now().Add(h.options.Prompt)
		for {
			after, sample := h.labelled()
			if after < before+more {
				return
			}
			if time.Now().After(deadline) {
				p.fail("%d runs left %d goroutines behind, such as:\n%s", more, after-before, sample)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

func isEnd(err error) bool { return err == io.EOF }
