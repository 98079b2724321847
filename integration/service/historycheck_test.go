package service

import (
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// sound is a history of a job that was run twice, and of one that was cancelled, in which nothing is wrong.
func sound() *history {
	one := content{Rows: 3, Size: 30, SHA256: "ab"}
	return &history{
		Answers: []answered{{"first", "a_1"}, {"first", "a_1"}, {"second", "b_2"}},
		Seen: map[string][][]sight{"a_1": {
			{{"queued", 0, -1}, {"running", 2, 60}, {"running", 2, -1}, {"queued", 2, -1}, {"running", 2, 60}, {"running", 3, 99}, {"completed", 3, 100}},
			{{"running", 1, -1}, {"completed", 3, 100}, {"completed", 3, 100}},
		}},
		Jobs:  []listed{{ID: "a_1", Status: "completed", Retries: 1, Content: one}, {ID: "b_2", Status: "cancelled"}},
		Total: 2,
		Steps: map[string][]store.Transition{
			"a_1": {{Number: 1, To: "queued"}, {Number: 2, Event: "claimed", From: "queued", To: "running"}, {Number: 3, Event: "retried", From: "running", To: "queued"},
				{Number: 4, Event: "claimed", From: "queued", To: "running"}, {Number: 5, Event: "completed", From: "running", To: "completed"}},
			"b_2": {{Number: 1, To: "running"}, {Number: 2, Event: "cancelled", From: "running", To: "cancelled"}},
		},
		Audit: map[string][]string{
			"a_1": {"job.created", "job.claimed", "job.retried", "job.claimed", "job.completed", "job.link"},
			"b_2": {"job.created", "job.cancel_asked", "job.cancelled"},
		},
		Objects: []string{"a_1.2.ndjson"}, Swept: true,
		Fetched: map[string]content{"a_1": {Size: 30, SHA256: "ab"}},
		Want:    map[string]content{"first": one},
	}
}

// TestHistory: the checker of histories finds what may not be, and nothing in one in which all is well.
func TestHistory(t *testing.T) {
	if found := sound().faults(); len(found) > 0 {
		t.Fatalf("a sound history: %v", found)
	}
	partial := sound()
	partial.Partial, partial.Swept = true, false
	partial.Jobs = append(partial.Jobs, listed{ID: "c_3", Status: "running"}, partial.Jobs[0])
	partial.Objects = append(partial.Objects, "c_3.1.ndjson")
	if found := partial.faults(); len(found) > 0 {
		t.Fatalf("a sound history, of which others go on: %v", found)
	}
	for name, c := range map[string]struct {
		spoil func(h *history)
		want  string
	}{
		"lost":           {func(h *history) { h.Jobs, h.Total = h.Jobs[1:], 1 }, "a_1 was accepted, and is not listed"},
		"listed twice":   {func(h *history) { h.Jobs, h.Total = append(h.Jobs, h.Jobs[0]), 3 }, "a_1 is listed twice"},
		"a wrong total":  {func(h *history) { h.Total = 3 }, "the list has 2 jobs, and says 3"},
		"doubled":        {func(h *history) { h.Answers[1].Job = "b_2" }, "the order first is a_1 and b_2"},
		"shared":         {func(h *history) { h.Answers[2] = answered{"second", "a_1"} }, "a_1 is of the orders first and second"},
		"of nobody":      {func(h *history) { h.Answers = h.Answers[:2] }, "1 jobs are of no order: 0 orders were not answered"},
		"without an end": {func(h *history) { h.Jobs[1].Status = "running"; h.Steps["b_2"] = h.Steps["b_2"][:1] }, "b_2: it is running, and does not end"},
		"failed at once": {func(h *history) { h.Jobs[1].Status, h.Jobs[1].Code = "failed", "X" }, "b_2: it failed with X after 0 retries"},
		"another status": {func(h *history) { h.Jobs[1].Status = "completed" }, "b_2: the last transition is to cancelled, and the list says completed"},
		"ended twice": {func(h *history) {
			h.Steps["b_2"] = append(h.Steps["b_2"], store.Transition{Number: 3, Event: "completed", From: "cancelled", To: "completed"})
		}, "b_2: it ended as cancelled, and went on"},
		"a number":        {func(h *history) { h.Steps["a_1"][2].Number = 4 }, "a_1: transition 3 has the number 4"},
		"a leap":          {func(h *history) { h.Steps["a_1"] = slices.Delete(h.Steps["a_1"], 1, 2) }, "a_1: transition 3 is from running, and the job was queued"},
		"no such step":    {func(h *history) { h.Steps["a_1"][2].To = "failed" }, "a_1: transition 3: running by retried is not failed"},
		"a beginning":     {func(h *history) { h.Steps["b_2"][0].To = "completed" }, `b_2: it began as "completed", from ""`},
		"no steps":        {func(h *history) { delete(h.Steps, "b_2") }, "b_2: it has no transitions"},
		"seen back":       {func(h *history) { h.Seen["a_1"][1] = append(h.Seen["a_1"][1], sight{"running", 3, -1}) }, "a_1: a client saw it running behind completed, which it was not"},
		"never so":        {func(h *history) { h.Seen["b_2"] = [][]sight{{{"failed", 0, -1}}} }, "b_2: a client saw it failed behind nothing, which it was not"},
		"rows fell":       {func(h *history) { h.Seen["a_1"][0][4].Rows = 1 }, "a_1: its progress fell from 2 rows and 60 % to 1 and 60"},
		"percent fell":    {func(h *history) { h.Seen["a_1"][0][4].Percent = 59 }, "a_1: its progress fell from 2 rows and 60 % to 2 and 59"},
		"100 early":       {func(h *history) { h.Seen["a_1"][0][5].Percent = 100 }, "a_1: it was 100 % when it was running"},
		"audit":           {func(h *history) { h.Audit["b_2"] = h.Audit["b_2"][:2] }, "b_2: the audit has [job.created], the transitions are [job.created job.cancelled]"},
		"two objects":     {func(h *history) { h.Objects = append(h.Objects, "a_1.1.ndjson") }, "a_1: it is completed, and its objects are [a_1.2.ndjson a_1.1.ndjson]"},
		"no object":       {func(h *history) { h.Objects = nil }, "a_1: it is completed, and its objects are []"},
		"of the other":    {func(h *history) { h.Objects = append(h.Objects, "b_2.1.ndjson") }, "b_2: it is cancelled, and has left [b_2.1.ndjson]"},
		"of a stranger":   {func(h *history) { h.Objects = append(h.Objects, "unfinished c_3.1.ndjson") }, "the bucket holds unfinished c_3.1.ndjson, of a job that is unknown"},
		"another object":  {func(h *history) { h.Fetched["a_1"] = content{Size: 30, SHA256: "cd"} }, "a_1: its object is {Rows:0 Size:30 SHA256:cd}, the record says {Rows:3 Size:30 SHA256:ab}"},
		"nothing fetched": {func(h *history) { delete(h.Fetched, "a_1") }, "a_1: its object is {Rows:0 Size:0 SHA256:}, the record says {Rows:3 Size:30 SHA256:ab}"},
		"another result":  {func(h *history) { h.Want["first"] = content{Rows: 4, Size: 30, SHA256: "ab"} }, "a_1: its result is {Rows:3 Size:30 SHA256:ab}, and should be {Rows:4 Size:30 SHA256:ab}"},
	} {
		t.Run(name, func(t *testing.T) {
			h := sound()
			c.spoil(h)
			if found := h.faults(); !slices.Contains(found, c.want) {
				t.Errorf("found:\n%s\nnot %s", strings.Join(found, "\n"), c.want)
			}
		})
	}
}
