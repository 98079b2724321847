package plan

import (
	"regexp"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/plugins/formula"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// The codes of references where none may be, and of settings that an author may not write.
const (
	// CodeReferenceInCode is the code of a reference in a statement or an expression: what it
	// stands for would become a part of the code.
	CodeReferenceInCode = "reference.in_code"
	// CodeFilledIn is the code of a setting that an author has written although the planner fills it in.
	CodeFilledIn = "plan.filled_in"
)

// bindHint says how values are bound to code of a language, in place of references.
func bindHint(language string) string {
	switch language {
	case config.CodeSQL:
		return "bind it: write ? in its place, and the reference under args"
	case config.CodeCEL:
		return "write params.NAME, without ${ } and quotes: it is a variable with the parameter's type"
	}
	return "put the value into a setting of its own"
}

// code reads a setting that is code. It takes no reference.
func (p *preparer) code(n *document.Node, field *config.Field) any {
	if n.Kind != document.Text || !strings.Contains(n.Text, "${") {
		p.mention(n, field.Code)
		return n.Value
	}
	text, good := p.literal(n, printable(field.Name)+" is code ("+printable(field.Code)+")", bindHint(field.Code))
	if !good {
		return unknown{}
	}
	if field.Code == config.CodeCEL {
		p.mention(n, field.Code)
	}
	return text
}

// literal is the text of a scalar that is code. It reports every reference in it.
func (p *preparer) literal(n *document.Node, what, hint string) (string, bool) {
	good := true
	var b strings.Builder
	for _, r := range parseReferences(n.Text, func(start, end int, _ string) {
		good = false
		p.diags.Add(diag.At(n.Inside(start, end), CodeReferenceInCode, "%s: no reference can stand in it", what).
			WithHint("a literal ${ is written $${"))
	}) {
		b.WriteString(r.literal)
		if r.namespace != "" {
			good = false
			p.diags.Add(diag.At(n.Inside(r.start, r.end), CodeReferenceInCode, "%s: ${%s} cannot stand in it, because its value would become code", what, r).
				WithHint("%s", hint))
		}
	}
	return b.String(), good
}

// mentioned is a parameter that a stage's code names, and where.
type mentioned struct {
	name string
	at   diag.Position
	sure bool // it can be nothing else
}

var mentionPattern = regexp.MustCompile(`\bparams\.([a-z][a-z0-9_]*)`)

// mention notes the parameters that a piece of code names.
func (p *preparer) mention(n *document.Node, language string) {
	if language != config.CodeCEL {
		for _, m := range mentionPattern.FindAllStringSubmatch(n.Text, -1) {
			p.mentions = append(p.mentions, mentioned{name: m[1], at: n.At})
		}
		return
	}
	// What cannot be read, the stage says is wrong.
	for _, m := range formula.Mentions(n.Text) {
		if m.Space == "params" {
			p.mentions = append(p.mentions, mentioned{m.Name, of(n, m), true})
		}
	}
}

// fillIn gives a stage the parameters that its code names, where it has a setting for them.
func (p *planner) fillIn(of *preparedStage, tree map[string]any) {
	s, name := of.stage, of.given
	if name == "" {
		return
	}
	if written := s.With.Get(name); written != nil {
		p.diags.Add(diag.At(written.At, CodeFilledIn, "%s %s: %s is filled in with the parameters that the stage's code names", s.Kind, printable(s.Use.Text), name).
			WithHint("leave it out"))
		delete(tree, name)
	}
	values := config.Parameters{}
	doc := p.config.Document
	for _, m := range of.mentions {
		i := slices.IndexFunc(doc.Parameters, func(d document.Parameter) bool { return d.Name == m.name })
		if i < 0 {
			if m.sure {
				p.knownParameter(p.names, m.name, m.at)
				tree[name] = unknown{}
			}
			continue
		}
		d := &doc.Parameters[i]
		if d.Type == "" {
			continue // reported
		}
		value, known := p.params[m.name]
		values[m.name] = config.Parameter{Type: string(d.Type), Value: value, Unknown: p.lint || !known}
		if text, ok := value.(string); ok {
			p.count(s.Use, len(text))
		}
	}
	if _, wrong := tree[name].(unknown); len(values) > 0 && !wrong {
		tree[name] = values.Tree()
	}
}
