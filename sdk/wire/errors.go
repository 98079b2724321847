package wire

import (
	"errors"
	"fmt"
	"io"
	"syscall"
)

// Every error of this package that is not a failure of the connection itself is one of these, found with errors.Is.
var (
	// ErrTruncated means that the stream ended without its end-of-stream marker: the writing side died or gave up. It
	// also is io.ErrUnexpectedEOF.
	ErrTruncated = fmt.Errorf("wire: the Arrow stream ended without its end-of-stream marker, so its writer did not finish: %w", io.ErrUnexpectedEOF)

	// ErrMalformed means that the peer sent bytes that are not a valid Arrow stream, or that a record handed to Writer
	// is not consistent in itself.
	ErrMalformed = errors.New("wire: malformed Arrow stream")

	// ErrUnsupported means a valid Arrow feature that this package does not carry, such as a dictionary-encoded column.
	ErrUnsupported = errors.New("wire: unsupported Arrow feature")

	// ErrTooLarge means that a message is above the limit in force (WithMaxMessageBytes, or a fixed limit named in the
	// text).
	ErrTooLarge = errors.New("wire: Arrow message too large")

	// ErrSchema means that a record handed to Writer does not have the schema that the stream began with.
	ErrSchema = errors.New("wire: record does not fit the schema of the stream")

	// ErrClosed means a Write after Close.
	ErrClosed = errors.New("wire: the stream was already closed")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

// readError turns what the connection said into what it means. A unix socket whose peer died with unread data answers
// ECONNRESET instead of an end of file; both mean that the writer did not finish.
func readError(doing string, err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w (%s)", ErrTruncated, doing)
	case errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%w (%s: %w)", ErrTruncated, doing, err)
	}
	return fmt.Errorf("wire: %s: %w", doing, err)
}
