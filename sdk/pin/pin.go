// Package pin names the one public key that a server's certificate may have, for whatever connects
// to servers of their own certificate.
package pin

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"
)

// Prefix stands before the hexadecimal digits.
const Prefix = "sha256:"

// Parse reads a pin: sha256: and 64 hexadecimal digits. What it gives compares as text with Of.
func Parse(text string) (pin string, ok bool) {
	digits, ok := strings.CutPrefix(text, Prefix)
	sum, err := hex.DecodeString(digits)
	return strings.ToLower(text), ok && err == nil && len(sum) == sha256.Size
}

// Of is the SHA-256 of a certificate's public key, as a SubjectPublicKeyInfo (RFC 7469, section 2.4).
func Of(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return Prefix + hex.EncodeToString(sum[:])
}
