package mysql

import (
	"encoding/binary"
)

// Server status flags.
const (
	statusMoreResults = 0x0008
	statusOutParams   = 0x1000
)

// largestResultWidth bounds the columns of a result set. Tables stop at 4,096,
// a SELECT does not; in the binary protocol the count of columns is 16 bits wide.
const largestResultWidth = 1 << 16

// largestDefinition bounds a column definition in bytes, which holds six names, and
// largestDefinitions those of a result set: as many as there may be, of usual length.
const (
	largestDefinition  = 64 << 10
	largestDefinitions = 32 << 20
)

// longestMessage bounds the text of a server's error. Servers cut theirs at 512 bytes.
const longestMessage = 4 << 10

// Packet headers.
const (
	headerOK          = 0x00
	headerLocalInfile = 0xfb
	headerEOF         = 0xfe
	headerError       = 0xff
)

// results walks the result sets of one statement, in either protocol.
type results struct {
	c      *wire
	status uint16
	begun  bool
	// over is true when the server has said its last word about the statement.
	over bool
	// warnings is the largest number of warnings and notes that a packet told of: a
	// procedure's last packet repeats those of its last statement.
	warnings int64
}

// next goes to the next result set and returns its columns, or nil when there is
// none. The rows of the one before must have been read. outParams says that the
// set is not data but the OUT parameters of a prepared CALL.
func (r *results) next() (defs []columnDef, outParams bool, err error) {
	for !r.begun || r.status&statusMoreResults != 0 {
		r.begun = true
		p, err := r.c.next()
		if err != nil {
			return nil, false, err
		}
		if len(p) == 0 {
			return nil, false, protocolFault("empty packet where a result begins")
		}
		switch p[0] {
		case headerOK:
			var warnings uint16
			if r.status, warnings, err = parseOK(p); err != nil {
				return nil, false, err
			}
			r.warnings = max(r.warnings, int64(warnings))
			continue
		case headerError:
			r.over = true
			return nil, false, parseError(p)
		case headerLocalInfile:
			return nil, false, protocolFault("the server asks for a local file, which was never offered")
		}
		n, pos, ok := lengthEncoded(p, 0)
		if !ok || pos != len(p) || n == 0 || n > largestResultWidth {
			return nil, false, protocolFault("a result set begins with neither OK, an error nor a number of columns")
		}
		defs, err := r.columns(int(n))
		return defs, r.status&statusOutParams != 0, err
	}
	r.over = true
	return nil, false, nil
}

// columns reads n column definitions and the end-of-file packet after them.
func (r *results) columns(n int) ([]columnDef, error) {
	rows := r.c.limit
	r.c.limit = bound{largestDefinition, "column definitions"}
	defer func() { r.c.limit = rows }()
	defs := make([]columnDef, 0, min(n, 256))
	total := 0
	for range n {
		p, err := r.c.next()
		if err != nil {
			return nil, err
		}
		if total += len(p); total > largestDefinitions {
			return nil, protocolFault("the definitions of %d columns have more than %d bytes", n, largestDefinitions)
		}
		def, err := parseColumnDef(p)
		if err != nil {
			return nil, err
		}
		defs = append(defs, def)
	}
	p, err := r.c.next()
	if err != nil {
		return nil, err
	}
	end, err := r.endOfRows(p)
	if err == nil && !end {
		err = protocolFault("no end-of-file packet after %d column definitions", n)
	}
	return defs, err
}

// endOfRows reports whether p ends the rows; an error packet does, with its error.
func (r *results) endOfRows(p []byte) (bool, error) {
	switch {
	case len(p) == 0:
		return false, protocolFault("empty packet where a row was expected")
	case p[0] == headerEOF && len(p) == 5:
		r.status = binary.LittleEndian.Uint16(p[3:])
		r.warnings = max(r.warnings, int64(binary.LittleEndian.Uint16(p[1:])))
		return true, nil
	case p[0] == headerError:
		r.over = true
		return false, parseError(p)
	}
	return false, nil
}

// skip reads rows to the end of the result set.
func (r *results) skip() error {
	for {
		p, err := r.c.next()
		if err != nil {
			return err
		}
		if end, err := r.endOfRows(p); end || err != nil {
			return err
		}
	}
}

// parseOK returns the status flags and the number of warnings of an OK packet.
func parseOK(p []byte) (status, warnings uint16, err error) {
	_, pos, ok := lengthEncoded(p, 1)
	if ok {
		_, pos, ok = lengthEncoded(p, pos)
	}
	if !ok || len(p)-pos < 4 {
		return 0, 0, protocolFault("truncated OK packet")
	}
	return binary.LittleEndian.Uint16(p[pos:]), binary.LittleEndian.Uint16(p[pos+2:]), nil
}

// parseError reads an error packet (ERR_Packet). The SQLSTATE is missing when
// the server refuses a connection before it knows what the client can do.
func parseError(p []byte) error {
	if len(p) < 3 {
		return protocolFault("truncated error packet")
	}
	e := &serverError{errno: binary.LittleEndian.Uint16(p[1:]), state: "HY000"}
	p = p[3:]
	if len(p) >= 6 && p[0] == '#' {
		e.state = string(p[1:6])
		p = p[6:]
	}
	e.message = string(p[:min(len(p), longestMessage)])
	return e
}
