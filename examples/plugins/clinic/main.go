// Command clinic is an example of a plugin in a module of its own: a filter that makes age bands of birthdates, a source
// that reads dBASE files, and a sink that puts the output to a web address.
package main

import (
	"github.com/cipherstream/cipherstream/examples/plugins/clinic/ageband"
	"github.com/cipherstream/cipherstream/examples/plugins/clinic/dbf"
	"github.com/cipherstream/cipherstream/examples/plugins/clinic/put"
	"github.com/cipherstream/cipherstream/sdk"
)

func main() {
	sdk.Serve(sdk.Bundle{
		Name:    "clinic",
		Version: "1.0.0",
		Network: true, // the sink put
		Stages:  []sdk.Definition{ageband.Stage(), dbf.Stage(), put.Stage()},
	})
}
