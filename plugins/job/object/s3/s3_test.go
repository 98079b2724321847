package s3

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPartSizes(t *testing.T) {
	const least = 5 << 20
	var total int64
	for n := int32(1); n <= maxParts; n++ {
		total += partSize(least, n)
	}
	if total < 5_000_000_000_000 {
		t.Errorf("%d parts hold %d bytes", maxParts, total)
	}
	// 20 GB in parts of 8 MiB to begin with.
	var size int64
	n := int32(0)
	for ; size < 20_000_000_000; n++ {
		size += partSize(8<<20, n+1)
	}
	if last := partSize(8<<20, n); n > 2000 || last > 16<<20 {
		t.Errorf("20 GB take %d parts of up to %d bytes", n, last)
	}
}

// flood is a body without an end.
type flood struct{}

func (*flood) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '<'
	}
	return len(p), nil
}

func TestBounded(t *testing.T) {
	for _, c := range []struct {
		method string
		status int
		most   int
	}{{"GET", 200, maxList}, {"GET", 500, maxAnswer}, {"POST", 200, maxAnswer}} {
		for over := range 2 {
			body := io.LimitReader(&flood{}, int64(c.most+over))
			trip := bounded{roundTrip(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: c.status, Body: io.NopCloser(body)}, nil
			})}
			response, err := trip.RoundTrip(httptest.NewRequest(c.method, "http://x/", nil))
			if over > 0 {
				if !fault.Is(err, "sink.answer") {
					t.Errorf("%s %d, a byte too long: %v", c.method, c.status, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(response.Body); err != nil || len(text) != c.most {
				t.Errorf("%s %d: %d bytes, %v", c.method, c.status, len(text), err)
			}
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
