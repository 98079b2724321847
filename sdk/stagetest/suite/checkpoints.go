package suite

import (
	"fmt"
	"slices"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// position is a checkpoint in a stream, and how many rows have come by its end.
type position struct {
	text string
	rows int64
}

// checkpoints gives the stage batches with positions, some of them without rows. An encoder and a sink of rows must
// take them; a filter hands them on, in order and behind the rows that they cover. It may leave one out that a later
// one overtakes, but not the last.
func (h *processHarness) checkpoints(p *probe) {
	t := h.table(h.options.input(batch{rows: 20, nulls: someNulls}, batch{}, batch{rows: 1}, batch{rows: 30}, batch{}))
	given, total := []position{}, int64(0)
	for i, rec := range t.records {
		total += rec.NumRows()
		given = append(given, position{fmt.Sprintf("{\"file\": \"binlog.%06d\", \"known as\": \"Ä\"}", i), total})
		t.checkpoints = append(t.checkpoints, given[i].text)
	}
	d, err := h.attempt(p.ctx, t)
	if !p.try("batches with checkpoints", err) || h.manifest.Out != stage.ShapeTable {
		return
	}
	if breach := checkpointsBreach(given, d.positions, h.manifest.KeepsRows); breach != "" {
		p.fail("%s", breach)
	}
}

// checkpointsBreach says what is wrong with the positions that a filter made of those that it was given. Only one that
// keeps rows shows how many must have come.
func checkpointsBreach(given, got []position, keepsRows bool) string {
	from := 0
	for _, at := range got {
		i := slices.IndexFunc(given[from:], func(p position) bool { return p.text == at.text })
		if i < 0 {
			return problemf("the checkpoint %q came twice, out of order, or was not given to the stage",
				at.text).Error()
		}
		from += i + 1
		if rows := given[from-1].rows; keepsRows && at.rows < rows {
			return problemf("the checkpoint %q came behind %d rows, but covers %d: whoever continues there misses some",
				at.text, at.rows, rows).Error()
		}
	}
	if from < len(given) {
		return problemf("the last checkpoint did not come out of the stage, which must hand them on: whoever continues begins too early").Error()
	}
	return ""
}

// sourceCheckpoints compares what a source's process says of its positions with those in its stream.
func (h *processHarness) sourceCheckpoints(d delivery) {
	for _, at := range d.positions {
		if breach := stage.CheckpointBreach(at.text); breach != "" {
			h.report(CheckCheckpoints, "the stream has %s", breach)
		}
	}
	switch n := len(d.positions); {
	case n == 0 && d.told != nil:
		h.report(CheckCheckpoints, "there was an event with a checkpoint, but none in the stream, where a sink finds it")
	case n > 0 && d.told == nil:
		h.report(CheckCheckpoints, "there is a checkpoint in the stream, but no event said one")
	case n > 0 && (d.told.Position != d.positions[n-1].text || d.told.Rows != d.positions[n-1].rows):
		h.report(CheckCheckpoints, "the last event says the checkpoint %q behind %d rows, the stream %q behind %d",
			d.told.Position, d.told.Rows, d.positions[n-1].text, d.positions[n-1].rows)
	}
}
