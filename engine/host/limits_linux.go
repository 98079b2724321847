package host

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// measure returns the memory, in bytes, of a process and, if family is set, of its descendants, and how many processes
// they are. What cannot be read counts as nothing, and so does a process that has ended and that nobody has waited for,
// until there are very many of them; it counts no further.
//
// Memory is what is resident. Of a family it is as well what lies in files in memory, which may be resident nowhere:
// those that it has open (memfd_create(2)), those it has mapped and closed, as far as they are mapped, and its /tmp.
// Not counted is a file in memory that is on its way through a socket and open nowhere.
//
// Pages that forked processes share are counted in each of them. So when the sum is above limit, it is made again with
// each shared page divided among them (proc(5), smaps_rollup), which takes longer to read.
func measure(pid int, family bool, limit int64) (used int64, processes int) {
	const most = 16 * maxProcesses
	pids := []int{pid}
	shared := &sharedMemory{files: map[fileID]int64{}}
	for i := 0; i < len(pids) && processes <= maxProcesses; i++ {
		if n := residentMemory(pids[i]); n > 0 {
			used += n
			processes++
		}
		if !family {
			continue
		}
		shared.add(pids[i])
		if pids = append(pids, childrenOf(pids[i])...); len(pids) > most {
			return used, len(pids)
		}
	}
	if !family {
		return used, processes
	}
	shared.addTemp(pid)
	if used > limit && len(pids) > 1 {
		used = 0
		for _, p := range pids {
			used += proportionalMemory(p)
		}
	}
	return used + shared.beyond(), processes
}

// residentMemory reads the second number of /proc/PID/statm (proc(5)).
func residentMemory(pid int) int64 {
	text, err := os.ReadFile(inProc(pid, "statm"))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// proportionalMemory is the resident memory of a process with each page divided by
// how many processes have it; all of it where the kernel does not say.
func proportionalMemory(pid int) int64 {
	text, err := os.ReadFile(inProc(pid, "smaps_rollup"))
	if err != nil {
		return residentMemory(pid)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Pss:" {
			if kib, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				return kib << 10
			}
		}
	}
	return residentMemory(pid)
}

// childrenOf lists the processes that each thread of a process has started.
func childrenOf(pid int) (list []int) {
	tasks, err := os.ReadDir(inProc(pid, "task"))
	if err != nil {
		return nil
	}
	for _, task := range tasks {
		text, err := os.ReadFile(inProc(pid, filepath.Join("task", task.Name(), "children")))
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(field); err == nil {
				list = append(list, n)
			}
		}
	}
	return list
}

func inProc(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}
