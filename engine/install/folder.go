package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// partial ends the names of files that are being written. They begin with a dot.
const partial = ".partial"

// folder is a plugin folder that nobody else changes meanwhile.
type folder struct {
	dir  string
	lock *os.File
}

// lockEvery is how often a folder that another process changes is looked at again.
const lockEvery = 50 * time.Millisecond

// lockFolder waits until nobody else changes the folder. What was being written when a
// process was killed is removed.
func lockFolder(ctx context.Context, dir string) (*folder, error) {
	failed := func(err error) error {
		return fault.New(CodeFolder, fault.Usage, "the plugin folder cannot be changed: %w", err)
	}
	lock, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, failed(err)
	}
	ticker := time.NewTicker(lockEvery)
	defer ticker.Stop()
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			lock.Close()
			return nil, failed(err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			lock.Close()
			return nil, context.Cause(ctx)
		}
	}
	for _, e := range entriesOf(dir) {
		switch {
		case !partialProgram.MatchString(e.Name()):
		case e.Type().IsRegular():
			os.Remove(filepath.Join(dir, e.Name()))
		case e.IsDir():
			_ = host.RemoveBundle(filepath.Join(dir, e.Name()))
		}
	}
	return &folder{dir: dir, lock: lock}, nil
}

// close lets others change the folder.
func (f *folder) close() { f.lock.Close() }

// sync puts the names in the folder on disk.
func (f *folder) sync() error { return syncNames(f.lock) }

// syncNames puts the names in an open folder on disk.
func syncNames(dir *os.File) error {
	// Some file systems cannot, and keep names in order anyway.
	if err := dir.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// put puts a program into the folder and pins it. It returns the entry that was there
// before. On an error the folder is as it was.
func put(ctx context.Context, dir, program string, entry host.LockEntry,
	replace bool) (before *host.LockEntry, err error) {
	failed := func(err error) error {
		if f := (*fault.Fault)(nil); errors.As(err, &f) || ctx.Err() != nil {
			return err
		}
		return fault.New(CodeFolder, fault.Usage, "plugin %q cannot be put into %s: %w", entry.Name, dir, err)
	}
	switch err := os.Mkdir(dir, 0o755); {
	case err == nil:
		defer func() {
			if before == nil && !exists(filepath.Join(dir, host.LockName)) {
				os.Remove(dir) // fails when somebody else has put something there
			}
		}()
	case !errors.Is(err, fs.ErrExist):
		return nil, failed(err)
	}
	f, err := lockFolder(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer f.close()
	file, err := readLock(dir)
	if err != nil {
		return nil, err
	}
	if old, found := file.lock.Find(entry.Name); found {
		// The same program again mends what is broken.
		if old.SHA256 != entry.SHA256 && !replace {
			return nil, fault.New(CodeExists, fault.Usage, "plugin %q %s is installed already, from another program", old.Name, old.Version).
				WithHint("give --replace to have %s instead", entry.Version)
		}
		before = &old
	}
	had := exists(filepath.Join(dir, entry.File))
	if err := f.write(ctx, program, entry); err != nil {
		return nil, failed(err)
	}
	if err := file.with(entry).write(f); err != nil {
		// The rename may have been done for all that.
		if now, readErr := readLock(dir); readErr == nil && !had {
			_ = now.removeProgram(dir, entry.File)
		}
		return nil, failed(err)
	}
	// What cannot be removed is in nobody's way.
	now := file.with(entry)
	if before != nil {
		_ = now.removeProgram(dir, before.Program())
	}
	for _, left := range programsOf(ctx, dir, entry.Name) {
		_ = now.removeProgram(dir, left)
	}
	return before, nil
}

// programsOf lists the programs of a plugin that an installation put there, pinned or not: files
// that programName names, and whose content has the digest in the name. Anything else that is
// called like them is not this program's to remove.
func programsOf(ctx context.Context, dir, plugin string) (files []string) {
	prefix := host.ProgramPrefix + plugin + "-"
	for _, e := range entriesOf(dir) {
		name := e.Name()
		short, ok := strings.CutPrefix(name, prefix)
		if !ok || !shortDigest.MatchString(short) || !e.Type().IsRegular() && !e.IsDir() {
			continue
		}
		digest := digestOf
		if e.IsDir() {
			digest = host.HashBundle
		}
		if digest, err := digest(ctx, filepath.Join(dir, name)); err == nil && programName(plugin, digest) == name {
			files = append(files, name)
		}
	}
	return files
}

// partialProgram is the name under which folder.write writes a program.
var (
	partialProgram = regexp.MustCompile(`^\.` + host.ProgramPrefix + `[a-z0-9-]+-[0-9a-f]{12}\` + partial + `$`)
	shortDigest    = regexp.MustCompile(`^[0-9a-f]{12}$`)
)

// entriesOf lists what is in a folder, as far as it can be read.
func entriesOf(dir string) []fs.DirEntry {
	entries, _ := os.ReadDir(dir)
	return entries
}

func digestOf(ctx context.Context, path string) (string, error) {
	file, err := host.OpenProgram(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil || ctx.Err() != nil {
		return "", errors.Join(err, ctx.Err())
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// write puts the program under its name, whole and on disk.
func (f *folder) write(ctx context.Context, program string, entry host.LockEntry) error {
	temporary := filepath.Join(f.dir, "."+entry.File+partial)
	digest, err := writeProgram(ctx, temporary, program, entry.Bundle)
	if err == nil && digest != entry.SHA256 {
		err = fault.New(CodeDigest, fault.Internal, "the program of plugin %q has changed after it was tried: its sha256 is %s, not %s", entry.Name, digest, entry.SHA256)
	}
	target := filepath.Join(f.dir, entry.File)
	if err == nil && entry.Bundle {
		// A folder takes the place of no other: one that is whole stays, and what is broken goes first.
		if there, hashErr := host.HashBundle(ctx, target); hashErr == nil && there == digest {
			return host.RemoveBundle(temporary)
		}
		err = errors.Join(ctx.Err(), host.RemoveBundle(target))
	}
	if err == nil {
		err = os.Rename(temporary, target)
	}
	if err != nil {
		_ = host.RemoveBundle(temporary)
		return err
	}
	return f.sync()
}

// writeProgram copies a program, or a bundle, to a name that it does not have yet, and returns its digest.
func writeProgram(ctx context.Context, to, program string, bundle bool) (string, error) {
	if bundle {
		return host.CopyBundle(ctx, to, program, true)
	}
	from, err := host.OpenProgram(program)
	if err != nil {
		return "", err
	}
	defer from.Close()
	return host.CopyProgram(ctx, to, from, 0o555, true)
}

// Remove takes a plugin out of the folder and returns its entry. What is wrong with
// the plugin does not matter.
func Remove(ctx context.Context, dir, name string) (host.LockEntry, error) {
	f, err := lockFolder(ctx, dir)
	if err != nil {
		return host.LockEntry{}, err
	}
	defer f.close()
	file, err := readLock(dir)
	if err != nil {
		return host.LockEntry{}, err
	}
	entry, found := file.lock.Find(name)
	if !found {
		return host.LockEntry{}, fault.New("plugin.unknown", fault.Usage, "there is no plugin called %q in %s", name, host.LockName)
	}
	rest := file.without(name)
	if err := rest.write(f); err != nil {
		return host.LockEntry{}, fault.New(CodeFolder, fault.Usage, "plugin %q cannot be removed: %w", name, err)
	}
	if err := rest.removeProgram(dir, entry.Program()); err != nil {
		return host.LockEntry{}, fault.New(CodeFolder, fault.Usage, "plugin %q is not in %s any more, but its program cannot be removed: %w", name, host.LockName, err)
	}
	return entry, f.sync()
}

// removeProgram removes a program that no entry names.
func (l *lockText) removeProgram(dir, file string) error {
	if slices.ContainsFunc(l.lock.Plugins, func(e host.LockEntry) bool { return e.Program() == file }) {
		return nil
	}
	path := filepath.Join(dir, file)
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		// Only what is a bundle goes: the lock file may name any folder beside it.
		if !exists(filepath.Join(path, host.BundleProgram)) {
			return nil
		}
		return host.RemoveBundle(path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
