package job

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/plugins/job/object/s3"
	"github.com/cipherstream/cipherstream/plugins/job/object/s3/s3test"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// deliverFacts delivers, and returns the facts that the receipt gets.
func deliverFacts(t *testing.T, settings string, data []byte) (map[string]string, error) {
	t.Helper()
	facts := map[string]string{}
	made, err := Stage().Make([]byte(settings), sdk.Env{Fact: func(name, value string) { facts[name] = value }})
	if err != nil {
		return nil, err
	}
	s := made.(*sink)
	if b, ok := s.to.(*s3.Bucket); ok {
		b.MaxBackoff = time.Millisecond
	}
	_, err = deliver(s, data, 1<<20)
	return facts, err
}

// TestS3Verified: the receipt says what of the object was looked at, which depends on what the store keeps.
func TestS3Verified(t *testing.T) {
	for _, c := range []struct {
		size      int
		checksums bool
		want      string
	}{
		{11 << 20, true, "size+composite sha256"}, {100, true, "size+composite sha256"}, {0, true, "size+sha256"},
		{11 << 20, false, "size"}, {0, false, "size"},
	} {
		f := s3test.New(t)
		f.Checksums = c.checksums
		facts, err := deliverFacts(t, settings(f.URL(), `"buffer":"5MiB"`), payload(c.size))
		if want := map[string]string{"verified": c.want, "connection": "none (http, on this machine)"}; err != nil || !maps.Equal(facts, want) {
			t.Errorf("%d bytes, checksums %t: %v, %v; want %v", c.size, c.checksums, facts, err, want)
		}
		f.Check(t, key)
	}
	// A store that refuses the header of what it does not know.
	f := s3test.New(t)
	f.Instead = func(operation string, w http.ResponseWriter) bool {
		if operation == "create" && f.Requests["create"] == 1 {
			w.WriteHeader(http.StatusNotImplemented)
			fmt.Fprint(w, "<Error><Code>NotImplemented</Code></Error>")
			return true
		}
		return false
	}
	if facts, err := deliverFacts(t, settings(f.URL()), payload(100)); err != nil || facts["verified"] != "size" || f.Requests["create"] > 2 {
		t.Errorf("%v, %v after %d requests", facts, err, f.Requests["create"])
	}
	facts, err := deliverFacts(t, fmt.Sprintf(`{"bucket":"file://%s"}`, t.TempDir()), payload(100))
	if err != nil || len(facts) > 0 {
		t.Errorf("a folder: %v, %v", facts, err)
	}
}

// TestS3Lies: a store that says that all is well where it is not gets no receipt, and nothing of ours stays.
func TestS3Lies(t *testing.T) {
	data := payload(11 << 20)
	lie := func(operation, body string, headers ...string) func(*s3test.Server) {
		return func(f *s3test.Server) {
			f.Instead = func(o string, w http.ResponseWriter) bool {
				if o != operation {
					return false
				}
				for i := 0; i+1 < len(headers); i += 2 {
					w.Header().Set(headers[i], headers[i+1])
				}
				_, _ = io.WriteString(w, body)
				return true
			}
		}
	}
	made := func(do func(o *s3test.Stored)) func(*s3test.Server) {
		return func(f *s3test.Server) { f.Checksums, f.Spoil = true, do }
	}
	for _, c := range []struct {
		name  string
		setup func(f *s3test.Server)
		code  string
		says  string
	}{
		{"an empty answer to the completion", lie("complete", ""), "sink.verify", "the object is not there"},
		{"an answer to the completion of nothing", lie("complete", "<CompleteMultipartUploadResult/>"), "sink.verify", "the object is not there"},
		{"a page in the place of an answer", lie("complete", "<html><body>It works!</body></html>"), "sink.verify", "the object is not there"},
		{"a part without an ETag", lie("part", ""), "sink.verify", "without giving its ETag"},
		{"a part of other bytes", lie("part", "", "ETag", `"x"`, "X-Amz-Checksum-Sha256", s3test.SHA256([]byte("x"))), "sink.verify", "with the SHA-256 "},
		{"ETags of nothing", lie("part", "", "ETag", `"d41d8cd98f00b204e9800998ecf8427e"`), "sink.upload", "MalformedXML"},
		{"an object of another ETag", made(func(o *s3test.Stored) { o.ETag = `"0-3"` }), "sink.verify", "has the ETag"},
		{"an object without its end", made(func(o *s3test.Stored) { o.Body = o.Body[:len(o.Body)-1] }), "sink.verify", "has 11534335 bytes, expected 11534336"},
		{"an object with a part twice", made(func(o *s3test.Stored) {
			copy(o.Body[5<<20:], o.Body[:5<<20])
			sum := sha256.Sum256(o.Body[:5<<20])
			last := sha256.Sum256(o.Body[10<<20:])
			o.Sum = s3test.SHA256(append(append(sum[:], sum[:]...), last[:]...)) + "-3"
		}), "sink.verify", "composite SHA-256"},
		{"a checksum that is none", made(func(o *s3test.Stored) { o.Sum = strings.Repeat("x", 5000) }), "sink.verify", "composite SHA-256"},
		{"another object of that name", made(func(o *s3test.Stored) {
			o.Header = o.Header.Clone()
			o.Header.Set("X-Amz-Meta-Cipherstream-Upload", "another")
		}), "sink.verify", "the object is not there"},
		{"an object that may not be looked at", func(f *s3test.Server) {
			f.Fail = func(o string, n int) (int, string) {
				if o == http.MethodHead && n == 1 {
					return 403, "AccessDenied"
				}
				return 0, ""
			}
		}, "sink.access_denied", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := s3test.New(t)
			c.setup(f)
			_, err := deliver(newTestSink(t, settings(f.URL(), `"buffer":"5MiB"`)), data, 1<<20)
			if !fault.Is(err, c.code) || !strings.Contains(err.Error(), c.says) || fault.From(err).Hint == "" && c.code == "sink.verify" || len(err.Error()) > 2000 {
				t.Errorf("%v, want %s with %q", err, c.code, c.says)
			}
			if c.name == "another object of that name" {
				f.Check(t, key) // it is not ours to remove
				return
			}
			f.Check(t)
		})
	}
	// The answer says nothing, and the object is there.
	f := s3test.New(t)
	f.FailAfter = func(o string, _ int) (int, string) {
		if o == "complete" {
			return 204, ""
		}
		return 0, ""
	}
	if _, err := deliver(newTestSink(t, settings(f.URL())), payload(100), 100); err != nil {
		t.Error(err)
	}
	f.Check(t, key)
}

// flood is a body without an end.
type flood struct{}

func (*flood) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '<'
	}
	return len(p), nil
}

// TestS3Flood: whatever a server says is read to a bound.
func TestS3Flood(t *testing.T) {
	for _, operation := range []string{"create", "part", "complete", "abort", "list", "uploads"} {
		for _, status := range []int{200, 400, 503} {
			if status == 503 && (operation == "list" || operation == "uploads") {
				continue // is tried again, with the pauses of a real run
			}
			t.Run(fmt.Sprint(operation, " ", status), func(t *testing.T) {
				f := s3test.New(t)
				var most int64
				f.Instead = func(o string, w http.ResponseWriter) bool {
					if o != operation && !(operation == "abort" && o == "complete") {
						return false
					}
					w.WriteHeader(status)
					if o == operation {
						sent, _ := io.Copy(w, io.LimitReader(&flood{}, 64<<20)) // ends when the client hangs up
						f.Lock()
						most = max(most, sent)
						f.Unlock()
					}
					return true
				}
				var err error
				if operation == "list" || operation == "uploads" {
					var s Settings
					s.Bucket = f.URL()
					s.AccessKeyID, s.SecretAccessKey, s.Timeout = config.NewSecret("AKIDTEST"), config.NewSecret(secret), time.Minute
					_, err = Sweep(context.Background(), s, time.Now(), SweepOptions{Prefix: "x", Abandoned: time.Hour})
				} else {
					_, err = deliver(newTestSink(t, settings(f.URL())), payload(100), 100)
				}
				if err == nil {
					t.Error("a flood is no answer")
				}
				f.HTTP.Close()
				// What the kernel holds comes on top.
				if most > 24<<20 {
					t.Errorf("%d MiB were taken", most>>20)
				}
			})
		}
	}
}

// TestProtection: plain http leaves this machine only where that is written, and a certificate of the store's own is
// taken by its pin.
func TestProtection(t *testing.T) {
	for _, c := range []struct{ query, code string }{
		{"endpoint=http://127.0.0.1:9000", ""}, {"endpoint=http://[::1]:9000", ""}, {"endpoint=http://localhost:9000", ""},
		{"endpoint=http://127.1.2.3", ""}, {"endpoint=https://store.example.org", ""}, {"", ""},
		{"endpoint=http://10.0.0.1:9000&tls=none", ""}, {"endpoint=http://localhost&tls=none", ""},
		{"endpoint=https://10.0.0.1&tls_pin=sha256:" + strings.Repeat("0a", 32), ""},
		{"endpoint=http://10.0.0.1:9000", "sink.insecure"}, {"endpoint=http://store.example.org", "sink.insecure"},
		{"endpoint=http://localhost.example.org", "sink.insecure"}, {"endpoint=http://0.0.0.0:9000", "sink.insecure"},
		{"endpoint=http://store&tls=", "sink.insecure"}, {"endpoint=http://store&tls=skip", "sink.insecure"},
		{"endpoint=https://store&tls=none", "sink.bucket"}, {"tls=none", "sink.bucket"}, {"endpoint=http://127.0.0.1&tls=skip-verify", "sink.bucket"},
		{"endpoint=https://store&tls_pin=" + strings.Repeat("0a", 32), "sink.bucket"}, {"endpoint=https://store&tls_pin=sha256:0a", "sink.bucket"},
		{"endpoint=http://127.0.0.1&tls_pin=sha256:" + strings.Repeat("0a", 32), "sink.bucket"},
	} {
		_, err := Stage().Make([]byte(settings("s3://results?"+c.query)), sdk.Env{})
		if c.code == "" && err != nil || c.code != "" && (!fault.Is(err, c.code) && !fault.Is(err, "sink.bucket") || fault.From(err).Class != fault.Usage) {
			t.Errorf("%s: %v, want %q", c.query, err, c.code)
		}
	}

	f := s3test.New(t)
	secure := httptest.NewUnstartedServer(f)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	bucket := "s3://" + f.Bucket + "?region=eu-west-1&use_path_style=true&endpoint=" + url.QueryEscape(secure.URL)
	_, err := deliverFacts(t, settings(bucket), payload(100))
	if !fault.Is(err, "sink.tls") {
		t.Fatalf("a certificate of nobody: %v", err)
	}
	key := fmt.Sprintf("sha256:%x", sha256.Sum256(secure.Certificate().RawSubjectPublicKeyInfo))
	if hint := fault.From(err).Hint; !strings.Contains(hint, "tls_pin="+key) {
		t.Errorf("the hint: %s", hint)
	}
	facts, err := deliverFacts(t, settings(bucket+"&tls_pin="+key), payload(100))
	if err != nil || facts["connection"] != "TLS 1.3, pinned key" {
		t.Errorf("pinned: %v, %v", facts, err)
	}
	before := f.Requests["create"]
	if _, err := deliverFacts(t, settings(bucket+"&tls_pin=sha256:"+strings.Repeat("0a", 32)), payload(100)); !fault.Is(err, "sink.tls") || !strings.Contains(err.Error(), key) {
		t.Errorf("another pin: %v", err)
	}
	if f.Requests["create"] != before {
		t.Error("something was sent to somebody else")
	}
}
