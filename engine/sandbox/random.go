package sandbox

// random is a splitmix64 sequence (Steele, Lea, Flood, "Fast Splittable
// Pseudorandom Number Generators", 2014): one addition and one mix per draw, and
// any state is a good start, so that every row has a sequence of its own.
type random uint64

// The sequences of a row; two of the same row are unrelated.
const (
	forPatient uint64 = iota + 1
	forFamily
	forVisit
	forAppointment
	forRound
	forCancellation
	forReminder
	forWaitlist
	forRecall
	forPlan
	forPlanItem
	forAccount
	forMoves
	forInvoice
	forShare
	forInstalment
	forTreatment
	forReceipt
	forAllocation
	forDeposit
	forDiscount
	forExpense
	forGroup
	forStaff
	forList
	forDeletion
	forLog
	forChange
)

func sequence(seed, purpose uint64, row int64) random {
	return random(mix(mix(seed+purpose*0x9e3779b97f4a7c15) ^ uint64(row)))
}

func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return mix(uint64(*r))
}

// below draws from 0 to n-1. The bias of the remainder is below 2^-20 for the
// ranges used here.
func (r *random) below(n int64) int64 { return int64(r.next() % uint64(n)) }

// percent is true that often in a hundred.
func (r *random) percent(p int64) bool { return r.below(100) < p }

// pick draws one element.
func pick[T any](r *random, list []T) T { return list[r.next()%uint64(len(list))] }
