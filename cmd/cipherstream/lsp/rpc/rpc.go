// Package rpc reads and writes the messages of JSON-RPC 2.0 over a pair of streams, each behind a header with its length,
// as the Language Server Protocol frames them (version 3.17, base protocol). It owns the frame, its limits and what a
// well-formed message is; it never knows a method.
package rpc

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// The limits of what is read, in bytes.
const (
	MaxHeader = 4 << 10
	// MaxBody is many times the largest pipeline. A longer message is passed over.
	MaxBody = 16 << 20
)

// The codes of errors: JSON-RPC 2.0, section 5.1, and the Language Server Protocol.
const (
	CodeParse          = -32700
	CodeInvalidRequest = -32600
	CodeUnknownMethod  = -32601
	CodeInvalidParams  = -32602
	CodeInternal       = -32603
	CodeNotInitialized = -32002
	CodeCancelled      = -32800
)

// Error is the error of a response.
type Error struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Message is a request (ID and Method), a notification (Method), or a response (ID, and Result or Error).
type Message struct {
	// ID is a JSON string or number. That of a response to what could not be read is null.
	ID     json.RawMessage
	Method string
	// Params and Result are JSON; nil when there are none.
	Params, Result json.RawMessage
	Error          *Error
}

// IsRequest reports whether the message wants a response.
func (m *Message) IsRequest() bool { return m.Method != "" && m.ID != nil }

// Reader reads messages.
type Reader struct{ r *bufio.Reader }

// NewReader makes a reader of a stream.
func NewReader(r io.Reader) *Reader { return &Reader{bufio.NewReaderSize(r, MaxHeader)} }

// Next returns the next message. The error is io.EOF at the end of the stream. It is an *Error when a frame was read
// that holds no message, or one that is too long: the next one can be read. After any other error it cannot.
func (r *Reader) Next() (*Message, error) {
	length, err := r.header()
	if err != nil {
		return nil, err
	}
	if length > MaxBody {
		if _, err := io.CopyN(io.Discard, r.r, length); err != nil {
			return nil, cut(err)
		}
		return nil, &Error{CodeInvalidRequest, fmt.Sprintf("a message of %d bytes is too long: at most %d are read", length, MaxBody)}
	}
	var body bytes.Buffer // grows with what comes, whatever was announced
	if _, err := io.CopyN(&body, r.r, length); err != nil {
		return nil, cut(err)
	}
	return parse(body.Bytes())
}

// cut is the error of a stream that ends within a message.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// header reads the header of a message and returns the length of its body.
func (r *Reader) header() (int64, error) {
	length, read := int64(-1), 0
	for {
		line, err := r.r.ReadSlice('\n')
		read += len(line)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) || read > MaxHeader:
			return 0, fmt.Errorf("the header of a message is longer than %d bytes", MaxHeader)
		case errors.Is(err, io.EOF) && read == 0:
			return 0, io.EOF
		case err != nil:
			return 0, cut(err)
		}
		text, whole := strings.CutSuffix(string(line), "\r\n")
		if !whole {
			return 0, errors.New("a line of a message's header ends without CR and LF")
		}
		if text == "" {
			break
		}
		name, value, is := strings.Cut(text, ":")
		if !is {
			return 0, fmt.Errorf("%.40q is no field of a message's header", text)
		}
		value = strings.Trim(value, " \t")
		switch strings.ToLower(name) {
		case "content-length":
			n, err := strconv.ParseUint(value, 10, 62)
			if err != nil || length >= 0 {
				return 0, fmt.Errorf("Content-Length: %.40q is no length, or a second one", value)
			}
			length = int64(n)
		case "content-type":
			if _, charset, is := strings.Cut(strings.ToLower(value), "charset="); is && charset != "utf-8" && charset != "utf8" {
				return 0, fmt.Errorf("messages are UTF-8, not %.40q", charset)
			}
		}
	}
	if length < 0 {
		return 0, errors.New("the header of a message has no Content-Length")
	}
	return length, nil
}

// wire is a message as JSON.
type wire struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *Error          `json:"error,omitempty"`
}

func parse(body []byte) (*Message, error) {
	var w wire
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, &Error{CodeParse, "the message is not JSON in UTF-8"}
	}
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, &Error{CodeInvalidRequest, "the message is no object of JSON-RPC"}
	}
	m := &Message{w.ID, w.Method, w.Params, w.Result, w.Error}
	switch first := append(bytes.Clone(w.ID), ' ')[0]; {
	case w.Version != "2.0":
		return nil, &Error{CodeInvalidRequest, "the message is not of JSON-RPC 2.0"}
	case w.ID != nil && first != '"' && first != '-' && (first < '0' || first > '9'):
		return nil, &Error{CodeInvalidRequest, "the id of a message is text or a number"}
	case w.Method == "" && w.ID == nil:
		return nil, &Error{CodeInvalidRequest, "the message has neither method nor id"}
	}
	return m, nil
}

// Writer writes messages, each in one piece. It is safe for concurrent use.
type Writer struct {
	mu sync.Mutex
	w  io.Writer
}

// NewWriter makes a writer to a stream.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes a message.
func (w *Writer) Write(m *Message) error {
	body, err := json.Marshal(wire{"2.0", m.ID, m.Method, m.Params, m.Result, m.Error})
	if err != nil {
		return err
	}
	frame := append(fmt.Appendf(nil, "Content-Length: %d\r\n\r\n", len(body)), body...)
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err = w.w.Write(frame)
	return err
}
