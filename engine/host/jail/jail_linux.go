package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"
)

func init() {
	if len(os.Args) == 2 && os.Args[0] == Arg0 {
		enter(os.Args[1])
	}
}

// enter does what a Spec, given as JSON, says. It does not return.
func enter(text string) {
	// Rights belong to a thread, so this must stay on its own: the main thread, which runs the init functions.
	runtime.LockOSThread()
	syscall.CloseOnExec(StatusFD)
	var s Spec
	err := json.Unmarshal([]byte(text), &s)
	if err == nil {
		err = s.enter()
	}
	answer := Done
	if err != nil {
		answer = err.Error()
	}
	_, _ = syscall.Write(StatusFD, []byte(answer)) // who does not listen sees the exit status
	os.Exit(125)
}

func (s *Spec) enter() error {
	if err := s.build(); err != nil {
		return err
	}
	if err := giveUp(); err != nil {
		return err
	}
	if s.Program == "" {
		return nil
	}
	if err := os.Chdir(s.Directory); err != nil {
		return explain("enter its directory", err)
	}
	// The caller does not explain this error: the system's text says why the program cannot be executed.
	return syscall.Exec(s.Program, s.Args, os.Environ())
}

// explain puts the step that failed in front of an error; nil stays nil.
func explain(step string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot %s: %w", step, reason(err))
}

// reason is the system's error without the path, which means nothing outside of the new root.
func reason(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// outside is where the host's file system is mounted until the new root is complete.
const outside = "/.outside"

const (
	attrReadOnly = 0x1 // MOUNT_ATTR_…, mount_setattr(2)
	attrNoSuid   = 0x2
	attrNoDev    = 0x4

	atFDCWD      = -0x64
	atRecursive  = 0x8000
	mountSetattr = 442 // on every architecture
)

// build makes the new root and unmounts the old one.
func (s *Spec) build() error {
	// Mounts that are made here must not appear outside of the namespace.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return explain("keep its mounts to itself", err)
	}
	if err := syscall.Mount("tmpfs", s.Base, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "size=1m,mode=755"); err != nil {
		return explain("mount a file system in memory", err)
	}
	if err := os.Mkdir(s.Base+outside, 0o700); err != nil {
		return explain("make a directory", err)
	}
	if err := syscall.PivotRoot(s.Base, s.Base+outside); err != nil {
		return explain("change its root directory", err)
	}
	if err := os.Chdir("/"); err != nil {
		return explain("enter its root directory", err)
	}
	for _, p := range s.Places {
		if err := s.put(p); err != nil {
			return explain("show "+p.Path, err)
		}
	}
	if err := syscall.Unmount(outside, syscall.MNT_DETACH); err != nil {
		return explain("leave the file system of its host", err)
	}
	if err := os.Remove(outside); err != nil {
		return explain("leave the file system of its host", err)
	}
	return explain("close its root directory", restrict("/", attrReadOnly|attrNoSuid|attrNoDev, false))
}

// put puts one place into the new root.
func (s *Spec) put(p Place) error {
	switch p.Kind {
	case Link:
		if err := os.MkdirAll(filepath.Dir(p.Path), 0o755); err != nil {
			return err
		}
		return os.Symlink(p.Target, p.Path)
	case Temp, Empty:
		options := "size=4k,mode=755"
		if p.Kind == Temp {
			options = "mode=1777,nr_inodes=65536,size=" + strconv.FormatInt(s.TempBytes, 10)
		}
		if err := os.MkdirAll(p.Path, 0o755); err != nil {
			return err
		}
		return syscall.Mount("tmpfs", p.Path, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, options)
	case Proc:
		if err := os.MkdirAll(p.Path, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount("proc", p.Path, "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
			return err
		}
		// Forbids further user namespaces, in which the plugin would have all rights again (namespaces(7)). Where this
		// cannot be written nothing is lost: the mounts are locked in such a namespace.
		_ = os.WriteFile(filepath.Join(p.Path, "sys/user/max_user_namespaces"), []byte("0"), 0)
		// Read-only, because root could change settings of the kernel here in whatever namespace.
		return restrict(p.Path, attrReadOnly, false)
	}
	return bind(p)
}

// bind shows a file or a directory of the host.
func bind(p Place) error {
	from := outside + p.Path
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	// Below a directory that is shown already it exists.
	if _, err := os.Lstat(p.Path); errors.Is(err, os.ErrNotExist) {
		if err := mountPoint(p.Path, info.IsDir()); err != nil {
			return err
		}
	}
	if err := syscall.Mount(from, p.Path, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return err
	}
	attributes := uint64(attrNoSuid)
	if p.Kind != Device {
		attributes |= attrNoDev
		if !p.Write {
			attributes |= attrReadOnly
		}
	}
	return restrict(p.Path, attributes, true)
}

func mountPoint(path string, directory bool) error {
	if directory {
		return os.MkdirAll(path, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	return file.Close()
}

// restrict sets attributes of a mount, and of all below it: mount_setattr(2), since Linux 5.12.
func restrict(path string, attributes uint64, recursive bool) error {
	name, err := syscall.BytePtrFromString(path)
	if err != nil {
		return err
	}
	attr := struct{ set, clear, propagation, userns uint64 }{set: attributes}
	flags := 0
	if recursive {
		flags = atRecursive
	}
	cwd := atFDCWD
	if _, _, errno := syscall.RawSyscall6(mountSetattr, uintptr(cwd), uintptr(unsafe.Pointer(name)), uintptr(flags),
		uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0); errno != 0 {
		return errno
	}
	return nil
}

// Rights (capabilities(7)).
const (
	capChown       = 0
	capDacOverride = 1
	capFowner      = 3
	capFsetid      = 4
	lastCap        = 63
)

// keptByRoot are the rights over files. A plugin that root runs keeps them, so that it can use the files that it sees
// as root could.
const keptByRoot = 1<<capChown | 1<<capDacOverride | 1<<capFowner | 1<<capFsetid

const (
	prSetPdeathsig    = 1 // prctl(2)
	prCapbsetDrop     = 24
	prSetNoNewPrivs   = 38
	prCapAmbient      = 47
	prCapAmbientClear = 4

	capabilityVersion = 0x20080522 // _LINUX_CAPABILITY_VERSION_3
)

// giveUp drops the rights that making the new root has needed, for good: the plugin's program cannot get them back.
func giveUp() error {
	if err := prctl(prCapAmbient, prCapAmbientClear, 0); err != nil {
		return explain("give up its rights", err)
	}
	for c := uintptr(0); c <= lastCap; c++ {
		if keptByRoot&(1<<c) == 0 {
			if err := prctl(prCapbsetDrop, c, 0); err == syscall.EINVAL {
				break // the system has no more
			} else if err != nil {
				return explain("give up its rights", err)
			}
		}
	}
	kept := uint32(0)
	if os.Geteuid() == 0 {
		kept = keptByRoot
	}
	header := struct {
		version uint32
		pid     int32
	}{version: capabilityVersion}
	data := [2]struct{ effective, permitted, inheritable uint32 }{{kept, kept, 0}}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data)), 0); errno != 0 {
		return explain("give up its rights", errno)
	}
	if err := prctl(prSetNoNewPrivs, 1, 0); err != nil {
		return explain("give up new rights", err)
	}
	return explain("end with its host", prctl(prSetPdeathsig, uintptr(syscall.SIGKILL), 0))
}

func prctl(option int, a, b uintptr) error {
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, uintptr(option), a, b, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
