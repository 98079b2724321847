package lsp

import (
	"os"
	"path/filepath"
	"strings"
)

// catalogueFile begins the names of files of the catalogue in positions.
const catalogueFile = "catalogue:"

// onDisk is the path of a file that a position names. A file of the catalogue is in the program: a copy of it, which
// nobody can write to, is put into the engine's private folder, and is gone with that.
func (s *server) onDisk(name string) (string, bool) {
	inside, is := strings.CutPrefix(name, catalogueFile)
	if !is {
		return name, filepath.IsAbs(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	content := s.engine.Source(name)
	if content == nil {
		return "", false
	}
	if s.copies == "" {
		folder, err := s.engine.NewDir()
		if err != nil {
			return "", false
		}
		s.copies = folder
	}
	path := filepath.Join(s.copies, filepath.FromSlash(inside))
	if _, err := os.Stat(path); err == nil {
		return path, true
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", false
	}
	return path, os.WriteFile(path, content, 0o400) == nil
}
