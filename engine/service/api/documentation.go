package api

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"mime"
	"path"
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
	{"webhooks", "Webhooks"}, {"formats", "Formats and headers"}, {"errors", "Errors"},
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
	pages, err := template.New("").Funcs(template.FuncMap{"code": guideCode}).ParseFS(guides, "guides/*.html")
	if err != nil {
		return fmt.Errorf("api: the guides: %w", err)
	}
	page := func(pattern, name, title string) error {
		var b bytes.Buffer
		body := map[string]any{"Title": title, "Guides": guideList, "Page": name, "Errors": table, "Forms": streamForms(), "Formats": formats}
		if err := pages.ExecuteTemplate(&b, "head.html", body); err != nil {
			return err
		}
		if err := pages.ExecuteTemplate(&b, name+".html", body); err != nil {
			return err
		}
		text := b.Bytes()
		a.mux.HandleFunc(pattern, handler(func(x *exchange) *Error {
			x.w.Header().Set("Content-Security-Policy", a.policy())
			x.w.Header().Set("Referrer-Policy", "no-referrer")
			x.sendDocument("text/html; charset=utf-8", text)
			return nil
		}))
		return nil
	}
	for _, pattern := range []string{"GET /docs", "GET /docs/{$}"} {
		if err := page(pattern, "browser", "API"); err != nil {
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
