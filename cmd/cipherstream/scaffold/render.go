package scaffold

import (
	"bytes"
	"embed"
	"slices"
	"strings"
	"text/template"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// The templates of all kinds, in common, and of each example, in a folder of its own. Every name ends with .tmpl: a folder with a
// go.mod in it is another module, which cannot be embedded.
//
//go:embed templates
var templates embed.FS

// layout says which template becomes which file, for stages of one kind or of all; EXAMPLE stands for the example's folder,
// and KIND for its kind.
var layout = []struct {
	template, name string
	only           stage.Kind
}{
	{"common/workflow.yml", ".github/workflows/test.yml", ""},
	{"common/gitignore", ".gitignore", ""},
	{"common/Makefile", "Makefile", ""},
	{"common/README.md", "README.md", ""},
	{"common/conformance_test.go", "conformance_test.go", ""},
	{"common/file.go", "file.go", stage.KindSink},
	{"common/go.mod", "go.mod", ""},
	{"common/main.go", "main.go", ""},
	{"EXAMPLE/KIND.go", "KIND.go", ""},
	{"EXAMPLE/KIND_test.go", "KIND_test.go", ""},
	{"EXAMPLE/pipeline.yaml", "pipeline.yaml", ""},
}

// Example is a stage that a module can begin with.
type Example struct {
	Kind stage.Kind
	// Variant tells it from the usual one of its kind, which has none.
	Variant string
	// does says what it does.
	does string
	// contract is the interface that it implements.
	contract string
	// prepare is a command to be run before its pipeline, and run are the arguments with which that runs.
	prepare, run string
}

// Examples are all that there are, kind by kind, the usual one of each first.
var Examples = []Example{
	{stage.KindSource, "", "it reads the lines of a text file", "Source", "", `-p path="$PWD/README.md"`},
	{stage.KindFilter, "", "it writes a text column in capitals", "Filter", "", "--sandbox"},
	{stage.KindFilter, "end", "it counts the rows of every value of a text column", "Ender", "", "--sandbox"},
	{stage.KindEncoder, "", "it writes tab-separated values", "Encoder", "", "--sandbox"},
	{stage.KindCompressor, "", "it compresses with zlib (RFC 1950)", "Compressor", "", "--sandbox -o patients.csv.zz"},
	{stage.KindEncryptor, "", "it seals a stream in chunks, with AES-256-GCM", "Encryptor",
		"head -c 32 /dev/urandom | base64 > key.txt", "--sandbox --secret key=file:key.txt -o patients.csv.sealed"},
	{stage.KindSink, "", "it leaves the object in a folder, named by its run", "Sink", "", `--sandbox -p folder="$PWD/out"`},
	{stage.KindSink, "table", "it takes rows, and leaves them in a folder as SQL statements", "TableSink", "", `--sandbox -p folder="$PWD/out"`},
}

// find returns the example of a kind and variant.
func find(kind stage.Kind, variant string) (x Example, ok bool) {
	for _, x := range Examples {
		if x.Kind == kind && x.Variant == variant {
			return x, true
		}
	}
	return Example{}, false
}

// folder is where the templates of the example are.
func (x Example) folder() string {
	if x.Variant == "" {
		return string(x.Kind)
	}
	return string(x.Kind) + "-" + x.Variant
}

// data is what the templates may refer to.
type data struct {
	Name, Program, Module string
	Kind                  stage.Kind
	// Code is the component of the stage's fault codes.
	Code string
	// Does, Contract, Prepare and Run are those of the example, and Install grants what it needs.
	Does, Contract, Install, Prepare, Run string
	requirements
}

// install is the command that installs the example of a kind: those that read or write files
// are granted them, and nothing else.
func install(kind stage.Kind) string {
	switch kind {
	case stage.KindSource:
		return `make install ALLOW="--allow-files '$PWD/README.md:ro'"`
	case stage.KindSink:
		return `mkdir -p out && make install ALLOW="--allow-files '$PWD/out:rw'"`
	}
	return "make install"
}

// file is a file of the module.
type file struct {
	name string // from the module's folder, with slashes
	text []byte
}

// render makes the files of the module, in the order of their names, for a module in dir.
func (m Module) render(dir string) ([]file, error) {
	needs, sums, err := m.requirements(dir)
	if err != nil {
		return nil, err
	}
	x, _ := find(m.Kind, m.Variant) // checked
	d := data{
		Name: m.Name, Program: program(m.Name), Module: m.Path, Kind: m.Kind, Code: strings.ReplaceAll(m.Name, "-", "_"),
		Does: x.does, Contract: x.contract, Install: install(m.Kind), Prepare: x.prepare, Run: "cipherstream run pipeline.yaml " + x.run,
		requirements: needs,
	}
	var files []file
	names := strings.NewReplacer("EXAMPLE", x.folder(), "KIND", string(m.Kind))
	for _, l := range layout {
		if l.only != "" && l.only != m.Kind {
			continue
		}
		source, err := templates.ReadFile("templates/" + names.Replace(l.template) + ".tmpl")
		if err != nil {
			return nil, err
		}
		t, err := template.New(l.template).Delims("<%", "%>").Option("missingkey=error").Parse(string(source))
		if err != nil {
			return nil, err
		}
		var text bytes.Buffer
		if err := t.Execute(&text, d); err != nil {
			return nil, err
		}
		files = append(files, file{names.Replace(l.name), text.Bytes()})
	}
	files = append(files, file{"go.sum", sums})
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return files, nil
}
