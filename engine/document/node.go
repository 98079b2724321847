package document

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/engine/diag"
)

// Kind is what a node is.
type Kind string

// The kinds of nodes. Every kind but list and map is a scalar.
const (
	Null    Kind = "nothing"
	Boolean Kind = "a boolean"
	Number  Kind = "a number"
	Text    Kind = "text"
	List    Kind = "a list"
	Map     Kind = "a mapping"
)

// Node is a value in a YAML file together with its place. Nodes are never
// changed once they are built, and aliases share them.
type Node struct {
	Kind Kind
	// Text is a scalar as written, quotes and escapes resolved.
	Text string
	// Value is a scalar's value: nil, bool, string, int64, uint64, or json.Number
	// for numbers that are neither.
	Value any
	// Items are the elements of a list.
	Items []*Node
	// Entries are the members of a mapping, in the file's order, keys unique.
	Entries []Entry
	// At is where the value stands.
	At diag.Position

	// lead is how many columns lie between At and the first character of Text, or
	// -1 when the text does not stand in the file as it is (escapes, several lines).
	lead int
}

// Entry is a member of a mapping.
type Entry struct{ Key, Value *Node }

// IsScalar reports whether the node is a single value.
func (n *Node) IsScalar() bool { return n.Kind != List && n.Kind != Map }

// Get returns the value of a key of a mapping, or nil.
func (n *Node) Get(key string) *Node {
	if n == nil {
		return nil
	}
	for _, e := range n.Entries {
		if e.Key.Text == key {
			return e.Value
		}
	}
	return nil
}

// Inside returns the position of a part of the scalar's text, given in code
// points from 0. Where the text does not stand in the file as it is, that is the
// position of the whole scalar.
func (n *Node) Inside(start, end int) diag.Position {
	p := n.At
	if n.lead >= 0 {
		p.Column, p.EndColumn = n.At.Column+n.lead+start, n.At.Column+n.lead+end
	}
	return p
}

var numberPattern = regexp.MustCompile(`^([-+]?)(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][-+]?[0-9]{1,9})?$`)

// resolve gives a plain scalar its type. It is the JSON part of YAML's core
// schema: null, ~, true, false and decimal numbers. Everything else is text,
// notably yes, on, 007, 0x10, 1_000, .inf and 2024-01-31, which are different
// things in different versions of YAML. Numbers never pass through floating
// point.
func resolve(text string) (Kind, any) {
	switch text {
	case "", "~", "null", "Null", "NULL":
		return Null, nil
	case "true", "True", "TRUE":
		return Boolean, true
	case "false", "False", "FALSE":
		return Boolean, false
	}
	m := numberPattern.FindStringSubmatch(text)
	if m == nil || m[2] == "" && len(m[3]) < 2 {
		return Text, text
	}
	sign, whole, fraction, exponent := strings.TrimPrefix(m[1], "+"), m[2], m[3], m[4]
	if whole == "" {
		whole = "0"
	}
	if fraction == "." {
		fraction = ".0"
	}
	if fraction == "" && exponent == "" {
		if v, err := strconv.ParseInt(sign+whole, 10, 64); err == nil {
			return Number, v
		}
		if v, err := strconv.ParseUint(sign+whole, 10, 64); err == nil {
			return Number, v
		}
	}
	return Number, json.Number(sign + whole + fraction + exponent)
}
