package signed

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

func TestLink(t *testing.T) {
	s, err := New("https://files.example/get?tenant=1", "0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	link, err := s.Link("acme/today é.csv", object.LinkRequest{TTL: time.Hour, FileName: "a.csv", ContentType: "text/csv"})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(link.URL)
	if err != nil || u.Host != "files.example" || u.Query().Get("tenant") != "1" {
		t.Fatal(link, err)
	}
	key, request, err := s.Check(u, time.Now())
	if want := (object.LinkRequest{Until: link.Expires, FileName: "a.csv", ContentType: "text/csv"}); err != nil || key != "acme/today é.csv" || request != want {
		t.Errorf("%q, %+v, %v", key, request, err)
	}
	if _, _, err := s.Check(u, link.Expires.Add(-time.Nanosecond)); err != nil {
		t.Errorf("just before the end: %v", err)
	}
	if _, _, err := s.Check(u, link.Expires); !fault.Is(err, "object.link") || !strings.Contains(err.Error(), "ended") {
		t.Errorf("at the end: %v", err)
	}
	other, err := New("https://files.example/get", "0123456789abcdeF")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.Check(u, time.Now()); !fault.Is(err, "object.link") {
		t.Errorf("another secret: %v", err)
	}
	for name, value := range map[string]string{"obj": "acme/other", "expiry": "99999999999", "method": "PUT", "fileName": "x", "contentType": "text/html", "signature": "!"} {
		q := u.Query()
		q.Set(name, value)
		if _, _, err := s.Check(&url.URL{RawQuery: q.Encode()}, time.Now()); !fault.Is(err, "object.link") {
			t.Errorf("%s changed: %v", name, err)
		}
		q.Del(name)
		if _, _, err := s.Check(&url.URL{RawQuery: q.Encode()}, time.Now()); !fault.Is(err, "object.link") {
			t.Errorf("%s removed: %v", name, err)
		}
	}
}

// TestKnownLink holds the form that the Go CDK's fileblob gives links too, so that who serves a folder today can go on.
func TestKnownLink(t *testing.T) {
	s, err := New("https://files.example/get", "0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse("https://files.example/get?expiry=4102444800&method=GET&obj=acme%2F2025%2Fx.csv&signature=5kO0FR_cOyaDsJHE9csRQ5yXbEp2vMF5AHeEU4BbsHM")
	if err != nil {
		t.Fatal(err)
	}
	if key, _, err := s.Check(u, time.Now()); err != nil || key != "acme/2025/x.csv" {
		t.Errorf("%q, %v", key, err)
	}
}
