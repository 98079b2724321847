package docs_test

import (
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/docs"
)

// TestPages: every page has a title, a summary and a topic that finds it.
func TestPages(t *testing.T) {
	t.Parallel()
	pages := docs.Pages()
	if len(pages) < 2 {
		t.Fatalf("%d pages", len(pages))
	}
	for _, p := range pages {
		if !strings.HasPrefix(p.Text, "# ") || p.Title == "" || !strings.HasSuffix(p.Summary, ".") && !strings.HasSuffix(p.Summary, ":") {
			t.Errorf("%s.md does not begin with a title and a sentence: %q, %q", p.Topic, p.Title, p.Summary)
		}
		if found, ok := docs.Find(p.Topic); !ok || found.Topic != p.Topic {
			t.Errorf("%s is not found: %+v", p.Topic, found)
		}
	}
	if p, ok := docs.Find("no-such-page"); ok {
		t.Errorf("found %+v", p)
	}
}

// TestMeant: a page of a stage is found by its kind and name, and by its name alone where only one has it.
func TestMeant(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"stages/filter-where": "stages/filter-where", "filter-where": "stages/filter-where", "where": "stages/filter-where",
		"csv": "stages/encoder-csv stages/source-csv", "mysql-changes": "stages/source-mysql-changes", "faults": "faults", "changes": "", "": "",
	} {
		var topics []string
		for _, p := range docs.Meant(name) {
			topics = append(topics, p.Topic)
		}
		if got := strings.Join(topics, " "); got != want {
			t.Errorf("%q means %q, not %q", name, got, want)
		}
	}
}

func TestFindFault(t *testing.T) {
	t.Parallel()
	for code, heading := range map[string]string{"mysql.auth": "Source mysql", "changes.xa": "Data stream", "RATE_LIMITED": "Faults of the HTTP API"} {
		f, ok := docs.FindFault(code)
		if !ok || f.Heading != heading || f.Meaning == "" || f.Remedy == "" {
			t.Errorf("%s: %+v", code, f)
		}
	}
	if f, ok := docs.FindFault("code"); ok {
		t.Errorf("found %+v", f)
	}
	if f, _ := docs.FindFault("expression.failed"); !strings.Contains(f.Remedy, "|| …") {
		t.Errorf("a bar in a cell: %q", f.Remedy)
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	hits := docs.Search("CERTIFICATE", "pinned")
	if len(hits) < 2 {
		t.Fatalf("%+v", hits)
	}
	for _, h := range hits {
		if low := strings.ToLower(h.Text); !strings.Contains(low, "certificate") || !strings.Contains(low, "pinned") || h.Line < 1 || h.Heading == "" {
			t.Errorf("%+v", h)
		}
	}
	if hits := docs.Search("no such words anywhere"); len(hits) > 0 {
		t.Errorf("%+v", hits)
	}
}

func TestPlain(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a `b` **c** [d](e.md) f":  "a b c d f",
		`x \| y [z]`:               "x | y [z]",
		"[a [b](c)":                "a [b",
		"[open](":                  "[open](",
		"[a](http://x/y) and [b](": "a and [b](",
	} {
		if got := docs.Plain(in); got != want {
			t.Errorf("%q became %q, not %q", in, got, want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("a `b` [c](d)")
	f.Add("\\")
	f.Fuzz(func(t *testing.T, s string) {
		if got := docs.Plain(s); len(got) > len(s) {
			t.Errorf("%q became longer: %q", s, got)
		}
	})
}
