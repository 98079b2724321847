package sandbox

import "fmt"

// What the appointment book is set up with.

func appointmentStatusTable() Table {
	rows := []struct {
		code, name, back, front string
		standby, official       bool
		deleted                 bool
	}{
		{"N", "New patient", "#FFE08A", "#000000", true, true, false},
		{"C", "Confirmed", "#8AE0A0", "#000000", true, true, false},
		{"A", "Attended", "#4080FF", "#FFFFFF", false, true, false},
		{"F", "Failed to attend", "#D02020", "#FFFFFF", false, true, false},
		{"X", "Unable to attend", "#A0A0A0", "", false, true, false},
		{"L", "Lab work, due back", "", "", true, false, false},
		{"$", "Owes money", "#FF8000", "", true, false, false},
		{"?", "Don't know — ask", "", "", false, false, true},
	}
	return listed("appointment_status", `appointment_status_id appointment_status_code appointment_status back_colour
		text_colour retain_in_standby is_official is_active is_deleted`, len(rows), func(i int64, set func(Value)) {
		s := rows[i]
		set(text(s.code))
		set(text(s.name))
		set(optional(s.back))
		set(optional(s.front))
		set(flag(s.standby))
		set(flag(s.official))
		state(set, true, s.deleted)
	})
}

func appointmentTypeTable() Table {
	type kind struct {
		code, name string
		minutes    int64 // 0 for none
		colour     string
		active     bool
		deleted    bool
	}
	var rows []kind
	for _, k := range visitKinds {
		if len(rows) == 0 || rows[len(rows)-1].code != k.code {
			rows = append(rows, kind{k.code, k.name, k.minutes[0], fmt.Sprintf("#%02X%02X%02X", 40*len(rows)%256, 90*len(rows)%256, 200-10*len(rows)), true, false})
		}
	}
	rows[3].colour = ""
	rows = append(rows,
		kind{"IM", "Implant, stage 1", 120, "#336699", true, false},
		kind{"MT", "Meeting (no patient)", 0, "", true, false},
		kind{"SC", "School visit", 20, "#00AA88", false, false},
		kind{"ZZ", "Test — do not use", 0, "", false, true},
	)
	return listed("appointment_type", `appointment_type_id appointment_type_code appointment_type default_duration colour
		is_active is_deleted`, len(rows), func(i int64, set func(Value)) {
		k := rows[i]
		set(text(k.code))
		set(text(k.name))
		set(key(k.minutes))
		set(optional(k.colour))
		state(set, k.active, k.deleted)
	})
}

// The books without a practitioner come first; their keys are below those of
// location.book.
var sharedBooks = []string{"Emergencies", "Hygiene, any chair"}

func (g *generator) bookTable() Table {
	shared := int64(len(sharedBooks))
	key := func(i int64) int64 {
		if i < shared {
			return i + 1
		}
		return 100 + 1 + i - shared
	}
	return listedFrom("appointment_book", `appointment_book_id book_name practitioner_id location_id book_group
		time_interval is_active is_deleted`, int(shared+g.practitioners()), key, func(i int64, set func(Value)) {
		if i < shared {
			set(text(sharedBooks[i]))
			set(Value{})
			set(integer(1 + i))
			set(Value{})
			set(integer(10))
			state(set, true, false)
			return
		}
		p := g.practitioner(i - shared + 1)
		set(text(p.title() + p.surname))
		set(integer(p.id))
		set(integer(p.location))
		set(choose(i%5 == 4, Value{}, text(choose(p.profession == dentist, "Dentists", "Hygiene & therapy"))))
		set(integer(choose[int64](p.profession == dentist, 15, 10)))
		state(set, p.active, p.deleted)
	})
}

const templatesPerBook = 3

func (g *generator) templateTable() Table {
	rows := int(templatesPerBook*g.practitioners()) + 2
	names := []string{"New patients", "Hygiene", "Crowns, long", "Emergency slot", "Lunch / meeting"}
	codes := []string{"EX", "HY", "CR", "EM", ""}
	return listed("appointment_template", `template_id template_name appointment_book_id day_of_week start_time end_time
		appointment_type_code location_id is_deleted`, rows, func(i int64, set func(Value)) {
		p := g.practitioner(min(i/templatesPerBook+1, g.practitioners()))
		spare := i >= templatesPerBook*g.practitioners() // tied to no book
		r := sequence(0, forList, -1-i)
		kind := r.below(int64(len(names)))
		start := 8*60 + 15*r.below(32)
		end := start + 15*(1+r.below(8))
		set(text(names[kind]))
		if spare {
			set(Value{})
			set(Value{})
		} else {
			set(integer(100 + p.id))
			set(maybeInteger(&r, 85, 1+r.below(6)))
		}
		set(text(fmt.Sprintf("%02d:%02d", start/60, start%60)))
		set(text(fmt.Sprintf("%02d:%02d", end/60, end%60)))
		set(optional(codes[kind]))
		set(integer(p.location))
		set(flag(i%16 == 9))
	})
}

// Keys of cancellation reasons by what they are given for.
var (
	reasonsToFail   = []int64{1, 1, 1, 2, 3, 9}
	reasonsToCancel = []int64{3, 3, 4, 4, 5, 6, 7, 8, 9, 10}
)

func cancellationReasonTable() Table {
	names := []string{
		"Failed to attend", "Forgot", "Ill", "Work", "No transport", "Child's illness", "Practitioner away", "Cost",
		"Other", "COVID-19", "Doesn't like us :-(",
	}
	return listed("cancellation_reason", "cancellation_reason_id cancellation_reason is_system is_active is_deleted", len(names),
		func(i int64, set func(Value)) {
			set(text(names[i]))
			set(flag(i == 0 || i == 6))
			state(set, i != 9, i == 10)
		})
}

// recallSets and what recalls are about; the last type is deleted.
var recallSets = []struct {
	name     string
	location int64 // 0: every one
}{{"Hygiene & examination", 0}, {"After treatment", 0}, {"Kids' club, Parramatta", 1}}

func recallSetTable() Table {
	return listed("recall_set", "recall_set_id recall_set location_id is_automated is_active is_deleted", len(recallSets)+1,
		func(i int64, set func(Value)) {
			if i == int64(len(recallSets)) {
				set(text("Old recalls (2019)"))
				set(integer(2))
				set(flag(false))
				state(set, false, true)
				return
			}
			set(text(recallSets[i].name))
			set(key(recallSets[i].location))
			set(flag(i != 1))
			state(set, true, false)
		})
}

// recallType is what a patient is called back for.
type recallType struct {
	id     int
	name   string
	set    int64 // 0 for none
	months int64 // 0 for none
	order  int64 // 0 for none
}

var recallTypes = []recallType{
	{1, "Examination & clean, 6 months", 1, 6, 1},
	{2, "Hygiene, 3 months", 1, 3, 2},
	{3, "Examination, 12 months", 1, 12, 3},
	{4, "Implant review", 2, 12, 1},
	{5, "Root canal review", 2, 6, 2},
	{6, "Child: fluoride", 3, 6, 1},
	{7, "Ring when lab is back", 0, 0, 0},
	{8, "Denture check", 2, 12, 0},
	{9, "Fax reminder", 0, 0, 0},
}

func recallTypeTable() Table {
	return listed("recall_type", `recall_type_id recall_type recall_set_id interval_months reminder_order is_active
		is_deleted`, len(recallTypes), func(i int64, set func(Value)) {
		t := recallTypes[i]
		set(text(t.name))
		set(key(t.set))
		set(key(t.months))
		set(key(t.order))
		state(set, t.id != 8, t.id == 9)
	})
}
