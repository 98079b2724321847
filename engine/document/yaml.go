package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/cipherstream/cipherstream/engine/diag"
)

// The limits of a file.
const (
	MaxFileBytes = 1 << 20 // a larger file is refused before it is parsed
	MaxDepth     = 64      // nested mappings and lists
	MaxNodes     = 100_000 // values and keys, aliases expanded
)

// The codes of files that cannot be understood as YAML, or are YAML that has no
// place in a pipeline.
const (
	CodeSyntax       = "yaml.syntax"
	CodeNotUTF8      = "yaml.not_utf8"
	CodeTooLarge     = "yaml.too_large"
	CodeTooDeep      = "yaml.too_deep"
	CodeTooManyNodes = "yaml.too_many_nodes"
	CodeAliasCycle   = "yaml.alias_cycle"
	CodeDuplicateKey = "yaml.duplicate_key"
	CodeMergeKey     = "yaml.merge_key"
	CodeTag          = "yaml.tag"
	CodeKeyType      = "yaml.key_type"
	CodeEmpty        = "yaml.empty"
	CodeTwoDocuments = "yaml.two_documents"
)

// parse turns the content of a file into nodes. The node is nil when there is
// nothing to go on with.
func parse(file string, content []byte, diags *diag.List) *Node {
	whole := diag.Position{File: file}
	if len(content) > MaxFileBytes {
		diags.Add(diag.At(whole, CodeTooLarge, "the file is larger than %d bytes", MaxFileBytes).
			WithHint("a pipeline is a few kilobytes; is this the right file?"))
		return nil
	}
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	if d, ok := unreadable(file, content); ok {
		diags.Add(d)
		return nil
	}
	root, second, err := parseYAML(content)
	switch {
	case err != nil:
		diags.Add(locate(file, content, err))
		return nil
	case root == nil || len(root.Content) == 0:
		diags.Add(diag.At(whole, CodeEmpty, "the file holds no document").WithHint("a pipeline starts with apiVersion and kind"))
		return nil
	case second != nil:
		diags.Add(diag.At(diag.Position{File: file, Line: second.Line, Column: second.Column}, CodeTwoDocuments,
			"the file holds more than one document").WithHint("put each pipeline in a file of its own"))
		return nil
	}
	b := builder{file: file, lines: diag.Lines(content), diags: diags, built: map[*yaml.Node]*built{}}
	n := b.build(root.Content[0], 1)
	if n.size > MaxNodes {
		diags.Add(diag.At(b.at(b.largest), CodeTooManyNodes, "with its aliases expanded, the file holds more than %d values", MaxNodes).
			WithHint("aliases of aliases multiply; write the values out, or share them with extends"))
		return nil
	}
	if b.broken {
		return nil
	}
	return n.Node
}

// unreadable finds the first thing that YAML cannot hold: bytes that are not
// UTF-8, and characters outside YAML's printable set (section 5.1).
func unreadable(file string, content []byte) (diag.Diagnostic, bool) {
	for i := 0; i < len(content); {
		c, n := utf8.DecodeRune(content[i:])
		bad := c == utf8.RuneError && n == 1
		if bad || c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c >= 0x7f && c < 0xa0 && c != 0x85 ||
			c == 0xfeff || c == 0xfffe || c == 0xffff {
			lines := diag.Lines(content[:i])
			column := utf8.RuneCountInString(lines[len(lines)-1]) + 1
			at := diag.Position{File: file, Line: len(lines), Column: column, EndColumn: column + 1}
			if bad {
				return diag.At(at, CodeNotUTF8, "byte 0x%02X is not UTF-8", content[i]).WithHint("save the file as UTF-8"), true
			}
			return diag.At(at, CodeSyntax, "control character U+%04X cannot stand in YAML", c).
				WithHint(`inside double quotes, write it as an escape such as "\x%02X"`, c), true
		}
		i += n
	}
	return diag.Diagnostic{}, false
}

// parseYAML returns the first document, and the second if there is one. The
// parser is not ours; a panic of it is an error like any other.
func parseYAML(content []byte) (first, second *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: the parser failed: %v", r)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for _, into := range []**yaml.Node{&first, &second} {
		n := new(yaml.Node)
		if err := decoder.Decode(n); errors.Is(err, io.EOF) {
			return first, second, nil
		} else if err != nil {
			return nil, nil, err
		}
		*into = n
	}
	return first, second, nil
}

var errorPattern = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// syntaxHints say what to do about the commoner messages of the parser.
var syntaxHints = []struct{ part, hint string }{
	{"mapping values are not allowed", `text with ": " in it must stand in quotes`},
	{"cannot start any token", "indent with spaces, and put text that starts with @, `, % or a tab in quotes"},
	{"tab character", "indent with spaces"},
	{"did not find expected key", "check the indentation of this line and of the one before it"},
	{"did not find expected '-'", "check the indentation of this line and of the one before it"},
	{"',' or ']'", "the list that was opened with [ must be closed"},
	{"',' or '}'", "the mapping that was opened with { must be closed; text with { } [ ] , in it must stand in quotes"},
	{"unexpected end of stream", "a quote was opened and never closed"},
	{"could not find expected ':'", "a key needs a colon after it"},
	{"unknown anchor", "an alias (*name) needs its anchor (&name) before it; text that starts with * must stand in quotes"},
}

// locate turns an error of the parser into a diagnostic. The parser names a
// line at best, and not always the right one. So the shortest beginning of the
// file that fails in the same way is looked for, first in lines and then in
// characters: what comes last in it is where the problem is. That parses the
// file some forty times, so that a large file keeps the parser's line.
func locate(file string, content []byte, err error) diag.Diagnostic {
	full := errorPattern.FindStringSubmatch(err.Error())
	if full == nil {
		full = []string{"", "", err.Error()}
	}
	fails := func(prefix string) bool {
		_, _, err := parseYAML([]byte(prefix))
		if err == nil {
			return false
		}
		m := errorPattern.FindStringSubmatch(err.Error())
		return m != nil && m[2] == full[2] && m[1] == full[1]
	}
	text := string(content)
	lines := diag.Lines(content)
	if len(content) > largestSearched {
		reported, _ := strconv.Atoi(full[1])
		at := diag.Position{File: file, Line: max(1, min(reported, len(lines)))}
		return diag.At(at, CodeSyntax, "%s", full[2]).WithHint("%s", syntaxHint(full[2], lines, at, at.Line))
	}
	ends := make([]int, len(lines)) // byte offset of the end of each line
	for i, offset := 0, 0; i < len(lines); i++ {
		offset += len(lines[i])
		ends[i] = offset
		if rest := text[offset:]; strings.HasPrefix(rest, "\r\n") {
			offset += 2
		} else if rest != "" {
			_, n := utf8.DecodeRuneInString(rest)
			offset += n
		}
	}
	line := sort.Search(len(lines)-1, func(i int) bool { return fails(text[:ends[i]]) })
	start := ends[line] - len(lines[line])
	runes := []rune(lines[line])
	column := sort.Search(len(runes), func(i int) bool { return fails(text[:start] + string(runes[:i])) })
	at := diag.Position{File: file, Line: line + 1, Column: max(1, column), EndColumn: max(1, column) + 1}
	if strings.Contains(full[2], "unknown anchor") {
		for at.Column > 1 && runes[at.Column-1] != '*' {
			at.Column--
		}
	}
	d := diag.At(at, CodeSyntax, "%s", full[2])
	from := at.Line
	if n, err := strconv.Atoi(full[1]); err == nil && n < at.Line {
		d = d.WithRelated(diag.Position{File: file, Line: n}, "what is being read here began about there")
		from = n
	}
	return d.WithHint("%s", syntaxHint(full[2], lines, at, from))
}

// largestSearched is the size in bytes up to which the exact place of a syntax
// error is looked for.
const largestSearched = 128 << 10

// built is a node with what it amounts to, aliases expanded.
type built struct {
	*Node
	size, height int
}

// builder turns the parser's nodes into ours. Each is built once, however often
// an alias names it; sizes are counted as if it were built every time.
type builder struct {
	file    string
	lines   []string
	diags   *diag.List
	built   map[*yaml.Node]*built // nil while a node is being built
	largest *yaml.Node            // the first node that made the size too large
	deep    bool                  // depth was reported
	broken  bool                  // the document cannot be used
	cursor  cursor
}

// cursor is a place in a line, in columns from 1 and in bytes from 0.
type cursor struct{ line, column, offset int }

// at returns a node's place. The parser puts what is missing at the end of a file
// on a line after the last one.
func (b *builder) at(y *yaml.Node) diag.Position {
	if y.Line > len(b.lines) {
		return diag.Position{File: b.file, Line: len(b.lines), Column: utf8.RuneCountInString(b.lines[len(b.lines)-1]) + 1}
	}
	return diag.Position{File: b.file, Line: y.Line, Column: y.Column}
}

func (b *builder) build(y *yaml.Node, depth int) *built {
	if y.Kind == yaml.AliasNode {
		return b.alias(y, depth)
	}
	b.built[y] = nil
	n := &built{Node: &Node{At: b.at(y), lead: -1}, size: 1, height: 1}
	if y.Style&yaml.TaggedStyle != 0 {
		b.diags.Add(diag.At(n.At, CodeTag, "tags such as %.40s are not used in pipelines", y.Tag).
			WithHint("leave it out; put text in quotes"))
	}
	switch y.Kind {
	case yaml.ScalarNode:
		b.scalar(y, n.Node)
	case yaml.SequenceNode:
		n.Kind = List
		for _, item := range y.Content {
			n.Items = append(n.Items, b.child(y, n, item, depth).Node)
		}
	case yaml.MappingNode:
		n.Kind = Map
		b.mapping(y, n, depth)
	}
	if depth > MaxDepth && !b.deep {
		b.tooDeep(n.At)
	}
	b.built[y] = n
	return n
}

func (b *builder) tooDeep(at diag.Position) {
	b.deep, b.broken = true, true
	b.diags.Add(diag.At(at, CodeTooDeep, "values are nested more than %d deep", MaxDepth).WithHint("check for brackets that are never closed"))
}

// child builds a part of a node and adds up what the node amounts to.
func (b *builder) child(y *yaml.Node, n *built, part *yaml.Node, depth int) *built {
	c := b.build(part, depth+1)
	n.height = max(n.height, c.height+1)
	if n.size <= MaxNodes {
		if n.size += c.size; n.size > MaxNodes && b.largest == nil {
			b.largest = y
		}
	}
	return c
}

func (b *builder) alias(y *yaml.Node, depth int) *built {
	n, known := b.built[y.Alias]
	if known && n == nil {
		b.broken = true
		b.diags.Add(diag.At(b.at(y), CodeAliasCycle, "alias *%.40s stands inside the value that it names", y.Value).
			WithRelated(b.at(y.Alias), "the anchor is here"))
		return &built{Node: &Node{Kind: Null, At: b.at(y), lead: -1}, size: 1, height: 1}
	}
	if depth+n.height-1 > MaxDepth && !b.deep {
		b.tooDeep(b.at(y))
	}
	return n
}

func (b *builder) mapping(y *yaml.Node, n *built, depth int) {
	seen := map[string]*Node{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := b.child(y, n, y.Content[i], depth).Node, b.child(y, n, y.Content[i+1], depth).Node
		if y.Content[i].Kind == yaml.AliasNode || !key.IsScalar() {
			b.diags.Add(diag.At(b.at(y.Content[i]), CodeKeyType, "a key must be plain text").
				WithHint("write a word and a colon; text with { } [ ] in it must stand in quotes"))
			continue
		}
		if y.Content[i].Tag == "!!merge" {
			b.diags.Add(diag.At(key.At, CodeMergeKey, "merge keys (<<) are not used in pipelines").
				WithHint("share settings with spec.extends, or repeat them with an alias"))
			continue
		}
		if first := seen[key.Text]; first != nil {
			b.diags.Add(diag.At(key.At, CodeDuplicateKey, "key %q is written twice", short(key.Text)).
				WithHint("keep one of them").WithRelated(first.At, "the first one is here"))
			continue
		}
		seen[key.Text] = key
		n.Entries = append(n.Entries, Entry{key, value})
	}
}

// scalar fills in a single value, and finds out how the text stands in the file.
func (b *builder) scalar(y *yaml.Node, n *Node) {
	n.Text = y.Value
	n.Kind, n.Value = Text, y.Value
	quoted := y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
	if !quoted && y.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		n.Kind, n.Value = resolve(y.Value)
	}
	if y.Line > len(b.lines) || y.Value == "" {
		return
	}
	rest := b.from(y.Line, y.Column)
	lead := 0
	if quoted {
		if rest == "" || rest[0] != '"' && rest[0] != '\'' {
			return
		}
		lead, rest = 1, rest[1:]
	}
	if strings.HasPrefix(rest, y.Value) && (!quoted || strings.HasPrefix(rest[len(y.Value):], string(quoteOf(y)))) {
		n.lead = lead
		n.At.EndColumn = n.At.Column + utf8.RuneCountInString(y.Value) + 2*lead
	}
}

func quoteOf(y *yaml.Node) byte {
	if y.Style&yaml.DoubleQuotedStyle != 0 {
		return '"'
	}
	return '\''
}

// from returns what is left of a line at a column. Nodes come in the order of
// the file, so that it goes on from where it was: a file may be one long line.
func (b *builder) from(line, column int) string {
	c := &b.cursor
	if c.line != line || c.column > column {
		*c = cursor{line: line, column: 1}
	}
	text := b.lines[line-1]
	for c.column < column && c.offset < len(text) {
		_, n := utf8.DecodeRuneInString(text[c.offset:])
		c.offset += n
		c.column++
	}
	return text[c.offset:]
}

// short keeps quoted input from filling a message.
func short(text string) string {
	if utf8.RuneCountInString(text) > 60 {
		return string([]rune(text)[:60]) + "…"
	}
	return text
}
