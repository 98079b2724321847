package api

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
)

// The classes of procedures; metadata.class of their pipelines.
const (
	classReference = "reference"
	classSpecial   = "special"
)

// procedure is a pipeline of the catalogue as an operation of the API.
type procedure struct {
	name     string
	prepared *engine.Prepared
	doc      *engine.Document
	// fields are what the body may hold, in the order of the documentation.
	fields []field
	// version changes with everything that the answer depends on but the data.
	version string
}

// field is a field of the body.
type field struct {
	name        string
	kind        document.Type
	required    bool
	def         any
	allowed     []any
	description string
	// example is a value for the documentation.
	example any
	// pipeline is true of a parameter of the pipeline, and ignored of a field that is held against its type and goes nowhere.
	pipeline, ignored bool
	// list is true of a text that holds a JSON array, which may be given as one as well.
	list bool
}

func (p *procedure) reference() bool { return p.doc.Metadata.Class == classReference }

// The fields of every body that are the service's own.
const (
	fieldCustomer = "customer_id"
	fieldWebhook  = "webhook_url"
	fieldLimit    = "limit"
	fieldPriority = "priority"
)

// The parameters of pipelines that the service reads.
const (
	paramMode        = "mode"
	paramFormat      = "output_format"
	paramCompression = "compression"
	paramEncrypted   = "encrypted"
	paramFrom        = "from_date"
	paramTo          = "to_date"
	paramModifier    = "date_modifier"
)

// maxPreview is the most rows of a preview.
const maxPreview = 1000

// loadCatalogue prepares every pipeline. One that is wrong is an error: a service does not start with half a catalogue.
func loadCatalogue(e Engine) (map[string]*procedure, []string, error) {
	procedures := map[string]*procedure{}
	names := e.Names()
	var problems diag.List
	for _, name := range names {
		prepared, diags := e.Prepare(name)
		if prepared == nil {
			problems = append(problems, diags...)
			continue
		}
		procedures[name] = newProcedure(name, prepared)
	}
	if err := problems.Err(); err != nil {
		return nil, nil, fmt.Errorf("the catalogue: %w", err)
	}
	return procedures, names, nil
}

func newProcedure(name string, prepared *engine.Prepared) *procedure {
	p := &procedure{name: name, prepared: prepared, doc: prepared.Document()}
	p.fields = []field{{name: fieldCustomer, kind: document.TypeString, required: true, example: "sandbox",
		description: "Whose data it is. The API key must be this customer's."}}
	own := map[string]bool{}
	for _, d := range p.doc.Parameters {
		own[d.Name] = true
	}
	if p.reference() {
		// Clients send the same body to every procedure.
		for _, f := range []field{
			{name: paramFrom, kind: document.TypeDate}, {name: paramTo, kind: document.TypeDate},
			{name: paramModifier, kind: document.TypeString, def: "All", allowed: []any{"All", "Created", "Updated"}},
		} {
			if f.ignored = true; !own[f.name] {
				f.description = "Accepted without effect: a reference list is always whole."
				p.fields = append(p.fields, f)
			}
		}
	}
	for _, d := range p.doc.Parameters {
		if d.Name == fieldLimit {
			continue // below
		}
		p.fields = append(p.fields, field{name: d.Name, kind: d.Type, required: d.Required, def: d.Default, allowed: d.Allowed,
			description: d.Description, pipeline: true, example: exampleOf(d),
			list: p.doc.Metadata.Class == classSpecial && (d.Name == "arguments" || d.Name == "columns")})
	}
	p.fields = append(p.fields,
		field{name: fieldWebhook, kind: document.TypeString,
			description: "https address for the events of this request's job, beside the customer's own. The key needs the scope webhooks. Not with an answer of rows: mode stream, and reference lists."})
	priority := field{name: fieldPriority, kind: document.TypeString, def: priorityNames[1],
		description: "Order of a job among the customer's own. Without effect on an answer with rows."}
	for _, name := range priorityNames {
		priority.allowed = append(priority.allowed, name)
	}
	if !own[fieldPriority] {
		p.fields = append(p.fields, priority)
	}
	if own[fieldLimit] {
		p.fields = append(p.fields, field{name: fieldLimit, kind: document.TypeInteger, pipeline: true, example: json.Number("100"),
			description: fmt.Sprintf("A preview: so many rows at most, 1 to %d. Not with mode job.", maxPreview)})
	}
	p.version = versionOf(p.doc)
	return p
}

func (p *procedure) field(name string) *field {
	if i := slices.IndexFunc(p.fields, func(f field) bool { return f.name == name }); i >= 0 {
		return &p.fields[i]
	}
	return nil
}

func (p *procedure) fieldNames() []string {
	names := make([]string, len(p.fields))
	for i, f := range p.fields {
		names[i] = f.name
	}
	return names
}

// exampleOf is a value that a parameter may have.
func exampleOf(d document.Parameter) any {
	switch {
	case d.Default != nil:
		return d.Default
	case len(d.Allowed) > 0:
		return d.Allowed[0]
	case d.Name == paramFrom:
		return "2024-01-01"
	case d.Type == document.TypeDate:
		return "2024-01-31"
	}
	return nil
}
