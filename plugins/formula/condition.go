package formula

import (
	"context"
	"math/bits"
	"slices"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/config"
)

// Condition is an expression that holds for some rows of a batch. It is evaluated over whole columns where that is
// possible and row by row where it is not, with the same result. It is used by several goroutines at once.
type Condition struct {
	// Schema is that of the batches: the one that the condition was compiled for, with the columns that had to be assumed.
	Schema *arrow.Schema

	root predicate
	pool sync.Pool // of *batch
}

// CompileCondition is Compile for an expression that is true or false. What is NULL does not hold.
func CompileCondition(text string, params config.Parameters, schema *arrow.Schema) (*Condition, error) {
	c := newCompiler(text, params, schema)
	root, err := c.tree()
	if err != nil {
		return nil, err
	}
	c.condition(root.e, root)
	if c.failed != nil {
		return nil, c.failed
	}
	return &Condition{Schema: c.schema, root: root.predicate()}, nil
}

// Selection is the rows of a batch for which a condition holds, until Release.
type Selection struct {
	// Count is how many rows there are; First and Last are the indexes of the first and the last one, where there is one.
	Count, First, Last int

	set  []uint64
	from *Condition
	b    *batch
}

// Select finds the rows for which the condition holds. A row for which it cannot be decided is a fault, fault.InRow.
func (c *Condition) Select(ctx context.Context, columns []arrow.Array, rows int) (Selection, error) {
	b, ok := c.pool.Get().(*batch)
	if !ok {
		b = &batch{}
	}
	b.begin(ctx, columns, rows)
	set, err := b.run(c.root)
	if err != nil {
		b.end()
		c.pool.Put(b)
		return Selection{}, err
	}
	s := Selection{First: -1, set: set, from: c, b: b}
	for i, w := range set {
		if w != 0 {
			if s.First < 0 {
				s.First = i*64 + bits.TrailingZeros64(w)
			}
			s.Last = i*64 + 63 - bits.LeadingZeros64(w)
			s.Count += bits.OnesCount64(w)
		}
	}
	return s, nil
}

// Indexes are those of the rows, in their order. They are valid until Release.
func (s *Selection) Indexes() []int32 {
	s.b.indexes = appendIndexes(slices.Grow(s.b.indexes[:0], s.Count), s.set)
	return s.b.indexes
}

// Release gives back what the selection holds.
func (s *Selection) Release() {
	s.b.end()
	s.from.pool.Put(s.b)
}
