package host

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"gopkg.in/yaml.v3"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// LockName is the name of the lock file in the plugin directory.
const LockName = "plugins.lock"

// ProgramPrefix is what the file name of a plugin's program begins with, unless its entry has File.
const ProgramPrefix = "cipherstream-plugin-"

// maxLockBytes bounds the lock file.
const maxLockBytes = 1 << 20

// Lockfile pins the third-party plugins that may be started:
//
//	plugins:
//	  - name: upper
//	    version: 1.2.0
//	    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//	    origin: https://plugins.example.org/upper-1.2.0-linux-amd64
//	    network: true
//	    files: [/data/in:ro, /data/out:rw]
//	    grants: 5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9
type Lockfile struct {
	Plugins []LockEntry `yaml:"plugins"`
}

// LockEntry pins one plugin.
type LockEntry struct {
	Name    string `yaml:"name"`
	Version string `yaml:"version"`
	// SHA256 is the digest of the program, or of the whole bundle (HashBundle), in lower-case hexadecimal.
	SHA256 string `yaml:"sha256"`
	// Bundle says that the plugin is a folder with all that it needs, of which BundleProgram is the program.
	Bundle bool `yaml:"bundle,omitempty"`
	// File is the name of the program, or of the bundle's folder, in the plugin directory; default ProgramPrefix + Name.
	File string `yaml:"file,omitempty"`
	// Origin is the URL or the path that the program was installed from; empty if it was put there by hand.
	// It is for people: nothing is read from there.
	Origin string `yaml:"origin,omitempty"`
	// Network grants the plugin the network; default false.
	Network bool `yaml:"network,omitempty"`
	// Files grants it files and directories, each as PATH:ro or PATH:rw (see FileGrant);
	// default none.
	Files []string `yaml:"files,omitempty,flow"`
	// Grants must be the value of GrantsOf; otherwise the plugin is not started.
	Grants string `yaml:"grants,omitempty"`
}

// ValidName reports whether a plugin may be called so: lower case, digits, dashes.
func ValidName(name string) bool { return pluginName().MatchString(name) }

var (
	pluginName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`) })
	hexDigest  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Program is the name of the program's file.
func (e LockEntry) Program() string {
	if e.File != "" {
		return e.File
	}
	return ProgramPrefix + e.Name
}

// ReadLockfile reads and checks a lock file. One that is not there pins nothing.
func ReadLockfile(path string) (*Lockfile, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &Lockfile{}, nil
	}
	if err != nil {
		return nil, fault.New("plugins.lock", fault.Usage, "cannot read %s: %w", path, errors.Unwrap(err))
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxLockBytes+1))
	if err != nil {
		return nil, fault.New("plugins.lock", fault.Usage, "cannot read %s: %w", path, err)
	}
	return ParseLockfile(path, text)
}

// ParseLockfile checks the text of a lock file; path is for messages.
func ParseLockfile(path string, text []byte) (*Lockfile, error) {
	if len(text) > maxLockBytes {
		return nil, fault.New("plugins.lock", fault.Usage, "%s is larger than 1 MiB", path)
	}
	lock, err := decodeLock(text)
	if err != nil {
		return nil, fault.New("plugins.lock", fault.Usage, "%s: %w", path, err)
	}
	seen := map[string]bool{}
	for i, p := range lock.Plugins {
		var err error
		switch {
		case !ValidName(p.Name):
			err = fault.New("plugins.lock", fault.Usage,
				"%s: entry %d: %q is not a plugin's name (lower case, digits, dashes)", path, i+1, p.Name)
		case seen[p.Name]:
			err = fault.New("plugins.lock", fault.Usage, "%s: plugin %q stands in it twice", path, p.Name)
		case !hexDigest.MatchString(p.SHA256):
			err = fault.New("plugins.lock", fault.Usage,
				"%s: plugin %q needs its sha256 in 64 lower-case hexadecimal digits", path, p.Name)
		case p.File != "" && (filepath.Base(p.File) != p.File || p.File == "." || p.File == ".."):
			err = fault.New("plugins.lock", fault.Usage,
				"%s: plugin %q: file must be a name in the plugin directory, not a path", path, p.Name)
		default:
			for _, text := range p.Files {
				if _, grantErr := ParseFileGrant(text); grantErr != nil {
					return nil, fault.New("plugins.lock", fault.Usage, "%s: plugin %q: files: %w", path, p.Name, grantErr)
				}
			}
			seen[p.Name] = true
			continue
		}
		return nil, err
	}
	return lock, nil
}

// decodeLock decodes one document and nothing else.
func decodeLock(text []byte) (lock *Lockfile, err error) {
	// The YAML library panics on some texts, such as a merge with a list as a key.
	defer func() {
		if recover() != nil {
			lock, err = nil, errors.New("this YAML cannot be read; write the entries without anchors and merges")
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	lock = &Lockfile{}
	if err := decoder.Decode(lock); err != nil && err != io.EOF {
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); err != io.EOF {
		return nil, errors.New("it must be one YAML document, but something follows the first")
	}
	return lock, nil
}

// Find returns the entry of a plugin.
func (l *Lockfile) Find(name string) (LockEntry, bool) {
	for _, p := range l.Plugins {
		if p.Name == name {
			return p, true
		}
	}
	return LockEntry{}, false
}
