package runner_test

import (
	"path/filepath"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestBatchesOfLines: a source whose rows become lines in its own process aims at smaller
// batches, of which several are in flight, unless the run says how large they are to be.
func TestBatchesOfLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		out        stage.Shape
		asked, aim int
	}{
		{stage.ShapeRecords, 0, runner.DefaultBatchRows / 4},
		{stage.ShapeRecords, runner.DefaultBatchRows, runner.DefaultBatchRows},
		{stage.ShapeBytes, 0, runner.DefaultBatchRows},
	} {
		aim := 0
		source := stage.DefineSource(stage.About{Name: "aim"}, func(_ struct{}, env stage.Env) (stage.Source, error) {
			aim = env.BatchRows
			return nil, nil
		})
		encoder := stage.DefineEncoder(stage.About{Name: "slow", Out: c.out}, func(struct{}, stage.Env) (stage.Encoder, error) {
			return &slowEncoder{}, nil
		})
		_, err := runner.Open(runner.Config{RunID: "run", BatchRows: c.asked, Output: filepath.Join(t.TempDir(), "s"), Stages: []runner.Stage{
			{ID: "source", Definition: source}, {ID: "encoder", Definition: encoder},
		}})
		if err != nil || aim != c.aim {
			t.Errorf("%s, %d asked for: the source aims at %d, want %d (%v)", c.out, c.asked, aim, c.aim, err)
		}
	}
}
