package host

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const isolationHint = "let this user make user namespaces (user_namespaces(7); in a container, its seccomp profile decides)"

// processAttributes puts the child in a process group of its own, and has the
// kernel kill it when the host dies, even if it hangs. A confined process gets
// namespaces of its own.
//
// The user namespace is made for root too: a process of root's that is not in it
// walks into the network namespace of the host (setns(2)), and reads the secrets in
// the host's memory and environment. Inside, every id stands for itself, so that
// files are as they are for the host.
//
// In the network namespace nothing is up, not even loopback; only unix sockets that
// have a path work, which control and data use. In the process namespace the plugin
// is process 1: when it ends the kernel ends everything that it has started, whatever
// process group that is in.
func processAttributes(i Isolation) *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if i.Confined {
		attributes.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID
		if !i.Network {
			attributes.Cloneflags |= syscall.CLONE_NEWNET
		}
		attributes.UidMappings = sameIDs("/proc/self/uid_map", os.Geteuid())
		attributes.GidMappings = sameIDs("/proc/self/gid_map", os.Getegid())
	}
	return attributes
}

// maxMappings is how many lines the kernel takes (user_namespaces(7)).
const maxMappings = 340

// sameIDs maps ids to themselves: for root all that the map of this process's own
// namespace has, for others the one that they may.
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

// noProgram cannot be executed, in a way that nothing else fails: there is no file in
// a device.
const noProgram = "/dev/null/none"

// probeNamespaces makes the namespaces of a confined process, for a program that does
// not exist, and says why that failed.
func probeNamespaces(network bool) string {
	attributes := processAttributes(Isolation{Confined: true, Network: network})
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

// cause is the text of the system's error alone.
func cause(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

// prepareThread restrains the calling thread, for good, in a way that the processes it
// starts inherit.
func prepareThread(h hold) error {
	if h.thirdParty {
		// No program that it executes gains rights: setuid, file capabilities
		// (PR_SET_NO_NEW_PRIVS(2const)).
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
	}
	if h.cpus != nil {
		var set unix.CPUSet
		for _, cpu := range h.cpus {
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
