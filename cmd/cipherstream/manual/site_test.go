package manual

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/docs"
)

// get asks the site for a path.
func get(t *testing.T, s http.Handler, method, path string) (int, http.Header, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Header(), w.Body.String()
}

var hrefs = regexp.MustCompile(`(?:href|src)="([^"]*)"`)

// TestSite: every page is served as HTML that loads nothing from elsewhere and runs nothing, and every link on it to a
// page, and to a place on one, leads to one.
func TestSite(t *testing.T) {
	t.Parallel()
	s, err := newSite()
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{"/", "/search?q=certificate"}
	for _, p := range docs.Pages() {
		paths = append(paths, "/"+p.Topic)
	}
	for _, path := range paths {
		code, header, body := get(t, s, http.MethodGet, path)
		if code != http.StatusOK || header.Get("Content-Security-Policy") != policy || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d, %v", path, code, header)
		}
		if strings.Contains(body, "<script") || strings.Contains(body, "raw HTML omitted") || strings.Contains(body, ` style="`) {
			t.Errorf("%s has a script, raw HTML or a style of its own", path)
		}
		base, err := url.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range hrefs.FindAllStringSubmatch(body, -1) {
			to, err := base.Parse(m[1])
			if err != nil {
				t.Fatal(err)
			}
			if to.IsAbs() {
				continue
			}
			code, _, there := get(t, s, http.MethodGet, to.Path)
			if code != http.StatusOK || to.Fragment != "" && !strings.Contains(there, `id="`+to.Fragment+`"`) {
				t.Errorf("%s links to %s, which is not there", path, m[1])
			}
		}
	}
	if _, _, body := get(t, s, http.MethodGet, "/faults"); !strings.Contains(body, "<td><code>mysql.auth</code></td>") {
		t.Error("the table of faults is no table")
	}
	if _, header, body := get(t, s, http.MethodGet, "/style.css"); header.Get("Content-Type") != "text/css; charset=utf-8" || body != style {
		t.Errorf("the style sheet: %v", header)
	}
}

func TestSiteRefuses(t *testing.T) {
	t.Parallel()
	s, err := newSite()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path string
		code         int
		has          string
	}{
		{http.MethodGet, "/no-such-page", http.StatusNotFound, "no such page"},
		{http.MethodGet, "/../docs.go", http.StatusNotFound, "no such page"},
		{http.MethodPost, "/faults", http.StatusMethodNotAllowed, ""},
		{http.MethodGet, "/search?q=%3Cscript%3E", http.StatusOK, "<h1>&lt;script&gt;</h1>"},
		{http.MethodGet, "/search?q=zzzzzzz", http.StatusOK, "Nothing is found."},
		{http.MethodGet, "/search", http.StatusOK, "Nothing is found."},
	} {
		if code, header, body := get(t, s, c.method, c.path); code != c.code || !strings.Contains(body, c.has) || header.Get("Content-Security-Policy") != policy {
			t.Errorf("%s %s: %d, %.200s", c.method, c.path, code, body)
		}
	}
}

// TestServe: it answers on loopback until it is interrupted, and ends then.
func TestServe(t *testing.T) {
	s, err := newSite()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	err = serve(ctx, "127.0.0.1:0", s, func(url string) error {
		answer, err := client.Get(url + "faults")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if answer.StatusCode != http.StatusOK || !strings.Contains(string(body), "<h1") {
			t.Errorf("%d, %.80s", answer.StatusCode, body)
		}
		cancel()
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
