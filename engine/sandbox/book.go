package sandbox

// book decides which patient an appointment belongs to, in both directions
// without a table: an appointment names its patient, and a patient's
// appointments can be enumerated. That keeps first and latest visits exact
// however large the practice is.
//
// Appointments are numbered in the order of booking. They fall into stages, in
// which the practice has a growing number of patients: stage s serves patients
// 0 to size-1. Within a stage appointments fall into rounds of size
// appointments; each round serves every patient of the stage once, in an order
// of its own. The last round of a stage may be cut short.
type book struct {
	seed   uint64
	stages []bookStage
}

type bookStage struct {
	first, end   int64 // appointments of the stage, end excluded
	size         int64 // its patients
	step, unstep int64 // order within a round: position*step + offset, and back
}

// A practice starts with a fifth of its patients and takes on the rest in steps.
const maxStages = 32

func newBook(seed uint64, patients, appointments int64) book {
	b := book{seed: seed}
	// As many stages as there are rounds at the average size, so that a stage has
	// at least about one round.
	count := min(max(1, appointments*10/(patients*6)), maxStages)
	for s := range count {
		size := patients
		if count > 1 {
			size = max(1, patients/5+(patients-patients/5)*s/(count-1))
		}
		step := max(1, size*618/1000) // near the golden ratio: neighbours end up far apart
		for gcd(step, size) != 1 {
			step++
		}
		b.stages = append(b.stages, bookStage{
			first: portion(appointments, s, count), end: portion(appointments, s+1, count),
			size: size, step: step, unstep: inverse(step, size),
		})
	}
	return b
}

// portion is where part s of count equal parts of n begins.
func portion(n, s, count int64) int64 { return n/count*s + n%count*s/count }

// offset turns the order of a round, so that no two rounds are alike.
func (b *book) offset(s int, round int64) int64 {
	r := sequence(b.seed, forRound, int64(s)<<48|round)
	return r.below(b.stages[s].size)
}

// patient finds the patient of an appointment, and whether it is that patient's
// first one.
func (b *book) patient(appointment int64) (patient int64, first bool) {
	s := 0
	for appointment >= b.stages[s].end {
		s++
	}
	g := &b.stages[s]
	round := (appointment - g.first) / g.size
	position := (appointment - g.first) % g.size
	patient = (position*g.step + b.offset(s, round)) % g.size
	if round > 0 {
		return patient, false
	}
	// In a first round the patient is new unless an earlier stage served them.
	for e := range b.stages[:s] {
		if at, ok := b.at(e, 0, patient); ok && at >= 0 {
			return patient, false
		}
	}
	return patient, true
}

// at is the appointment of a patient in a round of a stage; false when the
// patient isn't served then.
func (b *book) at(s int, round, patient int64) (int64, bool) {
	g := &b.stages[s]
	if patient >= g.size {
		return 0, false
	}
	position := (patient - b.offset(s, round) + g.size) % g.size * g.unstep % g.size
	appointment := g.first + round*g.size + position
	return appointment, appointment < g.end
}

// each calls visit with every appointment of a patient, in the order of booking.
func (b *book) each(patient int64, visit func(appointment int64)) {
	for s := range b.stages {
		g := &b.stages[s]
		for round := int64(0); g.first+round*g.size < g.end; round++ {
			if appointment, ok := b.at(s, round, patient); ok {
				visit(appointment)
			}
		}
	}
}

// back calls visit with the appointments of a patient, the last booking first, until
// it returns false.
func (b *book) back(patient int64, visit func(appointment int64) bool) {
	for s := len(b.stages) - 1; s >= 0; s-- {
		g := &b.stages[s]
		if patient >= g.size || g.end == g.first {
			continue
		}
		for round := (g.end - g.first - 1) / g.size; round >= 0; round-- {
			if appointment, ok := b.at(s, round, patient); ok && !visit(appointment) {
				return
			}
		}
	}
}

// first is the first appointment of a patient; false when there is none.
func (b *book) first(patient int64) (appointment int64, ok bool) {
	for s := range b.stages {
		if appointment, ok := b.at(s, 0, patient); ok {
			return appointment, true
		}
	}
	return 0, false
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// inverse is x with a*x = 1 modulo n, for coprime a and n (extended Euclid).
func inverse(a, n int64) int64 {
	if n == 1 {
		return 0
	}
	t, newT, r, newR := int64(0), int64(1), n, a
	for newR != 0 {
		q := r / newR
		t, newT = newT, t-q*newT
		r, newR = newR, r-q*newR
	}
	return (t%n + n) % n
}
