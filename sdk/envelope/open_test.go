package envelope

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestTampering does to a line what must not go unnoticed.
func TestTampering(t *testing.T) {
	t.Parallel()
	r := ring(t, keyText(1), keyText(2))
	s := sealer(t, r)
	const index = 5
	good := s.Seal(nil, []byte("{\"a\":1}\n"), index)
	good = good[:len(good)-1]
	other, err := ring(t, keyText(1)).Sealer("practice-8")
	if err != nil {
		t.Fatal(err)
	}
	foreign := sealer(t, ring(t, keyText(9)))
	line := func(b []byte) []byte { return b[:len(b)-1] }
	replace := func(at int, with string) []byte {
		return append(append(slices.Clone(good[:at]), with...), good[at+len(with):]...)
	}
	flip := func(at int) []byte {
		b := slices.Clone(good)
		b[at] = alphabet[(strings.IndexByte(alphabet, b[at])+4)%64]
		return b
	}
	for _, c := range []struct {
		name string
		line []byte
		code string
		want string
	}{
		{"altered IV", flip(ivAt), Tampered, "line 6 (index 5) does not open"},
		{"altered ciphertext", flip(sealedAt), Tampered, "it was altered"},
		{"altered tag", flip(len(good) - 8), Tampered, "it was altered"},
		{"altered key id", replace(idAt, "0000000000000000"), ForeignKey, "was sealed with key 0000000000000000, which is not among those given: " + strings.Join(r.IDs(), ", ")},
		{"id of the other key", replace(idAt, r.IDs()[1]), Tampered, "does not open with key " + r.IDs()[1]},
		{"other customer", line(other.Seal(nil, []byte("x"), index)), Tampered, `customer "practice-7"`},
		{"foreign key", line(foreign.Seal(nil, []byte("x"), index)), ForeignKey, "key " + foreign.KeyID()},
		{"from before", line(s.Seal(nil, []byte("x"), 4)), Tampered, "it belongs at index 4"},
		{"from behind", line(s.Seal(nil, []byte("x"), 705)), Tampered, "it belongs at index 705"},
		{"from far away", line(s.Seal(nil, []byte("x"), 5000)), Tampered, "it was altered, is not in its place"},
		{"empty", nil, Malformed, "it is no JSON object with a text \"encrypted_data\""},
		{"not sealed", []byte(`{"patient":"Erika Mustermann"}`), Malformed, "it is no JSON object with"},
		{"another case", bytes.Replace(good, []byte("encrypted"), []byte("Encrypted"), 1), Malformed, "it is no JSON object with"},
		{"no text", []byte(`{"encrypted_data":null}`), Malformed, "it is no JSON object with"},
		{"a list of it", []byte("[" + string(good) + "]"), Malformed, "it is no JSON object with"},
		{"twice", append(slices.Clone(good), good...), Malformed, "it is no JSON object with"},
		{"short", []byte(`{"encrypted_data":"` + r.Active() + `:AAAAAAAAAAAAAAAA:AAAA"}`), Malformed, "has 38 bytes, expected 58 at least"},
		{"cut", good[:len(good)-1], Malformed, "it is no JSON object with"},
		{"bytes behind", append(slices.Clone(good), 'x'), Malformed, "it is no JSON object with"},
		{"capital id", replace(idAt, strings.ToUpper("abcdef0123456789")), Malformed, "its key id is not"},
		{"no first colon", replace(ivAt-1, "A"), Malformed, "not separated by colons"},
		{"no second colon", replace(sealedAt-1, "A"), Malformed, "not separated by colons"},
		{"IV with padding", replace(ivAt+12, "AAA="), Malformed, "its IV is not 12 bytes"},
		{"IV with another letter", replace(ivAt, "-"), Malformed, "its IV is not 12 bytes"},
		{"ciphertext with another letter", replace(sealedAt, "_"), Malformed, "is not standard base64"},
		{"ciphertext with a line end", replace(sealedAt, "\r\r\r\r"), Malformed, "is not standard base64"},
		{"padding in the middle", replace(sealedAt, "AA=="), Malformed, "is not standard base64"},
		{"letter missing", append(slices.Clone(good[:len(good)-3]), lineEnd...), Malformed, "is not standard base64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := opener(t, r).Open(c.line, index)
			f := fault.From(err)
			if f == nil || f.Code != c.code || f.Class != fault.Data || !strings.Contains(f.Message, c.want) {
				t.Fatalf("got %v, want %s with %q", err, c.code, c.want)
			}
			if f.Details["index"] != "5" || f.Details["line"] != "6" || !strings.HasPrefix(f.Message, "line 6 (index 5) ") {
				t.Errorf("the place is not told: %v %v", f, f.Details)
			}
			if strings.Contains(f.Message, "Mustermann") {
				t.Error("data is shown")
			}
		})
	}
	if got, err := opener(t, r).Open(good, index); err != nil || string(got) != "{\"a\":1}\n" {
		t.Errorf("the line itself: %q, %v", got, err)
	}
}

// TestOtherJSON opens lines that say what the sealer's do in other words, as a JSON parser does.
func TestOtherJSON(t *testing.T) {
	t.Parallel()
	r := ring(t, keyText(1), keyText(2))
	unit := text(100, 3)
	good, value := "", ""
	for s := sealer(t, r); !strings.Contains(value, "/"); { // which can be escaped; one line in twelve has none
		good = strings.TrimSuffix(string(s.Seal(nil, unit, 5)), "\n")
		value = good[len(lineStart) : len(good)-len(lineEnd)]
	}
	for _, line := range []string{
		good + "\r",
		" \t" + good + " \t\r",
		`{ "encrypted_data" : "` + value + `" }`,
		`{"row":5,"encrypted_data":"` + value + `"}`,
		`{"encrypted_data":"` + value + `","at":{"n":[1,2,{}]},"note":"a \" and } "}`,
		`{"encrypted_data":"` + strings.ReplaceAll(value, "/", `\/`) + `"}`,
		`{"encrypted_data":"` + strings.ReplaceAll(value, ":", `\u003a`) + `"}`,
		`{"encr\u0079pted_data":"` + value + `"}`,
		`{"encrypted_data":"of another","encrypted_data":"` + value + `"}`, // the last counts, as everywhere
	} {
		if got, err := opener(t, r).Open([]byte(line), 5); err != nil || !bytes.Equal(got, unit) {
			t.Errorf("%s: %v", line, err)
		}
		if _, err := opener(t, r).Open([]byte(line), 6); !fault.Is(err, Tampered) {
			t.Errorf("%s, in another place: %v", line, err)
		}
		if !Holds([]byte(line)) {
			t.Errorf("%s is not taken for an envelope", line)
		}
	}
	if Holds([]byte(`{"patient":1}`)) || Holds([]byte(good[:len(good)-1])) {
		t.Error("anything is taken for an envelope")
	}
}

// TestEveryBit flips every bit of a line; none may go unnoticed.
func TestEveryBit(t *testing.T) {
	t.Parallel()
	r := ring(t, keyText(1))
	o := opener(t, r)
	for size := range 2 {
		good := sealer(t, r).Seal(nil, text(size, 1), 0)
		good = good[:len(good)-1]
		for at := range good {
			for bit := range 8 {
				good[at] ^= 1 << bit
				if _, err := o.Open(good, 0); err == nil {
					t.Errorf("%d bytes: bit %d of byte %d made no difference", size, bit, at)
				}
				good[at] ^= 1 << bit
			}
		}
	}
}

// TestReuse makes sure that a line that doesn't open leaves nothing behind.
func TestReuse(t *testing.T) {
	t.Parallel()
	r := ring(t, keyText(1))
	s, o := sealer(t, r), opener(t, r)
	for i := range int64(20) {
		if _, err := o.Open(bytes.Repeat([]byte("A"), int(i)), i); !fault.Is(err, Malformed) {
			t.Fatal(err)
		}
		moved := s.Seal(nil, text(1000, 1), i+1)
		if _, err := o.Open(moved[:len(moved)-1], i); !fault.Is(err, Tampered) || fault.From(err).Details["belongs_at"] != strconv.FormatInt(i+1, 10) {
			t.Fatal(err)
		}
		unit := text(int(i)*100, 2)
		line := s.Seal(nil, unit, i)
		if got, err := o.Open(line[:len(line)-1], i); err != nil || !bytes.Equal(got, unit) {
			t.Fatal(err)
		}
	}
}

// FuzzOpen opens anything. What opens is what the sealer made, to the byte.
func FuzzOpen(f *testing.F) {
	r := ring(f, keyText(1), keyText(2))
	line := sealer(f, r).Seal(nil, []byte("{}\n"), 3)
	f.Add(line[:len(line)-1], int64(3))
	f.Add(line[:len(line)-1], int64(4))
	f.Add([]byte(`{"encrypted_data":"`+r.Active()+`:AAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAA=="}`), int64(0))
	f.Add([]byte(`{"encrypted_data":"`), int64(0))
	f.Add([]byte(`{"n":1, "encrypted_data" : "`+string(line[idAt:len(line)-3])+`"}`+"\r"), int64(3))
	f.Add([]byte{}, int64(0))
	o := opener(f, r)
	f.Fuzz(func(t *testing.T, line []byte, index int64) {
		given := slices.Clone(line)
		unit, err := o.Open(line, index)
		if !bytes.Equal(given, line) {
			t.Fatal("the line was changed")
		}
		if err != nil {
			if code := fault.From(err).Code; code != Malformed && code != ForeignKey && code != Tampered {
				t.Fatal(err)
			}
			return
		}
		// The same key, IV and unit give the same line again.
		said, _ := value(line)
		k, _ := r.find(said[:idSize])
		b := &scratch{context: o.aad}
		copy(b.iv[:], o.iv)
		if again := k.seal(nil, slices.Clone(unit), b); string(again) != lineStart+string(said)+lineEnd+"\n" {
			t.Fatalf("%q opened, but its unit seals to %q", line, again)
		}
	})
}

// FuzzParseRing parses anything; what is accepted seals and opens.
func FuzzParseRing(f *testing.F) {
	f.Add(keyText(1)+"\n# x\n"+keyText(2), "")
	f.Add(keyText(1)+","+keyText(2), "72cd6e8422c407fb")
	f.Add("x,,\n#", "x")
	f.Fuzz(func(t *testing.T, text, active string) {
		r, err := ParseRing(text, active)
		if err != nil {
			if !fault.Is(err, codeKeys) {
				t.Fatal(err)
			}
			return
		}
		if active != "" && r.Active() != active {
			t.Fatalf("%s is active, not %s", r.Active(), active)
		}
		line := sealer(t, r).Seal(nil, []byte("x"), 0)
		if got, err := opener(t, r).Open(line[:len(line)-1], 0); err != nil || string(got) != "x" {
			t.Fatal(err)
		}
	})
}
