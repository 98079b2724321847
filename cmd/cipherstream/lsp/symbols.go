package lsp

import (
	"github.com/cipherstream/cipherstream/cmd/cipherstream/lsp/outline"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/lsp/rpc"
)

// The kinds of symbols.
const (
	symbolKey      = 20
	symbolVariable = 13
	symbolField    = 8
	symbolModule   = 2
	symbolMethod   = 6
)

// symbol is a part of a document that is worth going to.
type symbol struct {
	Name      string   `json:"name"`
	Detail    string   `json:"detail,omitempty"`
	Kind      int      `json:"kind"`
	Range     Range    `json:"range"`
	Selection Range    `json:"selectionRange"`
	Children  []symbol `json:"children,omitempty"`
}

// symbols are the parts of a document: parameters, stages, columns, and the cases of a test.
func (s *server) symbols(p *struct {
	TextDocument textDocumentIdentifier `json:"textDocument"`
}) (any, *rpc.Error) {
	list := []symbol{}
	f := s.texts.get(pathOf(p.TextDocument.URI))
	if f == nil {
		return list, nil
	}
	root := f.outline()
	if _, ours := kindOf(root); !ours {
		return list, nil
	}
	spec := root.Get("spec")
	for _, part := range []struct {
		in   *outline.Node
		key  string
		kind int
	}{{spec, "parameters", symbolVariable}, {spec, "stages", symbolModule}, {spec, "columns", symbolField}, {root, "cases", symbolMethod}} {
		e := part.in.Entry(part.key)
		if e == nil {
			continue
		}
		whole := symbol{Name: part.key, Kind: symbolKey, Range: f.span(e.KeyStart, max(e.KeyEnd, e.Value.End)), Selection: f.span(e.KeyStart, e.KeyEnd)}
		for _, item := range e.Value.Items {
			if name := item.Get("name"); name.Scalar() != "" {
				whole.Children = append(whole.Children, symbol{Name: name.Text, Detail: item.Get("type").Scalar(), Kind: part.kind,
					Range: f.span(item.Start, item.End), Selection: f.span(name.Start, name.End)})
			}
		}
		for _, stage := range e.Value.Entries {
			whole.Children = append(whole.Children, symbol{Name: stage.Key, Detail: stage.Value.Get("use").Scalar(), Kind: part.kind,
				Range: f.span(stage.KeyStart, max(stage.KeyEnd, stage.Value.End)), Selection: f.span(stage.KeyStart, stage.KeyEnd)})
		}
		list = append(list, whole)
	}
	return list, nil
}
