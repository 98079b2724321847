package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is the version of a released binary, set by the linker:
// -X main.release=1.2.3.
var release string

// develVersion is the version of a binary that is no release.
const develVersion = "0.0.0-devel"

// version is the program's semantic version, which is also the first-party
// plugin's. It is cheap: a plugin process calls it before it serves.
func version() string {
	if release != "" {
		return release
	}
	return develVersion
}

// build describes this binary.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func thisBuild() build {
	b := build{Version: version(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	return b
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  a.noArguments,
		RunE: a.action(func(*cobra.Command, []string) error {
			b := thisBuild()
			return a.print(func(w io.Writer) error {
				if a.json {
					return writeJSON(w, b)
				}
				fmt.Fprintf(w, "cipherstream %s\n", b.Version)
				if b.Revision != "" {
					modified := ""
					if b.Modified {
						modified = " (modified)"
					}
					fmt.Fprintf(w, "  revision %s%s\n", b.Revision, modified)
				}
				fmt.Fprintf(w, "  %s, %s\n", b.Go, b.Platform)
				return nil
			})
		}),
	}
}

// writeJSON writes a value for machines.
func writeJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(value)
}
