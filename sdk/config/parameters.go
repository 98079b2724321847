package config

import (
	"encoding/json"
	"fmt"
	"regexp"
)

// Tree is the parameters as a tree of settings:
//
//	{"from_date": {"type": "date", "value": "2024-01-31"}, "limit": {"type": "decimal", "value": "12.50"}}
//
// A decimal is text, so that no reader rounds it. In place of a value that is not known
// yet there is "unknown": true.
func (p Parameters) Tree() map[string]any {
	tree := make(map[string]any, len(p))
	for name, parameter := range p {
		one := map[string]any{"type": parameter.Type}
		switch v := parameter.Value.(type) {
		case json.Number:
			one["value"] = v.String()
		default:
			one["value"] = v
		}
		if parameter.Unknown {
			delete(one, "value")
			one["unknown"] = true
		}
		tree[name] = one
	}
	return tree
}

// parameters reads such a tree. The text says what is wrong.
func parameters(value any) (Parameters, string) {
	tree, ok := value.(map[string]any)
	if !ok {
		return nil, "expected parameters, not " + describe(value)
	}
	all := Parameters{}
	for name, given := range tree {
		one, _ := given.(map[string]any)
		p := Parameter{Unknown: one["unknown"] == true}
		if p.Type, ok = one["type"].(string); !ok {
			return nil, fmt.Sprintf("parameter %q has no type", name)
		}
		if p.Value, ok = parameterValue(p.Type, one["value"]); !ok {
			return nil, fmt.Sprintf("parameter %q is no %s", name, p.Type)
		}
		all[name] = p
	}
	return all, ""
}

func parameterValue(typ string, value any) (any, bool) {
	if value == nil {
		return nil, true
	}
	switch typ {
	case "string", "date":
		text, ok := value.(string)
		return text, ok
	case "boolean":
		is, ok := value.(bool)
		return is, ok
	case "integer":
		n, ok := integer(value, false)
		return n, ok
	case "decimal":
		text, ok := value.(string)
		return json.Number(text), ok && exactNumber.MatchString(text)
	}
	return nil, false
}

var exactNumber = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)
