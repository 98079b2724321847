// Package datakey is the key of a data directory, under which the service keeps what it has to be able to read again
// and nobody else may: the sealing keys that it issues. It lies in a file of its own beside the record, or is given by
// the configuration, so that a copy of the record alone gives nothing away.
//
// A text is sealed with AES-256-GCM under a key that HKDF-SHA256 derives for its purpose, with a random nonce, and
// bound to the name of the place it stands in: put into another place, it does not open.
package datakey

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of what is wrong with the key.
const (
	// CodeKey: the file, or the secret, is no key, or cannot be read or made.
	CodeKey = "datakey.key"
	// CodeOpen: a sealed text does not open: it was sealed under another key, for another place, or was altered.
	CodeOpen = "datakey.open"
)

// FileName is the key's in the data directory: standard base64 of 32 bytes, and a line end.
const FileName = "data.key"

// size is that of a key, in bytes.
const size = 32

// Key is the key of a data directory.
type Key struct{ secret []byte }

// Open reads the key of a data directory, which the caller has locked, and makes it where there is none.
func Open(dir string) (*Key, error) {
	path := filepath.Join(dir, FileName)
	text, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = create(path); err == nil {
			text, err = read(path)
		}
	}
	if err != nil {
		return nil, fault.New(CodeKey, fault.Usage, "the key of the data directory cannot be read or made: %w", err).
			WithHint("the file %s in the data directory belongs to the service's user and has the mode 0600", FileName)
	}
	return parse(strings.TrimSuffix(text, "\n"), "the file "+path)
}

// read takes a plain file that only its owner may read.
func read(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is no plain file", path)
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s may be read by other users (mode %v)", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<10))
	return string(text), err
}

// create makes the file, whole and on disk or not at all: what is sealed under a key that is lost is lost too. It never
// replaces one.
func create(path string) (err error) {
	raw := make([]byte, size)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	f, err := os.CreateTemp(filepath.Dir(path), "."+FileName+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(raw) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	// Some file systems cannot, and keep names in order anyway.
	if err := dir.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// Parse takes the key that the configuration gives: standard base64 of 32 bytes.
func Parse(secret config.Secret) (*Key, error) {
	return parse(strings.TrimSpace(secret.Reveal()), "the secret")
}

func parse(text, where string) (*Key, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != size {
		return nil, fault.New(CodeKey, fault.Usage,
			"%s is no key of a data directory: expected %d bytes in standard base64", where, size).
			WithHint("restore it from a backup; a new one (openssl rand -base64 32) does not open what is sealed already")
	}
	return &Key{raw}, nil
}

// Seal seals a text for a purpose, which is a word of the program's, and a place, which names what the text is.
func (k *Key) Seal(purpose, place string, text []byte) []byte {
	return k.aead(purpose).Seal(nil, nil, text, []byte(place))
}

// Open opens what was sealed for a purpose and a place.
func (k *Key) Open(purpose, place string, sealed []byte) ([]byte, error) {
	text, err := k.aead(purpose).Open(nil, nil, sealed, []byte(place))
	if err != nil {
		return nil, fault.New(CodeOpen, fault.Internal,
			"what is sealed under the key of the data directory does not open with the one that is there").
			WithHint("restore %s from the backup that the record is of", FileName)
	}
	return text, nil
}

// Derive is a key of 32 bytes for a purpose, for what is too large to be sealed as one text.
func (k *Key) Derive(purpose string) []byte {
	derived, err := hkdf.Key(sha256.New, k.secret, nil, "cipherstream data directory v1 "+purpose, size)
	if err != nil {
		panic(err) // of a size that no key has
	}
	return derived
}

// aead is the cipher of a purpose: it takes a random nonce for each text and puts it before it. The errors of its parts
// are those of keys of a wrong size.
func (k *Key) aead(purpose string) cipher.AEAD {
	block, err := aes.NewCipher(k.Derive(purpose))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}
