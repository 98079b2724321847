package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cipherstream/cipherstream/engine/diag"
)

// The codes of files that cannot be had.
const (
	CodeUnreadable   = "file.unreadable"
	CodeNotFound     = "file.not_found"
	CodeExtendsCycle = "extends.cycle"
	CodeExtendsPath  = "extends.path"
	CodeExtendsDeep  = "extends.too_deep"
	CodeNoFiles      = "file.not_allowed"
)

// maxExtends bounds a chain of extends.
const maxExtends = 16

// catalogueScheme marks the names of catalogue files in positions.
const catalogueScheme = "catalogue:"

// Loader reads documents and what they extend. It keeps the content of the files
// it read, so that diagnostics can show their lines. Its methods may be called
// from several goroutines.
type Loader struct {
	// Catalogue holds NAME.yaml for pipelines and templates/NAME.yaml for templates.
	// Without it, no name is known.
	Catalogue fs.FS
	// NoFiles refuses every file on disk, unopened.
	NoFiles bool
	// Open opens the files on disk; default os.Open. An editor's server gives the text that is being edited.
	Open func(path string) (fs.File, error)

	mu      sync.Mutex
	sources map[string][]byte
	// extendable holds files of the catalogue that others extend, by name: nearly all pipelines share two of them, which
	// would be most of what a list of the catalogue parses.
	extendable map[string]extendable
}

// extendable is a file without problems, which never changes: merge and finish only read a draft.
type extendable struct {
	content []byte
	draft   *draft
}

// Source returns the content of a file that was read, as diag.Source.
func (l *Loader) Source(file string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sources[file]
}

func (l *Loader) keep(file string, content []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sources == nil {
		l.sources = map[string][]byte{}
	}
	l.sources[file] = content
}

// Names lists the pipelines of the catalogue, sorted.
func (l *Loader) Names() []string { return l.names(".") }

// Templates lists the templates of the catalogue, sorted.
func (l *Loader) Templates() []string { return l.names("templates") }

func (l *Loader) names(dir string) []string {
	if l.Catalogue == nil {
		return nil
	}
	var names []string
	entries, _ := fs.ReadDir(l.Catalogue, dir)
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".yaml"); ok && !e.IsDir() {
			names = append(names, name)
		}
	}
	return names
}

// Name loads a pipeline or a template of the catalogue by its name. The document
// is nil when a file could not be had or parsed; see also Document.Invalid.
func (l *Loader) Name(name string) (*Document, diag.List) {
	return l.load(func(diags *diag.List) (origin, []byte, bool) {
		o, ok := l.lookup(name)
		if !ok {
			d := diag.At(diag.Position{}, CodeNotFound, "no pipeline is called %q", short(name)).WithSuggestion(name, l.Names())
			switch {
			case d.Hint != "" || l.NoFiles:
			case isFile(name + ".yaml"):
				d = d.WithHint("did you mean the file %s.yaml?", short(name))
			default:
				d = d.WithHint("\"cipherstream list\" shows the names; a file is given by its path, which ends in .yaml")
			}
			diags.Add(d)
			return o, nil, false
		}
		content, ok := l.fetch(o, diag.Position{}, diags)
		return o, content, ok
	})
}

// File loads a document from disk. Only such documents may extend others by path.
func (l *Loader) File(name string) (*Document, diag.List) {
	return l.load(func(diags *diag.List) (origin, []byte, bool) {
		o := diskFile(name)
		content, ok := l.fetch(o, diag.Position{}, diags)
		return o, content, ok
	})
}

// Bytes loads a document that somebody has read already; file is what it is
// called in diagnostics.
func (l *Loader) Bytes(file string, content []byte) (*Document, diag.List) {
	return l.load(func(*diag.List) (origin, []byte, bool) {
		l.keep(file, content)
		return origin{file: file}, content, true
	})
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// origin is where a document comes from: the catalogue, the disk, or memory.
type origin struct {
	file      string // as shown
	catalogue string // path in the catalogue
	disk      string // path on disk
}

// hint says what to do about a file that cannot be had.
func (o origin) hint(code string) string {
	if code != CodeNotFound {
		return "it must be a file that this user may read"
	}
	if entries, err := os.ReadDir(filepath.Dir(o.disk)); err == nil {
		var names []string
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml") {
				names = append(names, e.Name())
			}
		}
		if near := diag.Nearest(filepath.Base(o.disk), names); len(near) > 0 {
			return "did you mean " + filepath.Join(filepath.Dir(o.file), near[0]) + "?"
		}
	}
	return "check the path; names without a folder and without .yaml are those of the catalogue, which \"cipherstream list\" shows"
}

func diskFile(name string) origin {
	o := origin{file: filepath.Clean(name), disk: name}
	if strings.HasPrefix(o.file, catalogueScheme) {
		o.file = "./" + o.file
	}
	return o
}

func (l *Loader) lookup(name string) (origin, bool) {
	if l.Catalogue == nil || !namePattern.MatchString(name) || len(name) > maxNameLength {
		return origin{}, false
	}
	for _, p := range []string{path.Join("templates", name+".yaml"), name + ".yaml"} {
		if _, err := fs.Stat(l.Catalogue, p); err == nil {
			return origin{file: catalogueScheme + p, catalogue: p}, true
		}
	}
	return origin{}, false
}

// onDisk reads a document from disk. The root is nil when it could not be had or parsed, as the diagnostics say.
func (l *Loader) onDisk(name string, diags *diag.List) (file string, root *Node) {
	o := diskFile(name)
	if content, ok := l.fetch(o, diag.Position{}, diags); ok {
		root = parse(o.file, content, diags)
	}
	return o.file, root
}

// fetch reads a file, never more than a little over MaxFileBytes of it. A failure
// is reported at the place that asked for it, if there is one.
func (l *Loader) fetch(o origin, asked diag.Position, diags *diag.List) ([]byte, bool) {
	if o.catalogue == "" && l.NoFiles {
		diags.Add(diag.At(asked, CodeNoFiles, "no file is opened here").WithHint("ask for a pipeline of the catalogue, by its name"))
		return nil, false
	}
	var file fs.File
	var err error
	if o.catalogue != "" {
		file, err = l.Catalogue.Open(o.catalogue)
	} else if l.Open != nil {
		file, err = l.Open(o.disk)
	} else {
		file, err = os.Open(o.disk)
	}
	var content []byte
	if err == nil {
		defer file.Close()
		if info, statErr := file.Stat(); statErr == nil && info.IsDir() {
			err = errors.New("it is a directory")
		} else {
			content, err = io.ReadAll(io.LimitReader(file, MaxFileBytes+1))
		}
	}
	if err == nil {
		l.keep(o.file, content)
		return content, true
	}
	if asked.File == "" {
		asked = diag.Position{File: o.file}
	}
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	code := CodeUnreadable
	if errors.Is(err, fs.ErrNotExist) {
		code = CodeNotFound
	}
	diags.Add(diag.At(asked, code, "%s cannot be read: %v", o.file, err).WithHint("%s", o.hint(code)))
	return nil, false
}

func (l *Loader) load(first func(*diag.List) (origin, []byte, bool)) (*Document, diag.List) {
	var diags diag.List
	o, content, ok := first(&diags)
	if !ok {
		return nil, diags
	}
	d := l.draft(o, content, &diags)
	if d == nil {
		return nil, diags.Normalise()
	}
	chain := []origin{o}
	drafts := []*draft{d}
	for d.extends != nil {
		// Without all that it extends, what a document says would mislead.
		parent, ok := l.extended(chain, drafts, &diags)
		if !ok {
			return nil, diags.Normalise()
		}
		content, ok := l.fetch(parent, d.extends.At, &diags)
		if !ok {
			return nil, diags.Normalise()
		}
		next := l.sharedDraft(parent, content, &diags)
		if next == nil {
			return nil, diags.Normalise()
		}
		chain, drafts, d = append(chain, parent), append(drafts, next), next
	}
	merged := drafts[len(drafts)-1]
	var files []string
	for i := len(drafts) - 2; i >= 0; i-- {
		merged = merge(merged, drafts[i])
		files = append([]string{chain[i+1].file}, files...)
	}
	doc := finish(merged, files, &diags)
	checkNames(doc, &diags)
	doc.Invalid = diags.HasErrors()
	return doc, diags.Normalise()
}

func (l *Loader) draft(o origin, content []byte, diags *diag.List) *draft {
	root := parse(o.file, content, diags)
	if root == nil {
		return nil
	}
	return read(o.file, root, diags)
}

// sharedDraft is draft, and parses a file of the catalogue only once as long as its content stays the same. One that has
// problems is read anew each time, so that every document that extends it reports them.
func (l *Loader) sharedDraft(o origin, content []byte, diags *diag.List) *draft {
	if o.catalogue == "" {
		return l.draft(o, content, diags)
	}
	l.mu.Lock()
	known, ok := l.extendable[o.file]
	l.mu.Unlock()
	if ok && bytes.Equal(known.content, content) {
		return known.draft
	}
	before := len(*diags)
	d := l.draft(o, content, diags)
	if d == nil || len(*diags) > before {
		return d
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.extendable == nil {
		l.extendable = map[string]extendable{}
	}
	l.extendable[o.file] = extendable{content, d}
	return d
}

// extended finds what the last document of a chain extends.
func (l *Loader) extended(chain []origin, drafts []*draft, diags *diag.List) (origin, bool) {
	from, n := chain[len(chain)-1], drafts[len(drafts)-1].extends
	var parent origin
	if isPath := strings.HasPrefix(n.Text, "./") || strings.HasPrefix(n.Text, "../"); isPath && from.disk != "" {
		parent = diskFile(filepath.Join(filepath.Dir(from.disk), filepath.FromSlash(n.Text)))
	} else if isPath {
		diags.Add(diag.At(n.At, CodeExtendsPath, "only a file on disk can extend another by path").
			WithHint("extend a template or a pipeline of the catalogue by its name"))
		return parent, false
	} else if found, ok := l.lookup(n.Text); ok {
		parent = found
	} else {
		d := diag.At(n.At, CodeNotFound, "no template or pipeline is called %q", short(n.Text)).
			WithSuggestion(n.Text, slices.Concat(l.Templates(), l.Names()))
		if strings.ContainsAny(n.Text, `/\.`) {
			d = d.WithHint("a path to a file starts with ./ or ../")
		}
		diags.Add(d)
		return parent, false
	}
	if i := slices.IndexFunc(chain, func(o origin) bool { return o.file == parent.file }); i >= 0 {
		var names []string
		for _, o := range chain[i:] {
			names = append(names, o.file)
		}
		d := diag.At(n.At, CodeExtendsCycle, "extends goes in a circle: %s",
			strings.Join(append(names, parent.file), " → "))
		for _, step := range drafts[i : len(drafts)-1] {
			d = d.WithRelated(step.extends.At, "%s extends %q here", step.file, short(step.extends.Text))
		}
		diags.Add(d.WithHint("one of these must stand on its own"))
		return parent, false
	}
	if len(chain) > maxExtends {
		diags.Add(diag.At(n.At, CodeExtendsDeep, "more than %d documents extend one another", maxExtends))
		return parent, false
	}
	return parent, true
}

// checkNames checks what refers to parameters by name.
func checkNames(doc *Document, diags *diag.List) {
	var names []string
	for _, p := range doc.Parameters {
		names = append(names, p.Name)
	}
	for _, r := range doc.Rules {
		if r.Parameter != "" && !slices.Contains(names, r.Parameter) {
			diags.Add(diag.At(r.parameterAt, CodeUnknownName, "the rule blames parameter %q, which is not declared", short(r.Parameter)).
				WithSuggestion(r.Parameter, names))
		}
	}
}

// String describes the document for logs.
func (d *Document) String() string { return fmt.Sprintf("%s %s (%s)", d.Kind, d.Metadata.Name, d.File) }
