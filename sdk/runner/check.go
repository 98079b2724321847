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
	// Columns are what a filter, an encoder or a sink of rows is given; nil when they are not known. With
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
	case stage.TableSink:
		checker, can := made.(stage.TableChecker)
		switch {
		case !in.Connect:
		case !can:
			out.Unchecked("the sink does not say where it delivers to before it runs")
		default:
			table := stage.Table{RunID: in.RunID}
			if Known(in.Columns) {
				table.Schema = in.Columns
			}
			checker.CheckTable(ctx, table, &out.Report)
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

// checkFilter binds a filter.
func checkFilter(filter stage.Filter, in Given, out *Checked) error {
	inverse, can := filter.(stage.Inverse)
	takes := in.Columns
	if takes == nil {
		takes = AnyColumns
	}
	if !can && !Known(takes) {
		return nil // it can be given columns of which all is known, or none
	}
	if !in.Backward {
		gives, err := filter.Bind(takes)
		if err == nil {
			out.Columns = gives
		}
		return err
	}
	if !can {
		if gives := guess(filter, takes); gives != nil {
			return stage.Dropped(takes, gives)
		}
		return nil
	}
	out.Columns = inverse.Before(takes)
	gives, err := filter.Bind(out.Columns)
	if err != nil {
		return err
	}
	return stage.Dropped(in.Columns, gives)
}

// guess gives a filter the columns that it is to give, which may be what it is given in the
// run. When it refuses them it may be right: it may drop the one that it misses.
func guess(filter stage.Filter, columns *arrow.Schema) (gives *arrow.Schema) {
	defer func() { _ = recover() }()
	gives, err := filter.Bind(columns)
	if err != nil {
		return nil
	}
	return gives
}

func (c *Checked) gives(media stage.Media, err error) error {
	if err == nil {
		c.Media = &media
	}
	return err
}
