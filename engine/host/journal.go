package host

import (
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

const (
	// journalName is the folder in a host's private directory with what its runs have announced, a file for each
	// announcement. When the host has died the folder stays, until a run with the stage's settings has undone what is
	// in it.
	journalName = "announced"
	// journalKept is how long the folder stays at most.
	journalKept = 30 * 24 * time.Hour
	// maxEntry bounds a file of the journal that is read.
	maxEntry = 64 << 10
	// mostEntries bounds how many are read of one dead host.
	mostEntries = 1000
)

// Leftover is something that a stage has announced and not released. It holds no secrets.
type Leftover struct {
	Plugin   string         `json:"plugin"`
	Kind     stage.Kind     `json:"kind"`
	Stage    string         `json:"stage"`
	Resource stage.Resource `json:"resource"`
}

// Keep writes a leftover into the journal, where a later host finds it if this one dies. Only this user can read it.
// Forget removes it again.
func (h *Host) Keep(l Leftover) (forget func(), err error) {
	private, err := h.private()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(private, journalName)
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return nil, fault.New("host.directory", fault.Internal, "cannot make the journal: %w", err)
	}
	file := filepath.Join(dir, strconv.FormatInt(h.sequence.Add(1), 36))
	// If the host dies while this is written the file is no JSON and is passed over: the stage has not begun anything
	// yet.
	if err := os.WriteFile(file, text, 0o600); err != nil {
		os.Remove(file)
		return nil, fault.New("host.directory", fault.Internal, "cannot write the journal: %w", err)
	}
	return func() { os.Remove(file) }, nil
}

// Leftovers calls visit for every dead host of this user, with what its runs have announced and not released. Visit
// returns for each whether it is gone now; those are removed from the journal. Hosts that still run are left out.
func (h *Host) Leftovers(visit func([]Leftover) (over []bool)) {
	base := scratchBase(h.cfg.TempDir)
	entries, _ := os.ReadDir(base) // without them there is nothing to show
	for _, entry := range entries {
		dir := filepath.Join(base, entry.Name())
		if !strings.HasPrefix(entry.Name(), scratchPrefix) || !entry.IsDir() || !marked(dir) {
			continue
		}
		if lock, err := lockDirectory(dir); err == nil {
			if marked(dir) {
				visitJournal(dir, lock, visit)
			}
			lock.Close()
		}
	}
}

// visitJournal calls visit with the journal in the directory of a dead host, which this process has locked.
func visitJournal(dir string, lock *os.File, visit func([]Leftover) []bool) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return
	}
	defer root.Close()
	var list []Leftover
	var names []string
	for _, name := range journal(root) {
		if l, err := readEntry(root, name); err == nil {
			list, names = append(list, l), append(names, name)
		}
	}
	if len(list) > 0 {
		for i, over := range visit(list) {
			if over {
				_ = root.Remove(names[i]) // the next host tries again
			}
		}
	}
	if !hasJournal(root) {
		_ = removeScratch(dir, lock)
	}
}

// journal lists the files of a journal by their paths in the directory.
func journal(root *os.Root) (names []string) {
	entries, _ := fs.ReadDir(root.FS(), journalName) // there may be none
	for _, e := range entries {
		if e.Type().IsRegular() && len(names) < mostEntries {
			names = append(names, path.Join(journalName, e.Name()))
		}
	}
	return names
}

// hasJournal reports whether a directory has a journal that a later run may still need.
func hasJournal(root *os.Root) bool {
	for _, name := range journal(root) {
		if info, err := root.Lstat(name); err == nil && time.Since(info.ModTime()) < journalKept {
			if _, err := readEntry(root, name); err == nil {
				return true
			}
		}
	}
	return false
}

func readEntry(root *os.Root, name string) (l Leftover, err error) {
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return l, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxEntry))
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	return l, err
}
