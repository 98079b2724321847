package api

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html"
	"io"
	"io/fs"
	"mime"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/swaggest/swgui/v5/static"
)

//go:embed guides
var guides embed.FS

// guide is a page of the documentation.
type guide struct{ Name, Title string }

// guideList are the pages in guides, in the order of the menu. The last two are made from the tables.
var guideList = []guide{
	{"first-extract", "First extract"}, {"jobs", "Jobs"}, {"incremental", "Incremental extracts"}, {"decrypt", "Decrypt an answer"},
	{"webhooks", "Webhooks"}, {"data-stream", "Data Stream"}, {"formats", "Formats and headers"}, {"errors", "Errors"},
}

// docsPolicy lets the pages load what comes from here, and talk to the API.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'"

// assets are what the pages load: the browser of the document, in the version that the library brings.
var assets = map[string]struct {
	from fs.FS
	file string
}{
	"swagger-ui.css":       {static.FS, "swagger-ui.css.gz"},
	"swagger-ui-bundle.js": {static.FS, "swagger-ui-bundle.js.gz"},
	"favicon-32x32.png":    {static.FS, "favicon-32x32.png"},
	"start.js":             {guides, "guides/start.js"},
	"style.css":            {guides, "guides/style.css"},
}

// documentation serves /docs: the browser of the document, and the guides.
func (a *API) documentation() error {
	fill, err := filling()
	if err != nil {
		return fmt.Errorf("api: the guides: %w", err)
	}
	page := func(pattern, name, title string) error {
		text, err := fill(name, title)
		if err != nil {
			return fmt.Errorf("api: the page %s: %w", name, err)
		}
		a.mux.HandleFunc(pattern, handler(func(x *exchange) *Error {
			x.w.Header().Set("Content-Security-Policy", a.policy())
			x.w.Header().Set("Referrer-Policy", "no-referrer")
			x.sendDocument("text/html; charset=utf-8", text)
			return nil
		}))
		return nil
	}
	for _, pattern := range []string{"GET /docs", "GET /docs/{$}"} {
		if err := page(pattern, browserPage, "API"); err != nil {
			return err
		}
	}
	for _, g := range guideList {
		if err := page("GET /docs/"+g.Name, g.Name, g.Title); err != nil {
			return err
		}
	}
	for name, asset := range assets {
		content, err := fs.ReadFile(asset.from, asset.file)
		if err != nil {
			return err
		}
		if strings.HasSuffix(asset.file, ".gz") {
			if content, err = gunzip(content); err != nil {
				return fmt.Errorf("api: %s: %w", asset.file, err)
			}
		}
		kind := mime.TypeByExtension(path.Ext(name))
		a.mux.HandleFunc("GET /docs/assets/"+name, handler(func(x *exchange) *Error {
			x.sendDocument(kind, content)
			return nil
		}))
	}
	return nil
}

// policy adds the servers of the document to what the pages may talk to.
func (a *API) policy() string {
	policy := docsPolicy
	for _, server := range a.Servers {
		if strings.HasPrefix(server, "http://") || strings.HasPrefix(server, "https://") {
			policy += " " + strings.TrimSuffix(server, "/")
		}
	}
	return policy
}

func gunzip(b []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// browserPage is the page of the browser of the document, and pageMark what is filled in in pages.
const browserPage = "browser"

var pageMark = regexp.MustCompile(`\{\{[^}]*\}\}`)

// filling returns what makes a page whole. Its marks, {{…}}, are the tables of this package, and the programs of guides/code. It is text in place of text, and not a template: html/template looks methods up by name, for whose
// sake the linker keeps every method of every type of the program.
func filling() (func(name, title string) ([]byte, error), error) {
	code := html.EscapeString
	var menu, errors, names, forms strings.Builder
	for _, g := range guideList {
		fmt.Fprintf(&menu, ` <a href="/docs/%s">%s</a>`, code(g.Name), code(g.Title))
	}
	for _, e := range table {
		status, again := strconv.Itoa(e.Status), ""
		if e.Code == ClientGone {
			status = ""
		}
		if e.Retryable {
			again = "yes"
		}
		fmt.Fprintf(&errors, "<tr id=\"%[1]s\"><td><code>%[1]s</code></td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n",
			code(string(e.Code)), status, code(e.Meaning), code(e.Suggestion), again)
	}
	for _, f := range formats {
		fmt.Fprintf(&names, "<tr><td><code>%s</code></td><td>%s</td></tr>\n", code(f.Name), code(f.Title))
	}
	for _, f := range streamForms() {
		entry := ""
		if f.Entry != "" {
			entry = "<code>{run}" + code(f.Entry) + "</code>"
		}
		fmt.Fprintf(&forms, "<tr><td>%s</td><td>%s</td><td>%t</td><td><code>%s</code></td><td>%s</td><td><code>{run}%s</code></td><td>%s</td></tr>\n",
			code(f.Format), code(f.Compression), f.Sealed, code(f.ContentType), code(f.ContentEncoding), code(f.Ending), entry)
	}
	marks := []string{"{{menu}}", menu.String(), "{{errors}}", errors.String(), "{{formats}}", names.String(), "{{forms}}", forms.String()}
	programs, err := fs.ReadDir(guides, "guides/code")
	if err != nil {
		return nil, err
	}
	for _, p := range programs {
		text, err := guideCode(p.Name())
		if err != nil {
			return nil, err
		}
		marks = append(marks, "{{code "+p.Name()+"}}", code(text))
	}
	return func(name, title string) ([]byte, error) {
		head, err := fs.ReadFile(guides, "guides/head.html")
		if err != nil {
			return nil, err
		}
		body, err := fs.ReadFile(guides, "guides/"+name+".html")
		if err != nil {
			return nil, err
		}
		style, heading := "", "<h1>"+code(title)+"</h1>"
		if name == browserPage {
			style, heading = `<link rel="stylesheet" href="/docs/assets/swagger-ui.css">`, ""
		}
		// What stands in place of a mark is not looked at again.
		page := strings.NewReplacer(append(marks, "{{title}}", code(title), "{{style}}", style, "{{heading}}", heading)...)
		whole := string(head) + string(body)
		for _, mark := range pageMark.FindAllString(whole, -1) {
			if page.Replace(mark) == mark {
				return nil, fmt.Errorf("nothing is known of %s", mark)
			}
		}
		return []byte(page.Replace(whole)), nil
	}, nil
}

// guideCode is a program of a guide, as it stands in guides/code, where the suite runs it.
func guideCode(name string) (string, error) {
	text, err := fs.ReadFile(guides, "guides/code/"+name)
	return string(text), err
}

func streamForms() (out []Form) {
	for _, f := range Forms() {
		if !f.Job {
			out = append(out, f)
		}
	}
	return out
}

func documentTag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}
