package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/engine/service/customer"
)

// call is a request for a procedure whose fields are good.
type call struct {
	customer string
	// given are the parameters as they came, and values all of the pipeline's, with their defaults.
	given  map[string]any
	values map[string]any

	mode, format, compression string
	encrypted                 bool
	webhook, priority         string
}

// The modes.
const (
	modeAuto   = "auto"
	modeStream = "stream"
	modeJob    = "job"
)

// read makes a call of a body. The error names every mistake in it, and those that details has already.
func (p *procedure) read(raw []byte, details ...Detail) (*call, *Error) {
	members, more, err := readObject(raw)
	if err != nil {
		return nil, err
	}
	return p.readMembers(members, append(details, more...))
}

// readMembers makes a call of members, of which details says already what is wrong.
func (p *procedure) readMembers(members []member, details []Detail) (*call, *Error) {
	c := &call{given: map[string]any{}, values: map[string]any{}, priority: priorityNames[1]}
	add := func(code Code, name, format string, args ...any) {
		details = append(details, Detail{Code: string(code), Field: name, Message: fmt.Sprintf(format, args...)})
	}
	for _, m := range members {
		f := p.field(m.name)
		if f == nil {
			details = append(details, unknownField(p, m.name))
			continue
		}
		if m.value == nil {
			continue // null is not given
		}
		switch {
		case f.name == fieldCustomer:
			text, ok := m.value.(string)
			if !ok || !customer.ValidID(text) {
				add(InvalidParameter, f.name, "%s: expected 1 to 64 letters, digits, underscores and dashes.", f.name)
				continue
			}
			c.customer = text
		case f.name == fieldWebhook:
			text, ok := m.value.(string)
			if !ok || !validWebhook(text) {
				add(InvalidParameter, f.name, "%s: %s", f.name, expectedWebhook)
			}
			c.webhook = text
		case f.name == fieldPriority && !f.pipeline:
			if problem := f.check(m.value); problem != "" {
				add(InvalidParameter, f.name, "%s: %s", f.name, problem)
				continue
			}
			c.priority, _ = m.value.(string)
		case f.ignored:
			if problem := f.check(m.value); problem != "" {
				add(InvalidParameter, f.name, "%s: %s", f.name, problem)
			}
		default:
			c.given[f.name] = f.asText(m.value)
		}
	}
	if c.customer == "" && !mentioned(details, fieldCustomer) {
		add(MissingParameter, fieldCustomer, "%s is missing.", fieldCustomer)
	}
	values, diags := p.prepared.Values(engine.Inputs{Parameters: c.given})
	wrong, rest := fromDiagnostics(diags)
	details = append(details, wrong...)
	if rest.HasErrors() {
		return nil, fromError(rest.Err())
	}
	for _, v := range values {
		c.values[v.Name] = v.Value
	}
	c.settle()
	if p.reference() {
		c.mode = modeStream // whatever was asked for
	}
	if c.webhook != "" && c.mode == modeStream {
		why := "mode asks for an answer with rows"
		if p.reference() {
			why = "a reference list is always answered with rows"
		}
		add(ConflictingParameters, fieldWebhook, "%s is for the events of a job, and %s.", fieldWebhook, why)
	}
	if n, ok := c.values[fieldLimit].(int64); ok && c.given[fieldLimit] != nil {
		if n < 1 || n > maxPreview {
			add(InvalidParameter, fieldLimit, "%s: expected a whole number from 1 to %d, not %d.", fieldLimit, maxPreview, n)
		} else if c.mode == modeJob {
			add(ConflictingParameters, fieldLimit, "%s is a preview of an answer, and mode asks for a job.", fieldLimit)
		}
	}
	if len(details) > 0 {
		return nil, mistakes(details)
	}
	return c, nil
}

// settle reads what the service itself needs to know of the parameters.
func (c *call) settle() {
	text := func(name string) string { s, _ := c.values[name].(string); return s }
	c.mode, c.format, c.compression = text(paramMode), text(paramFormat), text(paramCompression)
	c.encrypted, _ = c.values[paramEncrypted].(bool)
}

func mentioned(details []Detail, name string) bool {
	for _, d := range details {
		if d.Field == name && d.Code != string(DuplicateField) {
			return true
		}
	}
	return false
}

func unknownField(p *procedure, name string) Detail {
	shown := name
	if r := []rune(shown); len(r) > 64 {
		shown = string(r[:64]) + "…"
	}
	return Detail{Code: string(UnknownField), Field: shown, Message: fmt.Sprintf("%s takes no field %s.", p.name, strconv.Quote(shown)), Suggestion: nearest(name, p.fieldNames())}
}

// nearest suggests names that may be meant, or says which there are.
func nearest(name string, names []string) string {
	return diag.Diagnostic{}.WithSuggestion(name, names).Hint
}

// readQuery is read of the parameters of a query.
func (p *procedure) readQuery(query string) (*call, *Error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, fail(InvalidRequest).saying("The query of the address cannot be read.")
	}
	var members []member
	var details []Detail
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 {
			details = append(details, Detail{Code: string(DuplicateField), Field: name, Message: name + " is given twice."})
		}
		members = append(members, member{name, values[name][0]})
	}
	return p.readMembers(members, details)
}

// check says what is wrong with the value of a field that goes nowhere.
func (f *field) check(value any) string {
	parsed, err := f.kind.ParseValue(value)
	if err != nil {
		return err.Error()
	}
	if len(f.allowed) > 0 && !slices.Contains(f.allowed, parsed) {
		return fmt.Sprintf("expected one of %v", f.allowed)
	}
	return ""
}

// asText gives a list to a parameter that takes one as text.
func (f *field) asText(value any) any {
	list, ok := value.([]any)
	if !ok || !f.list || f.kind != document.TypeString {
		return value
	}
	text, err := json.Marshal(list)
	if err != nil {
		return value
	}
	return string(text)
}

// maxWebhook bounds an address, in bytes.
const maxWebhook = 2048

// expectedWebhook is what is said of an address that cannot be one of a webhook.
const expectedWebhook = "expected an https address with no user name and no fragment, of 2048 bytes of ASCII at most."

// validWebhook reports whether a text can be the address of a webhook. Whether anything may be sent there is looked at
// when it is, after its name was resolved.
func validWebhook(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil && u.Fragment == "" && !strings.Contains(text, "#") &&
		len(text) <= maxWebhook && printable(text, maxWebhook) == text && !strings.Contains(text, " ")
}
