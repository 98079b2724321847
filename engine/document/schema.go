package document

import (
	"maps"
	"slices"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// StageSchema is a stage that an editor may offer.
type StageSchema struct {
	Kind stage.Kind
	// Use is what stands behind `use`.
	Use     string
	Summary string
	// Settings is a JSON Schema of what stands under `with`.
	Settings map[string]any
}

// Schema describes pipelines and templates as a JSON Schema (draft 2020-12), ready for
// json.Marshal, so that an editor can complete and check them while they are written. It
// accepts every document that this package accepts, and knows the settings of the stages
// that it is given; what depends on other files or on values is left to linting.
func Schema(stages []StageSchema) map[string]any {
	text := map[string]any{"type": "string"}
	boolean := map[string]any{"type": "boolean"}
	scalar := map[string]any{"type": []string{"string", "number", "boolean", "null"}}
	expression := map[string]any{"type": []string{"string", "boolean"}}
	name := func(pattern string) map[string]any {
		return map[string]any{"type": "string", "pattern": pattern, "maxLength": maxNameLength}
	}
	words := func(of ...string) map[string]any { return map[string]any{"enum": of} }
	list := func(items map[string]any, most int) map[string]any {
		return map[string]any{"type": "array", "items": items, "maxItems": most}
	}
	stagesSchema := object(nil, nil)
	kinds, patterns := stagesSchema["properties"].(map[string]any), map[string]any{}
	for _, kind := range stage.Kinds {
		one := stageSchema(kind, stages)
		either := map[string]any{"oneOf": []any{one, list(one, maxStages)}}
		kinds[string(kind)] = either
		patterns["^"+string(kind)+`\.[a-z][a-z0-9-]*$`] = map[string]any{"$ref": "#/properties/spec/properties/stages/properties/" + string(kind)}
	}
	stagesSchema["patternProperties"] = patterns
	stagesSchema["description"] = "The stages in the order in which rows pass them. A key is a kind, or kind.label for a kind that is needed twice."

	schema := object(map[string]any{
		"apiVersion": map[string]any{"const": APIVersion},
		"kind":       words(KindPipeline, KindTemplate),
		"metadata": object(map[string]any{
			"name": name(namePattern.String()), "title": text, "category": text,
			"class": words("reference", "data", "special"), "description": text,
		}, []string{"name"}),
		"spec": object(map[string]any{
			"extends": map[string]any{"type": "string", "description": "A template or a pipeline: a name of the catalogue, or a path that begins with ./ or ../."},
			"parameters": list(object(map[string]any{
				"name": name(namePattern.String()), "type": words(Types...), "required": boolean,
				"default": scalar, "allowed": list(scalar, maxColumns), "description": text,
			}, []string{"name"}), maxParameters),
			"rules": list(object(map[string]any{
				"check": expression, "message": text, "code": name(codePattern.String()), "parameter": text,
			}, []string{"check", "message"}), maxRules),
			"stages": stagesSchema,
			"columns": list(object(map[string]any{
				"name":     map[string]any{"type": "string", "minLength": 1},
				"type":     map[string]any{"type": "string", "examples": ColumnTypes, "description": "Such as int64, string, date, timestamp(6), decimal(12,4)."},
				"nullable": boolean, "description": text,
			}, []string{"name", "type"}), maxColumns),
			"drift": words(string(DriftFail), string(DriftWarn), string(DriftIgnore)),
			"limits": object(map[string]any{
				"memory":      map[string]any{"type": []string{"string", "integer"}, "description": "For all buffers of a run together, such as 64MiB."},
				"timeout":     map[string]any{"type": "string", "description": "For the whole run, such as 90s."},
				"stall":       map[string]any{"type": "string", "description": "For one call of a stage that neither reads nor writes, such as 30s; default 10s."},
				"batch_rows":  map[string]any{"type": "integer", "minimum": 1},
				"batch_bytes": map[string]any{"type": []string{"string", "integer"}},
			}, nil),
		}, nil),
	}, []string{"apiVersion", "kind", "metadata", "spec"})
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "CipherStream pipeline"
	return schema
}

func object(properties map[string]any, required []string) map[string]any {
	if properties == nil {
		properties = map[string]any{}
	}
	o := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if required != nil {
		o["required"] = required
	}
	return o
}

// stageSchema describes a stage of a kind. What is required of its settings may come from
// what the document extends, so that nothing is here.
func stageSchema(kind stage.Kind, stages []StageSchema) map[string]any {
	var uses, rules []any
	for _, s := range stages {
		if s.Kind != kind {
			continue
		}
		uses = append(uses, map[string]any{"const": s.Use, "description": s.Summary})
		settings := maps.Clone(s.Settings)
		delete(settings, "required")
		rules = append(rules, map[string]any{
			"if":   map[string]any{"properties": map[string]any{"use": map[string]any{"const": s.Use}}, "required": []string{"use"}},
			"then": map[string]any{"properties": map[string]any{"with": settings}},
		})
	}
	// A plugin that is not installed here may offer more.
	uses = append(uses, map[string]any{"type": "string"})
	one := object(map[string]any{
		"use":       map[string]any{"anyOf": uses},
		"with":      map[string]any{"type": "object"},
		"when":      map[string]any{"type": []string{"string", "boolean"}, "description": "A condition in CEL: the stage runs only when it holds."},
		"isolation": map[string]any{"enum": []string{string(IsolationGroup), string(IsolationProcess)}},
		"name":      map[string]any{"type": "string", "pattern": stageNamePattern.String()},
	}, nil)
	if rules != nil {
		one["allOf"] = slices.Clip(rules)
	}
	return one
}
