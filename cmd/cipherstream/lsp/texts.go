package lsp

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/lsp/outline"
)

// file is a version of a text that is open. It does not change.
type file struct {
	uri, path string
	version   int
	*text
}

// outline is how the text is meant, as far as a document can be long.
func (f *file) outline() *outline.Node {
	return outline.Parse(f.content[:min(len(f.content), longest)])
}

// texts are the files that the editor has open, as it has them. It is safe for concurrent use.
type texts struct {
	mu     sync.Mutex
	byPath map[string]*file
}

func newTexts() *texts { return &texts{byPath: map[string]*file{}} }

// pathOf is the path of a URI. What has no file yet is called by its URI.
func pathOf(uri string) string {
	if u, err := url.Parse(uri); err == nil && u.Scheme == "file" && u.Path != "" {
		return filepath.Clean(filepath.FromSlash(u.Path))
	}
	return filepath.Clean(uri)
}

// uriOf is the URI of a file.
func uriOf(path string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
}

// get is the text at a path, nil when it is not open.
func (t *texts) get(path string) *file {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byPath[path]
}

func (t *texts) put(f *file) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byPath[f.path] = f
}

func (t *texts) remove(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byPath, path)
}

// all are the texts that are open.
func (t *texts) all() []*file {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*file, 0, len(t.byPath))
	for _, f := range t.byPath {
		all = append(all, f)
	}
	return all
}

// errNoFile keeps what a document names from being opened when that could take for ever: a pipe, a device.
var errNoFile = errors.New("it is no regular file")

// open opens a file as the editor has it, or else as it is on disk.
func (t *texts) open(path string) (fs.File, error) {
	if f := t.get(filepath.Clean(path)); f != nil {
		return &openText{Reader: strings.NewReader(f.content), name: filepath.Base(path)}, nil
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: path, Err: errNoFile}
	}
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

// openText is a text as a file.
type openText struct {
	*strings.Reader
	name string
}

func (f *openText) Stat() (fs.FileInfo, error) { return f, nil }
func (f *openText) Close() error               { return nil }
func (f *openText) Name() string               { return f.name }
func (f *openText) Mode() fs.FileMode          { return 0o400 }
func (f *openText) ModTime() time.Time         { return time.Time{} }
func (f *openText) IsDir() bool                { return false }
func (f *openText) Sys() any                   { return nil }
