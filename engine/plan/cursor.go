package plan

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// The text of a cursor's values; see config.Cursor.
const (
	cursorTimestamp = "2006-01-02 15:04:05.999999"
	longestCursor   = 100 // bytes
)

// The least values that any server takes and compares as they are.
const (
	firstTimestamp = "0001-01-01 00:00:00"
	firstDate      = "0001-01-01"
)

// clocksBack is by how much clocks are put back at most, anywhere since 1970: those of Casey station in 2010.
const clocksBack = 3 * time.Hour

var (
	timestampPattern = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?$`)
	})
	integerPattern    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^-?(0|[1-9][0-9]{0,19})$`) })
	decimalPattern    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`) })
	fixedClockPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(UTC|[+-][0-9]{2}:[0-9]{2})$`) })
)

// cursorTime reads a timestamp or a date, as clocks show it.
func cursorTime(typ, text string) (time.Time, bool) {
	layout := cursorTimestamp
	if typ == config.CursorDate {
		layout = time.DateOnly
	} else if !timestampPattern().MatchString(text) { // the package's own reader takes more
		return time.Time{}, false
	}
	t, err := time.Parse(layout, text)
	return t, err == nil && t.Year() >= 1
}

// validCursor reports whether text is a value of a cursor.
func validCursor(typ, text string) bool {
	if len(text) > longestCursor {
		return false
	}
	switch typ {
	case config.CursorTimestamp, config.CursorDate:
		_, ok := cursorTime(typ, text)
		return ok
	case config.CursorInteger:
		n, ok := new(big.Int).SetString(text, 10)
		return ok && integerPattern().MatchString(text) && (n.IsInt64() || n.IsUint64())
	case config.CursorDecimal:
		return decimalPattern().MatchString(text)
	}
	return false
}

// firstCursor is a value that no row's is below.
func firstCursor(typ string, column document.ColumnType) string {
	switch {
	case typ == config.CursorTimestamp:
		return firstTimestamp
	case typ == config.CursorDate:
		return firstDate
	case typ == config.CursorDecimal:
		whole := strings.Repeat("9", column.Precision-column.Scale)
		if whole == "" {
			whole = "0"
		}
		if column.Scale > 0 {
			whole += "." + strings.Repeat("9", column.Scale)
		}
		return "-" + whole
	case strings.HasPrefix(column.Name, "uint"):
		return "0"
	}
	return "-9223372036854775808"
}

// below is the value from which the next run reads: an overlap below a value that is valid. In a zone whose clocks
// change it is lower by as much as they are ever put back, since what came later may show an earlier time.
func below(typ, text string, overlap document.Overlap, zone string) string {
	switch typ {
	case config.CursorTimestamp, config.CursorDate:
		t, _ := cursorTime(typ, text)
		t = t.Add(-overlap.Time)
		if typ == config.CursorDate {
			if t.Year() < 1 {
				return firstDate
			}
			return t.Format(time.DateOnly)
		}
		if !fixedClockPattern().MatchString(zone) {
			t = t.Add(-clocksBack)
		}
		if t.Year() < 1 {
			return firstTimestamp
		}
		return t.Format(cursorTimestamp)
	case config.CursorInteger:
		n, _ := new(big.Int).SetString(text, 10)
		n.Sub(n, big.NewInt(overlap.Number))
		if least := big.NewInt(-1 << 63); n.Cmp(least) < 0 {
			n = least
		}
		return n.String()
	}
	whole, fraction, _ := strings.Cut(text, ".")
	n, _ := new(big.Int).SetString(whole+fraction, 10)
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(len(fraction))), nil)
	n.Sub(n, unit.Mul(unit, big.NewInt(overlap.Number)))
	sign := ""
	if n.Sign() < 0 {
		sign = "-"
	}
	digits := fmt.Sprintf("%0*s", len(fraction)+1, n.Abs(n).String())
	point := len(digits) - len(fraction)
	if fraction == "" {
		return sign + digits
	}
	return sign + digits[:point] + "." + digits[point:]
}
