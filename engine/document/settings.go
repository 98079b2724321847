package document

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// Settings is a document of a kind that this package does not know: what stands under spec is described by a
// specification, as the settings of a stage are. It extends nothing and holds no references.
type Settings struct {
	File     string
	Metadata Metadata
	// JSON is spec as a JSON object, for config.Decode. What is wrong by itself is left out of it, of a list the whole
	// list, so that the rest can be checked in the same pass.
	JSON []byte

	spec *Node
}

// Settings loads a document of that kind from disk: apiVersion, kind, metadata, and under spec what the specification
// describes. It is nil when the diagnostics say that the file could not be had or parsed; with errors, what is
// in it can be checked further, and must not be used.
func (l *Loader) Settings(name, kind string, spec *config.Spec) (*Settings, diag.List) {
	var diags diag.List
	file, root := l.onDisk(name, &diags)
	if root == nil {
		return nil, diags.Normalise()
	}
	s := &Settings{File: file, JSON: []byte("{}"), spec: &Node{Kind: Map, At: root.At}}
	r := &reader{&diags}
	r.object(root, "a document of kind "+kind, root.At,
		field{"apiVersion", true, r.version},
		field{"kind", true, func(n *Node) {
			if n.Text != kind {
				d := diag.At(n.At, CodeNotAllowed, "expected kind %s, not %s", kind, short(n.Text))
				if hint := commandFor(n.Text); hint != "" {
					d = d.WithHint("%s", hint)
				} else {
					d = d.WithSuggestion(n.Text, []string{kind})
				}
				diags.Add(d)
			}
		}},
		field{"metadata", true, func(n *Node) {
			s.Metadata.At = n.At
			r.object(n, "metadata", n.At,
				field{"name", true, r.name(namePattern, nameRule, &s.Metadata.Name, nil)},
				field{"title", false, r.text(&s.Metadata.Title, nil)},
				field{"description", false, r.text(&s.Metadata.Description, nil)})
		}},
		field{"spec", true, func(n *Node) {
			if n.Kind != Map {
				r.wrong(n, "a mapping")
				return
			}
			s.spec = n
			s.check(spec, &diags)
		}})
	return s, diags.Normalise()
}

// check holds spec against its specification.
func (s *Settings) check(spec *config.Spec, diags *diag.List) {
	tree := tree(s.spec).(map[string]any)
	for _, problem := range spec.Check(tree) {
		diags.Add(s.problem(problem))
		if problem.Code != config.MissingKey {
			remove(tree, problem.Path)
		}
	}
	s.JSON, _ = json.Marshal(tree) // text, numbers, booleans, and mappings and lists of them
}

// remove takes what a path leads to out of a tree: its last key, and whatever is under that.
func remove(tree map[string]any, path []string) {
	parent, last := tree, ""
	var at any = tree
	for _, step := range path {
		switch v := at.(type) {
		case map[string]any:
			parent, last, at = v, step, v[step]
		case []any:
			i, _ := strconv.Atoi(step)
			at = v[i]
		default:
			return // it was taken out before
		}
	}
	delete(parent, last)
}

// problemCodes are the codes of documents for what is wrong with settings.
var problemCodes = map[string]string{
	config.UnknownKey: CodeUnknownKey, config.MissingKey: CodeMissingKey, config.WrongType: CodeWrongType,
	config.NotAllowed: CodeNotAllowed, config.OutOfRange: CodeOutOfRange, config.InvalidValue: CodeNotAllowed,
}

func (s *Settings) problem(p config.Problem) diag.Diagnostic {
	message := diag.Printable(p.Message)
	where := p.Path
	at := s.At(p.Path...)
	if p.Code == config.UnknownKey {
		where = where[:len(where)-1] // the message names the key
		at = s.key(p.Path)
	}
	if len(where) > 0 {
		message = strings.Join(where, ".") + ": " + message
	}
	d := diag.At(at, problemCodes[p.Code], "%s", message).WithMissingKey(p.Missing)
	if p.Found != "" {
		d = d.WithSuggestion(p.Found, p.Candidates)
	}
	if p.Hint != "" {
		d = d.WithHint("%s", p.Hint)
	}
	d.Pointer = "/spec/" + strings.Join(p.Path, "/")
	return d
}

// At is the place of what a path leads to, keys and indexes in decimal, or of the last step of it that is there.
func (s *Settings) At(path ...string) diag.Position {
	n, _ := s.find(path)
	return n.At
}

// Has reports whether a path leads to something in the file.
func (s *Settings) Has(path ...string) bool {
	_, found := s.find(path)
	return found
}

func (s *Settings) find(path []string) (n *Node, found bool) {
	n = s.spec
	for _, step := range path {
		next := n.Get(step)
		if n.Kind == List {
			if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.Items) {
				next = n.Items[i]
			}
		}
		if next == nil {
			return n, false
		}
		n = next
	}
	return n, true
}

// key is the place of the last key of a path.
func (s *Settings) key(path []string) diag.Position {
	parent, _ := s.find(path[:len(path)-1])
	if i := slices.IndexFunc(parent.Entries, func(e Entry) bool { return e.Key.Text == path[len(path)-1] }); i >= 0 {
		return parent.Entries[i].Key.At
	}
	return parent.At
}

// tree is a node as plain values.
func tree(n *Node) any {
	switch n.Kind {
	case Map:
		out := make(map[string]any, len(n.Entries))
		for _, e := range n.Entries {
			out[e.Key.Text] = tree(e.Value)
		}
		return out
	case List:
		out := make([]any, len(n.Items))
		for i, item := range n.Items {
			out[i] = tree(item)
		}
		return out
	}
	return n.Value
}

// SettingsSchema describes documents of a kind whose spec a specification describes, for editors, as a JSON Schema.
func SettingsSchema(kind string, spec *config.Spec) map[string]any {
	schema := object(header(map[string]any{
		"metadata": described(object(map[string]any{"name": named(namePattern), "title": text(), "description": text()}, []string{"name"}),
			"What it is called."),
		"spec": described(withoutReferences(spec.JSONSchema()), "The settings."),
	}, kind), []string{"apiVersion", "kind", "metadata", "spec"})
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = fmt.Sprintf("CipherStream document of kind %s", kind)
	return schema
}

// withoutReferences takes out of a schema what lets a reference such as ${params.x} stand for a value.
func withoutReferences(schema map[string]any) map[string]any {
	if either, ok := schema["anyOf"].([]any); ok {
		plain := withoutReferences(either[0].(map[string]any))
		delete(schema, "anyOf")
		return with(plain, schema)
	}
	for key, value := range schema {
		switch v := value.(type) {
		case map[string]any:
			if key == "properties" {
				for name, property := range v {
					v[name] = withoutReferences(property.(map[string]any))
				}
				continue
			}
			schema[key] = withoutReferences(v)
		}
	}
	return schema
}
