package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// captured is a request as somebody has written it down.
type captured struct {
	header http.Header
	body   []byte
	// notes are what was done to it to have the body that was sent.
	notes []string
}

// parseRequest reads a whole request: its lines, an empty one, and the body. The first line may be that of a request, of an
// answer, or a header already; lines end with LF or CRLF. What is behind a body of a known length does not belong to it.
func parseRequest(text []byte) (*captured, error) {
	head, body, ok := cutHead(text)
	if !ok {
		return nil, terminal.UsageFault("there is no empty line between the headers of the request and its body").
			WithHint("give a request as it was sent, or --headers FILE and --body FILE")
	}
	header, err := parseHeaders(head)
	if err != nil {
		return nil, err
	}
	c := &captured{header: header, body: body}
	return c, c.frame()
}

// cutHead splits at the first empty line.
func cutHead(text []byte) (head, body []byte, ok bool) {
	for at := 0; at < len(text); {
		end := bytes.IndexByte(text[at:], '\n')
		if end < 0 {
			return nil, nil, false
		}
		if len(bytes.TrimSuffix(text[at:at+end], []byte("\r"))) == 0 && at > 0 {
			return text[:at], text[at+end+1:], true
		}
		at += end + 1
	}
	return nil, nil, false
}

// parseHeaders reads lines of NAME: VALUE, one of which, the first, may be that of a request or an answer.
func parseHeaders(text []byte) (http.Header, error) {
	header := http.Header{}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimRight(line, "\r\n")
		name, value, ok := strings.Cut(line, ":")
		switch {
		case strings.TrimSpace(line) == "":
		case ok && token(name):
			header.Add(textproto.CanonicalMIMEHeaderKey(name), strings.Trim(value, " \t"))
		case number == 1 && strings.ContainsRune(line, ' '):
		default:
			return nil, terminal.UsageFault("line %d of the headers is no NAME: VALUE", number) // it may be a secret
		}
	}
	if len(header) == 0 {
		return nil, terminal.UsageFault("there is no header in what was given")
	}
	return header, nil
}

// token reports whether a text is the name of a header (RFC 9110, section 5.6.2).
func token(name string) bool {
	for _, c := range name {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", c)) {
			return false
		}
	}
	return name != ""
}

// frame takes the body out of what follows the headers, as they say.
func (c *captured) frame() error {
	if strings.EqualFold(c.header.Get("Transfer-Encoding"), "chunked") {
		body, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(c.body)))
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return terminal.UsageFault("the body was sent in chunks, and they cannot be read: %w", err)
		}
		if err != nil {
			c.notes = append(c.notes, "the last chunk of the body is missing")
		}
		c.body = body
		return nil
	}
	return c.trim()
}

// trim cuts off what is behind a body whose length is known.
func (c *captured) trim() error {
	text := c.header.Get("Content-Length")
	if text == "" {
		return nil
	}
	length, err := strconv.Atoi(text)
	if err != nil || length < 0 {
		return terminal.UsageFault("Content-Length is no number")
	}
	switch more := len(c.body) - length; {
	case more > 0:
		c.notes = append(c.notes, fmt.Sprintf("the body has %d bytes, as Content-Length says; what is behind it (%d) was left out", length, more))
		c.body = c.body[:length]
	case more < 0:
		c.notes = append(c.notes, fmt.Sprintf("the body has %d bytes, and Content-Length says %d: it is cut off, or was changed", len(c.body), length))
	}
	return nil
}
