package host

import (
	"fmt"
	"testing"
)

func TestCoresTake(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		allowed []int
		each    int
		want    string
	}{
		{[]int{0, 1, 2, 3}, 0, "[[] [] []]"},
		{[]int{0, 1, 2, 3}, 4, "[[] [] []]"},
		{[]int{0, 1, 2, 3}, 9, "[[] [] []]"},
		{nil, 2, "[[] [] []]"},
		{[]int{0, 1, 2, 3}, 1, "[[0] [1] [2]]"},
		{[]int{0, 1, 2, 3}, 2, "[[0 1] [2 3] [0 1]]"},
		{[]int{3, 5, 9}, 2, "[[3 5] [9 3] [5 9]]"},
	} {
		k := &cores{allowed: c.allowed, each: c.each}
		if got := fmt.Sprint([][]int{k.take(), k.take(), k.take()}); got != c.want {
			t.Errorf("%d of %v: got %s, want %s", c.each, c.allowed, got, c.want)
		}
	}
}
