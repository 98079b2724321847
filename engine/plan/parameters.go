package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
)

// The codes of given parameters that are wrong. A pipeline's own rules have the
// codes that they declare.
const (
	CodeParameterMissing    = "parameter.missing"
	CodeParameterUnknown    = "parameter.unknown"
	CodeParameterInvalid    = "parameter.invalid"
	CodeParameterNotAllowed = "parameter.not_allowed"
)

// readParameters turns the given parameters into values, in the order of their
// declaration, and reports everything that is wrong with them.
func (p *planner) readParameters() []Value {
	var values []Value
	report := func(d *document.Parameter, code, format string, args ...any) diag.Diagnostic {
		return diag.Diagnostic{Code: code, Severity: diag.Error, Parameter: d.Name, Message: fmt.Sprintf(format, args...), Hint: d.Description}.
			WithRelated(d.At, "the parameter is declared here")
	}
	for i := range p.config.Document.Parameters {
		d := &p.config.Document.Parameters[i]
		v := Value{Name: d.Name, Type: d.Type, Value: d.Default}
		if given := p.in.Parameters[d.Name]; given != nil {
			v.Given = true
			parsed, err := d.Type.ParseValue(given)
			if err != nil {
				p.diags.Add(report(d, CodeParameterInvalid, "%v", err))
				continue
			}
			if len(d.Allowed) > 0 && !slices.Contains(d.Allowed, parsed) {
				var allowed []string
				for _, a := range d.Allowed {
					allowed = append(allowed, fmt.Sprint(a))
				}
				r := report(d, CodeParameterNotAllowed, "%q is not allowed; allowed: %s", fmt.Sprint(parsed),
					strings.Join(allowed, ", "))
				p.diags.Add(r.WithSuggestion(fmt.Sprint(parsed), allowed).WithoutFix())
				continue
			}
			v.Value = parsed
		} else if d.Required {
			p.diags.Add(report(d, CodeParameterMissing, "a value is required (%s)", d.Type))
			continue
		}
		values = append(values, v)
		p.params[d.Name] = v.Value
	}
	for _, name := range slices.Sorted(maps.Keys(p.in.Parameters)) {
		if !slices.Contains(p.names, name) {
			p.diags.Add(diag.Diagnostic{Code: CodeParameterUnknown, Severity: diag.Error, Parameter: name,
				Message: fmt.Sprintf("pipeline %q has no such parameter", p.config.Document.Metadata.Name)}.WithSuggestion(name, p.names).WithoutFix())
		}
	}
	return values
}
