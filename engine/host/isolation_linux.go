package host

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cipherstream/cipherstream/engine/host/jail"
)

const isolationHint = "let this user make user namespaces (user_namespaces(7); in a container, its seccomp profile decides)"

// processAttributes are those of a plugin's process: a process group of its own; a signal from the kernel when the host
// dies, which kills a third-party process, even one that hangs, and wakes a first-party one; and namespaces where it is
// confined.
//
// There is a user namespace also when the host is root. Without it a process of root's could enter the host's network
// namespace (setns(2)) and read the secrets in the host's memory. Every user id is mapped to itself, so that the owners
// of files are the same inside as outside.
//
// In the network namespace no interface is up, not even loopback. Unix sockets with a path work, and control and data
// use those. In the process namespace the plugin is process 1: when it ends the kernel kills everything that it has
// started, in whatever process group. Package jail fills the mount namespace, and has rights in it until it becomes the
// plugin.
func processAttributes(i Isolation) *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if i.firstParty() {
		// A first-party process cleans up and exits when its lifeline ends (control.Serve). The signal makes a stopped
		// process go on, so that it notices.
		attributes.Pdeathsig = syscall.SIGCONT
	}
	if !i.Confined && !i.Apart {
		return attributes
	}
	attributes.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC
	if i.Confined {
		attributes.Cloneflags |= syscall.CLONE_NEWNS
		attributes.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP, unix.CAP_SYS_RESOURCE}
	}
	if !i.Network {
		attributes.Cloneflags |= syscall.CLONE_NEWNET
	}
	attributes.UidMappings = sameIDs("/proc/self/uid_map", os.Geteuid())
	attributes.GidMappings = sameIDs("/proc/self/gid_map", os.Getegid())
	return attributes
}

// maxMappings is how many lines the kernel takes (user_namespaces(7)).
const maxMappings = 340

// sameIDs maps ids to themselves: for root all ids of this process's own namespace, for any other user only its own id,
// because the kernel allows no more.
func sameIDs(file string, own int) []syscall.SysProcIDMap {
	only := []syscall.SysProcIDMap{{ContainerID: own, HostID: own, Size: 1}}
	if os.Geteuid() != 0 {
		return only
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return only
	}
	var all []syscall.SysProcIDMap
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var first, outside, size int
		if _, err := fmt.Sscan(lines.Text(), &first, &outside, &size); err != nil {
			return only
		}
		all = append(all, syscall.SysProcIDMap{ContainerID: first, HostID: first, Size: size})
	}
	if len(all) == 0 || len(all) > maxMappings {
		return only
	}
	return all
}

// noProgram is a path whose execution fails with ENOTDIR, an error that nothing else on the way gives.
const noProgram = "/dev/null/none"

// probeNamespaces tries whether the system lets the host make the namespaces of a confined process, all but the mount
// namespace. It starts a program that does not exist, and returns why the system refused before that; empty if it did
// not.
func probeNamespaces(network bool) string {
	attributes := processAttributes(Isolation{Apart: true, Network: network})
	process, err := os.StartProcess(noProgram, []string{"none"}, &os.ProcAttr{Sys: attributes})
	if err == nil {
		_ = process.Kill()
		_, _ = process.Wait()
		return ""
	}
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		return ""
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return "the system does not let this user make namespaces (" + cause(err) + ")"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EUSERS):
		return "the system allows no more namespaces: see user.max_user_namespaces, max_pid_namespaces and max_net_namespaces (" + cause(err) + ")"
	}
	return "the system has no such namespaces (" + cause(err) + ")"
}

// probeJail tries to confine a process without a plugin, and returns why that failed. Some systems make namespaces and
// then give no rights in them; containers hide parts of /proc, and then no other /proc can be mounted; and old kernels
// lack mount_setattr(2).
func (h *Host) probeJail(network bool) string {
	const cannot = "the system does not let this user "
	dir, err := h.NewDir()
	if err != nil {
		return err.Error()
	}
	defer os.RemoveAll(dir)
	v, err := h.viewOf(Isolation{Network: network}, dir, nil)
	if err != nil {
		return cannot + "show a plugin its files (" + err.Error() + ")"
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err.Error()
	}
	defer read.Close()
	defer write.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err.Error()
	}
	defer null.Close()
	process, err := os.StartProcess(ownProgram, jailArguments(h.jailFor(v, dir)), &os.ProcAttr{
		Sys: processAttributes(Isolation{Confined: true, Network: network}), Env: []string{}, Files: []*os.File{nil, nil, nil, null, write},
	})
	if err != nil {
		return "the system does not let this user make namespaces (" + cause(err) + ")"
	}
	write.Close()
	answer, _ := io.ReadAll(io.LimitReader(read, maxStatus)) // none is an answer too
	_, _ = process.Wait()
	switch text := string(answer); {
	case text == jail.Done:
		return ""
	case text == "":
		return cannot + "confine a process"
	default:
		return cannot + strings.TrimPrefix(text, "cannot ")
	}
}

// cause is the system's error without what Go puts in front of it.
func cause(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

// timerSlack is how late the system may wake up a thread of a plugin that sleeps, in nanoseconds; without it that is
// 50 µs. A Go program has a thread that wakes up every 20 µs and the slack, as long as others make system calls that
// take longer, and a write of a megabyte does. Those wake-ups took a tenth of the CPU of a run to a file. No stage
// sleeps for less than milliseconds.
const timerSlack = 1_000_000

// prepareThread restricts the calling thread, and with it the processes that it starts. The thread keeps the
// restrictions.
func prepareThread(c confinement) error {
	// It is inherited (PR_SET_TIMERSLACK(2const)). A system that does not take it only makes runs dearer.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0)
	if c.thirdParty {
		// No program that it executes gains rights: setuid, file capabilities
		// (PR_SET_NO_NEW_PRIVS(2const)).
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
	}
	if c.cpus != nil {
		var set unix.CPUSet
		for _, cpu := range c.cpus {
			set.Set(cpu)
		}
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("set CPU affinity: %w", err)
		}
	}
	return nil
}

// allowedCores lists the cores that this process may use.
func allowedCores() (list []int) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil
	}
	for cpu, left := 0, set.Count(); left > 0; cpu++ {
		if set.IsSet(cpu) {
			list = append(list, cpu)
			left--
		}
	}
	return list
}
