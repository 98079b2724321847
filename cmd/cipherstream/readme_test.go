package main

import (
	"bufio"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// tree is the program's commands below one that does nothing.
func tree() *cobra.Command {
	root := &cobra.Command{Use: "cipherstream"}
	root.PersistentFlags().Bool("json", false, "")
	s := session.New(terminal.Streams{}, nil, nouns...)
	for _, noun := range nouns {
		root.AddCommand(noun(s)...)
	}
	return root
}

// leaves are the commands that do something, by their paths without the program's name.
func leaves(c *cobra.Command) (paths []string) {
	for _, below := range c.Commands() {
		paths = append(paths, leaves(below)...)
	}
	if c.HasParent() && (!c.HasSubCommands() || c.Name() == "sandbox" || c.Name() == "docs") {
		paths = append(paths, strings.TrimPrefix(c.CommandPath(), "cipherstream "))
	}
	return paths
}

// TestReadmeFirstLine: the README's first command prints the row that stands below it, and ends without a word when head
// has seen enough.
func TestReadmeFirstLine(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^    go run \./cmd/cipherstream (.*) \| head$`).FindStringSubmatch(string(text))
	row := regexp.MustCompile(`(?m)^    (\{.*)…$`).FindStringSubmatch(string(text))
	if line == nil || row == nil {
		t.Fatal("the README has no such command, or no row")
	}
	p := cmdtest.Start(t, nil, strings.Fields(line[1])...)
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	rows := bufio.NewReader(out)
	for n := range 10 {
		if got, err := rows.ReadString('\n'); err != nil || n == 0 && !strings.HasPrefix(got, row[1]) || !json.Valid([]byte(got)) {
			t.Errorf("row %d: %q, %v", n, got, err)
		}
	}
	out.Close()
	if code := p.ExitCode(t); code != terminal.ExitPipe || p.Errs.Len() > 0 {
		t.Errorf("exit code %d: %s", code, p.Errs.String())
	}
}

// TestReadmeCommands: every command line of the README is one that the program understands, and its table has every
// command, and no other.
func TestReadmeCommands(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)

	var lines []string
	for _, m := range regexp.MustCompile("(?m)(?:^    |`)(?:go run \\./cmd/)?cipherstream ([a-z][^|`\\n]*)").FindAllStringSubmatch(readme, -1) {
		lines = append(lines, m[1])
	}
	if len(lines) < 20 {
		t.Fatalf("the README has %d command lines: %q", len(lines), lines)
	}
	for _, line := range lines {
		if strings.HasPrefix(line, "help ") {
			continue // of every program that is made with the library
		}
		c, args, err := tree().Find(strings.Fields(line))
		if err == nil {
			err = c.ParseFlags(args)
		}
		if err != nil || !c.HasParent() {
			t.Errorf("cipherstream %s: %v", line, err)
		}
	}

	known := map[string]bool{"--help": true}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, flags := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
			flags.VisitAll(func(f *pflag.Flag) { known["--"+f.Name] = true })
		}
		for _, below := range c.Commands() {
			walk(below)
		}
	}
	walk(tree())
	// Of the README's code, the spans that begin with a flag, or have one of the program's commands before it.
	for _, m := range regexp.MustCompile("`(?:[a-z]+ )?(--[a-z][a-z0-9-]+)").FindAllStringSubmatch(readme, -1) {
		if !known[m[1]] && !strings.Contains(m[0], "mariadb") {
			t.Errorf("no command has %s", m[1])
		}
	}

	_, table, _ := strings.Cut(readme, "| command | |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var listed []string
	for row := range strings.Lines(table) {
		cell := strings.Split(strings.ReplaceAll(row, `\|`, "/"), "|")[1]
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
			var path []string
			for _, word := range strings.Fields(m[1]) {
				if strings.ToLower(word) == word {
					path = append(path, word) // and what is in capitals is an argument
				}
			}
			last := len(path) - 1
			for _, word := range strings.Split(path[last], "/") {
				listed = append(listed, strings.Join(append(path[:last:last], word), " "))
			}
		}
	}
	want := leaves(tree())
	slices.Sort(listed)
	slices.Sort(want)
	if !slices.Equal(listed, want) {
		t.Errorf("the README's table has the commands\n%q, want\n%q", listed, want)
	}
}
