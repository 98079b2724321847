package terminal

import (
	"fmt"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// LevelColors says how the levels of findings look on a terminal.
var LevelColors = map[stage.Level]string{stage.LevelWrong: Red, stage.LevelWarning: Bold, stage.LevelUnchecked: Cyan}

// Verdict sums findings up, of which there are so many of each level.
func Verdict(count map[stage.Level]int) string {
	verdict := "nothing is wrong"
	if n := count[stage.LevelWrong]; n > 0 {
		verdict = fmt.Sprintf("%d wrong", n)
	}
	if n := count[stage.LevelWarning]; n > 0 {
		verdict += ", " + Counted(n, "warning")
	}
	if n := count[stage.LevelUnchecked]; n > 0 {
		verdict += fmt.Sprintf(", %d unchecked", n)
	}
	return verdict
}
