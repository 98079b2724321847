package host

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// codeGrants is the code of a lock entry whose grants do not belong to its program, or that grants what nobody may
// grant.
const codeGrants = "plugin.grants"

// FileGrant is a file or a directory, with all that is below it, that a plugin may use.
type FileGrant struct {
	// Path is absolute.
	Path string
	// Write is true when it may change what is there.
	Write bool
}

// The endings of a grant's text.
const (
	readOnly  = ":ro"
	readWrite = ":rw"
)

func (g FileGrant) String() string {
	if g.Write {
		return g.Path + readWrite
	}
	return g.Path + readOnly
}

// ofKernel are the kernel's own file systems. They cannot be granted: a confined process has what it needs of them.
var ofKernel = []string{"/proc", "/sys", "/dev"}

// ParseFileGrant reads PATH:ro or PATH:rw.
func ParseFileGrant(text string) (FileGrant, error) {
	g := FileGrant{Path: strings.TrimSuffix(strings.TrimSuffix(text, readOnly), readWrite),
		Write: strings.HasSuffix(text, readWrite)}
	switch {
	case g.String() != text:
		return g, fmt.Errorf("%q is not PATH%s or PATH%s", text, readOnly, readWrite)
	case !filepath.IsAbs(g.Path) || filepath.Clean(g.Path) != g.Path:
		return g, fmt.Errorf("%q is not an absolute path in its shortest form", g.Path)
	case g.Path == "/":
		return g, fmt.Errorf("%q is everything; name the folders that the plugin needs", text)
	case slices.ContainsFunc(ofKernel, func(dir string) bool { return within(g.Path, dir) }):
		return g, fmt.Errorf("%q is of the system, and has no files", g.Path)
	}
	return g, nil
}

// within reports whether a clean path is dir, or below it.
func within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// granted reports whether the entry gives its plugin anything beyond its own directory.
func (e LockEntry) granted() bool { return e.Network || len(e.Files) > 0 }

// GrantsOf is the value that the field Grants must have: a SHA-256 over everything that is granted, and over the name
// and the digest of the program. So grants end when the program is replaced, and a line that slips in with a merge
// grants nothing.
//
// The digest has no key. It need not have one: a confined plugin cannot write the lock file. And a key would not help
// against a process of the same user that is not confined: it could read the key, or pin another program.
func (e LockEntry) GrantsOf() string {
	if !e.granted() {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "cipherstream grants 1\n%s\n%s\nnetwork %v\n", e.Name, e.SHA256, e.Network)
	for _, f := range e.Files {
		fmt.Fprintf(&b, "files %s\n", f)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}

// checkGrants checks that the grants of an entry belong to its program (GrantsOf), and that they do not let the plugin
// write the folder of plugins.
func (e LockEntry) checkGrants(pluginDir string) error {
	if e.Grants != e.GrantsOf() {
		return fault.New(codeGrants, fault.Usage, "plugin %q is not started: what %s grants it (%s) was not granted to this program", e.Name, LockName, e.grantsText()).
			WithHint("grant it by installing the program again: cipherstream plugin install PROGRAM --replace%s",
				e.grantFlags())
	}
	if pluginDir == "" {
		return nil
	}
	folder := realPath(pluginDir)
	for _, text := range e.Files {
		g, err := ParseFileGrant(text)
		if err != nil {
			return fault.New(codeGrants, fault.Usage, "plugin %q is not started: what %s grants it cannot be: %w",
				e.Name, LockName, err)
		}
		if path := realPath(g.Path); g.Write && (within(folder, path) || within(path, folder)) {
			return fault.New(codeGrants, fault.Usage, "plugin %q is not started: it could write into the folder of plugins, %s, which says what may be started, because %s is granted",
				e.Name, pluginDir, text).WithHint("grant a folder that holds what the plugin works with, and nothing else")
		}
	}
	return nil
}

// realPath is a path without symbolic links, as far as it is there.
func realPath(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// grantsText is what an entry grants, for people.
func (e LockEntry) grantsText() string {
	var list []string
	if e.Network {
		list = append(list, "the network")
	}
	if list = append(list, e.Files...); len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}

// grantFlags are the flags of an installation that grants the same.
func (e LockEntry) grantFlags() (flags string) {
	if e.Network {
		flags = " --allow-network"
	}
	for _, f := range e.Files {
		flags += " --allow-files " + f
	}
	return flags
}
