package envelope

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// receiptVector is the fenced values of RECEIPT.md, after which other programs are written. It was computed with
// Python's hmac and hashlib.
func receiptVector(t testing.TB) map[string]string {
	t.Helper()
	text, err := os.ReadFile("RECEIPT.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^([a-z ]+):\n\n    (.+)$").FindAllStringSubmatch(string(text), -1) {
		found[m[1]] = m[2]
	}
	return found
}

var vectorStatement = Statement{
	RunID: "appointments_1767225600000_0a1b2c3d", Procedure: "appointments",
	Parameters: "41dbf1fa216ebd4b38dac4e574ab8ea3c3ad70443c474c810843458038d570d4",
	Rows:       7, Bytes: 1234, SHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	KeyID: "630dcd2966c43366", Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
}

func TestReceiptVector(t *testing.T) {
	t.Parallel()
	v := receiptVector(t)
	r := ring(t, v["key"])
	given := vectorStatement
	given.KeyID = "" // is that of the key
	statement, mac, err := r.Authenticate(given)
	if err != nil || statement != v["statement"] || mac != v["mac"] {
		t.Errorf("%s %s, %v; RECEIPT.md has %v", statement, mac, err, v)
	}
	if got, err := r.Verify(v["statement"], v["mac"]); err != nil || got != vectorStatement {
		t.Errorf("%+v, %v", got, err)
	}
	digest, err := Digest(map[string]any{"from_date": "2026-01-01", "to_date": nil, "compression": "zip", "encrypted": true})
	if err != nil || digest != v["digest of the parameters"] || digest != vectorStatement.Parameters {
		t.Errorf("digest %s, %v; RECEIPT.md has %v", digest, err, v)
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	// Computed with Python: hashlib.sha256(json.dumps(…, sort_keys=True, separators=(",", ":"), ensure_ascii=False)).
	got, err := Digest(map[string]any{"n": int64(1) << 60, "d": json.Number("1.50"), "b": false, "t": "a\"b\\\x01\n<é\u2028>\x7f", "x": nil})
	if err != nil || got != "fb009b601fcc6de6009c0ab33fee187f9335fbb39f540b37ed4dee0717badd8d" {
		t.Error(got, err)
	}
	if _, err := Digest(map[string]any{"f": 1.5}); err == nil {
		t.Error("a float has no exact text")
	}
}

// TestReceiptRefused: whatever is not the canonical line with its MAC is no receipt.
func TestReceiptRefused(t *testing.T) {
	t.Parallel()
	r := ring(t, keyText(1), keyText(2))
	good, mac, err := r.Authenticate(vectorStatement)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring(t, keyText(2), keyText(1)).Verify(good, mac); err != nil {
		t.Error("another key is active:", err)
	}
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, c := range []struct{ name, statement, mac, code string }{
		{"other rows", replace(`"rows":7`, `"rows":8`), mac, ReceiptForged},
		{"other run", replace("_0a1b2c3d", "_0a1b2c3e"), mac, ReceiptForged},
		{"other time", replace("2026-", "2027-"), mac, ReceiptForged},
		{"other mac", good, strings.Repeat("0", 64), ReceiptForged},
		{"capital mac", good, strings.ToUpper(mac), ReceiptMalformed},
		{"short mac", good, mac[:62], ReceiptMalformed},
		{"long mac", good, mac + "00", ReceiptMalformed},
		{"no mac", good, "", ReceiptMalformed},
		{"other key", replace(r.Active(), "0000000000000000"), mac, ReceiptForeign},
		{"id of the other key", replace(r.Active(), r.IDs()[1]), mac, ReceiptForged},
		{"space", replace(`"rows":7`, `"rows": 7`), mac, ReceiptMalformed},
		{"line end", good + "\n", mac, ReceiptMalformed},
		{"other number", replace(`"rows":7`, `"rows":7.0`), mac, ReceiptMalformed},
		{"exponent", replace(`"rows":7`, `"rows":7e0`), mac, ReceiptMalformed},
		{"not a number", replace(`"rows":7`, `"rows":NaN`), mac, ReceiptMalformed},
		{"large number", replace(`"rows":7`, `"rows":9007199254740992`), mac, ReceiptMalformed},
		{"negative", replace(`"rows":7`, `"rows":-7`), mac, ReceiptMalformed},
		{"member twice", replace(`"rows":7`, `"rows":7,"rows":7`), mac, ReceiptMalformed},
		{"member in another case", replace(`"rows"`, `"Rows"`), mac, ReceiptMalformed},
		{"member more", replace(`"rows"`, `"more":1,"rows"`), mac, ReceiptMalformed},
		{"member missing", replace(`"rows":7,`, ``), mac, ReceiptMalformed},
		{"escape", replace("_0a1b2c3d", `_0a1b2c3\u0064`), mac, ReceiptMalformed},
		{"other date", replace("2026-01-01", "2026-02-30"), mac, ReceiptMalformed},
		{"time without fraction", replace(".000Z", "Z"), mac, ReceiptMalformed},
		{"capital digest", replace("e3b0", "E3B0"), mac, ReceiptMalformed},
		{"nested", strings.Repeat("[", 4000), mac, ReceiptMalformed},
		{"large", replace("_0a1b2c3d", strings.Repeat("0", maxStatement)), mac, ReceiptMalformed},
		{"empty", "", mac, ReceiptMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := r.Verify(c.statement, c.mac); !fault.Is(err, c.code) || fault.From(err).Class != fault.Data || fault.From(err).Hint == "" {
				t.Errorf("got %v, want %s", err, c.code)
			}
		})
	}
	for name, change := range map[string]func(*Statement){
		"negative": func(s *Statement) { s.Rows = -1 }, "inexact": func(s *Statement) { s.Bytes = 1 << 53 },
		"no run": func(s *Statement) { s.RunID = "" }, "quote": func(s *Statement) { s.Procedure = `a"` },
		"digest": func(s *Statement) { s.SHA256 = "-" }, "no time": func(s *Statement) { s.Time = time.Time{} },
	} {
		s := vectorStatement
		change(&s)
		if _, _, err := r.Authenticate(s); !fault.Is(err, ReceiptMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzVerify verifies anything: what passes is what Authenticate writes, to the byte.
func FuzzVerify(f *testing.F) {
	r := ring(f, keyText(1), keyText(2))
	statement, mac, err := r.Authenticate(vectorStatement)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(statement, mac)
	f.Add(strings.Replace(statement, `"rows":7`, `"rows":7,"rows":7`, 1), mac)
	f.Add(strings.Replace(statement, `"rows":7`, `"rows":NaN`, 1), mac)
	f.Add(strings.Repeat("[", 1000), mac)
	f.Fuzz(func(t *testing.T, statement, mac string) {
		s, err := r.Verify(statement, mac)
		if err != nil {
			if code := fault.From(err).Code; code != ReceiptMalformed && code != ReceiptForged && code != ReceiptForeign {
				t.Fatal(err)
			}
			// Nobody who lacks the key gets this far, so the parser is looked at by itself.
			if s, ok := parseStatement(statement); ok && s.canonical() != statement {
				t.Fatalf("%q is taken for canonical", statement)
			}
			return
		}
		if again, againMAC, err := r.Authenticate(s); err != nil || again != statement || againMAC != mac {
			t.Fatalf("%q passed, but is written as %q (%v)", statement, again, err)
		}
	})
}
