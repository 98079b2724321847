package sealed

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/plugins/job/object/folder"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
	"github.com/cipherstream/cipherstream/sdk/object/memory"
	"github.com/cipherstream/cipherstream/sdk/object/objecttest"
)

var testKey = bytes.Repeat([]byte{7}, keySize)

func over(t *testing.T, inner object.Bucket, key []byte) *Bucket {
	t.Helper()
	b, err := New(inner, key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestConformance: it is a bucket as the others are, over a folder and over memory, also around the size of a piece.
func TestConformance(t *testing.T) {
	t.Parallel()
	sizes := []int{piece - 1, piece, piece + 1, 2 * piece, 2*piece + 1}
	t.Run("folder", func(t *testing.T) {
		t.Parallel()
		objecttest.Run(t, objecttest.Harness{Sizes: sizes, New: func(t *testing.T) object.Bucket {
			return over(t, folder.New(t.TempDir(), false, nil), testKey)
		}})
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		objecttest.Run(t, objecttest.Harness{Sizes: sizes, New: func(t *testing.T) object.Bucket { return over(t, memory.New(nil), testKey) }})
	})
}

func put(t *testing.T, b object.Store, key string, content []byte) object.Receipt {
	t.Helper()
	up, err := b.Create(t.Context(), key, object.About{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = up.Write(content)
	receipt, commit := up.Commit(t.Context())
	if err := errors.Join(err, commit); err != nil {
		t.Fatal(err)
	}
	return receipt
}

func get(b object.Store, key string, offset int64) ([]byte, error) {
	r, _, err := b.Open(context.Background(), key, offset)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(r)
	return content, errors.Join(err, r.Close())
}

func random(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

// TestUnreadable: nothing of the content lies in the folder, and no other key opens it.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := over(t, folder.New(dir, false, nil), testKey)
	text := strings.Repeat("Jane Citizen, 1970-01-02\n", 10_000)
	put(t, b, "a/one", []byte(text))
	stored, err := os.ReadFile(filepath.Join(dir, "a", "one"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(stored, []byte("Jane")) || !bytes.HasPrefix(stored, []byte(magic)) {
		t.Error("the content can be read")
	}
	put(t, b, "a/two", []byte(text))
	again, err := os.ReadFile(filepath.Join(dir, "a", "two"))
	if err != nil || bytes.Equal(stored[header:], again[header:]) {
		t.Errorf("the same content lies there in the same way: %v", err)
	}
	if _, err := get(over(t, folder.New(dir, false, nil), bytes.Repeat([]byte{8}, keySize)), "a/one", 0); !fault.Is(err, CodeSealed) {
		t.Errorf("another key: %v", err)
	}
	if _, err := New(memory.New(nil), testKey[1:]); err == nil {
		t.Error("a short key was taken")
	}
}

// TestAltered: whatever is changed in what lies there is told, before or at the place where it was, and never read.
func TestAltered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := over(t, folder.New(dir, false, nil), testKey)
	content := random(2*piece + 100)
	put(t, b, "one", content)
	put(t, b, "two", random(2*piece+100))
	path := filepath.Join(dir, "one")
	stored, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(filepath.Join(dir, "two"))
	if err != nil {
		t.Fatal(err)
	}
	at := func(n int) int { return header + n*(piece+tag) }
	flip := func(i int) []byte {
		changed := bytes.Clone(stored)
		changed[i] ^= 1
		return changed
	}
	for name, changed := range map[string][]byte{
		"magic": flip(0), "salt": flip(len(magic)), "first piece": flip(at(0)), "a tag": flip(at(1) - 1), "last byte": flip(len(stored) - 1),
		"last piece gone": stored[:at(2)], "two pieces gone": stored[:at(1)], "cut": stored[:len(stored)-1], "header alone": stored[:header],
		"empty": {}, "a byte more": append(bytes.Clone(stored), 0), "the last piece twice": slices.Concat(stored, stored[at(2):]),
		"pieces swapped": slices.Concat(stored[:at(0)], stored[at(1):at(2)], stored[at(0):at(1)], stored[at(2):]),
		"another object": other, "no object of ours": []byte(strings.Repeat("rows\n", 100)),
	} {
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := get(b, "one", 0)
		if !fault.Is(err, CodeSealed) || !bytes.HasPrefix(content, got) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		// Who asks for the end learns that it is not the end.
		if _, err := get(b, "one", int64(len(content))); name != "first piece" && name != "a tag" && name != "pieces swapped" &&
			!fault.Is(err, CodeSealed) && !fault.Is(err, object.CodeOffset) {
			t.Errorf("%s, from the end: %v", name, err)
		}
	}
}

// TestFormat: what an earlier version has written opens.
func TestFormat(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	salt := "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	raw, err := hex.DecodeString(salt + "51ec819bbf91a9cc1629f4b3c8efc9b4dc46ea8b93fc8472")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "run.1.ndjson"), append([]byte(magic), raw...), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := get(over(t, folder.New(dir, false, nil), testKey), "run.1.ndjson", 0)
	if err != nil || string(got) != "{\"a\":1}\n" {
		t.Errorf("%q, %v", got, err)
	}
}
