//go:build unix

package stream

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cipherstream/cipherstream/plugins/internal/fsync"
	"github.com/cipherstream/cipherstream/plugins/internal/partial"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// file is a target with two phases: a temporary file that commit renames. For a
// device, direct is set and there is one phase.
type file struct {
	path      string
	temporary string
	handle    *partial.File
	direct    outlet
	// announce tells the host of the temporary file before there is one, and release that there is none any more.
	announce func(context.Context, sdk.Resource) (release func(), err error)
	release  func()
}

func (f *file) location() string { return f.path }
func (f *file) streams() bool    { return f.direct != nil }

func (f *file) open(ctx context.Context, runID string) error {
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// A new file; a folder that is missing shows when it is created.
	case err != nil:
		return err
	case info.Mode().IsRegular():
		// Behind a symbolic link, replace the file and leave the link.
		if f.path, err = filepath.EvalSymlinks(f.path); err != nil {
			return err
		}
	case info.IsDir():
		return &fs.PathError{Op: "open", Path: f.path, Err: syscall.EISDIR}
	case info.Mode()&fs.ModeCharDevice != 0:
		f.direct, err = openDevice(f.path)
		return err
	default:
		return fault.New("sink.not_a_file", fault.Sink, "%s exists and is not a file (%s)", f.path, info.Mode().Type()).
			WithHint("for a pipe, write to standard output and let the shell redirect it")
	}
	dir, name := filepath.Split(f.path)
	temporary := filepath.Join(dir, partial.Name(name, runID))
	if f.announce != nil {
		if f.release, err = f.announce(ctx, partial.Announcement(temporary)); err != nil {
			return err
		}
	}
	if f.handle, err = partial.Create(temporary); err != nil {
		f.over() // it is not ours to remove
		return err
	}
	f.temporary = temporary
	return nil
}

// over says that the temporary file is no more.
func (f *file) over() {
	f.temporary = ""
	if f.release != nil {
		f.release()
		f.release = nil
	}
}

func (f *file) write(ctx context.Context, p []byte) (int, error) {
	if f.direct != nil {
		return f.direct.write(ctx, p)
	}
	return f.handle.Write(p)
}

func (f *file) commit() error {
	if f.direct != nil {
		return f.abort()
	}
	if err := f.handle.Sync(); err != nil {
		return err
	}
	if err := f.handle.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.temporary, f.path); err != nil {
		return err
	}
	f.handle.Release()
	f.handle = nil
	f.over()
	if err := fsync.Directory(filepath.Dir(f.path)); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

func (f *file) abort() error {
	var errs []error
	if f.direct != nil {
		errs = append(errs, f.direct.close())
		f.direct = nil
	}
	if f.temporary != "" {
		// What cannot be removed the host tries once more, or names.
		if err := os.Remove(f.temporary); err == nil || errors.Is(err, fs.ErrNotExist) {
			f.over()
		} else {
			errs = append(errs, err)
			f.temporary = ""
		}
	}
	if f.handle != nil {
		if err := f.handle.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
		f.handle.Release()
		f.handle = nil
	}
	return errors.Join(errs...)
}
