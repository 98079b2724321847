package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/engine/service/customer"
)

// jsonTypeOf is how a value of a column is written in JSON.
func jsonTypeOf(t document.ColumnType) *huma.Schema {
	switch t.Name {
	case "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64":
		return &huma.Schema{Type: huma.TypeInteger, Format: t.Name}
	case "float32", "float64":
		return &huma.Schema{Type: huma.TypeNumber, Format: map[string]string{"float32": "float", "float64": "double"}[t.Name]}
	case "boolean":
		return &huma.Schema{Type: huma.TypeBoolean}
	case "decimal":
		pattern := `^-?[0-9]+$`
		if t.Scale > 0 {
			pattern = fmt.Sprintf(`^-?[0-9]+\.[0-9]{%d}$`, t.Scale)
		}
		return &huma.Schema{Type: huma.TypeString, Pattern: pattern, Format: "decimal"}
	case "date":
		return &huma.Schema{Type: huma.TypeString, Pattern: `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`}
	case "timestamp":
		return &huma.Schema{Type: huma.TypeString, Pattern: `^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}` + fraction(t.Fraction) + `$`}
	case "time":
		return &huma.Schema{Type: huma.TypeString, Pattern: `^-?[0-9]{2,3}:[0-9]{2}:[0-9]{2}` + fraction(t.Fraction) + `$`}
	case "binary":
		return &huma.Schema{Type: huma.TypeString, ContentEncoding: "base64"}
	case "json":
		return &huma.Schema{} // any value
	}
	return &huma.Schema{Type: huma.TypeString}
}

func fraction(digits int) string {
	if digits == 0 {
		return ""
	}
	return fmt.Sprintf(`\.[0-9]{%d}`, digits)
}

// rowSchema is a row as an object.
func (p *procedure) rowSchema() *huma.Schema {
	out := &huma.Schema{Type: huma.TypeObject, Description: "A row of " + p.doc.Metadata.Title + ". " + p.doc.Metadata.Description}
	if len(p.doc.Columns) == 0 {
		out.AdditionalProperties = true
		return out
	}
	out.AdditionalProperties, out.Properties = false, map[string]*huma.Schema{}
	order := make([]string, 0, len(p.doc.Columns))
	for _, c := range p.doc.Columns {
		s := jsonTypeOf(c.Type)
		s.Description, s.Nullable = c.Description, c.Nullable && s.Type != ""
		for _, v := range valuesOf(c) {
			s.Enum = append(s.Enum, v)
		}
		if s.Nullable && len(s.Enum) > 0 {
			s.Enum = append(s.Enum, nil)
		}
		if c.Personal {
			s.Extensions = map[string]any{"x-personal-data": true}
		}
		out.Properties[c.Name] = s
		out.Required = append(out.Required, c.Name)
		order = append(order, c.Name)
	}
	out.Extensions = map[string]any{"x-column-order": order}
	return out
}

// bodySchema is what the body of a request may hold.
func (p *procedure) bodySchema() *huma.Schema {
	out := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false, Properties: map[string]*huma.Schema{},
		Description: "A request for " + p.doc.Metadata.Title + "."}
	for _, f := range p.fields {
		s := f.schema()
		out.Properties[f.name] = s
		if f.required {
			out.Required = append(out.Required, f.name)
			continue
		}
		// A null counts as not given.
		if s.Nullable = len(s.OneOf) == 0; !s.Nullable {
			s.OneOf = append(s.OneOf, &huma.Schema{Type: "null"})
		}
		if len(s.Enum) > 0 {
			s.Enum = append(slices.Clip(s.Enum), nil)
		}
	}
	return out
}

// schema describes the values that a field takes.
func (f *field) schema() *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	switch f.kind {
	case document.TypeInteger:
		s.Type, s.Format = huma.TypeInteger, "int64"
	case document.TypeBoolean:
		s = &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeBoolean}, {Type: huma.TypeString, Enum: []any{"true", "false"}}}}
	case document.TypeDecimal:
		s.Pattern = `^-?[0-9]+(\.[0-9]+)?$`
	case document.TypeDate:
		s.Format = "date"
	case document.TypeString:
		s.MaxLength = ptr(document.MaxParameterBytes)
	}
	switch f.name {
	case fieldCustomer:
		s.Pattern, s.MinLength, s.MaxLength = customer.IDPattern, ptr(1), ptr(64)
	case fieldWebhook:
		s.Format, s.Pattern, s.MaxLength = "uri", "^https://", ptr(maxWebhook)
	case fieldLimit:
		s.Minimum, s.Maximum = ptr(1.0), ptr(float64(maxPreview))
	}
	if f.list {
		s = &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeString, MaxLength: ptr(document.MaxParameterBytes)}, {Type: huma.TypeArray, Items: &huma.Schema{}}}}
	}
	if len(f.allowed) > 0 {
		s.Enum, s.MaxLength = f.allowed, nil
	}
	s.Description, s.Default = f.description, f.def
	if n, ok := f.def.(json.Number); ok {
		s.Default, _ = strconv.ParseFloat(n.String(), 64)
	}
	if f.example != nil {
		s.Examples = []any{f.example}
	}
	return s
}

func ptr[T any](v T) *T { return &v }
