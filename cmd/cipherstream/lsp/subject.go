package lsp

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/lsp/outline"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// What a subject is.
type topic int

const (
	aKey topic = iota
	aValue
	aStage
	aParameter
	aColumn
	aDocument
	aFile
	aReference // of a namespace other than params
)

// subject is what the cursor is on.
type subject struct {
	topic      topic
	name       string
	start, end int // in the text
	schemas    []keywords
	kind       string // of a stage
}

// cursor is a place in a text, and what is known about it.
type cursor struct {
	*server
	file   *file
	offset int
	place  outline.Place
	// kind is that of the document.
	kind    string
	all     *schemas
	schemas []keywords // of place.Node
}

// longest is the size in bytes of a text of which no more is said than that it is too large.
const longest = document.MaxFileBytes

// look is a cursor in a text, which may have a mark in it; nil when there is nothing to say: the document is of others.
func (s *server) look(f *file, content string, offset int) *cursor {
	if len(content) > longest {
		return nil
	}
	root := outline.Parse(content)
	kind, ours := kindOf(root)
	if kind == document.KindSchedule {
		return nil
	}
	if !ours && slices.ContainsFunc(root.Entries, func(e *outline.Entry) bool { return e.Colon && !mayBegin(e) }) {
		return nil
	}
	c := &cursor{server: s, file: f, offset: offset, place: root.At(offset), kind: kind, all: s.schemasOf(kind)}
	c.schemas = c.all.at(c.place.Steps, c.place.Node)
	return c
}

// mayBegin reports whether an entry may be the beginning of a document of ours, which is yet to say that it is one.
func mayBegin(e *outline.Entry) bool {
	return strings.Contains(e.Key+e.Value.Scalar(), mark) || slices.Contains([]string{"kind", "metadata", "spec", "pipeline", "cases"}, e.Key)
}

// under are the schemas of a key of the mapping that the cursor is in.
func (c *cursor) under(key string) []keywords {
	return c.all.under(c.schemas, outline.Step{In: c.place.Node, Key: key, Index: -1}, c.place.Node.Get(key))
}

// around are the schemas of what the value under the cursor is in, a mapping or a list; nil for the document itself.
func (c *cursor) around() []keywords {
	steps := c.place.Steps
	if len(steps) == 0 {
		return nil
	}
	last := steps[len(steps)-1]
	return c.all.at(steps[:len(steps)-1], last.In)
}

// names is what a scalar value names: columns, parameters, documents or files; empty when nothing that is known.
func (c *cursor) names() string {
	lists := [][]keywords{c.schemas}
	if n := len(c.place.Steps); n > 0 && c.place.Steps[n-1].Index >= 0 {
		lists = append(lists, c.around())
	}
	for _, list := range lists {
		for _, schema := range list {
			if what, is := schema[config.SchemaNames].(string); is && schema["type"] != "object" {
				return what
			}
		}
	}
	return ""
}

// keysName is what the keys of the mapping under the cursor name.
func keysName(list []keywords) string {
	for _, schema := range list {
		if what, is := schema[config.SchemaNames].(string); is && schema["type"] == "object" {
			return what
		}
	}
	return ""
}

// topics are the subjects of what is named.
var topics = map[string]topic{
	config.NamesColumns: aColumn, document.NamesParameters: aParameter, document.NamesDocuments: aDocument, document.NamesFiles: aFile,
}

// stage is the stage in whose settings or fields the cursor is: its kind and the node of its fields.
func (c *cursor) stage() (kind string, n *outline.Node, ok bool) {
	steps := c.place.Steps
	if len(steps) < 3 || steps[0].Key != "spec" || steps[1].Key != "stages" {
		return "", nil, false
	}
	kind, _, _ = strings.Cut(steps[2].Key, ".")
	rest := steps[3:]
	if len(rest) > 0 && rest[0].Index >= 0 {
		rest = rest[1:]
	}
	if len(rest) > 0 {
		return kind, rest[0].In, true
	}
	return kind, c.place.Node, true
}

// inSettings reports whether the cursor is in the settings of a stage, where references may stand.
func (c *cursor) inSettings() bool {
	_, n, ok := c.stage()
	return ok && slices.ContainsFunc(c.place.Steps, func(s outline.Step) bool { return s.In == n && s.Key == "with" })
}

var referencePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\$\{([A-Za-z_]+)(?:\.([A-Za-z_][A-Za-z0-9_-]*))?\}?`)
})

// word is what of an identifier surrounds a place of a text, with dots between.
func word(text string, at int) (start, end int) {
	is := func(b byte) bool {
		return b == '_' || b == '.' || b >= utf8.RuneSelf || b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z'
	}
	start, end = at, at
	for start > 0 && is(text[start-1]) {
		start--
	}
	for end < len(text) && is(text[end]) {
		end++
	}
	return start, end
}

// subject is what the cursor is on.
func (c *cursor) subject() subject {
	if e := c.place.Entry; e != nil {
		t := aKey
		if what := keysName(c.schemas); what != "" {
			t = topics[what]
		}
		return subject{topic: t, name: e.Key, start: e.KeyStart, end: e.KeyEnd, schemas: c.under(e.Key)}
	}
	n := c.place.Node
	if c.offset < n.Start || c.offset > n.End {
		return subject{topic: aValue} // beside everything
	}
	s := subject{topic: aValue, name: n.Scalar(), start: n.Start, end: n.End, schemas: c.schemas}
	if n.Kind != outline.Scalar || n.Text == "" {
		return s
	}
	if kind, fields, ok := c.stage(); ok && fields.Get("use") == n {
		s.topic, s.kind = aStage, kind
		return s
	}
	text := c.file.content[n.Start:n.End]
	if isCode(c.schemas) {
		from, to := word(text, c.offset-n.Start)
		name := text[from:to]
		s.start, s.end = n.Start+from, n.Start+to
		if parameter, is := strings.CutPrefix(name, "params."); is {
			s.topic, s.name = aParameter, parameter
		} else if name != "" && c.inSettings() {
			s.topic, s.name = aColumn, name
		}
		return s
	}
	for _, m := range referencePattern().FindAllStringSubmatchIndex(text, -1) {
		if at := c.offset - n.Start; m[0] <= at && at <= m[1] && c.inSettings() {
			s.start, s.end, s.topic = n.Start+m[0], n.Start+m[1], aReference
			s.name = strings.Trim(text[m[0]:m[1]], "${}")
			if parameter, is := strings.CutPrefix(s.name, "params."); is {
				s.topic, s.name = aParameter, parameter
			}
			return s
		}
	}
	if what := c.names(); what != "" {
		s.topic = topics[what]
	}
	return s
}

// offered is a stage that some plugin has.
type offered struct {
	plugin string
	name   string
	kind   string
	// summary and doc are what it says of itself, and required its settings that must be given.
	summary, doc string
	required     []string
}

// offers are all stages that there are. Plugins are asked.
func offers(e *engine.Engine) (all []offered) {
	for _, plugin := range e.Plugins() {
		for _, m := range plugin.Stages {
			o := offered{plugin: plugin.Plugin, name: m.Name, kind: string(m.Kind), summary: m.Summary, doc: m.Doc}
			for _, f := range m.Spec.Fields {
				if f.Required {
					o.required = append(o.required, f.Name)
				}
			}
			all = append(all, o)
		}
	}
	return all
}

// stageOf is the stage that a name means, NAME or PLUGIN/NAME; nil when there is none.
func (s *server) stageOf(kind, use string) *offered {
	plugin, name, explicit := strings.Cut(use, "/")
	if !explicit {
		plugin, name = "", use
	}
	all := s.stages()
	for i, o := range all {
		if o.kind == kind && o.name == name && (plugin == "" || plugin == o.plugin) {
			return &all[i]
		}
	}
	return nil
}
