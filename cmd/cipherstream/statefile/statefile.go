// Package statefile keeps the state of a pipeline in a file: how far its runs have come. A file is whole or as it was
// before, whenever the process or the machine stops, and one run at a time uses it. It never decides what the state is
// (engine.State), nor when it may be saved.
package statefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of files of state.
const (
	// CodeFile is the code of a file that cannot be read or written.
	CodeFile = "state.file"
	// CodeLocked is the code of a file that another run uses.
	CodeLocked = "state.locked"
	// CodeDamaged is the code of a file that holds no state.
	CodeDamaged = "state.damaged"
)

// largest bounds a file, in bytes: the values of a run's parameters are in it.
const largest = 16 << 20

// File is a file of state that nobody else uses until Close.
type File struct {
	path  string
	lock  *os.File
	state engine.State
}

// Open takes a file and reads it. One that does not exist is the zero state; Save makes it. Beside it stands a hidden
// file that is locked meanwhile, and stays: a lock is the system's, and ends with the process however that ends.
func Open(path string) (*File, error) {
	path, err := resolve(path)
	if err != nil {
		return nil, err
	}
	dir, base := filepath.Split(path)
	lock, err := os.OpenFile(filepath.Join(dir, "."+base+".lock"), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, failed(path, "used", err).WithHint("create its folder first, and let the account write there")
	}
	f := &File{path: path, lock: lock}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = fault.New(CodeLocked, fault.Usage, "another run uses the state %s", path).
			WithHint("wait until it has ended: two runs at once would each overwrite what the other has kept")
	case err != nil:
		err = failed(path, "locked", err)
	default:
		f.state, err = Read(path)
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return f, nil
}

// State is what the file holds.
func (f *File) State() engine.State { return f.state }

// Save replaces what the file holds. When it returns without an error, the state survives a loss of power.
func (f *File) Save(s *engine.State) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return failed(f.path, "written", err)
	}
	dir, base := filepath.Split(f.path)
	// Whoever is killed here leaves it behind, and the next one, who has the lock, overwrites it.
	temporary := filepath.Join(dir, "."+base+".partial")
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return failed(f.path, "written", err)
	}
	_, err = file.Write(append(text, '\n'))
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temporary, f.path)
	}
	if err == nil {
		err = syncFolder(dir)
	}
	if err != nil {
		return failed(f.path, "written", err)
	}
	f.state = *s
	return nil
}

// Close lets others use the file.
func (f *File) Close() { f.lock.Close() }

// Read reads a file without taking it. One that does not exist is the zero state.
func Read(path string) (engine.State, error) {
	path, err := resolve(path)
	if err != nil {
		return engine.State{}, err
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return engine.State{}, nil
	}
	if err != nil {
		return engine.State{}, failed(path, "read", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, largest+1))
	if err != nil {
		return engine.State{}, failed(path, "read", err)
	}
	return Parse(path, content)
}

// Parse reads the content of a file; path is for the error alone.
func Parse(path string, content []byte) (s engine.State, err error) {
	damaged := func(why string) (engine.State, error) {
		return engine.State{}, fault.New(CodeDamaged, fault.Usage, "%s holds no state of a pipeline: %s", path, why).
			WithHint("bring it back from a copy; without one, the next run has to read every row: give it a file that does not exist yet")
	}
	if len(content) > largest {
		return damaged("it is too large")
	}
	// A later version may have other members, so that the version comes first.
	var version struct {
		Version int `json:"version"`
	}
	if json.Unmarshal(content, &version) != nil {
		return damaged("it is not one JSON object")
	}
	if version.Version != engine.StateVersion {
		return damaged("it has no version that this program reads")
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&s) != nil {
		return damaged("a member is unknown, or of another type")
	}
	if err := s.Check(); err != nil {
		return damaged(fault.From(err).Message)
	}
	return s, nil
}

// resolve is the absolute path of a file, behind symbolic links: they stay, and the file is replaced.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", failed(path, "used", err)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, nil
	case err != nil:
		return "", failed(path, "read", err)
	case !info.Mode().IsRegular():
		return "", fault.New(CodeFile, fault.Usage, "%s is not a file, so that it can keep no state", path)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", failed(path, "read", err)
	}
	return real, nil
}

func failed(path, what string, err error) *fault.Fault {
	return fault.New(CodeFile, fault.Usage, "the state %s cannot be %s: %w", path, what, err)
}

// syncFolder puts the names in a folder on disk.
func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	// Some file systems cannot, and keep names in order anyway.
	if err := folder.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}
