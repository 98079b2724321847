package pipeline

import (
	"bytes"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// entry is a pipeline of the catalogue, for machines.
type entry struct {
	Name     string `json:"name"`
	Title    string `json:"title"`
	Category string `json:"category"`
	Class    string `json:"class"`
}

// listGarbage is how much garbage, in percent of what is in use, list lets lie (debug.SetGCPercent).
const listGarbage = 400

func (a *app) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the pipelines of the catalogue",
		Args:  a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			e, err := session.Loader()
			if err != nil {
				return err
			}
			defer e.Close()
			// All documents together are a few MiB of garbage. To collect that again and again took a third of the command.
			defer debug.SetGCPercent(debug.SetGCPercent(listGarbage))
			entries := []entry{}
			var problems diag.List
			for _, name := range e.Names() {
				doc, diags := e.Load(name)
				problems = append(problems, diags...)
				if doc != nil {
					m := doc.Metadata
					entries = append(entries, entry{m.Name, m.Title, m.Category, m.Class})
				}
			}
			if err := a.Check(e.Source, problems); err != nil {
				return err
			}
			return a.Print(func(w io.Writer) error {
				if a.JSON {
					return terminal.WriteJSON(w, map[string]any{"pipelines": entries})
				}
				rows := [][]string{{"NAME", "TITLE", "CATEGORY", "CLASS"}}
				for _, e := range entries {
					rows = append(rows, []string{e.Name, e.Title, e.Category, e.Class})
				}
				return terminal.WriteTable(w, "", rows)
			})
		}),
	}
}

// description is a pipeline as it is declared, for machines.
type description struct {
	entry
	Description string            `json:"description"`
	File        string            `json:"file"`
	Extends     []string          `json:"extends"`
	Parameters  []parameter       `json:"parameters"`
	Stages      []declaredStage   `json:"stages"`
	Columns     []document.Column `json:"columns"`
	Limits      limits            `json:"limits"`
	State       *keeps            `json:"state,omitempty"`
}

// keeps is what a pipeline with state goes on by.
type keeps struct {
	Cursor  string           `json:"cursor"`
	Type    string           `json:"type"`
	Overlap document.Overlap `json:"overlap"`
}

// limits is what bounds a run of a pipeline. What is absent is the engine's own, or not limited.
type limits struct {
	TimeoutSeconds float64 `json:"timeout_seconds,omitempty"`
	StallSeconds   float64 `json:"stall_seconds"`
	MemoryBytes    int64   `json:"memory_bytes,omitempty"`
	BatchRows      int     `json:"batch_rows,omitempty"`
	BatchBytes     int64   `json:"batch_bytes,omitempty"`
	// ParameterBytes bounds the text of each parameter.
	ParameterBytes int64 `json:"parameter_bytes"`
}

func limitsOf(l document.Limits) limits {
	if l.Stall == 0 {
		l.Stall = host.DefaultSilence
	}
	return limits{l.Timeout.Seconds(), l.Stall.Seconds(), l.Memory, l.BatchRows, l.BatchBytes, document.MaxParameterBytes}
}

// rows are the limits for people.
func (l limits) rows() [][]string {
	seconds := func(s float64) string { return time.Duration(s * float64(time.Second)).String() }
	timeout := "none"
	if l.TimeoutSeconds > 0 {
		timeout = seconds(l.TimeoutSeconds)
	}
	rows := [][]string{
		{"timeout", timeout, "For the whole run; --timeout sets another."},
		{"stall", seconds(l.StallSeconds), "For one call of a stage that neither reads nor writes."},
	}
	if l.MemoryBytes > 0 {
		rows = append(rows, []string{"memory", config.Size(l.MemoryBytes).String(), "For all buffers of a run together."})
	}
	if l.BatchRows > 0 {
		rows = append(rows, []string{"batch_rows", fmt.Sprint(l.BatchRows), "Rows that a batch aims at."})
	}
	if l.BatchBytes > 0 {
		rows = append(rows, []string{"batch_bytes", config.Size(l.BatchBytes).String(), "Bytes that a batch aims at."})
	}
	return append(rows, []string{"parameter", config.Size(l.ParameterBytes).String(), "For the text of one parameter."})
}

type parameter struct {
	Name        string        `json:"name"`
	Type        document.Type `json:"type"`
	Required    bool          `json:"required"`
	Default     any           `json:"default"`
	Allowed     []any         `json:"allowed,omitempty"`
	Description string        `json:"description"`
}

type declaredStage struct {
	Kind stage.Kind `json:"kind"`
	Use  string     `json:"use"`
	When string     `json:"when,omitempty"`
}

func describe(doc *document.Document) description {
	m := doc.Metadata
	d := description{
		entry: entry{m.Name, m.Title, m.Category, m.Class}, Description: m.Description,
		File: doc.File, Extends: append([]string{}, doc.Extends...),
		Parameters: []parameter{}, Stages: []declaredStage{}, Columns: append([]document.Column{}, doc.Columns...),
		Limits: limitsOf(doc.Limits),
	}
	if s := doc.State; s != nil {
		d.State = &keeps{s.Cursor, s.CursorType, s.Overlap}
	}
	for _, p := range doc.Parameters {
		d.Parameters = append(d.Parameters, parameter{p.Name, p.Type, p.Required, p.Default, p.Allowed, p.Description})
	}
	for _, s := range doc.Stages {
		declared := declaredStage{Kind: s.Kind}
		if s.Use != nil {
			declared.Use = s.Use.Text
		}
		if s.When != nil {
			declared.When = s.When.Text
		}
		d.Stages = append(d.Stages, declared)
	}
	return d
}

func (a *app) describeCommand() *cobra.Command {
	var markdown bool
	c := &cobra.Command{
		Use:   "describe PIPELINE",
		Short: "Describe a pipeline: parameters, stages, columns, limits",
		Long: `Describe a pipeline: its parameters, stages, limits and columns. With --markdown it
takes several, or none for the whole catalogue, and writes a page about them.`,
		Args: func(c *cobra.Command, args []string) error {
			if markdown {
				return nil
			}
			return a.onePipeline(c, args)
		},
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			if markdown && a.JSON {
				return terminal.UsageFault("--markdown and --json are both given").WithHint("give one")
			}
			e, err := session.Loader()
			if err != nil {
				return err
			}
			defer e.Close()
			if markdown {
				if len(args) == 0 {
					args = e.Names()
				}
				var page bytes.Buffer
				if err := a.writeMarkdown(&page, e, args); err != nil {
					return err
				}
				return a.Print(func(w io.Writer) error { _, err := page.WriteTo(w); return err })
			}
			doc, diags := load(e, args[0])
			if err := a.Check(e.Source, diags); err != nil {
				return err
			}
			d := describe(doc)
			return a.Print(func(w io.Writer) error {
				if a.JSON {
					return terminal.WriteJSON(w, d)
				}
				return d.writeText(w)
			})
		}),
		ValidArgsFunction: a.completePipelines,
	}
	c.Flags().BoolVar(&markdown, "markdown", false, "write a page in Markdown")
	return c
}

func (d description) writeText(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s\n", diag.Printable(d.Name), diag.Printable(d.Title))
	if about := strings.Trim(d.Category+", "+d.Class, ", "); about != "" {
		fmt.Fprintf(w, "  %s\n", diag.Printable(about))
	}
	if d.Description != "" {
		fmt.Fprintf(w, "  %s\n", diag.Printable(d.Description))
	}
	if len(d.Parameters) > 0 {
		fmt.Fprintln(w, "\nParameters")
		var rows [][]string
		for _, p := range d.Parameters {
			rows = append(rows, []string{p.Name, string(p.Type), p.obligation(), p.about()})
		}
		if err := terminal.WriteTable(w, "  ", rows); err != nil {
			return err
		}
	}
	fmt.Fprintln(w, "\nStages")
	var rows [][]string
	for _, s := range d.Stages {
		when := ""
		if s.When != "" {
			when = "when " + s.When
		}
		rows = append(rows, []string{string(s.Kind), s.Use, when})
	}
	if err := terminal.WriteTable(w, "  ", rows); err != nil {
		return err
	}
	if s := d.State; s != nil {
		fmt.Fprintln(w, "\nState")
		if err := terminal.WriteTable(w, "  ", [][]string{
			{"cursor", diag.Printable(s.Cursor), "A run reads what is not below the greatest value that the one before has seen, less the overlap."},
			{"overlap", s.Overlap.String(), "Longer than any transaction that writes the rows; what lies in it is read again."},
		}); err != nil {
			return err
		}
	}
	fmt.Fprintln(w, "\nLimits")
	if err := terminal.WriteTable(w, "  ", d.Limits.rows()); err != nil || len(d.Columns) == 0 {
		return err
	}
	fmt.Fprintln(w, "\nColumns")
	rows = nil
	for _, c := range d.Columns {
		null := "not null"
		if c.Nullable {
			null = ""
		}
		rows = append(rows, []string{c.Name, c.Type.String(), null, c.Description})
	}
	return terminal.WriteTable(w, "  ", rows)
}

// obligation says whether a parameter must be given.
func (p parameter) obligation() string {
	switch {
	case p.Required:
		return "required"
	case p.Default == nil:
		return "optional"
	}
	return fmt.Sprintf("default %v", p.Default)
}

// about is the description with the allowed values.
func (p parameter) about() string {
	if len(p.Allowed) == 0 {
		return p.Description
	}
	var allowed []string
	for _, v := range p.Allowed {
		allowed = append(allowed, fmt.Sprint(v))
	}
	return strings.TrimSpace(p.Description + " One of " + strings.Join(allowed, ", ") + ".")
}
