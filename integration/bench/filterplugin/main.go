// Command filterplugin is the first-party filter "where" as a stranger's plugin: what the two differ in is the boundary
// between processes. Only package bench builds and starts it.
package main

import (
	"github.com/cipherstream/cipherstream/plugins/where"
	"github.com/cipherstream/cipherstream/sdk"
)

func main() {
	sdk.Serve(sdk.Bundle{Name: "bench", Version: "1.0.0", Stages: []sdk.Definition{where.Stage()}})
}
