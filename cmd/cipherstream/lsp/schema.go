package lsp

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/lsp/outline"
	"github.com/cipherstream/cipherstream/engine/document"
	settings "github.com/cipherstream/cipherstream/sdk/config"
)

// keywords are those of a JSON Schema, which says what a value may be.
type keywords map[string]any

// schemas are the schema of a kind of documents. Only what a document may hold is asked of it, and what there is to say
// about that; whether a document is right is for lint to say.
type schemas struct {
	root        map[string]any
	definitions map[string]any
	patterns    map[string]*regexp.Regexp // of keys
}

func newSchemas(schema map[string]any) *schemas {
	encoded, err := json.Marshal(schema)
	if err == nil {
		schema = nil
		err = json.Unmarshal(encoded, &schema)
	}
	if err != nil {
		panic(err) // it is made to be JSON
	}
	s := &schemas{root: schema, patterns: map[string]*regexp.Regexp{}}
	s.definitions, _ = schema["$defs"].(map[string]any)
	s.compile(schema)
	return s
}

// compile readies the patterns of keys.
func (s *schemas) compile(value any) {
	switch v := value.(type) {
	case map[string]any:
		if patterns, is := v["patternProperties"].(map[string]any); is {
			for p := range patterns {
				s.patterns[p] = regexp.MustCompile(p)
			}
		}
		for _, e := range v {
			s.compile(e)
		}
	case []any:
		for _, e := range v {
			s.compile(e)
		}
	}
}

// schemasOf is the schema of a kind of documents. The first time, plugins are asked what they offer.
func (s *server) schemasOf(kind string) *schemas {
	if kind == document.KindService {
		return s.services()
	}
	return s.pipelines()
}

// maxSchemas bounds the alternatives of one value.
const maxSchemas = 1000

// at are the schemas of the value that steps lead to, alternatives and parts of it, each by itself.
func (s *schemas) at(steps []outline.Step, n *outline.Node) []keywords {
	first := n
	if len(steps) > 0 {
		first = steps[0].In
	}
	list := s.expand(nil, s.root, first)
	for i, step := range steps {
		to := n
		if i+1 < len(steps) {
			to = steps[i+1].In
		}
		list = s.under(list, step, to)
	}
	return list
}

// under are the schemas of a value in a mapping or a list.
func (s *schemas) under(list []keywords, step outline.Step, to *outline.Node) (out []keywords) {
	for _, schema := range list {
		if step.Index >= 0 {
			out = s.expand(out, schema["items"], to)
			continue
		}
		if property, is := child(schema, "properties")[step.Key]; is {
			out = s.expand(out, property, to)
			continue
		}
		found := false
		patterns := child(schema, "patternProperties")
		for _, pattern := range slices.Sorted(maps.Keys(patterns)) {
			if s.patterns[pattern].MatchString(step.Key) {
				found = true
				out = s.expand(out, patterns[pattern], to)
			}
		}
		if !found {
			out = s.expand(out, schema["additionalProperties"], to)
		}
	}
	return out
}

func child(schema keywords, keyword string) map[string]any {
	c, _ := schema[keyword].(map[string]any)
	return c
}

// expand adds a schema, and what it refers to or is put together of, as far as it goes for a value.
func (s *schemas) expand(list []keywords, schema any, n *outline.Node) []keywords {
	k, is := schema.(map[string]any)
	if !is || len(list) > maxSchemas {
		return list
	}
	if reference, is := k["$ref"].(string); is {
		list = s.expand(list, s.definitions[strings.TrimPrefix(reference, "#/$defs/")], n)
	}
	list = append(list, k)
	for _, keyword := range []string{"allOf", "anyOf", "oneOf"} {
		parts, _ := k[keyword].([]any)
		for _, part := range parts {
			list = s.expand(list, part, n)
		}
	}
	if condition := child(k, "if"); condition != nil {
		branch := "else"
		if holds(condition, n) {
			branch = "then"
		}
		list = s.expand(list, k[branch], n)
	}
	return list
}

// holds reports whether what a mapping says of its keys goes for a value. Our schemas ask for keys that are some text.
func holds(condition keywords, n *outline.Node) bool {
	for key, property := range child(condition, "properties") {
		p, _ := property.(map[string]any)
		text := n.Get(key).Scalar()
		if text == "" || fmt.Sprint(p["const"]) != text && !slices.Contains(textList(p["enum"]), text) {
			return false
		}
	}
	return true
}

// textList are the elements of a list that are text.
func textList(list any) (out []string) {
	elements, _ := list.([]any)
	for _, e := range elements {
		if text, is := e.(string); is {
			out = append(out, text)
		}
	}
	return out
}

// choice is a value that is one of a few.
type choice struct{ value, description string }

// choices are the values that schemas allow where they allow only some, the one that is there without being said first.
func choices(list []keywords) (out []choice) {
	add := func(value, description string) {
		if i := slices.IndexFunc(out, func(c choice) bool { return c.value == value }); i >= 0 {
			return
		}
		out = append(out, choice{value, description})
	}
	for _, schema := range list {
		description, _ := schema["description"].(string)
		if value, is := schema["const"]; is {
			add(fmt.Sprint(value), description)
		}
		for _, value := range textList(schema["enum"]) {
			add(value, "")
		}
		if schema["type"] == "boolean" {
			add("true", "")
			add("false", "")
		}
		for _, value := range textList(schema["examples"]) {
			add(value, "")
		}
	}
	return out
}

// description is what the schemas say of a value: the first that says something.
func description(list []keywords) string {
	for _, schema := range list {
		if text, is := schema["description"].(string); is {
			return text
		}
	}
	return ""
}

// types are the types that schemas name, and the first default.
func types(list []keywords) (names []string, def any) {
	for _, schema := range list {
		all := textList(schema["type"])
		if one, is := schema["type"].(string); is {
			all = []string{one}
		}
		for _, name := range all {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		if d, is := schema["default"]; is && def == nil {
			def = d
		}
	}
	return names, def
}

// code is the language of a value that is code; empty for any other.
func code(list []keywords) string {
	for _, schema := range list {
		if language, is := schema[settings.SchemaCode].(string); is {
			return language
		}
	}
	return ""
}

// isCode reports whether a value is an expression that the engine reads.
func isCode(list []keywords) bool { return code(list) == settings.CodeCEL }
