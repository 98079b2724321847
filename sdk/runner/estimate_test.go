package runner_test

import (
	"testing"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestEstimate: about how many rows come is told with the schema, where the source knows; one that makes no sense is
// none.
func TestEstimate(t *testing.T) {
	t.Parallel()
	for said, want := range map[int64]int64{0: 0, 120: 120, -1: 0} {
		told := int64(-2)
		list := stages(t, []link{{stage.KindSource, "count", map[string]any{"estimate": said}},
			{stage.KindSink, "rows", map[string]any{"path": t.TempDir() + "/out"}}})
		group, err := runner.Open(runner.Config{RunID: "r", Stages: list, Opened: func(_ *arrow.Schema, rows int64) { told = rows }})
		if err != nil {
			t.Fatal(err)
		}
		if err := group.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if told != want {
			t.Errorf("the source says %d, and %d is told", said, told)
		}
		if err := group.Abort(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
