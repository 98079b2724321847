package document

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// The limits of a document. They bound the work of planning, not honest use.
const (
	maxParameters = 256
	maxRules      = 256
	maxStages     = 64
	maxColumns    = 4096
	maxNameLength = 64
)

var (
	namePattern      = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	stageNamePattern = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	codePattern      = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)
)

// draft is one file's content, its structure and types checked, before what it
// extends is merged in. A nil node was not given or was not usable.
type draft struct {
	file       string
	kind       string
	metadata   Metadata
	extends    *Node
	parameters []parameterDraft
	rules      []Rule
	stages     []kindDraft // in the file's order
	stagesAt   diag.Position
	columns    []Column // nil when not given
	drift      Drift    // empty when not given
	state      *State   // nil when not given
	limits     map[string]*Node
}

type parameterDraft struct {
	name, typ, required, def, allowed, description *Node
}

// kindDraft is what a document says about one kind of stage.
type kindDraft struct {
	key    string // kind, or kind.label
	kind   stage.Kind
	list   bool // written as a list
	stages []Stage
}

type reader struct{ diags *diag.List }

func (r *reader) wrong(n *Node, expected string) {
	found := string(n.Kind)
	if n.IsScalar() && n.Kind != Null {
		found += " (" + short(n.Text) + ")"
	}
	d := diag.At(n.At, CodeWrongType, "expected %s, not %s", expected, found).WithHint("%s", wrongHint(n, expected))
	if expected == string(Text) && (n.Kind == Number || n.Kind == Boolean) && n.lead == 0 {
		d.Fix = strconv.Quote(n.Text)
	}
	r.diags.Add(d)
}

// field is a key that a mapping may have.
type field struct {
	name     string
	required bool
	read     func(*Node)
}

// object reads a mapping whose keys are known. Keys are read in the order of
// fields, whatever the file's.
func (r *reader) object(n *Node, what string, at diag.Position, fields ...field) bool {
	if n.Kind != Map {
		r.wrong(n, what)
		return false
	}
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
		if v := n.Get(f.name); v != nil {
			f.read(v)
		} else if f.required {
			r.diags.Add(diag.At(at, CodeMissingKey, "%s needs the key %q", what, f.name).WithHint("%s", missingHints[f.name]).WithMissingKey(f.name))
		}
	}
	for _, e := range n.Entries {
		if !slices.Contains(names, e.Key.Text) {
			d := diag.At(e.Key.At, CodeUnknownKey, "unknown key %q in %s", short(e.Key.Text), what).WithSuggestion(e.Key.Text, names)
			switch hint := misplaced(e.Key.Text, what, depths[what]); {
			case e.Value.Kind == Null && restOfType().MatchString(e.Key.Text):
				continue // told of the type that it is the rest of
			case restOfText(e):
				d = d.WithHint("is this the rest of a text? Inside { }, text with a comma in it must stand in quotes").WithoutFix()
			case hint != "":
				d = d.WithHint("%s", hint).WithoutFix()
			}
			r.diags.Add(d)
		}
	}
	return true
}

// list reads the elements of a list of at most limit elements.
func (r *reader) list(n *Node, what string, limit int, read func(*Node)) bool {
	if n.Kind != List {
		r.wrong(n, "a list of "+what)
		return false
	}
	for i, item := range n.Items {
		if i == limit {
			r.diags.Add(diag.At(item.At, CodeTooMany, "expected at most %d %s, not %d", limit, what, len(n.Items)))
			break
		}
		read(item)
	}
	return true
}

// text reads text into a string, and optionally into a node.
func (r *reader) text(into *string, node **Node) func(*Node) {
	return func(n *Node) {
		if n.Kind != Text {
			r.wrong(n, string(Text))
			return
		}
		if into != nil {
			*into = n.Text
		}
		if node != nil {
			*node = n
		}
	}
}

// choice reads one of a few words.
func (r *reader) choice(into *string, words ...string) func(*Node) {
	return func(n *Node) {
		if n.Kind != Text {
			r.wrong(n, "one of "+strings.Join(words, ", "))
		} else if !slices.Contains(words, n.Text) {
			r.diags.Add(diag.At(n.At, CodeNotAllowed, "%q is not one of %s", short(n.Text), strings.Join(words, ", ")).
				WithSuggestion(n.Text, words))
		} else {
			*into = n.Text
		}
	}
}

// name reads a name that follows a pattern.
func (r *reader) name(pattern *regexp.Regexp, rule string, into *string, node **Node) func(*Node) {
	return func(n *Node) {
		if n.Kind != Text {
			r.wrong(n, string(Text))
			return
		}
		if !pattern.MatchString(n.Text) || len(n.Text) > maxNameLength {
			r.diags.Add(diag.At(n.At, CodeBadName, "%q is not a name: expected %s, at most %d of them", short(n.Text), rule, maxNameLength))
			return
		}
		r.text(into, node)(n)
	}
}

const (
	nameRule      = "lower-case letters, digits and underscores, a letter first"
	stageNameRule = "lower-case letters, digits and dashes, a letter first"
	codeRule      = "upper-case letters, digits and underscores, a letter first"
)

// read checks a file's structure. The draft is usable even when there were errors.
func read(file string, root *Node, diags *diag.List) *draft {
	r := &reader{diags}
	d := &draft{file: file}
	if kind := root.Get("kind"); kind != nil && kind.Text == KindTest {
		diags.Add(diag.At(kind.At, CodeNotAllowed, "this is a test of a pipeline, and no pipeline itself").
			WithHint("cipherstream test runs it"))
		return d
	}
	if kind := root.Get("kind"); kind != nil && kind.Text == KindService {
		diags.Add(diag.At(kind.At, CodeNotAllowed, "this is the configuration of a service, and no pipeline").
			WithHint("cipherstream config check says what is wrong with it"))
		return d
	}
	if kind := root.Get("kind"); kind != nil && kind.Text == KindSchedule {
		diags.Add(diag.At(kind.At, CodeNotAllowed, "this is a schedule of jobs, and no pipeline").
			WithHint("name it under schedules of a service's configuration; cipherstream config check says what is wrong with it"))
		return d
	}
	r.object(root, "a pipeline", root.At,
		field{"apiVersion", true, r.version},
		field{"kind", true, r.choice(&d.kind, KindPipeline, KindTemplate)},
		field{"metadata", true, func(n *Node) {
			d.metadata.At = n.At
			r.object(n, "metadata", n.At,
				field{"name", true, r.name(namePattern, nameRule, &d.metadata.Name, nil)},
				field{"title", false, r.text(&d.metadata.Title, nil)},
				field{"category", false, r.text(&d.metadata.Category, nil)},
				field{"class", false, r.choice(&d.metadata.Class, "reference", "data", "special")},
				field{"description", false, r.text(&d.metadata.Description, nil)})
		}},
		field{"spec", true, func(n *Node) { r.spec(n, d) }})
	return d
}

// version reads the version of the syntax.
func (r *reader) version(n *Node) {
	if n.Text != APIVersion {
		r.diags.Add(diag.At(n.At, CodeVersion, "expected apiVersion %s, not %s", APIVersion, short(n.Text)).
			WithSuggestion(n.Text, []string{APIVersion}))
	}
}

func (r *reader) spec(n *Node, d *draft) {
	d.stagesAt = n.At
	r.object(n, "spec", n.At,
		field{"extends", false, r.text(nil, &d.extends)},
		field{"parameters", false, func(n *Node) {
			seen := map[string]*Node{}
			r.list(n, "parameters", maxParameters, func(n *Node) {
				if p := r.parameter(n); p.name != nil && r.unique(seen, p.name, "parameter") {
					d.parameters = append(d.parameters, p)
				}
			})
		}},
		field{"rules", false, func(n *Node) {
			r.list(n, "rules", maxRules, func(n *Node) {
				rule := Rule{Code: ruleCode}
				r.object(n, "a rule", n.At,
					field{"check", true, r.expression(&rule.Check)},
					field{"message", true, r.text(&rule.Message, nil)},
					field{"code", false, r.name(codePattern, codeRule, &rule.Code, nil)},
					field{"parameter", false, func(n *Node) {
						rule.parameterAt = n.At
						r.text(&rule.Parameter, nil)(n)
					}})
				if rule.Check != nil {
					d.rules = append(d.rules, rule)
				}
			})
		}},
		field{"stages", false, func(n *Node) { r.stages(n, d) }},
		field{"columns", false, func(n *Node) {
			seen := map[string]*Node{}
			d.columns = []Column{}
			r.list(n, "columns", maxColumns, func(n *Node) { r.column(n, &d.columns, seen) })
		}},
		field{"drift", false, r.choice((*string)(&d.drift), string(DriftFail), string(DriftWarn), string(DriftIgnore))},
		field{"state", false, func(n *Node) { d.state = r.state(n) }},
		field{"limits", false, func(n *Node) { r.limits(n, d) }})
}

func (r *reader) unique(seen map[string]*Node, name *Node, what string) bool {
	if first := seen[name.Text]; first != nil {
		r.diags.Add(diag.At(name.At, CodeDuplicateName, "%s %q is declared twice", what, name.Text).
			WithRelated(first.At, "the first one is here"))
		return false
	}
	seen[name.Text] = name
	return true
}

func (r *reader) parameter(n *Node) parameterDraft {
	var p parameterDraft
	var typ string
	keep := func(into **Node) func(*Node) {
		return func(n *Node) {
			if !n.IsScalar() {
				r.wrong(n, "a single value")
				return
			}
			*into = n
		}
	}
	r.object(n, "a parameter", n.At,
		field{"name", true, r.name(namePattern, nameRule, nil, &p.name)},
		field{"type", false, func(n *Node) {
			before := len(*r.diags)
			if r.choice(&typ, Types...)(n); typ == "" {
				if n.Kind == Text && len(*r.diags) > before {
					last := &(*r.diags)[before]
					*last = withParameterType(*last, n.Text)
				}
				n = &Node{Kind: Null, At: n.At} // reported; the parameter is kept without a type
			}
			p.typ = n
		}},
		field{"required", false, func(n *Node) {
			if n.Kind != Boolean {
				r.wrong(n, "true or false")
				return
			}
			p.required = n
		}},
		field{"default", false, keep(&p.def)},
		field{"allowed", false, func(n *Node) {
			if r.list(n, "allowed values", maxColumns, func(n *Node) { keep(new(*Node))(n) }) {
				p.allowed = n
			}
		}},
		field{"description", false, r.text(nil, &p.description)})
	return p
}

// ruleCode is the code of a rule that names none.
const ruleCode = "RULE_FAILED"

// expression reads the text of an expression; a plain true or false is one too.
func (r *reader) expression(into **Node) func(*Node) {
	return func(n *Node) {
		if n.Kind != Text && n.Kind != Boolean {
			r.wrong(n, "an expression")
			return
		}
		*into = n
	}
}

func (r *reader) stages(n *Node, d *draft) {
	d.stagesAt = n.At
	var fields []field
	add := func(key string, kind stage.Kind) {
		fields = append(fields, field{key, false, func(n *Node) {
			k := kindDraft{key: key, kind: kind}
			if n.Kind == List {
				k.list = true
				r.list(n, "stages", maxStages, func(n *Node) { r.stage(n, &k) })
			} else {
				r.stage(n, &k)
			}
			d.stages = append(d.stages, k)
		}})
	}
	for _, kind := range stage.Kinds {
		add(string(kind), kind)
	}
	for _, e := range n.Entries {
		kind, label, labelled := strings.Cut(e.Key.Text, ".")
		if labelled && stageNamePattern.MatchString(label) && slices.Contains(stage.Kinds, stage.Kind(kind)) {
			add(e.Key.Text, stage.Kind(kind))
		}
	}
	if !r.object(n, "stages", n.At, fields...) {
		return
	}
	// The author's order of the keys is the order of the stages.
	place := map[string]int{}
	for i, e := range n.Entries {
		place[e.Key.Text] = i
	}
	slices.SortFunc(d.stages, func(a, b kindDraft) int { return place[a.key] - place[b.key] })
}

func (r *reader) stage(n *Node, k *kindDraft) {
	s := Stage{Kind: k.kind, At: n.At}
	before := len(*r.diags)
	if r.object(n, "a stage", n.At,
		field{"use", false, r.text(nil, &s.Use)},
		field{"with", false, func(n *Node) {
			if n.Kind != Map {
				r.wrong(n, "a mapping of settings")
				return
			}
			s.With = n
		}},
		field{"when", false, r.expression(&s.When)},
		field{"isolation", false, r.choice((*string)(&s.Isolation), string(IsolationGroup), string(IsolationProcess))},
		field{"name", false, r.name(stageNamePattern, stageNameRule, nil, &s.Name)}) {
		s.Invalid = len(*r.diags) > before
		k.stages = append(k.stages, s)
	}
}

// flag reads true or false.
func (r *reader) flag(into *bool) func(*Node) {
	return func(n *Node) {
		if n.Kind != Boolean {
			r.wrong(n, "true or false")
			return
		}
		*into = n.Value == true
	}
}

func (r *reader) column(n *Node, into *[]Column, seen map[string]*Node) {
	c := Column{Nullable: true, At: n.At}
	if n.Kind == Map && len(n.Entries) == 1 && n.Entries[0].Value.Kind == Text && n.Get("name") == nil {
		if e := n.Entries[0]; isColumnType(e.Value.Text) {
			r.diags.Add(diag.At(e.Key.At, CodeUnknownKey, "unknown key %q in a column", short(e.Key.Text)).
				WithHint("write {name: %s, type: %s}", short(e.Key.Text), e.Value.Text))
			return
		}
	}
	var name *Node
	var typed bool
	r.object(n, "a column", n.At,
		field{"name", true, r.text(&c.Name, &name)},
		field{"type", true, func(n *Node) {
			if n.Kind != Text {
				r.wrong(n, string(Text))
				return
			}
			var err error
			if c.Type, err = ParseColumnType(n.Text); err != nil {
				r.diags.Add(withColumnType(diag.At(n.At, CodeNotAllowed, "%v", err), n.Text))
				return
			}
			typed = true
		}},
		field{"nullable", false, r.flag(&c.Nullable)},
		field{"personal", false, r.flag(&c.Personal)},
		field{"description", false, r.text(&c.Description, nil)})
	if name == nil || !typed {
		return
	}
	if name.Text == "" || len(name.Text) > 4*maxNameLength {
		r.diags.Add(diag.At(name.At, CodeBadName, "a column's name has 1 to %d bytes, not %d", 4*maxNameLength, len(name.Text)))
	} else if r.unique(seen, name, "column") {
		*into = append(*into, c)
	}
}

// The bounds of limits.
const (
	minMemory     = 16 << 20
	maxMemory     = 1 << 40
	minBatchBytes = 4 << 10
	maxBatchBytes = 1 << 30
	maxBatchRows  = 1 << 20
	maxTimeout    = 7 * 24 * time.Hour
)

func (r *reader) limits(n *Node, d *draft) {
	d.limits = map[string]*Node{}
	keep := func(name string) field {
		return field{name, false, func(n *Node) {
			if _, err := parseLimit(name, n); err != nil {
				r.diags.Add(diag.At(n.At, CodeOutOfRange, "%v", err))
				return
			}
			d.limits[name] = n
		}}
	}
	r.object(n, "limits", n.At, keep("memory"), keep("timeout"), keep("stall"), keep("batch_rows"), keep("batch_bytes"))
}

// parseLimit reads one of the limits: bytes, nanoseconds or rows.
func parseLimit(name string, n *Node) (int64, error) {
	bytes := func(lo, hi int64) (int64, error) {
		size, err := config.ParseSize(n.Text)
		if err != nil || int64(size) < lo || int64(size) > hi || !n.IsScalar() {
			return 0, fmt.Errorf("%s is a size from %v to %v, such as %v", name, config.Size(lo), config.Size(hi), config.Size(lo*8))
		}
		return int64(size), nil
	}
	switch name {
	case "memory":
		return bytes(minMemory, maxMemory)
	case "batch_bytes":
		return bytes(minBatchBytes, maxBatchBytes)
	case "timeout", "stall":
		t, err := time.ParseDuration(n.Text)
		if err != nil || t <= 0 || t > maxTimeout {
			return 0, fmt.Errorf(`%s is a duration of more than nothing and at most %v, such as "90s" or "1h30m"`, name, maxTimeout)
		}
		return int64(t), nil
	}
	rows, ok := n.Value.(int64)
	if !ok || rows < 1 || rows > min(maxBatchRows, math.MaxInt32) {
		return 0, fmt.Errorf("batch_rows is a whole number from 1 to %d", maxBatchRows)
	}
	return rows, nil
}
