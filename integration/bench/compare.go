package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// muchWorse is the change from which a figure is said to be worse.
const muchWorse = 1.1

// compareFiles prints the figures of two files of -json side by side. Its error says which aims got worse. It is for people who
// have both from one quiet machine, and no test of the program: another machine, or a busy one, shows other figures.
func compareFiles(w io.Writer, before, after string) error {
	a, err := readFigures(before)
	if err != nil {
		return err
	}
	b, err := readFigures(after)
	if err != nil {
		return err
	}
	return compareFigures(w, a, b)
}

func compareFigures(w io.Writer, before, after figures) error {
	if before.Measured != after.Measured || before.Rows != after.Rows {
		return fmt.Errorf("the one is of %s with %s rows, the other of %s with %s: these cannot be compared",
			before.Measured, grouped(before.Rows), after.Measured, grouped(after.Rows))
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s, %s rows: %d rounds before, %d after.\n\n| | aim | before | lowest and highest round | after | lowest and highest round | after ÷ before | |\n"+
		"|---|--:|--:|--:|--:|--:|--:|---|\n", before.Measured, grouped(before.Rows), before.Rounds, after.Rounds)
	old := map[string]figure{}
	for _, f := range before.Figures {
		old[f.Name] = f
	}
	var worse []string
	for _, f := range after.Figures {
		was, both := old[f.Name]
		delete(old, f.Name)
		if !both {
			fmt.Fprintf(&out, "| %s | %s | | | %.2f | %.2f–%.2f | | new |\n", f.Name, f.wanted(), f.Value, f.Lowest, f.Highest)
			continue
		}
		judged := f.against(was)
		if judged == "worse" && f.Aim > 0 {
			judged = "**WORSE**"
			worse = append(worse, f.Name)
		}
		fmt.Fprintf(&out, "| %s | %s | %.2f | %.2f–%.2f | %.2f | %.2f–%.2f | %.2f | %s |\n",
			f.Name, f.wanted(), was.Value, was.Lowest, was.Highest, f.Value, f.Lowest, f.Highest, f.Value/was.Value, judged)
	}
	for _, f := range before.Figures {
		if _, left := old[f.Name]; left {
			fmt.Fprintf(&out, "| %s | %s | %.2f | %.2f–%.2f | | | | not measured |\n", f.Name, f.wanted(), f.Value, f.Lowest, f.Highest)
		}
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		return err
	}
	if len(worse) > 0 {
		return errors.New("worse by a tenth or more, and beyond the noise of the rounds:\n  " + strings.Join(worse, "\n  "))
	}
	return nil
}

// wanted is the aim, as the table shows it.
func (f figure) wanted() string {
	switch {
	case f.Aim == 0:
		return ""
	case f.AtLeast:
		return fmt.Sprintf("≥ %.2f", f.Aim)
	}
	return fmt.Sprintf("≤ %.2f", f.Aim)
}

// against says what became of a figure: "worse" or "better" where it changed by a tenth, and neither median is among the other's
// rounds; "noise" where it is; empty where it changed by less.
func (f figure) against(was figure) string {
	change := f.Value / was.Value
	if f.AtLeast {
		change = 1 / change
	}
	within := f.Value >= was.Lowest && f.Value <= was.Highest || was.Value >= f.Lowest && was.Value <= f.Highest
	switch {
	case change < muchWorse && change > 1/muchWorse:
		return ""
	case within:
		return "noise"
	case change > 1:
		return "worse"
	}
	return "better"
}
