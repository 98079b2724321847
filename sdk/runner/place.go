package runner

import (
	"bytes"
	"path"
	"reflect"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// Where in the author's code something went wrong, for faults: "filter.go:42". Nothing where it cannot be told.

// ownPackage is what the functions of the SDK are called by.
const ownPackage = "github.com/cipherstream/cipherstream/sdk/"

// frame is a call of a stack as runtime.Stack writes it: a line with the function, one with the place.
var frame = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^(\S+)\(.*\)\n\t(.+):(\d+)(?: \+0x[0-9a-f]+)?$`) })

// placeOfPanic is where the code panicked whose stack this is: its last line that is neither Go's nor the SDK's own.
func placeOfPanic(stack []byte) string {
	_, below, found := bytes.Cut(stack, []byte("\npanic("))
	if !found {
		return ""
	}
	for _, m := range frame().FindAllSubmatch(below, -1) {
		function := string(m[1])
		first, _, _ := strings.Cut(function, "/")
		library := !strings.Contains(first, ".") || first == function && !strings.HasPrefix(function, "main.") // of Go's own: os.Open, encoding/json.Marshal
		if !library && !strings.HasPrefix(function, ownPackage) {
			return placed(string(m[2]), string(m[3]))
		}
	}
	return ""
}

// placeOfCall is where a method of the stage is that has not come back.
func placeOfCall(instance any) string {
	method := methodsOf(instance)
	if method == "" {
		return ""
	}
	stack := make([]byte, 1<<20)
	stack = stack[:runtime.Stack(stack, true)]
	for _, m := range frame().FindAllSubmatch(stack, -1) {
		if strings.HasPrefix(string(m[1]), method) {
			return placed(string(m[2]), string(m[3]))
		}
	}
	return ""
}

// methodsOf is how the names of a type's methods begin in a stack.
func methodsOf(instance any) string {
	t := reflect.TypeOf(instance)
	switch {
	case t == nil:
		return ""
	case t.Kind() == reflect.Pointer && t.Elem().Name() != "":
		return t.Elem().PkgPath() + ".(*" + t.Elem().Name() + ")."
	case t.Name() != "":
		return t.PkgPath() + "." + t.Name() + "."
	}
	return ""
}

// placeOfApply is where a filter is written.
func placeOfApply(instance any) string {
	m, found := reflect.TypeOf(instance).MethodByName("Apply")
	if !found {
		return ""
	}
	f := runtime.FuncForPC(m.Func.Pointer())
	if f == nil {
		return ""
	}
	file, line := f.FileLine(f.Entry())
	if !strings.HasSuffix(file, ".go") {
		return "" // of a method that another type has lent
	}
	return placed(file, strconv.Itoa(line))
}

func placed(file, line string) string { return path.Base(file) + ":" + line }

// at is a place as the end of a message.
func at(place string) string {
	if place == "" {
		return ""
	}
	return " (at " + place + ")"
}
