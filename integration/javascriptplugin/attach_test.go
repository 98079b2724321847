package javascriptplugin

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/examplebundle"
)

// inspector speaks the DevTools protocol with a process of Node.js, as editors and browsers do: JSON in text frames of
// a WebSocket (RFC 6455), with those of threads wrapped.
type inspector struct {
	testing.TB
	net.Conn
	r     *bufio.Reader
	calls int
}

// message is one of the protocol.
type message struct {
	Method string          `json:"method"`
	ID     int             `json:"id"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

func newInspector(t testing.TB, ctx context.Context, at string) *inspector {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	context.AfterFunc(ctx, func() { conn.Close() })
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", u.Path, u.Host)
	r := bufio.NewReader(conn)
	if answer, err := http.ReadResponse(r, nil); err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%+v, %v", answer, err)
	}
	return &inspector{TB: t, Conn: conn, r: r}
}

// send writes a call, and returns its number.
func (i *inspector) send(method string, params any) int {
	i.Helper()
	i.calls++
	text, err := json.Marshal(map[string]any{"id": i.calls, "method": method, "params": params})
	if err != nil {
		i.Fatal(err)
	}
	const final, masked = 0x81, 0x80
	frame := binary.BigEndian.AppendUint16([]byte{final, masked | 126}, uint16(len(text)))
	if _, err := i.Write(append(append(frame, 0, 0, 0, 0), text...)); err != nil { // a mask of zeros
		i.Fatal(err)
	}
	return i.calls
}

// next reads a message.
func (i *inspector) next() (m message) {
	i.Helper()
	var head [2]byte
	_, err := io.ReadFull(i.r, head[:])
	size := uint64(head[1])
	if more := map[uint64]int{126: 2, 127: 8}[size]; err == nil && more > 0 {
		long := make([]byte, 8)
		_, err = io.ReadFull(i.r, long[8-more:])
		size = binary.BigEndian.Uint64(long)
	}
	if err == nil && size > 16<<20 {
		err = fmt.Errorf("a frame of %d bytes", size)
	}
	var text []byte
	if err == nil {
		text = make([]byte, size)
		_, err = io.ReadFull(i.r, text)
	}
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		i.Fatalf("the inspector: %v", err)
	}
	return m
}

// thread is the thread of the stages.
type thread struct {
	*inspector
	session string
}

// stages has the process go on, which waits for a debugger, until it begins the thread of the stages, which waits as
// well.
func (i *inspector) stages() *thread {
	i.send("NodeWorker.enable", map[string]any{"waitForDebuggerOnStart": true})
	goOn := func() int { return i.send("Runtime.runIfWaitingForDebugger", map[string]any{}) }
	for asked := goOn(); ; {
		var begun struct {
			SessionID string `json:"sessionId"`
		}
		switch m := i.next(); {
		case m.Method == "NodeWorker.attachedToWorker" && json.Unmarshal(m.Params, &begun) == nil:
			return &thread{i, begun.SessionID}
		case m.ID == asked:
			// A process that is asked before it waits, which it does some time after it listens, answers and waits all the same.
			<-time.After(100 * time.Millisecond)
			asked = goOn()
		}
	}
}

func (s *thread) send(id int, method string, params any) {
	s.Helper()
	text, err := json.Marshal(map[string]any{"id": id, "method": method, "params": params})
	if err != nil {
		s.Fatal(err)
	}
	s.inspector.send("NodeWorker.sendMessageToWorker", map[string]any{"sessionId": s.session, "message": string(text)})
}

// await reads what the thread says until something is what is wanted.
func (s *thread) await(wanted func(m message) bool) message {
	s.Helper()
	for {
		var wrapped struct{ Message string }
		m := s.next()
		if m.Method != "NodeWorker.receivedMessageFromWorker" || json.Unmarshal(m.Params, &wrapped) != nil {
			continue
		}
		var of message
		if err := json.Unmarshal([]byte(wrapped.Message), &of); err != nil || of.Error != nil {
			s.Fatalf("the thread says %s", wrapped.Message)
		}
		if wanted(of) {
			return of
		}
	}
}

// TestAttach debugs a stage as sdk/javascript/README.md says, with the command that the run prints, as an editor does. It
// runs before those that run beside each other: under the inspector, modules take their time.
func TestAttach(t *testing.T) {
	examplebundle.Attach(t, bundle(t), "stage_filter.mjs", func(ctx context.Context, d examplebundle.Debugged) {
		text, err := os.ReadFile(d.Stage)
		if err != nil {
			t.Fatal(err)
		}
		before, _, found := strings.Cut(string(text), "    return replaced(batch")
		command := strings.Replace(d.Debugger, " --inspect-brk ", " --inspect-brk=127.0.0.1:0 ", 1) // any port that is free
		if !found || command == d.Debugger {
			t.Fatalf("the filter has no such line, or the run prints %s:\n%s", d.Debugger, text)
		}
		shell := exec.CommandContext(ctx, "sh", "-c", "exec env "+command)
		said, err := shell.StderrPipe()
		if err == nil {
			err = shell.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		listening := regexp.MustCompile(`^Debugger listening on (ws://\S+)$`)
		for lines := bufio.NewScanner(said); lines.Scan(); {
			log.WriteString(lines.Text() + "\n")
			if at := listening.FindStringSubmatch(lines.Text()); at != nil {
				stopAt(t, ctx, at[1], strings.Count(before, "\n"))
			}
		}
		err = shell.Wait()
		for _, says := range []string{"clinic: attached; waiting for the run to begin", "clinic: the run has ended"} {
			if !strings.Contains(log.String(), says) {
				t.Errorf("it does not say %q", says)
			}
		}
		if err != nil || t.Failed() {
			t.Errorf("%v\n%s", err, log.String())
		}
	})
}

// stopAt sets a breakpoint in the filter, at a line counted from 0, looks at a value where it stops, and lets it go on.
func stopAt(t *testing.T, ctx context.Context, at string, line int) {
	t.Helper()
	i := newInspector(t, ctx, at)
	defer i.Close()
	s := i.stages()
	s.send(1, "Debugger.enable", map[string]any{})
	s.send(2, "Debugger.setBreakpointByUrl", map[string]any{"urlRegex": `.*/stage_filter\.mjs$`,
		"lineNumber": line})
	s.send(3, "Runtime.runIfWaitingForDebugger", map[string]any{})
	var stop struct {
		CallFrames []struct {
			CallFrameID string `json:"callFrameId"`
			Function    string `json:"functionName"`
		} `json:"callFrames"`
		Breakpoints []string `json:"hitBreakpoints"`
	}
	s.await(func(m message) bool {
		if m.Method != "Debugger.paused" || json.Unmarshal(m.Params, &stop) != nil || len(stop.CallFrames) == 0 {
			return false
		}
		if len(stop.Breakpoints) == 0 { // the thread stops where it begins, too
			s.send(6, "Debugger.resume", map[string]any{})
		}
		return len(stop.Breakpoints) > 0
	})
	s.send(4, "Debugger.evaluateOnCallFrame", map[string]any{"callFrameId": stop.CallFrames[0].CallFrameID,
		"expression": "this.column"})
	answer := s.await(func(m message) bool { return m.ID == 4 })
	function := stop.CallFrames[0].Function
	if function != "apply" || !strings.Contains(string(answer.Result), `"value":"line"`) {
		t.Errorf("it stops in %s, where this.column is %s", function, answer.Result)
	}
	s.send(5, "Debugger.disable", map[string]any{})
	s.await(func(m message) bool { return m.ID == 5 })
}

// TestAttachTooLate: who starts the process when no run waits for it is told.
func TestAttachTooLate(t *testing.T) {
	t.Parallel()
	examplebundle.AttachTooLate(t, bundle(t))
}
