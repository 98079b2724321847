package config

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

var update = flag.Bool("update", false, "write the golden files anew")

// known are the secrets of the fixtures, by reference; those of files by the end of their paths.
var known = map[string]string{
	"env:DATA_KEY": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "env:KEY_ID": "id", "env:MAIL_PASSWORD": "hunter2 mail", "/s3.txt": "hunter2",
	"command:vault read -field=keys secret/sunrise": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
	"env:SUNRISE_DSN": "mysql://u:hunter2@db:3306/practice", "env:DEMO_DSN": "mysql://u:hunter2@127.0.0.1/demo",
	"env:STATE_PATH": "/var/lib/hunter2", "env:STATE_WITHOUT": "mysql://u:hunter2@db:3306", "/state.txt": "mysql://u:hunter2@db:3306/record", "env:STATE": "mysql://u:hunter2@db:3306/record",
	"env:BAD_DSN": "postgres://u:hunter2@db/x", "env:SHORT_KEY": "hunter2",
}

func secret(_ context.Context, reference string) (string, error) {
	if file, is := strings.CutPrefix(reference, "file:"); is {
		if !filepath.IsAbs(file) {
			return "", fault.New("cli.secret", fault.Usage, "%s is not absolute", file)
		}
		reference = "/" + filepath.Base(file)
	}
	if value, ok := known[reference]; ok {
		return value, nil
	}
	return "", fault.New("cli.secret", fault.Usage, "%s is not set", reference).WithHint("set it")
}

func load(t *testing.T, path string, o Options) (*Settings, string) {
	t.Helper()
	settings, diags, source := Load(context.Background(), path, o)
	var b bytes.Buffer
	if err := diag.WriteText(&b, diags, diag.TextOptions{Source: source}); err != nil {
		t.Fatal(err)
	}
	if diags.HasErrors() != (settings == nil) {
		t.Errorf("%s: settings %v beside %s", path, settings != nil, b.String())
	}
	return settings, b.String()
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if folder, err := os.Getwd(); err == nil {
		got = strings.ReplaceAll(got, folder, "FOLDER")
	}
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("--- got\n%s--- want\n%s", got, want)
	}
}

// TestBad holds every document in testdata/bad against what is said of it. No secret is ever in that.
func TestBad(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 9 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			settings, got := load(t, file, Options{Secret: secret})
			if settings != nil {
				t.Error("the document was accepted")
			}
			if strings.Contains(got, "hunter2") {
				t.Error("a secret is shown")
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", got)
		})
	}
}

// certificate writes a certificate and its key into a folder.
func certificate(t *testing.T, folder string, until time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: until.Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"certificate.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// full is the fixture with everything in it, in a folder that has its certificate.
func full(t *testing.T, change ...string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/good/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for _, name := range []string{"tls", "etc"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	certificate(t, filepath.Join(folder, "tls"), time.Now().Add(time.Hour))
	path := filepath.Join(folder, "etc", "service.yaml")
	changed := strings.NewReplacer(change...).Replace(string(text))
	if len(change) > 0 && changed == string(text) {
		t.Fatalf("nothing of %q is in the fixture", change)
	}
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestGood(t *testing.T) {
	t.Parallel()
	path := full(t)
	s, said := load(t, path, Options{Secret: secret})
	if s == nil || said != "" {
		t.Fatal(said)
	}
	folder := filepath.Dir(filepath.Dir(path))
	if s.Listen.Key != filepath.Join(folder, "tls/key.pem") || s.State != "/var/lib/cipherstream" {
		t.Errorf("paths are not those of the document's folder: %q, %q", s.Listen.Key, s.State)
	}
	if !slices.Equal(s.AdminNetworks, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("10.1.0.0/16")}) {
		t.Errorf("admin networks: %v", s.AdminNetworks)
	}
	c := s.Customers[0]
	if c.ID != "sunrise" || c.DSN.Reveal() != known["env:SUNRISE_DSN"] || len(c.EncryptionKeys) != 1 || c.EncryptionKeys[0].Reveal()[:4] != "AQEB" {
		t.Errorf("customer: %+v", c)
	}
	if r := s.Limits.Rates; r.Procedures.Requests != 120 || r.Polling.Requests != 600 || s.Limits.Spool.Answer != 512<<20 || s.Limits.Spool.Process != 4<<30 {
		t.Errorf("defaults beside what is written: %+v", s.Limits)
	}
}

// TestWrite: what is written is a document again, of the same settings, with everything that a document can say, and
// without a secret.
func TestWrite(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"testdata/good/least.yaml", full(t)} {
		s, said := load(t, file, Options{Secret: secret})
		if s == nil {
			t.Fatal(said)
		}
		var b bytes.Buffer
		if err := s.Write(&b); err != nil {
			t.Fatal(err)
		}
		for _, hidden := range []string{"hunter2", "field=keys", "AQEB"} {
			if strings.Contains(b.String(), hidden) {
				t.Errorf("%q is shown:\n%s", hidden, b.String())
			}
		}
		if filepath.Base(file) == "least.yaml" {
			golden(t, "testdata/good/least.txt", b.String())
		}
		again := filepath.Join(t.TempDir(), "again.yaml")
		text := strings.ReplaceAll(b.String(), "command:vault [arguments not shown]", "command:vault read -field=keys secret/sunrise")
		if err := os.WriteFile(again, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s2, said := load(t, again, Options{Secret: secret})
		if s2 == nil {
			t.Fatalf("%s\n%s", said, text)
		}
		for _, c := range Changes(s, s2) {
			// Relative paths became absolute, and that of a reference is that of the other folder.
			if c.Path != "secrets" {
				t.Errorf("%s: %s", file, c.Path)
			}
		}
	}
}

// TestState: the record is in a folder, or on a server that a reference leads to, or a URL without a password. The command
// line's word counts, its paths are those of the current folder, and no password is shown.
func TestState(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		written, flag, directory, record, says string
	}{
		{written: "/var/lib/cipherstream", directory: "/var/lib/cipherstream"},
		{written: "/var/lib/cipherstream", flag: "other", directory: filepath.Join(here, "other")},
		{written: "env:STATE", record: "mysql://u:hunter2@db:3306/record"},
		{written: "/var/lib/cipherstream", flag: "env:STATE", record: "mysql://u:hunter2@db:3306/record"},
		{written: "mysql://u@db:3306/record", record: "mysql://u@db:3306/record"},
		{written: "/var/lib/cipherstream", flag: "mysql://u:hunter2@db:3306/record", says: "without a password in it"},
		{written: "/var/lib/cipherstream", flag: "file:state.txt", record: "mysql://u:hunter2@db:3306/record"},
	} {
		s, said := load(t, full(t, "state: /var/lib/cipherstream", "state: "+c.written+" "), Options{Secret: secret, State: c.flag})
		switch {
		case strings.Contains(said, "hunter2"):
			t.Errorf("%+v: a secret is shown: %s", c, said)
		case c.says != "":
			if s != nil || !strings.Contains(said, c.says) {
				t.Errorf("%+v: %s", c, said)
			}
		case s == nil || s.Directory != c.directory || s.Record.Reveal() != c.record || s.Shared != (c.record != ""):
			t.Errorf("%+v: %+v, %s", c, s, said)
		}
	}
	if s, said := load(t, full(t, "state: /var/lib/cipherstream", "state: env:STATE"), Options{}); s == nil || !s.Shared || s.Record.Reveal() != "" {
		t.Errorf("without secrets: %s", said)
	}
}

// TestJobs: what is said of jobs and buckets, with its defaults, and what may be a mistake in it.
func TestJobs(t *testing.T) {
	t.Parallel()
	s, said := load(t, full(t), Options{Secret: secret})
	if s == nil {
		t.Fatal(said)
	}
	want := Jobs{Workers: 4, TimeLimit: 3 * time.Minute, TimeLimits: map[string]time.Duration{"special": 10 * time.Minute},
		Retention: Retention{Link: 6 * time.Hour, Grace: time.Hour, Jobs: 90 * 24 * time.Hour, Audit: 7*365*24*time.Hour + 2*24*time.Hour}}
	if !reflect.DeepEqual(s.Jobs, want) {
		t.Errorf("%+v", s.Jobs)
	}
	if b := s.Buckets["results"]; b.AccessKeyID.Reveal() != "id" || b.SecretAccessKey.Reveal() != "hunter2" || b.Encryption != "aws:kms" || b.KMSKey != "alias/results" ||
		b.Download != "https://downloads.example.com" {
		t.Errorf("%+v", b.BucketSpec)
	}
	if b := s.Buckets["folder"]; b.Encryption != "none" || b.Download != "" {
		t.Errorf("%+v", b.BucketSpec)
	}
	s, said = load(t, full(t, `env:DEMO_DSN", bucket: folder`, `env:DEMO_DSN"`), Options{Secret: secret})
	if s == nil || !strings.Contains(said, "warning: 1 of the customers have no bucket, so that their requests never become jobs: demo") {
		t.Errorf("%s", said)
	}
}

func TestChanges(t *testing.T) {
	path := full(t)
	before, _ := load(t, path, Options{Secret: secret})
	for _, c := range []struct {
		old, new string
		want     []Change
	}{
		{"level: warn", "level: info", []Change{{"log.level", false}}},
		{"memory: 2GiB", "memory: 3GiB", []Change{{"limits.memory", false}}},
		{"procedures: {requests: 120", "procedures: {requests: 121", []Change{{"limits.rates.procedures.requests", false}}},
		{"[203.0.113.0/24]", "[]", []Change{{"customers.sunrise.networks", false}}},
		{"id: demo,", "id: demo2,", []Change{{"customers.demo (removed)", false}, {"customers.demo2 (new)", false}}},
		{"workers: 4", "workers: 5", []Change{{"jobs.workers", true}}},
		{"access_key_id: \"env:KEY_ID\"", "access_key_id: \"env:DATA_KEY\"", []Change{{"buckets", false}, {"buckets.results (the secrets)", false}}},
		{"grace: 20s", "grace: 21s", []Change{{"shutdown.grace", false}}},
		{"dsn: env:SUNRISE_DSN", "dsn: env:DEMO_DSN", []Change{{"customers.sunrise.dsn (the reference)", false}, {"customers.sunrise.dsn (the secret)", false}}},
	} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		other := filepath.Join(filepath.Dir(path), "other.yaml")
		if err := os.WriteFile(other, []byte(strings.Replace(string(text), c.old, c.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		after, said := load(t, other, Options{Secret: secret})
		if after == nil {
			t.Fatal(said)
		}
		if got := Changes(before, after); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v", c.new, got)
		}
	}
}

// TestWithoutSecrets: references are checked in form only when nothing reads them.
func TestWithoutSecrets(t *testing.T) {
	t.Parallel()
	s, said := load(t, full(t, "env:SUNRISE_DSN", "env:NOT_SET_HERE"), Options{})
	if s == nil || s.Customers[0].DSN.Reveal() != "" {
		t.Errorf("%s", said)
	}
}

// TestSchema: the JSON Schema has every setting, and lets no reference stand for a number.
func TestSchema(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(Schema())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"trusted_proxies"`, `"encryption_keys"`, `"const":"Service"`, `"time_limits"`, `"kms_key"`, `"default":10`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s is not in the schema", want)
		}
	}
	if bytes.Contains(text, []byte(`\\$\\{`)) {
		t.Error("a reference may stand for a value")
	}
}

// FuzzLoad: whatever a document holds, it is settings or it has mistakes, and settings can be written and read again.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "service.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, said := load(t, path, Options{})
		if s == nil {
			if said == "" {
				t.Error("nothing is said of a document that was refused")
			}
			return
		}
		var b bytes.Buffer
		if err := s.Write(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "[arguments not shown]") {
			return
		}
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		again, said := load(t, path, Options{})
		if again == nil {
			t.Fatalf("what was written is refused: %s\n%s", said, b.String())
		}
		if changes := Changes(s, again); len(changes) > 0 {
			t.Errorf("what was written is something else: %v\n%s", changes, b.String())
		}
	})
}

// TestNotify: where webhooks may go, the server of mail with the port of its TLS, and whom a customer's mail goes to.
func TestNotify(t *testing.T) {
	t.Parallel()
	s, said := load(t, full(t), Options{Secret: secret})
	if s == nil {
		t.Fatal(said)
	}
	network := func(text string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(text)} }
	if !slices.Equal(s.AllowNetworks, network("10.3.0.0/16")) || !slices.Equal(s.SourceAddresses, network("198.51.100.0/28")) {
		t.Errorf("%v, %v", s.AllowNetworks, s.SourceAddresses)
	}
	if m := s.Mail; m.Server != "smtp.example.com" || m.Port != 587 || m.TLS != "starttls" || s.MailPassword.Reveal() != "hunter2 mail" {
		t.Errorf("%+v", m)
	}
	if n := s.Customers[0].Notify; !slices.Equal(n.Emails, []string{"practice@example.com"}) || !slices.Equal(n.Events, []string{"job.completed", "job.failed", "webhook.disabled"}) {
		t.Errorf("%+v", n)
	}
	for written, port := range map[string]int{"tls: tls": 465, "tls: starttls, port: 2525": 2525, "tls: none, port: 0": 25} {
		change := []string{"mail: {", "mail: {" + written + ", "}
		if strings.Contains(written, "none") {
			change = append(change, "server: smtp.example.com", "server: localhost")
		}
		if s, said := load(t, full(t, change...), Options{Secret: secret}); s == nil || s.Mail.Port != port {
			t.Errorf("%s: %v %s", written, s != nil, said)
		}
	}
	was := known["env:MAIL_PASSWORD"]
	other := func(ctx context.Context, reference string) (string, error) {
		text, err := secret(ctx, reference)
		return strings.Replace(text, was, "another", 1), err
	}
	to, said := load(t, full(t, "198.51.100.0/28", "198.51.100.0/29", "emails: [practice@example.com]", "emails: []"), Options{Secret: other})
	if to == nil {
		t.Fatal(said)
	}
	restarts := map[string]bool{}
	for _, c := range Changes(s, to) {
		restarts[c.Path] = c.Restart
	}
	// The paths of the two documents' folders differ too.
	for path, restart := range map[string]bool{"webhooks.source_addresses": true, "mail.password (the secret)": true, "customers.sunrise.notify.emails": false} {
		if is, there := restarts[path]; !there || is != restart {
			t.Errorf("%s: %v, in %v", path, is, restarts)
		}
	}
}
