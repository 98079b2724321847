package draft

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// lineWidth is how long a line gets before what stands in it is written below one another.
const lineWidth = 120

// plain is text that every reader of YAML takes for text, and for the same one, in whatever brackets it stands.
var plain = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:\./)?[A-Za-z_][A-Za-z0-9_./-]*(?: [A-Za-z0-9_(./-][A-Za-z0-9_()./-]*)*$`)
})

// words are what readers of YAML take for something else than text: null, booleans (of YAML 1.1 too), not a number.
var words = []string{"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"}

// scalar writes text so that it is read as just that text.
func scalar(text string) string {
	switch {
	case plain().MatchString(text) && !slices.Contains(words, strings.ToLower(text)):
		return text
	case strings.ContainsAny(text, `"\`) && !strings.Contains(text, "'") && !strings.ContainsFunc(text, unseen):
		return "'" + text + "'" // where neither is an escape
	}
	return quoted(text)
}

// unseen reports whether a character has to be written as an escape to be seen.
func unseen(r rune) bool {
	return r != ' ' && (!unicode.IsGraphic(r) || unicode.IsSpace(r) || r == utf8.RuneError)
}

// quoted writes text in double quotes, with escapes for what cannot be seen.
func quoted(text string) string {
	return inQuotes(text, func(b *strings.Builder, r rune) {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r <= 0xff:
			fmt.Fprintf(b, `\x%02X`, r)
		case r <= 0xffff:
			fmt.Fprintf(b, `\u%04X`, r)
		default:
			fmt.Fprintf(b, `\U%08X`, r)
		}
	})
}

// inQuotes writes text in double quotes. What cannot be seen is left to escape.
func inQuotes(text string, escape func(*strings.Builder, rune)) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case unseen(r):
			escape(&b, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// setting writes text as a setting of a stage, in which ${ begins a reference.
func setting(text string) string { return scalar(literal(text)) }

// literal is text in which nothing is a reference.
func literal(text string) string { return strings.ReplaceAll(text, "${", "$${") }

// pair is a member of a mapping; both sides are written already.
type pair struct{ key, value string }

// entry writes a mapping as an element of a list: in one line where that is short enough, or a member a line.
func entry(b *strings.Builder, indent string, pairs []pair) {
	members := make([]string, len(pairs))
	for i, p := range pairs {
		members[i] = p.key + ": " + p.value
	}
	if line := indent + "- {" + strings.Join(members, ", ") + "}"; utf8.RuneCountInString(line) <= lineWidth {
		b.WriteString(line + "\n")
		return
	}
	for i, member := range members {
		lead := "  "
		if i == 0 {
			lead = "- "
		}
		b.WriteString(indent + lead + member + "\n")
	}
}

// folded writes pieces of text with separators between as a block that reads as one line; none holds a line end or
// begins or ends with a space.
func folded(b *strings.Builder, indent string, pieces []string, separator string) {
	line := indent
	for i, piece := range pieces {
		if i < len(pieces)-1 {
			piece += separator
		}
		if line != indent && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(piece) > lineWidth {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += piece
	}
	b.WriteString(line + "\n")
}

// comment writes lines of comment, broken at spaces.
func comment(b *strings.Builder, indent, text string) {
	for paragraph := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(paragraph, "  ") { // a command, as it is
			b.WriteString(indent + "# " + paragraph + "\n")
			continue
		}
		var lines strings.Builder
		folded(&lines, indent+"# ", strings.Fields(paragraph), "")
		for line := range strings.Lines(lines.String()) {
			b.WriteString(strings.TrimRight(line, " \n") + "\n")
		}
	}
}
