//go:build unix

package stream

import (
	"context"

	"github.com/cipherstream/cipherstream/plugins/internal/partial"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Undo removes the temporary file of a run whose process has died. Only the one name is removed that this sink gives to
// the temporary file of that run.
func (s *sink) Undo(_ context.Context, r sdk.Resource) error {
	to, is := s.to.(*file)
	if !is {
		return stage.Elsewhere("the sink writes to %s, and no file of it can be left", s.to.location())
	}
	return s.code(partial.Undo(r, to.path))
}

// Sweep removes the temporary files that dead runs have left of a file, or of all files in a folder. It follows no
// link to them, and leaves what living runs are writing, and what is somebody else's.
func Sweep(path string) (removed int, err error) {
	removed, err = partial.Sweep(path)
	return removed, (&sink{to: &file{path: path}}).code(err)
}
