package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// processes lists the processes that were started in this workspace: its temporary
// folder is in the environment of all of them, plugins too.
func (w *workspace) processes() (list []int) {
	paths, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		w.Fatal(err)
	}
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			w.Fatal(err)
		}
		if w.runs(pid) {
			list = append(list, pid)
		}
	}
	return list
}

// runs reports whether a process is one of the workspace. It may end while it is looked at; a zombie has no environment.
func (w *workspace) runs(pid int) bool {
	environment, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	return err == nil && bytes.Contains(environment, []byte("="+w.tmp))
}

// nothingRuns waits until every process of the workspace is gone.
func (w *workspace) nothingRuns() {
	w.Helper()
	var left []int
	eventually(w, "the end of all processes", func() bool {
		// To look through all of the machine's takes long, and is done again when these are gone.
		left = slices.DeleteFunc(left, func(pid int) bool { return !w.runs(pid) })
		if len(left) == 0 {
			left = w.processes()
		}
		return len(left) == 0
	})
}

// killAll kills every process of the workspace, none of which sees the end of another: a signal that stops a process is
// sent before it is stopped, and what it starts meanwhile is stopped as well. Children go first: when the parent of a stopped
// process group ends, the kernel has the group go on (POSIX, orphaned process groups), and it would clean up.
func (w *workspace) killAll() {
	w.Helper()
	var stopped []int
	eventually(w, "a stop of all processes", func() bool {
		list := w.processes()
		for _, pid := range list {
			_ = syscall.Kill(pid, syscall.SIGSTOP) // it may have ended by now
		}
		same := slices.Equal(list, stopped)
		stopped = list
		return same && !slices.ContainsFunc(list, func(pid int) bool { return !isStopped(pid) })
	})
	for len(stopped) > 0 {
		parents := map[int]bool{}
		for _, pid := range stopped {
			parents[parent(pid)] = true
		}
		stopped = slices.DeleteFunc(stopped, func(pid int) bool {
			if parents[pid] {
				return false
			}
			_ = syscall.Kill(pid, syscall.SIGKILL)
			return true
		})
	}
}

// parent is the parent of a process, and 0 of one that is gone (proc_pid_stat(5): the second field behind the name).
func parent(pid int) int {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	of, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return 0
	}
	return of
}

// isStopped reports whether none of the threads of a process can run; one that is gone counts (proc_pid_stat(5): the
// state stands behind the name, which ends at the last parenthesis).
func isStopped(pid int) bool {
	threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/[0-9]*/stat")
	return err == nil && !slices.ContainsFunc(threads, func(path string) bool {
		stat, err := os.ReadFile(path)
		return err == nil && !bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" T"))
	})
}
