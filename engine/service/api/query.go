package api

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// query reads the parameters of an address, and collects every mistake in them.
type query struct {
	values  url.Values
	details []Detail
}

// readParameters takes the parameters that an address has, of those that it may have.
func (x *exchange) readParameters(known ...string) (*query, *Error) {
	values, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return nil, fail(InvalidRequest).saying("The query of the address cannot be read.")
	}
	q := &query{values: values}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch {
		case !slices.Contains(known, name):
			shown := name
			if r := []rune(shown); len(r) > 64 {
				shown = string(r[:64]) + "…"
			}
			q.details = append(q.details, Detail{Code: string(UnknownField), Field: shown,
				Message: "There is no parameter " + strconv.Quote(shown) + " here.", Suggestion: nearest(name, known)})
		case len(values[name]) > 1:
			q.add(DuplicateField, name, name+" is given twice.")
		}
	}
	return q, nil
}

// noParameters refuses an address that has parameters, for what takes none.
func (x *exchange) noParameters() *Error {
	q, e := x.readParameters()
	if e != nil {
		return e
	}
	return q.mistakes()
}

func (q *query) add(code Code, name, message string) {
	q.details = append(q.details, Detail{Code: string(code), Field: name, Message: message})
}

func (q *query) wrong(name, format string, args ...any) {
	q.add(InvalidParameter, name, name+": "+fmt.Sprintf(format, args...))
}

// mistakes is the error of all of them; nil when there are none.
func (q *query) mistakes() *Error {
	if len(q.details) == 0 {
		return nil
	}
	return mistakes(q.details)
}

// whole is a whole number in a range.
func (q *query) whole(name string, otherwise, least, most int64) int64 {
	if !q.values.Has(name) {
		return otherwise
	}
	text := q.values.Get(name)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most || strings.HasPrefix(text, "+") {
		q.wrong(name, "expected a whole number from %d to %d.", least, most)
		return otherwise
	}
	return n
}

// oneOf is one of some values.
func (q *query) oneOf(name, otherwise string, allowed []string) string {
	if !q.values.Has(name) {
		return otherwise
	}
	text := q.values.Get(name)
	if !slices.Contains(allowed, text) {
		q.wrong(name, "expected one of %s.", strings.Join(allowed, ", "))
		q.details[len(q.details)-1].Suggestion = nearest(text, allowed)
		return otherwise
	}
	return text
}

// day is the beginning of a day in UTC; zero when it is not given.
func (q *query) day(name string) time.Time {
	return q.time(name, time.DateOnly, "expected a day, YYYY-MM-DD.")
}

// instant is a time with its zone; zero when it is not given.
func (q *query) instant(name string) time.Time {
	return q.time(name, time.RFC3339, "expected a time with its zone, such as 2024-02-01T00:00:00Z.")
}

func (q *query) time(name, layout, expected string) time.Time {
	if !q.values.Has(name) {
		return time.Time{}
	}
	t, err := time.Parse(layout, q.values.Get(name))
	if err != nil || t.Year() < 1 {
		q.wrong(name, "%s", expected)
		return time.Time{}
	}
	return t.UTC()
}
