package plan

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Config is what a prepared pipeline depends on: all but one run's inputs.
type Config struct {
	Document *document.Document
	Catalog  Catalog
	// Others tells what a plugin offers that is not in the Catalog, or, when there is none of that name, what all of
	// them do, and which of them do not work. It may take its time and is asked only for a stage that is not in the
	// Catalog. Nil is none.
	Others func(plugin string) (Catalog, []Broken)
	// CheckFilter asks a filter that Manifest.Make cannot make what is wrong with its settings, and what it must be
	// given so that it gives some columns; nil when it does not know. It is nil where nobody can be asked: such filters
	// are then looked at in the run only.
	CheckFilter func(s *Stage, gives *arrow.Schema) (takes *arrow.Schema, found []stage.Finding)
}

// Prepared is a pipeline of which everything is done that depends on no run: its expressions are compiled, its
// references parsed, its stages found, and what stands in their settings without a reference is checked. It does
// not change: any number of goroutines may bind it at once.
type Prepared struct {
	config   Config
	names    []string // of the declared parameters
	rules    []*expression
	whens    []*expression // of the stages; nil where there is none
	stages   []*preparedStage
	contract *arrow.Schema // of the columns; anyColumns where they are not enforced
	columns  []any         // the columns as the settings of the contract
}

// preparedStage is a stage of a document, switched on or not.
type preparedStage struct {
	stage *document.Stage
	// manifest is nil when it is unknown what the stage uses.
	manifest *Manifest
	settings *setting
	// diags is what is wrong with the stage whatever the inputs are. It is told when the stage is on.
	diags diag.List
	// mentions are the parameters that the stage's code names, and given the setting for them, or empty.
	mentions []mentioned
	given    string
	// cursor is the setting for the cursor of a pipeline that keeps state, or empty, and code the first setting that is code.
	cursor string
	code   *document.Node
	// bound describes the settings that depend on inputs, which are checked when they are known.
	bound *config.Spec
	// toOutput says that the settings refer to ${run.output}.
	toOutput bool

	mu      sync.Mutex
	answers map[*arrow.Schema]*arrow.Schema // of a filter that depends on no input: what it takes to give the key
}

// setting is a value of a stage's settings.
type setting struct {
	node *document.Node
	// field is the setting that it is for, or nil when there is no such setting.
	field *config.Field
	// path leads to it in the settings, and pointer in the document.
	path    []string
	pointer string
	// fixed says that nothing in it depends on inputs: it is value.
	fixed bool
	value any
	// secret is a secret that is written out.
	secret bool
	// parts are those of a text with references, and wrong says that it has some that cannot be read.
	parts []part
	wrong bool
	// keys and members are those of a mapping, and members alone those of a list.
	keys    []string
	members []*setting
}

// Prepare readies a document. It is nil when the diagnostics have errors: the expressions are wrong, or the document
// is a template. What is wrong with a stage is told by Bind, when the stage is on; Lint tells all of it. The
// document is not broken, and is not changed afterwards.
func Prepare(c Config) (*Prepared, diag.List) {
	if doc := c.Document; doc.Kind != document.KindPipeline {
		return nil, diag.List{diag.At(diag.Position{File: doc.File}, CodeTemplate, "%q is a template; only a pipeline can be run", doc.Metadata.Name)}
	}
	prepared, diags := prepare(c)
	if diags.HasErrors() {
		return nil, diags.Normalise()
	}
	return prepared, diags.Normalise()
}

// prepare is Prepare of any document. The diagnostics are about its expressions.
func prepare(c Config) (*Prepared, diag.List) {
	doc := c.Document
	p := &preparer{Prepared: &Prepared{config: c, contract: anyColumns}}
	for _, d := range doc.Parameters {
		p.names = append(p.names, d.Name)
	}
	p.types = parameterTypes(doc.Parameters)
	p.compileAll()
	diags := p.diags
	for i := range doc.Stages {
		p.stages = append(p.stages, p.stage(&doc.Stages[i]))
	}
	// A pipeline that is a template may be given columns, or other stages, by what extends it.
	if doc.Drift == document.DriftFail && len(doc.Columns) > 0 && doc.Kind == document.KindPipeline {
		p.contract = contractSchema(doc.Columns)
	}
	p.columns = contractColumns(doc.Columns)
	return p.Prepared, diags
}

// Document is the pipeline as it was read. It must not be changed.
func (p *Prepared) Document() *document.Document { return p.config.Document }

// preparer is one run of prepare.
type preparer struct {
	*Prepared
	reporter
	types    config.Parameters // of the declared parameters, without values
	mentions []mentioned       // what the code of the stage at hand names
}

// reporter collects diagnostics.
type reporter struct{ diags diag.List }

// at says of the diagnostics since before where in the document they are.
func (r *reporter) at(before int, pointer string) {
	for i := before; i < len(r.diags); i++ {
		if r.diags[i].Pointer == "" {
			r.diags[i].Pointer = pointer
		}
	}
}

// stage finds what a stage uses, and prepares its settings.
func (p *preparer) stage(s *document.Stage) *preparedStage {
	out := &preparedStage{stage: s, toOutput: mentions(s.With, outputReference)}
	if s.Use == nil {
		return out // reported, or to be filled in by what extends the template
	}
	p.diags, p.mentions = nil, nil
	pointer := s.Pointer + "/with"
	m, problem := p.config.find(s)
	if problem != nil {
		p.diags.Add(*problem)
		p.at(0, s.Pointer+"/use")
		out.settings = p.setting(s.With, nil, nil, pointer) // for its references
		out.diags = p.diags
		return out
	}
	out.manifest = m
	out.settings = p.setting(s.With, &config.Field{Type: config.TypeObject, Fields: m.Spec.Fields}, nil, pointer)
	out.mentions = p.mentions
	if i := slices.IndexFunc(m.Spec.Fields, func(f config.Field) bool { return f.Type == config.TypeParameters }); i >= 0 {
		out.given = m.Spec.Fields[i].Name
	}
	if i := slices.IndexFunc(m.Spec.Fields, func(f config.Field) bool { return f.Type == config.TypeCursor }); i >= 0 {
		out.cursor = m.Spec.Fields[i].Name
	}
	out.bound = &config.Spec{}
	for _, f := range m.Spec.Fields {
		if f.Code != "" && out.code == nil {
			out.code = s.With.Get(f.Name)
		}
		if member := out.settings.member(f.Name); member != nil && !member.fixed || f.Name == out.given && len(out.mentions) > 0 {
			out.bound.Fields = append(out.bound.Fields, f)
		}
	}
	tree, _ := out.settings.outline().(map[string]any)
	delete(tree, out.given)
	delete(tree, out.cursor)
	shadow, _ := reveal(tree).(map[string]any)
	for _, problem := range m.Spec.Check(shadow) {
		p.settingsProblem(p.config.Document, s, tree, problem)
	}
	out.diags = p.diags
	return out
}

// setting prepares a value of a stage's settings at a path.
func (p *preparer) setting(n *document.Node, field *config.Field, path []string, pointer string) *setting {
	if n == nil {
		return nil
	}
	s := &setting{node: n, field: field, path: path, pointer: pointer, fixed: true}
	add := func(member *setting) any {
		s.members = append(s.members, member)
		s.fixed = s.fixed && member.fixed
		return member.value
	}
	switch n.Kind {
	case document.Map:
		value := make(map[string]any, len(n.Entries))
		for _, e := range n.Entries {
			if strings.Contains(e.Key.Text, "${") {
				p.diags.Add(diag.At(e.Key.At, CodeReferenceSyntax, "a reference cannot stand in a key"))
			}
			key := e.Key.Text
			s.keys = append(s.keys, key)
			value[key] = add(p.setting(e.Value, member(field, key), append(slices.Clone(path), key), pointer+Pointer([]string{key})))
		}
		s.value = value
	case document.List:
		value := make([]any, len(n.Items))
		for i, item := range n.Items {
			step := strconv.Itoa(i)
			value[i] = add(p.setting(item, element(field, config.TypeList), append(slices.Clone(path), step), pointer+"/"+step))
		}
		s.value = value
	default:
		before := len(p.diags)
		p.scalar(s)
		p.at(before, pointer)
	}
	if !s.fixed {
		s.value = nil
	}
	return s
}

// scalar prepares a value that is neither a mapping nor a list.
func (p *preparer) scalar(s *setting) {
	n, field := s.node, s.field
	if field != nil && field.Code != "" {
		s.value = p.code(n, field)
		return
	}
	s.value = n.Value
	if n.Kind == document.Text && strings.Contains(n.Text, "${") {
		s.parts = parseReferences(n.Text, func(start, end int, message string) {
			s.wrong = true
			d := diag.At(n.Inside(start, end), CodeReferenceSyntax, "%s", message).
				WithHint("a reference is written ${params.NAME}; a literal ${ is written $${")
			if name := strings.Trim(string([]rune(n.Text)[start:end]), "${} "); slices.Contains(p.names, name) {
				d = d.WithHint("did you mean ${params.%s}?", name)
				d.Fix = "${params." + name + "}"
			}
			p.diags.Add(d)
		})
		if slices.ContainsFunc(s.parts, func(r part) bool { return r.namespace != "" }) {
			s.fixed = false
			return
		}
		var literal strings.Builder
		for _, r := range s.parts {
			literal.WriteString(r.literal)
		}
		s.value, s.parts = literal.String(), nil
	}
	if s.wrong || field == nil {
		s.value = unknown{}
		return
	}
	if n.Kind == document.Text && field.Type != config.TypeSecret {
		p.lookalike(n)
	}
	if text, ok := s.value.(string); ok && field.Type == config.TypeSecret {
		if text != "" {
			p.diags.Add(diag.At(n.At, CodeLiteralSecret, "a secret is written out in the file").
				WithHint("use ${secret.NAME}, so that the file can be shared").AsWarning())
		}
		s.value, s.secret, s.fixed = nil, true, false
		s.parts = []part{{literal: text}}
	}
}

var (
	// lookalikePattern is a reference as templates of other kinds write it.
	lookalikePattern = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(?:\$\(|\{\{\s*|\$|%)(params|secret|env|customer|run)\.([A-Za-z_][\w-]*)\s*(?:\)|\}\}|%)?$`)
	})
	// variablePattern is a variable as a shell writes it.
	variablePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\$([A-Z_][A-Z0-9_]*)$`) })
)

// lookalike warns of a text that is delivered as it stands, and was probably meant as a reference.
func (p *preparer) lookalike(n *document.Node) {
	meant := ""
	if m := lookalikePattern().FindStringSubmatch(n.Text); m != nil {
		meant = m[1] + "." + m[2]
	} else if m := variablePattern().FindStringSubmatch(n.Text); m != nil {
		meant = "env." + m[1]
	} else {
		return
	}
	p.diags.Add(diag.At(n.At, CodeReferenceLookalike, "this is the text %s, and no reference", printable(n.Text)).
		WithHint("did you mean ${%s}?", meant).AsWarning())
}

// member is what stands under a key of a mapping, or nil.
func (s *setting) member(key string) *setting {
	if s == nil {
		return nil
	}
	if i := slices.Index(s.keys, key); i >= 0 {
		return s.members[i]
	}
	return nil
}

// outline is the value with unknown in the places of what depends on inputs.
func (s *setting) outline() any {
	switch {
	case s == nil:
		return nil
	case s.fixed:
		return clone(s.value)
	case s.secret:
		return config.NewSecret(s.parts[0].literal)
	case s.node.Kind == document.Map:
		out := make(map[string]any, len(s.keys))
		for i, key := range s.keys {
			out[key] = s.members[i].outline()
		}
		return out
	case s.node.Kind == document.List:
		out := make([]any, len(s.members))
		for i, member := range s.members {
			out[i] = member.outline()
		}
		return out
	case s.field != nil && s.field.Type == config.TypeSecret:
		return config.NewSecret(unknownSecret)
	}
	return unknown{}
}

// clone copies a tree of settings, so that whoever gets it may change it.
func clone(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := maps.Clone(v)
		for key, e := range out {
			switch e.(type) {
			case map[string]any, []any:
				out[key] = clone(e)
			}
		}
		return out
	case []any:
		out := slices.Clone(v)
		for i, e := range out {
			out[i] = clone(e)
		}
		return out
	}
	return value
}
