package manual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"log"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/docs"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// policy lets a page load the one style sheet from here, ask the search here, and nothing else: no script, no other host.
const policy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

const style = `body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:0 auto;padding:1rem;color:#1b1b1b;background:#fff}
nav{display:flex;gap:1rem;align-items:baseline;border-bottom:1px solid #ccc;padding-bottom:.5rem}
pre,code{font:14px/1.4 ui-monospace,monospace;background:#f4f4f4}pre{padding:.75rem;overflow-x:auto}
table{border-collapse:collapse;display:block;overflow-x:auto}td,th{border:1px solid #ccc;padding:.25rem .5rem;text-align:left;vertical-align:top}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}pre,code{background:#262626}a{color:#8ab4f8}}
`

// site is the documentation as HTML.
type site struct{ pages map[string][]byte }

// newSite renders all pages.
func newSite() (*site, error) {
	s := &site{pages: map[string][]byte{}}
	// The policy takes no style of a cell's own.
	tables := extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute))
	md := goldmark.New(goldmark.WithExtensions(tables),
		goldmark.WithParserOptions(parser.WithAutoHeadingID(), parser.WithASTTransformers(util.Prioritized(links{}, 100))))
	var index strings.Builder
	index.WriteString("<h1>CipherStream</h1>\n")
	folder := "."
	index.WriteString("<ul>\n")
	for _, p := range docs.Pages() {
		var b bytes.Buffer
		if err := md.Convert([]byte(p.Text), &b); err != nil {
			return nil, fmt.Errorf("the page %s: %w", p.Topic, err)
		}
		s.pages[p.Topic] = document(p.Title, b.String())
		if dir := path.Dir(p.Topic); dir != folder {
			folder = dir
			fmt.Fprintf(&index, "</ul>\n<h2>%s</h2>\n<ul>\n", html.EscapeString(dir))
		}
		fmt.Fprintf(&index, "<li><a href=\"/%s\">%s</a>: %s</li>\n",
			html.EscapeString(p.Topic), html.EscapeString(p.Title), html.EscapeString(p.Summary))
	}
	index.WriteString("</ul>\n")
	s.pages[""] = document("Documentation", index.String())
	return s, nil
}

// links has a link to a page's file lead to its topic.
type links struct{}

// Transform is goldmark's.
func (links) Transform(doc *ast.Document, _ text.Reader, _ parser.Context) {
	// The walker gives back no error but what this function gives.
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if l, ok := n.(*ast.Link); ok && entering && !bytes.Contains(l.Destination, []byte("://")) {
			file, anchor, found := strings.Cut(string(l.Destination), "#")
			file = strings.TrimSuffix(file, ".md")
			if found {
				file += "#" + anchor
			}
			l.Destination = []byte(file)
		}
		return ast.WalkContinue, nil
	})
}

// document is a page around its content.
func document(title, content string) []byte {
	return []byte(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>` + html.EscapeString(title) +
		`</title><link rel="stylesheet" href="/style.css"></head><body>
<nav><a href="/">Contents</a><form action="/search"><input type="search" name="q" aria-label="Search"> <button>Search</button></form></nav>
<main>
` + content + "</main></body></html>\n")
}

// ServeHTTP answers with a page, the list of pages, or what a search finds.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "this serves pages", http.StatusMethodNotAllowed)
		return
	}
	topic := strings.TrimPrefix(r.URL.Path, "/")
	h.Set("Content-Type", "text/html; charset=utf-8")
	content, ok := s.pages[topic]
	switch {
	case ok:
	case topic == "style.css":
		h.Set("Content-Type", "text/css; charset=utf-8")
		content = []byte(style)
	case topic == "search":
		content = found(r.URL.Query().Get("q"))
	default:
		w.WriteHeader(http.StatusNotFound)
		content = document("Not found", "<h1>There is no such page</h1>\n")
	}
	_, _ = w.Write(content) // a reader that went away is told nothing
}

// found is the page of a search.
func found(query string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "<h1>%s</h1>\n<ul>\n", html.EscapeString(query))
	var hits []docs.Hit
	if words := strings.Fields(query); len(words) > 0 {
		hits = docs.Search(words...)
	}
	for _, h := range hits {
		topic := html.EscapeString(h.Topic)
		fmt.Fprintf(&b, "<li><a href=\"/%s\">%s</a> (%s): %s</li>\n",
			topic, topic, html.EscapeString(h.Heading), html.EscapeString(docs.Plain(h.Text)))
	}
	b.WriteString("</ul>\n")
	if len(hits) == 0 {
		b.WriteString("<p>Nothing is found.</p>\n")
	}
	return document("Search", b.String())
}

// shutdownTime is how long requests that are being answered have when the command ends.
const shutdownTime = 2 * time.Second

// serve answers requests at a loopback address until ctx ends. Ready is called with the URL when it does.
func serve(ctx context.Context, address string, handler http.Handler, ready func(url string) error) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return terminal.UsageFault("--http is no address: %w", err).WithHint("write 127.0.0.1:8000")
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return terminal.UsageFault("--http serves this machine alone, and %q is no address of loopback", host).
			WithHint("write 127.0.0.1:8000")
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fault.New("docs.listen", fault.Connect, "nobody can listen on %s: %w", address, err).
			WithHint("give another port; 0 takes a free one")
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(listener) }()
	err = ready("http://" + listener.Addr().String() + "/")
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-serving:
			return err
		}
	}
	over, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if server.Shutdown(over) != nil {
		server.Close()
	}
	if ended := <-serving; !errors.Is(ended, http.ErrServerClosed) && err == nil {
		err = ended
	}
	return err
}
