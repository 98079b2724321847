// Command typecheck finds what keeps this module from being compiled for another operating system, without compiling it:
// all packages with all that they import are read from their sources and their types checked, those of this module with
// the bodies of their functions, and with their tests.
//
//	typecheck [-tags TAGS] OS ARCH [DIRECTORY]
//
// Compiling takes many times longer, most of it for the code of others, of which no instruction is looked at. What a
// compiler says beside the errors of types, it says for every system alike, which a build for one of them shows. cgo is
// off, as in every build of the programs.
//
// The exit status is 0 where nothing is wrong, 1 where something is, 2 for wrong usage. It never runs what it reads, and
// writes nothing.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("typecheck", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: typecheck [-tags TAGS] OS ARCH [DIRECTORY]")
		flags.PrintDefaults()
	}
	tags := flags.String("tags", "", "the `TAGS` of the build, with commas")
	if err := flags.Parse(args); err != nil || flags.NArg() < 2 || flags.NArg() > 3 {
		if err == nil {
			flags.Usage()
		}
		return 2
	}
	arch := flags.Arg(1)
	sizes := types.SizesFor("gc", arch)
	if sizes == nil {
		fmt.Fprintf(stderr, "typecheck: there is no architecture %s\n", arch)
		return 2
	}
	packages, err := list(flags.Arg(0), arch, *tags, flags.Arg(2))
	if err != nil {
		fmt.Fprintln(stderr, "typecheck:", err)
		return 1
	}
	problems := check(packages, sizes)
	for _, p := range problems {
		fmt.Fprintln(stdout, p)
	}
	if len(problems) > 0 {
		return 1
	}
	return 0
}

// listed is a package as go list says it.
type listed struct {
	ImportPath, Dir, ForTest string
	GoFiles, SFiles, Imports []string
	ImportMap                map[string]string
	Module                   *struct{ GoVersion string }
	DepOnly                  bool

	done     chan struct{} // closed when types and problems are what they will be
	types    *types.Package
	problems []string
}

// ours says whether the bodies of the functions are checked: in packages of this module. One that is listed once more
// because a test of another is among what it imports has the same sources.
func (p *listed) ours() bool {
	path, _, _ := strings.Cut(p.ImportPath, " ")
	return !p.DepOnly && (p.ForTest == "" || path == p.ForTest || path == p.ForTest+"_test")
}

// list has all packages of the module that dir is in, with their tests, and all that they import, each after what it imports.
func list(system, arch, tags, dir string) ([]*listed, error) {
	// It looks for embedded files only where it is asked for them.
	fields := "-json=ImportPath,Dir,ForTest,GoFiles,SFiles,Imports,ImportMap,Module,DepOnly,EmbedFiles,TestEmbedFiles,XTestEmbedFiles"
	cmd := exec.Command("go", "list", "-test", "-deps", fields, "-tags", tags, "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, said.Bytes())
	}
	var packages []*listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &listed{done: make(chan struct{})}
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		// The program of a package's tests, whose source go test writes.
		if !strings.HasSuffix(p.ImportPath, ".test") {
			packages = append(packages, p)
		}
	}
}

// check checks the packages, as many at once as there are processors, and has what is wrong with them, once and in their order.
func check(packages []*listed, sizes types.Sizes) (problems []string) {
	byPath := map[string]*listed{}
	for _, p := range packages {
		byPath[p.ImportPath] = p
	}
	places := make(chan struct{}, runtime.GOMAXPROCS(0))
	var running sync.WaitGroup
	for _, p := range packages {
		running.Go(func() {
			defer close(p.done)
			for _, path := range p.Imports {
				if on := byPath[path]; on != nil {
					<-on.done
				}
			}
			places <- struct{}{}
			defer func() { <-places }()
			p.check(byPath, sizes)
		})
	}
	running.Wait()
	for _, p := range packages {
		for _, problem := range p.problems {
			// The files of a package are checked by themselves, and beside those of its tests.
			if !slices.Contains(problems, problem) {
				problems = append(problems, problem)
			}
		}
	}
	return problems
}

// check reads and checks one package, when all that it imports is checked.
func (p *listed) check(byPath map[string]*listed, sizes types.Sizes) {
	if p.ImportPath == "unsafe" {
		p.types = types.Unsafe
		return
	}
	problem := func(err error) { p.problems = append(p.problems, err.Error()) }
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			problem(err)
			continue
		}
		files = append(files, file)
		for _, d := range file.Decls {
			// The checker of types takes it for a function in assembly, whether there is any or not.
			if f, is := d.(*ast.FuncDecl); is && f.Body == nil && len(p.SFiles) == 0 && p.ours() {
				problem(fmt.Errorf("%s: missing function body", set.Position(f.Pos())))
			}
		}
	}
	config := types.Config{
		IgnoreFuncBodies: !p.ours(),
		Sizes:            sizes,
		Error:            problem,
		Importer: importer(func(path string) (*types.Package, error) {
			if mapped := p.ImportMap[path]; mapped != "" {
				path = mapped
			}
			if on := byPath[path]; on != nil && on.types != nil {
				return on.types, nil
			}
			return nil, fmt.Errorf("%s could not be read", path)
		}),
	}
	if p.Module != nil && p.Module.GoVersion != "" {
		config.GoVersion = "go" + p.Module.GoVersion
	}
	path, _, _ := strings.Cut(p.ImportPath, " ")
	// What is wrong is told to Error.
	p.types, _ = config.Check(path, set, files, nil)
}

type importer func(path string) (*types.Package, error)

func (f importer) Import(path string) (*types.Package, error) { return f(path) }
