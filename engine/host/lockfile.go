package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// LockName is the name of the lock file in the plugin directory.
const LockName = "plugins.lock"

// ProgramPrefix begins the file name of a plugin's program unless its entry names another.
const ProgramPrefix = "cipherstream-plugin-"

// maxLockBytes bounds the lock file.
const maxLockBytes = 1 << 20

// Lockfile pins the third-party plugins that may be started:
//
//	plugins:
//	  - name: upper
//	    version: 1.2.0
//	    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
type Lockfile struct {
	Plugins []LockEntry `yaml:"plugins"`
}

// LockEntry pins one plugin.
type LockEntry struct {
	Name    string `yaml:"name"`
	Version string `yaml:"version"`
	// SHA256 is the digest of the program, in lower-case hexadecimal.
	SHA256 string `yaml:"sha256"`
	// File is the program's name in the plugin directory; default ProgramPrefix + Name.
	File string `yaml:"file,omitempty"`
}

var (
	pluginName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	hexDigest  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

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
	if len(text) > maxLockBytes {
		return nil, fault.New("plugins.lock", fault.Usage, "%s is larger than 1 MiB", path)
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	lock := &Lockfile{}
	if err := decoder.Decode(lock); err != nil && err != io.EOF {
		return nil, fault.New("plugins.lock", fault.Usage, "%s: %w", path, err)
	}
	if err := decoder.Decode(new(yaml.Node)); err != io.EOF {
		return nil, fault.New("plugins.lock", fault.Usage, "%s: it must be one YAML document, but something follows the first", path)
	}
	seen := map[string]bool{}
	for i, p := range lock.Plugins {
		switch {
		case !pluginName.MatchString(p.Name):
			err = fault.New("plugins.lock", fault.Usage, "%s: entry %d: %q is not a plugin's name (lower case, digits, dashes)", path, i+1, p.Name)
		case seen[p.Name]:
			err = fault.New("plugins.lock", fault.Usage, "%s: plugin %q stands in it twice", path, p.Name)
		case !hexDigest.MatchString(p.SHA256):
			err = fault.New("plugins.lock", fault.Usage, "%s: plugin %q needs its sha256 in 64 lower-case hexadecimal digits", path, p.Name)
		case p.File != "" && (filepath.Base(p.File) != p.File || p.File == "." || p.File == ".."):
			err = fault.New("plugins.lock", fault.Usage, "%s: plugin %q: file must be a name in the plugin directory, not a path", path, p.Name)
		default:
			seen[p.Name] = true
			continue
		}
		return nil, err
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

// verifiedCopy copies the program into a private directory while hashing it, so
// that what is executed is what was verified, whatever happens to the original
// in between. It returns the path of the copy.
func (e LockEntry) verifiedCopy(from, dir string) (string, error) {
	name := e.File
	if name == "" {
		name = ProgramPrefix + e.Name
	}
	path := filepath.Join(from, name)
	original, err := os.Open(path)
	if err != nil {
		return "", fault.New("plugin.missing", fault.Usage, "plugin %q is in %s, but its program cannot be read: %w", e.Name, LockName, err)
	}
	defer original.Close()
	target := filepath.Join(dir, "program")
	duplicate, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o500)
	if err != nil {
		return "", fault.New("host.directory", fault.Internal, "cannot copy plugin %q: %w", e.Name, err)
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(duplicate, hash), original)
	if closeErr := duplicate.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", fault.New("host.directory", fault.Internal, "cannot copy plugin %q: %w", e.Name, err)
	}
	if digest := hex.EncodeToString(hash.Sum(nil)); digest != e.SHA256 {
		return "", fault.New("plugin.digest", fault.Usage, "the program of plugin %q does not match %s: its sha256 is %s, not %s",
			e.Name, LockName, digest, e.SHA256).WithHint("if you trust the program, put the new digest into %s", LockName)
	}
	return target, nil
}
