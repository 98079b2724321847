package telemetry

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
)

// Redacted stands in the place of what was left out.
const Redacted = "[redacted]"

// secretNames are parts of the names of attributes whose values are never shown.
var secretNames = []string{"password", "passwd", "secret", "authorization", "cookie", "dsn", "api_key", "apikey", "private_key", "token"}

// secretPattern is what a secret looks like, and what stays of it.
type secretPattern struct {
	pattern *regexp.Regexp
	stays   string
}

var secretPatterns = sync.OnceValue(func() []secretPattern {
	return []secretPattern{
		// The credentials in a URL, to the last @ before the host.
		{regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s"']*@`), "${1}" + Redacted + "@"},
		// What follows the path of an address: the tokens of webhooks and of links stand there.
		{regexp.MustCompile(`(?i)\b(https?://[^\s"'?<>]+)\?[^\s"'<>]+`), "${1}?" + Redacted},
		// Keys of customers and operators, and secrets of webhooks.
		{regexp.MustCompile(`\b(cs_(?:live|demo|admin)_)[A-Za-z0-9_-]{8,}`), "${1}" + Redacted},
		{regexp.MustCompile(`\bwhsec_[A-Za-z0-9+/=_-]{8,}`), "whsec_" + Redacted},
		{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`), "${1} " + Redacted},
		// 32 bytes in base64, which is what encryption keys are. A digest in base64 looks the same, and goes too.
		{regexp.MustCompile(`(^|[^A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{43}=`), "${1}" + Redacted},
		// Signatures of links.
		{regexp.MustCompile(`(?i)\b(X-Amz-Signature|X-Amz-Security-Token|X-Amz-Credential|signature|sig)=[^&\s"']+`), "${1}=" + Redacted},
	}
})

// Redact takes out of a text what looks like a secret: credentials and queries in URLs, API keys, encryption keys, secrets of
// webhooks, signatures of links. It is the last line, behind types that are never printed: nobody may rely on it.
func Redact(text string) string {
	for _, p := range secretPatterns() {
		text = p.pattern.ReplaceAllString(text, p.stays)
	}
	return text
}

func redactAttr(_ []string, a slog.Attr) slog.Attr {
	name := strings.ToLower(a.Key)
	for _, part := range secretNames {
		if strings.Contains(name, part) && a.Value.Kind() != slog.KindGroup {
			return slog.String(a.Key, Redacted)
		}
	}
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, Redact(v.String()))
	case slog.KindAny:
		switch value := v.Any().(type) {
		case error:
			return slog.String(a.Key, Redact(value.Error()))
		case fmt.Stringer:
			return slog.String(a.Key, Redact(value.String()))
		case []string:
			shown := make([]string, len(value))
			for i, s := range value {
				shown[i] = Redact(s)
			}
			return slog.Any(a.Key, shown)
		}
	}
	return a
}
