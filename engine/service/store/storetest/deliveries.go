package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// own is a delivery to a customer's own endpoint.
func own(id, customer string) store.Delivery {
	return store.Delivery{
		ID: id, Customer: customer, Channel: store.ByWebhook, Target: "https://" + customer + ".example/hook", Own: true,
		Event: store.EventMaintenance, Data: []byte(`{}`),
	}
}

// to is a delivery to the URL of a request.
func to(id, customer, target string) store.Delivery {
	d := own(id, customer)
	d.Own, d.Target = false, target
	return d
}

// of is a delivery of a job's event.
func of(job, event string, d store.Delivery) store.Delivery {
	d.Job, d.Event = job, event
	return d
}

const completed, inProgress = "job.completed", store.EventProgress

// queue has deliveries made.
func (s *suite) queue(all ...store.Delivery) {
	s.Helper()
	s.ok(s.store.PutOutbox(s.Context(), []store.OutboxEvent{{Customer: all[0].Customer, Event: store.EventTest}}))
	events, err := s.store.Outbox(s.Context(), 0, 1000)
	s.ok(err)
	made, err := s.store.Expand(s.Context(), []store.Expansion{{Event: events[len(events)-1], Deliveries: all}})
	s.ok(err)
	s.equal(made, 1)
}

// finish has a job end, and its event become a delivery.
func (s *suite) finish(job string, all ...store.Delivery) {
	s.Helper()
	_, err := s.store.CancelJob(s.Context(), "c", job, ann)
	s.ok(err)
	events, err := s.store.Outbox(s.Context(), 0, 1000)
	s.ok(err)
	_, err = s.store.Expand(s.Context(), []store.Expansion{{Event: events[len(events)-1], Deliveries: all}})
	s.ok(err)
}

// take claims the next deliveries, which there have to be.
func (s *suite) take() store.ClaimedDeliveries {
	s.Helper()
	claimed, ok, err := s.store.ClaimDeliveries(s.Context(), "sender")
	s.ok(err)
	if !ok {
		s.Fatal("there is nothing to send")
	}
	return claimed
}

// takes claims so many times, and says what; "-" is nothing.
func (s *suite) takes(n int) (ids []string) {
	s.Helper()
	for range n {
		claimed, ok, err := s.store.ClaimDeliveries(s.Context(), "sender")
		s.ok(err)
		id := "-"
		if ok {
			id = strings.Join(claimed.Lease.Deliveries, "+")
		}
		ids = append(ids, id)
	}
	return ids
}

// resting: there is nothing to send.
func (s *suite) resting() {
	s.Helper()
	s.equal(s.takes(1), []string{"-"})
}

// ends says what has become of a request.
func (s *suite) ends(l store.DeliveryLease, v store.Verdict, retry store.Retry) []store.Delivery {
	s.Helper()
	o := store.Outcome{Verdict: v, HTTPStatus: 503, Code: "webhook.status", Message: "it said 503", Duration: 1500*time.Microsecond + 1}
	if v == store.Accepted {
		o.HTTPStatus, o.Code, o.Message = 204, "", ""
	}
	all, err := s.store.EndAttempt(s.Context(), l, o, retry)
	s.ok(err)
	return all
}

// sends takes what is next and ends it; it returns the identifiers.
func (s *suite) sends(v store.Verdict, retry store.Retry) string {
	s.Helper()
	claimed := s.take()
	s.ends(claimed.Lease, v, retry)
	return strings.Join(claimed.Lease.Deliveries, "+")
}

var (
	standard = store.Retry{}
	durable  = store.Retry{Durable: true}
)

func (s *suite) delivery(customer, id string) store.Delivery {
	s.Helper()
	d, err := s.store.Delivery(s.Context(), customer, id)
	s.ok(err)
	return d
}

// fate is the state of a delivery, and its code.
func (s *suite) fate(customer, id string) string {
	s.Helper()
	d := s.delivery(customer, id)
	return strings.TrimSpace(fmt.Sprint(d.State, " ", d.Code))
}

func (s *suite) endpoint(customer string) store.Endpoint {
	s.Helper()
	all, err := s.store.Endpoints(s.Context(), customer)
	s.ok(err)
	if len(all) != 1 {
		s.Fatalf("the endpoints are %+v", all)
	}
	return all[0]
}

func (s *suite) again(ids ...string) {
	s.Helper()
	n, err := s.store.Resend(s.Context(), store.DeliveryFilter{Customer: "c", IDs: ids}, ann)
	s.ok(err)
	s.equal(n, int64(len(ids)))
}

// expandOnce: an event becomes its deliveries once, and is in the outbox no more.
func (s *suite) expandOnce() {
	ctx := s.Context()
	s.create(order("a", "c"))
	s.cancel("a")
	s.ok(s.store.PutOutbox(ctx, []store.OutboxEvent{{Customer: "d", Event: store.EventTest}, {Customer: "d", Event: store.EventTest}}))
	events, err := s.store.Outbox(ctx, 0, 9)
	s.ok(err)
	all := []store.Expansion{
		{Event: events[1], Deliveries: []store.Delivery{own("1", "d"), to("2", "d", "https://x.example")}},
		{Event: events[0], Deliveries: []store.Delivery{of("a", "job.cancelled", own("3", "c"))}},
	}
	made, err := s.store.Expand(ctx, all)
	s.ok(err)
	s.equal(made, 2)
	left, err := s.store.Outbox(ctx, 0, 9)
	s.ok(err)
	s.equal(left, events[2:])
	for _, x := range all {
		for i := range x.Deliveries {
			x.Deliveries[i].ID += " again"
		}
	}
	made, err = s.store.Expand(ctx, append(all, store.Expansion{Event: events[2]}, store.Expansion{Event: events[2]}))
	s.ok(err)
	s.equal(made, 1) // to nothing
	made, err = s.store.Expand(ctx, nil)
	s.ok(err)
	s.equal(made, 0)
	left, err = s.store.Outbox(ctx, 0, 9)
	s.ok(err)
	s.equal(len(left), 0)
	for customer, ids := range map[string][]string{"c": {"3"}, "d": {"2", "1"}} {
		list, total, err := s.store.Deliveries(ctx, store.DeliveryFilter{Customer: customer, Limit: 9})
		s.ok(err)
		var got []string
		for _, d := range list {
			got = append(got, d.ID)
		}
		s.equal([]any{got, total}, []any{ids, int64(len(ids))})
	}
}

// expandRefused: where one delivery is there already nothing is made of any.
func (s *suite) expandRefused() {
	ctx := s.Context()
	s.queue(own("1", "c"))
	s.ok(s.store.PutOutbox(ctx, []store.OutboxEvent{{Customer: "c", Event: store.EventTest}}))
	events, err := s.store.Outbox(ctx, 0, 9)
	s.ok(err)
	_, err = s.store.Expand(ctx, []store.Expansion{{Event: events[0], Deliveries: []store.Delivery{own("2", "c"), own("1", "d")}}})
	s.refused(err, store.CodeExists)
	left, err := s.store.Outbox(ctx, 0, 9)
	s.ok(err)
	s.equal(left, events)
	_, err = s.store.Delivery(ctx, "c", "2")
	s.refused(err, store.CodeUnknown)
}

// expandedByMany: of several that expand the same events at once, one does each.
func (s *suite) expandedByMany() {
	const many = 40
	ctx := context.WithoutCancel(s.Context())
	for i := range many {
		s.ok(s.store.PutOutbox(ctx, []store.OutboxEvent{{Customer: fmt.Sprint("c", i%3), Event: store.EventTest}}))
	}
	events, err := s.store.Outbox(ctx, 0, many)
	s.ok(err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for w := range 4 {
		wg.Go(func() {
			for some := range slices.Chunk(events, 7) {
				var all []store.Expansion
				for _, o := range some {
					all = append(all, store.Expansion{Event: o, Deliveries: []store.Delivery{own(fmt.Sprint(o.Seq, " ", w), o.Customer)}})
				}
				n, err := s.store.Expand(ctx, all)
				if err != nil {
					s.Error(err)
				}
				mu.Lock()
				made += n
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	waiting, _, _, err := s.store.DeliveryQueues(ctx)
	s.ok(err)
	s.equal([]int{made, int(waiting)}, []int{many, many})
}

// delivered: what is kept of a delivery from its making to its end.
func (s *suite) delivered() {
	ctx := s.Context()
	w := hook("c")
	w.Headers, w.Timeout = []byte("sealed"), 10*time.Second
	s.put(w)
	d := of("job-1", completed, own("del_1", "c"))
	d.Data, d.Target = []byte(`{"job_id":"job-1"}`), "https://old.example"
	s.queue(d)
	made := s.now()
	got := s.delivery("c", "del_1")
	seq := got.Seq
	want := d
	want.Seq, want.State, want.CreatedAt, want.NextAt = seq, store.DeliveryWaiting, made, made
	s.equal(got, want)
	s.advance(time.Second)

	claimed := s.take()
	want.State, want.Attempts, want.Fence, want.NextAt, want.LastAt, want.Target = store.DeliverySending, 1, 1, time.Time{}, s.now(), w.URL
	s.equal(claimed.Deliveries, []store.Delivery{want})
	s.equal(s.delivery("c", "del_1"), want)
	w.CreatedAt, w.UpdatedAt = kept(noon), kept(noon)
	s.equal(claimed.Webhook, w)
	if claimed.Lease.Server == "" {
		s.Fatal("a lease has no server")
	}
	lease := claimed.Lease
	lease.Server = ""
	s.equal(lease, store.DeliveryLease{Customer: "c", Holder: "sender", Deliveries: []string{"del_1"}, Fence: 1})
	s.resting()
	s.advance(time.Second)

	again := s.delivery("c", "del_1")
	after := s.ends(claimed.Lease, store.Accepted, standard)
	want.State, want.EndedAt, want.HTTPStatus = store.DeliveryDelivered, s.now(), 204
	s.equal(after, []store.Delivery{want})
	s.equal(s.delivery("c", "del_1"), want)
	log, err := s.store.Attempts(ctx, "c", "del_1")
	s.ok(err)
	s.equal(log, []store.Attempt{{Delivery: "del_1", Number: 1, At: again.LastAt, Duration: 1500 * time.Microsecond, HTTPStatus: 204}})
	endpoints, err := s.store.Endpoints(ctx, "c")
	s.ok(err)
	s.equal(len(endpoints), 0) // all is well
	s.resting()
}

// retriedThree: the default is three attempts, at 0, 1 and 3 seconds.
func (s *suite) retriedThree() {
	s.put(hook("c"))
	s.queue(own("1", "c"))
	for i, wait := range []time.Duration{time.Second, 2 * time.Second, 0} {
		claimed := s.take()
		s.equal(claimed.Deliveries[0].Attempts, i+1)
		d := s.ends(claimed.Lease, store.Again, standard)[0]
		s.equal([]any{d.Tries, d.HTTPStatus, d.Code, d.Message}, []any{i + 1, 503, "webhook.status", "it said 503"})
		if wait > 0 {
			s.equal([]any{d.State, d.NextAt, d.EndedAt}, []any{store.DeliveryWaiting, s.now().Add(wait), time.Time{}})
			s.advance(wait - time.Microsecond)
			s.resting()
			s.advance(time.Microsecond)
			continue
		}
		s.equal([]any{d.State, d.NextAt, d.EndedAt}, []any{store.DeliveryDead, time.Time{}, s.now()})
	}
	s.resting()
	log, err := s.store.Attempts(s.Context(), "c", "1")
	s.ok(err)
	for i, a := range log {
		s.equal([]any{a.Number, a.HTTPStatus, a.Code, a.Message}, []any{i + 1, 503, "webhook.status", "it said 503"})
	}
	s.equal(len(log), 3)
}

// retriedDurably: from 5 seconds to 10 hours, eight attempts in all, whatever the breaker says meanwhile.
func (s *suite) retriedDurably() {
	s.put(durably("c"))
	s.queue(own("1", "c"))
	began := s.now()
	for i, wait := range []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 10 * time.Hour,
	} {
		d := s.ends(s.take().Lease, store.Again, durable)[0]
		s.equal([]any{d.State, d.Tries, d.NextAt}, []any{store.DeliveryWaiting, i + 1, s.now().Add(wait)})
		s.resting()
		s.advance(wait)
	}
	s.equal(s.now().Sub(began), 27*time.Hour+35*time.Minute+5*time.Second)
	d := s.ends(s.take().Lease, store.Again, durable)[0]
	s.equal([]any{d.State, d.Attempts}, []any{store.DeliveryDead, 8})
}

// retryAfter: a receiver may ask for a longer wait, up to an hour.
func (s *suite) retryAfter() {
	s.put(hook("c"))
	s.queue(own("1", "c"))
	for _, c := range [][2]time.Duration{{30 * time.Second, 30 * time.Second}, {9 * time.Hour, time.Hour}} {
		all, err := s.store.EndAttempt(s.Context(), s.take().Lease, store.Outcome{Verdict: store.Again, After: c[0]}, standard)
		s.ok(err)
		s.equal(all[0].NextAt, s.now().Add(c[1]))
		s.advance(c[1])
	}
	s.queue(own("2", "c"))
	s.sends(store.Accepted, standard)
	all, err := s.store.EndAttempt(s.Context(), s.take().Lease, store.Outcome{Verdict: store.Again, After: time.Millisecond}, standard)
	s.ok(err)
	s.equal(all[0].NextAt, s.now().Add(time.Second)) // no shorter one
}

// finalIsDead: what would not be taken the next time either is not tried again.
func (s *suite) finalIsDead() {
	s.put(durably("c"))
	s.queue(own("1", "c"), own("2", "c"))
	s.sends(store.Final, durable)
	s.equal(s.fate("c", "1"), "dead webhook.status")
	s.sends(store.Accepted, durable)
	s.equal([]string{s.fate("c", "1"), s.fate("c", "2")}, []string{"dead webhook.status", "delivered"})
	s.resting()
}

// inOrderOfJob: of one job and target one goes at a time, in the order in which they were made, and others pass it.
func (s *suite) inOrderOfJob() {
	s.put(hook("c"))
	s.queue(of("a", "x.1", own("a1", "c")), of("a", "x.2", own("a2", "c")), of("a", "x.3", own("a3", "c")), of("b", "x.1", own("b1", "c")),
		of("a", "x.1", to("a4", "c", "https://other.example")))
	first, b, other := s.take(), s.take(), s.take()
	taken := map[string]store.DeliveryLease{}
	for _, c := range []store.ClaimedDeliveries{first, b, other} {
		taken[c.Lease.Deliveries[0]] = c.Lease
	}
	s.equal([]int{len(taken["a1"].Deliveries), len(taken["b1"].Deliveries), len(taken["a4"].Deliveries)}, []int{1, 1, 1})
	s.resting()
	s.ends(taken["a1"], store.Again, standard)
	s.resting() // what comes after it waits for it
	s.advance(time.Second)
	s.equal(s.sends(store.Final, standard), "a1")
	s.equal(s.sends(store.Accepted, standard), "a2") // and goes on when it has ended, whichever way
	s.equal(s.takes(2), []string{"a3", "-"})
}

// progressIsCoalesced: at most one waits of a job and target.
func (s *suite) progressIsCoalesced() {
	ctx := s.Context()
	s.put(hook("c"))
	s.create(order("a", "c"))
	put := func(id string) { s.ok(s.store.PutProgress(ctx, of("a", inProgress, own(id, "c")))) }
	put("1")
	put("2")
	first := s.take()
	s.equal(first.Lease.Deliveries, []string{"1"})
	put("3") // behind what is on its way
	put("4")
	s.ok(s.store.PutProgress(ctx, of("a", inProgress, to("5", "c", "https://other.example"))))
	s.equal(s.takes(2), []string{"5", "-"})
	s.ends(first.Lease, store.Accepted, standard)
	s.equal(s.takes(2), []string{"3", "-"})
	_, total, err := s.store.Deliveries(ctx, store.DeliveryFilter{Customer: "c"})
	s.ok(err)
	s.equal(total, int64(3))
}

// noProgressAfterEnd: of a job that has ended, that there is not, or that is another's.
func (s *suite) noProgressAfterEnd() {
	ctx := s.Context()
	s.create(order("a", "c"))
	s.create(order("b", "d"))
	s.cancel("a")
	for _, job := range []string{"a", "b", "x"} {
		s.ok(s.store.PutProgress(ctx, of(job, inProgress, own("1", "c"))))
	}
	_, total, err := s.store.Deliveries(ctx, store.DeliveryFilter{Customer: "c"})
	s.ok(err)
	s.equal(total, int64(0))
}

// endBeforeProgress: the end of a job removes what waits to tell its progress, and what is on its way is not tried again.
func (s *suite) endBeforeProgress() {
	ctx := s.Context()
	s.put(hook("c"))
	s.create(order("a", "c"))
	s.create(order("b", "c"))
	progress := func(job, id string) { s.ok(s.store.PutProgress(ctx, of(job, inProgress, own(id, "c")))) }
	progress("a", "1")
	first := s.take()
	progress("a", "2")
	progress("b", "3")
	s.finish("a", of("a", completed, own("end", "c")))
	_, err := s.store.Delivery(ctx, "c", "2")
	s.refused(err, store.CodeUnknown)
	s.equal(s.sends(store.Accepted, standard), "3")
	s.resting() // the end waits for what is on its way
	s.ends(first.Lease, store.Again, standard)
	s.equal(s.fate("c", "1"), "dead "+store.DeliverySuperseded)
	s.equal(s.sends(store.Accepted, standard), "end")

	progress("b", "4")
	s.sends(store.Again, standard)
	s.finish("b") // to nobody
	s.equal(s.fate("c", "4"), "dead "+store.DeliverySuperseded)
	log, err := s.store.Attempts(ctx, "c", "4")
	s.ok(err)
	s.equal(len(log), 1) // the receiver has seen it
	s.resting()
	n, err := s.store.Resend(ctx, store.DeliveryFilter{Customer: "c", Event: inProgress}, ann)
	s.ok(err)
	s.equal(n, int64(0))
}

// lists: what a filter lets through, the newest first, in pages.
func (s *suite) deliveryLists() {
	ctx := s.Context()
	s.put(hook("c"))
	for i := range 6 {
		s.queue(of(fmt.Sprint("job", i%2), []string{"x.a", "x.b", "x.c"}[i%3], own(fmt.Sprint(i), "c")))
		s.advance(time.Minute)
	}
	s.queue(own("other", "d"))
	s.sends(store.Accepted, standard) // 0
	s.sends(store.Final, standard)    // 1
	start := s.now().Add(-6 * time.Minute)
	for name, c := range map[string]struct {
		f     store.DeliveryFilter
		want  string
		total int64
	}{
		"all":    {store.DeliveryFilter{Limit: 9}, "543210", 6},
		"page":   {store.DeliveryFilter{Limit: 2, Offset: 1}, "43", 6},
		"beyond": {store.DeliveryFilter{Limit: 2, Offset: 6}, "", 6},
		"none":   {store.DeliveryFilter{}, "", 6},
		"state":  {store.DeliveryFilter{Limit: 9, State: store.DeliveryDead}, "1", 1},
		"event":  {store.DeliveryFilter{Limit: 9, Event: "x.b"}, "41", 2},
		"job":    {store.DeliveryFilter{Limit: 9, Job: "job1", State: store.DeliveryWaiting}, "53", 2},
		"ids":    {store.DeliveryFilter{Limit: 9, IDs: []string{"2", "0", "other", "x"}}, "20", 2},
		"times":  {store.DeliveryFilter{Limit: 9, Since: start.Add(time.Minute), Until: start.Add(3 * time.Minute)}, "21", 2},
	} {
		c.f.Customer = "c"
		list, total, err := s.store.Deliveries(ctx, c.f)
		s.ok(err)
		got := ""
		for _, d := range list {
			got += d.ID
		}
		if got != c.want || total != c.total {
			s.Errorf("%s: %s of %d, want %s of %d", name, got, total, c.want, c.total)
		}
	}
}

// deliveryOfAnother is as one that there never was.
func (s *suite) deliveryOfAnother() {
	ctx := s.Context()
	s.queue(own("1", "c"))
	for _, c := range [][2]string{{"d", "1"}, {"c", "2"}} {
		_, err := s.store.Delivery(ctx, c[0], c[1])
		s.refused(err, store.CodeUnknown)
		_, err = s.store.Attempts(ctx, c[0], c[1])
		s.refused(err, store.CodeUnknown)
	}
	log, err := s.store.Attempts(ctx, "c", "1")
	s.ok(err)
	s.equal(len(log), 0)
	n, err := s.store.Resend(ctx, store.DeliveryFilter{Customer: "d", IDs: []string{"1"}}, ann)
	s.ok(err)
	s.equal(n, int64(0))
}

// webhookStatuses: the worst of a job's counts, and neither mail nor progress does.
func (s *suite) webhookStatuses() {
	ctx := s.Context()
	s.put(hook("c"))
	for _, job := range []string{"done", "dead", "going", "waits"} {
		s.queue(of(job, completed, own(job+" 1", "c")))
	}
	s.sends(store.Accepted, standard)
	s.sends(store.Final, standard)
	s.take()
	mail := of("done", completed, to("mail", "c", "ann@example.org"))
	mail.Channel = store.ByMail
	s.create(order("p", "c"))
	s.ok(s.store.PutProgress(ctx, of("p", inProgress, own("p", "c"))))
	s.queue(mail, of("dead", completed, to("2", "c", "https://x")), of("theirs", completed, own("3", "d")))
	states, err := s.store.WebhookStatuses(ctx, "c", []string{"done", "dead", "going", "waits", "none", "p", "theirs"})
	s.ok(err)
	s.equal(states, map[string]store.DeliveryState{
		"done": store.DeliveryDelivered, "dead": store.DeliveryDead, "going": store.DeliverySending, "waits": store.DeliveryWaiting,
	})
	states, err = s.store.WebhookStatuses(ctx, "c", nil)
	s.ok(err)
	s.equal(len(states), 0)
}

func (s *suite) deliveryQueues() {
	ctx := s.Context()
	waiting, dead, oldest, err := s.store.DeliveryQueues(ctx)
	s.ok(err)
	s.equal([]any{waiting, dead, oldest}, []any{int64(0), int64(0), time.Time{}})
	s.put(hook("c"))
	s.queue(own("1", "c"))
	s.advance(time.Minute)
	second := s.now()
	s.queue(own("2", "c"), own("3", "c"), own("4", "c"))
	s.sends(store.Final, standard)
	waiting, dead, oldest, err = s.store.DeliveryQueues(ctx)
	s.ok(err)
	s.equal([]any{waiting, dead, oldest}, []any{int64(3), int64(1), second})
}

// pruneDeliveries: what ended before a time goes, with its log; what waits or is on its way stays.
func (s *suite) pruneDeliveries() {
	ctx := s.Context()
	s.put(hook("c"))
	s.queue(to("fails", "c", "https://gone.example/1"))
	s.sends(store.Final, standard)
	s.queue(own("done", "c"), own("dead", "c"), own("going", "c"), own("waits", "c"))
	s.sends(store.Accepted, standard)
	s.sends(store.Final, standard)
	s.take()
	s.advance(time.Hour)
	s.queue(own("late", "d"))
	cut := s.now().Add(time.Second)
	s.advance(time.Hour)
	n, err := s.store.PruneDeliveries(ctx, cut)
	s.ok(err)
	s.equal(n, int64(3))
	for _, id := range []string{"done", "dead", "fails"} {
		_, err := s.store.Attempts(ctx, "c", id)
		s.refused(err, store.CodeUnknown)
	}
	s.equal([]string{s.fate("c", "going"), s.fate("c", "waits")}, []string{"sending", "waiting"})
	s.equal(s.endpoint("c").Own, true) // of the other nothing more is known
	n, err = s.store.PruneDeliveries(ctx, cut)
	s.ok(err)
	s.equal(n, int64(0))
}

// deliveriesEnded: nothing can be asked of a record that is closed, nor by a caller that is gone.
func (s *suite) deliveriesClosed() {
	gone, cancel := context.WithCancel(s.Context())
	cancel()
	calls := func(ctx context.Context) []error {
		_, e1 := s.store.Webhook(ctx, "c")
		_, e2 := s.store.Expand(ctx, []store.Expansion{{}})
		_, _, e3 := s.store.ClaimDeliveries(ctx, "w")
		_, e4 := s.store.RecoverDeliveries(ctx)
		_, e5 := s.store.Resend(ctx, store.DeliveryFilter{Customer: "c"}, ann)
		_, e6 := s.store.PruneDeliveries(ctx, noon)
		_, _, e7 := s.store.Deliveries(ctx, store.DeliveryFilter{Customer: "c"})
		_, _, _, e8 := s.store.DeliveryQueues(ctx)
		return []error{e1, e2, e3, e4, e5, e6, e7, e8, s.store.PutWebhook(ctx, hook("c"), audited("x")),
			s.store.PutProgress(ctx, own("1", "c")), s.store.PutOutbox(ctx, []store.OutboxEvent{{Customer: "c"}})}
	}
	for i, err := range calls(gone) {
		if err == nil {
			s.Errorf("call %d was made for a caller that is gone", i)
		}
	}
	s.equal(s.whats(), []string(nil))
	s.ok(s.store.Close())
	for _, err := range calls(s.Context()) {
		s.refused(err, store.CodeClosed)
	}
}
