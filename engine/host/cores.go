package host

import "sync/atomic"

// cores deals the machine's cores out to processes that may only use some.
type cores struct {
	allowed []int
	each    int
	next    atomic.Int64
}

// take returns the cores of the next process, nil for all. Each process begins where
// the one before it has ended, so that they do not crowd on the first ones.
func (c *cores) take() []int {
	if c.each <= 0 || c.each >= len(c.allowed) {
		return nil
	}
	from := int((c.next.Add(1) - 1) % int64(len(c.allowed)))
	list := make([]int, c.each)
	for i := range list {
		list[i] = c.allowed[(from*c.each+i)%len(c.allowed)]
	}
	return list
}
