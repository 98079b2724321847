package plan

import (
	"iter"
	"maps"
	"slices"
	"strconv"

	"github.com/cipherstream/cipherstream/sdk/config"
)

// Secrets are the secrets among a stage's settings, each with its place, a JSON Pointer, in the order of the places'
// names.
func (s *Stage) Secrets() iter.Seq2[string, config.Secret] {
	return func(yield func(string, config.Secret) bool) {
		var walk func(value any, path []string) bool
		walk = func(value any, path []string) bool {
			path = path[:len(path):len(path)]
			switch v := value.(type) {
			case map[string]any:
				for _, name := range slices.Sorted(maps.Keys(v)) {
					if !walk(v[name], append(path, name)) {
						return false
					}
				}
			case []any:
				for i, e := range v {
					if !walk(e, append(path, strconv.Itoa(i))) {
						return false
					}
				}
			case config.Secret:
				return yield(Pointer(path), v)
			}
			return true
		}
		walk(s.Config, nil)
	}
}

// SecretTexts are the secrets among the stage's settings in the clear, for redaction.
func (s *Stage) SecretTexts() (texts []string) {
	for _, secret := range s.Secrets() {
		texts = append(texts, secret.Reveal())
	}
	return texts
}

// SecretTexts are the secrets among the settings of all stages in the clear, for redaction.
func (p *Plan) SecretTexts() (texts []string) {
	for i := range p.Stages {
		texts = append(texts, p.Stages[i].SecretTexts()...)
	}
	return texts
}
