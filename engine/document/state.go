package document

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// State says that a run reads what has changed since the one before.
type State struct {
	// Cursor names the column, of Columns, whose values only grow: the time of a row's last change, or a number.
	Cursor string
	// CursorType is how its values are ordered: one of config.CursorTypes. It is empty where the column is wrong.
	CursorType string
	// Overlap is how far below the greatest value seen a run begins.
	Overlap Overlap
	// At, CursorAt and OverlapAt are their places; OverlapAt is that of the whole where no overlap is written.
	At, CursorAt, OverlapAt diag.Position
}

// Overlap is a time, for a cursor of times, or a difference of numbers. One of the two is set.
type Overlap struct {
	Time   time.Duration
	Number int64
}

// defaultOverlap is that of a cursor of times: longer than any transaction ought to be, and than clocks are put back.
const defaultOverlap = 24 * time.Hour

// maxOverlapDays bounds an overlap; more is a run without state.
const maxOverlapDays = 3650

// String writes the overlap as in a pipeline.
func (o Overlap) String() string {
	if o.Time == 0 {
		return strconv.FormatInt(o.Number, 10)
	}
	var b strings.Builder
	rest := o.Time
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := rest / unit.length; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit.name)
			rest -= n * unit.length
		}
	}
	return b.String()
}

// MarshalText writes the overlap as in a pipeline.
func (o Overlap) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

var overlapPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:([0-9]{1,4})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,7})m)?(?:([0-9]{1,9})s)?$`)
})

// ParseOverlap reads an overlap: days, hours, minutes and seconds (1d, 1d12h, 90m), or a whole number. It is more than
// nothing: what is committed late would be left out.
func ParseOverlap(text string) (Overlap, error) {
	wrong := func() (Overlap, error) {
		return Overlap{}, fmt.Errorf("an overlap is a time of at most %dd, such as 1d or 12h, or a whole number, and more than 0", maxOverlapDays)
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n < 1 || text[0] == '+' {
			return wrong()
		}
		return Overlap{Number: n}, nil
	}
	m := overlapPattern().FindStringSubmatch(text)
	if m == nil {
		return wrong()
	}
	var total time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		n, _ := strconv.Atoi(m[i+1]) // nothing is 0
		total += time.Duration(n) * unit
	}
	if total <= 0 || total > maxOverlapDays*24*time.Hour {
		return wrong()
	}
	return Overlap{Time: total}, nil
}

func (r *reader) state(n *Node) *State {
	s := &State{At: n.At, CursorAt: n.At, OverlapAt: n.At}
	before := len(*r.diags)
	r.object(n, "state", n.At,
		field{"cursor", true, func(n *Node) {
			s.CursorAt = n.At
			r.text(&s.Cursor, nil)(n)
		}},
		field{"overlap", false, func(n *Node) {
			s.OverlapAt = n.At
			if !n.IsScalar() {
				r.wrong(n, "a time such as 1d, or a whole number")
				return
			}
			var err error
			if s.Overlap, err = ParseOverlap(n.Text); err != nil {
				r.diags.Add(diag.At(n.At, CodeStateOverlap, "%v", err))
			}
		}})
	if len(*r.diags) > before {
		return nil // reported; what depends on it would mislead
	}
	return s
}

// check holds the state against the columns, and fills in what it leaves out.
func (s *State) check(columns []Column, diags *diag.List) {
	i := slices.IndexFunc(columns, func(c Column) bool { return c.Name == s.Cursor })
	if i < 0 {
		var names []string
		for _, c := range columns {
			names = append(names, c.Name)
		}
		d := diag.At(s.CursorAt, CodeStateCursor, "the cursor %q is not one of the columns",
			short(s.Cursor)).WithSuggestion(s.Cursor, names)
		if d.Hint == "" {
			d = d.WithHint("declare it under columns, with nullable: false")
		}
		diags.Add(d)
		return
	}
	c := columns[i]
	if c.Nullable {
		diags.Add(diag.At(s.CursorAt, CodeStateCursor,
			"the cursor %q may be NULL, and nobody can tell when a row without a value has changed", short(s.Cursor)).
			WithHint("declare it with nullable: false; where the database has NULL, let a query give it a value, such as COALESCE(updated_at, created_at)").
			WithRelated(c.At, "the column is here"))
		return
	}
	switch name := c.Type.Name; {
	case name == "timestamp":
		s.CursorType = config.CursorTimestamp
	case name == "date":
		s.CursorType = config.CursorDate
	case name == "decimal":
		s.CursorType = config.CursorDecimal
	case strings.HasPrefix(name, "int"), strings.HasPrefix(name, "uint"):
		s.CursorType = config.CursorInteger
	default:
		d := diag.At(s.CursorAt, CodeStateCursor,
			"the cursor %q is of type %s, whose values have no order that every server and this program agree on", short(s.Cursor), c.Type)
		diags.Add(d.WithHint("take a timestamp, a date, a whole number or a decimal").
			WithRelated(c.At, "the column is here"))
		return
	}
	s.checkOverlap(diags)
}

// checkOverlap holds the overlap against the type of the cursor.
func (s *State) checkOverlap(diags *diag.List) {
	timed := s.CursorType == config.CursorTimestamp || s.CursorType == config.CursorDate
	switch o := s.Overlap; {
	case timed && o == (Overlap{}):
		s.Overlap.Time = defaultOverlap
	case timed && o.Time == 0:
		diags.Add(diag.At(s.OverlapAt, CodeStateOverlap, "the cursor %q is a %s, and the overlap %v is no time",
			short(s.Cursor), s.CursorType, o).
			WithHint("write a time such as 1d"))
	case s.CursorType == config.CursorDate && o.Time%(24*time.Hour) != 0:
		diags.Add(diag.At(s.OverlapAt, CodeStateOverlap,
			"the cursor %q is a date, and the overlap %v is not of whole days", short(s.Cursor), o).
			WithHint("write days, such as 1d"))
	case !timed && o.Number == 0:
		diags.Add(diag.At(s.OverlapAt, CodeStateOverlap,
			"the cursor %q is a number, and needs an overlap that is one", short(s.Cursor)).
			WithHint("write by how much a row that is committed late may be below one that was read, such as overlap: 10000; for numbers that are counted up, that is as many as are given out in the longest transaction"))
	}
}
