package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// lockName is a file in the data directory. Whoever has locked it (flock(2)) has the directory; its text is the number
// of that process, for whoever comes second. The system lets the lock go when its holder ends, by whatever means. The
// file stays: if it were removed, two processes could hold the locks of two files of the same name.
const lockName = "lock"

// directory is a data directory that this process has locked.
type directory struct {
	path string
	lock *os.File
}

// lockDirectory makes a data directory where there is none, and locks it.
func lockDirectory(path string) (*directory, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fault.New(store.CodeDirectory, fault.Usage, "the data directory cannot be named: %w", err)
	}
	if err := makePrivate(path); err != nil {
		return nil, err
	}
	d := &directory{path: path}
	if d.lock, err = os.OpenFile(d.file(lockName), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, privateMode); err != nil {
		return nil, d.failed(err)
	}
	if err := acquire(d.lock); err != nil {
		holder := holderOf(d.lock)
		d.lock.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, d.failed(err)
		}
		return nil, fault.New(store.CodeLocked, fault.Usage, "the data directory %s is in use by %s", path, holder).
			WithHint("one service runs with a data directory; end the other, or give this one a directory of its own").
			WithRetry()
	}
	if err := d.signLock(); err != nil {
		return nil, errors.Join(d.failed(err), d.unlock())
	}
	return d, nil
}

// makePrivate makes the directory, or sees to it that only this user gets at what is in it. One with files of others in
// it is left as it is: its mode is not ours to change.
func makePrivate(path string) error {
	failed := func(err error) error {
		return fault.New(store.CodeDirectory, fault.Usage, "the data directory cannot be used: %w", err).
			WithHint("give another one, or check who owns it and the directory above")
	}
	if err := os.MkdirAll(path, directoryMode); err != nil {
		return failed(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return failed(err)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return failed(err)
	}
	ours := len(entries) == 0
	for _, e := range entries {
		ours = ours || e.Name() == fileName
	}
	if !ours {
		return fault.New(store.CodeDirectory, fault.Usage,
			"the data directory %s is open to other users (mode %v), and holds other files than the service's",
			path, info.Mode().Perm()).WithHint("give a directory of its own; it is made when it is not there")
	}
	if err := os.Chmod(path, directoryMode); err != nil {
		return failed(err)
	}
	return nil
}

// lockPatience is how long the lock of a process that is gone is waited for. One that it was starting when it was killed has
// the file open too, until it runs a program of its own.
const lockPatience = 2 * time.Second

// acquire takes the lock. That of a process which goes on is not waited for.
func acquire(f *os.File) error {
	for over := time.Now().Add(lockPatience); ; time.Sleep(lockPatience / 200) {
		err := flock(f)
		pid := holderPID(f)
		if !errors.Is(err, syscall.EWOULDBLOCK) || pid == 0 || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || time.Now().After(over) {
			return err
		}
	}
}

func flock(f *os.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// holderPID is the process that has the lock, or had it last; 0 where it has not said.
func holderPID(lock *os.File) int {
	text, _ := io.ReadAll(io.NewSectionReader(lock, 0, 32)) // without it the process has no number
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

// holderOf names the process that has the lock, as far as it has said.
func holderOf(lock *os.File) string {
	if pid := holderPID(lock); pid > 0 {
		return fmt.Sprintf("process %d", pid)
	}
	return "another process"
}

// signLock puts this process's number into the lock.
func (d *directory) signLock() error {
	if err := d.lock.Chmod(privateMode); err != nil {
		return err
	}
	if err := d.lock.Truncate(0); err != nil {
		return err
	}
	_, err := d.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func (d *directory) file(name string) string { return filepath.Join(d.path, name) }

func (d *directory) failed(err error) error {
	return fault.New(store.CodeDirectory, fault.Usage, "the data directory cannot be used: %w", err)
}

// privateFile makes a file where there is none, so that SQLite, which gives its logs the mode of the database, finds
// the right one; and takes other users' rights from one that is there.
func (d *directory) privateFile(name string) (os.FileInfo, error) {
	f, err := os.OpenFile(d.file(name), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, privateMode)
	if err != nil {
		return nil, d.failed(err)
	}
	defer f.Close()
	if err := f.Chmod(privateMode); err != nil {
		return nil, d.failed(err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, d.failed(err)
	}
	return info, nil
}

// there checks that a file which is in use is still the one of its name: what is written to one that was removed, or
// moved away, is not found again.
func (d *directory) there(name string, inUse os.FileInfo) error {
	info, err := os.Stat(d.file(name))
	if err == nil && os.SameFile(info, inUse) {
		return nil
	}
	if err == nil {
		err = errors.New("there is another file in its place")
	}
	return fault.New(store.CodeAway, fault.Internal, "the file %s is not where it was in the data directory: %w", name, err).
		WithHint("bring back the directory that it was in, or restore a copy, and start the service again; nothing is written until then").
		WithRetry()
}

// sync puts the names in the directory on disk.
func (d *directory) sync() error {
	f, err := os.Open(d.path)
	if err != nil {
		return d.failed(err)
	}
	defer f.Close()
	// Some file systems cannot, and keep names in order anyway.
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return d.failed(err)
	}
	return nil
}

// unlock lets the directory go. Closing the file is not enough: a process that is being started at the moment has it open
// too, until it runs a program of its own.
func (d *directory) unlock() error {
	if err := errors.Join(syscall.Flock(int(d.lock.Fd()), syscall.LOCK_UN), d.lock.Close()); err != nil {
		return d.failed(err)
	}
	return nil
}
