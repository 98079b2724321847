package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/engine/service/admission"
)

// Summary is a procedure in the list of all, and how the description of one begins. It is exported because what writes the
// document looks at no embedded type that is not.
type Summary struct {
	Name        string `json:"name" doc:"Name, as in the address."`
	Title       string `json:"title" doc:"Name for people."`
	Category    string `json:"category" doc:"What it belongs to."`
	Class       string `json:"class" enum:"data,reference,special" doc:"reference lists are whole, small, always streamed and kept for five minutes."`
	Description string `json:"description" doc:"What a row is, and in which order rows come."`
	Path        string `json:"path" doc:"Address to POST a request to."`
}

// listBody is the list of all procedures.
type listBody struct {
	Procedures []Summary `json:"procedures" nullable:"false" doc:"All procedures, sorted by name."`
	Total      int       `json:"total" doc:"How many there are."`
}

// describeBody is a procedure in full.
type describeBody struct {
	Summary
	Version      string            `json:"version" doc:"Changes with everything that an answer depends on but the data."`
	PersonalData bool              `json:"personal_data" doc:"Whether a column identifies or describes a person."`
	Parameters   []parameterBody   `json:"parameters" nullable:"false" doc:"What the body of a request may hold."`
	Columns      []columnBody      `json:"columns" nullable:"false" doc:"Columns of a row, in their order. Empty where they are those of the table that is named."`
	DateColumn   map[string]string `json:"date_column,omitempty" doc:"What the range is about, by date_modifier."`
	Formats      []string          `json:"output_formats" nullable:"false" doc:"Formats of an answer."`
	Compressions []string          `json:"compressions" nullable:"false" doc:"Compressions of an answer."`
	Limits       limitsBody        `json:"limits" doc:"What an answer is limited to."`
	Example      map[string]any    `json:"example" doc:"A body that works."`
}

type parameterBody struct {
	Name        string `json:"name" doc:"Name of the field."`
	Type        string `json:"type" enum:"string,date,integer,boolean,decimal" doc:"Type; text that can be read as one is taken as well."`
	Required    bool   `json:"required" doc:"Whether it has to be given."`
	Default     any    `json:"default" doc:"What holds when it is not given; null is nothing."`
	Allowed     []any  `json:"allowed,omitempty" nullable:"false" doc:"The only values that it may have."`
	Description string `json:"description" doc:"What it does."`
}

type columnBody struct {
	Name         string   `json:"name" doc:"Name of the column."`
	Type         string   `json:"type" doc:"Type, as in Parquet and Arrow."`
	JSON         string   `json:"json_type" doc:"How it is written in JSON, when it is not null."`
	Nullable     bool     `json:"nullable" doc:"Whether it may be null."`
	Description  string   `json:"description" doc:"What it means."`
	Values       []string `json:"values,omitempty" nullable:"false" doc:"The texts that it may hold."`
	Lookup       string   `json:"lookup,omitempty" doc:"The reference procedure that lists its values."`
	PersonalData bool     `json:"personal_data" doc:"Whether it identifies or describes a person."`
}

type limitsBody struct {
	StreamSeconds int   `json:"stream_seconds" doc:"Longest run of a stream."`
	AutoRows      int64 `json:"auto_rows,omitempty" doc:"Most rows that mode auto answers with itself."`
	AutoBytes     int64 `json:"auto_bytes,omitempty" doc:"Most bytes, before compression, that mode auto answers with itself."`
	AutoSeconds   int   `json:"auto_seconds,omitempty" doc:"Longest time until mode auto has answered itself."`
	CacheSeconds  int   `json:"cache_seconds,omitempty" doc:"How long a reference list is kept."`
	PreviewRows   int   `json:"preview_rows,omitempty" doc:"Largest value of limit."`
}

func (p *procedure) summary() Summary {
	m := p.doc.Metadata
	return Summary{Name: p.name, Title: m.Title, Category: m.Category, Class: m.Class, Description: m.Description, Path: "/v1/procedures/" + p.name}
}

// list answers GET /v1/procedures.
func (a *API) list(x *exchange) *Error {
	if e := x.authenticate(admission.Polling); e != nil {
		return e
	}
	if e := x.noParameters(); e != nil {
		return e
	}
	out := listBody{Procedures: []Summary{}, Total: len(a.names)}
	for _, name := range a.names {
		out.Procedures = append(out.Procedures, a.procedures[name].summary())
	}
	x.send(200, typeJSON, out)
	return nil
}

// describe answers GET /v1/procedures/{procedure}.
func (a *API) describe(x *exchange, name string) *Error {
	if e := x.authenticate(admission.Polling); e != nil {
		return e
	}
	p := a.procedures[name]
	if p == nil {
		return a.unknownProcedure(name)
	}
	if e := x.noParameters(); e != nil {
		return e
	}
	x.send(200, typeJSON, a.describeProcedure(p))
	return nil
}

func (a *API) describeProcedure(p *procedure) describeBody {
	out := describeBody{Summary: p.summary(), Version: p.version, Parameters: []parameterBody{}, Columns: []columnBody{},
		Compressions: compressions, Example: p.example(), Limits: limitsBody{StreamSeconds: int(a.StreamTimeout.Seconds())}}
	for _, f := range formats {
		out.Formats = append(out.Formats, f.Name)
	}
	for _, f := range p.fields {
		out.Parameters = append(out.Parameters, parameterBody{f.name, string(f.kind), f.required, f.def, f.allowed, f.description})
	}
	for _, c := range p.doc.Columns {
		body := columnBody{Name: c.Name, Type: c.Type.String(), JSON: jsonTypeOf(c.Type).Type, Nullable: c.Nullable, Description: c.Description,
			Values: valuesOf(c), Lookup: a.lookup(p, c.Name), PersonalData: c.Personal}
		out.PersonalData = out.PersonalData || body.PersonalData
		out.Columns = append(out.Columns, body)
	}
	if p.reference() {
		out.Limits.CacheSeconds = int(a.ReferenceAge.Seconds())
	} else {
		out.Limits.AutoRows, out.Limits.AutoBytes, out.Limits.AutoSeconds = a.Auto.Rows, a.Auto.Bytes, int(a.Auto.Time.Seconds())
		if f := p.field(paramModifier); f != nil && f.pipeline {
			out.DateColumn = map[string]string{"All": "the procedure's own business date; see description", "Created": "ts_4_insert", "Updated": "ts_4_update"}
			if p.field("date_column") != nil {
				out.DateColumn["All"] = "the column that date_column names"
			}
		}
	}
	if p.field(fieldLimit) != nil {
		out.Limits.PreviewRows = maxPreview
	}
	return out
}

// example is a body that works: what is required, and a range where there is one.
func (p *procedure) example() map[string]any {
	out := map[string]any{}
	for _, f := range p.fields {
		if f.required || !f.ignored && f.kind == document.TypeDate {
			out[f.name] = f.example
		}
	}
	if p.doc.Metadata.Class == classSpecial {
		delete(out, paramFrom)
		delete(out, paramTo)
		out["table_name"] = "locations"
	}
	out[paramFormat] = formats[0].Name
	return out
}

// unknownProcedure says that there is no procedure of a name, and which may be meant.
func (a *API) unknownProcedure(name string) *Error {
	e := fail(UnknownProcedure)
	if d := nearest(name, a.names); d != "" {
		e.Suggestion = d
	}
	return e
}

// valuesPattern is how a description lists the texts of a column: "Active, Inactive or Deleted."
var valuesPattern = regexp.MustCompile(`^(?:[A-Z][\w-]*(?: [A-Z][\w-]*)*, )*[A-Z][\w-]*(?: [A-Z][\w-]*)* or [A-Z][\w-]*(?: [A-Z][\w-]*)*\.$`)

func valuesOf(c document.Column) []string {
	if c.Type.Name != "string" || !valuesPattern.MatchString(c.Description) {
		return nil
	}
	return strings.Split(strings.ReplaceAll(strings.TrimSuffix(c.Description, "."), " or ", ", "), ", ")
}

// lookup is the reference procedure whose key a column is; the key is its first column.
func (a *API) lookup(of *procedure, column string) string {
	for _, name := range a.names {
		p := a.procedures[name]
		if p != of && p.reference() && len(p.doc.Columns) > 0 && p.doc.Columns[0].Name == column {
			return name
		}
	}
	return ""
}

// versionOf is a digest of a pipeline's contract: its parameters and columns, and the text that says what they mean.
func versionOf(doc *document.Document) string {
	text, err := json.Marshal(struct {
		Metadata document.Metadata
		Columns  []document.Column
		Names    []string
	}{doc.Metadata, doc.Columns, namesOf(doc)})
	if err != nil {
		panic(fmt.Sprintf("api: a pipeline cannot be encoded: %v", err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

func namesOf(doc *document.Document) []string {
	var out []string
	for _, d := range doc.Parameters {
		out = append(out, fmt.Sprint(d.Name, d.Type, d.Default, d.Allowed, d.Required))
	}
	for _, s := range doc.Stages {
		out = append(out, fmt.Sprint(s.Kind, s.Pointer, s.Use.Text))
	}
	return out
}
