// Package pipelines is the catalogue: the pipelines, their templates, and the
// SQL of the procedures behind them, embedded in the program. It owns these
// files; it never reads or checks them (engine/document and engine/plan do).
package pipelines

import (
	"embed"
	"io/fs"
)

//go:embed *.yaml templates streams sql
var files embed.FS

// FS returns the catalogue: NAME.yaml for every pipeline, templates/NAME.yaml for
// every template, streams/NAME.yaml for every pipeline of a data stream, and sql/ with
// the schema and the procedures.
func FS() fs.FS { return files }
