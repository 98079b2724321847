package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/scaffold"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/integration/node"
	"github.com/cipherstream/cipherstream/integration/python"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// languages are the filter that "plugin new" writes, in each language: it writes a text column in capitals. The first is none.
var languages = []struct{ name, use string }{
	{"no filter", ""},
	{"Go", "{use: bench/upper, isolation: process, with: {column: name}}"},
	{"Python", "{use: python/python, with: {column: name}}"},
	{"JavaScript", "{use: javascript/javascript, with: {column: name}}"},
}

// measurePlugins prints what a filter costs a row more than none, in a process of its own, by turns. Every run has its start in
// it, which a run of one row shows.
func measurePlugins(ctx context.Context, out io.Writer, o options, dir, program, plugins string) error {
	defer host.RemoveBundle(plugins)
	for _, language := range []string{scaffold.Python, scaffold.JavaScript} {
		bundle := filepath.Join(dir, language)
		if err := bundleFilter(ctx, language, bundle); err != nil {
			return err
		}
		if said, err := exec.CommandContext(ctx, program, "plugin", "install", bundle, "--plugins", plugins).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, said)
		}
	}
	walls, cpus := map[string][]float64{}, map[string][]float64{}
	key := func(name string, rows int64) string { return fmt.Sprint(name, rows) }
	for round := range o.rounds + 1 {
		for i := range languages {
			l := languages[(i+round)%len(languages)]
			for _, rows := range []int64{1, o.rows} {
				u, err := measureLanguage(ctx, l.use, rows, dir, program, plugins)
				if err != nil {
					return fmt.Errorf("%s: %w", l.name, err)
				}
				if round > 0 {
					walls[key(l.name, rows)] = append(walls[key(l.name, rows)], u.wall.Seconds())
					cpus[key(l.name, rows)] = append(cpus[key(l.name, rows)], u.cpu.Seconds())
				}
			}
		}
		say("round %d of %d", round, o.rounds)
	}
	fmt.Fprintf(out, "%s rows of a number and a short text, which a filter writes in capitals; medians of %d rounds.\n\n", grouped(o.rows), o.rounds)
	fmt.Fprintf(out, "| filter | one row, s | all rows, s | ns of wall a row, more than none | ns of CPU a row, more than none |\n|---|--:|--:|--:|--:|\n")
	perRow := func(of map[string][]float64, name string) float64 {
		alone := median(of[key(name, o.rows)]) - median(of[key(name, 1)])
		none := median(of[key(languages[0].name, o.rows)]) - median(of[key(languages[0].name, 1)])
		return (alone - none) * 1e9 / float64(o.rows)
	}
	for _, l := range languages {
		fmt.Fprintf(out, "| %s | %.2f | %.2f | %.0f | %.0f |\n", l.name, median(walls[key(l.name, 1)]), median(walls[key(l.name, o.rows)]),
			perRow(walls, l.name), perRow(cpus, l.name))
	}
	return nil
}

// bundleFilter makes the bundle of a new filter, called as its language is.
func bundleFilter(ctx context.Context, language, bundle string) error {
	m := scaffold.Module{Name: language, Kind: stage.KindFilter, Language: language, SDKVersion: "0.0.0"}
	project := bundle + "-project"
	if _, err := scaffold.Write(ctx, m, project); err != nil {
		return err
	}
	file := "stage.py"
	switch language {
	case scaffold.JavaScript:
		file = "stage.mjs"
		modules, err := node.Modules("sdk/javascript")
		if err != nil {
			return err
		}
		if err := node.Bundle(bundle, modules, "sdk/javascript"); err != nil {
			return err
		}
	default:
		if err := python.Bundle(bundle, "sdk/python"); err != nil {
			return err
		}
	}
	for name, mode := range map[string]os.FileMode{file: 0o600, "plugin": 0o700} {
		text, err := os.ReadFile(filepath.Join(project, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(bundle, name), text, mode); err != nil {
			return err
		}
	}
	return nil
}

func measureLanguage(ctx context.Context, use string, rows int64, dir, program, plugins string) (usage, error) {
	lines := []string{"apiVersion: cipherstream/v1", "kind: Pipeline", "metadata: {name: words, title: Words}", "spec:", "  stages:",
		fmt.Sprintf("    source: {use: bench/words, with: {rows: %d}}", rows)}
	if use != "" {
		lines = append(lines, "    filter: "+use)
	}
	lines = append(lines, "    encoder: {use: ndjson}", `    sink: {use: stream, with: {to: "${run.output}"}}`, "")
	pipeline := filepath.Join(dir, "words.yaml")
	if err := os.WriteFile(pipeline, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		return usage{}, err
	}
	cmd := exec.Command(program, "run", pipeline, "-o", filepath.Join(dir, "words"), "--progress", "none", "--plugins", plugins)
	var said strings.Builder
	cmd.Stderr = &said
	u, err := measure(ctx, cmd)
	if err != nil {
		return u, fmt.Errorf("%w: %s", err, said.String())
	}
	return u, nil
}
