package pipeline

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/document"
)

// sharedTemplate declares the parameters that all pipelines of the catalogue have.
const sharedTemplate = "output"

// writeMarkdown documents pipelines: a table of all, the parameters and limits that they
// share, and a section for each.
func (a *app) writeMarkdown(w io.Writer, e *engine.Engine, names []string) error {
	shared, diags := e.Load(sharedTemplate)
	if err := a.Check(e.Source, diags); err != nil {
		return err
	}
	common := map[string]bool{}
	for _, p := range shared.Parameters {
		common[p.Name] = true
	}
	var all []description
	for _, name := range names {
		doc, diags := load(e, name)
		if err := a.Check(e.Source, diags); err != nil {
			return err
		}
		all = append(all, describe(doc))
	}

	fmt.Fprint(w, "| pipeline | | category | class |\n|---|---|---|---|\n")
	for _, d := range all {
		fmt.Fprintf(w, "| [`%s`](#%s) | %s | %s | %s |\n", d.Name, d.Name, cell(d.Title), cell(d.Category), cell(d.Class))
	}
	if slices.ContainsFunc(all, func(d description) bool { return slices.Contains(d.Extends, shared.File) }) {
		fmt.Fprint(w, "\nAll of them take these parameters:\n\n")
		writeParameters(w, describe(shared).Parameters)
		fmt.Fprint(w, "\nand have these limits, unless they say another:\n\n")
		writeLimits(w, describe(shared).Limits.rows())
	}
	for _, d := range all {
		fmt.Fprintf(w, "\n## %s\n\n%s. %s\n", d.Name, cell(d.Title), d.Description)
		var own []parameter
		for _, p := range d.Parameters {
			if !common[p.Name] {
				own = append(own, p)
			}
		}
		if len(own) > 0 {
			fmt.Fprintln(w)
			writeParameters(w, own)
		}
		limits := d.Limits.rows()
		if slices.Contains(d.Extends, shared.File) {
			limits = slices.DeleteFunc(limits, func(row []string) bool {
				return slices.ContainsFunc(describe(shared).Limits.rows(), func(other []string) bool { return slices.Equal(row, other) })
			})
		}
		if len(limits) > 0 {
			fmt.Fprintln(w)
			writeLimits(w, limits)
		}
		fmt.Fprintln(w)
		writeColumns(w, d.Columns)
	}
	return nil
}

func writeParameters(w io.Writer, parameters []parameter) {
	fmt.Fprint(w, "| parameter | type | | |\n|---|---|---|---|\n")
	for _, p := range parameters {
		fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", p.Name, p.Type, cell(p.obligation()), cell(p.about()))
	}
}

func writeLimits(w io.Writer, rows [][]string) {
	fmt.Fprint(w, "| limit | | |\n|---|---|---|\n")
	for _, row := range rows {
		fmt.Fprintf(w, "| `%s` | %s | %s |\n", row[0], row[1], cell(row[2]))
	}
}

func writeColumns(w io.Writer, columns []document.Column) {
	if len(columns) == 0 {
		fmt.Fprintln(w, "The fields are those of what is read.")
		return
	}
	fmt.Fprint(w, "| field | type | NULL | |\n|---|---|---|---|\n")
	for _, c := range columns {
		null := "no"
		if c.Nullable {
			null = "yes"
		}
		fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", c.Name, c.Type, null, cell(c.Description))
	}
}

// cell is text that does not end a table's cell.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(text)
}
