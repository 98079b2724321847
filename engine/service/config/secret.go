package config

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

var (
	variablePattern = regexp.MustCompile(`^env:[A-Za-z_][A-Za-z0-9_]*$`)
	secretPattern   = regexp.MustCompile(`^\$\{secret\.([A-Za-z_][A-Za-z0-9_-]*)\}$`)
)

const referenceForms = "env:VARIABLE, file:PATH, command:PROGRAM ARGUMENTS, or ${secret.NAME} for one of those under secrets"

// reference reads the secret that a reference names, and reports whether it was read. Where ${secret.NAME} may stand,
// named is true.
func (c *checker) reference(text string, named bool, path ...string) (secret config.Secret, read bool) {
	text, ok := c.resolve(text, named, path)
	if !ok || c.options.Secret == nil || c.failed[text] {
		return secret, false
	}
	if secret, read = c.secrets[text]; read {
		return secret, true
	}
	value, err := c.options.Secret(c.ctx, text)
	if err != nil {
		f := fault.From(err)
		c.add(diag.At(c.doc.At(path...), f.Code, "%s", diag.Printable(f.Message)).WithHint("%s", f.Hint), path)
		if c.failed == nil {
			c.failed = map[string]bool{}
		}
		c.failed[text] = true
		return secret, false
	}
	if c.secrets == nil {
		c.secrets = map[string]config.Secret{}
	}
	secret = config.NewSecret(value)
	c.secrets[text] = secret
	return secret, true
}

// resolve is the reference that does not depend on the document: a name looked up, a path absolute. What is no
// reference may be the secret itself, and is never shown.
func (c *checker) resolve(text string, named bool, path []string) (reference string, ok bool) {
	if m := secretPattern.FindStringSubmatch(text); m != nil && named {
		name := m[1]
		reference, known := c.named[name]
		if !known {
			c.add(diag.At(c.doc.At(path...), document.CodeUnknownName, "no secret is called %q under secrets", name).
				WithSuggestion(name, slices.Sorted(maps.Keys(c.named))).WithoutFix(), path)
			return "", false
		}
		return c.absolute(reference), wellFormed(reference) // what is wrong with it is told where it stands
	}
	if !wellFormed(text) {
		c.hidden = append(c.hidden, text)
		c.add(diag.At(c.doc.At(path...), CodeReference, "what stands here is no reference to a secret").
			WithHint("write %s; a secret itself never stands in this file", referenceForms), path)
		return "", false
	}
	return c.absolute(text), true
}

func (c *checker) absolute(reference string) string {
	if file, is := strings.CutPrefix(reference, "file:"); is && !filepath.IsAbs(file) {
		return "file:" + c.path(file)
	}
	return reference
}

func wellFormed(reference string) bool {
	scheme, rest, _ := strings.Cut(reference, ":")
	switch scheme {
	case "env":
		return variablePattern.MatchString(reference)
	case "file", "command":
		return strings.TrimSpace(rest) != ""
	}
	return false
}
