package job

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/plugins/job/object/s3"
	"github.com/cipherstream/cipherstream/plugins/job/object/s3/s3test"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "wJalrXUtnFEMI-not-a-real-secret"

// settings are those of a sink, as JSON.
func settings(bucket string, more ...string) string {
	list := append([]string{fmt.Sprintf(`"bucket":%q`, bucket), `"access_key_id":"AKIDTEST"`, fmt.Sprintf(`"secret_access_key":%q`, secret)}, more...)
	return "{" + strings.Join(list, ",") + "}"
}

// newTestSink makes a sink that waits little between attempts.
func newTestSink(t testing.TB, settings string) *sink {
	t.Helper()
	made, err := Stage().Make([]byte(settings), sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	s := made.(*sink)
	if b, ok := s.to.(*s3.Bucket); ok {
		b.MaxBackoff = time.Millisecond
	}
	return s
}

var media = sdk.Object{RunID: "appointments_1700000000000_0a1b2c3d",
	Media: sdk.Media{Type: "application/x-ndjson", Extension: ".ndjson.gz", ContentEncoding: "gzip"}}

const key = "appointments_1700000000000_0a1b2c3d.1.ndjson.gz"

// payload is data that does not repeat itself.
func payload(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// deliver runs a sink as the runner does.
func deliver(s *sink, data []byte, piece int) (sdk.Receipt, error) {
	ctx := context.Background()
	if err := s.Open(ctx, media); err != nil {
		return sdk.Receipt{}, errors.Join(err, s.Abort(ctx))
	}
	for len(data) > 0 {
		n := min(piece, len(data))
		p := bytes.Clone(data[:n])
		if err := s.Write(ctx, p); err != nil {
			return sdk.Receipt{}, errors.Join(err, s.Abort(ctx))
		}
		clear(p) // it is the caller's again
		data = data[n:]
	}
	r, err := s.Commit(ctx)
	if err != nil {
		return r, errors.Join(err, s.Abort(ctx))
	}
	return r, errors.Join(s.Abort(ctx), s.Abort(ctx))
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestS3Delivers(t *testing.T) {
	for _, size := range []int{0, 1, 5<<20 - 1, 5 << 20, 5<<20 + 1, 23<<20 + 17} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			f := s3test.New(t)
			s := newTestSink(t, settings(f.URL(), `"buffer":"5MiB"`, `"encryption":"aws:kms"`, `"kms_key":"key-1"`))
			data := payload(size)
			before := time.Now()
			receipt, err := deliver(s, data, 700_001)
			if err != nil {
				t.Fatal(err)
			}
			f.Check(t, key)
			o := f.Objects[key]
			if !bytes.Equal(o.Body, data) {
				t.Error("the object is not what was written")
			}
			for name, want := range map[string]string{
				"Content-Type": "application/x-ndjson", "Content-Encoding": "", "X-Amz-Meta-Cipherstream-Run": media.RunID,
				"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "key-1",
				"Content-Disposition": "attachment; filename=appointments_1700000000000_0a1b2c3d.ndjson.gz",
			} {
				if got := o.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if receipt.Bytes != int64(size) || receipt.SHA256 != digest(data) || receipt.Location != "s3://results/"+key {
				t.Errorf("receipt %+v", receipt)
			}
			if f.Largest > 5<<20 || f.Most > 2 {
				t.Errorf("parts of up to %d bytes, %d at once", f.Largest, f.Most)
			}

			// The link works without credentials, and says when it ends.
			link, err := url.Parse(receipt.Link)
			if err != nil || link.Query().Get("X-Amz-Expires") != "43200" {
				t.Fatalf("link %q: %v", receipt.Link, err)
			}
			if d := receipt.LinkExpires.Sub(before); d < 12*time.Hour-2*time.Second || d > 12*time.Hour+5*time.Second {
				t.Errorf("the link is said to end in %s", d)
			}
			// The digest is that of the bytes that any client gets: there is no content coding to undo.
			response, err := f.HTTP.Client().Get(receipt.Link)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if got, err := io.ReadAll(response.Body); response.StatusCode != 200 || err != nil || digest(got) != receipt.SHA256 {
				t.Errorf("the link answers %s with %d bytes (%v)", response.Status, len(got), err)
			}
		})
	}
}

// TestS3Fails has the service fail at every step: nothing may stay, whatever fails.
func TestS3Fails(t *testing.T) {
	always := func(operation string, status int, code string) func(string, int) (int, string) {
		return func(o string, _ int) (int, string) {
			if o == operation {
				return status, code
			}
			return 0, ""
		}
	}
	hang := func(operation string) func(string, int) bool {
		return func(o string, _ int) bool { return o == operation }
	}
	data := payload(11 << 20)
	for _, c := range []struct {
		name  string
		setup func(f *s3test.Server)
		code  string
		retry bool
		// requests that a failure takes at most
		requests int
	}{
		{"no bucket", func(f *s3test.Server) { f.Bucket = "another" }, "sink.bucket_missing", false, 1},
		{"denied", func(f *s3test.Server) { f.Fail = always("create", 403, "AccessDenied") }, "sink.access_denied", false, 1},
		{"key unknown", func(f *s3test.Server) { f.Fail = always("create", 403, "InvalidAccessKeyId") }, "sink.credentials", false, 1},
		{"away at the start", func(f *s3test.Server) { f.Fail = always("create", 503, "ServiceUnavailable") }, "sink.upload", true, s3.Attempts},
		{"denied at a part", func(f *s3test.Server) {
			f.Fail = func(o string, n int) (int, string) {
				if o == "part" && n > 1 {
					return 403, "AccessDenied"
				}
				return 0, ""
			}
		}, "sink.access_denied", false, 0},
		{"away at every part", func(f *s3test.Server) { f.Fail = always("part", 500, "InternalError") }, "sink.upload", true, 0},
		{"the disk is full", func(f *s3test.Server) { f.Fail = always("part", 507, "XMinioStorageFull") }, "sink.disk_full", false, 0},
		{"silent at a part", func(f *s3test.Server) { f.Hang = hang("part") }, "sink.timeout", true, 0},
		{"an error after the last part", func(f *s3test.Server) { f.Fail = always("complete", 500, "InternalError") }, "sink.upload", true, 0},
		{"refused after the last part", func(f *s3test.Server) { f.Fail = always("complete", 400, "EntityTooSmall") }, "sink.upload", false, 0},
		{"a part is gone", func(f *s3test.Server) { f.Fail = always("complete", 400, "InvalidPart") }, "sink.upload", true, 0},
		{"silent after the last part", func(f *s3test.Server) { f.Hang = hang("complete") }, "sink.timeout", true, 0},
		{"the upload is gone", func(f *s3test.Server) {
			f.Fail = func(o string, n int) (int, string) {
				if o == "complete" {
					f.Lock()
					clear(f.Uploads)
					f.Unlock()
				}
				return 0, ""
			}
		}, "sink.upload", true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := s3test.New(t)
			to := f.URL()
			c.setup(f)
			s := newTestSink(t, settings(to, `"buffer":"5MiB"`))
			if f.Hang != nil {
				s.to.(*s3.Bucket).Timeout = 200 * time.Millisecond
			}
			_, err := deliver(s, data, 1<<20)
			if !fault.Is(err, c.code) {
				t.Fatalf("%v, want %s", err, c.code)
			}
			class := fault.Sink
			if slices.Contains([]string{"sink.unreachable", "sink.credentials", "sink.access_denied"}, c.code) {
				class = fault.Connect // as with a database that is away, or refuses us
			}
			if got := fault.From(err); got.Retryable != c.retry || got.Class != class || !strings.Contains(got.Message, `"results"`) {
				t.Errorf("%+v", got)
			}
			if strings.Contains(fmt.Sprintf("%+v %s", fault.From(err), err), secret) || strings.Contains(err.Error(), "AKIDTEST") {
				t.Errorf("the message holds credentials: %s", err)
			}
			f.Check(t)
			f.Lock()
			defer f.Unlock()
			if total := f.Requests["create"]; c.requests > 0 && total > c.requests {
				t.Errorf("%d requests", total)
			}
		})
	}
}

// TestS3Recovers has the service fail for a while, or lose an answer: the object is there once.
func TestS3Recovers(t *testing.T) {
	data := payload(17 << 20)
	for _, c := range []struct {
		name  string
		setup func(f *s3test.Server)
	}{
		{"every request fails once", func(f *s3test.Server) {
			f.Fail = func(_ string, n int) (int, string) {
				if n%2 == 1 {
					return 503, "SlowDown"
				}
				return 0, ""
			}
		}},
		{"the answer to the completion is lost", func(f *s3test.Server) {
			f.FailAfter = func(o string, _ int) (int, string) {
				if o == "complete" {
					return 500, "InternalError"
				}
				return 0, ""
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := s3test.New(t)
			c.setup(f)
			receipt, err := deliver(newTestSink(t, settings(f.URL(), `"buffer":"5MiB"`)), data, 1<<20)
			if err != nil || receipt.Bytes != int64(len(data)) {
				t.Fatal(receipt, err)
			}
			f.Check(t, key)
			if !bytes.Equal(f.Objects[key].Body, data) {
				t.Error("the object is not what was written")
			}
		})
	}
}

// TestS3LateObject has a completion come through that looked like a failure, and cannot be
// confirmed at once: aborting removes the object.
func TestS3LateObject(t *testing.T) {
	f := s3test.New(t)
	f.Objects["other"] = &s3test.Stored{Key: "other", Header: http.Header{}}
	f.FailAfter = func(o string, n int) (int, string) {
		if o == "complete" || o == http.MethodHead && n == 1 {
			return 403, "AccessDenied"
		}
		return 0, ""
	}
	if _, err := deliver(newTestSink(t, settings(f.URL())), payload(100), 100); !fault.Is(err, "sink.access_denied") {
		t.Fatal(err)
	}
	f.Check(t, "other")
}

func TestS3Abort(t *testing.T) {
	f := s3test.New(t)
	started := make(chan struct{}, 10)
	f.Hang = func(o string, _ int) bool {
		if o == "part" {
			started <- struct{}{}
		}
		return o == "part"
	}
	s := newTestSink(t, settings(f.URL(), `"buffer":"5MiB"`))
	ctx, cancel := context.WithCancel(context.Background())
	if err := s.Open(ctx, media); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- s.Write(ctx, payload(30<<20)) }()
	<-started
	<-started
	cancel()
	if err := <-written; !errors.Is(err, context.Canceled) {
		t.Errorf("Write: %v", err)
	}
	for range 2 {
		if err := s.Abort(ctx); err != nil {
			t.Error(err)
		}
	}
	f.Check(t)
}

func TestS3Unreachable(t *testing.T) {
	f := s3test.New(t)
	to := f.URL()
	f.HTTP.Close()
	_, err := deliver(newTestSink(t, settings(to)), nil, 1)
	if !fault.Is(err, "sink.unreachable") || !fault.From(err).Retryable || strings.Contains(err.Error(), "uploads") {
		t.Errorf("%v", err)
	}
}

// TestS3Memory uploads more than it may hold.
func TestS3Memory(t *testing.T) {
	f := s3test.New(t)
	f.Fail = func(o string, _ int) (int, string) {
		if o == "part" {
			f.Lock()
			for _, u := range f.Uploads {
				clear(u.Parts) // keep the service small
			}
			f.Unlock()
		}
		return 0, ""
	}
	s := newTestSink(t, settings(f.URL(), `"buffer":"5MiB"`))
	ctx := context.Background()
	if err := s.Open(ctx, media); err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, uint64(0)
	piece := payload(1 << 20)
	for i := range 200 {
		if err := s.Write(ctx, piece); err != nil {
			t.Fatal(err)
		}
		if i%20 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
	if err := s.Abort(ctx); err != nil {
		t.Error(err)
	}
	// Three parts of the sink, and as many bodies in the service.
	if held := int64(most) - int64(before); held > 60<<20 {
		t.Errorf("200 MiB in parts of 5 MiB hold %d MiB", held>>20)
	}
	f.Check(t)
}

func TestS3Links(t *testing.T) {
	f := s3test.New(t)
	in := func(d time.Duration) string {
		return fmt.Sprintf(`"credentials_expire":%q`, time.Now().Add(d).UTC().Format(time.RFC3339))
	}
	for _, c := range []struct {
		name string
		more []string
		code string
	}{
		{"beyond seven days", []string{`"link_ttl":"169h"`, `"retention":"200h"`}, "sink.link_ttl"},
		{"beyond the object", []string{`"link_ttl":"48h"`}, "sink.link_ttl"},
		{"beyond the credentials", []string{`"session_token":"t"`, in(time.Hour)}, "sink.link_ttl"},
		{"credentials of unknown end", []string{`"session_token":"t"`}, "sink.link_ttl"},
		{"credentials that ended", []string{`"session_token":"t"`, in(-time.Hour), `"link_ttl":"1s"`}, "sink.link_ttl"},
		{"within the credentials", []string{`"session_token":"t"`, in(time.Hour), `"link_ttl":"59m"`}, ""},
		{"no link", []string{`"session_token":"t"`, `"link_ttl":"0s"`}, ""},
		{"not a time", []string{`"credentials_expire":"tomorrow"`}, "sink.credentials"},
	} {
		t.Run(c.name, func(t *testing.T) {
			made, err := Stage().Make([]byte(settings(f.URL(), c.more...)), sdk.Env{})
			if err == nil {
				_, err = deliver(made.(*sink), payload(10), 10)
			}
			if c.code == "" && err != nil || c.code != "" && !fault.Is(err, c.code) {
				t.Errorf("%v, want %q", err, c.code)
			}
			f.Lock()
			defer f.Unlock()
			if len(f.Uploads) > 0 {
				t.Error("an upload is left behind")
			}
		})
	}
}
