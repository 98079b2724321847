package webhook

import (
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Bounds of custom headers: how many there may be, and how long a value, and all of them together, in bytes.
const (
	MostHeaders    = 20
	MaxHeaderValue = 4 << 10
	MaxHeaders     = 8 << 10
)

// maxHeaderName bounds a name, in bytes.
const maxHeaderName = 128

// reserved are the headers that say how a request is to be read, or that the service sends itself; and all that begin with
// one of reservedPrefixes.
var (
	reserved = []string{"accept-encoding", "connection", "content-digest", "content-encoding", "content-length", "content-type",
		"date", "expect", "forwarded", "host", "http2-settings", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
		"user-agent", "via"}
	reservedPrefixes = []string{"proxy-", "sec-", "webhook-", "x-cipherstream-", "x-forwarded-"}
)

// HeaderName reports whether a custom header can have a name: a token of RFC 9110.
func HeaderName(name string) bool {
	return len(name) <= maxHeaderName && httpguts.ValidHeaderFieldName(name)
}

// ReservedHeader reports whether a name is that of a header of the service's own.
func ReservedHeader(name string) bool {
	name = strings.ToLower(name)
	return slices.Contains(reserved, name) ||
		slices.ContainsFunc(reservedPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// HeaderValue reports whether a text goes into a header as it is, and into no more than one: printable ASCII, with no space
// at either end.
func HeaderValue(value string) bool {
	return value != "" && len(value) <= MaxHeaderValue && strings.TrimSpace(value) == value &&
		!strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
}

// CheckHeaders says why custom headers cannot be sent: they would be read as something else than the one header that each
// is, or be taken for one of the service's own.
func CheckHeaders(headers map[string]string) error {
	bad := func(why string) error { return fault.New(CodeHeaders, fault.Usage, "a custom header %s", why) }
	size, seen := 0, map[string]bool{}
	for name, value := range headers {
		lower := strings.ToLower(name)
		switch {
		case !HeaderName(name):
			return bad("has a name that is none")
		case ReservedHeader(name):
			return bad("has the name of one of the service's own")
		case !HeaderValue(value):
			return bad("has a value that is empty, or has a line end, a control character, or a space at one of its ends")
		case seen[lower]:
			return bad("is given twice")
		}
		seen[lower] = true
		size += len(name) + len(value)
	}
	if len(headers) > MostHeaders || size > MaxHeaders {
		return fault.New(CodeHeaders, fault.Usage, "there are more than %d custom headers, or %d bytes of them", MostHeaders, MaxHeaders)
	}
	return nil
}
