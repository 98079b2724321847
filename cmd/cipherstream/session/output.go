package session

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Output is where a command writes what it fetches or opens: a file that gets its name when it is whole, a device
// such as /dev/null, or standard output.
type Output struct {
	file *os.File
	// path is that of the file, or empty.
	path string
	// device says that the file has its name already.
	device bool
	// finished is true when the temporary file is no more.
	finished bool
}

// OpenOutput opens the output; - is standard output. What is read, which may be nil, must not be overwritten.
func OpenOutput(t *terminal.Terminal, name string, in *os.File) (*Output, error) {
	if name == "-" {
		return &Output{file: t.Out}, nil
	}
	path, err := OutputPath(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err == nil {
		if info.Mode()&fs.ModeCharDevice != 0 {
			file, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOCTTY, 0)
			if err != nil {
				return nil, terminal.UsageFault("the output cannot be written: %w", err)
			}
			return &Output{file: file, path: path, device: true}, nil
		}
		if !info.Mode().IsRegular() {
			return nil, terminal.UsageFault("the output cannot be written to %s: it is not a file", path).
				WithHint("for a pipe, let the shell redirect standard output")
		}
		if delivery, err := in.Stat(); err == nil && os.SameFile(info, delivery) { // of nil it is an error
			return nil, terminal.UsageFault("the output would replace the delivery, %s", path).WithHint("give another name with -o")
		}
		// Behind a symbolic link, replace the file and leave the link.
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return nil, terminal.UsageFault("the output cannot be written: %w", err)
		}
	}
	dir, base := filepath.Split(path)
	file, err := os.CreateTemp(dir, "."+base[:min(len(base), 200)]+".*.partial") // mode 0600
	if err != nil {
		return nil, terminal.UsageFault("the output cannot be written: %w", err).WithHint("create its folder first, or choose another")
	}
	return &Output{file: file, path: path}, nil
}

// Path is that of the file; empty for standard output.
func (o *Output) Path() string { return o.path }

// Write codes what goes wrong.
func (o *Output) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	if err != nil {
		return n, o.failed(err)
	}
	return n, nil
}

func (o *Output) failed(err error) error {
	if o.path == "" {
		return terminal.OutputFault(err)
	}
	return fault.New(terminal.CodeOutput, fault.Sink, "%s cannot be written: %w", o.path, err)
}

// Commit gives a file its name.
func (o *Output) Commit() error {
	switch {
	case o.path == "":
		return nil
	case o.device:
		o.finished = true
		if err := o.file.Close(); err != nil {
			return o.failed(err)
		}
		return nil
	}
	err := o.file.Sync()
	if closeErr := o.file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(o.file.Name(), o.path)
	}
	if err != nil {
		return o.failed(err)
	}
	o.finished = true
	return nil
}

// Discard removes a file that did not get its name.
func (o *Output) Discard() {
	if o.path != "" && !o.finished {
		o.file.Close()
		if !o.device {
			os.Remove(o.file.Name())
		}
	}
}
