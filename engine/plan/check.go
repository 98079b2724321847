package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// checkFilters holds the filters against what is known of the columns that they will be
// given: what the contract says, followed back from the encoder or the sink of rows. Those of this program are
// made here, and the others asked by Config.CheckFilter. Nothing is known in front of a filter
// that does not say what it must be given, nor where the contract is not enforced, and there
// only what is wrong for any columns is reported.
func (p *planner) checkFilters(stages []resolved) {
	end := slices.IndexFunc(stages, func(r resolved) bool {
		return r.stage.Kind == stage.KindEncoder || r.manifest != nil && endsTable(r.manifest.Kind, r.manifest.In)
	})
	if end < 0 {
		end = len(stages)
	}
	// What is kept in Prepared is looked up by its place in memory.
	known, kept := p.contract, true
	var found diag.List
	for i := end - 1; i >= 0; i-- {
		r := stages[i]
		if r.stage.Kind != stage.KindFilter {
			continue
		}
		if r.manifest == nil || r.config == nil || r.refused || holds(r.config, unknown{}) {
			known, kept = anyColumns, true
			continue
		}
		before, findings, keeps := p.check(r, known, kept)
		for _, f := range findings {
			switch f.Level {
			case stage.LevelWrong:
				found.Add(p.stageProblem(r.stage, f.Fault))
			case stage.LevelWarning:
				found.Add(p.stageProblem(r.stage, f.Fault).AsWarning())
			}
		}
		if r.stage.When != nil && !before.Equal(known) {
			before, keeps = anyColumns, true // it may be off
		}
		known, kept = before, keeps
	}
	p.diags = append(p.diags, found...)
}

// anyColumns is the schema of which nothing is known.
var anyColumns = arrow.NewSchema(nil, ptr(arrow.NewMetadata([]string{stage.MetaOpen}, []string{"true"})))

func ptr[T any](v T) *T { return &v }

// check says what is wrong with a filter that is to give some columns, and what it must be
// given for that. What depends on no input, of the stage and of what it is to give, is found out once; kept says
// that both are so.
func (p *planner) check(r resolved, gives *arrow.Schema, fixed bool) (takes *arrow.Schema, found []stage.Finding, kept bool) {
	fixed = fixed && r.prepared != nil && r.prepared.dependsOnNothing()
	if fixed {
		if takes, ok := r.prepared.answer(gives); ok {
			return takes, nil, true
		}
	}
	takes, found = p.ask(r, gives)
	// What was found is asked again: it may come of the asking.
	kept = fixed && len(found) == 0 && r.prepared.keep(gives, takes)
	return takes, found, kept
}

// dependsOnNothing reports whether the settings of a stage are the same in every run.
func (s *preparedStage) dependsOnNothing() bool {
	return len(s.bound.Fields) == 0 && (s.settings == nil || s.settings.fixed)
}

// answer is what the filter takes to give some columns, where that was found out before.
func (s *preparedStage) answer(gives *arrow.Schema) (*arrow.Schema, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	takes, ok := s.answers[gives]
	return takes, ok
}

// maxAnswers bounds what is kept of a filter: which of those behind it are on decides what it is to give.
const maxAnswers = 16

// keep remembers an answer, and reports whether it did.
func (s *preparedStage) keep(gives, takes *arrow.Schema) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answers == nil {
		s.answers = map[*arrow.Schema]*arrow.Schema{}
	}
	if len(s.answers) < maxAnswers {
		s.answers[gives] = takes
	}
	return s.answers[gives] == takes
}

// ask has a filter checked, here or in its own program.
func (p *planner) ask(r resolved, gives *arrow.Schema) (takes *arrow.Schema, found []stage.Finding) {
	m := r.manifest
	s := &Stage{ID: m.Name, Kind: m.Kind, Plugin: m.Plugin, Name: m.Name, FirstParty: m.FirstParty, Config: r.config}
	switch {
	case m.Make != nil:
		takes, problem := makeFilter(m, s, gives)
		if problem != nil {
			found = append(found, stage.Finding{Level: stage.LevelWrong, Fault: problem})
		}
		return takes, found
	case !m.FirstParty && p.config.CheckFilter != nil:
		takes, found = p.config.CheckFilter(s, gives)
	}
	if takes == nil {
		takes = anyColumns
	}
	return takes, found
}

// makeFilter is check of a filter of this program.
func makeFilter(m *Manifest, s *Stage, gives *arrow.Schema) (takes *arrow.Schema, problem *fault.Fault) {
	takes = anyColumns
	// What panics here does so in the run as well, and is told there.
	defer func() { _ = recover() }()
	made, err := m.Make(s.SettingsJSON())
	filter, ok := made.(stage.Filter)
	if err != nil || !ok {
		return takes, fault.From(err)
	}
	if inverse, ok := made.(stage.Inverse); ok {
		takes = inverse.Before(gives)
	}
	bound, err := filter.Bind(takes)
	if err == nil {
		err = stage.Dropped(gives, bound)
	}
	return takes, fault.From(err)
}

// holds reports whether a value is somewhere in a tree of settings.
func holds(tree, value any) bool {
	switch v := tree.(type) {
	case map[string]any:
		for _, e := range v {
			if holds(e, value) {
				return true
			}
		}
		return false
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return holds(e, value) })
	}
	return tree == value
}

// stageProblem reports what a stage says of its settings, where it says which.
func (p *planner) stageProblem(s *document.Stage, f *fault.Fault) diag.Diagnostic {
	at, node := s.Use.At, s.With
	if pointer := f.Details[fault.DetailSetting]; pointer != "" {
		for _, step := range Path(pointer) {
			if i, err := strconv.Atoi(step); err == nil && node != nil && node.Kind == document.List && i < len(node.Items) {
				node = node.Items[i]
				at = node.At
				continue
			}
			i := slices.IndexFunc(entries(node), func(e document.Entry) bool { return e.Key.Text == step })
			if i < 0 {
				break
			}
			e := node.Entries[i]
			if node, at = e.Value, e.Value.At; !node.IsScalar() {
				at = e.Key.At
			}
		}
		var from, to int
		if n, _ := fmt.Sscanf(f.Details[fault.DetailPlace], "%d-%d", &from, &to); n == 2 && node != nil {
			at = node.Inside(from, to)
		}
	}
	d := diag.At(at, f.Code, "%s %s: %s", s.Kind, printable(s.Use.Text), diag.Printable(f.Message))
	d.Pointer = s.Pointer + "/with" + f.Details[fault.DetailSetting]
	if f.Hint != "" {
		d = d.WithHint("%s", diag.Printable(f.Hint))
	}
	return d
}

func entries(n *document.Node) []document.Entry {
	if n == nil {
		return nil
	}
	return n.Entries
}

// contractSchema is what columns of a contract are in the stages. One that may come as
// something else and be widened is not known.
func contractSchema(columns []document.Column) *arrow.Schema {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		t := arrowType(c.Type)
		fields[i] = arrow.Field{Name: c.Name, Type: t, Nullable: true}
		if t == arrow.Null {
			fields[i].Metadata = arrow.NewMetadata([]string{stage.MetaUnknown}, []string{"true"})
		}
	}
	return arrow.NewSchema(fields, nil)
}

// arrowType is the type of a column. It is Null for one that is not known: an unsigned
// integer of 64 bits may come as a smaller one, with which expressions compute in another way.
func arrowType(t document.ColumnType) arrow.DataType {
	switch t.Name {
	case "boolean":
		return arrow.FixedWidthTypes.Boolean
	case "string", "json":
		return arrow.BinaryTypes.String
	case "binary":
		return arrow.BinaryTypes.Binary
	case "date":
		return arrow.FixedWidthTypes.Date32
	case "time":
		return arrow.FixedWidthTypes.Duration_ns
	case "timestamp":
		return &arrow.TimestampType{Unit: arrow.Microsecond}
	case "float32", "float64":
		return arrow.PrimitiveTypes.Float64
	case "decimal":
		if t.Precision <= 38 {
			return &arrow.Decimal128Type{Precision: int32(t.Precision), Scale: int32(t.Scale)}
		}
		return &arrow.Decimal256Type{Precision: int32(t.Precision), Scale: int32(t.Scale)}
	}
	if strings.HasPrefix(t.Name, "int") || strings.HasPrefix(t.Name, "uint") && t.Name != "uint64" {
		return arrow.PrimitiveTypes.Int64
	}
	return arrow.Null
}
