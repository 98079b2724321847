package changes

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"slices"

	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// saltSize is how many random bytes name the key of a sealed document.
const saltSize = 16

// sealer seals the documents of a stream that wait, and opens them. Each seals under a key of its own, which is derived from
// that of the data directory with a random salt that stands before every text: so no key is used more often than AES-GCM with
// random nonces may be (2³² times), however long a stream runs. It is used by one goroutine at a time.
type sealer struct {
	key      *datakey.Key
	customer string
	salt     string
	seals    cipher.AEAD
	opens    map[string]cipher.AEAD // by salt
}

// mostOpeners is how many keys are kept to open with: those of the last processes that have read.
const mostOpeners = 16

func newSealer(key *datakey.Key, customer string) *sealer {
	var salt [saltSize]byte
	_, _ = rand.Read(salt[:]) // it never fails
	s := &sealer{key: key, customer: customer, salt: string(salt[:]), opens: map[string]cipher.AEAD{}}
	s.seals = s.aead(s.salt)
	return s
}

func (s *sealer) aead(salt string) cipher.AEAD {
	block, err := aes.NewCipher(s.key.Derive("data stream " + s.customer + " " + hex.EncodeToString([]byte(salt))))
	if err != nil {
		panic(err) // of a size that no key has
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// place binds a sealed document to what it is.
func place(channel, kind, id string) []byte {
	return slices.Concat([]byte(channel), []byte{0}, []byte(kind), []byte{0}, []byte(id))
}

func (s *sealer) seal(channel, kind, id string, text []byte) []byte {
	sealed := make([]byte, 0, saltSize+s.seals.Overhead()+len(text))
	return s.seals.Seal(append(sealed, s.salt...), nil, text, place(channel, kind, id))
}

// appendOpened opens a document and appends its text.
func (s *sealer) appendOpened(to []byte, channel, kind, id string, sealed []byte) ([]byte, error) {
	if len(sealed) >= saltSize {
		salt := string(sealed[:saltSize])
		aead := s.opens[salt]
		if aead == nil {
			if len(s.opens) >= mostOpeners {
				clear(s.opens)
			}
			aead = s.aead(salt)
			s.opens[salt] = aead
		}
		if to, err := aead.Open(to, nil, sealed[saltSize:], place(channel, kind, id)); err == nil {
			return to, nil
		}
	}
	return nil, fault.New(CodeSealed, fault.Internal,
		"a document of the channel %s that waits does not open with the key of the data directory", channel).
		WithHint("restore %s from the backup that the record is of, or disable the stream and reset the channel", datakey.FileName)
}

// secretPurpose is what the key of the data directory seals the secrets of streams for.
const secretPurpose = "data stream secret"
