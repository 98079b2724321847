package scaffold

import (
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// block is a fenced block of the author's guide.
type block struct {
	language, text string
	line           int
}

var fence = regexp.MustCompile("(?m)^```([a-z]*)\n((?s:.*?))^```$")

// guide reads sdk/README.md.
func guide(t *testing.T) (text string, blocks []block) {
	t.Helper()
	text = read(t, repository, "sdk", "README.md")
	for _, at := range fence.FindAllStringSubmatchIndex(text, -1) {
		blocks = append(blocks, block{text[at[2]:at[3]], text[at[4]:at[5]], strings.Count(text[:at[4]], "\n") + 1})
	}
	return text, blocks
}

// change is what an author might do where the guide says: now make it yours.
const change = `
sed 's/strings.ToUpper/strings.ToLower/' filter.go >changed && mv changed filter.go
sed 's/"ZOË"/"zoë"/' filter_test.go >changed && mv changed filter_test.go
`

// TestGuideCommands runs the commands of the guide, from its beginning to its end, in one shell. The block in sh, which
// builds the program, is what this test has done before.
func TestGuideCommands(t *testing.T) {
	t.Parallel()
	_, blocks := guide(t)
	var script strings.Builder
	for _, b := range blocks {
		switch b.language {
		case "bash":
			if strings.HasPrefix(b.text, "make test install\n") {
				script.WriteString(change)
			}
			script.WriteString(b.text)
			script.WriteString("echo \"=== line " + strconv.Itoa(b.line) + " is done\"\n")
		case "sh":
			if !strings.Contains(b.text, "go build -tags gms_pure_go -o dist/ ./cmd/...\n") || !strings.Contains(b.text, `CIPHERSTREAM_SDK="$PWD"`) {
				t.Errorf("line %d: it should build the program:\n%s", b.line, b.text)
			}
		}
	}
	d := newDesk(t)
	out := d.run(script.String(), "CIPHERSTREAM_SDK="+sdk(t))
	for _, want := range []string{
		"ok  \texample.com/cipherstream-plugin-upper", // go test
		"patient_id,first_name,surname,suburb\r\n",    // the pipeline
		"upper 0.1.0: ",       // plugin test
		"table → table",       // plugin list
		"written in capitals", // plugin info
	} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing has %q in it", want)
		}
	}
	if rows := read(t, d.dir, "upper", "patients.csv"); strings.Count(rows, "\r\n") != 11 || !strings.Contains(rows, ",ryan,") {
		t.Errorf("patients.csv is:\n%s", rows)
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestGuideFilter holds the guide's filter against the one that is written.
func TestGuideFilter(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.run("cipherstream plugin new upper --kind filter")
	_, blocks := guide(t)
	i := slices.IndexFunc(blocks, func(b block) bool { return strings.HasPrefix(b.text, "package ") })
	if i < 0 {
		t.Fatal("the guide shows no whole file")
	}
	if want := read(t, d.dir, "upper", "filter.go"); blocks[i].text != want {
		t.Errorf("line %d: the filter is now:\n%s", blocks[i].line, want)
	}
}

// packages are what the guide's code may import, by name.
var packages = map[string]string{
	"arrow": "github.com/apache/arrow/go/v15/arrow", "array": "github.com/apache/arrow/go/v15/arrow/array",
	"sdk": "github.com/cipherstream/cipherstream/sdk", "config": "github.com/cipherstream/cipherstream/sdk/config",
	"fault": "github.com/cipherstream/cipherstream/sdk/fault", "stagetest": "github.com/cipherstream/cipherstream/sdk/stagetest",
	"context": "context", "filepath": "path/filepath", "http": "net/http", "os": "os", "slices": "slices", "strconv": "strconv",
	"testing": "testing", "time": "time",
}

// TestGuideCode compiles what the guide shows of one filter, which its parts are in this order.
func TestGuideCode(t *testing.T) {
	t.Parallel()
	_, blocks := guide(t)
	var code strings.Builder
	parts := 0
	for _, b := range blocks {
		if b.language != "go" || strings.HasPrefix(b.text, "package ") {
			continue
		}
		parts++
		// The compiler's messages then have the guide's lines.
		code.WriteString("//line README.md:" + strconv.Itoa(b.line) + "\n" + b.text)
		formatted, err := format.Source([]byte(b.text))
		if err != nil {
			t.Errorf("line %d: %v", b.line, err)
		} else if string(formatted) != b.text {
			t.Errorf("line %d: it is not formatted with gofmt; it should be:\n%s", b.line, formatted)
		}
	}
	if parts == 0 {
		t.Fatal("the guide shows no code")
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), "", "package guide\n"+code.String(), 0)
	if err != nil {
		t.Fatal(err)
	}
	imports := map[string]bool{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok {
			if name, ok := selector.X.(*ast.Ident); ok && packages[name.Name] != "" {
				imports[packages[name.Name]] = true
			}
		}
		return true
	})
	head := "package guide\n\n"
	for path := range imports {
		head += "import " + strconv.Quote(path) + "\n"
	}
	file := filepath.Join(t.TempDir(), "guide_test.go")
	if err := os.WriteFile(file, []byte(head+code.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	vet := exec.CommandContext(t.Context(), "go", "vet", "-tags", "gms_pure_go", file)
	vet.Dir = repository
	if out, err := vet.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestGuideLinks: what the guide refers to is there.
func TestGuideLinks(t *testing.T) {
	t.Parallel()
	text, _ := guide(t)
	for _, m := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		file, heading, _ := strings.Cut(m[1], "#")
		in, to := text, filepath.Join(repository, "sdk", file)
		if _, err := os.Stat(to); err != nil {
			t.Error(err)
			continue
		}
		if file != "" && heading != "" {
			there, err := os.ReadFile(to)
			if err != nil {
				t.Fatal(err)
			}
			in = string(there)
		}
		if heading != "" && !slices.Contains(headings(in), heading) {
			t.Errorf("%s: there is no such heading", m[1])
		}
	}
}

// headings are those of a page, as links call them.
func headings(text string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		anchor := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(anchor, " ", "-"))
	}
	return all
}
