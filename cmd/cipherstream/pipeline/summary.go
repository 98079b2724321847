package pipeline

import (
	"io"
	"os"
	"path/filepath"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// summary is the file that the receipt of a run goes to. It is opened before the
// run, so that a run of hours doesn't end with a file that can't be written, and
// gets its name when it is whole.
type summary struct {
	app  *app
	path string // empty: no summary; "-": standard output
	file *os.File
}

const codeSummary = "cli.summary"

// newSummary opens the summary. Output is the path of the data, or empty.
func (a *app) newSummary(name, output string) (*summary, error) {
	s := &summary{app: a, path: name}
	if name == "" || name == "-" {
		return s, nil
	}
	path, err := session.OutputPath(name)
	if err != nil {
		return nil, err
	}
	s.path = path
	if path == output {
		return nil, terminal.UsageFault("the summary and the data cannot both go to %s", path)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, terminal.UsageFault("the summary cannot be written to %s: it is not a file", path)
	}
	dir, base := filepath.Split(path)
	s.file, err = os.CreateTemp(dir, "."+base+".*.partial") // mode 0600
	if err != nil {
		return nil, terminal.UsageFault("the summary cannot be written: %w", err).WithHint("create its folder first, or choose another")
	}
	return s, nil
}

// commit writes the receipt.
func (s *summary) commit(receipt *engine.Receipt) error {
	switch {
	case s.path == "":
		return nil
	case s.file == nil:
		return s.app.Print(func(w io.Writer) error { return terminal.WriteJSON(w, receipt) })
	}
	err := terminal.WriteJSON(s.file, receipt)
	if err == nil {
		err = s.file.Sync()
	}
	if closeErr := s.file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(s.file.Name(), s.path)
	}
	if err != nil {
		return fault.New(codeSummary, fault.Sink, "the output is whole, but its summary could not be written: %w", err)
	}
	s.file = nil
	return nil
}

// discard removes a summary that was not committed.
func (s *summary) discard() {
	if s.file != nil {
		s.file.Close()
		os.Remove(s.file.Name())
	}
}
