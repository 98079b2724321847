package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// many are so many deliveries to a customer's own endpoint.
func many(n int, prefix, customer string) (all []store.Delivery) {
	for i := range n {
		all = append(all, own(fmt.Sprintf("%s%04d", prefix, i), customer))
	}
	return all
}

// inFlightPerTarget: four requests are on their way to one endpoint, in the order in which they were made.
func (s *suite) inFlightPerTarget() {
	s.put(hook("c"))
	s.queue(many(7, "", "c")...)
	first := s.take()
	s.equal(s.takes(4), []string{"0001", "0002", "0003", "-"})
	s.equal(s.endpoint("c").InFlight, 4)
	s.ends(first.Lease, store.Accepted, standard)
	s.equal(s.takes(2), []string{"0004", "-"})
}

// inFlightPerCustomer: eight, however many endpoints it has; other customers have theirs.
func (s *suite) inFlightPerCustomer() {
	for i := range 12 {
		s.queue(to(fmt.Sprint(i), "c", fmt.Sprintf("https://%d.example", i)))
	}
	var leases []store.DeliveryLease
	for range store.MostPerCustomer {
		leases = append(leases, s.take().Lease)
	}
	s.resting()
	s.queue(to("d", "d", "https://d.example"))
	s.equal(s.takes(2), []string{"d", "-"})
	s.ends(leases[3], store.Again, standard)
	s.take()
	s.resting()
}

// fairOverCustomers: one that has much to be sent takes turns with those that have little.
func (s *suite) fairOverCustomers() {
	for _, customer := range []string{"a", "b", "c"} {
		s.put(hook(customer))
	}
	s.queue(many(20, "a", "a")...)
	s.equal(s.takes(1), []string{"a0000"})
	s.queue(many(2, "b", "b")...)
	s.queue(many(1, "c", "c")...)
	s.equal(s.takes(6), []string{"b0000", "c0000", "a0001", "b0001", "a0002", "a0003"})
}

// fairOverEndpoints: of one customer's endpoints the one is next that was served the longest ago.
func (s *suite) fairOverEndpoints() {
	for i := range 3 {
		for _, target := range []string{"x", "y"} {
			s.queue(to(fmt.Sprint(target, i), "c", "https://"+target+".example"))
		}
	}
	took := s.takes(6)
	for i := range 3 {
		pair := took[2*i : 2*i+2]
		slices.Sort(pair)
		s.equal(pair, []string{fmt.Sprint("x", i), fmt.Sprint("y", i)})
	}
}

// blockedEndpoint: what waits for an endpoint that hangs is in nobody's way, its customer's other endpoints neither.
func (s *suite) blockedEndpoint() {
	s.put(hook("c"))
	s.put(hook("d"))
	s.queue(many(600, "", "c")...)
	s.takes(4)
	s.queue(to("other", "c", "https://other.example"))
	s.queue(many(3, "d", "d")...)
	took := s.takes(5)
	slices.Sort(took)
	s.equal(took, []string{"-", "d0000", "d0001", "d0002", "other"})
}

// breakerOpens: after five failures what is not durable is dead at once, and what comes then too, until the endpoint is tried.
func (s *suite) breakerOpens() {
	s.put(hook("c"))
	s.queue(many(230, "", "c")...)
	for range store.BreakAfter {
		s.equal(s.endpointFailures("c") < store.BreakAfter, true)
		s.sends(store.Again, standard)
	}
	e := s.endpoint("c")
	s.equal([]any{e.Failures, e.FailingSince, e.OpenFor, e.OpenUntil}, []any{5, s.now(), 30 * time.Second, s.now().Add(30 * time.Second)})
	s.resting()
	_, dead, _, err := s.store.DeliveryQueues(s.Context())
	s.ok(err)
	s.equal(dead, int64(230))
	s.equal([]string{s.fate("c", "0000"), s.fate("c", "0229")}, []string{"dead " + store.DeliveryBreakerOpen, "dead " + store.DeliveryBreakerOpen})
	s.queue(own("late", "c"))
	s.resting()
	s.equal(s.fate("c", "late"), "dead "+store.DeliveryBreakerOpen)
	s.advance(30 * time.Second)
	s.queue(own("probe", "c"), own("waits", "c"))
	s.equal(s.takes(2), []string{"probe", "-"})
	s.equal(s.fate("c", "waits"), "waiting")
}

func (s *suite) endpointFailures(customer string) int {
	s.Helper()
	all, err := s.store.Endpoints(s.Context(), customer)
	s.ok(err)
	if len(all) == 0 {
		return 0
	}
	return all[0].Failures
}

// breakerWaits: what is durable waits while the breaker is open; one is tried then, for twice as long after each that
// fails, up to ten minutes; and when one is taken all go.
func (s *suite) breakerWaits() {
	s.put(durably("c"))
	s.queue(many(12, "", "c")...)
	for range store.BreakAfter {
		s.sends(store.Again, durable)
	}
	s.resting()
	for _, open := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 10 * time.Minute, 10 * time.Minute} {
		s.equal(s.endpoint("c").OpenUntil, s.now().Add(open))
		s.advance(open - time.Microsecond)
		s.resting()
		s.advance(time.Microsecond)
		probe := s.take()
		s.resting()
		s.ends(probe.Lease, store.Again, durable)
		s.resting()
	}
	s.advance(10 * time.Minute)
	s.sends(store.Accepted, durable)
	s.equal(s.endpointFailures("c"), 0)
	took := s.takes(5)
	s.equal([]bool{slices.Contains(took[:4], "-"), took[4] == "-"}, []bool{false, true})
	waiting, dead, _, err := s.store.DeliveryQueues(s.Context())
	s.ok(err)
	s.equal([]int64{waiting, dead}, []int64{7, 0})
}

// breakerStays: what was on its way when the breaker opened does not open it for longer, and one that arrives closes it.
func (s *suite) breakerStays() {
	s.put(durably("c"))
	s.queue(many(12, "", "c")...)
	var leases []store.DeliveryLease
	s.sends(store.Again, durable)
	s.sends(store.Again, durable)
	for range 4 {
		leases = append(leases, s.take().Lease)
	}
	for _, l := range leases[:3] {
		s.ends(l, store.Again, durable)
	}
	open := s.endpoint("c")
	s.advance(time.Second)
	s.ends(leases[3], store.Again, durable)
	e := s.endpoint("c")
	s.equal([]any{e.OpenUntil, e.OpenFor, e.Failures}, []any{open.OpenUntil, open.OpenFor, 6})
	s.resting()
}

// mailWaits: what goes by mail is not dead because a server is away for a minute.
func (s *suite) mailWaits() {
	for i := range 7 {
		d := to(fmt.Sprint(i), "c", "ann@example.org")
		d.Channel = store.ByMail
		s.queue(d)
	}
	for range store.BreakAfter {
		s.sends(store.Again, durable)
	}
	s.resting()
	s.advance(30 * time.Second)
	s.equal(s.takes(2), []string{"5", "-"})
}

// resentAtOnce: a receiver was away; what is sent again by hand does not wait for the breaker, and arrives in order.
func (s *suite) resentAtOnce() {
	ctx := s.Context()
	s.put(hook("c"))
	var ids []string
	for _, d := range many(40, "", "c") {
		s.queue(of("job "+d.ID, completed, d))
		ids = append(ids, d.ID)
	}
	for range 20 {
		for {
			claimed, ok, err := s.store.ClaimDeliveries(ctx, "sender")
			s.ok(err)
			if !ok {
				break
			}
			s.ends(claimed.Lease, store.Again, standard)
		}
		s.advance(time.Second)
	}
	waiting, dead, _, err := s.store.DeliveryQueues(ctx)
	s.ok(err)
	s.equal([]int64{waiting, dead}, []int64{0, 40})
	s.equal(s.endpoint("c").OpenUntil.After(s.now()), true)

	n, err := s.store.Resend(ctx, store.DeliveryFilter{Customer: "c", State: store.DeliveryDead}, ann)
	s.ok(err)
	s.equal(n, int64(40))
	attempts := s.delivery("c", "0000").Attempts
	var arrived []string
	for range 40 {
		claimed := s.take()
		if len(arrived) == 0 {
			s.resting() // one tries
			s.equal(claimed.Deliveries[0].Attempts, attempts+1)
		}
		arrived = append(arrived, claimed.Lease.Deliveries...)
		s.ends(claimed.Lease, store.Accepted, standard)
	}
	s.equal(arrived, ids)
	s.resting()
	last := s.whats()
	s.equal(last[len(last)-1], "delivery.resend")
}

// resentAnew: the retry of what is sent again begins anew, and one that was delivered may be sent again too.
func (s *suite) resentAnew() {
	s.put(hook("c"))
	s.queue(own("1", "c"))
	s.sends(store.Accepted, standard)
	for round := range 2 {
		s.again("1")
		d := s.delivery("c", "1")
		s.equal([]any{d.State, d.Tries, d.EndedAt, d.NextAt, d.Attempts}, []any{store.DeliveryWaiting, 0, time.Time{}, s.now(), 1 + 2*round})
		n, err := s.store.Resend(s.Context(), store.DeliveryFilter{Customer: "c", IDs: []string{"1"}}, ann)
		s.ok(err)
		s.equal(n, int64(0)) // it waits already
		s.sends(store.Again, standard)
		s.advance(time.Second)
		s.sends(store.Final, standard)
	}
	rows, err := s.store.AuditOf(s.Context(), "c", time.Time{}, 99)
	s.ok(err)
	rows = slices.DeleteFunc(rows, func(a store.Audit) bool { return a.What != "delivery.resend" })
	s.equal(len(rows), 2)
	s.equal([]any{rows[0].Who, rows[0].From, rows[0].RequestID, rows[0].Details["deliveries"]}, []any{ann.Who, ann.From, ann.RequestID, "1"})
}

// resentMany: all of them, however many there are.
func (s *suite) resentMany() {
	n := 2*store.ResentTogether + 7
	s.put(hook("c"))
	s.queue(many(n, "", "c")...)
	w := hook("c")
	w.Enabled = false
	s.put(w)
	s.resting()
	s.put(hook("c"))
	again, err := s.store.Resend(s.Context(), store.DeliveryFilter{Customer: "c", State: store.DeliveryDead}, ann)
	s.ok(err)
	s.equal(again, int64(n))
	waiting, dead, _, err := s.store.DeliveryQueues(s.Context())
	s.ok(err)
	s.equal([]int64{waiting, dead}, []int64{int64(n), 0})
	s.equal(s.takes(2), []string{"0000", "0001"})
}

// resentBeforeOthers: one that is sent again stands in the order of its job, before what came later and has not begun.
func (s *suite) resentBeforeOthers() {
	s.put(hook("c"))
	s.queue(of("a", "x.1", own("1", "c")), of("a", "x.2", own("2", "c")), of("a", "x.3", own("3", "c")))
	s.sends(store.Final, standard)
	s.equal(s.sends(store.Again, standard), "2")
	s.again("1")
	s.advance(time.Second)
	s.equal(s.sends(store.Accepted, standard), "1")
	two := s.take()
	s.equal(two.Lease.Deliveries, []string{"2"})
	s.again("1")
	s.resting() // but not while that is on its way
	s.ends(two.Lease, store.Accepted, standard)
	s.equal(s.sends(store.Accepted, standard), "1")
	s.equal(s.takes(2), []string{"3", "-"})
}

// gone: an endpoint that wants nothing any more is disabled, the customer is told, what waits is dead; it is enabled by
// setting the webhook, and then gets what is sent again.
func (s *suite) gone() {
	ctx := s.Context()
	s.put(durably("c"))
	s.queue(many(3, "", "c")...)
	s.sends(store.Gone, durable)
	e := s.endpoint("c")
	s.equal([]any{e.DisabledAt, e.DisabledReason != ""}, []any{s.now(), true})
	s.resting()
	s.equal([]string{s.fate("c", "0000"), s.fate("c", "0001"), s.fate("c", "0002")},
		[]string{"dead webhook.status", "dead " + store.DeliveryDisabled, "dead " + store.DeliveryDisabled})
	events, err := s.store.Outbox(ctx, 0, 9)
	s.ok(err)
	s.equal(len(events), 1)
	s.equal([]any{events[0].Customer, events[0].Event, events[0].At}, []any{"c", store.EventDisabled, s.now()})
	rows, err := s.store.AuditOf(ctx, "c", time.Time{}, 9)
	s.ok(err)
	row := rows[len(rows)-1]
	s.equal([]any{row.What, row.Who, row.At}, []any{"webhook.disabled", "service", s.now()})

	s.again("0001")
	s.resting()
	s.equal(s.fate("c", "0001"), "dead "+store.DeliveryDisabled)
	off := durably("c")
	off.Enabled = false
	s.put(off)
	s.equal(s.endpoint("c").DisabledAt.IsZero(), false)
	s.put(durably("c"))
	s.again("0001", "0002")
	s.equal([]string{s.sends(store.Accepted, durable), s.sends(store.Accepted, durable)}, []string{"0001", "0002"})
}

// failingForDays: five days of nothing but failures disable an endpoint, and one that is taken begins them anew.
func (s *suite) failingForDays() {
	s.put(durably("c"))
	day := func() bool {
		s.queue(own(s.now().String(), "c"))
		s.ends(s.take().Lease, store.Final, durable)
		s.advance(24 * time.Hour)
		return !s.endpoint("c").DisabledAt.IsZero()
	}
	for range 4 {
		s.equal(day(), false)
	}
	s.queue(own("taken", "c"))
	s.sends(store.Accepted, durable)
	for range 5 {
		s.equal(day(), false)
	}
	s.equal(day(), true)
	events, err := s.store.Outbox(s.Context(), 0, 9)
	s.ok(err)
	s.equal(len(events), 1)
}

// disabledWebhook: what waits for the endpoint of a webhook that is switched off is dead, until it is sent again.
func (s *suite) disabledWebhook() {
	s.put(durably("c"))
	s.queue(many(2, "", "c")...)
	s.queue(to("request", "c", "https://request.example"))
	off := durably("c")
	off.Enabled = false
	s.put(off)
	s.equal(s.takes(2), []string{"request", "-"})
	s.equal(s.fate("c", "0001"), "dead "+store.DeliveryDisabled)
	s.put(durably("c"))
	s.resting()
	s.again("0001")
	s.equal(s.takes(1), []string{"0001"})
}

func (s *suite) deletedWebhook() {
	s.put(durably("c"))
	s.queue(many(2, "", "c")...)
	going := s.take()
	s.ok(s.store.DeleteWebhook(s.Context(), "c", audited("x")))
	s.resting()
	s.equal(s.fate("c", "0001"), "dead "+store.DeliveryDisabled)
	s.ends(going.Lease, store.Again, durable)
	s.resting()
	s.equal(s.fate("c", "0000"), "dead "+store.DeliveryDisabled)
}

// anotherURL: what waits goes to where the webhook is now, of which nothing is known yet.
func (s *suite) anotherURL() {
	s.put(durably("c"))
	s.queue(many(8, "", "c")...)
	for range store.BreakAfter - 1 {
		s.sends(store.Again, durable)
	}
	first := s.take()
	second := s.take()
	s.ends(first.Lease, store.Again, durable)
	s.resting()
	w := durably("c")
	w.URL = "https://new.example"
	s.put(w)
	e := s.endpoint("c")
	s.equal([]any{e.Target, e.Failures, e.OpenUntil}, []any{w.URL, 0, time.Time{}})
	claimed := s.take()
	s.equal([]any{claimed.Deliveries[0].Target, claimed.Webhook.URL}, []any{w.URL, w.URL})
	s.ends(second.Lease, store.Gone, durable) // of the old one
	s.equal([]any{s.endpoint("c").Failures, s.endpoint("c").DisabledAt}, []any{0, time.Time{}})
	s.ends(claimed.Lease, store.Again, durable)
	s.equal(s.endpoint("c").Failures, 1)
}

// goneRequest: an endpoint of a request, which no setting can enable, is enabled by sending again.
func (s *suite) goneRequest() {
	s.queue(to("1", "c", "https://request.example"))
	s.sends(store.Gone, standard)
	s.queue(to("2", "c", "https://request.example"))
	s.resting()
	s.equal(s.fate("c", "2"), "dead "+store.DeliveryDisabled)
	s.again("2")
	s.equal(s.sends(store.Accepted, standard), "2")
}

// goneMail: nobody is told by mail that mail does not arrive.
func (s *suite) goneMail() {
	d := to("1", "c", "ann@example.org")
	d.Channel = store.ByMail
	s.queue(d)
	s.sends(store.Gone, durable)
	events, err := s.store.Outbox(s.Context(), 0, 9)
	s.ok(err)
	s.equal([]any{len(events), s.endpoint("c").DisabledAt}, []any{0, s.now()})
}

// rateLimit: no more requests a minute than the webhook lets through, whoever sends them.
func (s *suite) rateLimit() {
	w := hook("c")
	w.PerMinute = 30
	s.put(w)
	s.queue(many(40, "", "c")...)
	sent := 0
	for range 60 {
		for {
			claimed, ok, err := s.store.ClaimDeliveries(s.Context(), "sender")
			s.ok(err)
			if !ok {
				break
			}
			s.ends(claimed.Lease, store.Accepted, standard)
			sent++
		}
		s.advance(time.Second)
	}
	s.equal(sent, 30)
	w.PerMinute = 0
	s.put(w)
	s.equal(slices.Contains(s.takes(4), "-"), false)
}

// batch: what waits goes in one request, up to a hundred; they stay together until they end.
func (s *suite) batch() {
	w := hook("c")
	w.Batch = true
	s.put(w)
	s.queue(many(130, "", "c")...)
	first := s.take()
	s.equal([]int{len(first.Deliveries), len(first.Lease.Deliveries)}, []int{store.MostInBatch, store.MostInBatch})
	for i, d := range first.Deliveries {
		s.equal([]any{d.ID, d.Batch, d.Attempts}, []any{fmt.Sprintf("%04d", i), first.Deliveries[0].Batch, 1})
	}
	s.resting() // one request at a time
	s.equal(s.endpoint("c").InFlight, 1)
	s.ends(first.Lease, store.Again, standard)
	rest := s.take()
	s.equal(len(rest.Deliveries), 30)
	s.ends(rest.Lease, store.Accepted, standard)
	s.advance(time.Second)
	s.queue(own("late", "c"))
	again := s.take()
	s.equal([]any{again.Lease.Deliveries, again.Deliveries[99].Batch}, []any{first.Lease.Deliveries, first.Deliveries[0].Batch})
	for _, d := range s.ends(again.Lease, store.Accepted, standard) {
		s.equal([]any{d.State, d.Attempts}, []any{store.DeliveryDelivered, 2})
	}
	late := s.take()
	s.equal(late.Lease.Deliveries, []string{"late"})
	if b := late.Deliveries[0].Batch; b == "" || b == first.Deliveries[0].Batch || b == rest.Deliveries[0].Batch {
		s.Fatalf("the batch %q is not one of its own", b)
	}
	for _, id := range []string{"0000", "0099"} {
		log, err := s.store.Attempts(s.Context(), "c", id)
		s.ok(err)
		s.equal(len(log), 2)
	}
}

// batchAnew: the same deliveries, joined again, are another request than before.
func (s *suite) batchAnew() {
	w := hook("c")
	w.Batch = true
	s.put(w)
	s.queue(many(2, "", "c")...)
	first := s.take()
	s.ends(first.Lease, store.Final, standard)
	s.again("0000", "0001")
	second := s.take()
	s.equal(second.Lease.Deliveries, first.Lease.Deliveries)
	if second.Deliveries[0].Batch == first.Deliveries[0].Batch {
		s.Fatal("it has the name of the one before")
	}
}

// batchOfJobs: of one job one goes at a time in batches too.
func (s *suite) batchOfJobs() {
	w := hook("c")
	w.Batch = true
	s.put(w)
	s.queue(of("a", "x.1", own("a1", "c")), of("b", "x.1", own("b1", "c")), of("a", "x.2", own("a2", "c")), own("n", "c"))
	s.equal(s.sends(store.Accepted, standard), "a1+b1+n")
	s.equal(s.sends(store.Accepted, standard), "a2")
}

// attemptLost: a process that is gone has its deliveries no longer than their request and half a minute; then they are sent
// at once, however often, and their logs say so.
func (s *suite) attemptLost() {
	ctx := s.Context()
	w := hook("c")
	w.Timeout = 5 * time.Second
	s.put(w)
	s.queue(own("1", "c"))
	for i := range 5 {
		claimed := s.take()
		s.equal(claimed.Deliveries[0].Attempts, i+1)
		s.advance(35*time.Second - time.Microsecond)
		n, err := s.store.RecoverDeliveries(ctx)
		s.ok(err)
		s.equal(n, 0)
		s.advance(time.Microsecond)
		_, err = s.store.EndAttempt(ctx, claimed.Lease, store.Outcome{Verdict: store.Accepted}, standard)
		s.refused(err, store.CodeLeaseLost)
		n, err = s.store.RecoverDeliveries(ctx)
		s.ok(err)
		s.equal(n, 1)
		_, err = s.store.EndAttempt(ctx, claimed.Lease, store.Outcome{Verdict: store.Accepted}, standard)
		s.refused(err, store.CodeLeaseLost)
		d := s.delivery("c", "1")
		s.equal([]any{d.State, d.Tries, d.NextAt, d.Code}, []any{store.DeliveryWaiting, 0, s.now(), store.DeliveryLost})
	}
	s.equal(s.endpointFailures("c"), 0) // it was not the receiver
	s.sends(store.Accepted, standard)
	log, err := s.store.Attempts(ctx, "c", "1")
	s.ok(err)
	s.equal([]any{len(log), log[0].Code, log[4].Code, log[5].Code}, []any{6, store.DeliveryLost, store.DeliveryLost, ""})
}

// sendingOfAnother: each part of a lease counts, and a request is ended whole.
func (s *suite) sendingOfAnother() {
	w := hook("c")
	w.Batch = true
	s.put(w)
	s.queue(many(2, "", "c")...)
	claimed := s.take()
	for _, change := range []func(*store.DeliveryLease){
		func(l *store.DeliveryLease) { l.Holder = "another" },
		func(l *store.DeliveryLease) { l.Fence++ },
		func(l *store.DeliveryLease) { l.Fence-- },
		func(l *store.DeliveryLease) { l.Server += "x" },
		func(l *store.DeliveryLease) { l.Server = "" },
		func(l *store.DeliveryLease) { l.Customer = "d" },
		func(l *store.DeliveryLease) { l.Deliveries = append(slices.Clone(l.Deliveries), "x") },
		func(l *store.DeliveryLease) { *l = store.DeliveryLease{} },
	} {
		l := claimed.Lease
		change(&l)
		_, err := s.store.EndAttempt(s.Context(), l, store.Outcome{Verdict: store.Accepted}, standard)
		s.refused(err, store.CodeLeaseLost)
	}
	s.equal(s.fate("c", "0000"), "sending")
	s.ends(claimed.Lease, store.Accepted, standard)
	_, err := s.store.EndAttempt(s.Context(), claimed.Lease, store.Outcome{Verdict: store.Accepted}, standard)
	s.refused(err, store.CodeLeaseLost)
}

// recoveredRequests: a batch that is lost is one request, and comes again as it was.
func (s *suite) recoveredRequests() {
	w := hook("c")
	w.Batch = true
	s.put(w)
	s.put(hook("d"))
	s.queue(many(3, "c", "c")...)
	s.queue(many(4, "d", "d")...)
	batch := s.take()
	s.equal(s.takes(5), []string{"d0000", "d0001", "d0002", "d0003", "-"})
	s.advance(time.Minute)
	n, err := s.store.RecoverDeliveries(s.Context())
	s.ok(err)
	s.equal(n, 7)
	again := s.take()
	s.equal([]any{again.Lease.Deliveries, again.Deliveries[0].Batch}, []any{batch.Lease.Deliveries, batch.Deliveries[0].Batch})
	s.equal(again.Lease.Fence, batch.Lease.Fence+1)
	s.equal(s.takes(5), []string{"d0000", "d0001", "d0002", "d0003", "-"})
}

// outOfService: what is to be sent for a customer that is disabled waits.
func (s *suite) outOfService() {
	s.put(hook("c"))
	s.queue(many(2, "", "c")...)
	going := s.take()
	s.ok(s.store.SetDisabled(s.Context(), "c", true, audited("off")))
	s.resting()
	s.ends(going.Lease, store.Accepted, standard)
	s.resting()
	s.ok(s.store.SetDisabled(s.Context(), "c", false, audited("on")))
	s.equal(s.takes(2), []string{"0001", "-"})
}

// sentOnce: many that send at once take each delivery once, in the order of its job, and never more than may be on their way.
func (s *suite) sentOnce() {
	const customers, each, senders = 3, 24, 6
	ctx := context.WithoutCancel(s.Context())
	total := 0
	for c := range customers {
		customer := fmt.Sprint("c", c)
		s.put(hook(customer))
		for i := range each {
			id := fmt.Sprint(customer, "-", i)
			s.queue(of(fmt.Sprint("job", i%8), "x.y", own(id, customer)), of(fmt.Sprint("job", i%8), "x.y", to(id+"r", customer, "https://r.example")))
			total += 2
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	sent, flying, last := map[string]int{}, map[string]int{}, map[string]int64{}
	for w := range senders {
		wg.Go(func() {
			for idle := 0; idle < 50; {
				claimed, ok, err := s.store.ClaimDeliveries(ctx, fmt.Sprint("sender ", w))
				if err != nil {
					s.Error(err)
					return
				}
				if !ok {
					idle++
					continue
				}
				d := claimed.Deliveries[0]
				key, line := d.Customer+" "+d.Target, d.Customer+" "+d.Target+" "+d.Job
				mu.Lock()
				sent[d.ID]++
				flying[key]++
				flying[d.Customer]++
				if flying[key] > store.MostPerTarget || flying[d.Customer] > store.MostPerCustomer {
					s.Errorf("%d are on their way to %s, and %d of its customer", flying[key], key, flying[d.Customer])
				}
				if d.Seq < last[line] {
					s.Errorf("%s comes after a later one of its job", d.ID)
				}
				last[line] = d.Seq
				mu.Unlock()
				if _, err := s.store.Delivery(ctx, d.Customer, d.ID); err != nil { // it takes a while to send it
					s.Error(err)
				}
				mu.Lock()
				// They are counted down before the record does, so that the count is never above the record's.
				flying[key]--
				flying[d.Customer]--
				mu.Unlock()
				if _, err := s.store.EndAttempt(ctx, claimed.Lease, store.Outcome{Verdict: store.Accepted}, standard); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for {
		claimed, ok, err := s.store.ClaimDeliveries(ctx, "last")
		s.ok(err)
		if !ok {
			break
		}
		sent[claimed.Deliveries[0].ID]++
		s.ends(claimed.Lease, store.Accepted, standard)
	}
	s.equal(len(sent), total)
	for id, n := range sent {
		if n != 1 {
			s.Fatalf("%s was sent %d times", id, n)
		}
	}
	waiting, dead, _, err := s.store.DeliveryQueues(ctx)
	s.ok(err)
	s.equal([]int64{waiting, dead}, []int64{0, 0})
}
