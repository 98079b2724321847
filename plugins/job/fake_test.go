package job

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// stored is an object, or an upload on its way, of the fake service.
type stored struct {
	key    string
	parts  map[int][]byte
	body   []byte
	header http.Header
	began  time.Time
	etag   string
	// sum is the checksum that is shown, where the service keeps them.
	sum string
}

// fakeS3 speaks as much of S3's protocol as the sink uses, holds the requests against
// the rules that the sink must follow, and fails where it is told to.
type fakeS3 struct {
	t      testing.TB
	server *httptest.Server
	bucket string

	mu       sync.Mutex
	objects  map[string]*stored
	uploads  map[string]*stored
	requests map[string]int // by operation
	largest  int            // part
	together int            // parts on their way at once
	most     int

	// wholeNames: uploads are listed by a whole name or by none, as MinIO does.
	wholeNames bool

	// checksums: the SHA-256 of every part is kept, and wanted at the end.
	checksums bool
	// instead answers in the place of the service when it returns true; spoil changes an object that was made.
	instead func(operation string, w http.ResponseWriter) bool
	spoil   func(o *stored)

	// fail is asked before an operation is carried out, and failAfter when it has been. They return
	// a status and a code to answer with, or 0. n counts the operation from 1.
	fail, failAfter func(operation string, n int) (status int, code string)
	// hang blocks the request until the client gives up.
	hang func(operation string, n int) bool
}

func newFakeS3(t testing.TB) *fakeS3 {
	f := &fakeS3{t: t, bucket: "results", objects: map[string]*stored{}, uploads: map[string]*stored{}, requests: map[string]int{}}
	f.server = httptest.NewServer(f)
	t.Cleanup(f.server.Close)
	return f
}

// url is the URL of the bucket.
func (f *fakeS3) url() string {
	return "s3://" + f.bucket + "?region=eu-west-1&use_path_style=true&endpoint=" + url.QueryEscape(f.server.URL)
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	body, err := io.ReadAll(r.Body)
	operation := r.Method
	switch {
	case q.Has("uploads") && r.Method == http.MethodPost:
		operation = "create"
	case q.Has("uploads"):
		operation = "uploads"
	case q.Has("partNumber"):
		operation = "part"
	case q.Has("uploadId") && r.Method == http.MethodPost:
		operation = "complete"
	case q.Has("uploadId"):
		operation = "abort"
	case key == "":
		operation = "list"
	}
	f.mu.Lock()
	f.requests[operation]++
	n := f.requests[operation]
	if operation == "part" {
		f.together++
		f.most = max(f.most, f.together)
		f.largest = max(f.largest, len(body))
	}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if operation == "part" {
			f.together--
		}
	}()
	if f.hang != nil && f.hang(operation, n) {
		<-r.Context().Done()
		return
	}
	if err != nil {
		return
	}
	refuse := func(status int, code string) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>as the test asks</Message></Error>", code)
		}
	}
	presigned := q.Has("X-Amz-Signature")
	if !presigned {
		if !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIDTEST/") {
			refuse(403, "AccessDenied")
			return
		}
		// Under TLS a part need not be covered.
		if sum := sha256.Sum256(body); r.Header.Get("X-Amz-Content-Sha256") != hex.EncodeToString(sum[:]) && r.TLS == nil {
			f.t.Errorf("%s: the body is not covered by the signature (%s)", operation, r.Header.Get("X-Amz-Content-Sha256"))
		}
	}
	if bucket != f.bucket {
		refuse(404, "NoSuchBucket")
		return
	}
	if f.fail != nil {
		if status, code := f.fail(operation, n); status != 0 {
			refuse(status, code)
			return
		}
	}
	if f.instead != nil && f.instead(operation, w) {
		return
	}
	f.mu.Lock()
	answer, status, code := f.handle(operation, key, q, r, body)
	f.mu.Unlock()
	if f.failAfter != nil {
		if s, c := f.failAfter(operation, n); s != 0 {
			status, code = s, c
		}
	}
	if status >= 300 {
		refuse(status, code)
		return
	}
	answer(w)
	if status != 200 {
		w.WriteHeader(status)
	}
}

// handle carries an operation out.
func (f *fakeS3) handle(operation, key string, q url.Values, r *http.Request, body []byte) (answer func(http.ResponseWriter), status int, code string) {
	nothing := func(http.ResponseWriter) {}
	text := func(v any) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/xml")
			if err := xml.NewEncoder(w).Encode(v); err != nil {
				f.t.Error(err)
			}
		}
	}
	upload := f.uploads[q.Get("uploadId")]
	if q.Has("uploadId") && (upload == nil || upload.key != key) {
		return nothing, 404, "NoSuchUpload"
	}
	switch operation {
	case "create":
		id := fmt.Sprint("upload-", f.requests["create"])
		f.uploads[id] = &stored{key: key, parts: map[int][]byte{}, header: r.Header.Clone(), began: time.Now()}
		said := text(struct {
			XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
			UploadId string
		}{UploadId: id})
		return func(w http.ResponseWriter) {
			if f.checksums {
				w.Header()["X-Amz-Checksum-Algorithm"] = r.Header["X-Amz-Checksum-Algorithm"]
			}
			said(w)
		}, 200, ""
	case "part":
		n, err := strconv.Atoi(q.Get("partNumber"))
		if err != nil || n < 1 || n > maxParts {
			return nothing, 400, "InvalidArgument"
		}
		if sum := r.Header.Get("X-Amz-Checksum-Sha256"); f.checksums && sum != base64sum(body) || !f.checksums && sum != "" {
			return nothing, 400, "BadDigest"
		}
		upload.parts[n] = body
		return func(w http.ResponseWriter) {
			w.Header().Set("ETag", etag(body))
			if f.checksums {
				w.Header().Set("X-Amz-Checksum-Sha256", base64sum(body))
			}
		}, 200, ""
	case "complete":
		var asked struct {
			Part []struct {
				PartNumber     int
				ETag           string
				ChecksumSHA256 string
			}
		}
		if err := xml.Unmarshal(body, &asked); err != nil || len(asked.Part) != len(upload.parts) {
			return nothing, 400, "MalformedXML"
		}
		var all, sums, tags bytes.Buffer
		for i, p := range asked.Part {
			part, ok := upload.parts[p.PartNumber]
			switch {
			case !ok || p.ETag != etag(part):
				return nothing, 400, "InvalidPart"
			case f.checksums && p.ChecksumSHA256 != base64sum(part) || !f.checksums && p.ChecksumSHA256 != "":
				return nothing, 400, "InvalidPart"
			case p.PartNumber != i+1:
				return nothing, 400, "InvalidPartOrder"
			case len(part) < 5<<20 && i < len(asked.Part)-1:
				return nothing, 400, "EntityTooSmall"
			}
			all.Write(part)
			tags.Write(md5sum(part))
			sum := sha256.Sum256(part)
			sums.Write(sum[:])
		}
		made := &stored{key: key, body: all.Bytes(), header: upload.header, etag: fmt.Sprintf("\"%x-%d\"", md5sum(tags.Bytes()), len(asked.Part))}
		if f.checksums {
			made.sum = fmt.Sprintf("%s-%d", base64sum(sums.Bytes()), len(asked.Part))
		}
		f.objects[key] = made
		tag := made.etag
		if f.spoil != nil {
			f.spoil(made)
		}
		delete(f.uploads, q.Get("uploadId"))
		return text(struct {
			XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
			ETag    string
		}{ETag: tag}), 200, ""
	case "abort":
		delete(f.uploads, q.Get("uploadId"))
		return nothing, 204, ""
	case "uploads":
		type entry struct{ Key, UploadId, Initiated string }
		result := struct {
			XMLName xml.Name `xml:"ListMultipartUploadsResult"`
			Upload  []entry
		}{}
		for _, id := range slices.Sorted(maps.Keys(f.uploads)) {
			if u := f.uploads[id]; strings.HasPrefix(u.key, q.Get("prefix")) && (!f.wholeNames || q.Get("prefix") == "" || q.Get("prefix") == u.key) {
				result.Upload = append(result.Upload, entry{u.key, id, u.began.UTC().Format(time.RFC3339)})
			}
		}
		return text(result), 200, ""
	case "list":
		type entry struct {
			Key, LastModified, ETag string
			Size                    int
		}
		result := struct {
			XMLName  xml.Name `xml:"ListBucketResult"`
			Contents []entry
		}{}
		for _, k := range slices.Sorted(maps.Keys(f.objects)) {
			if strings.HasPrefix(k, q.Get("prefix")) {
				result.Contents = append(result.Contents, entry{k, "2025-01-01T00:00:00Z", "x", len(f.objects[k].body)})
			}
		}
		return text(result), 200, ""
	case http.MethodPut:
		made := &stored{key: key, body: body, header: r.Header.Clone(), etag: etag(body), sum: r.Header.Get("X-Amz-Checksum-Sha256")}
		f.objects[key] = made
		return func(w http.ResponseWriter) { w.Header().Set("ETag", made.etag) }, 200, ""
	case http.MethodHead, http.MethodGet:
		o := f.objects[key]
		if o == nil {
			return nothing, 404, "NoSuchKey"
		}
		return func(w http.ResponseWriter) {
			for name, values := range o.header {
				if strings.HasPrefix(name, "X-Amz-Meta-") || strings.HasPrefix(name, "Content-") && name != "Content-Length" {
					w.Header()[name] = values
				}
			}
			w.Header().Set("ETag", o.etag)
			if o.sum != "" && r.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" {
				w.Header().Set("X-Amz-Checksum-Sha256", o.sum)
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(o.body)))
			w.Header().Set("Last-Modified", time.Unix(1700000000, 0).UTC().Format(http.TimeFormat))
			if r.Method == http.MethodGet {
				_, _ = w.Write(o.body)
			}
		}, 200, ""
	case http.MethodDelete:
		delete(f.objects, key)
		return nothing, 204, ""
	}
	return nothing, 501, "NotImplemented"
}

func etag(part []byte) string { return fmt.Sprintf("%q", hex.EncodeToString(md5sum(part))) }

func base64sum(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func md5sum(b []byte) []byte {
	sum := md5.Sum(b)
	return sum[:]
}

// check asserts what the bucket holds: no upload on its way, and these objects.
func (f *fakeS3) check(t *testing.T, keys ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.uploads) > 0 {
		t.Errorf("%d uploads are left behind", len(f.uploads))
	}
	if got := slices.Sorted(maps.Keys(f.objects)); !slices.Equal(got, keys) {
		t.Errorf("the bucket holds %q, want %q", got, keys)
	}
}
