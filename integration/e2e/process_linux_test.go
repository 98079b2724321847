package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
