package document

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// StageSchema is a stage that an editor may offer.
type StageSchema struct {
	Kind stage.Kind
	// Plugin and Name are what `use` names: NAME, or PLUGIN/NAME.
	Plugin, Name string
	// Plain says that the name alone is enough.
	Plain   bool
	Summary string
	// Settings is a JSON Schema of what stands under `with`.
	Settings map[string]any
}

// Schema describes pipelines, templates and tests as a JSON Schema (draft 2020-12), ready
// for json.Marshal, so that an editor can complete and check them while they are written.
// It knows the settings of the stages that it is given. A stage of a plugin that is not
// among them is taken as PLUGIN/NAME, with any settings; a plain name must be known. What
// depends on other files or on values is left to linting.
func Schema(stages []StageSchema) map[string]any {
	definitions := map[string]any{"pipeline": pipelineSchema(), "test": testSchema(), "columns": columnsSchema()}
	for _, kind := range stage.Kinds {
		definitions["stage-"+string(kind)] = stageSchema(kind, stages)
	}
	return map[string]any{
		"$schema":    "https://json-schema.org/draft/2020-12/schema",
		"title":      "CipherStream pipeline, template or test",
		"type":       "object",
		"properties": header(map[string]any{}, KindPipeline, KindTemplate, KindTest),
		"required":   []string{"apiVersion", "kind"},
		"if":         map[string]any{"properties": map[string]any{"kind": map[string]any{"const": KindTest}}, "required": []string{"kind"}},
		"then":       definition("test"),
		"else":       definition("pipeline"),
		"$defs":      definitions,
	}
}

func definition(name string) map[string]any { return map[string]any{"$ref": "#/$defs/" + name} }

// The schemas of small things. Each call makes a new one.
func text() map[string]any    { return map[string]any{"type": "string"} }
func boolean() map[string]any { return map[string]any{"type": "boolean"} }
func scalar() map[string]any {
	return map[string]any{"type": []string{"string", "number", "boolean", "null"}}
}
func expression(description string) map[string]any {
	return map[string]any{"type": []string{"string", "boolean"}, "description": description, config.SchemaCode: config.CodeCEL}
}
func named(pattern *regexp.Regexp) map[string]any {
	return map[string]any{"type": "string", "pattern": pattern.String(), "maxLength": maxNameLength}
}
func words(of ...string) map[string]any { return map[string]any{"enum": of} }
func list(items map[string]any, most int) map[string]any {
	return map[string]any{"type": "array", "items": items, "maxItems": most}
}

// with adds keywords to a schema.
func with(schema map[string]any, keywords map[string]any) map[string]any {
	maps.Copy(schema, keywords)
	return schema
}

// described adds what an editor says of a key.
func described(schema map[string]any, description string) map[string]any {
	return with(schema, map[string]any{"description": description})
}

// What the values of keys are names of, besides columns: see config.SchemaNames.
const (
	NamesParameters = "parameters"
	// NamesDocuments are templates and pipelines.
	NamesDocuments = "documents"
	NamesFiles     = "files" // beside the document
)

// naming says of what a value, or the keys of a mapping, are names.
func naming(schema map[string]any, what string) map[string]any {
	return with(schema, map[string]any{config.SchemaNames: what})
}

// header are the keys that every document begins with.
func header(properties map[string]any, kinds ...string) map[string]any {
	properties["apiVersion"] = described(map[string]any{"const": APIVersion}, "The version of the syntax.")
	kind := words(kinds...)
	if len(kinds) == 1 {
		kind = map[string]any{"const": kinds[0]}
	}
	properties["kind"] = described(kind, "What the document is.")
	return properties
}

func object(properties map[string]any, required []string) map[string]any {
	o := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if required != nil {
		o["required"] = required
	}
	return o
}

// kindDocs says what the stages of a kind do.
var kindDocs = map[stage.Kind]string{
	stage.KindSource:     "Where the rows come from.",
	stage.KindFilter:     "What becomes of the rows on their way: one filter, or a list of them.",
	stage.KindEncoder:    "In which format rows are written.",
	stage.KindCompressor: "How what is written is compressed.",
	stage.KindEncryptor:  "How what is written is sealed.",
	stage.KindSink:       "Where the output goes.",
}

func pipelineSchema() map[string]any {
	kinds, labelled := map[string]any{}, map[string]any{}
	for _, kind := range stage.Kinds {
		one := definition("stage-" + string(kind))
		either := map[string]any{"oneOf": []any{one, list(one, maxStages)}, "description": kindDocs[kind]}
		kinds[string(kind)] = either
		labelled["^"+string(kind)+`\.[a-z][a-z0-9-]*$`] = either
	}
	stages := with(object(kinds, nil), map[string]any{
		"patternProperties": labelled,
		"description":       "The stages in the order in which rows pass them. A key is a kind, or kind.label for a kind that is needed twice.",
	})
	return object(header(map[string]any{
		"metadata": described(object(map[string]any{
			"name":        described(named(namePattern), "How others refer to it: lower-case letters, digits and underscores, a letter first."),
			"title":       described(text(), "Its name for people."),
			"category":    described(text(), "Under which heading it is listed."),
			"class":       described(words("reference", "data", "special"), "Whether it reads lists that rarely change, data of a practice, or something else."),
			"description": described(text(), "What its rows are."),
		}, []string{"name"}), "What it is called, and what it is about."),
		"spec": described(object(map[string]any{
			"extends": with(naming(text(), NamesDocuments), map[string]any{
				"description": "A template or a pipeline: a name of the catalogue, or a path that begins with ./ or ../."}),
			"parameters": described(list(parameterSchema(), maxParameters), "What is given to a run. Those that are inherited may be changed field by field."),
			"rules": described(list(object(map[string]any{
				"check":     expression("A condition in CEL that holds when the parameters are good."),
				"message":   described(text(), "What is said when it does not hold."),
				"code":      with(named(codePattern), map[string]any{"default": ruleCode, "description": "The code of the error, such as INVALID_DATE_RANGE."}),
				"parameter": described(naming(text(), NamesParameters), "The parameter that is to blame."),
			}, []string{"check", "message"}), maxRules), "Conditions on the parameters."),
			"stages":  stages,
			"columns": described(definition("columns"), "The contract: the columns that the encoder is given, after all filters."),
			"drift": with(words(string(DriftFail), string(DriftWarn), string(DriftIgnore)), map[string]any{
				"default":     string(DriftFail),
				"description": "What happens when the columns are not those that are declared."}),
			"state":  stateSchema(),
			"limits": described(limitsSchema(), "Bounds of a run."),
		}, nil), "What it takes, what it does, and what comes out."),
	}, KindPipeline, KindTemplate), []string{"apiVersion", "kind", "metadata", "spec"})
}

// parameterSchema describes a parameter. Its default and allowed values are of its type;
// where the type is left out, it is that of what the document extends.
func parameterSchema() map[string]any {
	whole, number := `^-?[0-9]{1,19}$`, `^-?[0-9]+(\.[0-9]+)?$`
	pattern := func(p string) map[string]any { return map[string]any{"type": "string", "pattern": p} }
	values := []struct {
		typ    Type
		anyOf  []any
		reason string
	}{
		{TypeString, []any{text()}, "Text; a number stands in quotes."},
		{TypeDate, []any{pattern(datePattern.String())}, "A day as YYYY-MM-DD."},
		{TypeInteger, []any{map[string]any{"type": "integer"}, pattern(whole)}, "A whole number."},
		{TypeBoolean, []any{boolean(), words("true", "false")}, "true or false."},
		{TypeDecimal, []any{map[string]any{"type": "number"}, pattern(number)}, "A decimal number such as -12.50."},
	}
	parameter := object(map[string]any{
		"name":        described(named(namePattern), "Refer to it as ${params.NAME}, in expressions as params.NAME."),
		"type":        described(words(Types...), "What its values are. It may be left out where it is inherited."),
		"required":    with(boolean(), map[string]any{"default": false, "description": "Whether a value must be given; there is no default then."}),
		"default":     with(scalar(), map[string]any{"default": nil, "description": "The value of a parameter that is not given."}),
		"allowed":     described(list(with(scalar(), map[string]any{"type": []string{"string", "number", "boolean"}}), maxColumns), "The only values that are accepted."),
		"description": described(text(), "What it means, for who gives it."),
	}, []string{"name"})
	rules := []any{when("required", true, map[string]any{"default": map[string]any{"type": "null"}})}
	for _, v := range values {
		rules = append(rules, when("type", string(v.typ), map[string]any{
			"default": map[string]any{"anyOf": append(slices.Clone(v.anyOf), map[string]any{"type": "null"}), "description": v.reason},
			"allowed": map[string]any{"items": map[string]any{"anyOf": v.anyOf}},
		}))
	}
	parameter["allOf"] = rules
	return parameter
}

// when is the rule that properties are such and such when one of them has a value.
func when(property string, value any, properties map[string]any) map[string]any {
	return map[string]any{
		"if": map[string]any{
			"properties": map[string]any{property: map[string]any{"const": value}}, "required": []string{property}},
		"then": map[string]any{"properties": properties},
	}
}

func columnsSchema() map[string]any {
	var plain []string
	for _, name := range ColumnTypes {
		if name != "decimal" {
			plain = append(plain, name)
		}
	}
	upTo76 := `(0?[1-9]|[1-6][0-9]|7[0-6])`
	return list(object(map[string]any{
		"name": map[string]any{"type": "string", "minLength": 1, "maxLength": 4 * maxNameLength, "description": "The column's name."},
		"type": map[string]any{
			"type": "string",
			"anyOf": []any{
				words(plain...),
				map[string]any{"pattern": `^decimal\(` + upTo76 + `, ?(00?|` + upTo76 + `)\)$`},
				map[string]any{"pattern": fmt.Sprintf(`^(timestamp|time)\(0?[0-%d]\)$`, maxFraction)},
			},
			"examples":    append(slices.Clone(plain), "decimal(10,2)", "timestamp(6)", "time(3)"),
			"description": "Such as int64, string, date, timestamp(6), decimal(12,4).",
		},
		"nullable":    with(boolean(), map[string]any{"default": true, "description": "Whether it may be NULL."}),
		"description": described(text(), "What its values mean."),
		"personal":    with(boolean(), map[string]any{"default": false, "description": "Whether it identifies or describes a person."}),
	}, []string{"name", "type"}), maxColumns)
}

func stateSchema() map[string]any {
	return with(object(map[string]any{
		"cursor": map[string]any{"type": "string", "minLength": 1, "maxLength": 4 * maxNameLength,
			"description": "The column whose values only grow, such as the time of a row's last change. It is one of columns, with nullable: false."},
		"overlap": map[string]any{"anyOf": []any{
			map[string]any{"type": "string", "minLength": 1, "pattern": overlapPattern().String()},
			map[string]any{"type": "integer", "minimum": 1},
		}, "description": fmt.Sprintf("How far below the greatest value seen the next run begins: 1d, 12h, 90m of times (default %v), a whole number of numbers. Longer than the longest transaction that writes the rows.",
			Overlap{Time: defaultOverlap})},
	}, []string{"cursor"}), map[string]any{"description": "A run reads what has changed since the one before; run --state-file keeps how far it was."})
}

func limitsSchema() map[string]any {
	size := func(lo, hi int64, description string) map[string]any {
		return map[string]any{
			"type": []string{"string", "integer"}, "minimum": lo, "maximum": hi, "pattern": `^[0-9]+ *([kMGT]i?B|KB|B)?$`,
			"description": fmt.Sprintf("%s From %v to %v, such as %v.", description, config.Size(lo), config.Size(hi), config.Size(lo*8)),
		}
	}
	duration := func(description string) map[string]any {
		return map[string]any{"type": "string", "pattern": `^\+?(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`, "description": description}
	}
	return object(map[string]any{
		"memory":  size(minMemory, maxMemory, "For all buffers of a run together."),
		"timeout": duration("For the whole run, such as 90s."),
		"stall":   duration("For one call of a stage that neither reads nor writes, such as 30s; default 10s."),
		"batch_rows": map[string]any{"type": "integer", "minimum": 1, "maximum": maxBatchRows,
			"description": "Rows that a batch aims at."},
		"batch_bytes": size(minBatchBytes, maxBatchBytes, "Bytes that a batch aims at."),
	}, nil)
}

// testSchema describes a file that tests a pipeline: see Test.
func testSchema() map[string]any {
	file := func(description string) map[string]any {
		return naming(map[string]any{"type": "string", "minLength": 1, "description": description}, NamesFiles)
	}
	mapping := func(values map[string]any, description string) map[string]any {
		return map[string]any{"type": "object", "additionalProperties": values, "maxProperties": maxNames, "description": description}
	}
	rows := func(description string) map[string]any {
		row := naming(map[string]any{"type": "object", "additionalProperties": scalar()}, config.NamesColumns)
		return described(list(row, maxCaseRows), description)
	}
	oneOf := func(keys ...string) []any {
		var each []any
		for _, key := range keys {
			each = append(each, map[string]any{"required": []string{key}})
		}
		return each
	}
	expect := with(object(map[string]any{
		"output":      with(text(), map[string]any{"description": "The exact text."}),
		"output_file": file("A file beside the test that holds the exact bytes."),
		"rows":        rows("The rows in the order of the output."),
		"error":       with(text(), map[string]any{"description": "The code of the error that the case ends with."}),
	}, nil), map[string]any{"oneOf": oneOf("output", "output_file", "rows", "error")})
	one := with(object(map[string]any{
		"name":       described(text(), "What the case shows. It is unique in the file."),
		"parameters": naming(mapping(scalar(), "Values of the pipeline's parameters."), NamesParameters),
		"customer":   with(text(), map[string]any{"description": "What ${customer.id} stands for."}),
		"secrets":    mapping(text(), "What ${secret.…} stands for."),
		"env":        mapping(text(), "What ${env.…} stands for."),
		"columns":    definition("columns"),
		"rows":       rows("What the source delivers."),
		"rows_file":  file("A file beside the test that holds what the source delivers."),
		"expect":     described(expect, "What the case must come to: one of these."),
	}, []string{"name", "expect"}), map[string]any{"oneOf": oneOf("rows", "rows_file")})
	return object(header(map[string]any{
		"pipeline": with(naming(text(), NamesDocuments), map[string]any{
			"description": "The pipeline that is tested: a path beside the test, or a name of the catalogue."}),
		"cases": with(list(one, maxCases), map[string]any{"minItems": 1, "description": "Runs of the pipeline, each with rows and what must come of them."}),
	}, KindTest), []string{"apiVersion", "kind", "pipeline", "cases"})
}

// stageSchema describes a stage of a kind. What is required of its settings may come from
// what the document extends, so that nothing is here.
func stageSchema(kind stage.Kind, stages []StageSchema) map[string]any {
	var uses, rules []any
	var plugins, full []string
	for _, s := range stages {
		if plugin := regexp.QuoteMeta(s.Plugin); !slices.Contains(plugins, plugin) {
			plugins = append(plugins, plugin)
		}
		if s.Kind != kind {
			continue
		}
		is := []string{s.Plugin + "/" + s.Name}
		full = append(full, regexp.QuoteMeta(is[0]))
		if s.Plain {
			is = append(is, s.Name)
		}
		uses = append(uses, map[string]any{"const": is[len(is)-1], "description": s.Summary})
		settings := maps.Clone(s.Settings)
		delete(settings, "required")
		rules = append(rules, map[string]any{
			"if":   map[string]any{"properties": map[string]any{"use": words(is...)}, "required": []string{"use"}},
			"then": map[string]any{"properties": map[string]any{"with": settings}},
		})
	}
	if full != nil {
		uses = append(uses, map[string]any{"type": "string", "pattern": "^(" + strings.Join(full, "|") + ")$"})
	}
	elsewhere := map[string]any{"type": "string", "pattern": "^[^/]+/.+$", "description": "PLUGIN/NAME: a stage of a plugin that is not known here."}
	if plugins != nil {
		elsewhere["not"] = map[string]any{"pattern": "^(" + strings.Join(plugins, "|") + ")/"}
	}
	one := object(map[string]any{
		"use":  map[string]any{"anyOf": append(uses, elsewhere), "description": "What runs: NAME, or PLUGIN/NAME."},
		"with": map[string]any{"type": "object", "description": "The settings of the stage."},
		"when": expression("A condition in CEL: the stage runs only when it holds."),
		"isolation": with(words(string(IsolationGroup), string(IsolationProcess)), map[string]any{
			"default":     string(IsolationGroup),
			"description": "group runs with its neighbours of the same plugin, process in a process of its own."}),
		"name": described(named(stageNamePattern), "The stage's own name, in messages and counters; default its kind."),
	}, nil)
	if rules != nil {
		one["allOf"] = rules
	}
	return one
}
