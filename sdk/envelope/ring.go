package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// key is a key that is ready for use.
type key struct {
	id   string
	aead cipher.AEAD
	// receipts is the key under which receipts are authenticated.
	receipts []byte
}

// Ring is the keys of a customer. One of them, the active one, seals; all of them open.
// It may be used by several goroutines at once.
type Ring struct {
	keys   []key
	active int
}

// codeKeys is the code of everything that is wrong with keys.
const codeKeys = "envelope.keys"

// ParseRing reads keys: standard base64 of 32 bytes each, one a line or with commas
// between them; blank lines, and what follows a #, are left out. The first key is the
// active one unless active is the id of another. Errors name a key by its line and its
// length, never by its text.
func ParseRing(text, active string) (*Ring, error) {
	ring := &Ring{}
	lines := map[string]int{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		for word := range strings.SplitSeq(line, ",") {
			k, err := parseKey(strings.TrimSpace(word), number)
			if err != nil {
				return nil, err
			}
			if first, twice := lines[k.id]; twice {
				return nil, fault.New(codeKeys, fault.Usage, "the key of line %d, %s, is there already, in line %d", number, k.id, first).
					WithHint("keep one of them; when a key was to be replaced, the new one is missing")
			}
			lines[k.id] = number
			ring.keys = append(ring.keys, k)
		}
	}
	if len(ring.keys) == 0 {
		return nil, fault.New(codeKeys, fault.Usage, "there is no key").WithHint("%s", keyHint)
	}
	if active == "" {
		return ring, nil
	}
	for i, k := range ring.keys {
		if k.id == active {
			ring.active = i
			return ring, nil
		}
	}
	return nil, fault.New(codeKeys, fault.Usage, "the active key is to be %q, but the keys are %s", active, strings.Join(ring.IDs(), ", ")).
		WithHint("a key's id is the first %d hexadecimal digits of its SHA-256", idSize)
}

const keyHint = "a key is 32 random bytes in standard base64, 44 characters with one = at the end: openssl rand -base64 32"

func parseKey(text string, line int) (key, error) {
	wrong := func(format string, args ...any) (key, error) {
		args = append([]any{line}, args...)
		return key{}, fault.New(codeKeys, fault.Usage, "line %d of the keys: "+format, args...).WithHint("%s", keyHint)
	}
	if text == "" {
		return wrong("a key is missing beside a comma")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return wrong("its %d characters are not standard base64", len(text))
	}
	if len(raw) != KeySize {
		return wrong("expected a key of %d bytes, not of %d", KeySize, len(raw))
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return wrong("the key cannot be used: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return wrong("the key cannot be used: %w", err)
	}
	receipts, err := receiptKey(raw)
	if err != nil {
		return wrong("the key cannot be used: %w", err)
	}
	sum := sha256.Sum256(raw)
	return key{id: hex.EncodeToString(sum[:])[:idSize], aead: aead, receipts: receipts}, nil
}

// Active returns the id of the key that seals.
func (r *Ring) Active() string { return r.keys[r.active].id }

// IDs returns the ids of all keys, in their order.
func (r *Ring) IDs() []string {
	ids := make([]string, len(r.keys))
	for i, k := range r.keys {
		ids[i] = k.id
	}
	return ids
}

// String names the keys by their ids.
func (r *Ring) String() string { return "keys " + strings.Join(r.IDs(), ", ") }

// find returns the key with that id.
func (r *Ring) find(id []byte) (key, bool) {
	for _, k := range r.keys {
		if k.id == string(id) {
			return k, true
		}
	}
	return key{}, false
}
