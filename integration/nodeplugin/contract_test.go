package nodeplugin

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/node"
)

// TestBreaches: a filter that is written without the SDK, and breaks what it has declared, fails the run by its name;
// nothing of the output is seen.
func TestBreaches(t *testing.T) {
	const whole = "  apply(batch) {\n"
	for name, c := range map[string]struct {
		apply string // what it does instead, with the good result of whole(batch)
		says  string
	}{
		"a row is lost": {"this.calls = (this.calls ?? 0) + 1; const all = this.whole(batch); return this.calls === 2 ? all.slice(1) : all;",
			`plugin "redact" declares that it keeps rows, but made 2499 of 2500`},
		"a column is called otherwise from the second batch on": {"this.calls = (this.calls ?? 0) + 1; return this.calls > 1 ? this.whole(batch, 'other') : this.whole(batch);",
			`plugin "redact" broke the protocol of the data stream: the stage before sends more behind the end of its stream; a stream has one schema, that of its beginning`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorkspace(t)
			w.pin("redact", altered(t, strings.NewReplacer(
				whole, "  apply(batch) { "+c.apply+" }\n\n  whole(batch, name) {\n    const schema = name ? new Schema(this.#schema.fields.map((f) => new Field(name, f.type, f.nullable, f.metadata)), this.#schema.metadata) : this.#schema;\n",
				"return new RecordBatch(this.#schema, makeData({ type: new Struct(this.#schema.fields)", "return new RecordBatch(schema, makeData({ type: new Struct(schema.fields)")))
			path := w.pipeline(`{use: third/count, with: {rows: 2500, batch: 500}}`, `{use: redact/text}`)
			r := w.run("run", path, "-o", filepath.Join(w.out, "rows"))
			if r.code != 1 || !strings.Contains(r.stderr, c.says) || !strings.Contains(r.stderr, "stage: filter\n") {
				t.Errorf("it ended with %d:\n%s", r.code, r.stderr)
			}
			w.empty(w.out)
		})
	}
}

// altered builds the plugin with another text of its filter.
func altered(t *testing.T, by *strings.Replacer) string {
	t.Helper()
	build(t)
	modules, err := node.Modules(sources)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := copyTree(dir, sources); err != nil {
		t.Fatal(err)
	}
	filter := filepath.Join(dir, "src", "redact.mjs")
	text, err := os.ReadFile(filter)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filter, []byte(by.Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	if err := node.Execute(dir, "npm", "run", "build"); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, programName)
}

// pin puts a program in the place of a plugin that is pinned.
func (w *workspace) pin(name, program string) {
	w.Helper()
	lock := filepath.Join(w.plugins, "plugins.lock")
	text, err := os.ReadFile(lock)
	if err != nil {
		w.Fatal(err)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		w.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines {
		if strings.Contains(line, "name: "+name+",") {
			sum := sha256.Sum256(content)
			lines[i] = fmt.Sprintf("  - {name: %s, version: 1.0.0, sha256: %s}\n", name, hex.EncodeToString(sum[:]))
		}
	}
	w.write(filepath.Join(w.plugins, "cipherstream-plugin-"+name), content)
	w.write(lock, []byte(strings.Join(lines, "")))
}
