package sandbox

import "sort"

// tally numbers the children of parents whose numbers of children repeat: parent p
// has as many as the pattern says at p modulo its length. So the children of each
// parent, and the parent of each child, are known without counting.
type tally struct {
	starts []int64 // children before each parent of the pattern; the last element counts all
}

func newTally(pattern []int64) *tally {
	t := &tally{starts: make([]int64, len(pattern)+1)}
	for i, n := range pattern {
		t.starts[i+1] = t.starts[i] + n
	}
	return t
}

// total is the number of children of the first parents.
func (t *tally) total(parents int64) int64 {
	n := int64(len(t.starts) - 1)
	return parents/n*t.starts[n] + t.starts[parents%n]
}

// locate finds the parent of a child, and which of its children it is; all are
// counted from 0.
func (t *tally) locate(child int64) (parent, which int64) {
	n := len(t.starts) - 1
	rest := child % t.starts[n]
	i := sort.Search(n, func(i int) bool { return t.starts[i+1] > rest })
	return child/t.starts[n]*int64(n) + int64(i), rest - t.starts[i]
}

// key is the key of a parent's child: keys are consecutive, from 1 on.
func (t *tally) key(parent, which int64) int64 { return t.total(parent) + which + 1 }
