package webhook

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/python"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

const (
	secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	other  = "whsec_Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="
)

var (
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 250e6, time.UTC)
	clock = func() time.Time { return noon }
)

func completed() Event {
	return Event{Event: "job.completed", Timestamp: noon, DeliveryID: "del_1772366400000_00ff", Attempt: 2, Data: json.RawMessage(
		`{"job_id":"patients_1_a","signature":"sha256=00","s3_url":"https://store/x?a=1&b=<2>","note":"ä \"signature\":\"x\","}`)}
}

func batch() Event {
	e := Event{Event: Batch, Timestamp: noon, DeliveryID: "del_1_0a", Attempt: 1}
	for i := range 3 {
		member := completed()
		member.DeliveryID = fmt.Sprintf("del_1_%d", i)
		e.Events = append(e.Events, member)
	}
	return e
}

func sign(t *testing.T, e Event, secrets ...string) ([]byte, http.Header) {
	t.Helper()
	body, header, err := Sign(e, secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return body, header
}

func code(err error) string {
	var f *fault.Fault
	if errors.As(err, &f) {
		return f.Code
	}
	return fmt.Sprint(err)
}

// TestForm holds the bytes of a body: receivers in the field read them.
func TestForm(t *testing.T) {
	t.Parallel()
	e := completed()
	e.Data = json.RawMessage(`{"job_id":"patients_1_a","s3_url":"https://store/x?a=1&b=2"}`)
	body, header := sign(t, e, secret, other)
	// The signatures are what Python's hmac makes of these bytes.
	want := `{"event":"job.completed","timestamp":"2026-03-01T12:00:00.250Z",` +
		`"signature":"sha256=a671cc5af17a890158aef7d73e5590e4fd9c008c6c815deadf1ffef067a51a33",` +
		`"delivery_id":"del_1772366400000_00ff","attempt":2,"data":{"job_id":"patients_1_a","s3_url":"https://store/x?a=1&b=2"}}`
	if string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
	for name, want := range map[string]string{
		"content-type": "application/json", "webhook-id": "del_1772366400000_00ff", "webhook-timestamp": "1772366400",
		"x-cipherstream-signature": "sha256=76c1b6296831f9f9cc4e269a891467569f48322112971f7cd46b45c9a2b7a8fa",
		"webhook-signature": "v1,FXBXLzxs/CLX4guqtIysQyE7HHfrFgrZQp0TsR2nqx0= " +
			"v1,h9e2Rcuczlxq28lm5XkCatEv99EbxAAci+hReM2ES0E=",
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
}

// publishedCheck is the check of the published description, the specification of Standard Webhooks, and the check of the
// member signature, written from their words with what Python has.
const publishedCheck = `
import base64, hashlib, hmac, json, re, sys

def published(payload, signature, secret):
    expected = hmac.new(secret.encode("utf-8"), payload, hashlib.sha256).hexdigest()
    return hmac.compare_digest("sha256=" + expected, signature)

def standard(payload, id, timestamp, signatures, secret):
    key = base64.b64decode(secret[len("whsec_"):])
    to_sign = ("%s.%s." % (id, timestamp)).encode() + payload
    expected = "v1," + base64.b64encode(hmac.new(key, to_sign, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(expected, s) for s in signatures.split(" "))

def member(payload, secret):
    signature = json.loads(payload)["signature"]
    return published(payload.replace(b'"signature":"%s",' % signature.encode(), b"", 1), signature, secret)

secret, own, id, timestamp, signatures = sys.argv[1:]
body = sys.stdin.buffer.read()
print(published(body, own, secret), standard(body, id, timestamp, signatures, secret), member(body, secret))
`

func TestPublishedCheck(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]Event{"one": completed(), "batch": batch()} {
		body, header := sign(t, e, secret, other)
		for _, c := range []struct{ secret, want string }{
			{secret, "True True True"},
			{other, "False True False"}, // the pending one signs for Standard Webhooks only
			{NewSecret(), "False False False"},
		} {
			got := python.Script(t, publishedCheck, body, c.secret, header.Get(HeaderSignature), header.Get(HeaderID),
				header.Get(HeaderTimestamp), header.Get(HeaderStandardSignature))
			if strings.TrimSpace(string(got)) != c.want {
				t.Errorf("%s: %s; want %s", name, got, c.want)
			}
		}
		changed := append([]byte(" "), body...)
		got := python.Script(t, publishedCheck, changed, secret, header.Get(HeaderSignature), header.Get(HeaderID),
			header.Get(HeaderTimestamp), header.Get(HeaderStandardSignature))
		if strings.TrimSpace(string(got)) != "False False False" {
			t.Errorf("%s: a changed body: %s", name, got)
		}
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]Event{"one": completed(), "batch": batch()} {
		body, header := sign(t, e, secret, other)
		for _, secrets := range [][]string{{secret}, {other}, {NewSecret(), secret}, {other, secret}} {
			v := Verifier{Secrets: secrets, Now: clock}
			got, err := v.Verify(header, body)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if got.DeliveryID != e.DeliveryID || !got.Timestamp.Equal(e.Timestamp) || got.Attempt != e.Attempt || got.Event != e.Event ||
				len(got.Events) != len(e.Events) || !bytes.Equal(got.Data, e.Data) {
				t.Errorf("%s: got %+v", name, got)
			}
		}
		// Without the headers of Standard Webhooks, and without any.
		v := Verifier{Secrets: []string{secret}, Now: clock}
		own := http.Header{}
		own.Set(HeaderSignature, header.Get(HeaderSignature))
		if _, err := v.Verify(own, body); err != nil {
			t.Errorf("%s, its own header only: %v", name, err)
		}
		if got, err := v.VerifyBody(body); err != nil || got.DeliveryID != e.DeliveryID {
			t.Errorf("%s, the body only: %+v, %v", name, got, err)
		}
	}
}

// TestAlteredBytes changes each byte of the body and of the signed headers, and takes bytes away and adds some.
func TestAlteredBytes(t *testing.T) {
	t.Parallel()
	body, header := sign(t, completed(), secret)
	own := http.Header{}
	own.Set(HeaderSignature, header.Get(HeaderSignature))
	v := Verifier{Secrets: []string{secret}, Now: clock}
	for i := range body {
		for _, changed := range [][]byte{
			slices.Concat(body[:i], []byte{body[i] ^ 1}, body[i+1:]),
			slices.Concat(body[:i], body[i+1:]),
			slices.Concat(body[:i], []byte{body[i]}, body[i:]),
		} {
			for _, h := range []http.Header{header, own} {
				if _, err := v.Verify(h, changed); code(err) != CodeSignature {
					t.Errorf("byte %d: %v", i, err)
				}
			}
			if e, err := v.VerifyBody(changed); code(err) != CodeSignature {
				t.Errorf("byte %d, the body only: %+v, %v", i, e, err)
			}
		}
	}
	for _, name := range []string{HeaderID, HeaderTimestamp, HeaderStandardSignature} {
		value := header.Get(name)
		for i := range value {
			h := header.Clone()
			h.Set(name, value[:i]+string(value[i]^1)+value[i+1:])
			if _, err := v.Verify(h, body); code(err) != CodeSignature {
				t.Errorf("%s, byte %d: %v", name, i, err)
			}
		}
		h := header.Clone()
		h.Add(name, value)
		if _, err := v.Verify(h, body); code(err) != CodeSignature {
			t.Errorf("%s twice: %v", name, err)
		}
		h.Del(name)
		if _, err := v.Verify(h, body); code(err) != CodeSignature {
			t.Errorf("without %s: %v", name, err)
		}
	}
	for i, value := range []string{"", "sha256=", header.Get(HeaderSignature)[7:], strings.ToUpper(header.Get(HeaderSignature)), header.Get(HeaderSignature) + "0"} {
		own.Set(HeaderSignature, value)
		if _, err := v.Verify(own, body); code(err) != CodeSignature {
			t.Errorf("own header %d: %v", i, err)
		}
	}
}

// TestForeignHeaders: an identifier and a time that a secret has signed, but of another delivery than the body's, are not
// believed. Nobody but the sender can make such a request; it would be a defect of ours.
func TestForeignHeaders(t *testing.T) {
	t.Parallel()
	body, header := sign(t, completed(), secret)
	k, err := parseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"del_other", header.Get(HeaderTimestamp)}, {header.Get(HeaderID), "1772366401"}} {
		h := header.Clone()
		h.Set(HeaderID, c[0])
		h.Set(HeaderTimestamp, c[1])
		h.Set(HeaderStandardSignature, "v1a,xyz v1,"+base64.StdEncoding.EncodeToString(k.standard(c[0], c[1], body)))
		v := Verifier{Secrets: []string{secret}, Now: clock}
		if _, err := v.Verify(h, body); code(err) != CodeSignature {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestTolerance(t *testing.T) {
	t.Parallel()
	body, header := sign(t, completed(), secret)
	for _, c := range []struct {
		tolerance, later time.Duration
		want             string
	}{
		{0, 5 * time.Minute, ""}, {0, 5*time.Minute + 1, CodeTime}, {0, -5 * time.Minute, ""}, {0, -5*time.Minute - 1, CodeTime},
		{time.Second, time.Second, ""}, {time.Second, 2 * time.Second, CodeTime}, {-1, 1e6 * time.Hour, ""},
	} {
		v := Verifier{Secrets: []string{secret}, Tolerance: c.tolerance, Now: func() time.Time { return noon.Add(c.later) }}
		_, err := v.Verify(header, body)
		if _, again := v.VerifyBody(body); code(again) != code(err) {
			t.Errorf("%v: %v, and of the body only %v", c, err, again)
		}
		if (err == nil) != (c.want == "") || err != nil && code(err) != c.want {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	if a, b := NewSecret(), NewSecret(); a == b || CheckSecret(a) != nil {
		t.Errorf("%q, %q", a, b)
	}
	for _, text := range []string{"", "whsec_", secret[6:], "x" + secret, secret + "\n", secret[:20] + "\n" + secret[20:], secret[:len(secret)-1],
		"whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 31)), "whsec_" + base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{255}, 32))} {
		_, _, err := Sign(completed(), secret, text)
		v := Verifier{Secrets: []string{text}}
		_, verify := v.Verify(nil, nil)
		_, body := v.VerifyBody(nil)
		for _, err := range []error{err, verify, body, CheckSecret(text)} {
			if code(err) != CodeSecret || len(text) > 10 && strings.Contains(err.Error(), text[6:]) {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
	if _, _, err := Sign(completed()); code(err) != CodeSecret {
		t.Error(err)
	}
}

// TestBodies: what is signed and is no event is told apart from what is not signed.
func TestBodies(t *testing.T) {
	t.Parallel()
	k, err := parseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	v := Verifier{Secrets: []string{secret}, Now: clock}
	for _, body := range []string{"", "null", "[]", "{}", `{"event":"x","timestamp":"yesterday","delivery_id":"d"}`, `{"event":"x","timestamp":"2026-03-01T12:00:00Z"}`,
		`{"event":"batch","timestamp":"2026-03-01T12:00:00Z","delivery_id":"d","events":[{}]}`} {
		h := http.Header{}
		h.Set(HeaderSignature, k.hexadecimal([]byte(body)))
		if _, err := v.Verify(h, []byte(body)); code(err) != CodeBody {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	body, header := sign(t, completed(), secret)
	v := Verifier{Secrets: []string{secret}, Now: clock}
	r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
	r.Header = header
	if e, err := v.Request(httptest.NewRecorder(), r); err != nil || e.DeliveryID != completed().DeliveryID {
		t.Errorf("%+v, %v", e, err)
	}
	r = httptest.NewRequest("POST", "/", bytes.NewReader(make([]byte, MaxBody+1)))
	if _, err := v.Request(httptest.NewRecorder(), r); code(err) != CodeBody {
		t.Error(err)
	}
}

func TestSeen(t *testing.T) {
	t.Parallel()
	now := noon
	s := Seen{Keep: time.Hour, Now: func() time.Time { return now }}
	first := func(id string, want bool) {
		t.Helper()
		if got := s.First(id); got != want {
			t.Errorf("%s at %s: %v", id, now.Sub(noon), got)
		}
	}
	first("a", true)
	first("a", false)
	s.Forget("a")
	first("a", true)
	now = noon.Add(59 * time.Minute)
	first("b", true)
	now = noon.Add(time.Hour)
	first("a", false)
	now = noon.Add(119 * time.Minute)
	first("b", false)
	s.Forget("b")
	first("b", true)
	now = noon.Add(2*time.Hour + time.Second)
	first("a", true)
	now = noon.Add(20 * time.Hour)
	first("b", true)
	if n := len(s.young) + len(s.old); n != 1 {
		t.Errorf("%d identifiers are remembered, want one", n)
	}
}

// FuzzVerifyBody: no text makes it panic, and what it accepts under a secret is what Sign makes with it.
func FuzzVerifyBody(f *testing.F) {
	body, _, err := Sign(completed(), secret)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	for _, text := range []string{"", "{", `{"signature":`, `{"signature":"x"`, `{"signature":"x"}`, `{"a":{"signature":"x"},"b":1}`, `{"signature":"x",`, `{ "signature" : "x" , "a":1}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v := Verifier{Secrets: []string{secret}, Tolerance: -1}
		unsigned, signature, ok := withoutSignature(b)
		if ok && len(unsigned)+len(`"signature":"",`)+len(signature) != len(b) {
			t.Errorf("%q: %q and %q", b, unsigned, signature)
		}
		if _, err := v.VerifyBody(b); err == nil && !bytes.Equal(unsigned, bytes.Replace(body, []byte(`"signature":"`+signature+`",`), nil, 1)) {
			t.Errorf("%q is accepted", b)
		}
	})
}
