package scaffold

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestOtherLanguages holds the list of files of every example in another language than Go, and that they are finished.
func TestOtherLanguages(t *testing.T) {
	t.Parallel()
	for language, want := range map[string][]string{
		Python:     {".gitignore", "Makefile", "README.md", "pipeline.yaml", "plugin", "plugin.test.yaml", "requirements.txt", "stage.py"},
		JavaScript: {".gitignore", ".npmrc", "Makefile", "README.md", "package-lock.json", "package.json", "pipeline.yaml", "plugin", "plugin.test.yaml", "stage.mjs"},
	} {
		for _, x := range Examples {
			dir, names := write(t, Module{Name: "clinic-" + x.folder(), Kind: x.Kind, Variant: x.Variant, Language: language, SDKVersion: "1.2.3", SDK: repository})
			want := want
			if x.Kind == stage.KindFilter { // whose pipelines are tested with rows
				want = slices.Sorted(slices.Values(append([]string{"pipeline.test.yaml"}, want...)))
			}
			if !slices.Equal(names, want) {
				t.Errorf("%s: %v", x.folder(), names)
			}
			for _, name := range names {
				text := read(t, dir, name)
				if strings.Contains(text, "<%") || !strings.HasSuffix(text, "\n") {
					t.Errorf("%s: %s is not finished:\n%s", x.folder(), name, text)
				}
				if filepath.Ext(name) == ".yaml" {
					if err := yaml.Unmarshal([]byte(text), new(map[string]any)); err != nil {
						t.Errorf("%s: %s: %v", x.folder(), name, err)
					}
				}
			}
		}
	}
}

// TestSmallest counts the lines that an author writes: 20 for a filter, 30 for a source and a sink of rows, without comments,
// empty lines and what says what a text is.
func TestSmallest(t *testing.T) {
	t.Parallel()
	for example, most := range map[string]int{"filter": 20, "source": 30, "sink-table": 30} {
		for language, file := range map[string]string{Python: "stage.py", JavaScript: "stage.mjs"} {
			count := 0
			for line := range strings.Lines(read(t, "templates", language+"-"+example, file+".tmpl")) {
				line = strings.TrimSpace(line)
				if line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "//") && !strings.HasPrefix(line, `"""`) {
					count++
				}
			}
			if count > most {
				t.Errorf("the smallest %s in %s has %d lines; %d are promised", example, language, count, most)
			}
		}
	}
}

// TestJavaScriptRequirements: a plugin needs what the SDK needs, of the same versions.
func TestJavaScriptRequirements(t *testing.T) {
	t.Parallel()
	needs := func(path ...string) (pinned struct{ Dependencies map[string]string }) {
		if err := json.Unmarshal([]byte(read(t, path...)), &pinned); err != nil {
			t.Fatal(err)
		}
		return pinned
	}
	plugin, sdk := needs("templates", "javascript-common", "package.json.tmpl"), needs(repository, "sdk", "javascript", "package.json")
	if len(plugin.Dependencies) == 0 || !maps.Equal(plugin.Dependencies, sdk.Dependencies) {
		t.Errorf("a plugin is given %v, and the SDK needs %v", plugin.Dependencies, sdk.Dependencies)
	}
}

// TestPythonRequirements: a plugin needs what the SDK is tested with.
func TestPythonRequirements(t *testing.T) {
	t.Parallel()
	pins := func(text string) (lines []string) {
		for line := range strings.Lines(text) {
			if strings.Contains(line, "==") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		return lines
	}
	plugin := pins(read(t, "templates", "python-common", "requirements.txt.tmpl"))
	tested := pins(read(t, repository, "integration", "scripts", "plugins.txt"))
	for _, line := range plugin {
		if !slices.Contains(tested, line) {
			t.Errorf("%s is not what integration/scripts/plugins.txt has: %v", line, tested)
		}
	}
	if len(plugin) < 5 {
		t.Errorf("only %v is pinned", plugin)
	}
}

func TestLanguageRefusals(t *testing.T) {
	t.Parallel()
	for what, m := range map[string]Module{
		"another language": {Name: "upper", Kind: stage.KindFilter, Language: "cobol"},
		"a Go path":        {Name: "upper", Kind: stage.KindFilter, Language: Python, Path: "example.org/upper"},
		"one in Node.js":   {Name: "upper", Kind: stage.KindFilter, Language: JavaScript, Path: "example.org/upper"},
	} {
		dir := filepath.Join(t.TempDir(), "x")
		if _, err := Write(t.Context(), m, dir); !fault.Is(err, codeModule) || fault.From(err).Hint == "" {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: something was written", what)
		}
	}
}
