package pipeline

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/golden"
	"github.com/cipherstream/cipherstream/engine/pipelinetest"
	"github.com/cipherstream/cipherstream/pipelines"
)

// TestPipelineTests runs the tests of the catalogue's pipelines and of the examples.
func TestPipelineTests(t *testing.T) {
	for _, pattern := range []string{"../../../pipelines/tests/*.test.yaml", "../../../examples/pipelines/*.test.yaml", "testdata/tests/good.test.yaml", "testdata/tests/register.test.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				if got := cmdtest.Call(t, "test", file); got.Code != 0 || got.Stderr != "" || !strings.Contains(got.Stdout, " 0 failed\n") {
					t.Errorf("%+v", got)
				}
			})
		}
	}
}

// TestLintOfTests: a test is linted as one, beside pipelines; what is wrong with it is told, and no case is run.
func TestLintOfTests(t *testing.T) {
	files, err := filepath.Glob("../../../examples/pipelines/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	if got := cmdtest.Call(t, append([]string{"lint"}, files...)...); got.Code != 0 || !strings.Contains(got.Stdout, "no problems") {
		t.Errorf("%+v", got)
	}
	path := filepath.Join(t.TempDir(), "bad.test.yaml")
	for text, want := range map[string]string{
		"cases: []": "document.missing_key",
		"cases: [{name: a, columns: [{name: a, type: int64}], rows: [{a: x}], expect: {output: a, rows: []}}]":    "document.",
		"cases: [{name: a, columns: [{name: a, type: int64}], rows_file: none.csv, expect: {output: \"\"}}]":      "cannot be read",
		"cases: [{name: fails, columns: [{name: a, type: int64}], rows: [{a: 1}], expect: {output: 'not this'}}]": "no problems",
	} {
		if err := os.WriteFile(path, []byte("apiVersion: cipherstream/v1\nkind: Test\npipeline: patients\n"+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		got := cmdtest.Call(t, "lint", path)
		if fine := want == "no problems"; (got.Code == 0) != fine || got.Code != 0 && got.Code != 2 || !strings.Contains(got.Stdout+got.Stderr, want) {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

// TestCatalogueHoldsNoTests: tests stand beside the catalogue, not in it.
func TestCatalogueHoldsNoTests(t *testing.T) {
	if err := fs.WalkDir(pipelines.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, "test") {
			t.Errorf("the catalogue holds %s", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestFailingTests holds what is said about tests that fail, and about files that are
// wrong.
func TestFailingTests(t *testing.T) {
	for _, c := range []struct {
		file string
		code int
		args []string
	}{
		{"test_failing.txt", 1, []string{"testdata/tests/failing.test.yaml"}},
		{"test_wrong.txt", 2, []string{"testdata/tests/wrong.test.yaml", "testdata/tests/nowhere.test.yaml", "testdata/tests/columns.test.yaml", "testdata/visits.yaml"}},
		{"help_test.txt", 0, []string{"--help"}},
	} {
		got := cmdtest.Call(t, append([]string{"test"}, c.args...)...)
		if got.Code != c.code {
			t.Errorf("%v: exit code %d, want %d", c.args, got.Code, c.code)
		}
		golden.Compare(t, c.file, got.Stdout+got.Stderr)
	}
	// A file that is wrong does not keep the others from being run.
	got := cmdtest.Call(t, "test", "testdata/tests/wrong.test.yaml", "testdata/tests/good.test.yaml")
	if got.Code != 2 || !strings.Contains(got.Stdout, ": 6 passed, 0 failed\n") {
		t.Errorf("%+v", got)
	}
	if got := cmdtest.Call(t, "test"); got.Code != 2 || !strings.Contains(got.Stderr, "at least one test file") {
		t.Errorf("%+v", got)
	}
}

// TestRowsWithoutText: of a pipeline that ends in rows rows can be expected, down to a digit, and no text, which nothing of it
// has made; no file of such a text is written.
func TestRowsWithoutText(t *testing.T) {
	pipeline, err := filepath.Abs("testdata/tests/register.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "a.test.yaml")
	text := `apiVersion: cipherstream/v1
kind: Test
pipeline: ` + pipeline + `
cases:
  - {name: another digit, rows: &rows [{id: 1, amount: "0.0000000001"}], expect: {rows: [{id: 1, amount: "0.0000000002"}]}}
  - {name: text for a number, rows: *rows, expect: {rows: [{id: "1", amount: "0.0000000001"}]}}
  - {name: text, rows: *rows, expect: {output: "{}\n"}}
  - {name: a file, rows: *rows, expect: {output_file: new.ndjson}}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := cmdtest.Call(t, "test", "--update", file)
	for _, want := range []string{
		`column "amount" differs`, `expected: "0.0000000002" got: "0.0000000001"`, `column "id" differs`, "4 cases: 0 passed, 4 failed",
	} {
		if got.Code != 1 || !strings.Contains(strings.Join(strings.Fields(got.Stdout), " "), want) {
			t.Errorf("exit code %d, and nothing says %s:\n%s%s", got.Code, want, got.Stdout, got.Stderr)
		}
	}
	if strings.Count(got.Stdout, "the pipeline gives rows to its sink, and no text that could be compared") != 2 || strings.Count(got.Stdout, "expect rows") != 2 {
		t.Errorf("got:\n%s", got.Stdout)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("in the folder are %v, %v", left, err)
	}
}

func TestTestJSON(t *testing.T) {
	began := time.Now()
	got := cmdtest.Call(t, "test", "testdata/tests/good.test.yaml", "testdata/tests/failing.test.yaml", "--json")
	var out struct {
		Cases          []pipelinetest.Result
		Passed, Failed int
	}
	if err := json.Unmarshal([]byte(got.Stdout), &out); err != nil {
		t.Fatal(err)
	}
	if got.Code != 1 || out.Passed != 6 || out.Failed != 10 || len(out.Cases) != 16 || !strings.Contains(got.Stderr, `"code":"test.failed"`) {
		t.Errorf("%+v", got)
	}
	first := out.Cases[6]
	if first.Case != "other text" || first.Line != 5 || first.Passed || first.Failure.Line != 2 || first.Failure.Expected == first.Failure.Got {
		t.Errorf("%+v", first)
	}
	t.Logf("%d cases in %v", len(out.Cases), time.Since(began))
	golden.Compare(t, "test_failing.json", regexp.MustCompile(`"seconds": [0-9.e-]+`).ReplaceAllString(got.Stdout, `"seconds": 0`))
}

// TestUpdateGoldens: files that differ are written anew, others stay.
func TestUpdateGoldens(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipeline, err := os.ReadFile("testdata/tests/visits.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write("visits.yaml", string(pipeline))
	write("old.ndjson", "old\n")
	test := write("a.test.yaml", `apiVersion: cipherstream/v1
kind: Test
pipeline: visits.yaml
cases:
  - {name: missing, rows: &rows [{id: 1, amount: 1}], expect: {output_file: new.ndjson}}
  - {name: differs, rows: *rows, expect: {output_file: old.ndjson}}
  - {name: bytes, parameters: {compressed: true}, rows: *rows, expect: {output_file: new.gz}}
  - {name: fails, parameters: {format: xml}, rows: *rows, expect: {output_file: never}}
`)
	got := cmdtest.Call(t, "test", "--update", test)
	if got.Code != 1 || strings.Count(got.Stdout, "(wrote ") != 3 || !strings.Contains(got.Stdout, "4 cases: 3 passed, 1 failed") {
		t.Errorf("%+v", got)
	}
	const row = `{"id":1,"day":null,"at":null,"amount":"1.0000000000","note":null}` + "\n"
	for _, name := range []string{"new.ndjson", "old.ndjson"} {
		if content, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(content) != row {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
	if content, err := os.ReadFile(filepath.Join(dir, "new.gz")); err != nil || !strings.HasPrefix(string(content), "\x1f\x8b") {
		t.Errorf("%q, %v", content, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "never")); err == nil {
		t.Error("a case that failed wrote its file")
	}
	write("never", "")
	if got := cmdtest.Call(t, "test", "--update", test); got.Code != 1 || strings.Contains(got.Stdout, "(wrote ") {
		t.Errorf("files were written again: %+v", got)
	}
}
