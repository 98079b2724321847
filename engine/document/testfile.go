package document

import (
	"os"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/engine/diag"
)

// KindService is the kind of the configuration of a service, which package engine/service/config reads.
const KindService = "Service"

// KindSchedule is the kind of a schedule of jobs, which package engine/service/schedule reads.
const KindSchedule = "Schedule"

// KindTest is the kind of files that test a pipeline. Such a file extends nothing
// and is no Document; see Loader.Test.
const KindTest = "Test"

// CodeOneOf says that of some keys exactly one must be there.
const CodeOneOf = "document.one_of"

// The limits of a test file.
const (
	maxCases    = 1024
	maxCaseRows = 10_000
	maxNames    = 256
)

// Test is a file that tests a pipeline:
//
//	apiVersion: cipherstream/v1
//	kind: Test
//	pipeline: ./contact_list.yaml        # a path beside the test, or a name of the catalogue
//	cases:
//	  - name: the state is kept
//	    parameters: {state: NSW}
//	    columns: [{name: patient_id, type: int64}]   # of the rows; default the pipeline's
//	    rows: [{patient_id: 1}]                      # or rows_file: rows.ndjson
//	    expect: {output: "patient_id\n1\n"}          # or output_file, rows or error
type Test struct {
	File string
	// Pipeline is a path relative to the file, or a name of the catalogue.
	Pipeline *Node
	Cases    []Case
	// Invalid is true when reading found errors; it must not be run.
	Invalid bool
}

// Case is one run of the pipeline.
type Case struct {
	Name string
	// Parameters are single values, by name.
	Parameters map[string]*Node
	// Customer is what ${customer.id} stands for, nil when not given.
	Customer *Node
	// Secrets and Env are what ${secret.…} and ${env.…} stand for.
	Secrets, Env map[string]string
	// Columns are those of the rows, nil when not given.
	Columns []Column
	// Rows are mappings of column names to single values, or RowsFile names a file
	// that holds them.
	Rows     []*Node
	RowsFile *Node
	// RowsAt is the place of either.
	RowsAt diag.Position
	Expect Expectation
	At     diag.Position
}

// Expectation is what a case must come to. One of its fields is set; Rows may be
// empty and is not nil then.
type Expectation struct {
	// Output is the exact text, OutputFile names a file that holds the exact bytes.
	Output, OutputFile *Node
	// Rows are mappings like those of a case, in the order of the output.
	Rows []*Node
	// Error is the code of a fault or a diagnostic.
	Error *Node
	At    diag.Position
}

// Test loads a test file from disk. The test is nil when the file could not be had
// or parsed; see also Test.Invalid.
func (l *Loader) Test(name string) (*Test, diag.List) {
	var diags diag.List
	file, root := l.onDisk(name, &diags)
	if root == nil {
		return nil, diags.Normalise()
	}
	t := readTest(file, root, &diags)
	t.Invalid = diags.HasErrors()
	return t, diags.Normalise()
}

// Kind is the kind that a file on disk says that it is of; empty where it cannot be read, or says none. What is no regular file
// is not read, because it may be read once only.
func (l *Loader) Kind(name string) string {
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() || l.NoFiles {
		return ""
	}
	var diags diag.List
	if _, root := l.onDisk(name, &diags); root != nil {
		if kind := root.Get("kind"); kind != nil {
			return kind.Text
		}
	}
	return ""
}

func readTest(file string, root *Node, diags *diag.List) *Test {
	r := &reader{diags}
	t := &Test{File: file}
	seen := map[string]*Node{}
	if kind := root.Get("kind"); kind != nil && slices.Contains([]string{KindPipeline, KindTemplate, KindService, KindSchedule}, kind.Text) {
		diags.Add(diag.At(kind.At, CodeNotAllowed, "expected kind %s, not %s", KindTest, kind.Text).WithHint("%s", commandFor(kind.Text)))
		return t // nothing else of it is of a test
	}
	r.object(root, "a test", root.At,
		field{"apiVersion", true, r.version},
		field{"kind", true, func(n *Node) {
			if n.Text != KindTest {
				d := diag.At(n.At, CodeNotAllowed, "expected kind %s, not %s", KindTest, short(n.Text))
				diags.Add(d.WithHint("%s", commandFor(n.Text)))
			}
		}},
		field{"pipeline", true, r.text(nil, &t.Pipeline)},
		field{"cases", true, func(n *Node) {
			r.list(n, "cases", maxCases, func(n *Node) {
				if c, name := r.testCase(n); name != nil && r.unique(seen, name, "case") {
					t.Cases = append(t.Cases, c)
				}
			})
			if n.Kind == List && len(n.Items) == 0 {
				diags.Add(diag.At(n.At, CodeMissingKey, "the test has no case").WithHint("%s", missingHints["cases"]))
			}
		}})
	return t
}

func (r *reader) testCase(n *Node) (c Case, name *Node) {
	c.At, c.RowsAt, c.Expect.At = n.At, n.At, n.At
	r.object(n, "a case", n.At,
		field{"name", true, r.text(&c.Name, &name)},
		field{"parameters", false, func(n *Node) {
			c.Parameters = map[string]*Node{}
			r.named(n, "parameters", func(name string, n *Node) { c.Parameters[name] = n })
		}},
		field{"customer", false, r.text(nil, &c.Customer)},
		field{"secrets", false, r.texts("secrets", &c.Secrets)},
		field{"env", false, r.texts("environment variables", &c.Env)},
		field{"columns", false, func(n *Node) {
			c.Columns = []Column{}
			seen := map[string]*Node{}
			r.list(n, "columns", maxColumns, func(n *Node) { r.column(n, &c.Columns, seen) })
		}},
		field{"rows", false, r.rows(&c.Rows, &c.RowsAt)},
		field{"rows_file", false, r.file(&c.RowsFile, &c.RowsAt)},
		field{"expect", true, func(n *Node) {
			e := &c.Expect
			e.At = n.At
			if r.object(n, "an expectation", n.At,
				field{"output", false, r.text(nil, &e.Output)},
				field{"output_file", false, r.file(&e.OutputFile, nil)},
				field{"rows", false, r.rows(&e.Rows, nil)},
				field{"error", false, r.text(nil, &e.Error)}) {
				r.oneOf(n, "an expectation", "output", "output_file", "rows", "error")
			}
		}})
	if n.Kind == Map {
		r.oneOf(n, "a case", "rows", "rows_file")
	}
	return c, name
}

// oneOf reports a mapping that has none of some keys, or several.
func (r *reader) oneOf(n *Node, what string, keys ...string) {
	var first *Node
	for _, e := range n.Entries {
		for _, key := range keys {
			switch {
			case e.Key.Text != key:
			case first == nil:
				first = e.Key
			default:
				r.diags.Add(diag.At(e.Key.At, CodeOneOf, "%s takes either %q or %q, not both", what, first.Text, key).
					WithRelated(first.At, "the other one is here"))
			}
		}
	}
	if first == nil {
		r.diags.Add(diag.At(n.At, CodeOneOf, "%s needs one of the keys %s", what, strings.Join(keys, ", ")))
	}
}

// named reads a mapping whose keys are the author's and whose values are single.
func (r *reader) named(n *Node, what string, read func(name string, n *Node)) {
	if n.Kind != Map {
		r.wrong(n, "a mapping of "+what)
		return
	}
	for i, e := range n.Entries {
		switch {
		case i == maxNames:
			r.diags.Add(diag.At(e.Key.At, CodeTooMany, "expected at most %d %s, not %d", maxNames, what, len(n.Entries)))
			return
		case !e.Value.IsScalar():
			r.wrong(e.Value, "a single value")
		default:
			read(e.Key.Text, e.Value)
		}
	}
}

// texts reads a mapping of text.
func (r *reader) texts(what string, into *map[string]string) func(*Node) {
	return func(n *Node) {
		*into = map[string]string{}
		r.named(n, what, func(name string, n *Node) {
			var text string
			r.text(&text, nil)(n)
			(*into)[name] = text
		})
	}
}

// rows reads a list of mappings with single values.
func (r *reader) rows(into *[]*Node, at *diag.Position) func(*Node) {
	return func(n *Node) {
		*into = []*Node{}
		if at != nil {
			*at = n.At
		}
		r.list(n, "rows", maxCaseRows, func(n *Node) {
			if n.Kind != Map {
				r.wrong(n, "a mapping of column names to values")
				return
			}
			for _, e := range n.Entries {
				if !e.Value.IsScalar() {
					r.wrong(e.Value, "a single value")
				}
			}
			*into = append(*into, n)
		})
	}
}

// file reads the path of a file.
func (r *reader) file(into **Node, at *diag.Position) func(*Node) {
	return func(n *Node) {
		if at != nil {
			*at = n.At
		}
		if r.text(nil, into)(n); *into != nil && n.Text == "" {
			r.diags.Add(diag.At(n.At, CodeNotAllowed, "an empty text names no file"))
		}
	}
}

// commandFor says which command is for documents of a kind; empty is none.
func commandFor(kind string) string {
	switch kind {
	case KindPipeline, KindTemplate:
		return "cipherstream lint checks pipelines and templates"
	case KindTest:
		return "cipherstream test runs tests of pipelines"
	case KindService:
		return "cipherstream config check says what is wrong with the configuration of a service"
	case KindSchedule:
		return "the configuration of a service names schedules, and cipherstream config check says what is wrong with them"
	}
	return ""
}
