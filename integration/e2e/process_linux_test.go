package e2e

import (
	"bytes"
	"os"
	"path/filepath"
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
		// A process may end while it is looked at; a zombie has no environment.
		if environment, err := os.ReadFile(path); err == nil && bytes.Contains(environment, []byte("="+w.tmp)) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				w.Fatal(err)
			}
			list = append(list, pid)
		}
	}
	return list
}

// nothingRuns waits until every process of the workspace is gone.
func (w *workspace) nothingRuns() {
	w.Helper()
	eventually(w, "the end of all processes", func() bool { return len(w.processes()) == 0 })
}
