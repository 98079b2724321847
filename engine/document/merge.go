package document

import (
	"slices"
	"strconv"
	"time"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// merge lays a child over what it extends; see the package comment for what
// that means. Neither draft is changed.
func merge(parent, child *draft) *draft {
	out := *child
	out.parameters = mergeParameters(parent.parameters, child.parameters)
	out.rules = slices.Concat(parent.rules, child.rules)
	out.stages = mergeStages(parent.stages, child.stages)
	if len(child.stages) == 0 {
		out.stagesAt = parent.stagesAt
	}
	if child.columns == nil {
		out.columns = parent.columns
	}
	if child.drift == "" {
		out.drift = parent.drift
	}
	if child.state == nil {
		out.state = parent.state
	}
	out.limits = map[string]*Node{}
	for _, limits := range []map[string]*Node{parent.limits, child.limits} {
		for name, n := range limits {
			out.limits[name] = n
		}
	}
	return &out
}

// either returns the child's value if there is one.
func either(parent, child *Node) *Node {
	if child != nil {
		return child
	}
	return parent
}

func mergeParameters(parent, child []parameterDraft) []parameterDraft {
	out := slices.Clone(parent)
	var added []parameterDraft
	for _, c := range child {
		i := slices.IndexFunc(out, func(p parameterDraft) bool { return p.name.Text == c.name.Text })
		if i < 0 {
			added = append(added, c)
			continue
		}
		p := out[i]
		merged := parameterDraft{
			name: c.name, typ: either(p.typ, c.typ), required: either(p.required, c.required), def: either(p.def, c.def),
			allowed: either(p.allowed, c.allowed), description: either(p.description, c.description),
		}
		if c.required != nil && c.required.Value == true && c.def == nil {
			// A parameter that is now required has no use for the inherited default.
			merged.def = nil
		}
		out[i] = merged
	}
	// What a pipeline is about comes before what all of them share.
	return append(added, out...)
}

func mergeStages(parent, child []kindDraft) []kindDraft {
	find := func(list []kindDraft, key string) int {
		return slices.IndexFunc(list, func(k kindDraft) bool { return k.key == key })
	}
	var both []kindDraft // keys that both give, merged, in the child's order
	for _, c := range child {
		if i := find(parent, c.key); i >= 0 {
			both = append(both, mergeKind(parent[i], c))
		}
	}
	var out []kindDraft
	for _, p := range parent {
		if find(child, p.key) >= 0 {
			p, both = both[0], both[1:]
		}
		out = append(out, p)
	}
	for i, c := range child {
		if find(out, c.key) >= 0 {
			continue
		}
		lo, hi := 0, len(out)
		for _, before := range child[:i] {
			lo = max(lo, find(out, before.key)+1)
		}
		for _, after := range child[i+1:] {
			if at := find(out, after.key); at >= 0 {
				hi = min(hi, at)
			}
		}
		at := lo
		for at < hi && usual(out[at].kind) < usual(c.kind) {
			at++
		}
		out = slices.Insert(out, at, c)
	}
	return out
}

// usual is a kind's place in the usual order of a pipeline.
func usual(kind stage.Kind) int { return slices.Index(stage.Kinds, kind) }

func mergeKind(parent, child kindDraft) kindDraft {
	if parent.list || child.list || len(parent.stages) == 0 || len(child.stages) == 0 {
		return child
	}
	p, c := parent.stages[0], child.stages[0]
	merged := Stage{Kind: c.Kind, At: c.At, Use: either(p.Use, c.Use), When: either(p.When, c.When), Name: either(p.Name, c.Name),
		Isolation: p.Isolation, With: mergeNodes(p.With, c.With), Invalid: p.Invalid || c.Invalid}
	if c.Isolation != "" {
		merged.Isolation = c.Isolation
	}
	if c.Use != nil && p.Use != nil && c.Use.Text != p.Use.Text {
		merged.With = c.With
	}
	return kindDraft{key: child.key, kind: child.kind, stages: []Stage{merged}}
}

// mergeNodes lays a child's value over a parent's: mappings merge key by key,
// anything else is replaced.
func mergeNodes(parent, child *Node) *Node {
	if parent == nil || child == nil || parent.Kind != Map || child.Kind != Map {
		return either(parent, child)
	}
	out := &Node{Kind: Map, At: child.At, lead: -1}
	index := map[string]int{}
	for _, e := range parent.Entries {
		index[e.Key.Text] = len(out.Entries)
		out.Entries = append(out.Entries, e)
	}
	for _, e := range child.Entries {
		if i, ok := index[e.Key.Text]; ok {
			out.Entries[i] = Entry{e.Key, mergeNodes(out.Entries[i].Value, e.Value)}
		} else {
			out.Entries = append(out.Entries, e)
		}
	}
	return out
}

// finish turns a merged draft into a document and checks what only the whole
// can tell: types and defaults of parameters, and what every stage needs.
func finish(d *draft, files []string, diags *diag.List) *Document {
	doc := &Document{File: d.file, Extends: files, Kind: d.kind, Metadata: d.metadata, Rules: d.rules,
		StagesAt: d.stagesAt, Columns: d.columns, Drift: d.drift}
	if doc.Drift == "" {
		doc.Drift = DriftFail
	}
	for _, p := range d.parameters {
		doc.Parameters = append(doc.Parameters, finishParameter(p, diags))
	}
	for _, k := range d.stages {
		for i, s := range k.stages {
			s.Pointer = "/spec/stages/" + k.key
			if k.list {
				s.Pointer += "/" + strconv.Itoa(i)
			}
			if s.Use == nil && d.kind != KindTemplate && !s.Invalid {
				diags.Add(diag.At(s.At, CodeMissingKey, "a stage needs the key %q", "use").WithMissingKey("use").
					WithHint("use names what runs, for instance use: mysql"))
				continue
			}
			if s.Isolation == "" {
				s.Isolation = IsolationGroup
			}
			doc.Stages = append(doc.Stages, s)
		}
	}
	for _, name := range []string{"memory", "timeout", "stall", "batch_rows", "batch_bytes"} {
		if n := d.limits[name]; n != nil {
			doc.Limits.set(name, n)
		}
	}
	if d.state != nil {
		state := *d.state // a draft may be that of several documents
		doc.State = &state
		if doc.Kind != KindTemplate { // whatever extends a template may have the column
			doc.State.check(doc.Columns, diags)
		}
	}
	return doc
}

func (l *Limits) set(name string, n *Node) {
	v, err := parseLimit(name, n)
	if err != nil {
		return // reported when the file was read
	}
	switch name {
	case "memory":
		l.Memory = v
	case "timeout":
		l.Timeout = time.Duration(v)
	case "stall":
		l.Stall = time.Duration(v)
	case "batch_rows":
		l.BatchRows = int(v)
	case "batch_bytes":
		l.BatchBytes = v
	}
}

func finishParameter(d parameterDraft, diags *diag.List) Parameter {
	p := Parameter{Name: d.name.Text, At: d.name.At}
	if d.typ == nil {
		diags.Add(diag.At(d.name.At, CodeMissingKey, "parameter %q needs a type", p.Name).WithHint("types: string, date, integer, boolean, decimal"))
		return p
	}
	p.Type = Type(d.typ.Text)
	if p.Type == "" {
		return p
	}
	p.Required = d.required != nil && d.required.Value == true
	if d.description != nil {
		p.Description = d.description.Text
	}
	value := func(n *Node, what string) (any, bool) {
		v, err := p.Type.ParseValue(n.Value)
		if err != nil {
			diags.Add(diag.At(n.At, CodeBadDefault, "%s of parameter %q: %v", what, p.Name, err).WithHint("%s", valueHints[p.Type]))
		}
		return v, err == nil
	}
	if d.allowed != nil {
		for _, n := range d.allowed.Items {
			if v, good := value(n, "an allowed value"); good {
				p.Allowed = append(p.Allowed, v)
			}
		}
	}
	if d.def != nil && d.def.Kind != Null {
		v, good := value(d.def, "the default")
		p.Default = v
		if good && len(p.Allowed) > 0 && !slices.Contains(p.Allowed, v) {
			diags.Add(diag.At(d.def.At, CodeBadDefault, "the default of parameter %q is not one of its allowed values", p.Name).
				WithHint("add it to them, or choose one of them").WithRelated(d.allowed.At, "they are here"))
		}
		if p.Required {
			diags.Add(diag.At(d.def.At, CodeBadDefault, "parameter %q is required, so that its default is never used", p.Name).
				WithHint("leave out one of the two").WithRelated(d.required.At, "required is here"))
		}
	}
	return p
}
