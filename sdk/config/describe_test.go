package config_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/config"
)

// TestDescribe: a row for every setting, with its path, its type in words, what is required, and its bounds.
func TestDescribe(t *testing.T) {
	t.Parallel()
	type entry struct {
		Name string `config:"name,required" min:"1" doc:"Its name."`
	}
	type settings struct {
		Entries []entry           `config:"entries" max:"3" doc:"Some."`
		ByName  map[string]entry  `config:"by_name"`
		Mode    string            `config:"mode" enum:"a,b" default:"a" doc:"How."`
		Wait    time.Duration     `config:"wait" min:"1s" max:"1m"`
		Key     config.Secret     `config:"key,required" kind:"keys"`
		Query   string            `config:"query" code:"sql"`
		Params  config.Parameters `config:"params"`
	}
	want := []config.Described{
		{Name: "entries", Type: "list of object", Doc: "Some. Length at most 3."},
		{Name: "entries[].name", Type: "string", Obligation: "required", Doc: "Its name. Length at least 1."},
		{Name: "by_name", Type: "map of object"},
		{Name: "by_name.*.name", Type: "string", Obligation: "required", Doc: "Its name. Length at least 1."},
		{Name: "mode", Type: "string", Obligation: "default a", Doc: "How. One of a, b."},
		{Name: "wait", Type: "duration", Doc: "Value from 1s to 1m."},
		{Name: "key", Type: "secret (keys)", Obligation: "required"},
		{Name: "query", Type: "code (sql)"},
	}
	if got := config.Describe(config.Of[settings]().Fields); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
