package formula

import (
	"context"
	"math/bits"

	"github.com/apache/arrow/go/v15/arrow"
)

// truth is the result of a condition for every row of a batch: the set of rows for
// which it holds, and the set for which it cannot be decided, or nil if there are
// none. No row is in both.
type truth struct{ holds, fails []uint64 }

// predicate is a condition, evaluated for a whole batch.
type predicate interface {
	// eval evaluates the condition, for the rows of need at least. The result is the
	// caller's.
	eval(b *batch, need []uint64) (truth, error)
	// cheap conditions are evaluated first.
	cheap() bool
}

// batch is one evaluation: the columns, and memory for sets.
type batch struct {
	ctx      context.Context
	columns  []arrow.Array
	rows     int
	words    int
	spare    [][]uint64
	indexes  []int32
	scratch  [2][]int64
	float    []float64
	failures map[int]error // why a condition cannot be decided, by row
}

func (b *batch) begin(ctx context.Context, columns []arrow.Array, rows int) {
	b.ctx, b.columns, b.rows = ctx, columns, rows
	if words := (b.rows + 63) / 64; words > b.words {
		b.words, b.spare = words, nil
	}
}

func (b *batch) end() { b.ctx, b.columns, b.failures = nil, nil, nil }

// take returns a set of unknown content.
func (b *batch) take() []uint64 {
	words := (b.rows + 63) / 64
	if n := len(b.spare); n > 0 {
		set := b.spare[n-1]
		b.spare = b.spare[:n-1]
		return set[:words]
	}
	return make([]uint64, words, b.words)
}

// give takes a set back.
func (b *batch) give(set []uint64) {
	if set != nil {
		b.spare = append(b.spare, set)
	}
}

// run evaluates the whole condition and returns the selected rows; bits beyond the
// last row are 0. The set is valid until end.
func (b *batch) run(root predicate) ([]uint64, error) {
	all := b.take()
	fill(all, ^uint64(0))
	b.clip(all)
	result, err := root.eval(b, all)
	b.give(all)
	if err != nil {
		return nil, err
	}
	if result.fails != nil {
		b.clip(result.fails)
		for i, w := range result.fails {
			if w != 0 {
				row := i*64 + bits.TrailingZeros64(w)
				return nil, inRow(b.failures[row], row)
			}
		}
		b.give(result.fails)
	}
	b.clip(result.holds)
	b.give(result.holds)
	return result.holds, nil
}

// clip clears the bits beyond the last row.
func (b *batch) clip(set []uint64) {
	if tail := b.rows & 63; tail != 0 {
		set[len(set)-1] &= 1<<tail - 1
	}
}

// fixed is a condition that is the same for every row.
type fixed bool

func (f fixed) cheap() bool { return true }
func (f fixed) eval(b *batch, _ []uint64) (truth, error) {
	out := b.take()
	fill(out, -one(bool(f)))
	return truth{holds: out}, nil
}

// not negates.
type not struct{ predicate }

func (n not) eval(b *batch, need []uint64) (truth, error) {
	t, err := n.predicate.eval(b, need)
	if err != nil {
		return t, err
	}
	invert(t.holds)
	for i, w := range t.fails {
		t.holds[i] &^= w
	}
	return t, nil
}

// junction is && or ||. One side may decide while the other fails, as in CEL.
type junction struct {
	left, right predicate
	or          bool
}

func newJunction(left, right predicate, or bool) predicate {
	if !left.cheap() && right.cheap() {
		left, right = right, left
	}
	return junction{left, right, or}
}

func (j junction) cheap() bool { return j.left.cheap() && j.right.cheap() }

func (j junction) eval(b *batch, need []uint64) (truth, error) {
	left, err := j.left.eval(b, need)
	if err != nil {
		return left, err
	}
	// The right side matters where the left one does not decide.
	open := need
	if !j.right.cheap() {
		open = b.take()
		defer b.give(open)
		some := uint64(0)
		for i, w := range left.holds {
			if j.or {
				w = ^w
			} else if left.fails != nil {
				w |= left.fails[i]
			}
			open[i] = need[i] & w
			some |= open[i]
		}
		if some == 0 {
			return left, nil
		}
	}
	right, err := j.right.eval(b, open)
	if err != nil {
		return right, err
	}
	defer b.give(right.holds)
	if left.fails == nil && right.fails == nil {
		if j.or {
			for i, w := range right.holds {
				left.holds[i] |= w
			}
		} else {
			for i, w := range right.holds {
				left.holds[i] &= w
			}
		}
		return left, nil
	}
	if left.fails == nil {
		left.fails = b.take()
		fill(left.fails, 0)
	}
	defer b.give(right.fails)
	for i, r := range right.holds {
		l, lf, rf := left.holds[i], left.fails[i], uint64(0)
		if right.fails != nil {
			rf = right.fails[i]
		}
		if j.or {
			left.holds[i] = l | r
			left.fails[i] = (lf | rf) &^ (l | r)
		} else {
			left.holds[i] = l & r
			left.fails[i] = (lf | rf) &^ (^l &^ lf) &^ (^r &^ rf)
		}
	}
	return left, nil
}

// rowByRow is a condition that is evaluated one row after the other. A value that is NULL does not hold.
type rowByRow struct{ holds eval }

func (rowByRow) cheap() bool { return false }

func (r rowByRow) eval(b *batch, need []uint64) (truth, error) {
	t := truth{holds: b.take()}
	fill(t.holds, 0)
	active := Row{Columns: b.columns}
	evaluated := 0
	for i, w := range need {
		for ; w != 0; w &= w - 1 {
			if evaluated++; evaluated%checkEvery == 0 && b.ctx.Err() != nil {
				return t, context.Cause(b.ctx)
			}
			active.Index = i*64 + bits.TrailingZeros64(w)
			v, err := r.holds(&active)
			if err != nil {
				b.fail(&t, active.Index, err)
				continue
			}
			t.holds[i] |= w & -w & -uint64(v.n) // n is 0 or 1, and 0 where the value is NULL
		}
	}
	return t, nil
}

// fail records that a condition cannot be decided for a row.
func (b *batch) fail(t *truth, row int, err error) {
	if t.fails == nil {
		t.fails = b.take()
		fill(t.fails, 0)
	}
	t.fails[row>>6] |= 1 << (row & 63)
	if b.failures == nil {
		b.failures = map[int]error{}
	}
	if b.failures[row] == nil {
		b.failures[row] = err
	}
}
