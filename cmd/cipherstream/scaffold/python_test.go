package scaffold

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestPythonFiles holds the list of files of every example in Python, and that they are finished.
func TestPythonFiles(t *testing.T) {
	t.Parallel()
	for _, x := range Examples {
		dir, names := write(t, Module{Name: "clinic-" + x.folder(), Kind: x.Kind, Variant: x.Variant, Language: Python, SDKVersion: "1.2.3", SDK: repository})
		want := []string{".gitignore", "Makefile", "README.md", "file.py", "pipeline.yaml", "plugin", "plugin.test.yaml", "requirements.txt", "stage.py"}
		if x.Kind != stage.KindSink {
			want = slices.DeleteFunc(want, func(name string) bool { return name == "file.py" })
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

// TestSmallestPython counts the lines that an author writes: 20 for a filter, 30 for a source and a sink of rows, without comments,
// empty lines and what says what a text is.
func TestSmallestPython(t *testing.T) {
	t.Parallel()
	for folder, most := range map[string]int{"filter": 20, "source": 30} {
		count := 0
		for line := range strings.Lines(read(t, "templates", "python-"+folder, "stage.py.tmpl")) {
			line = strings.TrimSpace(line)
			if line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, `"""`) {
				count++
			}
		}
		if count > most {
			t.Errorf("the smallest %s has %d lines; %d are promised", folder, count, most)
		}
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

func TestPythonRefusals(t *testing.T) {
	t.Parallel()
	for what, m := range map[string]Module{
		"another language": {Name: "upper", Kind: stage.KindFilter, Language: "cobol"},
		"a Go path":        {Name: "upper", Kind: stage.KindFilter, Language: Python, Path: "example.org/upper"},
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
