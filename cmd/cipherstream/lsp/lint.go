package lsp

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/lsp/outline"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/engine/pipelinetest"
	"github.com/cipherstream/cipherstream/engine/service/config"
)

// publish is the notification that shows what is wrong with a text.
const publish = "textDocument/publishDiagnostics"

// lint tells the client what is wrong with a text, unless it has changed meanwhile: then it is about to be looked at again.
func (s *server) lint(path string) {
	f := s.texts.get(path)
	if f == nil {
		return
	}
	found := s.found(f)
	shown := make([]Diagnostic, 0, len(found))
	for _, d := range found {
		shown = append(shown, s.shown(f, d))
	}
	if s.texts.get(path) == f {
		// Who cannot be written to has left, which the reader of messages finds out.
		_ = s.notify(publish, publishDiagnosticsParams{URI: f.uri, Version: &f.version, Diagnostics: shown})
	}
}

// found is what lint finds in a text, for whatever kind of document it is; nothing in those of others. A defect of ours
// is a problem of that text only.
func (s *server) found(f *file) (list diag.List) {
	defer func() {
		if r := recover(); r != nil {
			list = diag.List{diag.At(diag.Position{File: f.path}, "lsp.defect", "a defect of cipherstream: %v", r)}
		}
	}()
	kind, ours := kindOf(f.outline())
	switch {
	case !ours:
		return nil
	case kind == document.KindTest:
		return pipelinetest.Lint(s.engine, f.path)
	case kind == document.KindService:
		_, list, _ = config.Load(context.Background(), f.path, config.Options{Open: s.texts.open})
		return list
	case kind == document.KindSchedule:
		return nil // the configuration that names it is needed
	}
	return s.engine.LintFile(f.path)
}

// kinds are the kinds of documents of ours.
var kinds = []string{document.KindPipeline, document.KindTemplate, document.KindTest, document.KindService, document.KindSchedule}

// kindOf is the kind that a document says that it is of, and whether it is one of ours: other programs have documents in
// YAML too, with kinds of the same names.
func kindOf(root *outline.Node) (kind string, ours bool) {
	version, kind := root.Get("apiVersion").Scalar(), root.Get("kind").Scalar()
	if version == "" {
		return kind, slices.Contains(kinds, kind)
	}
	family, _, _ := strings.Cut(document.APIVersion, "/")
	return kind, strings.HasPrefix(version, family) || len(diag.Nearest(version, []string{document.APIVersion})) > 0
}

// shown is a diagnostic as the client shows it. One of another file, which this one extends, is shown where that is named.
func (s *server) shown(f *file, d diag.Diagnostic) Diagnostic {
	out := Diagnostic{Severity: severities[d.Severity], Code: d.Code, Source: "cipherstream", Message: d.Message}
	related := d.Related
	if d.File != "" && d.File != f.path {
		out.Message = d.Position.String() + ": " + d.Message
		related = append([]diag.Related{{Position: d.Position, Message: "it is here"}}, related...)
		n := f.outline().Get("spec").Get("extends")
		if n != nil {
			out.Range = f.span(n.Start, n.End)
		}
	} else {
		out.Range = f.span(f.place(d.Position))
	}
	if d.Hint != "" {
		out.Message += "\n" + d.Hint
	}
	for _, r := range related {
		if location, ok := s.location(r.Position); ok && s.related {
			out.RelatedInformation = append(out.RelatedInformation, relatedInformation{location, r.Message})
		} else {
			out.Message += fmt.Sprintf("\n%s: %s", filepath.Base(r.Position.String()), r.Message)
		}
	}
	return out
}

// location is a place as the client can go there. A file of the catalogue, which is nowhere on disk, is written out.
func (s *server) location(p diag.Position) (Location, bool) {
	path, ok := s.onDisk(p.File)
	if !ok {
		return Location{}, false
	}
	f := s.texts.get(path)
	uri := uriOf(path)
	content := s.engine.Source(p.File)
	t := newText(string(content), s.encoding)
	if f != nil {
		uri, t = f.uri, f.text
	}
	return Location{uri, t.span(t.place(p))}, cmp.Or(f != nil, content != nil)
}
