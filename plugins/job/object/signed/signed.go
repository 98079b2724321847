// Package signed makes links to objects of stores that serve none themselves: URLs with the key and the end of the link
// as parameters, and an HMAC-SHA256 over them, which whoever serves the objects checks. It owns the form of these
// URLs, and never reads an object.
package signed

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// The parameters of a link. The MAC covers all but itself, as application/x-www-form-urlencoded in the order of their
// names; those that are optional, when they are there. Those of the base URL are not covered.
const (
	paramKey       = "obj"
	paramEnd       = "expiry" // seconds since 1970
	paramMethod    = "method"
	paramType      = "contentType" // optional
	paramName      = "fileName"    // optional
	paramSignature = "signature"   // the MAC, in base64url without padding
)

// Signer signs links, and checks them. It may be used by many at the same time.
type Signer struct {
	base   *url.URL
	secret []byte
}

// minSecret is the fewest bytes of a secret.
const minSecret = 16

// New returns a signer of links below an http or https URL.
func New(base, secret string) (*Signer, error) {
	if len(secret) < minSecret {
		return nil, fault.New("sink.link", fault.Usage, "link_secret has %d bytes; it needs at least %d", len(secret), minSecret).
			WithHint("make one with: openssl rand -hex 32")
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fault.New("sink.link", fault.Usage, "link_base_url is not an http or https URL")
	}
	return &Signer{base: u, secret: []byte(secret)}, nil
}

// Link signs a link. It ends at a full second, not later than was asked for.
func (s *Signer) Link(key string, request object.LinkRequest) (object.Link, error) {
	now := request.Now
	if now.IsZero() {
		now = time.Now()
	}
	end := now.Add(request.TTL)
	if !request.Until.IsZero() && request.Until.Before(end) {
		end = request.Until
	}
	end = end.UTC().Truncate(time.Second)
	if time.Until(end) <= 0 {
		return object.Link{}, fault.New("sink.link_ttl", fault.Sink, "the object, or what was asked for, ends before a link could be used").
			WithHint("raise link_ttl and retention above the time that the run takes")
	}
	u := *s.base
	q := u.Query()
	q.Set(paramKey, key)
	q.Set(paramEnd, strconv.FormatInt(end.Unix(), 10))
	q.Set(paramMethod, http.MethodGet)
	for name, value := range map[string]string{paramType: request.ContentType, paramName: request.FileName} {
		if value != "" {
			q.Set(name, value)
		}
	}
	q.Set(paramSignature, base64.RawURLEncoding.EncodeToString(s.mac(q)))
	u.RawQuery = q.Encode()
	return object.Link{URL: u.String(), Expires: end}, nil
}

// Check says what a link is for and until when, or refuses it.
func (s *Signer) Check(link *url.URL, now time.Time) (key string, request object.LinkRequest, err error) {
	q := link.Query()
	mac, err := base64.RawURLEncoding.DecodeString(q.Get(paramSignature))
	if err != nil || !hmac.Equal(mac, s.mac(q)) {
		return "", request, fault.New("object.link", fault.Usage, "the link is not signed by us")
	}
	seconds, err := strconv.ParseInt(q.Get(paramEnd), 10, 64)
	request = object.LinkRequest{Until: time.Unix(seconds, 0).UTC(), FileName: q.Get(paramName),
		ContentType: q.Get(paramType)}
	if err != nil || !now.Before(request.Until) {
		return "", request, fault.New("object.link", fault.Usage, "the link ended at %s", request.Until.Format(time.RFC3339)).
			WithHint("ask for a new one")
	}
	return q.Get(paramKey), request, nil
}

func (s *Signer) mac(q url.Values) []byte {
	covered := url.Values{}
	for _, name := range []string{paramKey, paramEnd, paramMethod} {
		covered.Set(name, q.Get(name))
	}
	for _, name := range []string{paramType, paramName} {
		if value := q.Get(name); value != "" {
			covered.Set(name, value)
		}
	}
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte(covered.Encode()))
	return h.Sum(nil)
}
