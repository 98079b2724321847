//go:build unix

package stream

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/cipherstream/cipherstream/sdk"
)

// CheckSink is part of sdk.SinkChecker. A file is begun under its hidden name and removed.
// Who listens on a socket would take a connection for the output, so nobody is called.
func (s *sink) CheckSink(ctx context.Context, o sdk.Object, report *sdk.Report) {
	if f, is := s.to.(*file); is {
		err := f.open(ctx, o.RunID)
		if err == nil {
			report.Fine("%s can be written", f.path)
		}
		report.Wrong(s.code(err))
		report.Wrong(s.code(f.abort()))
		return
	}
	path, is := strings.CutPrefix(s.to.location(), "unix:")
	if !is {
		return // the host's own output
	}
	switch info, err := os.Stat(path); {
	case err != nil:
		report.Wrong(s.code(err))
	case info.Mode()&fs.ModeSocket == 0:
		report.Wrong(s.code(&fs.PathError{Op: "connect", Path: path, Err: syscall.ECONNREFUSED}))
	case errors.Is(syscall.Access(path, 2), syscall.EACCES):
		report.Wrong(s.code(&fs.PathError{Op: "connect", Path: path, Err: syscall.EACCES}))
	default:
		report.Unchecked("whether somebody listens on %s: a connection would be taken for the output", s.to.location())
	}
}
