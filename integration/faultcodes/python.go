package faultcodes

import (
	"bytes"
	"os"
	"path/filepath"
)

func (s *scanner) searchPython(dir, rel string) error {
	content, err := os.ReadFile(filepath.Join(s.root, filepath.FromSlash(rel)))
	if err != nil {
		return err
	}
	for _, at := range python.FindAllSubmatchIndex(content, -1) {
		s.tree.Uses = append(s.tree.Uses, Use{string(content[at[2]:at[3]]), dir, rel, bytes.Count(content[:at[2]], []byte("\n")) + 1})
	}
	return nil
}
