// Package draft writes pipelines as a person would begin them: a source, the columns that it delivers, what looks
// like personal data marked and masked, and a test of it with invented rows. It owns the text of such files and what
// a name says of a column; it never talks to a server, and knows no value of a database.
package draft

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/cipherstream/cipherstream/engine/diag"
)

// Pipeline is what a pipeline is written of. One of Table, Query and Procedure is given.
type Pipeline struct {
	// Name is that of the pipeline (see Name), Title that of what it reads, and Description a sentence about it.
	Name, Title, Description string

	// Table is a table or a view of the connection's database, of which Columns are read.
	Table string
	// Query is one statement that gives rows.
	Query string
	// Procedure is called.
	Procedure string
	// Parameters are those of the procedure, or the question marks of the query, in their order.
	Parameters []Parameter

	Columns []Column
}

// Column is what a column of the source is.
type Column struct {
	Name string
	// Type is in the words of a pipeline's columns.
	Type        string
	Nullable    bool
	Description string
	// Members are those of an ENUM, where they are known.
	Members []string
	// Personal says why it looks like personal data; nil where it does not.
	Personal *Personal
}

// Parameter is one of a procedure, or a question mark of a query.
type Parameter struct {
	// Name is the procedure's, or says what a question mark is about; MySQL is the type that the server takes.
	Name, MySQL string
	// Out says that it takes nothing.
	Out bool
	// Description is a sentence about it.
	Description string
	// Pipeline is the name of the pipeline's parameter, Type its type (see NameParameters).
	Pipeline, Type string
	// Again says that it has the value of the one before that has the same name in the pipeline.
	Again bool
	// Default is its value where none is given, of the kind that document.Type.ParseValue gives; nil is NULL.
	Default any
}

var apart = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[^a-z0-9]+`) })

// longestName is that of a name in a pipeline.
const longestName = 64

// Name makes a name of a pipeline, or of a parameter, of any text: lower-case letters, digits and underscores. What
// nothing is left of gets the other name.
func Name(text, otherwise string) string {
	name := strings.Trim(apart().ReplaceAllString(umlauts.Replace(strings.ToLower(text)), "_"), "_")
	name = strings.TrimRight(name[:min(len(name), longestName-len(otherwise)-1)], "_")
	switch {
	case name == "":
		return otherwise
	case name[0] >= '0' && name[0] <= '9':
		return otherwise + "_" + name
	}
	return name
}

// taken are the parameters of the template that drafts extend.
var taken = []string{"output_format", "compression", "encrypted", "mode", "limit"}

// Taken reports whether a name is that of a parameter that every draft has.
func Taken(name string) bool { return slices.Contains(taken, name) }

// NameParameters gives parameters the names and types that they have in the pipeline: without the p_ that all of a
// procedure's may begin with. One that is called as one of the template's gets another name.
func NameParameters(list []Parameter) {
	prefix := "p_"
	for _, p := range list {
		if !strings.HasPrefix(strings.ToLower(p.Name), prefix) {
			prefix = ""
		}
	}
	seen := slices.Clone(taken)
	for i := range list {
		p := &list[i]
		base := Name(p.Name[len(prefix):], "value")
		name := base
		for n := 2; slices.Contains(seen, name); n++ {
			name = fmt.Sprintf("%s_%d", base, n)
		}
		seen = append(seen, name)
		p.Pipeline, p.Type = name, ParameterType(p.MySQL)
	}
}

// ParameterType is the type of a pipeline's parameter for a type of MySQL; text is for those of others.
func ParameterType(mysql string) string {
	word := strings.ToLower(mysql)
	if end := strings.IndexFunc(word, func(r rune) bool { return !unicode.IsLetter(r) }); end >= 0 {
		word = word[:end]
	}
	switch word {
	case "tinyint", "smallint", "mediumint", "int", "integer", "bigint", "year":
		return "integer"
	case "decimal", "numeric", "dec", "fixed", "float", "double", "real":
		return "decimal"
	case "date":
		return "date"
	}
	return "string"
}

// YAML is the pipeline's file. Test is the name of the file of its test.
func (p *Pipeline) YAML(file, test string) string {
	var b strings.Builder
	comment(&b, "",
		diag.Printable(p.about())+" Its columns are those that the server describes; no row was read to write this.\n"+
			"Change what you like, and look whether it holds:\n"+
			"  cipherstream test "+shell(test)+"\n  cipherstream check "+shell(file)+"\n  cipherstream run "+shell(file)+" -o "+p.Name+".parquet")
	b.WriteString("apiVersion: cipherstream/v1\nkind: Pipeline\nmetadata:\n  name: " + scalar(p.Name) +
		"\n  title: " + scalar(p.Title) + "\n")
	if p.Description != "" {
		b.WriteString("  description: " + scalar(p.Description) + "\n")
	}
	b.WriteString("spec:\n  extends: output  # format, compression, encryption and where it goes\n")
	p.writeParameters(&b)
	b.WriteString("  stages:\n    source:\n      with:\n")
	switch {
	case p.Table != "":
		p.writeRequest(&b)
	case p.Query != "":
		writeQuery(&b, p.Query)
		p.writeArgs(&b)
	default:
		p.writeCall(&b)
	}
	p.writeMask(&b)
	b.WriteString("  columns:  # the contract: what is not so ends a run before its first row\n")
	for i := range p.Columns {
		c := &p.Columns[i]
		pairs := []pair{{"name", scalar(c.Name)}, {"type", scalarType(c.Type)}}
		if !c.Nullable {
			pairs = append(pairs, pair{"nullable", "false"})
		}
		if c.Personal != nil {
			pairs = append(pairs, pair{"personal", "true"})
		}
		if c.Description != "" {
			pairs = append(pairs, pair{"description", scalar(c.Description)})
		}
		entry(&b, "    ", pairs)
	}
	return b.String()
}

// about says in a sentence what the pipeline reads.
func (p *Pipeline) about() string {
	switch {
	case p.Table != "":
		return "The rows of " + p.Table + "."
	case p.Query != "":
		return "The result of a query."
	}
	return "What the procedure " + p.Procedure + " gives."
}

// scalarType writes a column's type: one with a comma stands in quotes.
func scalarType(t string) string {
	if strings.Contains(t, ",") {
		return quoted(t)
	}
	return t
}

// shell writes an argument for a shell.
func shell(text string) string {
	text = diag.Printable(text)
	if regexp.MustCompile(`^[A-Za-z0-9_./-]+$`).MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

func (p *Pipeline) writeParameters(b *strings.Builder) {
	for _, of := range p.Parameters {
		if of.Out || of.Again {
			continue
		}
		if !strings.Contains(b.String(), "\n  parameters:") {
			b.WriteString("  parameters:  # one without a default that is not given is NULL\n")
		}
		pairs := []pair{{"name", of.Pipeline}, {"type", of.Type}}
		switch v := of.Default.(type) {
		case nil:
		case string:
			pairs = append(pairs, pair{"default", scalar(v)})
		default:
			pairs = append(pairs, pair{"default", fmt.Sprint(v)})
		}
		entry(b, "    ", append(pairs, pair{"description", scalar(of.Description)}))
	}
}

var simpleName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`) })

func (p *Pipeline) writeRequest(b *strings.Builder) {
	allowed := strings.ReplaceAll(p.Table, ",", "*") // which stands for any characters: a comma ends a name
	if trimmed := strings.TrimLeft(allowed, " "); trimmed != allowed {
		allowed = "*" + trimmed
	}
	b.WriteString("        request:\n          table_name: " + setting(p.Table) + "\n          allowed_tables: " +
		setting(allowed) + "\n")
	names := make([]string, len(p.Columns))
	simple := true
	for i, c := range p.Columns {
		names[i] = c.Name
		simple = simple && simpleName().MatchString(c.Name)
	}
	if !simple { // an array of JSON, in which a name may hold anything
		for i, name := range names {
			names[i] = literal(jsonText(name))
		}
		names[0] = "[" + names[0]
		names[len(names)-1] += "]"
	}
	b.WriteString("          columns: >-\n")
	folded(b, "            ", names, ",")
}

// jsonText writes a name as text of JSON that a block of YAML can hold.
func jsonText(text string) string {
	return inQuotes(text, func(b *strings.Builder, r rune) {
		fmt.Fprintf(b, `\u%04X`, r) // a name of MySQL has no character beyond these
	})
}

// writeQuery writes a statement: its lines as they are, or one long one broken at spaces.
func writeQuery(b *strings.Builder, query string) {
	const indent = "          "
	query = literal(query)
	lines := strings.Split(query, "\n")
	seen := !strings.ContainsFunc(strings.ReplaceAll(query, "\n", ""), unseen)
	ragged := slices.ContainsFunc(lines, func(line string) bool { return strings.TrimRight(line, " ") != line }) ||
		strings.HasPrefix(query, " ") || strings.HasSuffix(query, "\n")
	words := strings.Split(query, " ")
	switch {
	case len(lines) > 1 && seen && !ragged:
		b.WriteString("        query: |-\n")
		for _, line := range lines {
			if line != "" {
				line = indent + line
			}
			b.WriteString(line + "\n")
		}
	case len(lines) == 1 && len(query) > lineWidth-len(indent) && seen && !slices.Contains(words, ""):
		b.WriteString("        query: >-\n")
		folded(b, indent, words, "")
	default:
		b.WriteString("        query: " + scalar(query) + "\n")
	}
}

func (p *Pipeline) writeCall(b *strings.Builder) {
	dotted := strings.Contains(p.Procedure, ".")
	if dotted { // in call, a point stands between a database and a procedure
		b.WriteString("        query: " + setting(CallStatement(p.Procedure, len(p.Parameters))) + "\n")
	} else {
		b.WriteString("        call: " + setting(p.Procedure) + "\n")
	}
	p.writeArgs(b)
}

// writeArgs writes what is bound, one for each parameter.
func (p *Pipeline) writeArgs(b *strings.Builder) {
	if len(p.Parameters) == 0 {
		return
	}
	args := make([]string, len(p.Parameters))
	for i, of := range p.Parameters {
		args[i] = `"${params.` + of.Pipeline + `}"`
		if of.Out {
			args[i] = "null"
		}
	}
	if line := "        args: [" + strings.Join(args, ", ") + "]"; len(line) <= lineWidth {
		b.WriteString(line + "\n")
		return
	}
	b.WriteString("        args:\n")
	for _, arg := range args {
		b.WriteString("          - " + arg + "\n")
	}
}

// CallStatement is the call of a procedure with a question mark for each argument.
func CallStatement(procedure string, args int) string {
	return "CALL `" + strings.ReplaceAll(procedure, "`", "``") + "`(" + strings.TrimSuffix(strings.Repeat("?, ", args), ", ") + ")"
}

// masking is what is suggested for a column.
type masking struct {
	action string
	value  *value // of constant
	keep   int    // of keep_last
}

// mask suggests how a column's values are hidden, so that its type and what the contract says of NULL stay as they are.
func (c *Column) mask() masking {
	base, _ := typeOf(c.Type)
	switch {
	case c.Personal.kind.born && (base == "date" || base == "timestamp"):
		return masking{action: "year"}
	case c.Personal.kind.keepLast && base == "string":
		return masking{action: "keep_last", keep: 4}
	case c.Nullable:
		return masking{action: "null"}
	}
	constant := nothing(c.Type)
	return masking{action: "constant", value: &constant}
}

// yaml writes the action.
func (m masking) yaml() string {
	switch m.action {
	case "null":
		return `{action: "null"}`
	case "constant":
		return "{action: constant, value: " + m.value.yaml() + "}"
	case "keep_last":
		return fmt.Sprintf("{action: keep_last, keep: %d}", m.keep)
	}
	return "{action: " + m.action + "}"
}

// apply is what becomes of an invented value.
func (m masking) apply(v *value) *value {
	switch {
	case m.action == "null":
		return nil
	case m.action == "constant":
		return m.value
	case v == nil:
		return nil
	case m.action == "keep_last":
		hidden := len(v.text) // samples are ASCII
		if hidden > m.keep {
			hidden -= m.keep
		}
		return &value{strings.Repeat("*", hidden) + v.text[hidden:], false}
	}
	day, clock, timed := strings.Cut(v.text, " ")
	day = day[:len("2024")] + "-01-01"
	if timed {
		day += " " + strings.Map(func(r rune) rune {
			if unicode.IsDigit(r) {
				return '0'
			}
			return r
		}, clock)
	}
	return &value{day, false}
}

// Masked reports whether the pipeline hides the column: it looks like personal data, and its name can be a key of the
// settings, where no reference can stand.
func (c *Column) Masked() bool { return c.Personal != nil && !strings.Contains(c.Name, "${") }

// Personal lists the columns that look like personal data.
func (p *Pipeline) Personal() (list []Column) {
	for _, c := range p.Columns {
		if c.Personal != nil {
			list = append(list, c)
		}
	}
	return list
}

// masked lists those of them that are hidden.
func (p *Pipeline) masked() []Column {
	return slices.DeleteFunc(p.Personal(), func(c Column) bool { return !c.Masked() })
}

func (p *Pipeline) writeMask(b *strings.Builder) {
	masked := p.masked()
	if len(masked) == 0 {
		return
	}
	b.WriteString("    filter:\n")
	comment(b, "      ", "What looks like personal data, by names and types alone, is hidden. Take out of here, "+
		"and out of personal: true below and the test, what is to be seen, and add what was not recognised. "+
		"For pseudonyms that can be joined, see the action hmac: cipherstream plugin info mask.")
	b.WriteString("      use: mask\n      with:\n        columns:\n")
	for _, c := range masked {
		fmt.Fprintf(b, "          %s: %s  # %s, by %q in its name\n", scalar(c.Name), c.mask().yaml(), c.Personal.What,
			c.Personal.Word)
	}
}

// Test is the file of the pipeline's test. File is the pipeline's.
func (p *Pipeline) Test(file, test string) string {
	const rows = 2
	var b strings.Builder
	comment(&b, "", "Invented rows, and what "+diag.Printable(filepath.Base(file))+" makes of them: a second one has "+
		"NULL wherever there may be one.\n  cipherstream test "+shell(test))
	b.WriteString("apiVersion: cipherstream/v1\nkind: Test\npipeline: " + scalar("./"+filepath.Base(file)) + "\ncases:\n")
	masked := len(p.masked()) > 0
	name, anchor := "rows come out as they are", " &rows"
	if masked {
		name, anchor = "what is personal is hidden, and the rest comes out as it is", ""
	}
	b.WriteString("  - name: " + scalar(name) + "\n    rows:" + anchor + "\n")
	for row := 1; row <= rows; row++ {
		p.writeRow(&b, "      ", row, false)
	}
	if !masked {
		b.WriteString("    expect: {rows: *rows}\n")
	} else {
		b.WriteString("    expect:\n      rows:\n")
		for row := 1; row <= rows; row++ {
			p.writeRow(&b, "        ", row, true)
		}
	}
	b.WriteString("  - name: no rows\n    rows: []\n    expect: {rows: []}\n")
	return b.String()
}

// writeRow writes an invented row, or what comes of it.
func (p *Pipeline) writeRow(b *strings.Builder, indent string, row int, masked bool) {
	pairs := make([]pair, len(p.Columns))
	for i := range p.Columns {
		c := &p.Columns[i]
		var v *value
		if row == 1 || !c.Nullable {
			v = invent(c, row)
		}
		if masked && c.Masked() {
			v = c.mask().apply(v)
		}
		pairs[i] = pair{scalar(c.Name), v.yaml()}
	}
	entry(b, indent, pairs)
}
