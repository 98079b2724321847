package session

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// release is the version of a released binary, set by the linker:
// -X github.com/cipherstream/cipherstream/cmd/cipherstream/session.release=1.2.3.
var release string

// develVersion is the version of a binary that is no release.
const develVersion = "0.0.0-devel"

// Version is the program's semantic version, which is also the first-party
// plugin's. It is cheap: a plugin process calls it before it serves.
func Version() string {
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
	b := build{Version: Version(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
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

func (s *Session) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  s.NoArguments,
		RunE: s.Action(func(*cobra.Command, []string) error {
			b := thisBuild()
			return s.Print(func(w io.Writer) error {
				if s.JSON {
					return terminal.WriteJSON(w, b)
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
