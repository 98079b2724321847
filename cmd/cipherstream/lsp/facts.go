package lsp

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/lsp/outline"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
)

// facts are what a document says of its parameters and columns, with what it extends. They are had also while the text is
// no YAML: its own part is read from its outline.
type facts struct {
	parameters, columns []fact
	// more are the columns that stages declare, which the contract may leave out.
	more []fact
}

// fact is a parameter or a column.
type fact struct {
	name string
	// detail is its type and the like, and doc what it means.
	detail, doc string
	values      []string // the only ones that a parameter takes
	required    bool
	at          where
}

// where is the place at which something is declared: in the text at hand, or else a position.
type where struct {
	here     bool
	start    int
	end      int
	position diag.Position
}

// document loads what a name of the catalogue or a path beside a file stands for; nil when it cannot be had.
func (s *server) document(f *file, name string) *engine.Document {
	if isBeside(name) {
		doc, _ := s.engine.LoadFile(beside(f, name))
		return doc
	}
	doc, _ := s.engine.Load(name)
	return doc
}

// isBeside reports whether a document is named by its path.
func isBeside(name string) bool {
	return strings.HasPrefix(name, "./") || strings.HasPrefix(name, "../") || filepath.IsAbs(name) || strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// beside is the path of a file that another names.
func beside(f *file, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(f.path), filepath.FromSlash(name))
}

// factsOf are the facts of a text.
func (s *server) factsOf(f *file, root *outline.Node) facts {
	var own facts
	spec := root.Get("spec")
	own.parameters = declared(spec.Get("parameters"), parameterFact)
	own.columns = declared(spec.Get("columns"), columnFact)
	stages := spec.Get("stages")
	if stages != nil {
		for _, e := range stages.Entries {
			list := []*outline.Node{e.Value}
			if e.Value.Kind == outline.List {
				list = e.Value.Items
			}
			for _, one := range list {
				own.more = append(own.more, declared(one.Get("with").Get("columns"), columnFact)...)
			}
		}
	}
	parent := spec.Get("extends").Scalar()
	if root.Get("kind").Scalar() == document.KindTest {
		parent = root.Get("pipeline").Scalar()
	}
	if parent == "" {
		return own
	}
	doc := s.document(f, parent)
	if doc == nil {
		return own
	}
	for _, p := range doc.Parameters {
		inherited := fact{name: p.Name, detail: string(p.Type), doc: p.Description, required: p.Required, at: where{position: p.At}}
		switch {
		case p.Required:
			inherited.detail += ", required"
		case p.Default != nil:
			inherited.detail += fmt.Sprintf(", default %v", p.Default)
		}
		for _, v := range p.Allowed {
			inherited.values = append(inherited.values, fmt.Sprint(v))
		}
		i := slices.IndexFunc(own.parameters, func(o fact) bool { return o.name == p.Name })
		if i < 0 {
			own.parameters = append(own.parameters, inherited)
			continue
		}
		// What the text changes of it wins.
		o := &own.parameters[i]
		if o.doc == "" {
			o.doc = inherited.doc
		}
		if !o.required {
			o.detail = inherited.detail
		}
		if o.values == nil {
			o.values = inherited.values
		}
	}
	if own.columns == nil {
		for _, c := range doc.Columns {
			one := fact{name: c.Name, detail: c.Type.String(), doc: c.Description, at: where{position: c.At}}
			if !c.Nullable {
				one.detail += ", never NULL"
			}
			if c.Personal {
				one.detail += ", personal"
			}
			own.columns = append(own.columns, one)
		}
	}
	return own
}

// declared are the things with a name in a list.
func declared(list *outline.Node, read func(n *outline.Node) fact) (out []fact) {
	if list == nil {
		return nil
	}
	for _, n := range list.Items {
		name := n.Get("name")
		if name.Scalar() == "" {
			continue
		}
		one := read(n)
		one.name, one.doc = name.Scalar(), n.Get("description").Scalar()
		one.at = where{here: true, start: name.Start, end: name.End}
		out = append(out, one)
	}
	return out
}

func parameterFact(n *outline.Node) fact {
	f := fact{detail: n.Get("type").Scalar(), required: n.Get("required").Scalar() == "true"}
	if f.required {
		f.detail += ", required"
	} else if def := n.Get("default").Scalar(); def != "" {
		f.detail += ", default " + def
	}
	if allowed := n.Get("allowed"); allowed != nil {
		for _, v := range allowed.Items {
			f.values = append(f.values, v.Scalar())
		}
	}
	return f
}

func columnFact(n *outline.Node) fact {
	f := fact{detail: n.Get("type").Scalar()}
	if n.Get("nullable").Scalar() == "false" {
		f.detail += ", never NULL"
	}
	if n.Get("personal").Scalar() == "true" {
		f.detail += ", personal"
	}
	return f
}

// allColumns are the columns of the contract, and those that stages make or read.
func (f *facts) allColumns() []fact {
	out := slices.Clone(f.columns)
	for _, c := range f.more {
		if !slices.ContainsFunc(out, func(o fact) bool { return o.name == c.name }) {
			out = append(out, c)
		}
	}
	return out
}

// named is the fact of a name, or nil.
func named(list []fact, name string) *fact {
	if i := slices.IndexFunc(list, func(f fact) bool { return f.name == name }); i >= 0 {
		return &list[i]
	}
	return nil
}
