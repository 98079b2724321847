package api

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/job"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// linkOf is the path of a link to the result of a job.
func (s *jobServer) linkOf(id string) string {
	s.t.Helper()
	v := s.do("GET", "/v1/customers/clinic-7/jobs/"+id, "").job(s.t)
	path, ok := strings.CutPrefix(v.S3URL, s.URL)
	if !ok {
		s.t.Fatalf("a link %q", v.S3URL)
	}
	return path
}

// TestDownload leads to a fresh link, wherever the result is, with its name.
func TestDownload(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, nil)
	j := s.completed([]byte(want(3)))
	path := "/v1/customers/clinic-7/jobs/" + j.ID + "/download"
	a := s.do("GET", path, "")
	if a.StatusCode != 307 || len(a.body) > 0 || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Disposition") != "attachment; filename="+j.ID+".ndjson" || !strings.HasPrefix(a.Header.Get("Location"), objectsPath) {
		t.Fatalf("%s %v", a.Status, a.Header)
	}
	got := s.do("GET", a.Header.Get("Location"), "", "Authorization", "-")
	if got.StatusCode != 200 || string(got.body) != want(3) || got.Header.Get("Content-Type") != "application/x-ndjson" || got.Header.Get("Content-Disposition") != a.Header.Get("Content-Disposition") ||
		got.Header.Get("ETag") != `"`+j.SHA256+`"` || got.Header.Get("Repr-Digest") != digest(got.body) || got.Header.Get("Content-Encoding") != "" || got.Header.Get("Accept-Ranges") != "bytes" || got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %v %s", got.Status, got.Header, got.body)
	}
	s.jobs.link = object.Link{URL: "https://bucket.example.com/x?sig=1", Expires: time.Now().Add(time.Hour)}
	if a := s.do("GET", path, ""); a.StatusCode != 307 || a.Header.Get("Location") != s.jobs.link.URL {
		t.Errorf("%s %v", a.Status, a.Header)
	}
	for code, want := range map[string]Code{job.CodeNoObject: ResultExpired, "sink.connect": StorageUnavailable, store.CodeFailed: RecordUnavailable} {
		s.jobs.fails = fault.New(code, fault.Sink, "no")
		if e := s.do("GET", path, "").refusal(t); e.Code != want {
			t.Errorf("%s: %s", code, e.Code)
		}
	}
}

// TestDownloadsAreLimited by a policy of their own, and told with their headers; so is polling.
func TestDownloadsAreLimited(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, func(c *Config) {
		c.Admission = admission.New(admission.Config{Limits: admission.Limits{Rates: map[admission.Policy]admission.Rate{
			admission.Polling: {Quota: 3, Window: time.Hour}, admission.Downloads: {Quota: 1, Window: time.Hour}}}})
	})
	j := s.completed([]byte("x"))
	path := "/v1/customers/clinic-7/jobs/" + j.ID
	for _, c := range []struct {
		more, limit string
		status      int
	}{{"/download", `"downloads";r=0`, 307}, {"/download", `"downloads";r=0`, 429}, {"", `"polling";r=2`, 200}, {"/manifest", `"polling";r=1`, 200}, {"/events", `"polling";r=0`, 200}, {"", `"polling";r=0`, 429}} {
		a := s.do("GET", path+c.more, "")
		if a.StatusCode != c.status || !strings.HasPrefix(a.Header.Get("RateLimit"), c.limit) || !strings.HasPrefix(a.Header.Get("RateLimit-Policy"), c.limit[:strings.Index(c.limit, ";")]) {
			t.Errorf("%q: %s %v", c.more, a.Status, a.Header)
		}
	}
}

// TestLinks: a link of ours opens what it was made for until it ends, and nothing else is one.
func TestLinks(t *testing.T) {
	t.Parallel()
	var now atomic.Pointer[time.Time]
	set := func(at time.Time) { now.Store(&at) }
	set(time.Now())
	s := newJobServer(t, func(c *Config) { c.Now = func() time.Time { return time.Now().AddDate(0, 0, 1) } }) // links go by another one
	s.jobs.now = func() time.Time { return *now.Load() }
	soon := now.Load().Add(time.Hour)
	j := s.completed([]byte("x"))
	good := s.linkOf(j.ID)
	refused := func(what, path string, code Code) {
		t.Helper()
		if e := s.do("GET", path, "", "Authorization", "-").refusal(t); e.Code != code {
			t.Errorf("%s: %s", what, e.Code)
		}
	}
	if a := s.do("GET", good, "", "Authorization", "-"); string(a.body) != "x" {
		t.Fatalf("%s %s", a.Status, a.body)
	}
	signed := strings.TrimPrefix(good, objectsPath)
	text, mac, _ := strings.Cut(signed, ".")
	for i := range signed {
		other := []byte(signed)
		if other[i]++; other[i] == '/' || other[i] == '[' || other[i] == '{' {
			other[i] = 'a'
		}
		if path := objectsPath + string(other); path != good {
			refused(fmt.Sprint("byte ", i), path, LinkInvalid)
		}
	}
	plain, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || !strings.Contains(string(plain), j.ID) || strings.Contains(string(plain), "results") || strings.Contains(string(plain), ".1.") {
		t.Errorf("the link says %q", plain)
	}
	for what, path := range map[string]string{"nothing": "x", "a name": "results", "no signature": text, "an empty one": text + ".", "another's": text + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 32)),
		"padding": text + "." + mac + "=", "long": strings.Repeat("a", 2000) + "." + mac, "%00": "%00." + mac, "a path": "..%2f..%2fetc%2fpasswd"} {
		code := LinkInvalid
		if what == "%00" || what == "a path" {
			code = NotFound
		}
		refused(what, objectsPath+path, code)
	}
	foreign := &API{Config: Config{LinkKey: []byte("another key of 32 bytes and more")}}
	refused("of another service", objectsPath+pass{"clinic-7", j.ID, j.Runs, "key_good", soon}.sign(foreign.LinkKey), LinkInvalid)
	refused("of another taking", objectsPath+pass{"clinic-7", j.ID, j.Runs + 1, "key_good", soon}.sign(s.api.LinkKey), ResultExpired)
	refused("of another customer", objectsPath+pass{"clinic-8", j.ID, j.Runs, "key_good", soon}.sign(s.api.LinkKey), ResultExpired)
	waits := s.order()
	refused("of a job that waits", objectsPath+pass{"clinic-7", waits.JobID, 0, "key_good", soon}.sign(s.api.LinkKey), ResultExpired)
	if e := s.do("POST", good, "").refusal(t); e.Code != MethodNotAllowed {
		t.Errorf("%s", e.Code)
	}
	set(j.ObjectExpires.Truncate(time.Second).Add(-time.Millisecond))
	if a := s.do("GET", good, ""); a.StatusCode != 200 {
		t.Errorf("before its end: %s", a.Status)
	}
	set(j.ObjectExpires.Truncate(time.Second))
	refused("at its end", good, LinkInvalid)
	set(j.ObjectExpires)
	if v := s.do("GET", "/v1/customers/clinic-7/jobs/"+j.ID, "").job(t); v.S3URL != "" || v.ExpiresAt != timeText(j.ObjectExpires) {
		t.Errorf("a result whose time is over: %+v", v)
	}
	if e := s.do("GET", "/v1/customers/clinic-7/jobs/"+j.ID+"/download", "").refusal(t); e.Code != ResultExpired {
		t.Errorf("%s", e.Code)
	}
}

// TestLinksAreAbsolute: s3_url has the address that the settings give, or the one that was asked at.
func TestLinksAreAbsolute(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, func(c *Config) { c.Servers = []string{"/", "https://api.example.com/base/"} })
	j := s.completed([]byte("x"))
	if v := s.do("GET", "/v1/customers/clinic-7/jobs/"+j.ID, "").job(t); !strings.HasPrefix(v.S3URL, "https://api.example.com/base/v1/objects/") {
		t.Error(v.S3URL)
	}
	s = newJobServer(t, func(c *Config) { c.TLS = true })
	j = s.completed([]byte("x"))
	if v := s.do("GET", "/v1/customers/clinic-7/jobs/"+j.ID, "").job(t); !strings.HasPrefix(v.S3URL, "https://127.0.0.1:") {
		t.Error(v.S3URL)
	}
}

// TestRanges: what the standard library answers for a file, for any ranges and conditions, is what is answered for an object that is
// read from an offset on; but for errors, which are those of the table, and for very many ranges.
func TestRanges(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, nil)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, size := range []int{0, 1, 10, 100_000} {
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(random.Uint32())
		}
		j := s.completed(content)
		link := s.linkOf(j.ID)
		oracle := func(method string, header http.Header) *http.Response {
			r := httptest.NewRequest(method, "/", nil)
			r.Header = header
			w := httptest.NewRecorder()
			w.Header().Set("ETag", `"`+j.SHA256+`"`)
			w.Header().Set("Content-Type", "application/x-ndjson")
			http.ServeContent(w, r, "", j.CompletedAt, bytes.NewReader(content))
			return w.Result()
		}
		cases := []http.Header{{}, {"Range": {"bytes=0-"}}, {"Range": {"bytes=0-0"}}, {"Range": {"bytes=-1"}}, {"Range": {"bytes=5-2"}}, {"Range": {"lines=1-2"}}, {"Range": {"bytes="}}, {"Range": {"bytes=x-y"}},
			{"Range": {fmt.Sprintf("bytes=%d-", size)}}, {"Range": {fmt.Sprintf("bytes=0-%d", size)}}, {"Range": {"bytes=0-1,3-4"}}, {"Range": {"bytes=3-4, 0-1, -2"}}, {"Range": {"bytes=0-,0-"}}, {"Range": {"bytes=-99999999999999999999"}}}
		for range 30 {
			from := random.IntN(size + 3)
			cases = append(cases, http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", from, from+random.IntN(size+3))}})
		}
		good, late, early := `"`+j.SHA256+`"`, j.CompletedAt.Add(time.Hour).UTC().Format(http.TimeFormat), j.CompletedAt.Add(-time.Hour).UTC().Format(http.TimeFormat)
		for _, ranges := range []string{"bytes=0-3", ""} {
			for name, values := range map[string][]string{"If-Range": {good, `"x"`, "W/" + good, late, early, "?"}, "If-Match": {good, `"x"`, "*"}, "If-None-Match": {good, `"x"`, "*", "W/" + good, `"a", ` + good},
				"If-Modified-Since": {late, early}, "If-Unmodified-Since": {late, early}} {
				for _, value := range values {
					h := http.Header{name: {value}}
					if ranges != "" {
						h.Set("Range", ranges)
					}
					cases = append(cases, h)
				}
			}
		}
		for _, header := range cases {
			for _, method := range []string{"GET", "HEAD"} {
				want, got := oracle(method, header.Clone()), s.send(header.Clone(), method, link, "")
				what := fmt.Sprintf("%d bytes, %s %v", size, method, header)
				if got.StatusCode != want.StatusCode || got.Header.Get("Content-Range") != want.Header.Get("Content-Range") || got.err != nil {
					t.Errorf("%s: %s %v %v, want %s %v", what, got.Status, got.Header, got.err, want.Status, want.Header)
					continue
				}
				if got.StatusCode >= 400 {
					if method == "GET" {
						got.refusal(t)
					}
					continue
				}
				for _, name := range []string{"Content-Length", "ETag", "Last-Modified", "Accept-Ranges"} {
					if strings.HasPrefix(want.Header.Get("Content-Type"), "multipart/") && name == "Content-Length" {
						continue // the boundary is another one, of the same length
					}
					if got.Header.Get(name) != want.Header.Get(name) {
						t.Errorf("%s: %s is %q, want %q", what, name, got.Header.Get(name), want.Header.Get(name))
					}
				}
				body, _ := io.ReadAll(want.Body)
				if method == "HEAD" {
					body = nil
				}
				if a, b := parts(t, got.Header.Get("Content-Type"), got.body), parts(t, want.Header.Get("Content-Type"), body); !slices.Equal(a, b) {
					t.Errorf("%s: another body, %d and %d bytes", what, len(got.body), len(body))
				}
			}
		}
		if size < 1000 {
			continue
		}
		// What is asked for is what is read.
		s.jobs.mu.Lock()
		s.jobs.opened = nil
		s.jobs.mu.Unlock()
		s.send(http.Header{"Range": {"bytes=700-800,10-20"}}, "GET", link, "")
		s.send(http.Header{}, "HEAD", link, "")
		if fmt.Sprint(s.jobs.opened) != "[700 10]" {
			t.Errorf("it was read from %v", s.jobs.opened)
		}
		many := "bytes=0-0" + strings.Repeat(",5-6", mostRanges)
		if a := s.send(http.Header{"Range": {many}}, "GET", link, ""); a.StatusCode != 200 || !bytes.Equal(a.body, content) {
			t.Errorf("many ranges: %s, %d bytes", a.Status, len(a.body))
		}
	}
}

// parts are the parts of a body that is several ranges, or the body.
func parts(t testing.TB, contentType string, body []byte) (out []string) {
	t.Helper()
	kind, parameters, _ := mime.ParseMediaType(contentType)
	if kind != "multipart/byteranges" || len(body) == 0 {
		return []string{string(body)}
	}
	for r := multipart.NewReader(bytes.NewReader(body), parameters["boundary"]); ; {
		p, err := r.NextPart()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(p.Header["Content-Type"], p.Header["Content-Range"]), string(content))
	}
}

// TestBrokenObjects: what goes wrong before the first byte is told, and behind it the answer is cut; an object that is another one than
// the record names is never sent.
func TestBrokenObjects(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, nil)
	content := bytes.Repeat([]byte("0123456789"), 50_000)
	j := s.completed(content)
	link := s.linkOf(j.ID)
	for code, want := range map[string]Code{"sink.read": StorageUnavailable, job.CodeNoObject: ResultExpired, object.CodeMissing: ResultExpired, store.CodeFailed: RecordUnavailable} {
		s.jobs.fails = fault.New(code, fault.Sink, "SELECT db.internal root:pw")
		for _, ranges := range []string{"", "bytes=5-9", "bytes=5-9,1-2"} {
			a := s.send(http.Header{"Range": {ranges}}, "GET", link, "")
			if e := a.refusal(t); e.Code != want || a.Header.Get("ETag") != "" || a.Header.Get("Content-Range") != "" || a.Header.Get("Accept-Ranges") != "" {
				t.Errorf("%s, %q: %s %v", code, ranges, e.Code, a.Header)
			}
		}
	}
	s.jobs.fails = nil
	s.jobs.broken = 400_000
	for _, ranges := range []string{"", "bytes=5-450000", "bytes=5-450000,1-2"} {
		a := s.send(http.Header{"Range": {ranges}}, "GET", link, "")
		if a.err == nil || len(a.body) > 401_000 || a.StatusCode >= 400 {
			t.Errorf("%q: %s, %d bytes, %v", ranges, a.Status, len(a.body), a.err)
		}
		if line := s.lineOf(a.Header.Get("X-Request-Id")); line["cut"] != true || line["code"] != string(StorageUnavailable) || line["route"] != "GET /v1/objects/{signed}" || line["job_id"] != j.ID || line["key_id"] != "key_good" {
			t.Errorf("%q: the log says %v", ranges, line)
		}
	}
	if a := s.send(http.Header{"Range": {"bytes=5-300000"}}, "GET", link, ""); a.err != nil || !bytes.Equal(a.body, content[5:300_001]) {
		t.Errorf("what is whole: %s, %v", a.Status, a.err)
	}
	s.jobs.broken = 0
	s.jobs.mu.Lock()
	s.jobs.objects[j.ObjectKey] = content[:len(content)-1]
	s.jobs.mu.Unlock()
	if e := s.do("GET", link, "").refusal(t); e.Code != StorageUnavailable {
		t.Errorf("another object: %s", e.Code)
	}
	if strings.Contains(s.log.String(), strings.TrimPrefix(link, objectsPath)) {
		t.Error("the log holds a link")
	}
}

// TestTypesOfLinks: a link of the bucket's gives the same Content-Type as one of ours.
func TestTypesOfLinks(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, nil)
	j := s.completed([]byte("x"))
	ours := s.do("GET", s.linkOf(j.ID), "", "Authorization", "-").Header.Get("Content-Type")
	s.jobs.link = object.Link{URL: "https://bucket.example.com/x?sig=1", Expires: time.Now().Add(time.Hour)}
	s.do("GET", "/v1/customers/clinic-7/jobs/"+j.ID+"/download", "")
	if theirs := s.jobs.asked.MediaType; ours == "" || theirs != ours {
		t.Errorf("our link says %q, the bucket's %q", ours, theirs)
	}
	for _, f := range formats {
		j := store.Job{Format: f.Name, Compression: "gzip", Result: store.Result{MediaType: "application/gzip"}}
		x := &exchange{api: s.api, ctx: t.Context()}
		if _, _, e := x.link(j); e != nil || s.jobs.asked.MediaType != FormOf(f.Name, "gzip", false, true).ContentType {
			t.Errorf("%s: %q, %v", f.Name, s.jobs.asked.MediaType, e)
		}
	}
}
