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
	"syscall"

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

// verifiedCopy copies the program into a private directory while hashing it, so
// that what is executed is what was verified, whatever happens to the original
// in between. It returns the path of the copy.
func (e LockEntry) verifiedCopy(ctx context.Context, from, dir string) (string, error) {
	path := filepath.Join(from, e.Program())
	original, err := OpenProgram(path)
	if f := fault.From(err); f != nil {
		f.Message = fmt.Sprintf("plugin %q is in %s, but %s", e.Name, LockName, f.Message)
		return "", f.WithHint("install it again, or remove it with \"cipherstream plugin remove\"")
	}
	defer original.Close()
	target := filepath.Join(dir, "program")
	digest, err := CopyProgram(ctx, target, original, 0o500, false)
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
	return target, nil
}
