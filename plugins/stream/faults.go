//go:build unix

package stream

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// causes maps the errors of the system to faults. The first match counts.
var causes = []struct {
	errno   syscall.Errno
	code    string
	message string
	hint    string
}{
	{syscall.ENOSPC, "sink.disk_full", "no space is left on the disk", "make room, or write elsewhere"},
	{syscall.EDQUOT, "sink.disk_full", "the disk quota is used up", "make room, or write elsewhere"},
	{syscall.EFBIG, "sink.too_large", "the file would be larger than the system allows",
		"raise the limit of file sizes (ulimit -f), or compress"},
	{syscall.EPIPE, "sink.closed", "the reader closed the output", ""},
	{syscall.ECONNRESET, "sink.closed", "the reader closed the output", ""},
	{syscall.EACCES, "sink.denied", "permission is denied", "check who owns the folder and its mode"},
	{syscall.EPERM, "sink.denied", "permission is denied", "check who owns the folder and its mode"},
	{syscall.EROFS, "sink.denied", "the file system is read-only", "write elsewhere"},
	{syscall.ENOENT, "sink.not_found", "the folder or the socket does not exist", "create it first"},
	{syscall.ENOTDIR, "sink.not_found", "a part of the path is not a folder", "correct the path"},
	{syscall.ENAMETOOLONG, "sink.not_found", "the path is too long", "choose a shorter name"},
	{syscall.EISDIR, "sink.is_directory", "it is a folder", "give the path of a file"},
	{syscall.EEXIST, "sink.exists", "the temporary file of this run exists already", "is the same run writing twice?"},
	{syscall.ECONNREFUSED, "sink.unreachable", "nobody listens on the socket", "start the reader first"},
}

// code makes a fault of an error: where, what, and how far the stream had come.
func (s *sink) code(err error) error {
	var coded *fault.Fault
	switch {
	case err == nil:
		return nil
	case errors.As(err, &coded), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	var progress string
	if s.opened {
		progress = fmt.Sprintf(" after %d bytes", s.bytes)
	}
	for _, c := range causes {
		if errors.Is(err, c.errno) {
			f := fault.New(c.code, fault.Sink, "%s: %s%s (%w)", s.to.location(), c.message, progress, err)
			if c.hint != "" {
				f.WithHint("%s", c.hint)
			}
			return f
		}
	}
	return fault.New("sink.write", fault.Sink, "%s: writing failed%s: %w", s.to.location(), progress, err)
}
