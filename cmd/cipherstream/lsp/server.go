package lsp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/lsp/rpc"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/config"
)

// server serves one client. Messages are read by a goroutine of their own, which hears of requests that are cancelled, and
// handled by another one after the other, so that an answer is about the text that the client had when it asked.
type server struct {
	engine *engine.Engine
	texts  *texts
	out    *rpc.Writer
	linter *linter

	// What the client has said of itself.
	encoding          string
	related, snippets bool
	state             state

	// What is asked for once, when it is needed first.
	pipelines, services func() *schemas
	stages              func() []offered

	mu      sync.Mutex
	running map[string]context.CancelFunc // requests that have no answer yet, by their id
	copies  string                        // the folder of what is copied out of the catalogue; empty before the first
}

// state is how far the conversation is.
type state int

const (
	starting state = iota // nothing is answered before initialize
	serving
	leaving // after shutdown, only exit is to come
)

func newServer(e *engine.Engine, t *texts, out io.Writer) *server {
	s := &server{engine: e, texts: t, out: rpc.NewWriter(out), running: map[string]context.CancelFunc{}}
	s.linter = newLinter(s.lint)
	s.pipelines = sync.OnceValue(func() *schemas { return newSchemas(e.Schema()) })
	s.services = sync.OnceValue(func() *schemas { return newSchemas(config.Schema()) })
	s.stages = sync.OnceValue(func() []offered { return offers(e) })
	return s
}

// incoming is a message, or what is wrong with one.
type incoming struct {
	*rpc.Message
	ctx context.Context // of a request: ends when it is cancelled
	err error
}

// errLeft is the error of a client that left without a word.
var errLeft = errors.New("the client has left without shutdown and exit")

// queued is how many messages wait, at most, for one that is handled.
const queued = 64

// serve serves until the client leaves, or ctx ends. It is nil after shutdown and exit.
func (s *server) serve(ctx context.Context, in io.Reader) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var linting sync.WaitGroup
	defer linting.Wait()
	defer stop(nil)
	linting.Go(func() { s.linter.run(ctx) })
	queue := make(chan incoming, queued)
	go s.read(ctx, in, queue)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case m := <-queue:
			done, err := s.handle(m)
			if done || err != nil {
				return err
			}
		}
	}
}

// read reads messages until the stream ends.
func (s *server) read(ctx context.Context, in io.Reader, queue chan<- incoming) {
	for r := rpc.NewReader(in); ; {
		m, err := r.Next()
		next := incoming{Message: m, err: err}
		if err == nil && m.Method == "$/cancelRequest" {
			s.cancel(m.Params)
			continue
		}
		if err == nil && m.IsRequest() {
			var cancel context.CancelFunc
			next.ctx, cancel = context.WithCancel(ctx)
			s.mu.Lock()
			s.running[string(m.ID)] = cancel
			s.mu.Unlock()
		}
		select {
		case queue <- next:
		case <-ctx.Done():
			return
		}
		if e := (*rpc.Error)(nil); err != nil && !errors.As(err, &e) {
			return
		}
	}
}

// cancel ends the context of a request.
func (s *server) cancel(params json.RawMessage) {
	var p struct {
		ID json.RawMessage `json:"id"`
	}
	if json.Unmarshal(params, &p) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.running[string(p.ID)]; cancel != nil {
		cancel()
	}
}

// handle handles a message. Done says that it was the last one.
func (s *server) handle(m incoming) (done bool, err error) {
	if m.err != nil {
		var e *rpc.Error
		switch {
		case errors.As(m.err, &e):
			return false, s.out.Write(&rpc.Message{ID: json.RawMessage("null"), Error: e})
		case errors.Is(m.err, io.EOF) && s.state == leaving:
			return true, nil
		case errors.Is(m.err, io.EOF):
			return true, errLeft
		}
		return true, m.err
	}
	switch {
	case m.Method == "exit":
		if s.state != leaving {
			return true, errLeft
		}
		return true, nil
	case m.IsRequest():
		return false, s.answer(m)
	case m.Method != "" && s.state == serving:
		return false, s.notified(m.Message)
	}
	return false, nil // a response: nothing was asked
}

// answer answers a request.
func (s *server) answer(m incoming) error {
	result, problem := s.result(m)
	s.mu.Lock()
	cancel := s.running[string(m.ID)]
	delete(s.running, string(m.ID))
	s.mu.Unlock()
	if m.ctx.Err() != nil {
		problem = &rpc.Error{Code: rpc.CodeCancelled, Message: "the request was cancelled"}
	}
	if cancel != nil {
		cancel()
	}
	answer := &rpc.Message{ID: m.ID, Error: problem}
	if problem == nil {
		encoded, err := json.Marshal(result)
		if err != nil {
			return err
		}
		answer.Result = encoded
	}
	return s.out.Write(answer)
}

// result is the result of a request, or what is wrong with it. A defect of ours ends that request only.
func (s *server) result(m incoming) (result any, problem *rpc.Error) {
	defer func() {
		if r := recover(); r != nil {
			result, problem = nil, &rpc.Error{Code: rpc.CodeInternal, Message: fmt.Sprintf("a defect of cipherstream: %s: %v", m.Method, r)}
		}
	}()
	switch {
	case m.ctx.Err() != nil:
		return nil, nil // answer says so
	case m.Method == "initialize" && s.state == starting:
		return decoded(m.Params, s.initialize)
	case s.state == starting:
		return nil, &rpc.Error{Code: rpc.CodeNotInitialized, Message: "initialize comes first"}
	case m.Method == "initialize" || s.state == leaving:
		return nil, &rpc.Error{Code: rpc.CodeInvalidRequest, Message: m.Method + " cannot come now"}
	case m.Method == "shutdown":
		s.state = leaving
		return nil, nil
	case m.Method == "textDocument/completion":
		return decoded(m.Params, s.complete)
	case m.Method == "textDocument/hover":
		return decoded(m.Params, s.hover)
	case m.Method == "textDocument/definition":
		return decoded(m.Params, s.definition)
	case m.Method == "textDocument/codeAction":
		return decoded(m.Params, s.actions)
	case m.Method == "textDocument/documentSymbol":
		return decoded(m.Params, s.symbols)
	}
	return nil, &rpc.Error{Code: rpc.CodeUnknownMethod, Message: fmt.Sprintf("there is no method %.100q", m.Method)}
}

// decoded gives parameters to what answers them.
func decoded[P any](params json.RawMessage, answer func(*P) (any, *rpc.Error)) (any, *rpc.Error) {
	var p P
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, &rpc.Error{Code: rpc.CodeInvalidParams, Message: "the parameters are not those of the method: " + err.Error()}
	}
	return answer(&p)
}

func (s *server) initialize(p *initializeParams) (any, *rpc.Error) {
	s.encoding = utf16Encoding
	if slices.Contains(p.Capabilities.General.PositionEncodings, utf8Encoding) {
		s.encoding = utf8Encoding
	}
	s.snippets = p.Capabilities.TextDocument.Completion.CompletionItem.SnippetSupport
	s.related = p.Capabilities.TextDocument.PublishDiagnostics.RelatedInformation
	s.state = serving
	return initializeResult{
		ServerInfo: serverInfo{"cipherstream", session.Version()},
		Capabilities: serverCapabilities{
			PositionEncoding: s.encoding,
			TextDocumentSync: textDocumentSync{OpenClose: true, Change: incremental, Save: true},
			HoverProvider:    true, DefinitionProvider: true, DocumentSymbolProvider: true,
			CodeActionProvider: codeActionOptions{[]string{quickFix}},
			CompletionProvider: completionOptions{[]string{":", " ", "{", ".", "/", `"`}},
		},
	}, nil
}

// notified handles a notification. One that cannot be understood is said to be so: it has no answer.
func (s *server) notified(m *rpc.Message) error {
	var problem *rpc.Error
	switch m.Method {
	case "textDocument/didOpen":
		_, problem = decoded(m.Params, s.opened)
	case "textDocument/didChange":
		_, problem = decoded(m.Params, s.changed)
	case "textDocument/didSave":
		s.linter.soon(s.texts.all())
	case "textDocument/didClose":
		_, problem = decoded(m.Params, s.closed)
	}
	if problem == nil {
		return nil
	}
	return s.notify("window/logMessage", logMessageParams{warningMessage, m.Method + ": " + problem.Message})
}

// notify sends a notification.
func (s *server) notify(method string, params any) error {
	encoded, err := json.Marshal(params)
	if err != nil {
		return err
	}
	return s.out.Write(&rpc.Message{Method: method, Params: encoded})
}

func (s *server) opened(p *didOpenParams) (any, *rpc.Error) {
	d := p.TextDocument
	f := &file{uri: d.URI, path: pathOf(d.URI), version: d.Version, text: newText(d.Text, s.encoding)}
	s.texts.put(f)
	s.linter.now(f)
	return nil, nil
}

func (s *server) changed(p *didChangeParams) (any, *rpc.Error) {
	old := s.texts.get(pathOf(p.TextDocument.URI))
	if old == nil {
		return nil, &rpc.Error{Code: rpc.CodeInvalidParams, Message: "the text is not open: " + p.TextDocument.URI}
	}
	changed := old.text
	for _, c := range p.ContentChanges {
		if c.Range == nil {
			changed = newText(c.Text, s.encoding)
		} else {
			changed = changed.edited(*c.Range, c.Text)
		}
	}
	s.texts.put(&file{uri: old.uri, path: old.path, version: p.TextDocument.Version, text: changed})
	s.linter.soon(s.texts.all()) // others may extend it
	return nil, nil
}

func (s *server) closed(p *didCloseParams) (any, *rpc.Error) {
	path := pathOf(p.TextDocument.URI)
	s.texts.remove(path)
	s.linter.forget(path)
	if err := s.notify(publish, publishDiagnosticsParams{URI: p.TextDocument.URI, Diagnostics: []Diagnostic{}}); err != nil {
		return nil, &rpc.Error{Code: rpc.CodeInternal, Message: err.Error()}
	}
	return nil, nil
}
