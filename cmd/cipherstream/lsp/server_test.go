package lsp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/lsp/rpc"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/pipelines"
	"github.com/cipherstream/cipherstream/plugins/bundle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is an editor.
type client struct {
	t       *testing.T
	out     *rpc.Writer
	in      <-chan *rpc.Message
	close   func() // closes what the server reads
	ended   <-chan error
	last    int
	version map[string]int
	server  *server
	folder  string
}

// newServerFor makes a server that writes to out.
func newServerFor(t testing.TB, out io.Writer) *server {
	t.Helper()
	texts := newTexts()
	e, err := engine.New(t.Context(), engine.Config{FirstParty: bundle.Bundle("test"), Catalogue: pipelines.FS(), Open: texts.open})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return newServer(e, texts, out)
}

// connect starts a server and a client that has said nothing yet.
func connect(t *testing.T) *client {
	t.Helper()
	toServer, fromClient := io.Pipe()
	toClient, fromServer := io.Pipe()
	s := newServerFor(t, fromServer)
	ended := make(chan error, 1)
	go func() {
		err := s.serve(context.Background(), toServer)
		fromServer.Close()
		toServer.Close()
		ended <- err
	}()
	in := make(chan *rpc.Message)
	go func() {
		defer close(in)
		for r := rpc.NewReader(toClient); ; {
			m, err := r.Next()
			if err != nil {
				if e := (*rpc.Error)(nil); errors.As(err, &e) {
					panic(e)
				}
				return
			}
			in <- m
		}
	}()
	t.Cleanup(func() {
		fromClient.Close()
		for range in {
		}
	})
	return &client{t: t, out: rpc.NewWriter(fromClient), in: in, close: func() { fromClient.Close() }, ended: ended, version: map[string]int{}, server: s,
		folder: t.TempDir()}
}

// start is connect, and initialize with the capabilities of a client as JSON.
func start(t *testing.T, capabilities string) *client {
	t.Helper()
	c := connect(t)
	c.call("initialize", `{"processId":null,"rootUri":null,"capabilities":`+capabilities+`}`)
	c.notify("initialized", `{}`)
	return c
}

// everything is a client that can do all that is asked about.
const everything = `{"textDocument":{"publishDiagnostics":{"relatedInformation":true},"completion":{"completionItem":{"snippetSupport":true}},` +
	`"codeAction":{"codeActionLiteralSupport":{}}}}`

func (c *client) send(m *rpc.Message) {
	c.t.Helper()
	if err := c.out.Write(m); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) notify(method, params string) {
	c.t.Helper()
	c.send(&rpc.Message{Method: method, Params: json.RawMessage(params)})
}

// message is the next message for which want is true. Others are dropped.
func (c *client) message(want func(*rpc.Message) bool) *rpc.Message {
	c.t.Helper()
	for m := range c.in {
		if want(m) {
			return m
		}
	}
	c.t.Fatal("the server has left")
	return nil
}

// response asks, and returns what comes back.
func (c *client) response(method, params string) *rpc.Message {
	c.t.Helper()
	c.last++
	id := fmt.Sprint(c.last)
	c.send(&rpc.Message{ID: json.RawMessage(id), Method: method, Params: json.RawMessage(params)})
	return c.message(func(m *rpc.Message) bool { return string(m.ID) == id })
}

// call is response of what has a result.
func (c *client) call(method, params string) json.RawMessage {
	c.t.Helper()
	m := c.response(method, params)
	if m.Error != nil {
		c.t.Fatalf("%s: %v", method, m.Error)
	}
	return m.Result
}

// quoted is text in JSON.
func quoted(text string) string {
	encoded, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(encoded)
}

// uri is the URI of a file of the client's folder.
func (c *client) uri(name string) string { return uriOf(filepath.Join(c.folder, name)) }

// write puts a file into the client's folder.
func (c *client) write(name, content string) {
	c.t.Helper()
	path := filepath.Join(c.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) open(name, content string) {
	c.t.Helper()
	c.version[name] = 1
	c.notify("textDocument/didOpen", fmt.Sprintf(`{"textDocument":{"uri":%s,"languageId":"yaml","version":1,"text":%s}}`, quoted(c.uri(name)), quoted(content)))
}

// change changes a text: changes are contentChanges as JSON.
func (c *client) change(name, changes string) {
	c.t.Helper()
	c.version[name]++
	c.notify("textDocument/didChange", fmt.Sprintf(`{"textDocument":{"uri":%s,"version":%d},"contentChanges":%s}`, quoted(c.uri(name)), c.version[name], changes))
}

// published are the diagnostics of a text as it is now.
func (c *client) published(name string) (list []Diagnostic) {
	c.t.Helper()
	c.message(func(m *rpc.Message) bool {
		var p publishDiagnosticsParams
		if m.Method != publish {
			return false
		}
		if err := json.Unmarshal(m.Params, &p); err != nil {
			c.t.Fatal(err)
		}
		list = p.Diagnostics
		return p.URI == c.uri(name) && p.Version != nil && *p.Version == c.version[name]
	})
	return list
}

// shownAs writes diagnostics as one line each.
func shownAs(list []Diagnostic) string {
	var b strings.Builder
	for _, d := range list {
		r := d.Range
		fmt.Fprintf(&b, "%d:%d-%d:%d %d %s: %s\n", r.Start.Line, r.Start.Character, r.End.Line, r.End.Character, d.Severity, d.Code, strings.ReplaceAll(d.Message, "\n", " | "))
		for _, r := range d.RelatedInformation {
			fmt.Fprintf(&b, "  %s:%d:%d: %s\n", filepath.Base(pathOf(r.Location.URI)), r.Location.Range.Start.Line, r.Location.Range.Start.Character, r.Message)
		}
	}
	return b.String()
}

const pipeline = `apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: visits, title: "Visits 🦷", clas: data}
spec:
  extends: data
  stages:
    source:
      use: mysql
      with: {call: appointments, args: ["${params.from_dat}"]}
  columns:
    - {name: id, type: int64}
    - {name: id, type: string}
    - {name: x, type: bigint}
`

func TestDiagnostics(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, content, want string }{
		{"a pipeline", "visits.yaml", pipeline, `2:45-2:49 1 document.unknown_key: unknown key "clas" in metadata | did you mean "class"?
8:41-8:59 1 reference.unknown_parameter: no parameter "from_dat" is declared | did you mean "from_date"?
11:13-11:15 1 document.duplicate_name: column "id" is declared twice
  visits.yaml:10:13: the first one is here
12:22-12:28 1 document.not_allowed: no column type is called "bigint" | did you mean "int64"?
`},
		{"no YAML", "visits.yaml", "apiVersion: cipherstream/v1\nkind: Pipeline\nmetadata: {name: a\n", "2:11-2:12 1 yaml.syntax: did not find expected ',' or '}' | the mapping that was opened with { must be closed; text with { } [ ] , in it must stand in quotes\n  visits.yaml:1:0: what is being read here began about there\n"},
		{"a mark in front", "visits.yaml", "\ufeffapiVersion: cipherstream/v2\nkind: Template\nmetadata: {name: a}\nspec: {}\n", "0:13-0:28 1 document.version: expected apiVersion cipherstream/v1, not cipherstream/v2 | did you mean \"cipherstream/v1\"?\n"},
		{"a test", "visits.test.yaml", "apiVersion: cipherstream/v1\nkind: Test\npipeline: appointments\ncases:\n  - {name: a, rows: [{appointment: 1}], expect: {rows: []}}\n",
			`4:22-4:33 1 test.unknown_column: the rows have no column "appointment" | did you mean "appointment_id"?` + "\n"},
		{"a service", "service.yaml", "apiVersion: cipherstream/v1\nkind: Service\nmetadata: {name: a}\nspec: {stat: x}\n", "3:7-3:11 1 document.unknown_key: unknown key \"stat\"; known: admin, "},
		{"of others", "tekton.yaml", "apiVersion: tekton.dev/v1\nkind: Pipeline\nmetadata: {nam: x}\n", ""},
		{"nothing", "empty.yaml", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client := start(t, everything)
			client.open(c.file, c.content)
			got := shownAs(client.published(c.file))
			if got != c.want && !(c.name == "a service" && strings.HasPrefix(got, c.want[:40])) {
				t.Errorf("%s\nwant\n%s", got, c.want)
			}
			if list, ok := lintOnDisk(t, client, c.file, c.content); ok && len(list) != strings.Count(got, "\n")-strings.Count(got, "\n  ") {
				t.Errorf("lint finds %d: %v", len(list), list)
			}
		})
	}
}

// lintOnDisk is what lint finds in a pipeline that is a file.
func lintOnDisk(t *testing.T, c *client, name, content string) (diag.List, bool) {
	t.Helper()
	if !strings.HasPrefix(name, "visits.y") {
		return nil, false
	}
	folder := t.TempDir()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return c.server.engine.LintFile(path), true
}

// TestSync: positions are what they are for the client, and a text is what its changes make of it.
func TestSync(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		encoding, capabilities string
		column                 int // of clas, behind a tooth, which is 2 units of UTF-16 and 4 of UTF-8
	}{
		{utf16Encoding, `{}`, 45},
		{utf8Encoding, `{"general":{"positionEncodings":["utf-8","utf-16"]}}`, 47},
	} {
		t.Run(c.encoding, func(t *testing.T) {
			t.Parallel()
			client := connect(t)
			result := client.call("initialize", `{"capabilities":`+c.capabilities+`}`)
			if !strings.Contains(string(result), `"positionEncoding":"`+c.encoding+`"`) {
				t.Errorf("%s", result)
			}
			content := strings.ReplaceAll(pipeline, "\n", "\r\n")
			client.open("visits.yaml", content)
			if got := client.published("visits.yaml"); len(got) != 4 || got[0].Range.Start.Character != c.column {
				t.Errorf("%+v", got)
			}
			// Mended from the end, so that the places stay; the last one by itself.
			client.change("visits.yaml", `[{"range":{"start":{"line":11,"character":4},"end":{"line":13,"character":0}},"text":""},
				{"range":{"start":{"line":8,"character":58},"end":{"line":8,"character":58}},"text":"e"}]`)
			client.change("visits.yaml", fmt.Sprintf(`[{"range":{"start":{"line":2,"character":%d},"end":{"line":2,"character":%d}},"text":"s"}]`, c.column+4, c.column+4))
			if got := client.published("visits.yaml"); len(got) != 0 {
				t.Errorf("%s", shownAs(got))
			}
			client.change("visits.yaml", `[{"text":"apiVersion: cipherstream/v1\nkind: Pipelin\nmetadata: {name: a}\nspec: {}\n"}]`)
			if got := client.published("visits.yaml"); len(got) != 1 || got[0].Code != "document.not_allowed" {
				t.Errorf("%s", shownAs(got))
			}
		})
	}
}

// TestExtends: what is wrong in a file that another extends is seen in both, as the editor has them; and nothing of a
// text that was closed.
func TestExtends(t *testing.T) {
	t.Parallel()
	c := start(t, everything)
	base := "apiVersion: cipherstream/v1\nkind: Template\nmetadata: {name: base}\nspec: {extends: output, drift: ignored}\n"
	c.write("base.yaml", strings.Replace(base, "ignored", "ignore", 1))
	c.open("child.yaml", "apiVersion: cipherstream/v1\nkind: Template\nmetadata: {name: child}\nspec: {extends: ./base.yaml}\n")
	if got := c.published("child.yaml"); len(got) != 0 {
		t.Errorf("%s", shownAs(got))
	}
	c.open("base.yaml", base)
	if got := c.published("base.yaml"); len(got) != 1 {
		t.Errorf("%s", shownAs(got))
	}
	c.version["child.yaml"] = 1
	c.notify("textDocument/didSave", `{}`)
	want := "3:16-3:27 1 document.not_allowed: " + filepath.Join(c.folder, "base.yaml") + ":4:32: \"ignored\" is not one of fail, warn, ignore | did you mean \"ignore\"?\n  base.yaml:3:31: it is here\n"
	if got := shownAs(c.published("child.yaml")); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	c.notify("textDocument/didClose", `{"textDocument":{"uri":`+quoted(c.uri("base.yaml"))+`}}`)
	m := c.message(func(m *rpc.Message) bool { return strings.Contains(string(m.Params), `"diagnostics":[]`) })
	if !strings.Contains(string(m.Params), "base.yaml") || strings.Contains(string(m.Params), "version") {
		t.Errorf("%s", m.Params)
	}
}

func TestLifecycle(t *testing.T) {
	t.Parallel()
	code := func(m *rpc.Message) int {
		if m.Error == nil {
			return 0
		}
		return m.Error.Code
	}
	c := connect(t)
	c.notify("textDocument/didOpen", `{}`)
	for _, step := range []struct {
		method, params string
		code           int
	}{
		{"textDocument/hover", `{}`, rpc.CodeNotInitialized},
		{"initialize", `[]`, rpc.CodeInvalidParams},
		{"initialize", `{"capabilities":{}}`, 0},
		{"initialize", `{"capabilities":{}}`, rpc.CodeInvalidRequest},
		{"workspace/nothing", `null`, rpc.CodeUnknownMethod},
		{"shutdown", `null`, 0},
		{"workspace/nothing", `null`, rpc.CodeInvalidRequest},
	} {
		if got := code(c.response(step.method, step.params)); got != step.code {
			t.Errorf("%s: %d, want %d", step.method, got, step.code)
		}
	}
	c.notify("exit", `null`)
	for range c.in {
	}
	if err := <-c.ended; err != nil {
		t.Error(err)
	}

	for name, leave := range map[string]func(*client){
		"exit":           func(c *client) { c.notify("exit", `null`) },
		"without a word": func(c *client) { c.close() },
	} {
		c := start(t, `{}`)
		leave(c)
		for range c.in {
		}
		if err := <-c.ended; !errors.Is(err, errLeft) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMisunderstood: what is no message, or not what its method takes, is said and ends nothing.
func TestMisunderstood(t *testing.T) {
	t.Parallel()
	c := start(t, `{}`)
	c.send(&rpc.Message{ID: json.RawMessage(`"x"`), Params: json.RawMessage(`1`)})
	c.notify("textDocument/didChange", `{"textDocument":{"uri":"file:///nowhere.yaml","version":2},"contentChanges":[]}`)
	if m := c.message(func(m *rpc.Message) bool { return m.Method == "window/logMessage" }); !strings.Contains(string(m.Params), "is not open") {
		t.Errorf("%s", m.Params)
	}
	c.notify("textDocument/didOpen", `{"textDocument":5}`)
	if m := c.message(func(m *rpc.Message) bool { return m.Method == "window/logMessage" }); !strings.Contains(string(m.Params), "not those of the method") {
		t.Errorf("%s", m.Params)
	}
	c.notify("$/setTrace", `{"value":"off"}`)
	c.call("shutdown", `null`)
}

// TestHostileFiles: what would take for ever is not begun.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	c := start(t, everything)
	if err := mkfifo(filepath.Join(c.folder, "pipe.yaml")); err != nil {
		t.Skip("there are no named pipes: ", err)
	}
	const head = "apiVersion: cipherstream/v1\nkind: Pipeline\nmetadata: {name: a}\n"
	for name, want := range map[string]string{
		head + "spec: {extends: ./pipe.yaml}\n":                            "it is no regular file",
		head + "spec: {x: \"" + strings.Repeat("x", 2<<20) + "\"}\n":       "larger than",
		head + "spec: " + strings.Repeat("[", 100_000) + "\n":              "yaml.",
		head + "spec:\n" + strings.Repeat("  a: {b: &x [*x, *x]}\n", 2000): "yaml.",
	} {
		c.open("hostile.yaml", name)
		if got := shownAs(c.published("hostile.yaml")); !strings.Contains(got, want) {
			t.Errorf("%.300s\nwant\n%s", got, want)
		}
	}
}

// TestCancelled: a request that is cancelled while it waits is answered as that.
func TestCancelled(t *testing.T) {
	t.Parallel()
	s := &server{running: map[string]context.CancelFunc{}}
	ctx, cancel := context.WithCancel(t.Context())
	s.running["7"] = cancel
	s.cancel(json.RawMessage(`{"id":"7"}`))
	s.cancel(json.RawMessage(`[`))
	if ctx.Err() != nil {
		t.Fatal("another request was cancelled")
	}
	s.cancel(json.RawMessage(`{"id":7}`))
	if ctx.Err() == nil {
		t.Fatal("it was not cancelled")
	}
	r, w := io.Pipe()
	s.out = rpc.NewWriter(w)
	go func() {
		_ = s.answer(incoming{Message: &rpc.Message{ID: json.RawMessage("7"), Method: "shutdown"}, ctx: ctx})
	}()
	if m, err := rpc.NewReader(r).Next(); err != nil || m.Error == nil || m.Error.Code != rpc.CodeCancelled || s.state != starting {
		t.Errorf("%+v: %v", m, err)
	}
}

// TestPause: who types is not looked at, and then once.
func TestPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		looked := map[string][]time.Duration{}
		began := time.Now()
		var l *linter
		a, b := &file{path: "a"}, &file{path: "b"}
		l = newLinter(func(path string) {
			looked[path] = append(looked[path], time.Since(began))
			if path == "b" && len(looked[path]) == 1 {
				l.soon([]*file{b}) // it changes while it is looked at
			}
		})
		done := make(chan struct{})
		go func() {
			l.run(ctx)
			close(done)
		}()
		l.now(b)
		for range 10 {
			l.soon([]*file{a})
			time.Sleep(pause / 2)
		}
		l.soon([]*file{a, b})
		l.forget("b")
		time.Sleep(time.Hour)
		cancel()
		<-done
		if got, want := fmt.Sprint(looked), fmt.Sprint(map[string][]time.Duration{"a": {6 * pause}, "b": {0, pause}}); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}
