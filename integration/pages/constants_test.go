package pages

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/config"
)

// source is the syntax of one folder of this module: its constants, and the tags of its structs' fields.
type source struct {
	constants map[string]ast.Expr
	tags      map[string]reflect.StructTag // by Struct.Field
}

// readSource reads a folder, from the top of the repository.
func readSource(t *testing.T, dir string) source {
	t.Helper()
	s := source{map[string]ast.Expr{}, map[string]reflect.StructTag{}}
	names, err := fs.Glob(osDir("../.."), path.Join(dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s has no source: %v", dir, err)
	}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../..", filepath.FromSlash(name)), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, id := range n.Names {
					if i < len(n.Values) {
						s.constants[id.Name] = n.Values[i]
					}
				}
			case *ast.TypeSpec:
				if of, ok := n.Type.(*ast.StructType); ok {
					for _, f := range of.Fields.List {
						for _, id := range f.Names {
							if f.Tag != nil {
								if tag, err := strconv.Unquote(f.Tag.Value); err == nil {
									s.tags[n.Name.Name+"."+id.Name] = reflect.StructTag(tag)
								}
							}
						}
					}
				}
			}
			return true
		})
	}
	return s
}

// units are the constants of package time that durations are written with.
var units = map[string]time.Duration{"Millisecond": time.Millisecond, "Second": time.Second, "Minute": time.Minute, "Hour": time.Hour}

// value computes a constant.
func (s source) value(e ast.Expr) (constant.Value, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0), nil
	case *ast.ParenExpr:
		return s.value(e.X)
	case *ast.Ident:
		if of := s.constants[e.Name]; of != nil {
			return s.value(of)
		}
	case *ast.SelectorExpr:
		if unit, ok := units[e.Sel.Name]; ok {
			return constant.MakeInt64(int64(unit)), nil
		}
	case *ast.BinaryExpr:
		x, err := s.value(e.X)
		if err != nil {
			return nil, err
		}
		y, err := s.value(e.Y)
		if err != nil {
			return nil, err
		}
		if e.Op == token.SHL {
			n, _ := constant.Uint64Val(y)
			return constant.Shift(x, e.Op, uint(n)), nil
		}
		return constant.BinaryOp(x, e.Op, y), nil
	}
	return nil, fmt.Errorf("%T is none of the constants that are computed here", e)
}

// written is a number in the unit of a limit.
func written(n int64, unit string) string {
	switch unit {
	case "bytes":
		return config.Size(n).String()
	case "time":
		text := time.Duration(n).String()
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		return text
	}
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if unit == "" {
		return digits
	}
	return digits + " " + unit
}
