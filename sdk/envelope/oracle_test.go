package envelope

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/python"
)

// TestBase64 holds the coder and the decoder against the standard library's.
func TestBase64(t *testing.T) {
	t.Parallel()
	for n := range 300 {
		raw := text(n, uint64(n))
		want := base64.StdEncoding.EncodeToString(raw)
		if got := appendBase64([]byte("x"), raw); string(got) != "x"+want {
			t.Fatalf("%d bytes: %s, want %s", n, got, "x"+want)
		}
		pairs := make([]byte, len(want))
		if putPairs(pairs, raw); string(pairs) != want {
			t.Fatalf("%d bytes by pairs: %s, want %s", n, pairs, want)
		}
		got, ok := appendDecoded([]byte("x"), []byte(want))
		if !ok || string(got) != "x"+string(raw) {
			t.Fatalf("%d bytes: %q, %v", n, got, ok)
		}
		for at := range want {
			for _, c := range []byte("\x00\n\r =-_\x80\xff/") {
				bad := []byte(want)
				bad[at] = c
				std, err := base64.StdEncoding.Strict().DecodeString(string(bad))
				// The library leaves line ends out.
				valid := err == nil && !bytes.ContainsAny(bad, "\r\n")
				if got, ok := appendDecoded(nil, bad); ok != valid || ok && !bytes.Equal(got, std) {
					t.Fatalf("%q: %v, want %v", bad, ok, valid)
				}
			}
		}
	}
}

// TestBase64Bounds: nothing is written beside the place of the letters.
func TestBase64Bounds(t *testing.T) {
	t.Parallel()
	for n := range 300 {
		raw := text(n, uint64(n))
		out := bytes.Repeat([]byte{'#'}, base64.StdEncoding.EncodedLen(n)+64)
		room := len(out) - 32
		putPairs(putVectors(out[32:room], raw[:n:n]))
		want := strings.Repeat("#", 32) + base64.StdEncoding.EncodeToString(raw) + strings.Repeat("#", 32)
		if string(out) != want {
			t.Fatalf("%d bytes: %s, want %s", n, out, want)
		}
	}
}

// vectors reads cases from a file of NIST's.
func vectors(t *testing.T, name string) (cases []map[string][]byte) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		field, value, _ := strings.Cut(line, "=")
		field = strings.TrimSpace(field)
		if field == "Key" {
			cases = append(cases, map[string][]byte{})
		}
		raw, err := hex.DecodeString(strings.TrimSpace(value))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		cases[len(cases)-1][field] = raw
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return cases
}

// TestVectors takes NIST's vectors through the path of every unit. Seal and Open set
// the IV and the additional data themselves; everything behind that is the same.
func TestVectors(t *testing.T) {
	t.Parallel()
	line := func(r *Ring, c map[string][]byte) string {
		return `{"encrypted_data":"` + r.Active() + ":" + base64.StdEncoding.EncodeToString(c["IV"]) + ":" +
			base64.StdEncoding.EncodeToString(append(bytes.Clone(c["CT"]), c["Tag"]...)) + `"}`
	}
	sealed := vectors(t, "gcmEncryptExtIV256.rsp")
	for i, c := range sealed {
		r := ring(t, base64.StdEncoding.EncodeToString(c["Key"]))
		b := &scratch{context: c["AAD"]}
		if copy(b.iv[:], c["IV"]) != ivSize {
			t.Fatalf("case %d: the IV has %d bytes", i, len(c["IV"]))
		}
		if got, want := string(r.keys[0].seal(nil, c["PT"], b)), line(r, c)+"\n"; got != want {
			t.Errorf("case %d: %s, want %s", i, got, want)
		}
	}
	opened := vectors(t, "gcmDecrypt256.rsp")
	for i, c := range append(opened, sealed...) {
		r := ring(t, base64.StdEncoding.EncodeToString(c["Key"]))
		o := opener(t, r)
		o.aad = c["AAD"]
		got, err := o.open([]byte(line(r, c)), 0)
		if _, fails := c["FAIL"]; fails != (err != nil) || !fails && !bytes.Equal(got, c["PT"]) {
			t.Errorf("case %d: %x, %v", i, got, err)
		}
	}
	if len(sealed) != 25 || len(opened) != 11 {
		t.Errorf("%d and %d cases, expected 25 and 11", len(sealed), len(opened))
	}
}

// TestPythonOpens opens our lines with another implementation, written from the
// description of the format alone.
func TestPythonOpens(t *testing.T) {
	t.Parallel()
	r := ring(t, keyText(1), keyText(2))
	var sealed, plain []byte
	for i := range int64(50) {
		unit := text(int(i*i), uint64(i))
		sealed = sealer(t, r).Seal(sealed, unit, i)
		plain = append(plain, unit...)
	}
	got := python.Script(t, `
import sys, json, base64, hashlib
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
key, customer = base64.b64decode(sys.argv[1]), sys.argv[2]
for index, line in enumerate(sys.stdin.buffer):
    envelope = json.loads(line)
    assert list(envelope) == ["encrypted_data"], envelope
    key_id, iv, sealed = envelope["encrypted_data"].split(":")
    assert key_id == hashlib.sha256(key).hexdigest()[:16], key_id
    iv, sealed = base64.b64decode(iv, validate=True), base64.b64decode(sealed, validate=True)
    assert len(iv) == 12
    aad = f"stream:{customer}:{index}".encode("utf-8")
    sys.stdout.buffer.write(AESGCM(key).decrypt(iv, sealed, aad))
`, sealed, keyText(1), customer)
	if !bytes.Equal(got, plain) {
		t.Errorf("%d bytes came back, expected %d", len(got), len(plain))
	}
}

// TestOpensPython opens lines that another implementation sealed.
func TestOpensPython(t *testing.T) {
	t.Parallel()
	r := ring(t, keyText(1), keyText(2))
	lines := python.Script(t, `
import sys, base64, hashlib, os
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
key, customer = base64.b64decode(sys.argv[1]), sys.argv[2]
for index in range(50):
    iv = os.urandom(12)
    sealed = AESGCM(key).encrypt(iv, b"row %d" % index * index, f"stream:{customer}:{index}".encode())
    print('{"encrypted_data":"%s:%s:%s"}' % (hashlib.sha256(key).hexdigest()[:16],
        base64.b64encode(iv).decode(), base64.b64encode(sealed).decode()))
`, nil, keyText(2), "Praxis Müller")
	o, err := r.Opener("Praxis Müller")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range bytes.Split(bytes.TrimSuffix(lines, []byte("\n")), []byte("\n")) {
		want := strings.Repeat("row "+strconv.Itoa(i), i)
		if got, err := o.Open(line, int64(i)); err != nil || string(got) != want {
			t.Fatalf("line %d: %q, %v, want %q", i, got, err, want)
		}
	}
}
