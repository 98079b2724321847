// Package node gives tests what programs in JavaScript need: Node.js itself, and packages of npm as a lock file pins them,
// which are kept in the cache. It never says what a program must do; the tests do.
package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Missing is an error that means that Node.js, npm or a package of its registry cannot be had here.
type Missing struct{ error }

// Find looks for npm, and for Node.js where the host of a plugin looks for it: in three folders.
func Find() error {
	for _, dir := range []string{"/usr/local/bin", "/usr/bin", "/bin"} {
		if _, err := exec.LookPath(filepath.Join(dir, "node")); err == nil {
			if _, err := exec.LookPath("npm"); err != nil {
				return Missing{err}
			}
			return nil
		}
	}
	return Missing{errors.New("no node in /usr/local/bin, /usr/bin or /bin")}
}

// Modules returns a node_modules with what the package-lock.json of a folder pins. It is kept in the cache, because fetching
// it is what takes time and a network.
func Modules(folder string) (string, error) {
	cache := os.Getenv("CIPHERSTREAM_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(user, "cipherstream")
	}
	hash := sha256.New()
	pinned := map[string][]byte{}
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return "", err
		}
		hash.Write(text)
		pinned[name] = text
	}
	all := filepath.Join(cache, "npm")
	kept := filepath.Join(all, hex.EncodeToString(hash.Sum(nil))[:16])
	modules := filepath.Join(kept, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules, nil
	}
	if err := os.MkdirAll(all, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(all, "fresh-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	for name, text := range pinned {
		if err := os.WriteFile(filepath.Join(fresh, name), text, 0o644); err != nil {
			return "", err
		}
	}
	if err := Execute(fresh, "npm", "ci", "--prefer-offline", "--cache", filepath.Join(all, "downloads")); err != nil {
		return "", Missing{fmt.Errorf("the packages of %s cannot be installed: %w", folder, err)}
	}
	// Another test process may have been faster; its folder holds the same.
	if err := os.Rename(fresh, kept); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return modules, nil
}

// Bundle begins the folder of a plugin's bundle, with the packages of a node_modules and the SDK of a folder in it.
func Bundle(dir, modules, sdk string) error {
	packages := filepath.Join(dir, "node_modules")
	own := filepath.Join(packages, "cipherstream")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := Execute(dir, "cp", "-R", modules, packages); err != nil {
		return err
	}
	// What they have beside the packages leads out of the bundle, or is for those who change the SDK.
	for _, name := range []string{".bin", "typescript", "@types"} {
		if err := os.RemoveAll(filepath.Join(packages, name)); err != nil {
			return err
		}
	}
	sdk, err := filepath.Abs(sdk)
	if err != nil {
		return err
	}
	if err := os.Mkdir(own, 0o700); err != nil {
		return err
	}
	return Execute(dir, "cp", "-R", filepath.Join(sdk, "package.json"), filepath.Join(sdk, "src"), own)
}

// Execute runs a program that may have to fetch something.
func Execute(dir, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return nil
}
