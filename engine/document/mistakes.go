package document

import (
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// What authors commonly get wrong, and what to do about it.

// missingHints show how a required key is written.
var missingHints = map[string]string{
	"apiVersion": "write apiVersion: " + APIVersion,
	"kind":       "write kind: " + KindPipeline,
	"metadata":   "write metadata: {name: my_pipeline}",
	"spec":       "what the pipeline does stands below spec:, indented",
	"name":       "write name: my_name",
	"type":       "write type: string, or another type",
	"check":      `write check: "params.from_date != null", or another condition`,
	"message":    "write message: and what to tell whoever gave wrong parameters",
	"pipeline":   "write pipeline: and the path of the pipeline under test, such as ./mine.yaml",
	"cases":      "write cases: and below it a list of them, each with name, given and expect",
}

// valueHints show how values of parameters are written.
var valueHints = map[Type]string{
	TypeString: "write a text, in quotes where YAML would take it for something else", TypeDate: "write a day as YYYY-MM-DD, such as 2024-02-29",
	TypeInteger: "write a whole number, such as 25", TypeBoolean: "write true or false", TypeDecimal: "write a number, such as 12.50",
}

// homes are the mappings in which a key is at home, by the depth of the keys.
var homes = sync.OnceValue(func() map[string][]home {
	m := map[string][]home{}
	add := func(in string, depth int, keys ...string) {
		for _, key := range keys {
			m[key] = append(m[key], home{in, depth})
		}
	}
	add("a pipeline", 0, "apiVersion", "kind", "metadata", "spec")
	add("metadata", 1, "title", "category", "class")
	add("spec", 1, "extends", "parameters", "rules", "stages", "columns", "drift", "limits")
	for _, kind := range stage.Kinds {
		add("stages", 2, string(kind))
	}
	add("a stage", 3, "use", "with", "when", "isolation")
	return m
})

type home struct {
	in    string
	depth int
}

// misplaced says where a key belongs that stands in another mapping: a matter of indentation, nearly always.
func misplaced(key, in string, depth int) (hint string) {
	for _, h := range homes()[key] {
		switch {
		case h.in == in:
			return ""
		case h.depth < depth:
			hint = "is a key of " + h.in + ": indent it less"
		case h.depth == depth:
			hint = "is a key of " + h.in + ": put it there"
		default:
			hint = "is a key of " + h.in + ": indent it further"
		}
	}
	if hint == "" {
		return ""
	}
	return key + " " + hint
}

// depths are the places of misplaced keys.
var depths = map[string]int{"a pipeline": 0, "metadata": 1, "spec": 1, "stages": 2, "a stage": 3, "a parameter": 3, "a column": 3, "a rule": 3}

// restOfText reports whether a key without a value is the rest of a text that a comma has ended: inside { }, text with
// a comma in it must stand in quotes.
func restOfText(e Entry) bool {
	return e.Value.Kind == Null && e.Value.Text == "" && strings.Contains(e.Key.Text, " ")
}

func isColumnType(text string) bool {
	_, err := ParseColumnType(text)
	return err == nil
}

var (
	restOfType  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9]+\)$`) })
	beginOfType = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^decimal\([0-9]+$`) })
)

// wrongHint says how what was expected is written.
func wrongHint(n *Node, expected string) string {
	switch {
	case expected == string(Text) && n.IsScalar() && n.Text != "":
		return "put it in quotes"
	case n.Kind == Null && n.Text == "":
		return "write it behind the colon, or below, indented further than its key"
	case expected == "true or false":
		return "write true or false, without quotes"
	case strings.HasPrefix(expected, "a list"):
		return "write one item a line below it, each after a dash, or all of them as [first, second]"
	case expected == "a pipeline", expected == "a test":
		return "a file begins with apiVersion and kind, as keys of their own lines"
	case expected == string(Text), expected == "a single value", expected == "an expression", strings.HasPrefix(expected, "one of "):
		return "write one value, without dashes and brackets"
	}
	return "write its keys below it, one a line, indented further"
}

var (
	keyLine      = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\s*(- )?[A-Za-z_][\w.-]*:(\s|$)`) })
	keyAndNoGap  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\s*(?:- )?([A-Za-z_][\w.-]*):[^\s/]`) })
	bareKey      = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\s*(?:- )?[A-Za-z_][\w.-]*:\s*$`) })
	openMarkLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[:\[{,]\s*\$\{`) })
)

// syntaxHint says what to do about what the parser of YAML could not read. At is the place that it stands at, and from
// the line in which that begins, from 1, or 0.
func syntaxHint(message string, lines []string, at diag.Position, from int) string {
	line, before := lines[at.Line-1], ""
	for i := at.Line - 2; i >= 0 && before == ""; i-- {
		before = strings.TrimSpace(lines[i])
		if strings.HasPrefix(before, "#") {
			before = ""
		} else {
			before = lines[i]
		}
	}
	if openMarkLine().MatchString(line) && !strings.Contains(message, "mapping values") {
		return `put the reference in quotes: "${params.name}"`
	}
	if n := unclosed(lines, max(1, from), at.Line); n > 0 {
		return "close the quote that is opened in line " + strconv.Itoa(n)
	}
	if strings.Contains(message, "mapping values are not allowed") && keyLine().MatchString(line) && at.Column <= strings.Index(line, ":")+1 {
		if m := keyAndNoGap().FindStringSubmatch(before); m != nil {
			return "write a space after the colon of " + m[1] + " in the line before"
		}
		if !bareKey().MatchString(before) {
			return "indent this line like the one before it, whose value ends there"
		}
	}
	for _, h := range syntaxHints {
		if strings.Contains(message, h.part) {
			return h.hint
		}
	}
	return "check this line and the one before it; text with special characters must stand in quotes"
}

// unclosed is the line, from 1, in which a double quote is opened behind a key or in brackets and not closed; 0 is none.
// A text in quotes may go on in the next lines, but hardly ever does in a pipeline that cannot be read.
func unclosed(lines []string, from, to int) int {
	for i := from; i <= min(to, len(lines)); i++ {
		line := strings.ReplaceAll(lines[i-1], `\"`, "")
		if strings.Count(line, `"`)%2 == 1 && !strings.Contains(line, "'") && !strings.Contains(line, " #") {
			return i
		}
	}
	return 0
}
