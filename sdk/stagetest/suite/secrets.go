package suite

import (
	"encoding/json"

	"github.com/cipherstream/cipherstream/sdk/config"
)

// secretsOf lists the secrets among a stage's settings, so that the host keeps them out of
// what a program says.
func secretsOf(spec *config.Spec, settings []byte) []string {
	if spec == nil {
		return nil
	}
	var tree map[string]any
	if json.Unmarshal(settings, &tree) != nil {
		return nil // the stage refuses them
	}
	var list []string
	var walk func(f *config.Field, value any)
	walk = func(f *config.Field, value any) {
		switch v := value.(type) {
		case map[string]any:
			for name, e := range v {
				if f.Items != nil {
					walk(f.Items, e)
				}
				for i := range f.Fields {
					if f.Fields[i].Name == name {
						walk(&f.Fields[i], e)
					}
				}
			}
		case []any:
			for _, e := range v {
				if f.Items != nil {
					walk(f.Items, e)
				}
			}
		case string:
			if f.Type == config.TypeSecret {
				list = append(list, v)
			}
		}
	}
	walk(&config.Field{Type: config.TypeObject, Fields: spec.Fields}, tree)
	return list
}
