package runner

import (
	"context"
	"log/slog"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Given is what a stage is checked with.
type Given struct {
	RunID, Dir string
	// Columns are what a filter or an encoder is given; nil when they are not known. With
	// Backward they are what a filter is to give.
	Columns  *arrow.Schema
	Backward bool
	// Media is what a stage of bytes is given; nil when it is not known.
	Media *stage.Media
	// Connect lets the stage look at what it reaches.
	Connect bool
}

// Checked is what a check has found.
type Checked struct {
	stage.Report
	// Columns are what a source or a filter gives, with Backward what the filter must be
	// given; nil when they are not known.
	Columns *arrow.Schema
	// Media is what a stage of bytes gives; nil when it is not known.
	Media *stage.Media
}

// AnyColumns is the schema of which nothing is known; see stage.Inverse.
var AnyColumns = func() *arrow.Schema {
	open := arrow.NewMetadata([]string{stage.MetaOpen}, []string{"true"})
	return arrow.NewSchema(nil, &open)
}()

// Known reports whether a schema is one that a run could have.
func Known(s *arrow.Schema) bool {
	if s == nil || s.Metadata().FindKey(stage.MetaOpen) >= 0 {
		return false
	}
	for _, f := range s.Fields() {
		if f.Metadata.FindKey(stage.MetaUnknown) >= 0 {
			return false
		}
	}
	return true
}

// Check says what is wrong with a stage before it runs. It reads no row, and leaves
// nothing behind. What panics here does so in the run as well, and is reported.
func Check(ctx context.Context, s Stage, in Given) *Checked {
	out := &Checked{}
	g := &Group{
		cfg:      Config{RunID: in.RunID, Dir: in.Dir, BatchRows: DefaultBatchRows, BatchBytes: DefaultBatchBytes, Log: slog.New(slog.DiscardHandler)},
		counters: map[string]int64{}, facts: map[string]string{},
	}
	instance, err := g.build(s)
	if err != nil {
		out.Wrong(err)
		return out
	}
	out.Wrong(g.check(ctx, s, instance, in, out))
	return out
}

// check asks the stage. The error is what a run would fail with, besides what is in out.
func (g *Group) check(ctx context.Context, s Stage, instance any, in Given, out *Checked) (err error) {
	defer recoverPanic(&err, g.cfg.Log)
	switch made := instance.(type) {
	case stage.Source:
		return g.checkSource(ctx, made, in, out)
	case stage.Filter:
		return checkFilter(made, in, out)
	case stage.Encoder:
		if !Known(in.Columns) {
			out.Unchecked("the columns that come are not known before a run, so that what the encoder makes of them is not checked")
			return nil
		}
		media, err := made.Bind(in.Columns)
		return out.gives(media, err)
	case stage.Compressor:
		if in.Media == nil {
			return nil
		}
		media, err := made.Bind(*in.Media)
		return out.gives(media, err)
	case stage.Encryptor:
		if in.Media == nil {
			return nil
		}
		media, err := made.Bind(*in.Media)
		return out.gives(media, err)
	case stage.Sink:
		checker, can := made.(stage.SinkChecker)
		switch {
		case !in.Connect:
		case !can:
			out.Unchecked("the sink does not say where it delivers to before it runs")
		default:
			object := stage.Object{RunID: in.RunID}
			if in.Media != nil {
				object.Media = *in.Media
			}
			checker.CheckSink(ctx, object, &out.Report)
		}
		return nil
	}
	return fault.New("internal", fault.Internal, "stage %q is a %T, not a %s", s.ID, instance, s.Definition.Kind)
}

func (g *Group) checkSource(ctx context.Context, source stage.Source, in Given, out *Checked) (err error) {
	if !in.Connect {
		return nil
	}
	checker, can := source.(stage.SourceChecker)
	if !can {
		out.Unchecked("the source does not say what it delivers before it runs")
		return nil
	}
	defer func() {
		if closeErr := source.Close(); err == nil {
			err = closeErr
		}
	}()
	out.Columns = checker.CheckSource(ctx, &out.Report)
	return nil
}

// checkFilter binds a filter. One that has no Inverse can be given columns of which all is
// known, or none; and when it refuses those that it is to give, it may be right: it may
// drop the column that it misses.
func checkFilter(filter stage.Filter, in Given, out *Checked) error {
	inverse, can := filter.(stage.Inverse)
	takes := in.Columns
	if takes == nil {
		takes = AnyColumns
	}
	if can && in.Backward {
		takes = inverse.Before(takes)
	}
	if !can && !Known(takes) {
		return nil
	}
	gives, err := filter.Bind(takes)
	switch {
	case err != nil && in.Backward && !can:
		out.Warn(fault.From(err))
	case err != nil:
		if in.Backward {
			out.Columns = takes
		}
		return err
	case !in.Backward:
		out.Columns = gives
	case can:
		out.Columns = takes
	}
	return nil
}

func (c *Checked) gives(media stage.Media, err error) error {
	if err == nil {
		c.Media = &media
	}
	return err
}
