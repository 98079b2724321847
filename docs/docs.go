// Package docs holds the documentation that the program prints and serves: one page for every topic, in Markdown, and the
// table of faults. It owns the pages and how they are found; it never renders them, and never runs anything.
//
// A page is a file NAME.md of this folder or of one below it. It begins with its title, "# …", and a paragraph that says
// what it is about. A new file is a new topic: nothing lists them elsewhere.
package docs

import (
	"embed"
	"io/fs"
	"path"
	"slices"
	"strings"
)

//go:embed *.md */*.md
var files embed.FS

// Page is one topic.
type Page struct {
	// Topic is how it is asked for: the path of its file without ".md", such as "faults" or "stages/mysql".
	Topic string
	Title string
	// Summary is the first sentence, without marks of Markdown.
	Summary string
	// Text is the whole page in Markdown.
	Text string
}

// Pages are all topics: those of the folder, and then those of the folders below, each by their names.
func Pages() []Page {
	var pages []Page
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := files.ReadFile(name)
		if err == nil {
			pages = append(pages, page(strings.TrimSuffix(name, ".md"), string(text)))
		}
		return err
	})
	if err != nil {
		panic(err) // what is embedded can be read
	}
	slices.SortStableFunc(pages, func(a, b Page) int {
		if c := strings.Compare(path.Dir(a.Topic), path.Dir(b.Topic)); c != 0 {
			return c
		}
		return strings.Compare(a.Topic, b.Topic)
	})
	return pages
}

func page(topic, text string) Page {
	title, rest, _ := strings.Cut(text, "\n")
	paragraph, _, _ := strings.Cut(strings.TrimSpace(rest), "\n\n")
	paragraph = Plain(strings.Join(strings.Fields(paragraph), " "))
	if i := strings.Index(paragraph, ". "); i > 0 {
		paragraph = paragraph[:i+1]
	}
	return Page{Topic: topic, Title: Plain(strings.TrimPrefix(title, "# ")), Summary: paragraph, Text: text}
}

// Find is the page of a topic.
func Find(topic string) (Page, bool) {
	for _, p := range Pages() {
		if p.Topic == topic {
			return p, true
		}
	}
	return Page{}, false
}

// Meant are the pages that a reader may mean by a name: the one of that topic, and otherwise those whose last part it
// is, such as filter-where, also without the kind of stage that it begins with: where.
func Meant(name string) []Page {
	if p, ok := Find(name); ok {
		return []Page{p}
	}
	var found []Page
	for _, p := range Pages() {
		last := path.Base(p.Topic)
		_, ofKind, _ := strings.Cut(last, "-")
		if last == name || last != p.Topic && ofKind == name {
			found = append(found, p)
		}
	}
	return found
}

// Hit is a line in which a word was found.
type Hit struct {
	Topic string `json:"topic"`
	// Heading is the last one before the line.
	Heading string `json:"heading"`
	// Line counts from 1; Text is that line.
	Line int    `json:"line"`
	Text string `json:"text"`
}

// Search finds the lines that hold all the words, in any order and without regard to capitals. A heading that does
// counts as a line.
func Search(words ...string) []Hit {
	var hits []Hit
	for _, p := range Pages() {
		heading, n := p.Title, 0
		for line := range strings.Lines(p.Text) {
			n++
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "#") {
				heading = Plain(strings.TrimSpace(strings.TrimLeft(line, "#")))
			}
			low := strings.ToLower(line)
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(low, strings.ToLower(w)) }) {
				hits = append(hits, Hit{p.Topic, heading, n, line})
			}
		}
	}
	return hits
}

// Plain is a line of Markdown without its marks: code, emphasis and the addresses of links.
func Plain(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		switch {
		case s[0] == '`' || s[0] == '*':
			s = s[1:]
		case s[0] == '\\' && len(s) > 1:
			b.WriteByte(s[1])
			s = s[2:]
		case s[0] == '[':
			text, rest, ok := strings.Cut(s[1:], "](")
			address, after, closed := strings.Cut(rest, ")")
			if ok && closed && !strings.ContainsAny(address, " \n") && !strings.Contains(text, "]") {
				b.WriteString(Plain(text))
				s = after
				continue
			}
			fallthrough
		default:
			b.WriteByte(s[0])
			s = s[1:]
		}
	}
	return b.String()
}
