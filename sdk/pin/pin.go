// Package pin names the one public key that a server's certificate may have, for whatever connects
// to servers of their own certificate.
package pin

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
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

// Base64 is a pin that Parse gave in standard base64 without the prefix, as RFC 7469 writes it.
func Base64(pin string) string {
	sum, err := hex.DecodeString(strings.TrimPrefix(pin, Prefix))
	if err != nil {
		return "" // Parse gave another one
	}
	return base64.StdEncoding.EncodeToString(sum)
}
