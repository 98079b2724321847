package rpc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// frame puts a body into a frame.
func frame(body string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body) }

func TestNext(t *testing.T) {
	t.Parallel()
	const ping = `{"jsonrpc":"2.0","method":"ping"}`
	for _, c := range []struct {
		name, stream string
		want         string // of every message its method, or the error
	}{
		{"nothing", "", "EOF"},
		{"two messages", frame(ping) + frame(`{"jsonrpc":"2.0","id":7,"method":"two","params":[1]}`), "ping, two 7 [1], EOF"},
		{"an id of text", frame(`{"jsonrpc":"2.0","id":"a","method":"x"}`), `x "a", EOF`},
		{"a response", frame(`{"jsonrpc":"2.0","id":-1,"result":null}`), ` -1, EOF`},
		{"other fields and case", "X-Other: y\r\ncontent-length: " + fmt.Sprint(len(ping)) + "\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n" + ping, "ping, EOF"},
		{"no JSON goes on", frame(`{`) + frame(ping), "-32700, ping, EOF"},
		{"not UTF-8", frame("\"\xff\""), "-32700, EOF"},
		{"a batch", frame(`[` + ping + `]`), "-32600, EOF"},
		{"another version", frame(`{"jsonrpc":"1.0","method":"x"}`), "-32600, EOF"},
		{"an id that is null", frame(`{"jsonrpc":"2.0","id":null,"method":"x"}`) + frame(ping), "-32600, ping, EOF"},
		{"an id that is a list", frame(`{"jsonrpc":"2.0","id":[1],"method":"x"}`), "-32600, EOF"},
		{"neither method nor id", frame(`{"jsonrpc":"2.0"}`), "-32600, EOF"},
		{"a number as method", frame(`{"jsonrpc":"2.0","method":5}`), "-32600, EOF"},
		{"too long", frame(strings.Repeat(" ", MaxBody+1)) + frame(ping), "-32600, ping, EOF"},
		{"no length", "Content-Type: x\r\n\r\n{}", "has no Content-Length"},
		{"a negative length", "Content-Length: -5\r\n\r\n", "is no length"},
		{"a length that overflows", "Content-Length: 99999999999999999999\r\n\r\n", "is no length"},
		{"two lengths", "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", "a second one"},
		{"a line feed alone", "Content-Length: 2\n\n{}", "without CR and LF"},
		{"no field", "Content-Length 2\r\n\r\n{}", "no field"},
		{"another charset", "Content-Length: 2\r\nContent-Type: x; charset=utf-16\r\n\r\n{}", "messages are UTF-8"},
		{"a header without end", strings.Repeat("X: y\r\n", MaxHeader), "is longer than"},
		{"a line without end", strings.Repeat("x", 2*MaxHeader), "is longer than"},
		{"cut in the header", "Content-Length: 5\r\n", "unexpected EOF"},
		{"cut in the body", "Content-Length: 5\r\n\r\n{", "unexpected EOF"},
		{"cut in a long body", fmt.Sprintf("Content-Length: %d\r\n\r\n{", MaxBody+1), "unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for r := NewReader(strings.NewReader(c.stream)); ; {
				m, err := r.Next()
				var e *Error
				switch {
				case errors.As(err, &e):
					got = append(got, fmt.Sprint(e.Code))
					continue
				case err != nil:
					got = append(got, err.Error())
				default:
					got = append(got, strings.TrimRight(fmt.Sprintf("%s %s %s", m.Method, m.ID, m.Params), " "))
					continue
				}
				break
			}
			if said := strings.Join(got, ", "); said != c.want && !(len(got) == 1 && strings.Contains(said, c.want)) {
				t.Errorf("%s, want %s", said, c.want)
			}
		})
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := NewWriter(&out).Write(&Message{ID: []byte("1"), Result: []byte("null")}); err != nil {
		t.Fatal(err)
	}
	if want := frame(`{"jsonrpc":"2.0","id":1,"result":null}`); out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// FuzzNext: whatever comes, reading ends, and what is read as a message can be written and read again.
func FuzzNext(f *testing.F) {
	f.Add([]byte(frame(`{"jsonrpc":"2.0","id":1,"method":"x","params":{}}`)))
	f.Add([]byte("Content-Length: 1000000000000\r\n\r\n{}"))
	f.Add([]byte("Content-Type: a;charset=utf8\r\nContent-Length: 4\r\n\r\nnull" + frame(`[]`)))
	f.Fuzz(func(t *testing.T, stream []byte) {
		for r := NewReader(bytes.NewReader(stream)); ; {
			m, err := r.Next()
			var e *Error
			if errors.As(err, &e) {
				continue
			}
			if err != nil {
				break
			}
			var out bytes.Buffer
			if err := NewWriter(&out).Write(m); err != nil {
				t.Fatal(err)
			}
			again := NewReader(&out)
			if n, err := again.Next(); err != nil || n.Method != m.Method || string(n.ID) == "" != (string(m.ID) == "") {
				t.Fatalf("%+v came back as %+v: %v", m, n, err)
			}
			if _, err := again.Next(); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
	})
}
