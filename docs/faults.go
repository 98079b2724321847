package docs

import (
	"fmt"
	"strings"
)

// The pages with the tables of faults: those of the program, and those of the HTTP API.
const (
	FaultsTopic    = "faults"
	APIFaultsTopic = "api-faults"
)

// Fault is a row of the table of faults.
type Fault struct {
	Code string `json:"code"`
	// Topic is the page, and Heading the section, that it stands in.
	Topic   string `json:"topic"`
	Heading string `json:"heading"`
	// Meaning says what has happened, and Remedy what to do.
	Meaning string `json:"meaning"`
	Remedy  string `json:"remedy"`
}

// Faults are the rows of the table, in its order: the codes of the program, and then those of the HTTP API.
func Faults() []Fault {
	var all []Fault
	for _, topic := range []string{FaultsTopic, APIFaultsTopic} {
		p, ok := Find(topic)
		if !ok {
			panic(fmt.Sprintf("docs: no page %s", topic))
		}
		all = append(all, rows(p)...)
	}
	return all
}

// FindFault is the row of a code.
func FindFault(code string) (Fault, bool) {
	for _, f := range Faults() {
		if f.Code == code {
			return f, true
		}
	}
	return Fault{}, false
}

// rows are those of the tables of a page whose first column is called code: the second to last is the meaning, and the
// last what to do.
func rows(p Page) []Fault {
	var all []Fault
	heading, inside := p.Title, false
	for line := range strings.Lines(p.Text) {
		line = strings.TrimSpace(line)
		if h, ok := strings.CutPrefix(line, "## "); ok {
			heading = Plain(h)
		}
		cells := cells(line)
		switch {
		case len(cells) < 3:
			inside = false
		case cells[0] == "code":
			inside = true
		case inside && strings.HasPrefix(cells[0], "`"):
			n := len(cells)
			code := strings.Trim(cells[0], "`")
			all = append(all, Fault{Code: code, Topic: p.Topic, Heading: heading, Meaning: cells[n-2], Remedy: cells[n-1]})
		}
	}
	return all
}

// cells are those of a row of a table; none of any other line.
func cells(line string) []string {
	line, ok := strings.CutPrefix(line, "|")
	if !ok {
		return nil
	}
	var all []string
	for _, cell := range strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|") {
		all = append(all, strings.TrimSpace(strings.ReplaceAll(cell, "\x00", "|")))
	}
	return all[:len(all)-1] // behind the last bar is nothing
}
