package nodeplugin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/node"
)

// TestBreaches: a filter that breaks what it has declared fails the run by its name and its line; nothing of the output is seen.
func TestBreaches(t *testing.T) {
	const whole = "  apply(batch) {\n"
	for name, c := range map[string]struct{ apply, says string }{
		"a row is lost": {"this.calls = (this.calls ?? 0) + 1; if (this.calls === 2) return batch.slice(1);",
			"the filter says that it keeps every row, and made 499 of 500 (at redact.mjs:"},
		"a column is called otherwise from the second batch on": {`this.calls = (this.calls ?? 0) + 1;
    if (this.calls > 1) return replacedName(batch);`,
			"the stage gave a batch with the columns other (int64, not null); it had said n (int64, not null) (at redact.mjs:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorkspace(t)
			w.must("plugin", "install", "--replace", altered(t, whole, whole+c.apply+"\n"))
			path := w.pipeline(`{use: third/count, with: {rows: 2500, batch: 500}}`, `{use: redact/text}`)
			r := w.run("run", path, "-o", filepath.Join(w.out, "rows"))
			if r.code != 1 || !strings.Contains(r.stderr, c.says) || !strings.Contains(r.stderr, "stage: filter\n") {
				t.Errorf("it ended with %d:\n%s", r.code, r.stderr)
			}
			w.empty(w.out)
		})
	}
}

// altered is the plugin with another text in its filter.
func altered(t *testing.T, old, text string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bundle")
	if err := node.Execute(".", "cp", "-R", plugin(t), dir); err != nil {
		t.Fatal(err)
	}
	filter := filepath.Join(dir, "src", "redact.mjs")
	content, err := os.ReadFile(filter)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), old) {
		t.Fatalf("there is no %q in the filter", old)
	}
	const another = `
const replacedName = (batch) => {
  const schema = new Schema(batch.schema.fields.map((f) => new Field('other', f.type, f.nullable)));
  return new batch.constructor(schema, batch.data);
};
`
	if err := os.WriteFile(filter, []byte(strings.Replace(string(content), old, text, 1)+another), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
