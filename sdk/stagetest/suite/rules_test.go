package suite

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// TestEveryCheckHasARule: what is not kept is said in words, and no words are for a check that there is not.
func TestEveryCheckHasARule(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "suite.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Check") {
			name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			names[name] = true
			if rules[name] == "" {
				t.Errorf("the check %q has no rule", name)
			}
		}
		return true
	})
	if len(names) < 30 || len(names) != len(rules) {
		t.Errorf("%d checks have %d rules", len(names), len(rules))
	}
}
