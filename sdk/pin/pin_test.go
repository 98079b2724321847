package pin

import (
	"crypto/x509"
	"strings"
	"testing"
)

func TestPin(t *testing.T) {
	// The SHA-256 of nothing, as sha256sum prints it.
	const want = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if got := Of(&x509.Certificate{}); got != want {
		t.Errorf("got %s", got)
	}
	if got, ok := Parse(Prefix + strings.ToUpper(want[len(Prefix):])); !ok || got != want {
		t.Errorf("got %s %v", got, ok)
	}
	for _, text := range []string{"", "sha256:", want[len(Prefix):], want + "00", want[:len(want)-1], "sha1:" + want[len(Prefix):], Prefix + strings.Repeat("g", 64)} {
		if _, ok := Parse(text); ok {
			t.Errorf("%q is a pin", text)
		}
	}
}
