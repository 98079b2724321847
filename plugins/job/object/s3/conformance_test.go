package s3

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/plugins/job/object/s3/s3test"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
	"github.com/cipherstream/cipherstream/sdk/object/objecttest"
)

// of is the store on a server of the test's.
func of(t *testing.T, f *s3test.Server, change func(*Options)) *Bucket {
	t.Helper()
	o := Options{Name: f.Bucket, Endpoint: f.HTTP.URL, PathStyle: true, AccessKeyID: s3test.AccessKeyID, SecretAccessKey: "secret",
		PartSize: 5 << 20, MaxBackoff: time.Millisecond}
	if change != nil {
		change(&o)
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func fetch(t *testing.T, link string) (got objecttest.Answer) {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get(link)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got.Content, err = io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("the link answers %s: %s, %v", response.Status, got.Content, err)
	}
	h := response.Header
	got.ContentType, got.Disposition, got.ContentEncoding = h.Get("Content-Type"), h.Get("Content-Disposition"), h.Get("Content-Encoding")
	return got
}

func TestConformance(t *testing.T) {
	for _, checksums := range []bool{false, true} {
		objecttest.Run(t, objecttest.Harness{
			New: func(t *testing.T) object.Bucket {
				f := s3test.New(t)
				f.Checksums = checksums
				return of(t, f, nil)
			},
			Fetch: fetch,
			Sizes: []int{5<<20 - 1, 5 << 20, 5<<20 + 1, 12 << 20},
		})
	}
}

// put delivers an object.
func put(t *testing.T, b *Bucket, key string, size int) {
	t.Helper()
	up, err := b.Create(t.Context(), key, object.About{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := up.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if _, err := up.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestReadBreaks: an object that does not come to its end is a fault, and no other answer is taken for its content.
func TestReadBreaks(t *testing.T) {
	const size = 1000
	for name, c := range map[string]struct {
		instead func(w http.ResponseWriter, stop <-chan struct{}) // of the content
		code    string
		opens   bool
		retry   bool
	}{
		"cut off": {func(w http.ResponseWriter, _ <-chan struct{}) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write(make([]byte, 60))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "sink.unreachable", true, true},
		"silent after the first bytes": {func(w http.ResponseWriter, stop <-chan struct{}) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write(make([]byte, 60))
			_ = http.NewResponseController(w).Flush()
			<-stop
		}, "sink.timeout", true, true},
		"the whole in the place of a part": {func(w http.ResponseWriter, _ <-chan struct{}) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write(make([]byte, 100))
		}, "sink.verify", false, true},
		"another part": {func(w http.ResponseWriter, _ <-chan struct{}) {
			w.Header().Set("Content-Range", "bytes 4-99/100")
			w.Header().Set("Content-Length", "96")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(make([]byte, 96))
		}, "sink.verify", false, true},
		"denied": {func(w http.ResponseWriter, _ <-chan struct{}) { w.WriteHeader(http.StatusForbidden) }, "sink.access_denied", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := s3test.New(t)
			put(t, of(t, f, nil), "x", size)
			b := of(t, f, func(o *Options) {
				if c.code == "sink.timeout" { // nothing else has to wait, and the machine may be slow
					o.Timeout = 300 * time.Millisecond
				}
			})
			stop := make(chan struct{})
			defer close(stop)
			f.Instead = func(operation string, w http.ResponseWriter) bool {
				if operation != http.MethodGet {
					return false
				}
				c.instead(w, stop)
				return true
			}
			var offset int64
			if !c.opens {
				offset = 5
			}
			content, _, err := b.Open(t.Context(), "x", offset)
			if c.opens {
				if err != nil {
					t.Fatal(err)
				}
				defer content.Close()
				var got []byte
				if got, err = io.ReadAll(content); len(got) != 60 {
					t.Errorf("%d bytes came", len(got))
				}
			}
			if !fault.Is(err, c.code) || fault.From(err).Retryable != c.retry {
				t.Errorf("%v, want %s", err, c.code)
			}
		})
	}
}

// TestSlowReader: who takes time between two reads is not cut off, and an object may be longer than any other answer.
func TestSlowReader(t *testing.T) {
	f := s3test.New(t)
	b := of(t, f, nil)
	put(t, b, "x", 20<<20)
	content, info, err := b.Open(t.Context(), "x", 0)
	if err != nil || info.Size != 20<<20 {
		t.Fatal(info, err)
	}
	defer content.Close()
	if content.(*reader).patience.Stop() {
		t.Error("the clock runs before the first read")
	}
	if _, err := io.ReadFull(content, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if content.(*reader).patience.Stop() {
		t.Error("the clock runs between two reads")
	}
	if n, err := io.Copy(io.Discard, content); n != 20<<20-100 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestUnencrypted: a store that does not encrypt as it was asked to has no object of ours.
func TestUnencrypted(t *testing.T) {
	for _, size := range []int{0, 100} {
		for _, unencrypted := range []bool{true, false} {
			f := s3test.New(t)
			f.Unencrypted = unencrypted
			b := of(t, f, func(o *Options) { o.Encryption = "AES256" })
			up, err := b.Create(t.Context(), "x", object.About{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := up.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			_, err = up.Commit(t.Context())
			if err := up.Abort(t.Context()); err != nil {
				t.Error(err)
			}
			if !unencrypted {
				if err != nil {
					t.Error(err)
				}
				f.Check(t, "x")
				continue
			}
			if !fault.Is(err, "sink.encryption") {
				t.Errorf("%v", err)
			}
			f.Check(t)
		}
	}
}

// TestLinkOfAnotherClock: a link is signed as of the time that is given, where this machine's clock is another: the store
// refuses what was signed in the future, and counts from then.
func TestLinkOfAnotherClock(t *testing.T) {
	b := of(t, s3test.New(t), nil)
	now := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	link, err := b.Link(t.Context(), "k", object.LinkRequest{TTL: time.Hour, Now: now})
	if err != nil || !strings.Contains(link.URL, "X-Amz-Date=20310506T070809Z") || !strings.Contains(link.URL, "%2F20310506%2F") ||
		!strings.Contains(link.URL, "X-Amz-Expires=3600") || !link.Expires.Equal(now.Add(time.Hour)) {
		t.Errorf("%+v, %v", link, err)
	}
}
