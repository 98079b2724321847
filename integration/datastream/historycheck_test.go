package datastream

import (
	"crypto/sha256"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func doc(n int64, id string) sent {
	return sent{Number: n, Type: "patient", ID: id, Content: sha256.Sum256([]byte{byte(n)})}
}

// sound is a history in which nothing is wrong: answers get lost, are lower than what was sent, and a number has no document
// any more because of a reset.
func sound() *history {
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	gone := sent{Number: 4, Type: "patient", ID: "a", Deleted: true}
	x := func(second int, answered int64, documents ...sent) exchange {
		return exchange{From: at(second), Until: at(second + 1), Channel: entities, Organization: "clinic", Documents: documents, Answered: answered}
	}
	log := x(3, 1, doc(1, "x"))
	log.Channel = logs
	return &history{
		Organization: "clinic", MostDocuments: 3, MostRequests: 5,
		Exchanges: []exchange{
			x(0, -1, doc(1, "a"), doc(2, "b")),
			x(1, 2, doc(1, "a"), doc(2, "b"), doc(3, "c")),
			x(2, -1, doc(3, "c"), gone, doc(7, "b")),
			log,
			x(3, 3, doc(3, "c")), // fewer are taken at once by now
			x(60, 4, gone),
			x(62, 11, doc(9, "b"), doc(11, "a")), // 7 was thrown away by a reset
			x(64, 12, doc(11, "a"), doc(12, "c")),
		},
		Resets: []reset{{From: at(61), Until: at(61), Channel: entities}},
		Copy: map[key]kept{
			{entities, "patient", "a"}: {11, false, "eleven"}, {entities, "patient", "b"}: {9, false, "nine"},
			{entities, "patient", "c"}: {12, true, ""}, {logs, "patient", "x"}: {1, false, "one"},
		},
		Wanted: map[key]string{{entities, "patient", "a"}: "eleven", {entities, "patient", "b"}: "nine", {logs, "patient", "x"}: "one"},
	}
}

// TestHistory: the checker of histories finds what may not be, and nothing in one in which all is well.
func TestHistory(t *testing.T) {
	t.Parallel()
	if found := sound().faults(); len(found) > 0 {
		t.Fatalf("a sound history: %v", found)
	}
	renumbered := sound()
	renumbered.Resets, renumbered.Records = nil, []span{{From: time.UnixMicro(5), Until: time.Unix(61, 0)}}
	if found := renumbered.faults(); len(found) > 0 {
		t.Errorf("a history whose record was another in between: %v", found)
	}
	for name, c := range map[string]struct {
		spoil func(h *history)
		want  string
	}{
		"form":         {func(h *history) { h.Exchanges[0].Form = "no gzip" }, "request 0: no gzip"},
		"organization": {func(h *history) { h.Exchanges[1].Organization = "other" }, `request 1 is of the organization "other"`},
		"empty":        {func(h *history) { h.Exchanges[4].Documents = nil }, "request 4 has 0 documents, of at most 3"},
		"too many":     {func(h *history) { h.MostDocuments = 2 }, "request 1 has 3 documents, of at most 2"},
		"too fast":     {func(h *history) { h.MostRequests = 4 }, "request 4 comes 3s after request 0: 5 in a minute, of at most 4"},
		"too fast, sliding": {func(h *history) {
			h.Exchanges[5].From = time.Unix(57, 0)
			h.Exchanges[6].From = time.Unix(59, 0)
			h.Resets[0].From, h.Resets[0].Until = time.Unix(58, 0), time.Unix(58, 0)
		},
			"request 6 comes 58s after request 1: 6 in a minute, of at most 5"},
		"two at once":    {func(h *history) { h.Exchanges[1].From = time.Unix(0, 1) }, "request 1: entities has it while the one before is not answered"},
		"descending":     {func(h *history) { slices.Reverse(h.Exchanges[1].Documents) }, "request 1: entities 2 stands behind 3"},
		"twice":          {func(h *history) { h.Exchanges[1].Documents[1] = h.Exchanges[1].Documents[0] }, "request 1: entities 1 stands behind 1"},
		"two contents":   {func(h *history) { h.Exchanges[4].Documents[0].Content[0]++ }, "request 4: entities 3 is patient c 094fed08, and was patient c 084fed08"},
		"two documents":  {func(h *history) { h.Exchanges[2].Documents[0].ID = "d" }, "request 2: entities 3 is patient d 084fed08, and was patient c 084fed08"},
		"deleted later":  {func(h *history) { h.Exchanges[5].Documents[0].Deleted = false }, "request 5: entities 4 is patient a 00000000, and was patient a deleted"},
		"a lower number": {func(h *history) { h.Exchanges[6].Documents[0].Number = 6 }, "request 6: entities 6 is new, and 7 has come"},
		"passed over": {func(h *history) {
			h.Exchanges[1].Documents = h.Exchanges[1].Documents[1:]
			h.Exchanges[1].Answered = -1
		}, "request 1: entities 1 was not acknowledged, and is passed over for 2"},
		"passed over behind a partial answer": {func(h *history) { h.Exchanges[5].Answered, h.Exchanges[5].Documents = 3, []sent{doc(7, "b")} },
			"request 5: entities 4 was not acknowledged, and is passed over for 7"},
		"another record, a number of before": {func(h *history) {
			h.Resets, h.Records = nil, []span{{From: time.Unix(61, 0), Until: time.Unix(61, 0)}}
		}, "request 6: entities 7 was not acknowledged, and is passed over for 9"},
		"another record, earlier": {func(h *history) {
			h.Resets, h.Records = nil, []span{{From: time.Unix(0, 0), Until: time.Unix(1, 0)}}
		}, "request 6: entities 7 was not acknowledged, and is passed over for 9"},
		"no reset":           {func(h *history) { h.Resets = nil }, "request 6: entities 7 was not acknowledged, and is passed over for 9"},
		"reset of the other": {func(h *history) { h.Resets[0].Channel = logs }, "request 6: entities 7 was not acknowledged, and is passed over for 9"},
		"an old reset":       {func(h *history) { h.Resets[0].From, h.Resets[0].Until = time.Unix(1, 0), time.Unix(1, 0) }, "request 6: entities 7 was not acknowledged, and is passed over for 9"},
		"lost":               {func(h *history) { delete(h.Copy, key{entities, "patient", "b"}) }, "entities patient b is in the database, and not in the copy"},
		"deleted":            {func(h *history) { h.Copy[key{logs, "patient", "x"}] = kept{1, true, ""} }, "logs patient x is in the database, and not in the copy"},
		"invented":           {func(h *history) { delete(h.Wanted, key{entities, "patient", "b"}) }, "entities patient b is in the copy, and not in the database"},
		"undead":             {func(h *history) { h.Copy[key{entities, "patient", "c"}] = kept{12, false, "c"} }, "entities patient c is in the copy, and not in the database"},
		"other content":      {func(h *history) { h.Wanted[key{entities, "patient", "b"}] = "ten" }, "entities patient b is nine in the copy, and ten in the database"},
		"an old number":      {func(h *history) { h.Copy[key{entities, "patient", "a"}] = kept{4, false, "eleven"} }, "entities patient a has the number 4 in the copy, and was last sent with another"},
		"never sent":         {func(h *history) { h.Copy[key{entities, "patient", "e"}] = kept{4, true, ""} }, "entities patient e has the number 4 in the copy, and was last sent with another"},
		"many": {func(h *history) { maps.DeleteFunc(h.Copy, func(key, kept) bool { return true }); manyWanted(h) },
			"and 13 more"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := sound()
			c.spoil(h)
			if found := h.faults(); !slices.Contains(found, c.want) {
				t.Errorf("found:\n%s\nnot %s", strings.Join(found, "\n"), c.want)
			}
		})
	}
}

func manyWanted(h *history) {
	for i := range 30 {
		h.Wanted[key{logs, "patient", strings.Repeat("y", i+1)}] = ""
	}
}
