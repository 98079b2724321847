package lsp

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/lsp/outline"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/lsp/rpc"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/document"
)

// mark stands at the cursor while a text is looked at, so that a place where nothing is yet is one where something is: a
// line with a mark alone is a key that is about to be written. It is a character that nobody has a use for.
const mark = "\ue000"

// The kinds of items that are offered.
const (
	itemField    = 5
	itemVariable = 6
	itemModule   = 9
	itemProperty = 10
	itemValue    = 12
	itemSnippet  = 15
	itemFile     = 17
)

// item is something that may be put where the cursor is.
type item struct {
	Label         string    `json:"label"`
	Kind          int       `json:"kind"`
	Detail        string    `json:"detail,omitempty"`
	Documentation *markup   `json:"documentation,omitempty"`
	SortText      string    `json:"sortText"`
	Format        int       `json:"insertTextFormat"`
	Edit          *textEdit `json:"textEdit,omitempty"`
}

// The formats of what is put in: as it is, or with places to fill in.
const (
	plainText = 1
	snippet   = 2
)

type textEdit struct {
	Range   Range  `json:"range"`
	NewText string `json:"newText"`
}

// completion is a list of items on its way.
type completion struct {
	*cursor
	items []item
	// start and end are what an item takes the place of.
	start, end int
}

// complete says what may stand where the cursor is.
func (s *server) complete(p *positionParams) (any, *rpc.Error) {
	f := s.texts.get(pathOf(p.TextDocument.URI))
	if f == nil {
		return []item{}, nil
	}
	offset := f.offset(p.Position)
	c := s.look(f, f.content[:offset]+mark+f.content[offset:], offset)
	if c == nil {
		return []item{}, nil
	}
	l := &completion{cursor: c, items: []item{}, start: offset, end: offset}
	if c.place.Entry != nil {
		l.keys(c.place.Node, c.schemas, c.place.Entry)
	} else if n := c.place.Node; n.Kind == outline.Scalar && !n.Block && n.Start <= offset && offset < n.End {
		l.value(n)
	}
	return l.items, nil
}

// replace says what items take the place of, in places of the text with the mark.
func (l *completion) replace(start, end int) { l.start, l.end = start, max(end-len(mark), l.offset) }

// add adds an item. Order sorts it before those with a higher one.
func (l *completion) add(label string, kind, order int, text, detail, doc string) {
	i := item{Label: label, Kind: kind, Detail: detail, SortText: fmt.Sprintf("%d%s", order, label), Format: plainText,
		Edit: &textEdit{l.file.span(l.start, l.end), text}}
	if doc != "" {
		m := markdown(doc)
		i.Documentation = &m
	}
	l.items = append(l.items, i)
}

// addSnippet adds an item with places to fill in, $1 and so on; where the client has no use for them, they are left out.
func (l *completion) addSnippet(label string, kind, order int, text, detail, doc string) {
	if !l.snippets {
		for _, place := range []string{"$0", "$1", "$2", "$3"} {
			text = strings.ReplaceAll(text, place, "")
		}
		l.add(label, kind, order, text, detail, doc)
		return
	}
	l.add(label, kind, order, text, detail, doc)
	l.items[len(l.items)-1].Format = snippet
}

// keys offers the keys of a mapping that are not there yet, in the place of an entry.
func (l *completion) keys(n *outline.Node, schemas []keywords, typed *outline.Entry) {
	if typed != nil && strings.ContainsAny(typed.Key, "\r\n") {
		return // quotes that are not closed
	}
	there := map[string]bool{}
	for _, e := range n.Entries {
		there[e.Key] = there[e.Key] || e != typed
	}
	replaced, flow := typed != nil && typed.Colon, n.Flow
	if typed != nil {
		l.replace(typed.KeyStart, typed.KeyEnd)
	}
	if len(l.place.Steps) == 0 && !slices.ContainsFunc(n.Entries, func(e *outline.Entry) bool { return e.Colon }) {
		l.skeletons()
	}
	required := map[string]bool{}
	for _, schema := range schemas {
		for _, key := range textList(schema["required"]) {
			required[key] = true
		}
	}
	if kind, fields, ok := l.stage(); ok && fields.Get("with") == n {
		if o := l.stageOf(kind, fields.Get("use").Scalar()); o != nil {
			for _, key := range o.required {
				required[key] = true
			}
		}
	}
	offer := func(key string, kind int, under []keywords, detail, doc string) {
		if there[key] {
			return
		}
		there[key] = true
		order := 2
		if required[key] {
			order, detail = 1, strings.TrimPrefix(detail+", required", ", ")
		}
		written := yamlKey(key)
		if l.snippets {
			written = strings.ReplaceAll(written, "$", `\$`)
		}
		if replaced {
			l.add(key, kind, order, written, detail, doc)
			return
		}
		l.addSnippet(key, kind, order, written+":"+after(under, flow), detail, doc)
	}
	for _, schema := range schemas {
		for key, property := range child(schema, "properties") {
			under := l.all.expand(nil, property, nil)
			names, _ := types(under)
			offer(key, itemProperty, under, strings.Join(names, " or "), schemaText(subject{topic: aKey, schemas: under}))
		}
	}
	what := keysName(schemas)
	if what == "" {
		return
	}
	known := l.known()
	list := known.allColumns()
	if what == document.NamesParameters {
		list = known.parameters
	}
	for _, one := range list {
		offer(one.name, itemField, l.under(one.name), one.detail, one.doc)
	}
}

// after is what follows the colon of a key: brackets where they help.
func after(under []keywords, flow bool) string {
	var required []string
	object, array := false, false
	for _, schema := range under {
		object = object || schema["type"] == "object"
		array = array || schema["type"] == "array"
		required = append(required, textList(schema["required"])...)
	}
	switch {
	case array && !object && flow:
		return " [$0]"
	case object && flow && len(required) > 0:
		return " {" + required[0] + ": $0}"
	case object && flow && !array:
		return " {$0}"
	case object || array:
		return "$0" // the next line is indented by whoever writes it
	}
	return " $0"
}

// yamlKey is a key as it is written.
func yamlKey(key string) string {
	for _, c := range key {
		if c != '_' && c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return fmt.Sprintf("%q", key)
		}
	}
	return key
}

// skeletons offers whole documents.
func (l *completion) skeletons() {
	const head = "apiVersion: " + document.APIVersion + "\nkind: "
	for _, one := range []struct{ label, text, doc string }{
		{"pipeline", head + "Pipeline\nmetadata:\n  name: $1\n  title: $2\nspec:\n  extends: output\n  stages:\n    source:\n      use: mysql\n      with:\n        query: $3\n        args: []\n", "A pipeline with a query of its own and the usual output."},
		{"template", head + "Template\nmetadata:\n  name: $1\nspec:\n  extends: output\n  parameters:\n    - {name: $2, type: string}\n", "What several pipelines share."},
		{"test", head + "Test\npipeline: ./$1.yaml\ncases:\n  - name: $2\n    rows: []\n    expect: {rows: []}\n", "A test of a pipeline, without a database."},
	} {
		l.addSnippet(one.label, itemSnippet, 3, one.text, "a new document", one.doc)
	}
}

// value offers what a scalar may be.
func (l *completion) value(n *outline.Node) {
	lead := 0
	if n.Quoted {
		lead = 1
	}
	before := l.file.content[min(n.Start+lead, l.offset):l.offset]
	if isCode(l.schemas) {
		l.expression(before)
		return
	}
	if code(l.schemas) != "" {
		return
	}
	if i := strings.LastIndex(before, "${"); i >= 0 && l.inSettings() && !strings.ContainsAny(before[i:], "}\r\n") {
		l.references(before[i+2:])
		return
	}
	if strings.ContainsAny(n.Text, "\r\n") {
		return
	}
	l.replace(n.Start+lead, n.Start+lead+len(n.Text))
	if kind, fields, ok := l.stage(); ok && fields.Get("use") == n {
		for _, o := range l.stages() {
			if o.kind != kind {
				continue
			}
			name := o.name
			if first := l.stageOf(kind, o.name); first.plugin != o.plugin {
				name = o.plugin + "/" + o.name
			}
			l.add(name, itemModule, 1, name, o.summary, o.doc)
		}
		return
	}
	l.names(l.cursor.names())
	names, def := types(l.schemas)
	for _, one := range choices(l.schemas) {
		order := 2
		if def != nil && fmt.Sprint(def) == one.value {
			order = 1
		}
		l.add(one.value, itemValue, order, one.value, "", one.description)
	}
	if slices.Contains(names, "object") && !n.Quoted {
		l.object(n)
	}
	l.parameterValues()
	if l.inSettings() && !slices.Contains(names, "object") && !slices.Contains(names, "array") && strings.Trim(n.Text, mark) == "" {
		for _, p := range l.known().parameters {
			text := "${params." + p.name + "}"
			if !n.Quoted {
				text = `"` + text + `"`
			}
			l.add("${params."+p.name+"}", itemVariable, 3, text, p.detail, p.doc)
		}
	}
}

// object offers the keys of a mapping that is about to begin: on a line of its own as they are, behind a key or a dash in brackets.
func (l *completion) object(n *outline.Node) {
	line := l.file.content[:n.Start]
	line = line[strings.LastIndexByte(line, '\n')+1:]
	if strings.Trim(line, " -") == "" {
		l.keys(&outline.Node{Kind: outline.Map}, l.schemas, nil)
	}
	var parts []string
	var mandatory []string
	for _, schema := range l.schemas {
		if schema["type"] == "object" {
			mandatory = append(mandatory, textList(schema["required"])...)
		}
	}
	slices.Sort(mandatory)
	for i, key := range slices.Compact(mandatory) {
		if i < 3 {
			parts = append(parts, fmt.Sprintf("%s: $%d", key, i+1))
		}
	}
	if len(parts) > 0 && len(strings.TrimLeft(line, " ")) > 0 {
		l.addSnippet("{"+strings.Join(mandatory, ", ")+"}", itemSnippet, 1, "{"+strings.Join(parts, ", ")+"}", "what must be given", "")
	}
}

// names offers the names of what there is of a kind.
func (l *completion) names(what string) {
	var list []fact
	switch topics[what] {
	case aColumn:
		known := l.known()
		list = known.allColumns()
	case aParameter:
		list = l.known().parameters
	case aDocument:
		l.documents()
	case aFile:
		l.files(func(string) bool { return true })
	}
	for _, one := range list {
		l.add(one.name, itemField, 1, one.name, one.detail, one.doc)
	}
}

// documents offers templates and pipelines: of the catalogue by their names, those beside the text by their paths.
func (l *completion) documents() {
	test := l.kind == document.KindTest
	templates := l.engine.Templates()
	if test {
		templates = nil
	}
	for i, name := range slices.Concat(templates, l.engine.Names()) {
		order := 2
		if i < len(templates) {
			order = 1
		}
		detail, doc := "", ""
		if d, _ := l.engine.Load(name); d != nil {
			detail, doc = d.Metadata.Title, d.Metadata.Description
		}
		l.add(name, itemModule, order, name, detail, doc)
	}
	l.files(func(name string) bool {
		return strings.HasSuffix(name, ".yaml") && !strings.HasSuffix(name, ".test.yaml")
	})
}

// mostFiles is how many files of a folder are offered.
const mostFiles = 500

// files offers the files beside the text.
func (l *completion) files(wanted func(name string) bool) {
	folder, err := os.Open(filepath.Dir(l.file.path))
	if err != nil {
		return
	}
	defer folder.Close()
	entries, _ := folder.ReadDir(mostFiles)
	for _, e := range entries {
		if e.Type().IsRegular() && wanted(e.Name()) && e.Name() != filepath.Base(l.file.path) {
			l.add("./"+e.Name(), itemFile, 3, "./"+e.Name(), "", "")
		}
	}
}

// parameterValues offers the values that a parameter takes: in a test, and as its default.
func (l *completion) parameterValues() {
	steps := l.place.Steps
	if len(steps) < 2 {
		return
	}
	last, before := steps[len(steps)-1], steps[len(steps)-2]
	name := ""
	switch {
	case before.Key == "parameters" && l.kind == document.KindTest:
		name = last.Key
	case last.Key == "default":
		name = last.In.Get("name").Scalar()
	}
	if p := named(l.known().parameters, name); p != nil {
		for _, value := range p.values {
			l.add(value, itemValue, 1, value, "", "")
		}
	}
}

// references offers what may stand in ${…}, of which some is there.
func (l *completion) references(before string) {
	space, _, dot := strings.Cut(before, ".")
	rest := l.file.content[l.offset:]
	typed, _, _ := strings.Cut(rest, "\n")
	word := len(typed) - len(strings.TrimLeft(typed, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."))
	closed := strings.HasPrefix(typed[word:], "}")
	l.start, l.end = l.offset-len(before), l.offset+word
	add := func(name string, kind int, detail, doc string) {
		text := name
		if !closed {
			text += "}"
		}
		l.add(name, kind, 1, text, detail, doc)
	}
	if !dot {
		for _, n := range namespaces {
			l.add(n.value, itemModule, 2, n.value+".", "", n.description)
		}
	}
	if !dot || space == "params" {
		for _, p := range l.known().parameters {
			add("params."+p.name, itemVariable, p.detail, p.doc)
		}
	}
	if dot && space == "secret" {
		for _, name := range engine.KnownSecrets() {
			add("secret."+name, itemVariable, string(engine.KnownSecret(name)), "")
		}
	}
	if dot && space == "run" {
		for _, name := range engine.RunNames() {
			add("run."+name, itemVariable, "", "")
		}
	}
	if dot && space == "customer" {
		add("customer.id", itemVariable, "", "")
	}
}

// expression offers what an expression may name: parameters, and in the settings of a stage columns.
func (l *completion) expression(before string) {
	rest := l.file.content[l.offset:]
	_, to := word(rest, 0)
	from, _ := word(before, len(before))
	typed := before[from:]
	l.start, l.end = l.offset-len(typed), l.offset+to
	known := l.known()
	for _, p := range known.parameters {
		l.add("params."+p.name, itemVariable, 2, "params."+p.name, p.detail, p.doc)
	}
	if l.inSettings() {
		for _, c := range known.allColumns() {
			l.add(c.name, itemField, 1, c.name, c.detail, c.doc)
		}
		return
	}
	l.add("customer.id", itemVariable, 3, "customer.id", "", "")
	for _, name := range engine.RunNames() {
		l.add("run."+name, itemVariable, 3, "run."+name, "", "")
	}
}
