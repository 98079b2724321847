// Package envelope is the format in which a delivery is sealed: what a key ring, one
// sealed unit and its line look like. A unit is a record or a chunk of a byte stream;
// the n-th unit of a stream is sealed with AES-256-GCM (NIST SP 800-38D) for its
// customer and its index, and becomes one line:
//
//	{"encrypted_data":"KEY_ID:IV:CIPHERTEXT_AND_TAG"}
//
// KEY_ID is the first 16 hexadecimal digits of the key's SHA-256, in lower case; IV
// (12 bytes, random for every unit) and the ciphertext with its tag of 16 bytes are
// standard base64 with padding (RFC 4648, section 4). The additional authenticated
// data is the text "stream:CUSTOMER:INDEX", the index being decimal and counted from
// 0, so that a line opens only in its own place of a delivery to its own customer.
//
// A line is bound to its customer and its place, not to a delivery: what shows that lines belong together, and
// are all of a run, is the receipt, which is authenticated under a key derived from the one that seals. RECEIPT.md
// has its bytes, and a test vector.
//
// The package owns the format and the keys; it never reads files, cuts a stream into
// units or puts them together again, and a key or a plaintext is never in an error.
package envelope

import (
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

const (
	// KeySize is the size of a key in bytes.
	KeySize = 32
	// ChunkSize is the size in bytes of every unit but the last when a byte stream is
	// sealed in chunks.
	ChunkSize = 1 << 20
	// MaxSeals is how many units one key may seal: with random IVs more would make a
	// repetition too likely (NIST SP 800-38D, section 8.3).
	MaxSeals = 1 << 32

	maxCustomer = 128
)

const (
	ivSize  = 12
	tagSize = 16
	idSize  = 16

	member    = "encrypted_data"
	lineStart = `{"` + member + `":"`
	lineEnd   = "\"}"

	// Offsets in a line as the sealer writes it.
	ivText   = ivSize / 3 * 4
	idAt     = len(lineStart)
	ivAt     = idAt + idSize + 1
	sealedAt = ivAt + ivText + 1
	// shortest is the length of the shortest text of the member.
	shortest = sealedAt - idAt + (tagSize+2)/3*4
)

// LineSize returns the length in bytes, line end included, of the line that a unit of n bytes becomes.
func LineSize(n int) int { return sealedAt + (n+tagSize+2)/3*4 + len(lineEnd) + 1 }

// Begins reports whether text may be the beginning of an envelope's line as the sealer writes it, or all of it.
func Begins(text []byte) bool {
	n := min(len(text), len(lineStart))
	return string(text[:n]) == lineStart[:n]
}

// CheckCustomer refuses what no customer's id can be: nothing, text that is not UTF-8,
// more than 128 bytes, control characters.
func CheckCustomer(customer string) error {
	problem := ""
	switch {
	case customer == "":
		problem = "it is empty"
	case len(customer) > maxCustomer:
		problem = "it is longer than " + strconv.Itoa(maxCustomer) + " bytes"
	case !utf8.ValidString(customer):
		problem = "it is not UTF-8 text"
	default:
		for _, r := range customer {
			if unicode.IsControl(r) {
				problem = "it holds a control character"
			}
		}
	}
	if problem == "" {
		return nil
	}
	return fault.New("envelope.customer", fault.Usage, "the customer's id cannot be used: %s", problem).
		WithHint("give it exactly as in the request for the data")
}

// context is the additional authenticated data of a customer's units, but for the index.
func context(customer string) string { return "stream:" + customer + ":" }
