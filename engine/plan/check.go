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

// checkFilters checks the filters against the columns that they will be given. These are known from the contract: it
// says what the last filter must give, from which that filter says what it must be given (stage.Inverse), and so on
// back to the source. First-party filters are made and bound here; the others are asked by Config.CheckFilter. In front
// of a filter that cannot say what it must be given, and without a contract, the columns are unknown; there only what
// is wrong for any columns is reported.
func (p *planner) checkFilters(stages []resolved) {
	end := slices.IndexFunc(stages, func(r resolved) bool {
		return r.stage.Kind == stage.KindEncoder || r.manifest != nil && endsTable(r.manifest.Kind, r.manifest.In)
	})
	if end < 0 {
		end = len(stages)
	}
	// Answers are kept in Prepared by the address of the schema, so the same schema has to be used every time.
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
			before, keeps = anyColumns, true // the filter may be off
		}
		known, kept = before, keeps
	}
	p.diags = append(p.diags, found...)
}

// anyColumns is the schema of which nothing is known.
var anyColumns = arrow.NewSchema(nil, ptr(arrow.NewMetadata([]string{stage.MetaOpen}, []string{"true"})))

func ptr[T any](v T) *T { return &v }

// check asks a filter that has to give some columns what it must be given for that, and what is wrong. Fixed says that
// the columns are the same in every run. If the filter's settings are so too, and nothing is wrong, the answer is kept
// for later runs, which kept reports.
func (p *planner) check(r resolved, gives *arrow.Schema,
	fixed bool) (takes *arrow.Schema, found []stage.Finding, kept bool) {
	fixed = fixed && r.prepared != nil && r.prepared.dependsOnNothing()
	if fixed {
		if takes, ok := r.prepared.answer(gives); ok {
			return takes, nil, true
		}
	}
	takes, found = p.ask(r, gives)
	// An answer with findings is not kept: the cause may be temporary, such as a plugin that did not start.
	kept = fixed && len(found) == 0 && r.prepared.keep(gives, takes)
	return takes, found, kept
}

// dependsOnNothing reports whether the settings of a stage are the same in every run.
func (s *preparedStage) dependsOnNothing() bool {
	return len(s.bound.Fields) == 0 && (s.settings == nil || s.settings.fixed)
}

// answer is what the filter must be given to give some columns, if an earlier run has kept it.
func (s *preparedStage) answer(gives *arrow.Schema) (*arrow.Schema, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	takes, ok := s.answers[gives]
	return takes, ok
}

// maxAnswers is how many answers are kept of a filter. There are several because what it has to give depends on which
// filters behind it are on.
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

// ask checks a filter, in this process if it is a first-party one, otherwise in its plugin's.
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
	// A filter that panics here does so in the run as well, where it is reported.
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

// stageProblem makes a diagnostic of a stage's fault, at the setting that the fault names if it names one.
func (p *planner) stageProblem(s *document.Stage, f *fault.Fault) diag.Diagnostic {
	d := diag.At(locate(s, f), f.Code, "%s %s: %s", s.Kind, printable(s.Use.Text), diag.Printable(f.Message))
	d.Pointer = s.Pointer + "/with" + f.Details[fault.DetailSetting]
	if f.Hint != "" {
		d = d.WithHint("%s", diag.Printable(f.Hint))
	}
	return d
}

// Locate is where the pipeline says what a fault of the stage is about: the setting that the fault names, or the stage. It
// is no place for a stage that the plan has added.
func (s *Stage) Locate(f *fault.Fault) diag.Position {
	if s.document == nil || s.document.Use == nil {
		return s.At
	}
	return locate(s.document, f)
}

func locate(s *document.Stage, f *fault.Fault) diag.Position {
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
	return at
}

func entries(n *document.Node) []document.Entry {
	if n == nil {
		return nil
	}
	return n.Entries
}

// contractSchema is the schema of a contract's columns in front of the filter "contract". A column that may arrive as a
// smaller type, and be widened there, has an unknown type.
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

// arrowType is the Arrow type of a contract's column, or Null where it is not known: an unsigned integer of 64 bits for
// instance may arrive as a smaller one, which expressions compute with in another way.
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
