package runner

import "context"

// read takes an item from the input, as long as reading goes on, and its cost from the budget.
func (f *flow) read(ctx, reading context.Context, in batches) (item, error) {
	it, err := in.next(reading)
	if ctx.Err() == nil && reading.Err() != nil {
		f.done(it) // what came with the word that it is not needed
		return item{}, errEndOfInput
	}
	if err != nil {
		return item{}, err
	}
	var cost int64
	if it.rec != nil {
		cost = recordBytes(it.rec)
	}
	for _, out := range it.outs {
		cost += int64(cap(out.Data))
	}
	if err := f.budget.acquire(ctx, cost); err != nil {
		f.done(it)
		return item{}, err
	}
	it.cost = cost
	return it, nil
}

// outcome is what one read returned.
type outcome struct {
	item item
	err  error
}

// readAhead calls read in a goroutine, so that one item is read while the one before it is cut and worked on: a batch is
// several times what the workers have at hand, and whoever delivers it would otherwise stand still until most of it is
// done. Next returns what read does, in its order, and done returns when nothing is read any more and what was not asked
// for is given back. It is called when next has returned an error, or ctx has ended.
func (f *flow) readAhead(ctx context.Context, read func() (item, error)) (next func() (item, error), done func()) {
	outcomes := make(chan outcome)
	go func() {
		defer close(outcomes)
		for {
			it, err := read()
			select {
			case outcomes <- outcome{it, err}:
			case <-ctx.Done():
				if err == nil {
					f.done(it)
				}
				return
			}
			if err != nil {
				return
			}
		}
	}()
	next = func() (item, error) {
		if o, ok := <-outcomes; ok {
			return o.item, o.err
		}
		return item{}, context.Cause(ctx)
	}
	done = func() {
		for o := range outcomes {
			if o.err == nil {
				f.done(o.item)
			}
		}
	}
	return next, done
}
