package mysql

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// sqlMode is what of the session's sql_mode decides how text is quoted.
type sqlMode struct {
	noBackslashEscapes bool
	ansiQuotes         bool
}

func parseSQLMode(text string) sqlMode {
	var mode sqlMode
	for _, word := range strings.Split(strings.ToUpper(text), ",") {
		mode.noBackslashEscapes = mode.noBackslashEscapes || word == "NO_BACKSLASH_ESCAPES"
		mode.ansiQuotes = mode.ansiQuotes || word == "ANSI_QUOTES"
	}
	return mode
}

// inline puts arguments as literals in the place of a statement's question
// marks, for servers that cannot prepare it. Question marks in strings, quoted
// names and comments are none.
func inline(sql string, args []any, mode sqlMode) (string, error) {
	var out strings.Builder
	params := 0
	for pos := 0; pos < len(sql); {
		end := tokenEnd(sql, pos, mode)
		token := sql[pos:end]
		switch {
		case token == "?":
			if params < len(args) {
				out.WriteString(literal(args[params], mode))
			}
			params++
		case (strings.HasPrefix(token, "/*!") || strings.HasPrefix(token, "/*M!")) && strings.Contains(token, "?"):
			return "", fault.New(codePrepare, fault.Source, "the server cannot prepare the statement, and a question mark in a version comment cannot be replaced").
				WithHint("write the statement without the comment")
		default:
			out.WriteString(token)
		}
		pos = end
	}
	if params != len(args) {
		return "", argumentCountFault(params, len(args))
	}
	return out.String(), nil
}

// tokenEnd returns the end of the token at pos: a quoted text or name, a
// comment, or one byte of anything else.
func tokenEnd(sql string, pos int, mode sqlMode) int {
	rest := sql[pos:]
	switch c := rest[0]; {
	case c == '\'', c == '"', c == '`':
		backslash := !mode.noBackslashEscapes && c != '`' && !(c == '"' && mode.ansiQuotes)
		for i := 1; i < len(rest); i++ {
			if rest[i] == '\\' && backslash {
				i++
			} else if rest[i] == c {
				return pos + i + 1 // a doubled quote is two tokens, which comes to the same
			}
		}
		return len(sql)
	case c == '#', strings.HasPrefix(rest, "--") && (len(rest) == 2 || rest[2] <= ' '):
		if i := strings.IndexByte(rest, '\n'); i >= 0 {
			return pos + i + 1
		}
		return len(sql)
	case strings.HasPrefix(rest, "/*"):
		if i := strings.Index(rest[2:], "*/"); i >= 0 {
			return pos + i + 4
		}
		return len(sql)
	}
	return pos + 1
}

// literal writes an argument as SQL.
func literal(arg any, mode sqlMode) string {
	switch v := arg.(type) {
	case bool:
		if v {
			return "1"
		}
		return "0"
	case int64:
		return strconv.FormatInt(v, 10)
	case uint64:
		return strconv.FormatUint(v, 10)
	case float64:
		// Without an exponent it would be a DECIMAL.
		return strconv.FormatFloat(v, 'e', -1, 64)
	case decimalArg:
		return string(v)
	case string:
		return quote(v, mode)
	case bytesArg:
		return "x'" + hex.EncodeToString([]byte(v)) + "'"
	}
	return "NULL"
}

// escapes are the sequences of string literals ("String Literals" in the MySQL
// manual). In utf8mb4 no byte of a longer character looks like one of them.
var escapes = strings.NewReplacer("\\", `\\`, "'", `\'`, "\"", `\"`, "\x00", `\0`, "\n", `\n`, "\r", `\r`, "\x1a", `\Z`)

func quote(text string, mode sqlMode) string {
	if mode.noBackslashEscapes {
		return "'" + strings.ReplaceAll(text, "'", "''") + "'"
	}
	return "'" + escapes.Replace(text) + "'"
}
