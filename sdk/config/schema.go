package config

import (
	"strconv"
	"strings"
)

// The keywords of a schema that no standard has, for editors: a Field's Names and Code.
const (
	SchemaNames = "x-cipherstream-names"
	SchemaCode  = "x-cipherstream-code"
)

// JSONSchema returns the specification as a JSON Schema (draft 2020-12) object,
// ready for json.Marshal. References such as ${params.x} are accepted wherever
// text can stand, so that an editor does not complain about them.
func (s *Spec) JSONSchema() map[string]any { return objectSchema(s.Fields) }

func objectSchema(fields []Field) map[string]any {
	properties := map[string]any{}
	var required []string
	for i := range fields {
		if fields[i].FilledIn() {
			continue
		}
		properties[fields[i].Name] = fields[i].schema()
		if fields[i].Required {
			required = append(required, fields[i].Name)
		}
	}
	schema := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if required != nil {
		schema["required"] = required
	}
	return schema
}

// referencePattern matches text that holds a reference, and codePattern text that holds
// something that would have to be one.
const (
	referencePattern = `\$\{[^}]+\}`
	codePattern      = `(^|[^$])\$\{`
)

func (f *Field) schema() map[string]any {
	schema := map[string]any{}
	bounds := func(lo, hi string) {
		if n, err := strconv.ParseInt(f.Min, 10, 64); err == nil {
			schema[lo] = n
		}
		if n, err := strconv.ParseInt(f.Max, 10, 64); err == nil {
			schema[hi] = n
		}
	}
	switch f.Type {
	case TypeString, TypeSecret, TypeDuration:
		schema["type"] = "string"
		if f.Type == TypeString {
			bounds("minLength", "maxLength")
		}
	case TypeBoolean:
		schema["type"] = "boolean"
	case TypeInteger:
		schema["type"] = "integer"
		bounds("minimum", "maximum")
	case TypeNumber:
		schema["type"] = "number"
		bounds("minimum", "maximum")
	case TypeSize:
		schema["type"] = []string{"integer", "string"}
	case TypeScalar:
		schema["type"] = []string{"null", "string", "boolean", "number"}
	case TypeList:
		schema["type"] = "array"
		schema["items"] = f.Items.schema()
		bounds("minItems", "maxItems")
	case TypeMap:
		schema["type"] = "object"
		schema["additionalProperties"] = f.Items.schema()
	case TypeObject:
		schema = objectSchema(f.Fields)
	}
	if f.Enum != nil {
		schema["enum"] = f.Enum
	}
	if f.Code != "" {
		schema[SchemaCode] = f.Code
		schema["not"] = map[string]any{"pattern": codePattern}
	}
	if f.Names != "" {
		schema[SchemaNames] = f.Names
	}
	if f.acceptsReference() {
		schema = map[string]any{"anyOf": []any{schema, map[string]any{"type": "string", "pattern": referencePattern}}}
	}
	doc := f.Doc
	switch {
	case f.Code != "":
		doc = strings.TrimSpace(doc + " This is code (" + f.Code + "), in which no ${…} can stand.")
	case f.Type == TypeSecret:
		doc = strings.TrimSpace(doc + " It takes a secret of the kind " + string(f.SecretKind()) + ".")
	}
	if doc != "" {
		schema["description"] = doc
	}
	if f.Default != "" {
		value, problem := f.scalar(f.Default, true)
		if problem == "" && f.Type != TypeDuration && f.Type != TypeSize {
			schema["default"] = value
		} else {
			schema["default"] = f.Default
		}
	}
	return schema
}

// acceptsReference reports whether the plain schema of the field would refuse
// the text of a reference.
func (f *Field) acceptsReference() bool {
	switch f.Type {
	case TypeBoolean, TypeInteger, TypeNumber:
		return true
	}
	return f.Enum != nil
}
