package plan

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// The codes of stages and settings that are wrong. The codes of package config
// appear as well.
const (
	CodeTemplate      = "plan.template"
	CodeUnknownStage  = "plan.unknown_stage"
	CodeUnknownPlugin = "plan.unknown_plugin"
	CodeAmbiguous     = "plan.ambiguous_stage"
	CodeLiteralSecret = "plan.literal_secret"
	CodeTooLarge      = "plan.settings_too_large"
)

// maxSettingsBytes bounds the text that references put into the settings of a
// whole pipeline: a long parameter can be referred to often.
const maxSettingsBytes = 4 << 20

// planner is one run of Build or Lint.
type planner struct {
	in       Input
	lint     bool
	diags    diag.List
	names    []string       // of the declared parameters
	params   map[string]any // their values; nil in Lint
	env      *cel.Env
	resolved int // bytes that references put into settings

	parser   *cel.Env               // of the stages' own expressions; nil until it is needed
	mentions []mentioned            // what the code of the stage at hand names
	kinds    map[string]secretPlace // of secrets, by their references, where first used
	uses     []SecretUse            // of the stage at hand
	refers   map[string]bool        // what settings have referred to
}

func newPlanner(in Input, lint bool) *planner {
	p := &planner{in: in, lint: lint, params: map[string]any{}, kinds: map[string]secretPlace{}, refers: map[string]bool{}}
	for _, d := range in.Document.Parameters {
		p.names = append(p.names, d.Name)
	}
	env, err := newEnv(in.Document.Parameters)
	if err != nil {
		// Names and types were checked when the document was read.
		panic("plan: expressions cannot be set up: " + err.Error())
	}
	p.env = env
	return p
}

func (p *planner) count(n *document.Node, bytes int) {
	before := p.resolved
	p.resolved += bytes
	if before <= maxSettingsBytes && p.resolved > maxSettingsBytes {
		p.diags.Add(diag.At(n.At, CodeTooLarge, "references make the settings larger than %v", config.Size(maxSettingsBytes)))
	}
}

// resolved is a stage with its manifest, nil when unknown, and its settings.
type resolved struct {
	stage    *document.Stage
	manifest *Manifest
	config   map[string]any
	secrets  []SecretUse
	// refused says that the settings are wrong, and that this was said.
	refused bool
}

// resolveStage finds what a stage uses, resolves its settings and checks them.
func (p *planner) resolveStage(s *document.Stage) (r resolved) {
	r.stage = s
	if s.Use == nil {
		return r // reported, or to be filled in by what extends the template
	}
	m, problem := p.find(s)
	if problem != nil {
		p.diags.Add(*problem)
		p.settings(s.With, nil, nil) // for its references
		return r
	}
	r.manifest = m
	before := len(p.diags)
	defer func() { r.refused = p.diags[before:].HasErrors() }()
	p.mentions, p.uses = nil, nil
	tree := p.settings(s.With, &config.Field{Type: config.TypeObject, Fields: m.Spec.Fields}, nil)
	r.config, _ = tree.(map[string]any)
	if r.config == nil {
		r.config = map[string]any{}
	}
	p.fillIn(s, m.Spec, r.config)
	r.secrets = p.uses
	shadow, _ := reveal(r.config).(map[string]any)
	for _, problem := range m.Spec.Check(shadow) {
		p.settingsProblem(s, r.config, problem)
	}
	return r
}

// settings resolves a value of a stage's settings at a path. Field is the setting that it
// is for, or nil when there is no such setting.
func (p *planner) settings(n *document.Node, field *config.Field, path []string) any {
	switch {
	case n == nil:
		return nil
	case n.Kind == document.Map:
		out := make(map[string]any, len(n.Entries))
		for _, e := range n.Entries {
			if strings.Contains(e.Key.Text, "${") {
				p.diags.Add(diag.At(e.Key.At, CodeReferenceSyntax, "a reference cannot stand in a key"))
			}
			out[e.Key.Text] = p.settings(e.Value, member(field, e.Key.Text), append(slices.Clone(path), e.Key.Text))
		}
		return out
	case n.Kind == document.List:
		out := make([]any, len(n.Items))
		for i, item := range n.Items {
			out[i] = p.settings(item, element(field, config.TypeList), append(slices.Clone(path), strconv.Itoa(i)))
		}
		return out
	}
	if field != nil && field.Code != "" {
		return p.code(n, field)
	}
	value, referred := p.scalar(n, field, path)
	if _, is := value.(unknown); is || field == nil {
		return unknown{}
	}
	if referred {
		value = coerce(value, field.Type)
	}
	if text, ok := value.(string); ok && field.Type == config.TypeSecret {
		if !referred && text != "" {
			p.diags.Add(diag.At(n.At, CodeLiteralSecret, "a secret is written out in the file").
				WithHint("use ${secret.NAME}, so that the file can be shared").AsWarning())
		}
		if text != "" {
			use := SecretUse{Secret: literalSecret, Kind: field.SecretKind(), Setting: Pointer(path)}
			if referred {
				use.Secret = n.Text
			}
			p.uses = append(p.uses, use)
		}
		return config.NewSecret(text)
	}
	return value
}

// member returns the field of a key of an object or a map.
func member(field *config.Field, key string) *config.Field {
	if field == nil || field.Type != config.TypeObject {
		return element(field, config.TypeMap)
	}
	for i := range field.Fields {
		if field.Fields[i].Name == key {
			return &field.Fields[i]
		}
	}
	return nil
}

// element returns the field of the elements of a list or map, under the name of
// the whole.
func element(field *config.Field, composite config.Type) *config.Field {
	if field == nil || field.Type != composite || field.Items == nil {
		return nil
	}
	f := *field.Items
	f.Name = field.Name
	return &f
}

var (
	wholePattern  = regexp.MustCompile(`^-?[0-9]{1,19}$`)
	numberPattern = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?$`)
)

// coerce converts a value that a reference gave to a setting's type, where the
// two have the same text. Anything else stays, for the check to refuse.
func coerce(value any, to config.Type) any {
	text, isText := value.(string)
	switch to {
	case config.TypeString, config.TypeSecret:
		switch value.(type) {
		case bool, int64, uint64, json.Number:
			return scalarText(value)
		}
	case config.TypeBoolean:
		if isText && (text == "true" || text == "false") {
			return text == "true"
		}
	case config.TypeInteger:
		if isText && wholePattern.MatchString(text) {
			if n, err := strconv.ParseInt(text, 10, 64); err == nil {
				return n
			}
		}
	case config.TypeNumber:
		if isText && numberPattern.MatchString(text) {
			return json.Number(text)
		}
	}
	return value
}

// settingsProblem reports a problem of the settings at its place in the file.
func (p *planner) settingsProblem(s *document.Stage, tree map[string]any, problem config.Problem) {
	if problem.Code == config.MissingKey && p.in.Document.Kind == document.KindTemplate {
		return // whatever extends the template may add it
	}
	value := valueAt(tree, problem.Path)
	_, isUnknown := value.(unknown)
	if isUnknown && problem.Code != config.UnknownKey || s.Broken && s.With == nil {
		return
	}
	at, node := s.Use.At, s.With
	if node != nil && len(problem.Path) > 0 {
		at = node.At
	}
	for _, step := range problem.Path {
		if node == nil {
			break
		}
		if node.Kind == document.List {
			if i, err := strconv.Atoi(step); err == nil && i < len(node.Items) {
				node = node.Items[i]
				at = node.At
			}
			continue
		}
		i := slices.IndexFunc(node.Entries, func(e document.Entry) bool { return e.Key.Text == step })
		if i < 0 {
			break
		}
		at, node = node.Entries[i].Value.At, node.Entries[i].Value
		if problem.Code == config.UnknownKey {
			at = keyAt(s.With, problem.Path)
		}
	}
	where := string(s.Kind) + " " + s.Use.Text
	shown := problem.Path
	if problem.Code == config.UnknownKey && len(shown) > 0 {
		shown = shown[:len(shown)-1] // the message names the key
	}
	if len(shown) > 0 {
		where += ", " + strings.Join(shown, ".")
	}
	d := diag.At(at, problem.Code, "%s: %s", printable(where), problem.Message)
	switch {
	case problem.Candidates != nil:
		d = d.WithSuggestion(problem.Found, problem.Candidates)
	case problem.Hint != "":
		d.Hint = problem.Hint
	case node != nil && node.Kind == document.Text && problem.Code == config.WrongType && strings.HasPrefix(node.Text, "${"):
		if d.Hint = "this is the value of " + printable(node.Text); value == nil {
			d.Hint = printable(node.Text) + " is null; make the parameter required, or give it a default"
		}
	}
	p.diags.Add(d)
}

// keyAt returns the place of the last key of a path.
func keyAt(n *document.Node, path []string) diag.Position {
	at := n.At
	for _, step := range path {
		if n.Kind == document.List {
			i, _ := strconv.Atoi(step)
			n = n.Items[i]
			continue
		}
		for _, e := range n.Entries {
			if e.Key.Text == step {
				at, n = e.Key.At, e.Value
				break
			}
		}
	}
	return at
}

// valueAt returns the value that a path leads to, or nil.
func valueAt(value any, path []string) any {
	for _, step := range path {
		switch v := value.(type) {
		case map[string]any:
			value = v[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return value
		}
	}
	return value
}
