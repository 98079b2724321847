package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Everything here reads Linux's /proc (man 5 proc). On other systems it finds
// nothing, and the report has no memory figures.

// tree watches a process and its descendants.
type tree struct {
	root     int
	together int64 // largest sum of proportional set sizes, in bytes
	order    []int // processes by first sight, the root first
	peak     map[int]int64
	time     map[int]time.Duration
}

func newTree(root int) *tree {
	return &tree{root: root, peak: map[int]int64{}, time: map[int]time.Duration{}}
}

// sample looks once at every process of the tree.
func (t *tree) sample() {
	var together int64
	for pids := []int{t.root}; len(pids) > 0; {
		pid := pids[0]
		pids = append(pids[1:], children(pid)...)
		dir := procDir(pid)
		together += kilobytes(filepath.Join(dir, "smaps_rollup"), "Pss:")
		// A process that is ending has no memory any more, and keeps its last figures.
		if peak := kilobytes(filepath.Join(dir, "status"), "VmHWM:"); peak > 0 {
			if _, seen := t.peak[pid]; !seen {
				t.order = append(t.order, pid)
			}
			t.peak[pid] = peak
		}
		t.time[pid] = max(t.time[pid], cpuTime(pid))
	}
	t.together = max(t.together, together)
}

// cpu is the processes' user and system time, as last seen.
func (t *tree) cpu() time.Duration {
	var sum time.Duration
	for _, d := range t.time {
		sum += d
	}
	return sum
}

func (t *tree) each() []int64 {
	var all []int64
	for _, pid := range t.order {
		all = append(all, t.peak[pid])
	}
	return all
}

func procDir(pid int) string { return "/proc/" + strconv.Itoa(pid) }

// children lists the processes that any thread of pid started.
func children(pid int) []int {
	lists, err := filepath.Glob(procDir(pid) + "/task/*/children")
	if err != nil {
		return nil
	}
	var pids []int
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// kilobytes reads the line "key  N kB" of a file, in bytes; 0 when it isn't there.
func kilobytes(file, key string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(key)); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(rest)), " kB"), 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}

// clockTick is the unit of times in /proc, which is the same on every Linux that Go
// runs on.
const clockTick = 10 * time.Millisecond

// cpuTime is the user and system time of a process so far, its children's left out.
func cpuTime(pid int) time.Duration {
	text, err := os.ReadFile(filepath.Join(procDir(pid), "stat"))
	if err != nil {
		return 0
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0
	}
	return time.Duration(user+system) * clockTick
}

// totalMemory is the machine's memory in bytes, or 0.
func totalMemory() int64 { return kilobytes("/proc/meminfo", "MemTotal:") }

// processor is the name of the machine's processor, or empty.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
