package lsp

import (
	"os"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/lsp/rpc"
	"github.com/cipherstream/cipherstream/engine/diag"
)

// definition is where what the cursor is on is declared.
func (s *server) definition(p *positionParams) (any, *rpc.Error) {
	f := s.texts.get(pathOf(p.TextDocument.URI))
	if f == nil {
		return nil, nil
	}
	c := s.look(f, f.content, f.offset(p.Position))
	if c == nil {
		return nil, nil
	}
	if location, ok := c.declared(c.subject()); ok {
		return location, nil
	}
	return nil, nil
}

func (c *cursor) declared(on subject) (Location, bool) {
	switch on.topic {
	case aParameter, aColumn:
		known := c.known()
		list := known.parameters
		if on.topic == aColumn {
			list = known.allColumns()
		}
		one := named(list, on.name)
		if one == nil {
			return Location{}, false
		}
		if one.at.here {
			return Location{c.file.uri, c.file.span(one.at.start, one.at.end)}, true
		}
		return c.location(one.at.position)
	case aDocument:
		if doc := c.document(c.file, on.name); doc != nil {
			return c.location(diag.Position{File: doc.File, Line: 1, Column: 1})
		}
	case aFile:
		path := beside(c.file, on.name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return Location{URI: uriOf(path)}, true
		}
	}
	return Location{}, false
}
