package plan

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// WriteJSON renders the plan for machines: the Plan as one JSON object, secrets
// as "[secret]", numbers exact.
func (p *Plan) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(p)
}

// WriteText renders the plan for people: the stages with what flows between
// them and the processes they run in, their settings, which secret goes where, the
// parameters, and the columns of the contract. Secrets are shown as [secret].
func (p *Plan) WriteText(w io.Writer) error {
	out := bufio.NewWriter(w)
	line := func(format string, args ...any) {
		fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf(format, args...), " "))
	}
	name := p.Name
	if p.Title != "" {
		name += " (" + diag.Printable(p.Title) + ")"
	}
	line("Pipeline %s", name)
	line("  from %s", diag.Printable(p.File))
	for _, file := range p.Extends {
		line("  extends %s", diag.Printable(file))
	}
	if len(p.Parameters) > 0 {
		line("\nParameters")
		rows := [][]string{}
		for _, v := range p.Parameters {
			note := ""
			if !v.Given && v.Value != nil {
				note = "default"
			}
			rows = append(rows, []string{v.Name, string(v.Type), show(v.Value), note})
		}
		table(line, rows)
	}
	line("\nStages")
	p.writeStages(line)
	if len(p.Secrets) > 0 {
		line("\nSecrets")
		rows := [][]string{}
		for _, u := range p.Secrets {
			rows = append(rows, []string{u.Secret, string(u.Kind), "→ " + diag.Printable(u.Stage), diag.Printable(settingName(u.Setting))})
		}
		table(line, rows)
	}
	if len(p.Columns) > 0 {
		line("\nColumns")
		rows := [][]string{}
		for _, c := range p.Columns {
			null := "not null"
			if c.Nullable {
				null = ""
			}
			rows = append(rows, []string{diag.Printable(c.Name), c.Type.String(), null, diag.Printable(c.Description)})
		}
		table(line, rows)
	}
	if p.State != nil {
		line("\nState")
		rows := [][]string{{"cursor", diag.Printable(p.State.Cursor), p.State.Type}, {"overlap", p.State.Overlap.String(), ""}}
		switch {
		case !p.State.Kept:
			rows = append(rows, []string{"reads", "every row", "and keeps no state"})
		case p.State.From == "":
			rows = append(rows, []string{"reads", "every row", "for it is the first run"})
		default:
			rows = append(rows, []string{"last", p.State.Last, ""}, []string{"reads from", p.State.From, ""})
		}
		table(line, rows)
	}
	if p.Limits != (Limits{}) {
		line("\nLimits")
		var rows [][]string
		add := func(name, value string, set bool) {
			if set {
				rows = append(rows, []string{name, value})
			}
		}
		add("memory", config.Size(p.Limits.MemoryBytes).String(), p.Limits.MemoryBytes > 0)
		add("timeout", fmt.Sprintf("%gs", p.Limits.TimeoutSeconds), p.Limits.TimeoutSeconds > 0)
		add("stall", fmt.Sprintf("%gs", p.Limits.StallSeconds), p.Limits.StallSeconds > 0)
		add("batch_rows", fmt.Sprint(p.Limits.BatchRows), p.Limits.BatchRows > 0)
		add("batch_bytes", config.Size(p.Limits.BatchBytes).String(), p.Limits.BatchBytes > 0)
		table(line, rows)
	}
	return out.Flush()
}

func (p *Plan) writeStages(line func(string, ...any)) {
	rows := [][]string{}
	var settings [][]string // of each row
	for g, group := range p.Groups {
		process := fmt.Sprintf("process %d", g+1)
		if group.InHost {
			process = "in this process"
		}
		for _, i := range group.Stages {
			s := p.Stages[i]
			gives := ""
			if s.Out != stage.ShapeNone {
				gives = "→ " + string(s.Out)
			}
			id := s.ID
			if id != string(s.Kind) && !strings.HasPrefix(id, string(s.Kind)+"-") {
				id += " (" + string(s.Kind) + ")"
			}
			use := s.Plugin + "/" + s.Name
			if s.Caller {
				use = "what the caller gives"
			}
			rows = append(rows, []string{id, use, gives, process})
			var lines []string
			for _, key := range slices.Sorted(maps.Keys(s.Config)) {
				text := show(s.Config[key])
				if key == "columns" && s.ofPlan {
					text = "those below"
				}
				lines = append(lines, diag.Printable(key)+": "+text)
			}
			settings = append(settings, lines)
		}
	}
	i := 0
	table(func(format string, args ...any) {
		line(format, args...)
		for _, text := range settings[i] {
			line("      %s", text)
		}
		i++
	}, rows)
}

// settingName writes a JSON Pointer as people do.
func settingName(pointer string) string { return strings.Join(Path(pointer), ".") }

// longestShown is how many characters of a value the text form shows.
const longestShown = 160

// show writes a value as JSON, so that text and numbers can be told apart.
func show(value any) string {
	if s, ok := value.(config.Secret); ok {
		return s.String()
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return "?"
	}
	text := strings.TrimSpace(b.String())
	if utf8.RuneCountInString(text) > longestShown {
		text = string([]rune(text)[:longestShown]) + "…"
	}
	return diag.Printable(text)
}

// table writes rows with their cells in columns.
func table(line func(string, ...any), rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString("  " + cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
		}
		line("%s", b.String())
	}
}
