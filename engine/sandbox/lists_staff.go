package sandbox

import (
	"strconv"
	"strings"
)

// Who works where.

// practitioner is who treats patients. The first ones, with keys from 1 to
// locations*practitionersPerLocation, have visits of their own; then come those who
// assist them, and two who have left.
type practitioner struct {
	id         int64
	first      string
	surname    string
	profession string
	commission share // percent; 0 for none
	location   int64
	active     bool
	deleted    bool
}

const (
	dentist   = "Dentist"
	leading   = locations * practitionersPerLocation
	departed  = 2
	perHelper = 3_000 // patients for each who assists at a location
)

var professions = []string{"Oral Health Therapist", "Dental Hygienist", "Dental Therapist", ""}

// assistants is how many assist at each location: more with more patients.
func (g *generator) assistants() int64 { return 1 + min(g.patients/perHelper, 40) }

// practitioners is how many there are in all.
func (g *generator) practitioners() int64 { return leading + locations*g.assistants() + departed }

// assistant draws the key of one who assists at a location.
func (g *generator) assistant(r *random, location int64) int64 {
	return leading + location + locations*r.below(g.assistants())
}

// practitioner is the one with a key.
func (g *generator) practitioner(id int64) practitioner {
	r := sequence(0, forStaff, id)
	p := practitioner{id: id, surname: pick(&r, surnames), active: true, commission: 35 + share(r.below(11))}
	p.first = pick(&r, choose(r.percent(55), femaleNames, maleNames))
	switch {
	case id <= leading:
		p.profession = choose(id%practitionersPerLocation == 0, "Dental Specialist", dentist)
		p.location = 1 + (id-1)/practitionersPerLocation
	case id <= leading+locations*g.assistants():
		p.profession = pick(&r, professions)
		p.location = 1 + (id-leading-1)%locations
		p.commission = choose[share](r.percent(50), 0, 25)
	default:
		p.profession, p.location = dentist, locations+1
		p.active, p.deleted = false, id == g.practitioners()
	}
	return p
}

// title comes before the surname of those who are called by it.
func (p *practitioner) title() string {
	if strings.HasPrefix(p.profession, "Dent") && !strings.HasPrefix(p.profession, "Dental H") && !strings.HasPrefix(p.profession, "Dental T") {
		return "Dr "
	}
	return p.first + " "
}

// commissionOn is a practitioner's rate on a day: two percent more since July 2024.
func (g *generator) commissionOn(id, day int64) share {
	p := g.practitioner(id)
	if day < feePeriods[2].from && p.commission > 0 {
		return (p.commission - 2) * percentage
	}
	return p.commission * percentage
}

func (g *generator) practitionerTable() Table {
	return listed("practitioner", `practitioner_id practitioner_code title first_name surname provider_number profession
		commission_percent location_id is_active is_deleted`, int(g.practitioners()), func(i int64, set func(Value)) {
		p := g.practitioner(i + 1)
		doctor := strings.HasPrefix(p.title(), "Dr")
		r := sequence(0, forStaff, -p.id)
		set(text("P" + strconv.FormatInt(100+p.id, 10)))
		set(choose(doctor, text("Dr"), choose(p.id%3 == 0, Value{}, text("Ms"))))
		set(text(p.first))
		set(text(p.surname))
		number := digits(&r, 6) + string('A'+rune(p.location)) + "X"
		set(choose(p.id%5 == 0, Value{}, text(number)))
		set(optional(p.profession))
		set(choose(p.commission == 0, Value{}, (p.commission * percentage).value()))
		set(integer(p.location))
		state(set, p.active, p.deleted)
	})
}

var userRoles = []struct{ name, description string }{
	{"Practitioner", "Treats patients"}, {"Reception", "Books, takes payments"}, {"Practice manager", "Everything"},
	{"Nurse", ""}, {"Accounts", "Invoices, debtors & reports"}, {"Vendor's support", "No patient data"},
}

func userRoleTable() Table {
	return listed("user_role", "user_role_id role_name description is_active is_deleted", len(userRoles), func(i int64, set func(Value)) {
		set(text(userRoles[i].name))
		set(optional(userRoles[i].description))
		state(set, i != 3, int(i) == len(userRoles)-1)
	})
}

func (g *generator) userTable() Table {
	staff := g.practitioners()
	return listed("practice_user", `user_id username first_name surname user_role_id practitioner_id location_id is_active
		is_deleted`, int(2*staff), func(i int64, set func(Value)) {
		if i < staff {
			p := g.practitioner(i + 1)
			set(text("dr" + strconv.FormatInt(p.id, 10)))
			set(text(p.first))
			set(text(p.surname))
			set(integer(1))
			set(integer(p.id))
			set(integer(p.location))
			state(set, p.active, p.deleted)
			return
		}
		r := sequence(0, forStaff, 1<<32|i)
		set(text("staff" + strconv.FormatInt(i-staff+1, 10)))
		set(choose(i%16 == 2, Value{}, text(pick(&r, femaleNames))))
		set(choose(i%16 == 5, Value{}, text(pick(&r, surnames))))
		set(maybeInteger(&r, 90, 2+r.below(4)))
		set(Value{})
		set(maybeInteger(&r, 80, 1+r.below(locations)))
		state(set, !r.percent(12), r.percent(5))
	})
}

// places are the locations. Patients are seen at the first ones; then come one that
// was closed, and one without an address, which is deleted.
var places = []struct{ name, address, unit, suburb, state, postcode, phone, email, zone string }{
	{"Parramatta Dental", "120 Church Street", "Level 3, Suite 5", "Parramatta", "NSW", "2150", "(02) 5550 0101", "parramatta@example.com", "Australia/Sydney"},
	{"St Kilda \"Bayside\" Dental", "14 Beach Road", "", "St Kilda", "VIC", "3182", "(03) 5550 0102", "bayside@example.com", "Australia/Melbourne"},
	{"Toowong Dental & Implants", "7 High Street", "Shop 7", "Toowong", "QLD", "4066", "(07) 5550 0103", "", "Australia/Brisbane"},
	{"O'Connor Rooms (closed)", "2 Macarthur Avenue", "", "O'Connor", "ACT", "2602", "", "", ""},
	{"Mobile clinic 🚐, schools", "", "", "", "", "", "", "", "Australia/Sydney"},
}

func locationTable() Table {
	return listed("location", `location_id location_name address1 address2 suburb state postcode phone email time_zone
		is_active is_deleted`, len(places), func(i int64, set func(Value)) {
		p := places[i]
		set(text(p.name))
		for _, s := range []string{p.address, p.unit, p.suburb, p.state, p.postcode, p.phone, p.email, p.zone} {
			set(optional(s))
		}
		state(set, i < locations, int(i) == len(places)-1)
	})
}
