package editors

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	built "github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/integration/required"
)

const page = "../../docs/editors.md"

// block is the code of a language that the page prints.
func block(t *testing.T, language string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(m) != 1 {
		t.Fatalf("%s prints %d pieces of %s, and one is expected", page, len(m), language)
	}
	return m[0][1]
}

// program is the folder of the program, in front of the path.
func program(t *testing.T) string {
	t.Helper()
	path, err := built.Path()
	if err != nil {
		t.Fatal(err)
	}
	return "PATH=" + filepath.Dir(path) + string(os.PathListSeparator) + os.Getenv("PATH")
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

const visits = `apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: visits, title: "Visits 🦷", claas: data}
spec:
  extends: data
  stages:
    source:
      use: mysql
      with:
        call: appointments
`

// seen is what testdata/session.lua writes.
type seen struct {
	Missing    string
	Diagnostic struct {
		Message                     string
		Line, Column, Finish, Count int
	}
	Fixed     string
	Completed []string
	Hover     string
	Declared  string
}

// TestNeovim: with the settings that the page prints, Neovim shows a problem, has it fixed, completes, shows the
// documentation, and jumps to a template of the catalogue.
func TestNeovim(t *testing.T) {
	nvim, err := exec.LookPath("nvim")
	if err != nil {
		required.Missing(t, "Neovim is not here: bash integration/scripts/deps.sh nvim")
	}
	folder := t.TempDir()
	write(t, filepath.Join(folder, "visits.yaml"), visits)
	write(t, filepath.Join(folder, "nvim", "init.lua"), block(t, "lua"))
	script, err := filepath.Abs("testdata/session.lua")
	if err != nil {
		t.Fatal(err)
	}
	result := filepath.Join(folder, "seen.json")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	editor := exec.CommandContext(ctx, nvim, "--headless", "-n", "-u", filepath.Join(folder, "nvim", "init.lua"), "visits.yaml", "-S", script)
	editor.Dir = folder
	editor.Env = append(os.Environ(), program(t), "SEEN="+result, "HOME="+folder, "XDG_CONFIG_HOME="+folder, "XDG_CACHE_HOME="+folder, "XDG_DATA_HOME="+folder, "XDG_STATE_HOME="+folder)
	said, err := editor.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	var got seen
	text, err := os.ReadFile(result)
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if got.Missing != "" {
		t.Fatalf("nothing came of: %s\n%s\n%s", got.Missing, text, said)
	}
	if d := got.Diagnostic; d.Line != 2 || d.Column != strings.Index(strings.Split(visits, "\n")[2], "claas") || d.Finish != d.Column+5 ||
		!strings.HasPrefix(d.Message, `unknown key "claas" in metadata`) || !strings.Contains(d.Message, `did you mean "class"?`) {
		t.Errorf("the problem is shown as %+v", d)
	}
	if got.Fixed != `metadata: {name: visits, title: "Visits 🦷", class: data}` {
		t.Errorf("the fix makes it %s", got.Fixed)
	}
	if !slices.ContainsFunc(got.Completed, func(word string) bool { return strings.HasPrefix(word, "params.from_date") }) {
		t.Errorf("it offers %q", got.Completed)
	}
	if !strings.Contains(got.Hover, "mysql") || !strings.Contains(got.Hover, "of `cipherstream`") && !strings.Contains(got.Hover, "of cipherstream") {
		t.Errorf("the documentation is %q", got.Hover)
	}
	if !strings.Contains(got.Declared, "name: from_date, type: date") {
		t.Errorf("the parameter is declared as %q", got.Declared)
	}
}

// TestHelix: Helix finds the server by the settings that the page prints. Debian has no Helix.
func TestHelix(t *testing.T) {
	hx, err := exec.LookPath("hx")
	if err != nil {
		t.Skip("SKIPPED, NOT TESTED: Helix is not here, and Debian does not have it: the settings for it are only read")
	}
	folder := t.TempDir()
	write(t, filepath.Join(folder, "helix", "languages.toml"), block(t, "toml"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	editor := exec.CommandContext(ctx, hx, "--health", "yaml")
	editor.Env = append(os.Environ(), program(t), "HOME="+folder, "XDG_CONFIG_HOME="+folder)
	said, err := editor.CombinedOutput()
	if err != nil || !regexp.MustCompile(`✓.*cipherstream`).Match(said) {
		t.Errorf("%v: %s", err, said)
	}
}

// TestPrintedJSON: the settings for Visual Studio Code are what its files hold, and start the program as it is started.
func TestPrintedJSON(t *testing.T) {
	var settings map[string]any
	if err := json.Unmarshal([]byte(block(t, "json")), &settings); err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, value := range settings {
		text, _ := json.Marshal(value)
		told = append(told, string(text))
	}
	if all := strings.Join(told, " "); !strings.Contains(all, `"cipherstream"`) || !strings.Contains(all, `["lsp"]`) || !strings.Contains(all, `["yaml"]`) {
		t.Errorf("%s", all)
	}
}
