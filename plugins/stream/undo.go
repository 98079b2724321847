//go:build unix

package stream

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/cipherstream/cipherstream/plugins/internal/partial"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// announcement tells the host of a temporary file. A later run to the same file finds it by its name.
func announcement(temporary string) sdk.Resource {
	return sdk.Resource{Name: "the unfinished file " + temporary, Remedy: "rm " + quoteShell(temporary), State: []byte(temporary), Discoverable: true}
}

// quoteShell writes a path so that a shell takes it for one word.
func quoteShell(path string) string {
	if !strings.ContainsAny(path, " \t\n'\"\\$`&|;<>()*?[]#~!{}") {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// Undo removes the temporary file of a run whose process has died. Only the one name is removed that this sink gives to
// the temporary file of that run.
func (s *sink) Undo(_ context.Context, r sdk.Resource) error {
	to, is := s.to.(*file)
	path := string(r.State)
	if !is {
		return stage.Elsewhere("the sink writes to %s, and no file of it can be left", s.to.location())
	}
	final := to.path
	if real, err := filepath.EvalSymlinks(final); err == nil {
		final = real
	}
	dir, name := filepath.Split(final)
	if r.RunID == "" || path != filepath.Join(dir, temporaryName(name, r.RunID)) {
		return stage.Foreign("run %q announced the temporary file %q, which it does not make for %s", r.RunID, path, to.path)
	}
	return removeDead(path)
}

// removeDead removes the temporary file of a dead run.
func removeDead(path string) error {
	owner, err := partial.RemoveDead(path)
	switch {
	case err != nil:
		return (&sink{to: &file{path: path}}).code(err)
	case owner == partial.Alive:
		return stage.Foreign("somebody is writing %s", path)
	case owner == partial.Unknown:
		return stage.Foreign("%s is no file of this user's whose writer can be told to be gone", path)
	}
	return nil
}

// leftover is the name of a temporary file, see temporaryName, with an id as hosts make it.
var leftover = regexp.MustCompile(`^\.(.+)\.[^./]+_[0-9]{10,}_[0-9a-f]{8}\.partial$`)

// mostNames bounds how many names of a folder are looked at for one file.
const mostNames = 20_000

// Sweep removes the temporary files that dead runs have left of a file, or of all files in a folder. It follows no
// link to them, and leaves what living runs are writing, and what is somebody else's.
func Sweep(path string) (removed int, err error) {
	dir, only := filepath.Split(filepath.Clean(path))
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		dir, only = path, ""
	}
	folder, err := os.Open(dir)
	if err != nil {
		return 0, (&sink{to: &file{path: dir}}).code(err)
	}
	defer folder.Close()
	var failures []error
	for seen := 0; only == "" || seen < mostNames; {
		names, err := folder.Readdirnames(1000)
		seen += len(names)
		for _, name := range names {
			parts := leftover.FindStringSubmatch(name)
			if parts == nil || only != "" && !strings.HasPrefix(only, parts[1]) || only != "" && parts[1] != only && len(name) < maxName-3 {
				continue
			}
			path := filepath.Join(dir, name)
			if owner, err := partial.RemoveDead(path); err != nil {
				failures = append(failures, removeDead(path))
			} else if owner == partial.Dead {
				removed++
			}
		}
		if err != nil {
			if err != io.EOF {
				failures = append(failures, fault.New("sink.sweep", fault.Sink, "the folder %s cannot be read: %w", dir, err))
			}
			break
		}
	}
	return removed, errors.Join(failures...)
}
