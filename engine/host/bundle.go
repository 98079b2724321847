package host

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// BundleProgram is the program of a bundle, at the top of its folder.
const BundleProgram = "plugin"

// Limits of a bundle.
const (
	MaxBundle        = 2 << 30 // bytes of its files in all
	maxBundleEntries = 100_000
	maxBundleDepth   = 48
	maxBundlePath    = 1024 // bytes of a path within the bundle
)

// bundleEntry is a folder, a file or a link of a bundle.
type bundleEntry struct {
	path  string // within the bundle, with slashes
	kind  byte   // one of the following
	link  string // where a link leads, as it is written
	state fileState
}

const (
	bundleFolder     = 'd'
	bundleFile       = 'f'
	bundleExecutable = 'x'
	bundleLink       = 'l'
)

func badBundle(dir, format string, args ...any) *fault.Fault {
	return fault.New(codeProgram, fault.Usage, "%s cannot be a plugin's bundle: %w", dir, fmt.Errorf(format, args...))
}

// listBundle lists what is in a bundle's folder, in the order of the paths' bytes. It reads no file, and refuses what is no
// folder, file or link that stays within the bundle, and what is too much. A link may lead to an interpreter of the system as
// well, which is named by its path in one of the folders where the first line of a script would find it: that program is the
// system's, and not pinned.
func listBundle(ctx context.Context, dir string, root *os.Root) ([]bundleEntry, error) {
	var list []bundleEntry
	var total int64
	var walk func(at string, depth int) error
	walk = func(at string, depth int) error {
		if depth > maxBundleDepth {
			return badBundle(dir, "%q lies deeper than %d folders", shortened(at), maxBundleDepth)
		}
		folder, err := root.Open(at)
		if err != nil {
			return badBundle(dir, "%q cannot be read: %w", at, reasonOf(err))
		}
		defer folder.Close()
		for {
			// A few at a time: a folder may have any number.
			names, err := folder.Readdirnames(1024)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return badBundle(dir, "%q cannot be read: %w", at, reasonOf(err))
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			for _, name := range names {
				e := bundleEntry{path: path.Join(at, name)}
				if err := checkBundlePath(e.path); err != nil {
					return badBundle(dir, "%w", err)
				}
				if len(list) == maxBundleEntries {
					return badBundle(dir, "it has more than %d files and folders", maxBundleEntries)
				}
				info, err := root.Lstat(e.path)
				if err != nil {
					return badBundle(dir, "%q cannot be read: %w", e.path, reasonOf(err))
				}
				e.state = stateOfInfo(info)
				mode := info.Mode()
				switch {
				case mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 && !mode.IsDir():
					return badBundle(dir, "%q would run with the rights of another user or group", e.path)
				case mode.IsDir():
					e.kind = bundleFolder
				case mode.IsRegular():
					if e.kind = bundleFile; mode&0o111 != 0 {
						e.kind = bundleExecutable
					}
					if total += info.Size(); total > MaxBundle || total < 0 {
						return badBundle(dir, "its files have more than %d MiB", MaxBundle>>20)
					}
				case mode&fs.ModeSymlink != 0:
					e.kind = bundleLink
					if e.link, err = root.Readlink(e.path); err != nil {
						return badBundle(dir, "%q cannot be read: %w", e.path, reasonOf(err))
					}
					if err := checkBundleLink(e.path, e.link); err != nil {
						return badBundle(dir, "%w", err)
					}
				default:
					return badBundle(dir, "%q is no file, folder or link", e.path)
				}
				list = append(list, e)
				if e.kind == bundleFolder {
					if err := walk(e.path, depth+1); err != nil {
						return err
					}
				}
			}
		}
	}
	if err := walk(".", 0); err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b bundleEntry) int { return cmp.Compare(a.path, b.path) })
	at, found := slices.BinarySearchFunc(list, BundleProgram, func(e bundleEntry, name string) int { return cmp.Compare(e.path, name) })
	if !found || list[at].kind != bundleExecutable {
		return nil, badBundle(dir, "it has no program called %q that can be executed", BundleProgram)
	}
	return list, nil
}

// searched is where interpreters are looked for: PATH in the environment of a plugin.
var searched = []string{"/usr/local/bin", "/usr/bin", "/bin"}

// reasonOf leaves the path out of an error.
func reasonOf(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func shortened(text string) string {
	if len(text) > 80 {
		return text[:80] + "…"
	}
	return text
}

// checkBundlePath refuses names that a list or a message would show as something else.
func checkBundlePath(name string) error {
	switch {
	case len(name) > maxBundlePath:
		return fmt.Errorf("the path %q is longer than %d bytes", shortened(name), maxBundlePath)
	case !utf8.ValidString(name):
		return fmt.Errorf("the name %q is not UTF-8", name)
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("the name %q has a control character in it", name)
	}
	return nil
}

// checkBundleLink refuses a link that leads out of the bundle, unless to an interpreter of the system.
func checkBundleLink(name, target string) error {
	if err := checkBundlePath(target); err != nil {
		return err
	}
	if path.IsAbs(target) {
		if path.Clean(target) == target && slices.Contains(searched, path.Dir(target)) {
			return nil
		}
		return fmt.Errorf("the link %q leads to %q, out of the bundle: it may lead to a program in %s only", name, target, strings.Join(searched, ", "))
	}
	// Its folder is a real one, so that what leads up from there is known. Behind a name it is not: the name may be a link itself,
	// and ".." behind it leads up from wherever that one ends.
	depth, named := strings.Count(name, "/"), false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 || named {
				return fmt.Errorf("the link %q leads to %q, out of the bundle or to where only the disk knows: write \"..\" at its beginning alone", name, target)
			}
		default:
			named = true
		}
	}
	return nil
}

// HashBundle returns the digest of a bundle, in hexadecimal: a SHA-256 over the path and kind of everything in its folder, in the
// order of the paths, over where links lead, and over the content of the files and whether they can be executed. Owners, times
// and other rights do not count. When the folder changes meanwhile, it fails. Errors are plugin.missing and plugin.program.
func HashBundle(ctx context.Context, dir string) (string, error) {
	digest, _, err := readBundle(ctx, dir, nil)
	return digest, err
}

// CopyBundle copies a bundle into a new folder, which nobody may write then, and returns the digest of what it has written; it is
// on disk when sync is set. After an error there is no such folder.
func CopyBundle(ctx context.Context, to, from string, sync bool) (string, error) {
	if err := os.Mkdir(to, 0o700); err != nil {
		return "", err
	}
	digest, _, err := readBundle(ctx, from, &bundleCopy{dir: to, sync: sync})
	if err != nil {
		_ = RemoveBundle(to)
		return "", err
	}
	return digest, nil
}

// RemoveBundle removes a bundle that CopyBundle has made, or a part of one. Links are removed, and never followed.
func RemoveBundle(dir string) error {
	root, err := os.OpenRoot(dir)
	if err == nil {
		// In a folder that may not be written, nothing can be removed.
		_ = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				_ = root.Chmod(name, 0o700)
			}
			return nil
		})
		root.Close()
	}
	return os.RemoveAll(dir)
}

// readBundle hashes a bundle, and copies it if copy is not nil.
func readBundle(ctx context.Context, dir string, copy *bundleCopy) (digest string, list []bundleEntry, err error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return "", nil, fault.New("plugin.missing", fault.Usage, "the bundle cannot be read: %w", err)
	}
	if !info.IsDir() {
		return "", nil, badBundle(dir, "it is no folder")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", nil, fault.New("plugin.missing", fault.Usage, "the bundle cannot be read: %w", err)
	}
	defer root.Close()
	if list, err = listBundle(ctx, dir, root); err != nil {
		return "", nil, err
	}
	sum := sha256.New()
	io.WriteString(sum, "cipherstream bundle 1\n")
	for _, e := range list {
		if err := e.add(ctx, root, dir, sum, copy); err != nil {
			return "", nil, err
		}
	}
	if copy != nil {
		if err := copy.close(list); err != nil {
			return "", nil, err
		}
	}
	// What was added or taken away meanwhile is not what was hashed.
	again, err := listBundle(ctx, dir, root)
	if err == nil && !slices.Equal(again, list) {
		err = badBundle(dir, "it has changed while it was read")
	}
	return hex.EncodeToString(sum.Sum(nil)), list, err
}

// add hashes one entry. Every part of it has a length, so that no two bundles have the same text.
func (e bundleEntry) add(ctx context.Context, root *os.Root, dir string, sum hash.Hash, copy *bundleCopy) error {
	fmt.Fprintf(sum, "%c %d %s\n", e.kind, len(e.path), e.path)
	switch e.kind {
	case bundleFolder:
		if copy != nil {
			return os.Mkdir(filepath.Join(copy.dir, e.path), 0o700)
		}
		return nil
	case bundleLink:
		fmt.Fprintf(sum, "%d %s\n", len(e.link), e.link)
		if copy != nil {
			return os.Symlink(e.link, filepath.Join(copy.dir, e.path))
		}
		return nil
	}
	file, err := root.OpenFile(e.path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return badBundle(dir, "%q cannot be read: %w", e.path, reasonOf(err))
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || stateOfInfo(info) != e.state {
		return badBundle(dir, "%q has changed while it was read", e.path)
	}
	fmt.Fprintf(sum, "%d\n", e.state.size)
	to := io.Writer(sum)
	var written *os.File
	if copy != nil {
		// As in CopyProgram, no child may have a program open for writing.
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if written, err = os.OpenFile(filepath.Join(copy.dir, e.path), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
			return err
		}
		defer written.Close()
		to = io.MultiWriter(sum, written)
	}
	n, err := io.Copy(to, io.LimitReader(interruptible{ctx, file}, e.state.size+1))
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return badBundle(dir, "%q cannot be read: %w", e.path, reasonOf(err))
	case n != e.state.size:
		return badBundle(dir, "%q has changed while it was read", e.path)
	case written == nil:
		return nil
	}
	mode := fs.FileMode(0o444)
	if e.kind == bundleExecutable {
		mode = 0o555
	}
	if err := written.Chmod(mode); err != nil { // whatever the umask is
		return err
	}
	if copy.sync {
		return written.Sync()
	}
	return nil
}

// bundleCopy is a copy of a bundle that is being made.
type bundleCopy struct {
	dir  string
	sync bool
}

// close takes the right to write its folders away, the inner ones first.
func (c *bundleCopy) close(list []bundleEntry) error {
	for _, e := range slices.Backward(list) {
		if e.kind != bundleFolder {
			continue
		}
		if err := c.closeFolder(filepath.Join(c.dir, e.path)); err != nil {
			return err
		}
	}
	return c.closeFolder(c.dir)
}

func (c *bundleCopy) closeFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	if c.sync {
		if err := folder.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
			return err
		}
	}
	return folder.Chmod(0o555)
}

func stateOfInfo(info fs.FileInfo) fileState {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileState{size: info.Size()}
	}
	state := fileState{device: uint64(s.Dev), inode: s.Ino, size: s.Size}
	state.modified, state.changed = statTimes(s)
	return state
}

// bundleStates remembers which bundles this process has verified, and in which state each of their files was then: a bundle of
// 200 MB is hashed once, and at later starts every file is only looked at. A file that is written, replaced, or given other rights
// has another state: its time of change is the system's, which no program can set (inode(7)).
type bundleStates struct {
	mu       sync.Mutex
	verified map[string]verifiedBundle // by path
}

type verifiedBundle struct {
	digest string
	list   []bundleEntry
}

// recently is within what a file may change twice without another time of change: clocks of file systems have ticks.
const recently = 2 * time.Second

// settledBefore reports whether a file that is read from a time on is known by this state again.
func (s fileState) settledBefore(began time.Time) bool {
	return time.Unix(s.changed.Unix()).Before(began.Add(-recently))
}

// digest is the digest of a bundle as it is now.
func (b *bundleStates) digest(ctx context.Context, dir string) (string, error) {
	b.mu.Lock()
	known, ok := b.verified[dir]
	b.mu.Unlock()
	if ok {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return "", fault.New("plugin.missing", fault.Usage, "the bundle cannot be read: %w", err)
		}
		defer root.Close()
		list, err := listBundle(ctx, dir, root)
		if err != nil {
			return "", err
		}
		if slices.Equal(list, known.list) {
			return known.digest, nil
		}
	}
	began := time.Now()
	digest, list, err := readBundle(ctx, dir, nil)
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.verified = maps.Clone(b.verified)
	if b.verified == nil {
		b.verified = map[string]verifiedBundle{}
	}
	delete(b.verified, dir)
	if !slices.ContainsFunc(list, func(e bundleEntry) bool { return !e.state.settledBefore(began) }) {
		b.verified[dir] = verifiedBundle{digest, list}
	}
	return digest, nil
}

// verifiedBundle verifies the bundle of an entry where it is, and returns the path of its program.
func (h *Host) verifiedBundle(ctx context.Context, e LockEntry, from string) (string, error) {
	dir, err := filepath.Abs(filepath.Join(from, e.Program()))
	if err != nil {
		return "", fault.New("host.directory", fault.Internal, "the bundle of plugin %q cannot be found: %w", e.Name, err)
	}
	// The path is what the process is shown, and finds its files by.
	dir = filepath.Join(realPath(filepath.Dir(dir)), filepath.Base(dir))
	digest, err := h.bundles.digest(ctx, dir)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if f := fault.From(err); f != nil {
		f.Message = fmt.Sprintf("plugin %q is in %s, but %s", e.Name, LockName, f.Message)
		return "", f.WithHint("install it again, or remove it with \"cipherstream plugin remove\"")
	}
	if digest != e.SHA256 {
		return "", fault.New("plugin.digest", fault.Usage, "the bundle of plugin %q does not match %s: its sha256 is %s, not %s",
			e.Name, LockName, digest, e.SHA256).WithHint("if you trust the bundle, install it again with --replace")
	}
	return filepath.Join(dir, BundleProgram), nil
}
