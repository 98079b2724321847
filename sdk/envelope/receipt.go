package envelope

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of what can be wrong with a receipt.
const (
	// ReceiptMalformed: it is not what Authenticate writes.
	ReceiptMalformed = "envelope.receipt"
	// ReceiptForeign: it was authenticated with a key that the ring does not hold.
	ReceiptForeign = "envelope.receipt_foreign"
	// ReceiptForged: its MAC is not that of its statement.
	ReceiptForged = "envelope.receipt_forged"
)

// receiptInfo is the info of HKDF: it keeps the key of receipts apart from the one that seals.
const receiptInfo = "cipherstream receipt v1"

const (
	macSize = sha256.Size
	// maxStatement bounds a statement, in bytes.
	maxStatement = 4096
	// maxExact is the largest number that every reader of JSON reads exactly (RFC 8785, section 3.2.2.3).
	maxExact = 1<<53 - 1
	// statementTime is RFC 3339 in UTC, always with milliseconds.
	statementTime = "2006-01-02T15:04:05.000Z"
)

// Statement is what a receipt proves of a delivery. RECEIPT.md has its exact bytes.
type Statement struct {
	// RunID is the run that made the delivery, and Procedure the pipeline that it ran.
	RunID     string
	Procedure string
	// Parameters is the digest of the run's parameters; see Digest.
	Parameters string
	// Rows is the number of rows; Bytes and SHA256 (lower-case hexadecimal) are those of the delivery as it was
	// handed over, whatever was put around the sealed lines.
	Rows   int64
	Bytes  int64
	SHA256 string
	// KeyID is the key that sealed.
	KeyID string
	// Time is when the run began: what is in the delivery was read after it.
	Time time.Time
}

// Authenticate returns the statement as one line of canonical JSON (RFC 8785), and its MAC under the active
// key, whose id becomes the statement's.
func (r *Ring) Authenticate(s Statement) (statement, mac string, err error) {
	k := &r.keys[r.active]
	s.KeyID = k.id
	if problem := s.problem(); problem != "" {
		return "", "", fault.New(ReceiptMalformed, fault.Internal, "no receipt can be written: %s", problem)
	}
	statement = s.canonical()
	return statement, hex.EncodeToString(k.mac(statement)), nil
}

// Verify returns the statement of a receipt that was made with a key of the ring. An error is a fault with one of the
// codes above.
func (r *Ring) Verify(statement, mac string) (Statement, error) {
	malformed := func(format string, args ...any) (Statement, error) {
		return Statement{}, fault.New(ReceiptMalformed, fault.Data, "the receipt cannot be used: "+format, args...).
			WithHint("fetch the receipt again")
	}
	given, err := hex.DecodeString(mac)
	if err != nil || len(given) != macSize || strings.ToLower(mac) != mac {
		return malformed("its mac is not %d lower-case hexadecimal digits", 2*macSize)
	}
	if len(statement) > maxStatement {
		return malformed("its statement has %d bytes, expected %d at most", len(statement), maxStatement)
	}
	s, ok := parseStatement(statement)
	if !ok {
		return malformed("its statement is not the canonical JSON of a receipt")
	}
	k, ok := r.find([]byte(s.KeyID))
	if !ok {
		return Statement{}, fault.New(ReceiptForeign, fault.Data, "the receipt was made with key %s, which is not among those given: %s",
			s.KeyID, strings.Join(r.IDs(), ", ")).
			WithHint("it is the receipt of another customer's delivery, or the key with that id is missing; a key's id is the first %d hexadecimal digits of its SHA-256", idSize)
	}
	// Constant time: what is wrong with it is no help in making one.
	if !hmac.Equal(given, k.mac(statement)) {
		return Statement{}, fault.New(ReceiptForged, fault.Data, "the receipt is not authentic: its mac is not the one that key %s makes of its statement", s.KeyID).
			WithHint("it was altered, or written by somebody who does not have the key; fetch the receipt again")
	}
	return s, nil
}

// mac is HMAC-SHA256 of a statement under the key of receipts.
func (k *key) mac(statement string) []byte {
	h := hmac.New(sha256.New, k.receipts)
	h.Write([]byte(statement))
	return h.Sum(nil)
}

// receiptKey is HKDF-SHA256 (RFC 5869) of a key, with an empty salt.
func receiptKey(raw []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, raw, nil, receiptInfo, sha256.Size)
}

// written is a statement in JSON, its members sorted. Pointers tell what is missing.
type written struct {
	Bytes      *int64  `json:"bytes"`
	KeyID      *string `json:"key_id"`
	Parameters *string `json:"parameters"`
	Procedure  *string `json:"procedure"`
	Rows       *int64  `json:"rows"`
	RunID      *string `json:"run_id"`
	SHA256     *string `json:"sha256"`
	Time       *string `json:"time"`
}

// canonical is the statement in canonical JSON, of texts that need no escapes.
func (s *Statement) canonical() string {
	return fmt.Sprintf(`{"bytes":%d,"key_id":"%s","parameters":"%s","procedure":"%s","rows":%d,"run_id":"%s","sha256":"%s","time":"%s"}`,
		s.Bytes, s.KeyID, s.Parameters, s.Procedure, s.Rows, s.RunID, s.SHA256, s.Time.UTC().Format(statementTime))
}

// problem says why a statement cannot be written, or nothing.
func (s *Statement) problem() string {
	switch {
	case s.Rows < 0 || s.Rows > maxExact || s.Bytes < 0 || s.Bytes > maxExact:
		return fmt.Sprintf("%d rows and %d bytes", s.Rows, s.Bytes)
	case !plain(s.RunID) || !plain(s.Procedure):
		return "the run and the procedure have names of 1 to 256 printable ASCII characters, without quotes and backslashes"
	case !digest(s.SHA256, 2*sha256.Size) || !digest(s.Parameters, 2*sha256.Size) || !digest(s.KeyID, idSize):
		return "a digest is not lower-case hexadecimal, or has another length"
	case s.Time.UTC().Year() < 1970 || s.Time.UTC().Year() > 9999:
		return "the time lies before 1970, or after 9999"
	}
	return ""
}

// parseStatement reads a statement. Whatever differs from the canonical form by one byte is none: a member
// twice, another order, a number such as 1e3.
func parseStatement(text string) (s Statement, ok bool) {
	var w written
	if json.Unmarshal([]byte(text), &w) != nil || w.Bytes == nil || w.KeyID == nil || w.Parameters == nil || w.Procedure == nil ||
		w.Rows == nil || w.RunID == nil || w.SHA256 == nil || w.Time == nil {
		return s, false
	}
	when, err := time.Parse(statementTime, *w.Time)
	s = Statement{RunID: *w.RunID, Procedure: *w.Procedure, Parameters: *w.Parameters, Rows: *w.Rows, Bytes: *w.Bytes,
		SHA256: *w.SHA256, KeyID: *w.KeyID, Time: when}
	return s, err == nil && s.problem() == "" && s.canonical() == text
}

// plain reports whether JSON writes a name as it is.
func plain(name string) bool {
	return name != "" && len(name) <= 256 && !strings.ContainsFunc(name,
		func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
}

func digest(text string, digits int) bool {
	return len(text) == digits && !strings.ContainsFunc(text,
		func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
}

// Digest is the digest of a run's parameters, by name: the SHA-256, in lower-case hexadecimal, of a canonical JSON
// object of those that have a value, defaults among them. Texts, dates and decimals are strings (json.Number), int64
// and bool are themselves; nil is left out.
func Digest(parameters map[string]any) (string, error) {
	names := make([]string, 0, len(parameters))
	for name, value := range parameters {
		if value != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	b := []byte{'{'}
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, name), ':')
		switch v := parameters[name].(type) {
		case string:
			b = appendString(b, v)
		case json.Number:
			b = appendString(b, v.String())
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case bool:
			b = strconv.AppendBool(b, v)
		default:
			return "", fmt.Errorf("envelope: parameter %q is a %T", name, v)
		}
	}
	sum := sha256.Sum256(append(b, '}'))
	return hex.EncodeToString(sum[:]), nil
}

// appendString appends text as RFC 8785, section 3.2.2.2, writes it.
func appendString(b []byte, text string) []byte {
	const short = "\b\t\n\f\r\"\\"
	b = append(b, '"')
	for _, r := range strings.ToValidUTF8(text, "\ufffd") {
		switch at := strings.IndexRune(short, r); {
		case at >= 0:
			b = append(b, '\\', `btnfr"\`[at])
		case r < ' ':
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}
