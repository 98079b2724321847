package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// The codes of references that are wrong.
const (
	CodeReferenceSyntax = "reference.syntax"
	// CodeReferenceLookalike: a text that looks like a reference and is none; a warning.
	CodeReferenceLookalike = "reference.lookalike"
	CodeUnknownNamespace   = "reference.unknown_namespace"
	CodeUnknownParameter   = "reference.unknown_parameter"
	CodeUnknownReference   = "reference.unknown"
	CodeNotAvailable       = "reference.not_available"
	CodeNullInText         = "reference.null_in_text"
	CodeNotText            = "reference.not_utf8"
	CodeSecretMisplaced    = "reference.secret_misplaced"
)

var namespaces = []string{"params", "env", "secret", "customer", "run", "state"}

// part is a piece of a scalar: literal text, or a reference.
type part struct {
	literal         string
	namespace, name string // empty for a literal
	start, end      int    // place in the scalar, in code points
}

func (r part) String() string { return r.namespace + "." + r.name }

var referencePattern = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)\.([A-Za-z_][A-Za-z0-9_-]*)$`)

// parseReferences splits a scalar into its parts. A piece that looks like a
// reference and is none is given to bad, with its place and what is wrong.
func parseReferences(text string, bad func(start, end int, message string)) []part {
	var parts []part
	literal := func(s string) {
		if s == "" {
			return
		}
		if n := len(parts); n > 0 && parts[n-1].namespace == "" {
			parts[n-1].literal += s
			return
		}
		parts = append(parts, part{literal: s})
	}
	runes := 0 // code points before text
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			literal(text)
			return parts
		}
		if i > 0 && text[i-1] == '$' {
			literal(text[:i-1] + "${")
			runes += utf8.RuneCountInString(text[:i+2])
			text = text[i+2:]
			continue
		}
		literal(text[:i])
		runes += utf8.RuneCountInString(text[:i])
		text = text[i:]
		end := strings.IndexByte(text, '}')
		if end < 0 {
			bad(runes, runes+2, "the reference is not closed with }")
			return parts
		}
		length := utf8.RuneCountInString(text[:end+1])
		if m := referencePattern.FindStringSubmatch(text[2:end]); m != nil {
			parts = append(parts, part{namespace: m[1], name: m[2], start: runes, end: runes + length})
		} else {
			bad(runes, runes+length, fmt.Sprintf("%s is not a reference", printable(text[:end+1])))
		}
		runes += length
		text = text[end+1:]
	}
}

// unknown stands for a value that is not known: in Lint, and after a problem
// that was reported.
type unknown struct{}

// unknownSecret stands for a secret in Lint. It is as long as a good one.
const unknownSecret = "unknown-unknown-unknown-unknown-"

// text resolves the references of a text that has some.
func (p *planner) text(s *setting) any {
	n, parts := s.node, s.parts
	good := !s.wrong
	values := make([]any, len(parts))
	for i, r := range parts {
		if r.namespace == "" {
			values[i] = r.literal
			continue
		}
		v, ok := p.lookup(n, r)
		good = good && ok
		values[i] = v
	}
	if !good {
		return unknown{}
	}
	for i, v := range values {
		if v == nil && len(parts) > 1 {
			p.diags.Add(diag.At(n.Inside(parts[i].start, parts[i].end), CodeNullInText, "%s is null, which has no text", parts[i]).
				WithHint("give it a value or a default, or let the reference stand alone"))
			return unknown{}
		}
	}
	if slices.ContainsFunc(values, func(v any) bool { _, is := v.(config.Secret); return is }) {
		return p.secretText(n, s.field, s.path, parts, values)
	}
	if slices.Contains(values, any(unknown{})) {
		return unknown{}
	}
	if len(parts) == 1 {
		return values[0]
	}
	text := strings.Join(toText(values), "")
	p.count(n, len(text))
	return text
}

func toText(values []any) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = scalarText(v)
	}
	return out
}

// scalarText writes a known scalar that is not null.
func scalarText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	}
	return fmt.Sprint(v)
}

// plainValue reports whether a value of Customer.Attributes is one of
// the documented types and no secret.
func plainValue(v any) (any, bool) {
	switch v := v.(type) {
	case nil, bool, string, int64, json.Number:
		return v, true
	case int:
		return int64(v), true
	}
	return nil, false
}

// lookup finds what a reference stands for. When it is false, the problem was
// reported.
func (p *planner) lookup(n *document.Node, r part) (any, bool) {
	p.refers[r.String()] = true
	at := n.Inside(r.start, r.end)
	if p.resolved > maxSettingsBytes {
		return nil, false // reported once
	}
	missing := func(format string, args ...any) (any, bool) {
		d := diag.At(at, CodeUnknownReference, format, args...)
		if p.in.Hint != nil {
			d.Hint = p.in.Hint(r.String())
		}
		p.diags.Add(d)
		return nil, false
	}
	text := func(find Lookup, what string) (string, bool) {
		if find == nil {
			p.diags.Add(diag.At(at, CodeNotAvailable, "%s are not available here", what))
			return "", false
		}
		v, ok := find(r.name)
		if !ok {
			missing("%s is not set", r)
		} else if !utf8.ValidString(v) {
			p.diags.Add(diag.At(at, CodeNotText, "the value of %s is not UTF-8 text", r))
			return "", false
		}
		p.count(n, len(v))
		return v, ok
	}
	known := func(values map[string]any, names []string) (any, bool) {
		v, ok := values[r.name]
		switch {
		case names != nil && !slices.Contains(names, r.name):
			d := diag.At(at, CodeUnknownReference, "%s has no %q", r.namespace, printable(r.name)).WithSuggestion(r.name, names)
			if d.Fix != "" {
				d.Fix = "${" + r.namespace + "." + d.Fix + "}"
			}
			p.diags.Add(d)
			return nil, false
		case p.lint:
			return unknown{}, true
		case !ok:
			if len(values) == 0 {
				return missing("%s has no value here", r)
			}
			return missing("%s has no value here; known: %s", r, strings.Join(slices.Sorted(maps.Keys(values)), ", "))
		}
		if s, secret := v.(config.Secret); secret {
			return s, true
		}
		plain, ok := plainValue(v)
		if !ok {
			return missing("%s is a %T, which cannot be a setting", r, v)
		}
		if s, isText := plain.(string); isText {
			if !utf8.ValidString(s) {
				return missing("the value of %s is not UTF-8 text", r)
			}
			p.count(n, len(s))
		}
		return plain, true
	}
	switch r.namespace {
	case "params":
		if !slices.Contains(p.names, r.name) {
			d := diag.At(at, CodeUnknownParameter, "no parameter %q is declared", r.name).WithSuggestion(r.name,
				p.names)
			if d.Fix != "" {
				d.Fix = "${params." + d.Fix + "}"
			}
			p.diags.Add(d)
			return nil, false
		}
		if p.lint {
			return unknown{}, true
		}
		v := p.params[r.name]
		if s, ok := v.(string); ok {
			p.count(n, len(s))
		}
		return v, true
	case "env":
		if !p.variable(r.name, at) {
			return nil, false
		}
		if p.lint {
			return unknown{}, true
		}
		return text(p.in.Env, "environment variables")
	case "secret":
		if p.lint {
			return config.NewSecret(unknownSecret), true
		}
		v, ok := text(p.in.Secrets, "secrets")
		return config.NewSecret(v), ok
	case "customer":
		return known(p.customer, nil)
	case "run":
		return known(p.run, runNames)
	case "state":
		if p.config.Document.State == nil {
			p.diags.Add(diag.At(at, CodeNotAvailable, "%s: the pipeline keeps no state", r).WithHint("declare state: {cursor: COLUMN} under spec"))
			return nil, false
		}
		return known(p.state, stateNames)
	}
	d := diag.At(at, CodeUnknownNamespace, "no namespace is called %q", r.namespace).WithSuggestion(r.namespace,
		namespaces)
	if d.Fix != "" {
		d.Fix = "${" + d.Fix + "." + r.name + "}"
	}
	p.diags.Add(d)
	return nil, false
}
