//go:build unix

package partial

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// maxName is the most bytes in a file name on every common file system.
const maxName = 255

// Name is that of the unfinished file of a run: ".NAME.RUNID.partial", with NAME cut where it must be.
func Name(name, runID string) string {
	suffix := "." + runID + ".partial"
	for len(name) > 0 && 1+len(name)+len(suffix) > maxName {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return "." + name + suffix
}

// Announcement tells the host of an unfinished file. A later run to the same file finds it by its name.
func Announcement(path string) sdk.Resource {
	return sdk.Resource{Name: "the unfinished file " + path, Remedy: "rm " + quoteShell(path), State: []byte(path),
		Discoverable: true}
}

// quoteShell writes a path so that a shell takes it for one word.
func quoteShell(path string) string {
	if !strings.ContainsAny(path, " \t\n'\"\\$`&|;<>()*?[]#~!{}") {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// Undo removes the unfinished file of a run whose process has died. Only the one name is removed that Name gives to
// the unfinished file of that run beside the final one. Errors of the system are as they came.
func Undo(r sdk.Resource, final string) error {
	path, at := string(r.State), final
	if real, err := filepath.EvalSymlinks(final); err == nil {
		at = real
	}
	dir, name := filepath.Split(at)
	if r.RunID == "" || path != filepath.Join(dir, Name(name, r.RunID)) {
		return stage.Foreign("run %q announced the unfinished file %q, which it does not make for %s", r.RunID, path, final)
	}
	owner, err := RemoveDead(path)
	switch {
	case err != nil:
		return err
	case owner == Alive:
		return stage.Foreign("somebody is writing %s", path)
	case owner == Unknown:
		return stage.Foreign("%s is no file of this user's whose writer can be told to be gone", path)
	}
	return nil
}

// leftover is the name of an unfinished file, see Name, with an id as hosts make it.
var leftover = regexp.MustCompile(`^\.(.+)\.[^./]+_[0-9]{10,}_[0-9a-f]{8}\.partial$`)

// mostNames bounds how many names of a folder are looked at for one file.
const mostNames = 20_000

// Sweep removes the unfinished files that dead runs have left of a file, or of all files in a folder. It follows no
// link to them, and leaves what living runs are writing, and what is somebody else's. Errors of the system are as they came.
func Sweep(path string) (removed int, err error) {
	dir, only := filepath.Split(filepath.Clean(path))
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		dir, only = path, ""
	}
	folder, err := os.Open(dir)
	if err != nil {
		return 0, err
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
			if owner, err := RemoveDead(filepath.Join(dir, name)); err != nil {
				failures = append(failures, err)
			} else if owner == Dead {
				removed++
			}
		}
		if err != nil {
			if err != io.EOF {
				failures = append(failures, fmt.Errorf("the folder %s cannot be read: %w", dir, err))
			}
			break
		}
	}
	return removed, errors.Join(failures...)
}
