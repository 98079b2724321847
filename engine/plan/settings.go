package plan

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

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

// planner is one run of Bind or Lint.
type planner struct {
	*Prepared
	reporter
	in       Inputs
	lint     bool
	run      map[string]any // what ${run.…} stands for
	customer map[string]any // what ${customer.…} stands for
	state    map[string]any // what ${state.…} stands for; nil where the pipeline keeps none
	params   map[string]any // values of the parameters; nil in Lint
	resolved int            // bytes that references put into settings

	kinds  map[string]secretPlace // of secrets, by their references, where first used
	uses   []SecretUse            // of the stage at hand
	refers map[string]bool        // what settings have referred to
}

func newPlanner(prepared *Prepared, in Inputs, lint bool) *planner {
	p := &planner{Prepared: prepared, in: in, lint: lint, run: in.runValues(), customer: in.customerValues(),
		params: map[string]any{}, kinds: map[string]secretPlace{}, refers: map[string]bool{}}
	p.state = p.stateValues()
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
	// prepared is nil for a stage that takes the place of another.
	prepared *preparedStage
}

// resolveStage gives a stage its settings and checks what was not known of them before.
func (p *planner) resolveStage(s *preparedStage) (r resolved) {
	r = resolved{stage: s.stage, manifest: s.manifest, prepared: s}
	before := len(p.diags)
	p.diags = append(p.diags, s.diags...)
	defer func() { r.refused = p.diags[before:].HasErrors() }()
	p.uses = nil
	tree := p.bind(s.settings)
	if s.manifest == nil {
		return r
	}
	r.config, _ = tree.(map[string]any)
	if r.config == nil {
		r.config = map[string]any{}
	}
	p.fillIn(s, r.config)
	p.fillCursor(s, r.config)
	r.secrets = p.uses
	if len(s.bound.Fields) == 0 {
		return r
	}
	shadow := make(map[string]any, len(s.bound.Fields))
	for _, f := range s.bound.Fields {
		if value, ok := r.config[f.Name]; ok {
			shadow[f.Name] = reveal(value)
		}
	}
	for _, problem := range s.bound.Check(shadow) {
		p.settingsProblem(p.config.Document, s.stage, r.config, problem)
	}
	return r
}

// bind gives a setting the value that it has in this run.
func (p *planner) bind(s *setting) any {
	switch {
	case s == nil:
		return nil
	case s.fixed:
		return clone(s.value)
	case s.secret:
		text := s.parts[0].literal
		if text != "" {
			p.uses = append(p.uses, SecretUse{Secret: literalSecret, Kind: s.field.SecretKind(), Setting: Pointer(s.path)})
		}
		return config.NewSecret(text)
	case s.node.Kind == document.Map:
		out := make(map[string]any, len(s.keys))
		for i, key := range s.keys {
			out[key] = p.bind(s.members[i])
		}
		return out
	case s.node.Kind == document.List:
		out := make([]any, len(s.members))
		for i, member := range s.members {
			out[i] = p.bind(member)
		}
		return out
	}
	before := len(p.diags)
	value := p.text(s)
	p.at(before, s.pointer)
	if _, is := value.(unknown); is || s.field == nil {
		return unknown{}
	}
	value = coerce(value, s.field.Type)
	if text, ok := value.(string); ok && s.field.Type == config.TypeSecret {
		if text != "" {
			p.uses = append(p.uses, SecretUse{Secret: s.node.Text, Kind: s.field.SecretKind(), Setting: Pointer(s.path)})
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
func (r *reporter) settingsProblem(doc *document.Document, s *document.Stage, tree map[string]any,
	problem config.Problem) {
	if problem.Code == config.MissingKey && doc.Kind == document.KindTemplate {
		return // whatever extends the template may add it
	}
	value := valueAt(tree, problem.Path)
	_, isUnknown := value.(unknown)
	if isUnknown && problem.Code != config.UnknownKey || s.Invalid && s.With == nil {
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
	d.MissingKey = problem.Missing
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
	if d.Hint == "" {
		d.Hint = fmt.Sprintf("%q says which settings there are", "cipherstream plugin info "+printable(s.Use.Text))
	}
	d.Pointer = s.Pointer + "/with" + Pointer(problem.Path)
	r.diags.Add(d)
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
