package config

import "strings"

// Described is one setting as documentation shows it.
type Described struct {
	// Name is the setting's path: a.b is a member of an object, a[].b one of a list's element, a.*.b one of a map's value.
	Name string
	// Type is the type in words, such as "list of string", "secret (keys)" or "code (sql)".
	Type string
	// Obligation is "required", "default …", or empty.
	Obligation string
	// Doc is what the setting means, and which values it takes.
	Doc string
}

// Describe documents settings: a row for every one, those inside of others after them. Settings that nobody writes are
// left out.
func Describe(fields []Field) []Described { return describeFields("", fields, nil) }

func describeFields(path string, fields []Field, rows []Described) []Described {
	for _, f := range fields {
		if f.FilledIn() {
			continue
		}
		name := path + f.Name
		rows = append(rows, Described{name, f.typeText(), f.obligation(), f.meaning()})
		inside := f
		for inside.Items != nil {
			step := "[]"
			if inside.Type == TypeMap {
				step = ".*"
			}
			name, inside = name+step, *inside.Items
		}
		rows = describeFields(name+".", inside.Fields, rows)
	}
	return rows
}

func (f Field) typeText() string {
	switch {
	case f.Code != "":
		return "code (" + f.Code + ")"
	case f.Type == TypeSecret:
		return "secret (" + string(f.SecretKind()) + ")"
	case f.Items == nil:
		return string(f.Type)
	}
	return string(f.Type) + " of " + f.Items.typeText()
}

func (f Field) obligation() string {
	switch {
	case f.Required:
		return "required"
	case f.Default != "":
		return "default " + f.Default
	}
	return ""
}

// meaning is the documentation with what is allowed.
func (f Field) meaning() string {
	parts := []string{strings.TrimSpace(f.Doc)}
	if len(f.Enum) > 0 {
		parts = append(parts, "One of "+strings.Join(f.Enum, ", ")+".")
	}
	bounds := ""
	switch {
	case f.Min != "" && f.Max != "":
		bounds = "from " + f.Min + " to " + f.Max + "."
	case f.Min != "":
		bounds = "at least " + f.Min + "."
	case f.Max != "":
		bounds = "at most " + f.Max + "."
	}
	if bounds != "" {
		of := "Value "
		if f.Type == TypeString || f.Type == TypeList || f.Type == TypeMap {
			of = "Length "
		}
		parts = append(parts, of+bounds)
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}
