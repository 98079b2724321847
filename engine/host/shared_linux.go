package host

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// sharedMemory counts the memory of files that are in memory only, over all processes of a plugin.
type sharedMemory struct {
	files map[fileID]int64
	// resident is how much of these files the resident memory of the processes counts already.
	resident int64
}

// fileID is a file, by what st_dev and st_ino say.
type fileID struct{ device, inode uint64 }

// beyond is what the resident memory of the processes does not count.
func (m *sharedMemory) beyond() (bytes int64) {
	for _, n := range m.files {
		bytes += n
	}
	return max(bytes-m.resident, 0)
}

// inMemory are the beginnings of the names that the kernel gives to files in memory that have no path: of
// memfd_create(2), of mmap(2) of shared memory, and of shmget(2).
var inMemory = []string{"/memfd:", "/dev/zero (deleted)", "/SYSV", "/anon_hugepage"}

func isInMemory(name string) bool {
	for _, begin := range inMemory {
		if strings.HasPrefix(name, begin) {
			return true
		}
	}
	return false
}

// add adds those of one process.
func (m *sharedMemory) add(pid int) {
	if text, err := os.ReadFile(inProc(pid, "status")); err == nil {
		m.resident += statusBytes(string(text), "RssShmem:")
	}
	// The size of a file that is open can be asked for.
	open := map[uint64]bool{}
	entries, _ := os.ReadDir(inProc(pid, "fd"))
	for _, e := range entries {
		path := inProc(pid, "fd/"+e.Name())
		if name, err := os.Readlink(path); err != nil || !isInMemory(name) {
			continue
		}
		var info unix.Stat_t
		if unix.Stat(path, &info) == nil {
			m.files[fileID{info.Dev, info.Ino}] = info.Blocks * 512
			open[info.Ino] = true
		}
	}
	// The size of a file that is only mapped cannot: it counts as far as it is mapped, whether or not its pages are
	// resident.
	text, err := os.ReadFile(inProc(pid, "maps"))
	if err != nil {
		return
	}
	mapped := map[uint64]int64{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || !isInMemory(strings.Join(fields[5:], " ")) {
			continue
		}
		inode, err := strconv.ParseUint(fields[4], 10, 64)
		if err != nil || open[inode] {
			continue
		}
		from, to, _ := strings.Cut(fields[0], "-")
		begin, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 == nil && err2 == nil && end > begin {
			mapped[inode] += int64(end - begin)
		}
	}
	for inode, n := range mapped {
		id := fileID{inode: inode}
		m.files[id] = max(m.files[id], n)
	}
}

// addTemp adds what is in the /tmp of a confined process.
func (m *sharedMemory) addTemp(pid int) {
	path := inProc(pid, "root"+temporary)
	var there syscall.Statfs_t
	var own, its unix.Stat_t
	// A process that is not confined has the host's /tmp, which does not count.
	if unix.Stat(temporary, &own) != nil || unix.Stat(path, &its) != nil || own.Dev == its.Dev && own.Ino == its.Ino {
		return
	}
	if syscall.Statfs(path, &there) == nil && there.Type == unix.TMPFS_MAGIC {
		m.files[fileID{device: its.Dev}] += int64(there.Blocks-there.Bfree) * there.Bsize
	}
}

// statusBytes reads a line of /proc/PID/status that has kB.
func statusBytes(text, name string) int64 {
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n << 10
		}
	}
	return 0
}
