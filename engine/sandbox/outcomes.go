package sandbox

import (
	"math/bits"
	"runtime"
	"sort"
	"sync"
)

// selection is a set of appointments that can be counted and looked up by rank:
// what came of an appointment is a matter of chance, yet the tables that follow
// from appointments must know how many rows they have, and which appointment row
// n goes back to. It takes 1.1 bits an appointment.
type selection struct {
	words []uint64
	// before counts the members before each group of groupWords words; the last
	// element counts all.
	before []int64
}

const (
	wordBits   = 64
	groupWords = 8
	groupBits  = wordBits * groupWords
)

func (s *selection) count() int64 { return s.before[len(s.before)-1] }

// at is the member of a rank, counted from 0.
func (s *selection) at(rank int64) int64 {
	group := sort.Search(len(s.before), func(i int) bool { return s.before[i] > rank }) - 1
	rank -= s.before[group]
	for w := group * groupWords; ; w++ {
		word := s.words[w]
		n := int64(bits.OnesCount64(word))
		if rank < n {
			for ; rank > 0; rank-- {
				word &= word - 1
			}
			return int64(w)*wordBits + int64(bits.TrailingZeros64(word))
		}
		rank -= n
	}
}

// outcomes finds the appointments that were attended, and those that were
// cancelled or failed. It looks at each once, with all processors.
func (g *generator) outcomes() (kept, missed selection) {
	groups := (g.appointments + groupBits - 1) / groupBits
	for _, s := range []*selection{&kept, &missed} {
		s.words = make([]uint64, groups*groupWords)
		s.before = make([]int64, groups+1)
	}
	workers := min(int64(runtime.GOMAXPROCS(0)), groups)
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for group := portion(groups, w, workers); group < portion(groups, w+1, workers); group++ {
				for a := group * groupBits; a < min((group+1)*groupBits, g.appointments); a++ {
					s := &missed
					v, _ := g.slot(a)
					switch v.outcome {
					case booked:
						continue
					case attended:
						s = &kept
					}
					s.words[a/wordBits] |= 1 << (a % wordBits)
					s.before[group+1]++
				}
			}
		})
	}
	running.Wait()
	for _, s := range []*selection{&kept, &missed} {
		for i := range groups {
			s.before[i+1] += s.before[i]
		}
	}
	return kept, missed
}
