package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// MaxProgram is the size of the largest program that is taken, in bytes.
const MaxProgram = 512 << 20

// codeProgram is the code of a file that cannot be a plugin's program.
const codeProgram = "plugin.program"

// OpenProgram opens a program to be read. It never blocks, whatever path names, and checks the file that it has opened:
// a regular file of at most MaxProgram bytes, not reached by a symbolic link in the last part of path. Errors are
// plugin.missing and plugin.program.
func OpenProgram(path string) (*os.File, error) {
	// Without O_NONBLOCK, opening a named pipe waits for a writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fault.New(codeProgram, fault.Usage, "%s is a symbolic link; it must be the program itself", path)
	}
	var info fs.FileInfo
	if err == nil {
		if info, err = file.Stat(); err != nil {
			file.Close()
		}
	}
	if err != nil {
		return nil, fault.New("plugin.missing", fault.Usage, "the program cannot be read: %w", err)
	}
	switch {
	case !info.Mode().IsRegular():
		err = fault.New(codeProgram, fault.Usage, "%s is no file that holds a program", path)
	case info.Size() > MaxProgram:
		err = tooLarge(path)
	default:
		return file, nil
	}
	file.Close()
	return nil, err
}

func tooLarge(path string) error {
	return fault.New(codeProgram, fault.Usage, "%s is larger than %d MiB, the most that a plugin's program may have",
		path, MaxProgram>>20)
}

// CopyProgram copies a program from an opened file to a new one, at most MaxProgram
// bytes, and returns the SHA-256 of what it has written, in hexadecimal. The new file
// has the mode, and is on disk when sync is set.
func CopyProgram(ctx context.Context, to string, from *os.File, mode fs.FileMode, sync bool) (string, error) {
	// A child that is forked while the file is open for writing has it open too, until it executes its own program.
	// Executing this file fails that long ("text file busy"), so there must be no fork meanwhile.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	file, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(file, hash), io.LimitReader(interruptible{ctx, from}, MaxProgram+1))
	if err == nil && n > MaxProgram {
		err = tooLarge(from.Name())
	}
	if err == nil {
		err = file.Chmod(mode) // whatever the umask is
	}
	if err == nil && sync {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		os.Remove(to)
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// interruptible is a reader that fails when its context has ended.
type interruptible struct {
	ctx  context.Context
	from io.Reader
}

func (r interruptible) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.from.Read(p)
}

// programsDir is the folder of the copies, each in one that is called by its digest, in the private directory.
const programsDir = "programs"

// programCopies are the verified copies of programs that this host has started, one for each digest. What is executed is
// the copy, and so what was verified, whatever happens to the original in between. A program is copied once; later starts
// look at the original, and hash it again only where its state has changed.
type programCopies struct {
	mu       sync.Mutex
	byDigest map[string]*programCopy
}

// programCopy is one of them. Its lock is held while the original is read, so that starts at once read it once.
type programCopy struct {
	mu   sync.Mutex
	path string    // empty until there is one
	made fileState // of the copy, as it was made
	// original is the file that was found to have the digest, and seen its state then; empty where that state may be
	// that of another content too.
	original string
	seen     fileState
}

func (c *programCopies) of(digest string) *programCopy {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byDigest == nil {
		c.byDigest = map[string]*programCopy{}
	}
	if c.byDigest[digest] == nil {
		c.byDigest[digest] = &programCopy{}
	}
	return c.byDigest[digest]
}

// verifiedProgram verifies the program of an entry, which is in the folder from, and returns the path of a copy, which
// is alone in its folder and stays until the host is closed.
func (h *Host) verifiedProgram(ctx context.Context, e LockEntry, from string) (string, error) {
	path := filepath.Join(from, e.Program())
	original, err := OpenProgram(path)
	if f := fault.From(err); f != nil {
		f.Message = fmt.Sprintf("plugin %q is in %s, but %s", e.Name, LockName, f.Message)
		return "", f.WithHint("install it again, or remove it with \"cipherstream plugin remove\"")
	}
	defer original.Close()
	c := h.programs.of(e.SHA256)
	c.mu.Lock()
	defer c.mu.Unlock()
	digest, err := h.verify(ctx, c, original, e.SHA256)
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case fault.Is(err, codeProgram):
		return "", err
	case err != nil:
		return "", fault.New("host.directory", fault.Internal, "cannot copy plugin %q: %w", e.Name, err)
	case digest != e.SHA256:
		return "", fault.New("plugin.digest", fault.Usage, "the program of plugin %q does not match %s: its sha256 is %s, not %s",
			e.Name, LockName, digest, e.SHA256).WithHint("if you trust the program, install it again with --replace")
	}
	return c.path, nil
}

// verify returns the digest of a program. If it is the one that is wanted, there is a copy of the program when it returns.
func (h *Host) verify(ctx context.Context, c *programCopy, original *os.File, want string) (string, error) {
	began := time.Now()
	info, err := original.Stat()
	if err != nil {
		return "", err
	}
	state := stateOfInfo(info)
	// A process that is not confined can write the copy, as any file of this user.
	intact := false
	if copied, err := os.Lstat(c.path); err == nil {
		intact = stateOfInfo(copied) == c.made
	}
	if intact && original.Name() == c.original && state == c.seen {
		return want, nil
	}
	c.original = ""
	var digest string
	if intact {
		digest, err = hashProgram(ctx, original)
	} else {
		digest, err = h.copyOf(ctx, c, original, want)
	}
	if err == nil && digest == want && state.settledBefore(began) {
		c.original, c.seen = original.Name(), state
	}
	return digest, err
}

// copyOf copies a program, and returns the digest of what was copied. The copy stays if that is the one that is wanted.
func (h *Host) copyOf(ctx context.Context, c *programCopy, original *os.File, want string) (string, error) {
	private, err := h.private()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(private, programsDir, want)
	if err = os.RemoveAll(dir); err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "program")
	digest, err := CopyProgram(ctx, path, original, 0o500, false)
	var info fs.FileInfo
	if err == nil && digest == want {
		info, err = os.Lstat(path)
	}
	if info == nil {
		os.RemoveAll(dir)
		return digest, err
	}
	c.path, c.made = path, stateOfInfo(info)
	return digest, nil
}

// hashProgram is the SHA-256 of a program, in hexadecimal.
func hashProgram(ctx context.Context, file *os.File) (string, error) {
	hash := sha256.New()
	if _, err := io.Copy(hash, interruptible{ctx, file}); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
