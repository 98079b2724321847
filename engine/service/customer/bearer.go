package customer

import (
	"crypto/rand"
	"hash/crc32"
	"strings"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The text of a key is cs_KIND_, 30 random letters and digits (178 bits), and 6 that are their checksum: CRC-32 of all
// before it, in base 62. The checksum keeps what is no key, a typing error or a probe, from being looked up, and lets
// scanners of source code know a key when they see one.
const (
	randomDigits   = 30
	checksumDigits = 6
	digits         = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

func prefix(kind store.KeyKind) string { return "cs_" + string(kind) + "_" }

// newKeyText makes the text of a key.
func newKeyText(kind store.KeyKind) string {
	body := prefix(kind) + randomText(randomDigits)
	return body + checksum(body)
}

// randomText is letters and digits that nobody guesses, each as likely as the others.
func randomText(n int) string {
	text := make([]byte, 0, n)
	random := make([]byte, 2*n)
	for len(text) < n {
		_, _ = rand.Read(random) // never fails (crypto/rand)
		for _, b := range random {
			// What is above the last multiple of 62 would make some digits likelier.
			if int(b) < 256/len(digits)*len(digits) && len(text) < n {
				text = append(text, digits[int(b)%len(digits)])
			}
		}
	}
	return string(text)
}

func checksum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	var text [checksumDigits]byte
	for i := range text {
		text[len(text)-1-i] = digits[sum%uint32(len(digits))]
		sum /= uint32(len(digits))
	}
	return string(text[:])
}

// wellFormed reports whether a text can be that of a key.
func wellFormed(text string) bool {
	for _, kind := range []store.KeyKind{store.Live, store.Demo, store.Admin} {
		rest, ok := strings.CutPrefix(text, prefix(kind))
		if !ok {
			continue
		}
		if len(rest) != randomDigits+checksumDigits || !onlyOf(rest, digits) {
			return false
		}
		body := text[:len(text)-checksumDigits]
		return checksum(body) == text[len(body):]
	}
	return false
}

const bearerHint = "send the header Authorization: Bearer KEY"

// mostBearer bounds what is read of a header, in bytes: far more than a key has.
const mostBearer = 4096

// ParseBearer takes the key out of the value of an Authorization header: the scheme Bearer in any case, spaces, and a
// token68 (RFC 6750, section 2.1; RFC 9110, section 11.4). Its errors never hold what was given.
func ParseBearer(authorization string) (text string, err error) {
	wrong := func(format string, args ...any) (string, error) {
		return "", fault.New(CodeKeyMissing, fault.Usage, format, args...).WithHint("%s", bearerHint)
	}
	if authorization == "" {
		return wrong("no key was given")
	}
	if len(authorization) > mostBearer {
		return wrong("the header Authorization has %d bytes; a key has far fewer", len(authorization))
	}
	scheme, text, found := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return wrong("the header Authorization is not of the scheme Bearer")
	}
	text = strings.TrimLeft(text, " ")
	if !found || text == "" {
		return wrong("the header Authorization has no key in it")
	}
	if !token68(text) {
		return wrong("what follows Bearer in the header Authorization is no key: it has characters that a key cannot have")
	}
	return text, nil
}

// token68 is 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"=".
func token68(text string) bool {
	body := strings.TrimRight(text, "=")
	return body != "" && onlyOf(body, digits+"-._~+/")
}

// onlyOf reports whether a text has no bytes but those.
func onlyOf(text, these string) bool {
	for i := range len(text) {
		if strings.IndexByte(these, text[i]) < 0 {
			return false
		}
	}
	return true
}
