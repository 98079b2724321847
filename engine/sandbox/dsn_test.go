package sandbox

import (
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

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

func TestParseDSNTLS(t *testing.T) {
	for query, want := range map[string]struct{ tls, fallback, skipsName, checksChain bool }{
		"host/d?tls=disabled":         {},
		"host/d":                      {tls: true},
		"127.0.0.1/d":                 {tls: true, fallback: true, skipsName: true},
		"localhost/d?tls=auto":        {tls: true, fallback: true, skipsName: true},
		"host/d?socket=/s":            {tls: true, fallback: true, skipsName: true},
		"host/d?tls=skip-verify":      {tls: true, skipsName: true},
		"host/d?tls=verify-ca":        {tls: true, skipsName: true, checksChain: true},
		"localhost/d?tls_pin=sha256:": {tls: true, skipsName: true, checksChain: true},
		"host/d?tls=verify-identity":  {tls: true},
	} {
		c, err := parseDSN("mysql://u:p@" + query)
		if err != nil {
			t.Fatal(err)
		}
		if (c.TLS != nil) != want.tls || c.AllowFallbackToPlaintext != want.fallback {
			t.Errorf("%q: TLS %v, fallback %v", query, c.TLS, c.AllowFallbackToPlaintext)
		}
		if c.TLS != nil && (c.TLS.InsecureSkipVerify != want.skipsName || (c.TLS.VerifyConnection != nil) != want.checksChain) {
			t.Errorf("%q: TLS is %+v", query, c.TLS)
		}
	}
	for _, query := range []string{"tls=preferred", "tls=required", "tls=disabled&tls_pin=sha256:00"} {
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
