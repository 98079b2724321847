package mysql

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Commands (MySQL protocol, enum_server_command).
const (
	commandQuit    = 0x01
	commandQuery   = 0x03
	commandPrepare = 0x16
	commandExecute = 0x17
	commandClose   = 0x19 // of a prepared statement; it has no answer
)

// prepared is a statement that the server has prepared.
type prepared struct {
	id     uint32
	params int
	// parameters describe them, as many as the server says something of.
	parameters []columnDef
	// columns are those of the result, as far as the server knows them before it executes
	// the statement: it knows none of a CALL.
	columns []columnDef
}

// prepare sends COM_STMT_PREPARE and reads the answer.
func prepare(c *wire, sql string) (prepared, error) {
	if err := c.command(commandPrepare, []byte(sql)); err != nil {
		return prepared{}, err
	}
	p, err := c.next()
	switch {
	case err != nil:
		return prepared{}, err
	case len(p) > 0 && p[0] == headerError:
		return prepared{}, parseError(p)
	case len(p) < 9 || p[0] != headerOK:
		return prepared{}, protocolFault("the answer to a prepare is neither OK nor an error")
	}
	columns := int(binary.LittleEndian.Uint16(p[5:]))
	stmt := prepared{id: binary.LittleEndian.Uint32(p[1:]), params: int(binary.LittleEndian.Uint16(p[7:]))}
	r := &results{c: c}
	if stmt.params > 0 {
		if stmt.parameters, err = r.columns(stmt.params); err != nil {
			return prepared{}, err
		}
	}
	if columns > 0 {
		if stmt.columns, err = r.columns(columns); err != nil {
			return prepared{}, err
		}
	}
	return stmt, nil
}

// forget has the server drop a prepared statement (COM_STMT_CLOSE), which it does not answer.
func (c *wire) forget(statement uint32) error {
	return c.command(commandClose, binary.LittleEndian.AppendUint32(nil, statement))
}

// execute sends COM_STMT_EXECUTE without a cursor. The arguments are as
// arguments returns them, as many as the statement has parameters.
func execute(c *wire, stmt prepared, args []any) error {
	payload := binary.LittleEndian.AppendUint32(nil, stmt.id)
	payload = append(payload, 0)                           // flags: no cursor
	payload = binary.LittleEndian.AppendUint32(payload, 1) // iteration count
	if len(args) > 0 {
		nulls := len(payload)
		payload = append(payload, make([]byte, (len(args)+7)/8)...)
		payload = append(payload, 1) // types follow
		var values []byte
		for i, arg := range args {
			var code uint16
			code, values = appendArgument(values, arg)
			if arg == nil {
				payload[nulls+i/8] |= 1 << (i % 8)
			}
			payload = binary.LittleEndian.AppendUint16(payload, code)
		}
		payload = append(payload, values...)
	}
	return c.command(commandExecute, payload)
}

// appendArgument appends a bound value and returns its type code.
func appendArgument(b []byte, arg any) (code uint16, _ []byte) {
	const unsigned = 0x8000
	switch v := arg.(type) {
	case bool:
		if v {
			return typeTiny, append(b, 1)
		}
		return typeTiny, append(b, 0)
	case int64:
		return typeLongLong, binary.LittleEndian.AppendUint64(b, uint64(v))
	case uint64:
		return typeLongLong | unsigned, binary.LittleEndian.AppendUint64(b, v)
	case float64:
		return typeDouble, binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	case decimalArg:
		return typeNewDecimal, append(appendLengthEncoded(b, uint64(len(v))), v...)
	case string:
		return typeVarString, append(appendLengthEncoded(b, uint64(len(v))), v...)
	case bytesArg:
		return typeBlob, append(appendLengthEncoded(b, uint64(len(v))), v...)
	}
	return typeNull, b
}

// callStatement writes CALL with a placeholder for every argument.
func callStatement(procedure string, args int) (string, error) {
	parts := strings.Split(procedure, ".")
	if len(parts) > 2 {
		return "", settingsFault("call: %q has more than two parts", procedure).
			WithHint("write procedure or database.procedure")
	}
	for i, part := range parts {
		if part == "" || strings.ContainsRune(part, 0) {
			return "", settingsFault("call: %q is not a procedure's name", procedure).
				WithHint("write procedure or database.procedure")
		}
		parts[i] = quoteName(part)
	}
	return "CALL " + strings.Join(parts, ".") + "(" + strings.TrimSuffix(strings.Repeat("?, ", args), ", ") + ")", nil
}

// argumentCountFault reports a query with more or fewer question marks than arguments.
func argumentCountFault(params, args int) *fault.Fault {
	return fault.New(codeArgumentCount, fault.Source, "the statement has %d parameters and %d arguments were given",
		params, args).
		WithHint("give one argument for every question mark")
}
