package mysql

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// authority is a certificate authority made for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.file, _ = a.issue(name, nil)
	return a
}

// issue makes a certificate and its key and returns their files. The first one
// is the authority's own.
func (a *authority) issue(name string, ips []net.IP) (certFile, keyFile string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: ips,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.cert == nil {
		a.key = key
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	write := func(kind, ending string, der []byte) string {
		file := filepath.Join(a.dir, name+ending)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			a.t.Fatal(err)
		}
		return file
	}
	return write("CERTIFICATE", "-cert.pem", der), write("PRIVATE KEY", "-key.pem", keyDER)
}

// TestSpecialServer uses one server that has TLS, large packets, a SQL mode that
// changes quoting, and MariaDB's ed25519 authentication.
func TestSpecialServer(t *testing.T) {
	ca, stranger := newAuthority(t, "ca"), newAuthority(t, "other-ca")
	cert, key := ca.issue("server", []net.IP{net.IPv4(127, 0, 0, 1)})
	clientCert, clientKey := ca.issue("client", nil)
	db := dbtest.Private(t, "--ssl-ca="+ca.file, "--ssl-cert="+cert, "--ssl-key="+key,
		"--max-allowed-packet=128M", "--sql-mode=NO_BACKSLASH_ESCAPES,ANSI_QUOTES", "--plugin-load-add=auth_ed25519")
	dsn := db.DSN(db.Database())

	t.Run("tls", func(t *testing.T) {
		db.Exec("CREATE USER x509 IDENTIFIED BY 'pw' REQUIRE X509")
		byName := strings.Replace(dsn, "127.0.0.1", "localhost", 1) // not in the certificate
		certified := "mysql://x509:pw@127.0.0.1:" + fmt.Sprint(db.Port())
		for _, c := range []struct {
			name      string
			with      settings
			code      string
			encrypted bool
		}{
			{"disabled", settings{"url": dsn, "tls": "disabled"}, "", false},
			{"auto on loopback", settings{"url": dsn}, "", true},
			{"skip-verify", settings{"url": dsn, "tls": "skip-verify"}, "", true},
			{"in the URL", settings{"url": dsn + "?tls=disabled"}, "", false},
			{"verify-ca", settings{"url": byName, "tls": "verify-ca", "tls_ca": ca.file}, "", true},
			{"verify-identity", settings{"url": dsn, "tls": "verify-identity", "tls_ca": ca.file}, "", true},
			{"verify-identity in the URL", settings{"url": dsn + "?tls=verify-identity&tls_ca=" + url.QueryEscape(ca.file)}, "", true},
			{"wrong authority", settings{"url": dsn, "tls": "verify-ca", "tls_ca": stranger.file}, codeTLS, false},
			{"system's authorities", settings{"url": dsn, "tls": "verify-identity"}, codeTLS, false},
			{"wrong name", settings{"url": byName, "tls": "verify-identity", "tls_ca": ca.file}, codeTLS, false},
			{"auto on a socket", settings{"url": db.SocketDSN(db.Database())}, "", false},
			{"skip-verify on a socket", settings{"url": db.SocketDSN(db.Database()), "tls": "skip-verify"}, "", true},
			{"client certificate", settings{"url": certified, "tls": "skip-verify", "tls_cert": clientCert, "tls_key": clientKey}, "", true},
			{"no client certificate", settings{"url": certified, "tls": "skip-verify"}, codeAuth, false},
		} {
			c.with["query"] = "SELECT VARIABLE_VALUE <> '' AS encrypted FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'SSL_CIPHER'"
			got, err := readAll(t, c.with)
			if c.code != "" {
				if f := wantFault(t, err, c.code); f.Class != fault.Connect || f.Retryable {
					t.Errorf("%s: fault %+v", c.name, f)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			} else if encrypted := got.rows[0][0] == "1"; encrypted != c.encrypted {
				t.Errorf("%s: encrypted is %t", c.name, encrypted)
			}
		}
	})

	t.Run("cancel over tls", func(t *testing.T) {
		p, err := newProbe(t, settings{"url": dsn, "tls": "skip-verify", "query": "SELECT SLEEP(600), 'tls_sleeper'"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		done := make(chan error, 1)
		go func() {
			_, err := p.Open(ctx)
			if err == nil {
				_, err = p.Next(ctx)
			}
			done <- err
		}()
		await(t, "the query's start", func() bool { return running(db, "tls_sleeper") == "1" })
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
		await(t, "the query's end", func() bool { return running(db, "tls_sleeper") == "0" })
	})

	t.Run("ed25519", func(t *testing.T) {
		db.Exec("CREATE USER ed IDENTIFIED VIA ed25519 USING PASSWORD('pw-ed-secret')")
		got := mustRead(t, settings{"url": "mysql://ed:pw-ed-secret@127.0.0.1:" + fmt.Sprint(db.Port()), "query": "SELECT 1"})
		wantRows(t, got, []string{"1"})
	})

	t.Run("quoting follows the SQL mode", func(t *testing.T) {
		nasty := "\\' OR 1=1 -- \" \\\\ '' \x00 \n é"
		for _, protocol := range []string{"binary", "text"} {
			got := mustRead(t, settings{"url": dsn, "protocol": protocol, "args": []any{nasty, 2},
				"query": `SELECT ? AS v, '\' AS backslash, ? AS "a\"`})
			wantRows(t, got, []string{nasty, `\`, "2"})
			if name := got.schema.Field(2).Name; name != `a\` {
				t.Errorf("name %q", name)
			}
		}
	})

	t.Run("packets over 16 MiB", func(t *testing.T) {
		both(t, func(t *testing.T, protocol string) {
			// Among them are the sizes where a packet is full and an empty one follows. In
			// front of the value are 6 bytes in the binary protocol and 4 in the text
			// protocol; for a value of 16 MiB and more 11 and 9.
			for _, n := range []int{fullPayload - 6, fullPayload - 4, fullPayload - 3, 2*fullPayload - 11, 2*fullPayload - 9, 40 << 20} {
				p, err := newProbe(t, settings{"url": dsn, "protocol": protocol,
					"query": "SELECT LEFT(REPEAT('0123456789', 4200000), ?) AS v UNION ALL SELECT 'after'", "args": []any{n}})
				if err != nil {
					t.Fatal(err)
				}
				got := drain(t, p)
				if len(got) != 2 || len(got[0]) != n || got[1] != "after" {
					t.Fatalf("%d bytes: %d rows", n, len(got))
				}
				for i := range n {
					if got[0][i] != byte('0'+i%10) {
						t.Fatalf("%d bytes: byte %d is %q", n, i, got[0][i])
					}
				}
				p.Close()
			}
			_, err := readAll(t, settings{"url": dsn, "protocol": protocol, "query": "SELECT REPEAT('x', 17 * 1024 * 1024)", "max_row_size": "17MiB"})
			wantFault(t, err, codeRowSize)
		})
	})

	t.Run("a long argument", func(t *testing.T) {
		both(t, func(t *testing.T, protocol string) {
			got := mustRead(t, settings{"url": dsn, "protocol": protocol, "query": "SELECT LENGTH(?), ?", "args": []any{strings.Repeat("x", 34<<20), "y"}})
			wantRows(t, got, []string{fmt.Sprint(34 << 20), "y"})
		})
	})
}

func drain(t *testing.T, p *probe) (values []string) {
	t.Helper()
	schema, err := p.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for {
		record, err := p.Next(context.Background())
		if err == io.EOF {
			return values
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(record.NumRows()) {
			values = append(values, strings.Clone(cell(record.Column(0), i, schema.Field(0))))
		}
		record.Release()
	}
}

func TestConnectionFailures(t *testing.T) {
	db := dbtest.MariaDB(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts by the kernel, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	const password = "S3cret-%2F%23"
	for _, c := range []struct {
		name  string
		with  settings
		code  string
		retry bool
	}{
		{"wrong password", settings{"url": fmt.Sprintf("mysql://root:%s@127.0.0.1:%d/", password, db.Port())}, codeAuth, false},
		{"no password", settings{"url": fmt.Sprintf("mysql://root@127.0.0.1:%d/", db.Port())}, codeAuth, false},
		{"unknown user", settings{"url": fmt.Sprintf("mysql://nobody:%s@127.0.0.1:%d/", password, db.Port())}, codeAuth, false},
		{"refused", settings{"url": "mysql://root:" + password + "@" + closed.Addr().String()}, codeConnect, true},
		{"silent", settings{"url": "mysql://root:" + password + "@" + listener.Addr().String(), "connect_timeout": "100ms"}, codeConnect, true},
		{"no socket", settings{"url": "mysql://root:" + password + "@/db", "socket": filepath.Join(t.TempDir(), "none")}, codeConnect, true},
		{"no tls", settings{"url": db.DSN(""), "tls": "skip-verify"}, codeTLS, false},
	} {
		c.with["query"] = "SELECT 1"
		_, err := readAll(t, c.with)
		var f *fault.Fault
		if !errors.As(err, &f) || f.Code != c.code || f.Class != fault.Connect || f.Retryable != c.retry {
			t.Errorf("%s: %v (%+v), want %s", c.name, err, f, c.code)
			continue
		}
		if text := fmt.Sprintf("%v %+v", err, f); strings.Contains(text, "S3cret") {
			t.Errorf("%s: the password is in %q", c.name, text)
		}
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p, err := newProbe(t, settings{"url": "mysql://root:x@" + listener.Addr().String(), "query": "SELECT 1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Open(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a context that has ended: %v", err)
	}
}

func TestSettingsThatContradict(t *testing.T) {
	const good = "mysql://user:S3cret@host/db"
	for name, with := range map[string]settings{
		"neither call nor query":   {"url": good},
		"call and query":           {"url": good, "call": "p", "query": "SELECT 1"},
		"certificate without key":  {"url": good, "call": "p", "tls_cert": "x"},
		"authority without check":  {"url": good, "call": "p", "tls": "skip-verify", "tls_ca": "x"},
		"pin without check":        {"url": good, "call": "p", "tls": "disabled", "tls_pin": "sha256:" + strings.Repeat("0", 64)},
		"pin of another length":    {"url": good + "?tls_pin=sha256:S3cret", "call": "p"},
		"clear text without check": {"url": good + "?tls=skip-verify&cleartext_password=true", "call": "p"},
		"clear text, perhaps":      {"url": good + "?cleartext_password=S3cret", "call": "p"},
		"key that is no file":      {"url": good, "call": "p", "server_public_key": "/does/not/exist"},
		"key that is no key":       {"url": good, "call": "p", "server_public_key": "connect_test.go"},
		"zero byte in the user":    {"url": "mysql://us%00er:S3cret@host/db", "call": "p"},
		"preferred":                {"url": good + "?tls=preferred", "call": "p"},
		"missing file":             {"url": good, "call": "p", "tls": "verify-ca", "tls_ca": "/does/not/exist"},
		"name of three parts":      {"url": good, "call": "a.b.c"},
		"empty name":               {"url": good, "call": "a."},
		"no user":                  {"url": "mysql://host/db", "call": "p"},
		"other scheme":             {"url": "postgres://user:S3cret@host/db", "call": "p"},
		"slash in the password":    {"url": "mysql://user:1/S3cret@host/db", "call": "p"},
		"hash in the password":     {"url": "mysql://user:1#S3cret@host/db", "call": "p"},
		"question in the password": {"url": "mysql://user:1?S3cret@host/db", "call": "p"},
		"percent in the password":  {"url": "mysql://user:S3cret%zz@host/db", "call": "p"},
		"port in letters":          {"url": "mysql://user:S3cret@host:abc/db", "call": "p"},
		"port too large":           {"url": "mysql://user:S3cret@host:70000/db", "call": "p"},
		"unknown key in the URL":   {"url": good + "?S3cret=1", "call": "p"},
		"tls twice":                {"url": good + "?tls=disabled", "tls": "skip-verify", "call": "p"},
		"bad tls in the URL":       {"url": good + "?tls=S3cret", "call": "p"},
		"unknown setting":          {"url": good, "call": "p", "fetch": 1},
		"list as argument":         {"url": good, "call": "p", "args": []any{[]any{1}}},
	} {
		_, err := newProbe(t, with)
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if text := fmt.Sprintf("%v %+v", err, err); strings.Contains(text, "S3cret") {
			t.Errorf("%s: the password is in %q", name, text)
		}
	}
}

// TestConnectionCut puts a proxy in between that closes after some bytes.
func TestConnectionCut(t *testing.T) {
	db := dbtest.MariaDB(t)
	for _, limit := range []int64{2_000, 100_000, 3_000_000} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			near, err := listener.Accept()
			listener.Close()
			if err != nil {
				return
			}
			defer near.Close()
			far, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", db.Port()))
			if err != nil {
				return
			}
			defer far.Close()
			go io.Copy(far, near) // ends when near is closed
			io.CopyN(near, far, limit)
		}()
		dsn := strings.Replace(db.DSN(db.Database()), fmt.Sprintf(":%d/", db.Port()), fmt.Sprintf(":%d/", listener.Addr().(*net.TCPAddr).Port), 1)
		_, err = readAll(t, settings{"url": dsn, "query": "SELECT seq, 'cut' FROM seq_1_to_1000000"})
		if f := wantFault(t, err, codeConnectionLost); !f.Retryable || f.Class != fault.Source {
			t.Errorf("after %d bytes: %+v", limit, f)
		}
		<-ended
	}
}
