// Package wire is the data plane between plugin process groups: a standard Apache Arrow IPC stream over a byte stream,
// in practice a unix socket. It owns the bytes on that socket, the memory that they are read into, and the checks that
// stand between a peer's bytes and an arrow.Record.
//
// # Format
//
// The format is the "IPC Streaming Format" of https://arrow.apache.org/docs/format/Columnar.html: one schema message,
// any number of record batch messages, and the end-of-stream marker FF FF FF FF 00 00 00 00. Metadata version 5 is
// written, versions 4 and 5 are read, little-endian only. Any Arrow library reads and writes the same bytes. What the
// standard leaves optional is required here in one place: a stream must end with its marker. A stream that just stops
// means that the writer died, and reading it ends in ErrTruncated, never in io.EOF. NewFileWriter writes the "IPC File
// Format", and FileIndex makes a file of a stream that somebody else wrote; files are not read.
//
// # Copies
//
// Writer gathers the message header and the column buffers of a record into one vectored write; column bodies are not
// copied. Only two kinds of buffers of a sliced record are: bitmaps that do not start at a byte boundary, and offsets
// that do not start at zero. Reader reads a message body into one pooled buffer that starts at a 64-byte boundary and
// builds the arrays over slices of it. Such a record aliases the buffer: everything taken from it (strings and byte
// slices too) is valid until its last Release, which gives the buffer back. Reader.Outstanding counts the buffers that
// are out, and WithHolderTrace tells who read them.
//
// # Types
//
// Integers, floats, bool, decimals, dates, times, timestamps, durations, intervals, fixed-size and variable-length
// binary and text (32 and 64-bit offsets), null, list, large list, fixed-size list, struct, map, and extension types
// over those. Dictionary, union, run-end-encoded and view types, and compressed bodies, are refused with
// ErrUnsupported, which names the column.
//
// # Trust
//
// Nothing that a peer sends is used before it is checked against the bytes that arrived: lengths, offsets, counts, the
// order of offsets, and null counts against their bitmaps. A broken stream gives an error, never a panic. A claimed
// length is not allocated before its bytes come: beyond about twice what was really sent, the reader takes at most 16
// MiB each for the metadata and the body of a message, and 32 MiB for the text of a schema. The content of values is
// not judged: text is not checked to be UTF-8, a decimal is not checked against its precision. The bytes of a body are
// private to the reader once read, so a peer cannot change them after the check, but for shared memory.
//
// # Shared memory
//
// Between two processes of one program, on Linux, bodies need not cross the connection: WithReadMemory and WithWriteMemory
// give the two sides memory that both have mapped. Such a stream is not a standard one any more, and what its bodies hold is
// not private to the reader: its writer has to be trusted with values, though not with lengths and places, which are copied
// before they are checked. SHARED.md says what it costs and gains.
//
// # Cancellation
//
// Calls block in the connection. To end one, close the connection or set a deadline on it: the call returns an error
// that wraps net.ErrClosed or os.ErrDeadlineExceeded, and the stream is over.
//
// The package never opens, closes or configures a connection, never starts a goroutine, never logs, and never puts a
// value of a column into an error.
package wire
