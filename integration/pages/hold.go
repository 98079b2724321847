package pages

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Hold holds a page of docs/ against what it should be; with update it writes that first. Only tests call it.
func Hold(t testing.TB, name string, want []byte, update bool) {
	t.Helper()
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("the sources are not known")
	}
	path := filepath.Join(filepath.Dir(here), "../../docs", filepath.FromSlash(name))
	if update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; `make docs` writes it", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code says; `make docs` writes it anew. %s", name, firstDifference(string(got), string(want)))
	}
}

// firstDifference says where two texts differ first.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		var a, b string
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			return fmt.Sprintf("Line %d is\n%s\ninstead of\n%s", i+1, a, b)
		}
	}
	return ""
}

// Cell is a text in a table of Markdown.
func Cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
