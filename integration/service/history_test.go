package service

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// history is what was seen of jobs from all sides: by clients, in the record, in the audit and in the bucket. It holds
// what no fault may break; see faults.
type history struct {
	// Answers are those that clients got to their orders, the repeated ones too.
	Answers []answered
	// Unanswered are orders that clients did not repeat and got no answer to: a job each, or none.
	Unanswered int
	// Seen is what clients were told of a job, by whoever asked, in the order of his asking.
	Seen map[string][][]sight
	// Jobs are those of the list, when everything has ended; Total is how many it says that there are. Partial is a list that
	// others added to meanwhile.
	Jobs    []listed
	Total   int
	Partial bool
	// Steps are a job's transitions, and Audit what the audit has of it, in their orders.
	Steps map[string][]store.Transition
	Audit map[string][]string
	// Objects are the keys in the bucket after a sweep, and Fetched is what a download of a job gives. Without Swept nothing
	// is said of what else is in the bucket.
	Objects []string
	Swept   bool
	Fetched map[string]content
	// Want is what a job has to give when it completes, by the key of its order.
	Want map[string]content
}

// answered is an answer with a job.
type answered struct{ Order, Job string }

// sight is a look at a job.
type sight struct {
	Status  store.Status
	Rows    int64
	Percent int // -1 is unknown
}

// listed is a job of the list.
type listed struct {
	ID      string
	Status  store.Status
	Retries int
	Content content
	Code    string
}

// content is what an object is.
type content struct {
	Rows, Size int64
	SHA256     string
}

// faults are the ways in which a history breaks what is promised; none are good.
func (h *history) faults() (list []string) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	jobs := map[string]listed{}
	for _, j := range h.Jobs {
		if _, twice := jobs[j.ID]; twice && !h.Partial {
			say("%s is listed twice", j.ID)
		}
		jobs[j.ID] = j
	}
	if !h.Partial && h.Total != len(h.Jobs) {
		say("the list has %d jobs, and says %d", len(h.Jobs), h.Total)
	}
	orders, known := map[string]string{}, map[string]string{} // the job of an order, and the order of a job
	for _, a := range h.Answers {
		if first := orders[a.Order]; first != "" && first != a.Job {
			say("the order %s is %s and %s", a.Order, first, a.Job)
		}
		if other := known[a.Job]; other != "" && other != a.Order {
			say("%s is of the orders %s and %s", a.Job, other, a.Order)
		}
		orders[a.Order], known[a.Job] = a.Job, a.Order
		if _, there := jobs[a.Job]; !there {
			say("%s was accepted, and is not listed", a.Job)
		}
	}
	if more := len(jobs) - len(known); !h.Partial && more > h.Unanswered {
		say("%d jobs are of no order: %d orders were not answered", more, h.Unanswered)
	}
	for id, j := range jobs {
		if _, ours := known[id]; h.Partial && !ours {
			continue
		}
		for _, fault := range h.faultsOf(j, known[id]) {
			say("%s: %s", id, fault)
		}
	}
	if h.Swept {
		for _, key := range h.Objects {
			id, _, _ := strings.Cut(key, ".")
			if j, there := jobs[id]; !there || j.Status != store.Completed {
				say("the bucket holds %s, of a job that is %s", key, or(string(j.Status), "unknown"))
			}
		}
	}
	slices.Sort(list)
	return list
}

// faultsOf are those of one job.
func (h *history) faultsOf(j listed, order string) (list []string) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if !j.Status.Ended() {
		say("it is %s, and does not end", j.Status)
	}
	if j.Status == store.Failed && j.Retries != store.MostAttempts-1 {
		say("it failed with %s after %d retries", j.Code, j.Retries)
	}
	steps := h.Steps[j.ID]
	list = append(list, wayOf(steps, j.Status)...)
	for _, looks := range h.Seen[j.ID] {
		list = append(list, looked(looks, steps)...)
	}

	want := []string{"job.created"}
	for _, s := range steps[min(1, len(steps)):] {
		want = append(want, "job."+string(s.Event))
	}
	if audit := changes(h.Audit[j.ID]); !slices.Equal(audit, want) {
		say("the audit has %v, the transitions are %v", audit, want)
	}

	var objects []string
	for _, key := range h.Objects {
		if strings.HasPrefix(key, j.ID+".") {
			objects = append(objects, key)
		}
	}
	if j.Status != store.Completed {
		if h.Swept && len(objects) > 0 {
			say("it is %s, and has left %v", j.Status, objects)
		}
		return list
	}
	if h.Swept && len(objects) != 1 {
		say("it is completed, and its objects are %v", objects)
	}
	got, is := h.Fetched[j.ID]
	if !is || got.SHA256 != j.Content.SHA256 || got.Size != j.Content.Size {
		say("its object is %+v, the record says %+v", got, j.Content)
	}
	if wanted, is := h.Want[order]; is && wanted != j.Content {
		say("its result is %+v, and should be %+v", j.Content, wanted)
	}
	return list
}

// changes are the rows of an audit that tell of changes of the state.
func changes(audit []string) (list []string) {
	for _, what := range audit {
		if what != "job.cancel_asked" && what != "job.link" && what != "job.download" && what != "job.object_removed" {
			list = append(list, what)
		}
	}
	return list
}

// wayOf are the faults of a job's transitions.
func wayOf(steps []store.Transition, end store.Status) (list []string) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if len(steps) == 0 {
		return []string{"it has no transitions"}
	}
	var at store.Status
	for i, s := range steps {
		if s.Number != int64(i+1) {
			say("transition %d has the number %d", i+1, s.Number)
		}
		switch to, ok := store.Next(at, s.Event); {
		case i == 0:
			if s.From != "" || s.To != store.Queued && s.To != store.Running {
				say("it began as %q, from %q", s.To, s.From)
			}
		case s.From != at:
			say("transition %d is from %s, and the job was %s", s.Number, s.From, at)
		case !ok || to != s.To:
			say("transition %d: %s by %s is not %s", s.Number, at, s.Event, s.To)
		}
		if at.Ended() {
			say("it ended as %s, and went on", at)
		}
		at = s.To
	}
	if at != end {
		say("the last transition is to %s, and the list says %s", at, end)
	}
	return list
}

// looked are the faults of what one client was told of a job: it is on the way of the transitions, and goes forward only.
func looked(looks []sight, steps []store.Transition) (list []string) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	at, percent := 0, -1
	var before sight
	for i, l := range looks {
		for at < len(steps) && steps[at].To != l.Status {
			at++
		}
		if at == len(steps) {
			say("a client saw it %s behind %s, which it was not", l.Status, or(string(before.Status), "nothing"))
			return list
		}
		if i > 0 && (l.Rows < before.Rows || l.Percent < percent && l.Percent >= 0) {
			say("its progress fell from %d rows and %d %% to %d and %d", before.Rows, percent, l.Rows, l.Percent)
		}
		percent = max(percent, l.Percent)
		if (l.Percent == 100) != (l.Status == store.Completed) {
			say("it was %d %% when it was %s", l.Percent, l.Status)
		}
		before = l
	}
	return list
}
