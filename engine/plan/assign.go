package plan

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// CodeSetting is the code of an assignment to a setting that does not exist, or does not take the value; see Assign.
const CodeSetting = "plan.setting"

// Path reads the place of a setting: names with dots between them ("columns.id.action"),
// or, where a name has a dot in it, a JSON Pointer (RFC 6901), which begins with a slash.
func Path(text string) []string {
	if !strings.HasPrefix(text, "/") {
		return strings.Split(text, ".")
	}
	steps := strings.Split(text[1:], "/")
	for i := range steps {
		steps[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(steps[i])
	}
	return steps
}

// Pointer is the JSON Pointer of a path.
func Pointer(path []string) string {
	var b strings.Builder
	for _, step := range path {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(step))
	}
	return b.String()
}

// Assign puts a value, given as text, into settings. What the text means depends on
// the setting's type: lists, maps and objects are JSON; a setting for any scalar takes
// JSON where the text is that, and text otherwise. A secret goes into a secret setting
// and nothing else does. The error is coded, and never shows the value of a secret.
func Assign(spec *config.Spec, settings map[string]any, place, text string, secret bool) error {
	root := &config.Field{Type: config.TypeObject, Fields: spec.Fields}
	_, err := assign(root, settings, Path(place), 0, text, secret)
	return err
}

// assign returns the value with the text at the rest of the path in it.
func assign(field *config.Field, value any, path []string, depth int, text string, secret bool) (any, error) {
	if depth == len(path) {
		return scan(field, Pointer(path), text, secret)
	}
	step := path[depth]
	switch field.Type {
	case config.TypeObject, config.TypeMap:
		tree, ok := value.(map[string]any)
		if !ok {
			tree = map[string]any{}
		}
		in := member(field, step)
		if in == nil {
			f := fault.New(CodeSetting, fault.Usage, "the stage has no setting %q", Pointer(path[:depth+1]))
			if names := namesOf(field, tree); len(names) > 0 {
				f = f.WithHint("there are %s", strings.Join(names, ", "))
			}
			return nil, f
		}
		next, err := assign(in, tree[step], path, depth+1, text, secret)
		if err != nil {
			return nil, err
		}
		tree[step] = next
		return tree, nil
	case config.TypeList:
		list, _ := value.([]any)
		i, err := strconv.Atoi(step)
		if err != nil || i < 0 || i >= len(list) {
			return nil, fault.New(CodeSetting, fault.Usage, "setting %q is a list of %d, and has no element %q", Pointer(path[:depth]), len(list), step).
				WithHint("elements are counted from 0; the whole list is set as JSON")
		}
		if list[i], err = assign(element(field, config.TypeList), list[i], path, depth+1, text, secret); err != nil {
			return nil, err
		}
		return list, nil
	}
	return nil, fault.New(CodeSetting, fault.Usage, "setting %q is a %s, and has nothing in it", Pointer(path[:depth]), field.Type)
}

// namesOf lists the names that an object may have, or that a map has.
func namesOf(field *config.Field, tree map[string]any) []string {
	if field.Type != config.TypeObject {
		return slices.Sorted(maps.Keys(tree))
	}
	var names []string
	for _, f := range field.Fields {
		names = append(names, f.Name)
	}
	return names
}

// scan reads a value for a setting.
func scan(field *config.Field, place, text string, secret bool) (any, error) {
	switch {
	case secret && field.Type != config.TypeSecret:
		return nil, fault.New(CodeSetting, fault.Usage, "setting %q is no secret", place).
			WithHint("it may be shown, so that it is set in the open")
	case !secret && field.Type == config.TypeSecret:
		return nil, fault.New(CodeSetting, fault.Usage, "setting %q is a secret, which is not given as text", place)
	case secret:
		return config.NewSecret(text), nil
	}
	switch field.Type {
	case config.TypeString, config.TypeDuration:
		return text, nil
	case config.TypeList, config.TypeMap, config.TypeObject, config.TypeScalar:
		value, err := decodeJSON(text)
		if err != nil && field.Type == config.TypeScalar {
			return text, nil
		}
		if err != nil {
			return nil, fault.New(CodeSetting, fault.Usage, "setting %q is a %s, which is given as JSON: %w", place, field.Type, err)
		}
		return value, nil
	case config.TypeSize:
		if wholePattern.MatchString(text) {
			return json.Number(text), nil
		}
		return text, nil
	}
	return coerce(text, field.Type), nil // what does not fit, the check of the stage refuses
}

func decodeJSON(text string) (any, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("something follows the first value")
	}
	return value, nil
}
