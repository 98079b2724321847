package lsp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/lsp/outline"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/lsp/rpc"
	"github.com/cipherstream/cipherstream/sdk/expression"
)

type codeActionParams struct {
	TextDocument textDocumentIdentifier `json:"textDocument"`
	Range        Range                  `json:"range"`
	Context      struct {
		Only []string `json:"only"`
	} `json:"context"`
}

// quickFix is the kind of all actions that are offered.
const quickFix = "quickfix"

// codeAction mends one problem.
type codeAction struct {
	Title       string        `json:"title"`
	Kind        string        `json:"kind"`
	Diagnostics []Diagnostic  `json:"diagnostics"`
	IsPreferred bool          `json:"isPreferred,omitempty"`
	Edit        workspaceEdit `json:"edit"`
}

type workspaceEdit struct {
	Changes map[string][]textEdit `json:"changes"`
}

// actions are what mends the problems of a part of a text.
func (s *server) actions(p *codeActionParams) (any, *rpc.Error) {
	f := s.texts.get(pathOf(p.TextDocument.URI))
	list := []codeAction{}
	only := p.Context.Only
	if f == nil || len(only) > 0 && !slices.Contains(only, quickFix) && !slices.Contains(only, "") {
		return list, nil
	}
	from, to := f.offset(p.Range.Start), f.offset(p.Range.End)
	root := f.outline()
	for _, d := range s.found(f) {
		if d.File != f.path {
			continue
		}
		start, end := f.place(d.Position)
		n := root.At(start).Node
		inside := n.Kind == outline.Scalar && !n.Block && n.Start <= to && from <= n.End
		near := start <= to && from <= end
		// An expression is mended whole, wherever in it the cursor is.
		code := inside && s.isExpression(f, start)
		if !near && !code {
			continue
		}
		shown := s.shown(f, d)
		add := func(title string, preferred bool, start, end int, by string) {
			list = append(list, codeAction{title, quickFix, []Diagnostic{shown}, preferred,
				workspaceEdit{map[string][]textEdit{f.uri: {{f.span(start, end), by}}}}})
		}
		old := f.content[start:end]
		if d.Fix != "" && d.Fix != old && d.EndColumn > d.Column {
			add(fmt.Sprintf("Replace %s by %s", old, d.Fix), true, start, end, quotedAs(old, d.Fix))
		}
		if d.MissingKey != "" {
			if at, text, ok := inserted(f, root, start, d.MissingKey); ok {
				add("Add the key "+d.MissingKey, true, at, at, text)
			}
		}
		if code {
			start := n.Start
			if n.Quoted {
				start++
			}
			if by := expression.Rewrite(n.Text); by != n.Text {
				add("Write it in CEL: "+by, d.Fix == "", start, start+len(n.Text), by)
			}
		}
	}
	return list, nil
}

// quotedAs is text with the quotes of what it takes the place of.
func quotedAs(old, by string) string {
	if len(old) >= 2 && (old[0] == '"' || old[0] == '\'') && old[len(old)-1] == old[0] && !strings.ContainsAny(by, `"'\`) {
		return old[:1] + by + old[:1]
	}
	return by
}

// isExpression reports whether a place is in an expression, which CEL is written in.
func (s *server) isExpression(f *file, at int) bool {
	c := s.look(f, f.content, at)
	return c != nil && isCode(c.schemas)
}

// inserted is where a key is put that is missing in the mapping at a place, and what is put there. A problem at what a
// stage uses is about its settings, which come with the key where there are none.
func inserted(f *file, root *outline.Node, place int, key string) (at int, text string, ok bool) {
	p := root.At(place)
	n, entry := p.Node, key+": "
	if n.Kind != outline.Map {
		if len(p.Steps) == 0 || p.Steps[len(p.Steps)-1].In.Kind != outline.Map {
			return 0, "", false
		}
		n = p.Steps[len(p.Steps)-1].In
		if with := n.Get("with"); with != nil && with.Kind == outline.Map {
			n = with
		} else {
			entry = "with: {" + key + ": }"
		}
	}
	if !n.Flow {
		return n.End, "\n" + strings.Repeat(" ", n.Column) + strings.TrimRight(entry, " "), true
	}
	at = n.End
	if strings.HasSuffix(f.content[n.Start:n.End], "}") {
		at--
	}
	if len(n.Entries) > 0 {
		entry = ", " + entry
	}
	return at, entry, true
}
