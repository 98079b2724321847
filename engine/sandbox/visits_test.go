package sandbox

import (
	"strings"
	"testing"
)

// TestVisitsTablesMakeSense holds the tables around appointments and plans against
// the comments of schema.sql.
func TestVisitsTablesMakeSense(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{Seed: 31, Patients: 500, Appointments: 5_000}, {Seed: 32, Patients: 3, Appointments: 400}, {Seed: 33, Patients: 900, Appointments: 50}} {
		all := practice(t, o)
		patients, appointments := byKey(all["patient"], "patient_id"), byKey(all["appointment"], "appointment_id")
		check := func(ok bool, row map[string]Value, what string) {
			t.Helper()
			if !ok {
				t.Fatalf("%+v: %s: %v", o, what, row)
			}
		}
		same := func(row, other map[string]Value, columns string) {
			t.Helper()
			for _, c := range strings.Fields(columns) {
				check(row[c] == other[c], row, c+" differs")
			}
		}
		missed := 0
		for _, a := range all["appointment"] {
			missed += int(a["cancelled"].N + a["failed"].N)
		}
		check(len(all["appointment_cancellation"]) == missed, nil, "not a row for each cancelled or failed appointment")
		for _, c := range all["appointment_cancellation"] {
			a := appointments[c["appointment_id"].N]
			same(c, a, "patient_id practitioner_id location_id appointment_book_id appointment_date start_time")
			check((c["cancellation_type"].S == "FTA") == (a["failed"].N == 1) && a["cancelled"].N+a["failed"].N == 1, c, "type disagrees with the appointment")
			check((c["cancelled_date"].N > c["start_time"].N) == (a["failed"].N == 1) && c["cancelled_date"].N >= a["ts_4_insert"].N, c, "noted at a wrong time")
			check(c["cancelled_date"].N <= c["ts_4_insert"].N, c, "written before it was noted")
		}
		for _, m := range all["appointment_reminder"] {
			a := appointments[m["appointment_id"].N]
			same(m, a, "patient_id location_id")
			sent, reply := m["sent_date"], m["reply_date"]
			check((m["delivery_status"].S == "Pending") == (sent.Kind == Null), m, "status disagrees with sent_date")
			check(sent.Kind == Null || sent.N/daySeconds == m["reminder_date"].N && sent.N >= a["ts_4_insert"].N, m, "sent on another day, or before the booking")
			check(sent.Kind == Null || m["ts_4_insert"].N <= sent.N && sent.N <= m["ts_4_update"].N, m, "sent before it was written, or not noted")
			check((m["reply_status"].Kind == Null) == (reply.Kind == Null) && (reply.Kind == Null || sent.Kind != Null && reply.N >= sent.N), m, "a reply to nothing")
			check(m["reminder_date"].N <= visitLast && m["reminder_date"].N >= bookingFirst, m, "outside the calendar")
			check(m["reminder_type"].S != "Follow-up" || a["attended"].N == 1 && m["reminder_date"].N >= a["appointment_date"].N, m, "a follow-up to nothing")
		}
		known := func(row map[string]Value, day Value) bool {
			return day.N >= patients[row["patient_id"].N]["ts_4_insert"].N/daySeconds
		}
		linked := byParent(all["recall"], "appointment_id")
		for id, a := range appointments {
			check((a["recall_set_linked"].N == 1) == (len(linked[id]) > 0) && len(linked[id]) <= 1, a, "recall_set_linked disagrees with the recalls")
		}
		states := map[string]int{}
		for _, c := range all["recall"] {
			states[c["recall_status"].S]++
			check(known(c, c["recall_date"]) && c["recall_date"].N <= visitLast, c, "outside the calendar")
			none := c["reminder_count"].N == 0
			check(none == (c["last_contact_date"].Kind == Null) && none == (c["contact_method"].Kind == Null), c, "contact disagrees with the count")
			check(none || known(c, c["last_contact_date"]) && c["last_contact_date"].N <= practiceToday, c, "contacted at a wrong time")
			status := c["recall_status"].S
			booked := c["appointment_id"].Kind != Null
			check(booked == (status == "Booked" || status == "Completed"), c, "appointment disagrees with the status")
			if booked {
				a := appointments[c["appointment_id"].N]
				same(c, a, "patient_id")
				check((a["attended"].N == 1) == (status == "Completed") && a["cancelled"].N+a["failed"].N == 0, c, "another outcome")
				check(a["is_deleted"].N+c["is_deleted"].N == 0, c, "deleted, or with a deleted appointment")
			}
		}
		if o.Patients == 500 {
			for _, status := range []string{"Due", "Contacted", "Booked", "Completed", "Cancelled"} {
				check(states[status] > 10, nil, "hardly a recall is "+status)
			}
		}
		for _, w := range all["waitlist"] {
			check(known(w, w["added_date"]) && w["added_date"].N <= practiceToday, w, "added at a wrong time")
			check(w["preferred_date"].Kind == Null || w["preferred_date"].N >= w["added_date"].N, w, "preferred before it was added")
			if v := w["next_appointment_id"]; v.Kind != Null {
				same(w, appointments[v.N], "patient_id")
				next := appointments[v.N]
				check(next["is_deleted"].N+next["attended"].N+next["cancelled"].N+next["failed"].N == 0, w, "the next appointment is not to come")
			}
		}
		plans := byKey(all["treatment_plan"], "plan_id")
		for _, p := range all["treatment_plan"] {
			check(known(p, p["plan_date"]) && p["plan_date"].N <= practiceToday, p, "proposed at a wrong time")
		}
		accepted := 0
		for _, i := range all["treatment_plan_item"] {
			p := plans[i["plan_id"].N]
			check(i["completed"].N <= i["accepted"].N && i["item_qty"].N >= 1, i, "completed, but never accepted")
			check(p["is_deleted"].N <= i["is_deleted"].N, i, "left over from a deleted plan")
			check(i["ts_4_insert"].N >= p["ts_4_insert"].N, i, "written before its plan")
			accepted += int(i["accepted"].N)
		}
		check(len(all["treatment_plan_item"]) == 0 || accepted > 0, nil, "nothing was ever accepted")
	}
}

// TestSetUpMakesSense holds the lists against the comments of schema.sql.
func TestSetUpMakesSense(t *testing.T) {
	all := practice(t, Options{Patients: 40_000, Appointments: 10})
	defaults := 0
	for _, l := range all["fee_level"] {
		defaults += int(l["is_default"].N)
	}
	if defaults != 1 {
		t.Errorf("%d default fee levels", defaults)
	}
	prices := fees(all["fee_schedule"])
	for _, i := range all["item"] {
		for level := int64(1); level <= feeLevels; level++ {
			periods := prices[feeKey{i["item_code"].S, level}]
			for n, p := range periods {
				last := n == len(periods)-1
				if last != (p["effective_to"].Kind == Null) || !last && periods[n+1]["effective_from"].N != p["effective_to"].N+1 {
					t.Errorf("periods of %s do not follow each other: %v", i["item_code"].S, periods)
				}
			}
			if len(periods) == 0 || periods[0]["effective_from"].N > visitFirst {
				t.Errorf("%s has no price at level %d when visits begin", i["item_code"].S, level)
			}
		}
	}
	codes := map[string]string{}
	for _, k := range all["appointment_type"] {
		codes[k["appointment_type_code"].S] = k["appointment_type"].S
	}
	for _, k := range visitKinds {
		if codes[k.code] != k.name {
			t.Errorf("type %s is called %q, but %q in appointments", k.code, codes[k.code], k.name)
		}
	}
	letters := map[string]bool{}
	for _, s := range all["appointment_status"] {
		letters[s["appointment_status_code"].S] = true
	}
	for _, codes := range statusCodes {
		for _, c := range codes {
			if !letters[string(c)] {
				t.Errorf("letter %c of appointments is not listed", c)
			}
		}
	}
	books := byParent(all["appointment_book"], "practitioner_id")
	for _, p := range all["practitioner"] {
		if b := books[p["practitioner_id"].N]; len(b) != 1 || b[0]["location_id"] != p["location_id"] {
			t.Errorf("books of %v: %v", p, b)
		}
	}
	if small := practice(t, Options{Scale: 0.01}); len(small["practitioner"]) >= len(all["practitioner"]) {
		t.Errorf("%d practitioners in a large practice, %d in a small one", len(all["practitioner"]), len(small["practitioner"]))
	}
	names := map[string]bool{}
	for _, u := range all["practice_user"] {
		if names[u["username"].S] {
			t.Errorf("user %s comes twice", u["username"].S)
		}
		names[u["username"].S] = true
	}
	for _, x := range all["appointment_template"] {
		if x["start_time"].S >= x["end_time"].S || len(x["start_time"].S) != 5 || len(x["end_time"].S) != 5 {
			t.Errorf("a template from %s to %s", x["start_time"].S, x["end_time"].S)
		}
	}
	places := map[suburb]bool{}
	for _, s := range suburbs {
		places[s] = true
	}
	for _, table := range []string{"location", "third_party", "patient"} {
		for _, p := range all[table] {
			if p["suburb"].Kind != Null && !places[suburb{p["suburb"].S, p["postcode"].S, p["state"].S}] {
				t.Errorf("no such place: %v", p)
			}
		}
	}
}

// TestCoverIsThePatients holds what other tables know of a patient against the
// patient's row.
func TestCoverIsThePatients(t *testing.T) {
	for _, o := range []Options{{Seed: 41, Patients: 2_000, Appointments: 900}, {Seed: 42, Patients: 700, Appointments: 7_000}} {
		tables, err := Tables(o)
		if err != nil {
			t.Fatal(err)
		}
		g := &generator{seed: o.Seed, patients: o.Patients, appointments: o.Appointments, book: newBook(o.Seed, o.Patients, o.Appointments)}
		row := make([]Value, len(patientColumns))
		for n := range o.Patients {
			tables[0].Row(n, row)
			c := g.cover(n)
			last := len(row) - 1
			want := cover{fund: row[last-3].N, level: row[last-2].N, registered: row[last-1].N / daySeconds}
			if c != want {
				t.Fatalf("patient %d: %+v, want %+v", n+1, c, want)
			}
		}
	}
}

func TestSelectionFindsByRank(t *testing.T) {
	for _, appointments := range []int64{1, 2, 63, 64, 65, 511, 512, 513, 5_000} {
		g := &generator{seed: 9, patients: 50, appointments: appointments, book: newBook(9, 50, appointments)}
		kept, missed := g.outcomes()
		var keptRank, missedRank int64
		for a := range appointments {
			v, _ := g.slot(a)
			switch v.outcome {
			case attended:
				if got := kept.at(keptRank); got != a {
					t.Fatalf("attended appointment %d is %d, want %d", keptRank, got, a)
				}
				keptRank++
			case cancelled, failed:
				if got := missed.at(missedRank); got != a {
					t.Fatalf("missed appointment %d is %d, want %d", missedRank, got, a)
				}
				missedRank++
			}
		}
		if kept.count() != keptRank || missed.count() != missedRank {
			t.Errorf("of %d: %d attended, %d missed, want %d and %d", appointments, kept.count(), missed.count(), keptRank, missedRank)
		}
	}
}

func TestTallyNumbersBothWays(t *testing.T) {
	for _, tally := range append(partsOf[:], remindersOf, recallsOf, plansOf, planItemsOf) {
		child := int64(0)
		for parent := range int64(900) {
			for which := int64(0); child < tally.total(parent+1); which++ {
				p, w := tally.locate(child)
				if p != parent || w != which || tally.key(parent, which) != child+1 {
					t.Fatalf("child %d is %d of %d, want %d of %d", child, w, p, which, parent)
				}
				child++
			}
		}
	}
}

func TestMoneyIsExact(t *testing.T) {
	for _, c := range []struct {
		n     int64
		scale uint8
		want  string
	}{
		{0, 4, "0.0000"}, {5, 4, "0.0005"}, {-5, 4, "-0.0005"}, {123_456, 4, "12.3456"}, {-1_000_000, 4, "-100.0000"}, {7, 2, "0.07"},
		{150, 2, "1.50"}, {42, 0, "42"}, {-42, 0, "-42"}, {999_999_999_999, 4, "99999999.9999"}, {-1 << 63, 4, "-922337203685477.5808"},
		{-1 << 63, 18, "-9.223372036854775808"},
	} {
		if got := string(Value{Kind: Decimal, N: c.n, Scale: c.scale}.AppendText(nil)); got != c.want {
			t.Errorf("%d with scale %d is %s, want %s", c.n, c.scale, got, c.want)
		}
	}
	if got := (110 * dollar).gst(); got != 10*dollar {
		t.Errorf("GST in 110.00 is %d", got)
	}
	if got := (10 * percentage).cents(199 * cent); got != 19*cent {
		t.Errorf("a tenth of 1.99 in cents is %d", got)
	}
	if got := (50 * percentage).of(3); got != 2 {
		t.Errorf("half of 0.0003 is %d", got)
	}
	if got := feeIn(itemNumbered("011"), 2, 1); got != 5_775*cent { // 62 * 0.9 * 1.035 = 57.753
		t.Errorf("011 costs %d", got)
	}
}
