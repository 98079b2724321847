package envelope

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

const customer = "practice-7"

// keyText returns the text of a key made of one byte.
func keyText(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, KeySize))
}

func ring(t testing.TB, texts ...string) *Ring {
	t.Helper()
	r, err := ParseRing(strings.Join(texts, "\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sealer(t testing.TB, r *Ring) *Sealer {
	t.Helper()
	s, err := r.Sealer(customer)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func opener(t testing.TB, r *Ring) *Opener {
	t.Helper()
	o, err := r.Opener(customer)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// text returns bytes that a seed determines.
func text(n int, seed uint64) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b) // it never fails
	return b
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := ring(t, keyText(1), keyText(2))
	s, o := sealer(t, r), opener(t, r)
	sizes := []int{ChunkSize - 1, ChunkSize, ChunkSize + 1, 5 << 20}
	for n := range 200 {
		sizes = append(sizes, n)
	}
	seen := map[string]bool{}
	for i, size := range sizes {
		unit := text(size, uint64(i))
		line := s.Seal([]byte("before"), unit, int64(i))[len("before"):]
		if len(line) != LineSize(size) || line[len(line)-1] != '\n' || bytes.Count(line, []byte("\n")) != 1 {
			t.Fatalf("%d bytes became a line of %d, expected %d", size, len(line), LineSize(size))
		}
		if !Begins(line) || !Begins(line[:5]) || Begins([]byte("{\"a")) {
			t.Fatalf("%d bytes: the beginning is not recognised", size)
		}
		iv := string(line[ivAt : sealedAt-1])
		if seen[iv] {
			t.Fatalf("the IV %s came twice", iv)
		}
		seen[iv] = true
		got, err := o.Open(line[:len(line)-1], int64(i))
		if err != nil || !bytes.Equal(got, unit) {
			t.Fatalf("%d bytes: %v", size, err)
		}
	}
}

// TestConcurrent seals from several goroutines with one sealer.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	r := ring(t, keyText(1))
	s := sealer(t, r)
	const each = 200
	lines := make([][]byte, 4*each)
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := g * each; i < (g+1)*each; i++ {
				lines[i] = s.Seal(nil, text(i, uint64(i)), int64(i))
			}
		})
	}
	group.Wait()
	o := opener(t, r)
	for i, line := range lines {
		got, err := o.Open(line[:len(line)-1], int64(i))
		if err != nil || !bytes.Equal(got, text(i, uint64(i))) {
			t.Fatalf("unit %d: %v", i, err)
		}
	}
}

func TestRing(t *testing.T) {
	t.Parallel()
	ids := ring(t, keyText(1), keyText(2), keyText(3)).IDs()
	for _, c := range []struct {
		name, text, active string
		want               []string // ids, the active one first
	}{
		{"one", keyText(1), "", ids[:1]},
		{"lines", keyText(1) + "\n" + keyText(2) + "\n", "", ids[:2]},
		{"commas", keyText(1) + ", " + keyText(2) + "," + keyText(3), "", ids},
		{"comments", "# of 2026\n\n  " + keyText(1) + "  # current\r\n \t\r\n" + keyText(2) + " # old, kept", "", ids[:2]},
		{"active", keyText(1) + "\n" + keyText(2), ids[1], []string{ids[1], ids[0]}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := ParseRing(c.text, c.active)
			if err != nil {
				t.Fatal(err)
			}
			if r.Active() != c.want[0] || len(r.IDs()) != len(c.want) {
				t.Errorf("%s of %v, want %v", r.Active(), r.IDs(), c.want)
			}
		})
	}
	// The first 16 digits of `printf '\x01%.0s' {1..32} | sha256sum`.
	if want := "72cd6e8422c407fb"; ids[0] != want {
		t.Errorf("the id is %s, want %s", ids[0], want)
	}
}

func TestBadRing(t *testing.T) {
	t.Parallel()
	short := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0x5a}, 16))
	id := ring(t, keyText(1)).Active()
	for _, c := range []struct{ name, text, active, want string }{
		{"empty", "", "", "there is no key"},
		{"comments only", "# nothing\n\n", "", "there is no key"},
		{"short", "# first\n" + short, "", "line 2 of the keys: expected a key of 32 bytes, not of 16"},
		{"long", base64.StdEncoding.EncodeToString(make([]byte, 33)), "", "line 1 of the keys: expected a key of 32 bytes, not of 33"},
		{"hexadecimal", strings.Repeat("5a", 32), "", "expected a key of 32 bytes, not of 48"},
		{"not base64", strings.Repeat("?", 44), "", "line 1 of the keys: its 44 characters are not standard base64"},
		{"no padding", keyText(1)[:43], "", "its 43 characters are not standard base64"},
		{"loose bits", keyText(1)[:42] + "F=", "", "its 44 characters are not standard base64"},
		{"URL alphabet", strings.ReplaceAll(keyText(0xff), "/", "_"), "", "not standard base64"},
		{"two in a line", keyText(1) + " " + keyText(2), "", "its 89 characters are not standard base64"},
		{"comma at the end", keyText(1) + ",", "", "a key is missing beside a comma"},
		{"twice", keyText(1) + "\n\n" + keyText(1), "", "the key of line 3, " + id + ", is there already, in line 1"},
		{"unknown active", keyText(1), "0123456789abcdef", `to be "0123456789abcdef", but the keys are ` + id},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseRing(c.text, c.active)
			f := fault.From(err)
			if f == nil || f.Code != codeKeys || f.Class != fault.Usage || f.Hint == "" || !strings.Contains(f.Message, c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			for word := range strings.FieldsSeq(c.text) {
				if shown := fmt.Sprint(f.Message, f.Hint, f.Details); len(word) > 8 && strings.Contains(shown, word[:8]) {
					t.Errorf("a key is shown: %s", shown)
				}
			}
		})
	}
}

func TestCustomer(t *testing.T) {
	t.Parallel()
	r := ring(t, keyText(1))
	for _, bad := range []string{"", "a\nb", "a\x00", "\u0085", "\xff", strings.Repeat("a", 129)} {
		_, sealErr := r.Sealer(bad)
		_, openErr := r.Opener(bad)
		if !fault.Is(sealErr, "envelope.customer") || !fault.Is(openErr, "envelope.customer") {
			t.Errorf("%q: %v, %v", bad, sealErr, openErr)
		}
	}
	for _, good := range []string{"a", "practice: 7", "Praxis Müller", strings.Repeat("a", 128)} {
		if err := CheckCustomer(good); err != nil {
			t.Error(err)
		}
	}
}

// TestNoKeyInText prints a ring in every way.
func TestNoKeyInText(t *testing.T) {
	t.Parallel()
	r := ring(t, keyText(0x41))
	for _, format := range []string{"%v", "%+v", "%s", "%#v", "%x"} {
		shown := fmt.Sprintf(format, r)
		for _, secret := range []string{strings.Repeat("A", 8), keyText(0x41)[:8], strings.Repeat("41", 8), strings.Repeat("0x41, ", 4)} {
			if strings.Contains(shown, secret) {
				t.Errorf("%s shows the key: %s", format, shown)
			}
		}
	}
}
