package scaffold

import (
	"embed"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// The templates of all kinds, in common, and of each example, in a folder of its own. Every name ends with .tmpl: a folder with a
// go.mod in it is another module, which cannot be embedded.
//
//go:embed templates
var templates embed.FS

// layouts say, by language, which template becomes which file, for stages of one kind or of all; EXAMPLE stands for the example's
// folder, and KIND for its kind.
var layouts = map[string][]struct {
	template, name string
	only           stage.Kind
}{
	Go: {
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
		{"EXAMPLE/pipeline.test.yaml", "pipeline.test.yaml", stage.KindFilter},
	},
	Python: {
		{"python-common/gitignore", ".gitignore", ""},
		{"python-common/Makefile", "Makefile", ""},
		{"python-common/README.md", "README.md", ""},
		{"python-common/plugin", "plugin", ""},
		{"python-common/requirements.txt", "requirements.txt", ""},
		{"EXAMPLE/pipeline.yaml", "pipeline.yaml", ""},
		{"EXAMPLE/pipeline.test.yaml", "pipeline.test.yaml", stage.KindFilter},
		{"python-EXAMPLE/plugin.test.yaml", "plugin.test.yaml", ""},
		{"python-EXAMPLE/stage.py", "stage.py", ""},
	},
	JavaScript: {
		{"javascript-common/gitignore", ".gitignore", ""},
		{"javascript-common/npmrc", ".npmrc", ""},
		{"javascript-common/Makefile", "Makefile", ""},
		{"javascript-common/README.md", "README.md", ""},
		{"javascript-common/package.json", "package.json", ""},
		{"javascript-common/package-lock.json", "package-lock.json", ""},
		{"javascript-common/plugin", "plugin", ""},
		{"EXAMPLE/pipeline.yaml", "pipeline.yaml", ""},
		{"EXAMPLE/pipeline.test.yaml", "pipeline.test.yaml", stage.KindFilter},
		{"javascript-EXAMPLE/plugin.test.yaml", "plugin.test.yaml", ""},
		{"javascript-EXAMPLE/stage.mjs", "stage.mjs", ""},
	},
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
	needs, sums, err := m.requirements(dir) // and of Python, where the SDK is
	if err != nil {
		return nil, err
	}
	x, _ := find(m.Kind, m.Variant) // checked
	// What the templates may refer to.
	words := map[string]string{
		"Name": m.Name, "Program": program(m.Name), "Module": m.Path, "Kind": string(m.Kind), "Sink": "",
		"Code": strings.ReplaceAll(m.Name, "-", "_"), // the component of the stage's fault codes
		"Does": x.does, "Contract": x.contract, "Install": install(m.Kind), "Prepare": x.prepare, "Run": "cipherstream run pipeline.yaml " + x.run,
		"GoVersion": needs.GoVersion, "Direct": require(needs.Direct, ""), "Indirect": require(needs.Indirect, " // indirect"), "Replace": needs.Replace,
	}
	if m.Kind == stage.KindSink {
		words["Sink"] = "yes"
	}
	var files []file
	names := strings.NewReplacer("EXAMPLE", x.folder(), "KIND", string(m.Kind))
	for _, l := range layouts[m.Language] {
		if l.only != "" && l.only != m.Kind {
			continue
		}
		source, err := templates.ReadFile("templates/" + names.Replace(l.template) + ".tmpl")
		if err != nil {
			return nil, err
		}
		text, err := fill(string(source), words)
		if err != nil {
			return nil, fmt.Errorf("template %s: %w", l.template, err)
		}
		files = append(files, file{names.Replace(l.name), []byte(text)})
	}
	if m.Language == Go {
		files = append(files, file{"go.sum", sums})
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return files, nil
}

// require is a directive of go.mod, of one line where it has one requirement, as the go command writes it.
func require(modules []string, comment string) string {
	if len(modules) == 1 && comment == "" {
		return "require " + modules[0]
	}
	var b strings.Builder
	for _, m := range modules {
		b.WriteString("\t" + m + comment + "\n")
	}
	return "require (\n" + b.String() + ")"
}

var word = regexp.MustCompile(`<% (\w+) %>`)

// fill puts words where a template has their names, <% Name %>. What stands between the lines <% if Name %> and <% end %> is
// for a word that is not empty, and with "if not" for one that is. It is not text/template, which looks methods up by
// name, for whose sake the linker keeps every method of every type of the program.
func fill(template string, words map[string]string) (string, error) {
	var b strings.Builder
	wanted := true
	for line := range strings.Lines(template) {
		condition, conditional := strings.CutPrefix(strings.TrimSuffix(line, " %>\n"), "<% if ")
		name, negated := strings.CutPrefix(condition, "not ")
		switch {
		case conditional:
			text, known := words[name]
			if !known {
				return "", fmt.Errorf("no word is called %q", name)
			}
			wanted = (text != "") != negated
			continue
		case line == "<% end %>\n":
			wanted = true
			continue
		case !wanted:
			continue
		}
		var unknown error
		b.WriteString(word.ReplaceAllStringFunc(line, func(mark string) string {
			name := word.FindStringSubmatch(mark)[1]
			text, known := words[name]
			if !known {
				unknown = fmt.Errorf("no word is called %q", name)
			}
			return text
		}))
		if unknown != nil {
			return "", unknown
		}
	}
	return b.String(), nil
}
