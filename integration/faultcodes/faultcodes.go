// Package faultcodes finds the codes of faults in the source of this repository, by its syntax: nothing is built, and
// no package is loaded. It owns what counts as the use of a code; it never says what a code means.
//
// A code is used where it stands as the first argument of fault.New, as a field, a variable or a constant called code,
// or where a parameter called code takes it. A constant of another name counts where it is used so. A code that is put
// together as the program runs cannot be found so: Composed says where that is done.
package faultcodes

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// module is the path of this repository's Go module.
const module = "github.com/cipherstream/cipherstream/"

// Use is a place that uses a code.
type Use struct {
	Code string
	// Dir is the folder, from the top of the repository and with slashes; File is in it.
	Dir, File string
	Line      int
}

// Tree is what was found.
type Tree struct {
	Uses []Use
	// Composed are the files with a fault.New whose code is put together there, in order.
	Composed []string
	// Imports are the folders of this module that a folder's files import.
	Imports map[string][]string
}

var (
	dotted = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$`)
	named  = regexp.MustCompile(`^[cC]ode([A-Z]\w*)?$`)
	// python finds the codes that the SDK for Python uses.
	python = regexp.MustCompile(`\b(?:Fault|plain)\(\s*"([a-z0-9_.]+)"`)
)

// skipped are the folders without faults of the program: tests, and programs of others.
var skipped = []string{"integration", "examples", "sdk/runner/runnertest", "sdk/stagetest", "engine/service/store/storetest",
	"sdk/object/objecttest", "plugins/job/object/s3/s3test"}

type file struct {
	dir, path string
	ast       *ast.File
	imports   map[string]string // folder by the name in this file
}

type scanner struct {
	root   string
	set    *token.FileSet
	files  []*file
	consts map[string]map[string]ast.Expr        // by folder and name
	home   map[string]map[string]*file           // of a constant
	taking map[string]map[string]map[int]bool    // folder, function, index of its parameter called code
	fields map[string]map[string]*ast.StructType // folder, type
	tree   Tree
}

// Scan reads the repository whose top folder is root.
func Scan(root string) (Tree, error) {
	s := &scanner{root: root, set: token.NewFileSet(), consts: map[string]map[string]ast.Expr{}, home: map[string]map[string]*file{},
		taking: map[string]map[string]map[int]bool{}, fields: map[string]map[string]*ast.StructType{}}
	s.tree.Imports = map[string][]string{}
	if err := filepath.WalkDir(root, s.visit); err != nil {
		return Tree{}, err
	}
	for _, f := range s.files {
		s.declare(f)
	}
	for _, f := range s.files {
		s.search(f)
	}
	for dir, all := range s.tree.Imports {
		slices.Sort(all)
		s.tree.Imports[dir] = slices.Compact(all)
	}
	slices.Sort(s.tree.Composed)
	s.tree.Composed = slices.Compact(s.tree.Composed)
	return s.tree, nil
}

// Codes are all codes that are used, in order.
func (t Tree) Codes() []string { return t.Reachable(nil) }

// Reachable are the codes that the folder dir uses, and those of this module that it imports, itself or by others, and
// that follow takes; in order. Without follow they are the codes of the whole tree.
func (t Tree) Reachable(follow func(dir string) bool, dirs ...string) []string {
	seen := map[string]bool{}
	for len(dirs) > 0 {
		dir := dirs[0]
		dirs = dirs[1:]
		if seen[dir] {
			continue
		}
		seen[dir] = true
		for _, next := range t.Imports[dir] {
			if follow != nil && follow(next) {
				dirs = append(dirs, next)
			}
		}
	}
	var codes []string
	for _, u := range t.Uses {
		if follow == nil || seen[u.Dir] {
			codes = append(codes, u.Code)
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

func (s *scanner) visit(path string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(s.root, path)
	if err != nil {
		return err
	}
	rel = filepath.ToSlash(rel)
	if d.IsDir() {
		if slices.Contains(skipped, rel) || d.Name() == "testdata" || d.Name() == "tests" || rel != "." && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		return nil
	}
	dir := filepath.ToSlash(filepath.Dir(rel))
	switch {
	case strings.HasSuffix(rel, "_test.go"):
	case strings.HasSuffix(rel, ".go"):
		parsed, err := parser.ParseFile(s.set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		f := &file{dir: dir, path: rel, ast: parsed, imports: map[string]string{}}
		for _, i := range parsed.Imports {
			at, own := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), module)
			if !own {
				continue
			}
			name := at[strings.LastIndex(at, "/")+1:]
			if i.Name != nil {
				name = i.Name.Name
			}
			f.imports[name] = at
			s.tree.Imports[dir] = append(s.tree.Imports[dir], at)
		}
		s.files = append(s.files, f)
	case strings.HasPrefix(rel, "sdk/python/") && strings.HasSuffix(rel, ".py"):
		return s.searchPython(dir, rel)
	}
	return nil
}

// declare notes the constants of a file, its types, and its functions that take a code.
func (s *scanner) declare(f *file) {
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					for i, name := range spec.Names {
						if i < len(spec.Values) {
							put(s.consts, f.dir, name.Name, spec.Values[i])
							put(s.home, f.dir, name.Name, f)
						}
					}
				case *ast.TypeSpec:
					if t, ok := spec.Type.(*ast.StructType); ok {
						put(s.fields, f.dir, spec.Name.Name, t)
					}
				}
			}
		case *ast.FuncDecl:
			s.takes(f, d.Name.Name, d.Type)
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool { // functions that variables hold
		if a, ok := n.(*ast.AssignStmt); ok {
			for i, to := range a.Lhs {
				if id, named := to.(*ast.Ident); named && i < len(a.Rhs) {
					if fn, ok := a.Rhs[i].(*ast.FuncLit); ok {
						s.takes(f, id.Name, fn.Type)
					}
				}
			}
		}
		return true
	})
}

func (s *scanner) takes(f *file, name string, fn *ast.FuncType) {
	if i := indexOf(fn.Params, "code"); i >= 0 {
		if s.taking[f.dir] == nil || s.taking[f.dir][name] == nil {
			put(s.taking, f.dir, name, map[int]bool{})
		}
		s.taking[f.dir][name][i] = true
	}
}

// search notes the codes that a file uses.
func (s *scanner) search(f *file) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for i, name := range n.Names {
				if named.MatchString(name.Name) && i < len(n.Values) {
					s.use(f, n.Values[i])
				}
			}
		case *ast.AssignStmt:
			for i, to := range n.Lhs {
				name := ""
				switch to := to.(type) {
				case *ast.Ident:
					name = to.Name
				case *ast.SelectorExpr:
					name = to.Sel.Name
				}
				if !named.MatchString(name) {
					continue
				}
				if len(n.Lhs) == len(n.Rhs) {
					s.use(f, n.Rhs[i])
				}
			}
		case *ast.KeyValueExpr:
			if id, ok := n.Key.(*ast.Ident); ok && named.MatchString(id.Name) {
				s.use(f, n.Value)
			} else if text(n.Key) == "code" {
				s.use(f, n.Value)
			}
		case *ast.CompositeLit:
			s.positional(f, n, n.Type)
		case *ast.CallExpr:
			s.call(f, n)
		}
		return true
	})
}

// positional notes the codes of structs whose fields are given by their places, in n and in its elements.
func (s *scanner) positional(f *file, n *ast.CompositeLit, typ ast.Expr) {
	switch t := typ.(type) {
	case *ast.ArrayType:
		typ = t.Elt
	case *ast.MapType:
		typ = t.Value
	default:
		if at := s.codeField(f, typ); at >= 0 && at < len(n.Elts) {
			s.use(f, n.Elts[at])
		}
		return
	}
	for _, e := range n.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			e = kv.Value
		}
		if inner, ok := e.(*ast.CompositeLit); ok && inner.Type == nil {
			s.positional(f, inner, typ)
		}
	}
}

// codeField is the index of a struct's field called code, and -1 for a type that has none.
func (s *scanner) codeField(f *file, typ ast.Expr) int {
	switch t := typ.(type) {
	case *ast.Ident:
		if def := s.fields[f.dir][t.Name]; def != nil {
			return s.codeField(f, def)
		}
	case *ast.StructType:
		return max(indexOf(t.Fields, "code"), indexOf(t.Fields, "Code"))
	}
	return -1
}

func (s *scanner) call(f *file, n *ast.CallExpr) {
	dir, name := f.dir, ""
	switch fun := n.Fun.(type) {
	case *ast.Ident:
		name = fun.Name
	case *ast.SelectorExpr:
		name = fun.Sel.Name
		if x, ok := fun.X.(*ast.Ident); ok && f.imports[x.Name] != "" {
			dir = f.imports[x.Name]
		}
	}
	if dir == "sdk/fault" && name == "Is" { // a question is no use
		return
	}
	for at := range s.taking[dir][name] {
		if at >= len(n.Args) {
			continue
		}
		if _, ok := n.Args[at].(*ast.BinaryExpr); ok && dir == "sdk/fault" && name == "New" {
			s.tree.Composed = append(s.tree.Composed, f.path)
			continue
		}
		s.use(f, n.Args[at])
	}
}

func (s *scanner) use(f *file, e ast.Expr) {
	if code := s.value(f, e, 0); dotted.MatchString(code) || code == "internal" {
		s.tree.Uses = append(s.tree.Uses, Use{code, f.dir, f.path, s.set.Position(e.Pos()).Line})
	}
}

// value is the text that an expression stands for, and empty where that cannot be told from its syntax.
func (s *scanner) value(f *file, e ast.Expr, depth int) string {
	if depth > 4 {
		return ""
	}
	switch e := e.(type) {
	case *ast.BasicLit:
		return text(e)
	case *ast.Ident:
		if v := s.consts[f.dir][e.Name]; v != nil {
			return s.value(s.home[f.dir][e.Name], v, depth+1)
		}
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			if dir := f.imports[x.Name]; s.consts[dir][e.Sel.Name] != nil {
				return s.value(s.home[dir][e.Sel.Name], s.consts[dir][e.Sel.Name], depth+1)
			}
		}
	}
	return ""
}

func text(e ast.Expr) string {
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		if s, err := strconv.Unquote(lit.Value); err == nil {
			return s
		}
	}
	return ""
}

// indexOf is the place of a name in a list of parameters or fields, and -1 when it is not there.
func indexOf(list *ast.FieldList, name string) int {
	i := 0
	for _, field := range list.List {
		for _, id := range field.Names {
			if id.Name == name {
				return i
			}
			i++
		}
		if len(field.Names) == 0 {
			i++
		}
	}
	return -1
}

func put[V any](m map[string]map[string]V, dir, name string, v V) {
	if m[dir] == nil {
		m[dir] = map[string]V{}
	}
	m[dir][name] = v
}
