package host

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// However a secret is spelled, split or cut, it is not in what comes out.
func TestRedactionOfSpellings(t *testing.T) {
	t.Parallel()
	const secret = "s3cret/tok+en ü&1"
	const long = "0123456789abcdefghijklmnopqrstuvwxyz"
	key := base64.StdEncoding.EncodeToString([]byte("a key of thirty-two bytes, or so"))
	r := NewRedaction([]string{secret, long, key, "mysql://root:p%40ss%2Fword@db.example:3306/practice", "mysql://u:100%@h/d", "xyz", "q",
		"# keys\nfirst-key-of-all, second-key-of-all # old\n"})
	both := base64.StdEncoding.EncodeToString([]byte("user:" + secret))
	for _, c := range []struct{ text, want string }{
		{"bad token " + secret + ".", "bad token [secret]."},
		{secret, "[secret]"},
		{secret + secret, "[secret][secret]"},
		{"query " + url.QueryEscape(secret) + "!", "query [secret]!"},
		{"path " + url.PathEscape(secret) + "!", "path [secret]!"},
		{"lower " + strings.ToLower(percentEncoded(secret, "")) + "!", "lower [secret]!"},
		{"component s3cret%2Ftok%2Ben%20%C3%BC%261!", "component [secret]!"},
		{"hex " + hex.EncodeToString([]byte(secret)) + "!", "hex [secret]!"},
		{"HEX " + strings.ToUpper(hex.EncodeToString([]byte(secret))) + "!", "HEX [secret]!"},
		{"base64 " + base64.StdEncoding.EncodeToString([]byte(secret)) + "!", "base64 [secret]!"},
		{"base64url " + base64.RawURLEncoding.EncodeToString([]byte(secret)) + "!", "base64url [secret]!"},
		{fmt.Sprintf("quoted %q!", secret), `quoted "[secret]"!`},
		{"split s3cret/\n  tok+en ü&1 !", "split [secret] !"},
		{"split " + hex.EncodeToString([]byte(secret))[:10] + "\n" + hex.EncodeToString([]byte(secret))[10:] + "!", "split [secret]!"},
		{"cut " + secret[:9] + "…", "cut [secret]…"},
		{"cut " + secret[:9] + "... and so on", "cut [secret]... and so on"},
		{"a piece " + long[7:22] + " of it", "a piece [secret] of it"},
		{"the key's bytes " + hex.EncodeToString([]byte("a key of thirty-two bytes, or so")), "the key's bytes [secret]"},
		{"the key for URLs " + base64.URLEncoding.EncodeToString([]byte("a key of thirty-two bytes, or so")), "the key for URLs [secret]"},
		{"access denied for root, p@ss/word, at db.example:3306", "access denied for root, [secret], at db.example:3306"},
		{"as written: p%40ss%2Fword", "as written: [secret]"},
		{"not a URL: 100%", "not a URL: [secret]"},
		{"the second: second-key-of-all", "the second:[secret]"},
		{"a short xyz, in wxyz and xyz_", "a short [secret], in wxyz and xyz_"},
		{"quite", "quite"}, {"", ""}, {"plain words s3cre t", "plain words s3cre t"},
	} {
		if got := r.Text(c.text); got != c.want {
			t.Errorf("%q:\n got  %q\n want %q", c.text, got, c.want)
		}
	}
	if got := r.Text("Basic " + both + " x"); strings.Contains(got, both[9:len(both)-4]) || !strings.HasSuffix(got, "[secret] x") {
		t.Errorf("within other text in base64: %q", got)
	}
	if got := (*Redaction)(nil).Text("x"); got != "x" {
		t.Errorf("no redaction gives %q", got)
	}
}

func TestRedactionOfFaults(t *testing.T) {
	t.Parallel()
	r := NewRedaction([]string{"hunter2", "12345678"})
	f := fault.New("code.hunter2", "class-hunter2", "message hunter2: %w", fault.New("inner", fault.Source, "hunter2")).WithHint("hint hunter2").
		WithDetail("name hunter2", "value hunter2").WithRetry()
	f.Stage = "stage hunter2"
	clean := r.Fault(fmt.Errorf("wrapped hunter2: %w", f))
	got := fault.From(clean)
	if all := fmt.Sprintf("%+v %v %v", *got, clean, got.Unwrap()); strings.Contains(all, "hunter2") || strings.Count(all, redacted) < 7 || !got.Retryable {
		t.Errorf("%s", all)
	}
	plain := fault.New("code", fault.Source, "nothing")
	if r.Fault(plain) != error(plain) || r.Fault(nil) != nil {
		t.Error("a fault without a secret is another one")
	}
	counters := r.Counters(map[string]int64{"rows": 7, "at hunter2": 1, "pin": 12345678})
	if len(counters) != 2 || counters["rows"] != 7 || counters["at [secret]"] != 1 {
		t.Errorf("counters %v", counters)
	}
}
