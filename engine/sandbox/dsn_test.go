package sandbox

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/pin"
)

// ownCertificate is one that a server has made for itself.
func ownCertificate(t *testing.T) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"host.example"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestParseDSN(t *testing.T) {
	c, err := parseDSN("mysql://me:p%40s%3As%2F%3F@db.example:3307/clinic_1?tls=disabled&read_timeout=3s")
	if err != nil {
		t.Fatal(err)
	}
	if c.User != "me" || c.Passwd != "p@s:s/?" || c.Net != "tcp" || c.Addr != "db.example:3307" || c.DBName != "clinic_1" || c.TLS != nil {
		t.Errorf("parsed as %+v", c)
	}
	for dsn, addr := range map[string]string{
		"mysql://u@h/d":                       "h:3306",
		"mysql://u@[::1]:4/d":                 "[::1]:4",
		"mysql://u@/d?socket=%2Frun%2Fm.sock": "/run/m.sock",
		"mysql://u@h:1/d?socket=/run/m.sock":  "/run/m.sock",
	} {
		if c, err := parseDSN(dsn); err != nil || c.Addr != addr {
			t.Errorf("%s: %v, %v; want address %s", dsn, c, err, addr)
		}
	}
}

// TestParseDSNTLS holds what each mode makes of a server's own certificate, for host.example, which no authority has
// signed.
func TestParseDSNTLS(t *testing.T) {
	certificate := ownCertificate(t)
	key := pin.Of(certificate)
	other := pin.Prefix + strings.Repeat("0", 64)
	roots := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
	if err := os.WriteFile(roots, block, 0o600); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]struct{ plain, fallback, refused bool }{
		"host.example/d?tls=disabled":                         {plain: true},
		"host.example/d":                                      {refused: true},
		"127.0.0.1/d":                                         {fallback: true},
		"localhost/d?tls=auto":                                {fallback: true},
		"host.example/d?socket=/s":                            {fallback: true},
		"localhost/d?tls_ca=" + roots:                         {refused: true}, // of another name
		"host.example/d?tls=skip-verify":                      {},
		"host.example/d?tls=verify-ca":                        {refused: true},
		"other.example/d?tls=verify-ca&tls_ca=" + roots:       {},
		"host.example/d?tls=verify-identity&tls_ca=" + roots:  {},
		"other.example/d?tls=verify-identity&tls_ca=" + roots: {refused: true},
		"/d?socket=/s&tls=verify-identity&tls_ca=" + roots:    {refused: true},
		"localhost/d?tls_pin=" + key:                          {},
		"other.example/d?tls_pin=" + pin.Prefix + strings.ToUpper(key[len(pin.Prefix):]): {},
		"other.example/d?tls_pin=" + other:                                               {refused: true},
		"other.example/d?tls=verify-identity&tls_pin=" + key:                             {refused: true},
		"host.example/d?tls_ca=" + roots + "&tls_pin=" + other:                           {refused: true},
	} {
		c, err := parseDSN("mysql://u:p@" + query)
		if err != nil {
			t.Errorf("%q: %v", query, err)
			continue
		}
		if (c.TLS == nil) != want.plain || c.AllowFallbackToPlaintext != want.fallback {
			t.Errorf("%q: TLS %v, fallback %v", query, c.TLS, c.AllowFallbackToPlaintext)
		}
		if c.TLS == nil {
			continue
		}
		if err := c.TLS.VerifyConnection(tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate}}); (err != nil) != want.refused {
			t.Errorf("%q: %v", query, err)
		}
	}
	for _, query := range []string{"tls=preferred", "tls=required", "tls=disabled&tls_pin=" + other, "tls=skip-verify&tls_pin=" + other, "tls_pin=sha256:", "tls_pin=sha256:00"} {
		if _, err := parseDSN("mysql://u:p@host/d?" + query); !fault.Is(err, CodeDSN) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

func TestParseDSNRefusesWithoutThePassword(t *testing.T) {
	for _, dsn := range []string{
		"", "root:hunter2@tcp(127.0.0.1:3306)/d", "postgres://u:hunter2@h/d", "mysql://:hunter2@h/d", "mysql://u:hunter2@h",
		"mysql://u:hunter2@h/", "mysql://u:hunter2@h/a/b", "mysql://u:hunter2@/d", "mysql://u:hunter2@h:port/d", "mysql://u:hunter2%zz@h/d",
		"mysql://u:hunter2@h/d?tls=maybe", "mysql://u:hunter2@h/d?tls=verify-ca&tls_ca=/does/not/exist", "mysql://u:hunter2@h/d?a=%zz",
		"mysql://u:hunter2@h/d?tls_cert=/does/not/exist", "mysql://u:hunter2@h/d?tls_ca=dsn_test.go", "mysql://u:hunter2\x7f@h/d",
	} {
		_, err := parseDSN(dsn)
		if !fault.Is(err, CodeDSN) {
			t.Errorf("%q: error is %v, want %s", dsn, err, CodeDSN)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error holds the password: %v", dsn, err)
		}
	}
}

func FuzzParseDSN(f *testing.F) {
	for _, dsn := range []string{"mysql://u:p@h:1/d?tls=verify-ca&socket=/s", "mysql://u@[::1]/d", "mysql://u:%zz@h/d", "://", "mysql://u@h/d?tls_ca=x"} {
		f.Add(dsn)
	}
	f.Fuzz(func(t *testing.T, dsn string) {
		c, err := parseDSN(dsn)
		if err == nil && (c.User == "" || c.DBName == "" || c.Addr == "") {
			t.Errorf("%q is accepted without a user, a database or an address: %+v", dsn, c)
		}
		if err != nil && !fault.Is(err, CodeDSN) {
			t.Errorf("%q: uncoded error %v", dsn, err)
		}
	})
}
