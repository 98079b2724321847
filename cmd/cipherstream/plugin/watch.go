package plugin

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
)

// lookEvery is how often the files of a project are looked at. A look is one stat(2) for each of them.
const lookEvery = 300 * time.Millisecond

// mostWatched bounds what is looked at: a folder with more is no plugin's.
const mostWatched = 5000

// watcher knows the files of a project, and what has been saved since it looked last. What is built, installed or hidden does not
// count.
type watcher struct {
	dir  string
	seen map[string]version
}

// version tells a file from what it was before.
type version struct {
	time  time.Time
	size  int64
	inode uint64
}

func newWatcher(dir string) *watcher { return &watcher{dir: dir} }

// unwatched are folders of what is made from the rest.
var unwatched = []string{"bin", "bundle", "plugins", "out", "node_modules", "__pycache__"}

// look finds out what is there.
func (w *watcher) look() (map[string]version, error) {
	files := map[string]version{}
	err := filepath.WalkDir(w.dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != w.dir:
			return nil // it has just gone
		case err != nil:
			return err
		case path == w.dir:
			return nil
		case strings.HasPrefix(entry.Name(), "."), entry.IsDir() && slices.Contains(unwatched, entry.Name()):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !entry.Type().IsRegular():
			return nil
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(w.dir, path)
		if err != nil {
			return err
		}
		v := version{time: info.ModTime(), size: info.Size()}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			v.inode = uint64(stat.Ino)
		}
		if files[name] = v; len(files) > mostWatched {
			return terminal.UsageFault("%s has more than %d files", diag.Printable(w.dir), mostWatched).WithHint("give the folder of one plugin's project")
		}
		return nil
	})
	return files, err
}

// changed returns the names of the files that were saved, made or removed since it was called last; all the first time.
func (w *watcher) changed() (names []string, err error) {
	now, err := w.look()
	if err != nil {
		return nil, err
	}
	names = differences(w.seen, now)
	w.seen = now
	return names, nil
}

func differences(before, now map[string]version) (names []string) {
	for name, v := range now {
		if before[name] != v {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, ok := now[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// wait returns when something has been saved since changed looked, or with the end of ctx.
func (w *watcher) wait(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		now, err := w.look()
		if err != nil {
			return err
		}
		if !maps.Equal(w.seen, now) {
			return nil
		}
	}
}

// next waits for a save, and returns what changed.
func (w *watcher) next(ctx context.Context) ([]string, error) {
	if err := w.wait(ctx); err != nil {
		return nil, err
	}
	return w.changed()
}
