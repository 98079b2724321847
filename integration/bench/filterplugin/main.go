// Command filterplugin is the first-party filter "where" as a stranger's plugin: what the two differ in is the boundary
// between processes. It also has a source, and a filter in Go, to compare those of other languages with. Only package bench
// builds and starts it.
package main

import (
	"github.com/cipherstream/cipherstream/plugins/where"
	"github.com/cipherstream/cipherstream/sdk"
)

func main() {
	sdk.Serve(sdk.Bundle{Name: "bench", Version: "1.0.0", Stages: []sdk.Definition{
		where.Stage(),
		sdk.DefineSource(sdk.About{Name: "words", Summary: "The same short texts over and over."},
			func(w words, env sdk.Env) (sdk.Source, error) { w.env = env; return &w, nil }),
		sdk.DefineFilter(sdk.About{Name: "upper", Summary: "Writes a text column in capitals.", KeepsRows: true},
			func(u upper, env sdk.Env) (sdk.Filter, error) { u.env = env; return &u, nil }),
	}})
}
