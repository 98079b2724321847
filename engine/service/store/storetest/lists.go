package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// list is a page, as the ids of its jobs, and the total.
func (s *suite) list(f store.JobFilter) (ids []string, total int64) {
	s.Helper()
	page, total, err := s.store.Jobs(s.Context(), f)
	s.ok(err)
	for _, j := range page {
		ids = append(ids, j.ID)
	}
	return ids, total
}

// fill makes jobs of two customers in all states, several of the same time, and returns those of c.
func (s *suite) fill() (all []store.Job) {
	s.Helper()
	for i := range 24 {
		customer := "c"
		if i%6 == 5 {
			customer = "d"
		}
		n := order(fmt.Sprintf("j%02d", i*7%24), customer)
		if i%4 == 0 {
			n.Job.Procedure = "patients"
		}
		n.Holder = "worker"
		if i%3 == 0 {
			n.Holder = ""
		}
		_, lease := s.create(n)
		if event := []store.JobEvent{"", store.JobFailed, store.JobCompleted, "", store.JobCancelled, ""}[i%6]; lease.Job != "" && event != "" {
			s.end(lease, event)
		}
		if i%2 == 1 {
			s.advance(time.Hour)
		}
		if i == 15 { // one changes long after it was made
			s.cancel("j00")
		}
	}
	for i := range 24 {
		if j, err := s.store.Job(s.Context(), "c", fmt.Sprintf("j%02d", i)); err == nil {
			all = append(all, j)
		}
	}
	return all
}

// orders are those of lists: what comes first, and the other way round.
var orders = map[store.JobSort]func(a, b store.Job) int{
	"":                byCreation(-1),
	store.CreatedDesc: byCreation(-1),
	store.CreatedAsc:  byCreation(1),
	store.UpdatedDesc: byUpdate(-1),
	store.UpdatedAsc:  byUpdate(1),
}

func byCreation(way int) func(a, b store.Job) int {
	return func(a, b store.Job) int {
		return way * cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	}
}

func byUpdate(way int) func(a, b store.Job) int {
	return func(a, b store.Job) int {
		return way * cmp.Or(a.UpdatedAt.Compare(b.UpdatedAt), cmp.Compare(a.ID, b.ID))
	}
}

// lists: every filter with every order, whole and in pages.
func (s *suite) lists() {
	all := s.fill()
	s.equal(len(all), 20)
	first, last := all[0].CreatedAt, all[0].CreatedAt
	for _, j := range all {
		if j.CreatedAt.Before(first) {
			first = j.CreatedAt
		}
		if j.CreatedAt.After(last) {
			last = j.CreatedAt
		}
	}
	met := 0
	for _, status := range []store.Status{"", store.Queued, store.Running, store.Completed, store.Failed, store.Cancelled} {
		for _, procedure := range []string{"", "patients", "appointments", "none"} {
			for _, from := range []time.Time{{}, first, first.Add(3 * time.Hour)} {
				for _, to := range []time.Time{{}, last, last.Add(time.Microsecond), first.Add(6 * time.Hour)} {
					for sort, compare := range orders {
						f := store.JobFilter{Customer: "c", Status: status, Procedure: procedure, From: from, To: to, Sort: sort, Limit: 100}
						var want []string
						for _, j := range slices.SortedFunc(slices.Values(all), compare) {
							if (status == "" || j.Status == status) && (procedure == "" || j.Procedure == procedure) &&
								!j.CreatedAt.Before(from) && (to.IsZero() || j.CreatedAt.Before(to)) {
								want = append(want, j.ID)
							}
						}
						met += len(want)
						got, total := s.list(f)
						if !slices.Equal(got, want) || total != int64(len(want)) {
							s.Fatalf("%+v: got %v of %d, want %v", f, got, total, want)
						}
						f.Limit, f.Offset = 3, 2
						got, total = s.list(f)
						if page := want[min(2, len(want)):min(5, len(want))]; !slices.Equal(got, page) || total != int64(len(want)) {
							s.Fatalf("%+v: got %v of %d, want %v of %d", f, got, total, page, len(want))
						}
					}
				}
			}
		}
	}
	s.equal(met > 1000, true)
}

// pages: together they are the list, each job once.
func (s *suite) pages() {
	all := s.fill()
	for sort, compare := range orders {
		var got []string
		for offset := int64(0); ; offset += 7 {
			page, total := s.list(store.JobFilter{Customer: "c", Sort: sort, Limit: 7, Offset: offset})
			s.equal(total, int64(len(all)))
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
		}
		var want []string
		for _, j := range slices.SortedFunc(slices.Values(all), compare) {
			want = append(want, j.ID)
		}
		s.equal(got, want)
	}
	for _, f := range []store.JobFilter{{Limit: 0}, {Limit: -1}, {Limit: 9, Offset: 99}, {Limit: 9, Offset: 1 << 60}} {
		f.Customer = "c"
		page, total := s.list(f)
		s.equal(len(page), 0)
		s.equal(total, int64(len(all)))
	}
	page, _ := s.list(store.JobFilter{Customer: "c", Limit: 1, Offset: -5})
	s.equal(len(page), 1)
	whole, _, err := s.store.Jobs(s.Context(), store.JobFilter{Customer: "c", Limit: 100})
	s.ok(err)
	s.equal(whole, slices.SortedFunc(slices.Values(all), byCreation(-1))) // each as it is by itself
}

// listOfAnother: nobody sees another's, whatever the filter.
func (s *suite) listOfAnother() {
	s.fill()
	page, total := s.list(store.JobFilter{Customer: "d", Limit: 100})
	s.equal([]any{len(page), total}, []any{4, int64(4)})
	for _, customer := range []string{"", "C", "c ", "%", "nobody"} {
		page, total := s.list(store.JobFilter{Customer: customer, Limit: 100})
		s.equal([]any{len(page), total}, []any{0, int64(0)})
	}
}

// listAtOnce: whoever was told of a job sees it in the list.
func (s *suite) listAtOnce() {
	for i := range 20 {
		s.create(order(fmt.Sprint(i), "c"))
		page, total := s.list(store.JobFilter{Customer: "c", Limit: 100})
		s.equal([]any{len(page), total}, []any{i + 1, int64(i + 1)})
		_, lease := s.claim()
		_, total = s.list(store.JobFilter{Customer: "c", Status: store.Running, Limit: 1})
		s.equal(total, int64(1))
		s.end(lease, store.JobCompleted)
		_, total = s.list(store.JobFilter{Customer: "c", Status: store.Completed, Limit: 1})
		s.equal(total, int64(i+1))
	}
}
