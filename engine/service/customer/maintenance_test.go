package customer_test

import (
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
)

// TestAnnounce: every customer in service is told, in one change that stands in the audit, and of nothing that has no meaning.
func TestAnnounce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.manage.Disable(t.Context(), "other")
	b.ok(err)
	now := b.clock.now()
	zone := time.FixedZone("", 10*3600)
	want := customer.Maintenance{StartsAt: now.Add(time.Hour).In(zone), EndsAt: now.Add(2 * time.Hour).In(zone), Message: "Updates.\nJobs wait."}
	told, err := b.manage.Announce(t.Context(), want)
	b.ok(err)
	b.equal(told.Customers, 2)
	events, err := b.record.Outbox(t.Context(), 0, 10)
	b.ok(err)
	data := `{"starts_at":"` + now.Add(time.Hour).Format(time.RFC3339Nano) + `","ends_at":"` + now.Add(2*time.Hour).Format(time.RFC3339Nano) + `","message":"Updates.\nJobs wait."}`
	for i, e := range events {
		b.equal([]string{e.Customer, e.Event, e.Job, string(e.Data)}, []string{[]string{"demo", "live"}[i], store.EventMaintenance, "", data})
	}
	b.equal(len(events), 2)
	rows, err := b.record.AuditOf(t.Context(), "", time.Time{}, 10)
	b.ok(err)
	last := rows[len(rows)-1]
	b.equal([]string{last.What, last.Who, last.Customer, last.Details["customers"]}, []string{"maintenance.announce", "user:ann", "", "2"})

	for name, change := range map[string]func(*customer.Maintenance){
		"no start": func(m *customer.Maintenance) { m.StartsAt = time.Time{} }, "no end": func(m *customer.Maintenance) { m.EndsAt = time.Time{} },
		"backwards": func(m *customer.Maintenance) { m.EndsAt = m.StartsAt }, "over": func(m *customer.Maintenance) { m.StartsAt, m.EndsAt = now.Add(-2*time.Hour), now.Add(-time.Hour) },
		"endless": func(m *customer.Maintenance) { m.EndsAt = m.StartsAt.AddDate(0, 0, 31) }, "far": func(m *customer.Maintenance) { m.StartsAt, m.EndsAt = now.AddDate(2, 0, 0), now.AddDate(2, 0, 1) },
		"no message": func(m *customer.Maintenance) { m.Message = "" }, "not text": func(m *customer.Maintenance) { m.Message = "\xff" }, "control": func(m *customer.Maintenance) { m.Message = "a\x1b[31m" },
	} {
		bad := want
		change(&bad)
		if _, err := b.manage.Announce(t.Context(), bad); err == nil {
			t.Errorf("%s is announced", name)
		} else {
			b.refused(err, customer.CodeInvalid)
		}
	}
	for id, want := range map[string][]string{"live": nil, "other": nil, "nobody": nil} {
		addresses, _, err := b.Mail(t.Context(), id)
		b.ok(err)
		b.equal(addresses, want)
	}
	b.ok(b.Replace(t.Context(), []customer.Customer{{ID: "live", Emails: []string{"a@example.com"}, MailOf: []string{"job.failed"}}, {ID: "other", Emails: []string{"b@example.com"}}}))
	addresses, of, err := b.Mail(t.Context(), "live")
	b.ok(err)
	b.equal([][]string{addresses, of}, [][]string{{"a@example.com"}, {"job.failed"}})
	addresses, _, err = b.Mail(t.Context(), "other") // out of service
	b.ok(err)
	b.equal(len(addresses), 0)
	if events, _ := b.record.Outbox(t.Context(), 0, 10); len(events) != 2 {
		t.Errorf("%d events", len(events))
	}
}
