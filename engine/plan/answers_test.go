package plan

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/document"
)

// feature conditions are about these parameters, and about the values of answerInputs.
const featureParameters = `
  parameters:
    - {name: day, type: date}
    - {name: end, type: date}
    - {name: count, type: integer}
    - {name: other, type: integer}
    - {name: fee, type: decimal}
    - {name: limit, type: decimal}
    - {name: flag, type: boolean}
    - {name: word, type: string}
    - {name: text, type: string}
  stages:
    source: {use: mysql, with: {url: x}}
`

// features are conditions about all that a condition can be made of.
var features = []string{
	"true", "false", "params.flag", "!params.flag", "params.flag == true", "params.flag != false", "params.flag ? params.count > 0 : params.count < 0",
	"params.flag && params.count > 0", "params.flag || params.count > 0", "!(params.flag && params.count > 0)",
	"params.day <= params.end", "params.day < params.end", "params.day == params.end", "params.day != params.end",
	"params.day == null", "params.day != null", "null == params.day", "params.day == null || params.end == null || params.day <= params.end",
	"params.day != null && params.day >= '2024-02-29'", "params.day in ['2024-02-29', '2024-12-31']", "params.day.startsWith('2024-02')",
	"has(params.day)", "!has(params.day)", "has(params.day) && params.day > '2024-01-01'", "has(params.day) || params.day > '2024-01-01'",
	"params.count == 0", "params.count != 0", "params.count < params.other", "params.count <= params.other", "params.count + 1 > params.other",
	"params.count - 1 < params.other", "params.count * 2 == params.other", "params.count / params.other == 1", "params.count % 2 == 0", "-params.count < 0",
	"params.count > 0 || params.count / 0 == 1", "params.count / 0 == 1 || params.count > 0", "params.count == null || params.count > 5", "params.count in [0, 1, 2]",
	"!(params.count in [1, 2])", "params.count == 1 ? true : params.flag", "params.count > 1.5", "params.count <= 2.0", "params.count + 1 > 1 && params.flag",
	"[1, 2].exists(x, x == params.count)", "[1, 2].all(x, x != params.count)", "['A', 'o'].exists(x, params.word.startsWith(x))",
	"params.fee > 10.5", "params.fee <= 10.5", "params.fee > params.limit", "params.fee == params.limit", "params.fee != params.limit", "params.fee == null",
	"params.fee >= 0.1 && params.fee < 100.0", "params.fee == 10.5", "params.fee != null && params.fee > 1.0", "params.fee == null || params.limit == null || params.fee <= params.limit",
	"params.word == 'All'", "params.word != 'All'", "params.word == params.text", "params.word < params.text", "params.word in ['All', '']", "params.word == ''",
	"params.word.startsWith('A')", "params.word.endsWith('l')", "params.word.contains('l')", "params.word.matches('^A.*')", "params.word.startsWith(params.text)",
	"size(params.word) > 2", "params.word.size() == 3", "params.word + params.text == 'AllAll'", "params.word + 'x' == 'Allx'",
	"string(params.count) == '1'", "int(params.word) == 1", "params.word == null || params.word.startsWith('A')", "(params.word == null) == (params.text == null)",
	"params.word == null ? params.flag : params.word == 'All'", "params.flag == null ? true : params.flag", "(params.flag ? 'All' : '') == params.word",
	"run.id == 'r1'", "run.id != 'r1'", "run.digest in ['sha256', 'none']", "has(run.id)", "has(run.bucket)", "run.bucket == 'x'", "has(run.bucket) && run.bucket == 'x'",
	"run.id == params.word", "run.id.startsWith('r')", "run.allowed_tables.contains('appointment')", "'appointment' in ['appointment', run.id]", "run.nothing == null",
	"customer.id == 'c1'", "customer.level == 3", "customer.level > 2", "customer.level < 3.5", "customer.level == 'three'", "customer.level > 'three'",
	"customer.plan == 'gold'", "customer.plan == 5", "customer.plan != 5", "customer.plan > 5", "customer.plan > 5 || customer.level == 3", "customer.plan in ['gold', 'blue']",
	"customer.live", "!customer.live", "customer.live == true && params.flag", "customer.rate > 1.0", "customer.rate == 1.5", "customer.rate < params.fee", "customer.nothing == null",
	"has(customer.level)", "has(customer.missing)", "customer.missing == 1", "has(customer.missing) && customer.missing == 1", "customer.plan", "run.id", "customer.level + 1 == 4",
	"customer['level'] == 3", "customer.missing == 1 || params.flag", "customer.missing == 1 && params.flag", "customer.level == params.count", "customer.plan == params.word",
	"params.flag == customer.live", "customer.key == 'hunter2'", "has(customer.key)", "customer.nothing > 1", "customer.level in [1, 2, 3]", "customer.plan.startsWith('go')",
}

// answerValues are the values of the grid, by type.
var answerValues = map[document.Type][]any{
	document.TypeDate:    {nil, "2024-02-29", "2024-12-31"},
	document.TypeInteger: {nil, int64(0), int64(1), int64(2), int64(-7)},
	document.TypeDecimal: {nil, json.Number("10.50"), json.Number("10.5"), json.Number("0.1"), json.Number("-3")},
	document.TypeBoolean: {nil, true, false},
	document.TypeString:  {nil, "", "All"},
}

var quotedPattern = regexp.MustCompile(`'([^']*)'`)

// answers is what a condition gives for every combination of values of the parameters that it reads: t, f, or - where it
// cannot be decided.
func answers(t *testing.T, p *Prepared, e *expression) (line string) {
	t.Helper()
	in := testInput(p.config.Document).Inputs
	in.Allow.Tables = []string{"appointment", "patient"}
	in.Customer.Attributes = map[string]any{"key": in.Customer.Attributes["key"], "level": 3, "plan": "gold", "live": true, "rate": json.Number("1.50"), "nothing": nil}
	names, types := slices.Sorted(slices.Values(e.params)), []string{}
	params := map[string]any{}
	values := make([][]any, len(names))
	for i, name := range names {
		for _, d := range p.config.Document.Parameters {
			if d.Name != name {
				continue
			}
			types = append(types, name+" "+string(d.Type))
			values[i] = slices.Clone(answerValues[d.Type])
			for _, m := range quotedPattern.FindAllStringSubmatch(e.node.Text, -1) {
				if d.Type == document.TypeString && len(names) < 3 && !slices.Contains(values[i], any(m[1])) {
					values[i] = append(values[i], m[1])
				}
			}
			values[i] = append(values[i], d.Allowed...)
		}
	}
	var out strings.Builder
	var walk func(i int)
	walk = func(i int) {
		if i == len(names) {
			out.WriteString(answer(p, in, e, params))
			return
		}
		for _, v := range values[i] {
			params[names[i]] = v
			walk(i + 1)
		}
	}
	walk(0)
	return fmt.Sprintf("%s  [%s]  %s", e.node.Text, strings.Join(types, ", "), out.String())
}

func answer(p *Prepared, in Inputs, e *expression, params map[string]any) string {
	ok, err := e.decide(newPlanner(p, in, false).variables(params))
	switch {
	case err != nil:
		return "-"
	case ok:
		return "t"
	}
	return "f"
}

// TestAnswers holds every condition of the catalogue, of the examples and of the tests, and one of each kind, against what
// CEL's own interpreter said for every combination of values: answers.txt was written with it.
func TestAnswers(t *testing.T) {
	t.Parallel()
	var documents []*document.Document
	for _, dir := range []string{"../../pipelines", "testdata/catalogue"} {
		l := &document.Loader{Catalogue: os.DirFS(dir)}
		for _, name := range append(l.Names(), l.Templates()...) {
			if doc, _ := l.Name(name); doc != nil {
				documents = append(documents, doc)
			}
		}
	}
	for _, pattern := range []string{"testdata/*/*/pipeline.yaml", "../../cmd/cipherstream/*/testdata/*.yaml", "../../cmd/cipherstream/*/testdata/tests/*.yaml",
		"../../examples/pipelines/*.yaml", "../../examples/plugins/*/*.yaml", "../../examples/plugins/*/pipelines/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			l := &document.Loader{Catalogue: catalogue}
			if doc, _ := l.File(file); doc != nil {
				documents = append(documents, doc)
			}
		}
	}
	seen := map[string]bool{}
	var lines []string
	tell := func(p *Prepared, e *expression) {
		if e == nil {
			return
		}
		if line := answers(t, p, e); !seen[line] {
			seen[line] = true
			lines = append(lines, line)
		}
	}
	for _, doc := range documents {
		p, _ := prepare(Config{Document: doc})
		for _, e := range slices.Concat(p.rules, p.whens) {
			tell(p, e)
		}
	}
	slices.Sort(lines)
	found := len(lines)
	if found < 30 {
		t.Errorf("only %d conditions are in the files", found)
	}
	doc := load(t, featureParameters)
	for _, text := range features {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		doc.Stages[0].When = load(t, "\n  stages:\n    source: {use: mysql, when: "+string(quoted)+"}\n").Stages[0].When
		p, diags := prepare(Config{Document: doc})
		if p.whens[0] == nil {
			t.Errorf("%s: %v", text, diags.Err())
			continue
		}
		tell(p, p.whens[0])
	}
	got := strings.Join(lines, "\n") + "\n"
	const golden = "testdata/answers.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	expected := strings.Split(string(want), "\n")
	if len(lines) != len(expected)-1 {
		t.Errorf("%d conditions, want %d", len(lines), len(expected)-1)
	}
	for i, line := range lines {
		if i >= len(expected) || line != expected[i] {
			t.Errorf("got\n%s\nwant\n%s", line, expected[min(i, len(expected)-1)])
		}
	}
}
