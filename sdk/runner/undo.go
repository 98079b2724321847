package runner

import (
	"context"
	"log/slog"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Undo ends what a stage of another process has announced; see stage.Undoer. The errors are in the order of the
// resources, nil for what is gone.
func Undo(ctx context.Context, s Stage, runID, dir string, resources []stage.Resource) []error {
	errs := make([]error, len(resources))
	g := &Group{
		cfg:      Config{RunID: runID, Dir: dir, BatchRows: DefaultBatchRows, BatchBytes: DefaultBatchBytes, Log: slog.New(slog.DiscardHandler)},
		counters: map[string]int64{}, facts: map[string]string{},
	}
	instance, err := g.build(s)
	undoer, can := instance.(stage.Undoer)
	if err == nil && !can {
		err = fault.New(stage.CodeCannotUndo, fault.Plugin, "the %s %q announces what it cannot undo",
			s.Definition.Kind, s.Definition.Name)
	}
	for i, r := range resources {
		errs[i] = err
		if err == nil {
			errs[i] = g.undo(ctx, undoer, r)
		}
		if errs[i] != nil {
			errs[i] = fault.InStage(errs[i], s.ID)
		}
	}
	if source, is := instance.(stage.Source); is {
		_ = source.Close() // it was never opened
	}
	return errs
}

func (g *Group) undo(ctx context.Context, undoer stage.Undoer, r stage.Resource) (err error) {
	defer recoverPanic(&err, g.cfg.Log)
	if err := undoer.Undo(ctx, r); err != nil {
		return err
	}
	return nil
}
