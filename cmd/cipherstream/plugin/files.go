package plugin

import (
	"path/filepath"
	"strings"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/host"
)

const allowFilesUsage = "let the plugin read what is at `PATH` (PATH:ro), or write it as well (PATH:rw); may be given several times"

// fileGrants reads what --allow-files was given. Paths may be relative to the working directory; without an ending what is
// there may be read.
func fileGrants(given []string) (grants []string, err error) {
	for _, text := range given {
		path, mode := text, ":ro"
		for _, ending := range []string{":ro", ":rw"} {
			if before, ok := strings.CutSuffix(text, ending); ok {
				path, mode = before, ending
			}
		}
		if path == "" {
			return nil, terminal.UsageFault("--allow-files takes PATH:ro or PATH:rw, and not %q", text)
		}
		if path, err = filepath.Abs(path); err != nil {
			return nil, terminal.UsageFault("--allow-files: %w", err)
		}
		g, err := host.ParseFileGrant(path + mode)
		if err != nil {
			return nil, terminal.UsageFault("--allow-files: %w", err)
		}
		grants = append(grants, g.String())
	}
	return grants, nil
}
