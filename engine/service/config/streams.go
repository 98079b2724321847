package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/engine/diag"
)

// PipelineFile reports whether what names a pipeline is the path of a file: it has a separator in it, or the ending of
// YAML. Otherwise it is a name.
func PipelineFile(text string) bool {
	return strings.ContainsAny(text, `/\`) || slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(text))
}

// streamPipeline is the pipeline of a data stream, a path absolute. What is in it is looked at by whoever has its stages.
func (c *checker) streamPipeline(text string, at []string) string {
	if text == "" || !PipelineFile(text) {
		return text
	}
	path := c.path(text)
	if about, err := os.Stat(path); err != nil {
		c.wrong(CodeFolder, at, "the pipeline cannot be read: %v", err)
	} else if about.IsDir() {
		c.wrong(CodeFolder, at, "%s is a folder, and a pipeline is a file", diag.Printable(path))
	}
	return path
}
