package runner

import (
	"context"
	"log/slog"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// sharing is a flow of some workers whose output is made in memory that a reader at the other end of out has.
func sharing(t *testing.T, workers int) (f *flow, out *output) {
	t.Helper()
	writer, reader := connected(t)
	given, err := giveMemory(reader, slog.New(slog.DiscardHandler))
	if err != nil || given == nil {
		t.Fatal(given, err)
	}
	t.Cleanup(given.Close)
	taken, err := takeMemory(t.Context(), writer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(taken.Close)
	f = &flow{group: &Group{cfg: Config{Workers: workers}}, budget: newBudget(DefaultBudget), free: make(chan *stage.Output, 1), memory: taken}
	if out, err = newOutput(writer, taken, stage.ShapeBytes, nil, stage.Media{}); err != nil {
		t.Fatal(err)
	}
	return f, out
}

// TestNothingMade: an output in which nothing was made gives its memory back, whatever was sent before it.
func TestNothingMade(t *testing.T) {
	f, out := sharing(t, 1)
	for _, size := range []int{100_000, 0, 0} {
		made := &stage.Output{}
		if f.madeIn(t.Context(), made) == nil {
			t.Fatal("no memory")
		}
		made.Data = append(made.Data, make([]byte, size)...)
		it := item{outs: []*stage.Output{made}}
		if _, err := out.write(t.Context(), it); err != nil {
			t.Fatal(err)
		}
		f.done(it)
	}
	left := 0
	for f.memory.Take() != nil {
		left++
	}
	if left != f.memory.Slots()-1 {
		t.Errorf("%d slots are left of %d, one of which the reader has", left, f.memory.Slots())
	}
}

// TestMadeIn: a worker waits for memory where one slot more than there are workers comes back, and makes its output elsewhere
// where that is not so.
func TestMadeIn(t *testing.T) {
	for _, c := range []struct {
		name    string
		workers int
		waits   bool
	}{
		{"fewer workers than slots", memorySlots() - 1, true},
		{"as many", memorySlots(), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, _ := sharing(t, c.workers)
			var last []byte
			for range f.memory.Slots() {
				last = f.memory.Take()
			}
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if f.madeIn(ended, &stage.Output{}) != nil {
				t.Fatal("memory that nobody gave back")
			}
			got := make(chan []byte)
			go func() { got <- f.madeIn(t.Context(), &stage.Output{}) }()
			if c.waits {
				f.memory.Put(last)
			}
			if in := <-got; (in != nil) != c.waits {
				t.Errorf("memory of %d bytes; waits: %v", cap(in), c.waits)
			}
		})
	}
}
