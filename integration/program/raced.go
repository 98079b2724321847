//go:build race

package program

// raced says that the race detector is in this binary.
const raced = true
