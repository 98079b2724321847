package lsp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/lsp/rpc"
)

type positionParams struct {
	TextDocument textDocumentIdentifier `json:"textDocument"`
	Position     Position               `json:"position"`
}

// markup is text in Markdown.
type markup struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

func markdown(text string) markup { return markup{"markdown", text} }

type hoverResult struct {
	Contents markup `json:"contents"`
	Range    Range  `json:"range"`
}

// namespaces says what the names of references stand for.
var namespaces = []choice{
	{"params", "Values of the pipeline's parameters."},
	{"env", "Variables of the environment that the run allows."},
	{"secret", "Secrets, which only settings of their kind take."},
	{"customer", "Of the customer whose data it is: `${customer.id}`."},
	{"run", "Of the run: its `id`, `started_at`, `output`, and where objects go."},
}

// hover says what there is to say about what the cursor is on.
func (s *server) hover(p *positionParams) (any, *rpc.Error) {
	f := s.texts.get(pathOf(p.TextDocument.URI))
	if f == nil {
		return nil, nil
	}
	c := s.look(f, f.content, f.offset(p.Position))
	if c == nil {
		return nil, nil
	}
	on := c.subject()
	if text := c.about(on); text != "" {
		return hoverResult{markdown(text), f.span(on.start, on.end)}, nil
	}
	return nil, nil
}

// about is what there is to say about a subject, in Markdown.
func (c *cursor) about(on subject) string {
	switch on.topic {
	case aStage:
		if o := c.stageOf(on.kind, on.name); o != nil {
			return strings.TrimSpace(fmt.Sprintf("**%s** `%s` of `%s`\n\n%s\n\n%s", on.kind, o.name, o.plugin, o.summary, o.doc))
		}
	case aParameter, aColumn:
		known := c.known()
		list, what := known.parameters, "parameter"
		if on.topic == aColumn {
			list, what = known.allColumns(), "column"
		}
		if one := named(list, on.name); one != nil {
			return factText(what, one)
		}
	case aDocument:
		if doc := c.document(c.file, on.name); doc != nil {
			return strings.TrimSpace(fmt.Sprintf("**%s** `%s`: %s\n\n%s", strings.ToLower(doc.Kind), doc.Metadata.Name, doc.Metadata.Title, doc.Metadata.Description))
		}
	case aReference:
		space, _, _ := strings.Cut(on.name, ".")
		if i := slices.IndexFunc(namespaces, func(n choice) bool { return n.value == space }); i >= 0 {
			return namespaces[i].description
		}
	case aKey, aValue:
		return schemaText(on)
	case aFile:
		return description(on.schemas)
	}
	return ""
}

// known are the facts of the cursor's text, which has no mark in it.
func (c *cursor) known() facts { return c.factsOf(c.file, c.file.outline()) }

// schemaText is what a schema says of a key or a value.
func schemaText(on subject) string {
	if on.topic == aValue {
		for _, one := range choices(on.schemas) {
			if one.value == on.name && one.description != "" {
				return one.description
			}
		}
	}
	text := description(on.schemas)
	names, def := types(on.schemas)
	var notes []string
	if all := choices(on.schemas); len(all) > 0 && len(all) <= 12 && names == nil {
		var values []string
		for _, one := range all {
			values = append(values, "`"+one.value+"`")
		}
		notes = append(notes, "One of "+strings.Join(values, ", ")+".")
	} else if len(names) > 0 {
		notes = append(notes, "Type: "+strings.Join(names, " or ")+".")
	}
	if def != nil {
		notes = append(notes, fmt.Sprintf("Default: `%v`.", def))
	}
	if text == "" && on.topic == aValue {
		return ""
	}
	return strings.TrimSpace(text + "\n\n" + strings.Join(notes, " "))
}

// factText is what is known of a parameter or a column.
func factText(what string, one *fact) string {
	text := fmt.Sprintf("%s `%s`", what, one.name)
	if one.detail != "" {
		text += ": " + one.detail
	}
	if one.doc != "" {
		text += "\n\n" + one.doc
	}
	if len(one.values) > 0 {
		text += "\n\nOne of `" + strings.Join(one.values, "`, `") + "`."
	}
	return text
}
