// Package s3test is a server that speaks as much of S3's protocol as the store of package s3 uses, for tests: it holds
// the requests against the rules that they must follow, and fails where it is told to. It never keeps anything after a
// test.
package s3test

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

// Stored is an object, or an upload on its way.
type Stored struct {
	Key    string
	Parts  map[int][]byte
	Body   []byte
	Header http.Header
	Began  time.Time
	ETag   string
	// Sum is the checksum that is shown, where the service keeps them.
	Sum string
}

// Server is the service. Its fields are set before it is asked, or under Lock.
type Server struct {
	t      testing.TB
	HTTP   *httptest.Server
	Bucket string

	sync.Mutex
	Objects  map[string]*Stored
	Uploads  map[string]*Stored
	Requests map[string]int // by operation
	Largest  int            // part
	together int            // parts on their way at once
	Most     int            // of them

	// WholeNames: uploads are listed by a whole name or by none, as MinIO does.
	WholeNames bool
	// Unencrypted: encryption is asked for, and nothing is done.
	Unencrypted bool

	// Checksums: the SHA-256 of every part is kept, and wanted at the end.
	Checksums bool
	// Instead answers in the place of the service when it returns true; Spoil changes an object that was made.
	Instead func(operation string, w http.ResponseWriter) bool
	Spoil   func(o *Stored)

	// Fail is asked before an operation is carried out, and FailAfter when it has been. They return
	// a status and a code to answer with, or 0. n counts the operation from 1.
	Fail, FailAfter func(operation string, n int) (status int, code string)
	// Hang blocks the request until the client gives up.
	Hang func(operation string, n int) bool
}

// AccessKeyID is the one that is let in, with any secret.
const AccessKeyID = "AKIDTEST"

// New starts a server with an empty bucket, which ends with the test.
func New(t testing.TB) *Server {
	f := &Server{t: t, Bucket: "results", Objects: map[string]*Stored{}, Uploads: map[string]*Stored{},
		Requests: map[string]int{}}
	f.HTTP = httptest.NewServer(f)
	t.Cleanup(f.HTTP.Close)
	return f
}

// URL is the URL of the bucket.
func (f *Server) URL() string {
	return "s3://" + f.Bucket + "?region=eu-west-1&use_path_style=true&endpoint=" + url.QueryEscape(f.HTTP.URL)
}

func (f *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
	f.Lock()
	f.Requests[operation]++
	n := f.Requests[operation]
	if operation == "part" {
		f.together++
		f.Most = max(f.Most, f.together)
		f.Largest = max(f.Largest, len(body))
	}
	f.Unlock()
	defer func() {
		f.Lock()
		defer f.Unlock()
		if operation == "part" {
			f.together--
		}
	}()
	if f.Hang != nil && f.Hang(operation, n) {
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
		if !strings.Contains(r.Header.Get("Authorization"), "Credential="+AccessKeyID+"/") {
			refuse(403, "AccessDenied")
			return
		}
		// Under TLS a part need not be covered.
		if sum := sha256.Sum256(body); r.Header.Get("X-Amz-Content-Sha256") != hex.EncodeToString(sum[:]) && r.TLS == nil {
			f.t.Errorf("%s: the body is not covered by the signature (%s)", operation,
				r.Header.Get("X-Amz-Content-Sha256"))
		}
	}
	if bucket != f.Bucket {
		refuse(404, "NoSuchBucket")
		return
	}
	if f.Fail != nil {
		if status, code := f.Fail(operation, n); status != 0 {
			refuse(status, code)
			return
		}
	}
	if f.Instead != nil && f.Instead(operation, w) {
		return
	}
	f.Lock()
	answer, status, code := f.handle(operation, key, q, r, body)
	f.Unlock()
	if f.FailAfter != nil {
		if s, c := f.FailAfter(operation, n); s != 0 {
			status, code = s, c
		}
	}
	if status >= 300 {
		refuse(status, code)
		return
	}
	answer(w)
	if status != 200 && status != 206 {
		w.WriteHeader(status)
	}
}

// handle carries an operation out.
func (f *Server) handle(operation, key string, q url.Values, r *http.Request,
	body []byte) (answer func(http.ResponseWriter), status int, code string) {
	nothing := func(http.ResponseWriter) {}
	text := func(v any) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/xml")
			if err := xml.NewEncoder(w).Encode(v); err != nil {
				f.t.Error(err)
			}
		}
	}
	upload := f.Uploads[q.Get("uploadId")]
	if q.Has("uploadId") && (upload == nil || upload.Key != key) {
		return nothing, 404, "NoSuchUpload"
	}
	switch operation {
	case "create":
		id := fmt.Sprint("upload-", f.Requests["create"])
		f.Uploads[id] = &Stored{Key: key, Parts: map[int][]byte{}, Header: r.Header.Clone(), Began: time.Now()}
		said := text(struct {
			XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
			UploadId string
		}{UploadId: id})
		return func(w http.ResponseWriter) {
			if f.Checksums {
				w.Header()["X-Amz-Checksum-Algorithm"] = r.Header["X-Amz-Checksum-Algorithm"]
			}
			said(w)
		}, 200, ""
	case "part":
		n, err := strconv.Atoi(q.Get("partNumber"))
		if err != nil || n < 1 || n > 10_000 {
			return nothing, 400, "InvalidArgument"
		}
		if sum := r.Header.Get("X-Amz-Checksum-Sha256"); f.Checksums && sum != SHA256(body) || !f.Checksums && sum != "" {
			return nothing, 400, "BadDigest"
		}
		upload.Parts[n] = body
		return func(w http.ResponseWriter) {
			w.Header().Set("ETag", etag(body))
			if f.Checksums {
				w.Header().Set("X-Amz-Checksum-Sha256", SHA256(body))
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
		if err := xml.Unmarshal(body, &asked); err != nil || len(asked.Part) != len(upload.Parts) {
			return nothing, 400, "MalformedXML"
		}
		var all, sums, tags bytes.Buffer
		for i, p := range asked.Part {
			part, ok := upload.Parts[p.PartNumber]
			switch {
			case !ok || p.ETag != etag(part):
				return nothing, 400, "InvalidPart"
			case f.Checksums && p.ChecksumSHA256 != SHA256(part) || !f.Checksums && p.ChecksumSHA256 != "":
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
		made := &Stored{Key: key, Body: all.Bytes(), Header: upload.Header,
			ETag: fmt.Sprintf("\"%x-%d\"", md5sum(tags.Bytes()), len(asked.Part))}
		if f.Checksums {
			made.Sum = fmt.Sprintf("%s-%d", SHA256(sums.Bytes()), len(asked.Part))
		}
		f.Objects[key] = made
		tag := made.ETag
		if f.Spoil != nil {
			f.Spoil(made)
		}
		delete(f.Uploads, q.Get("uploadId"))
		return text(struct {
			XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
			ETag    string
		}{ETag: tag}), 200, ""
	case "abort":
		delete(f.Uploads, q.Get("uploadId"))
		return nothing, 204, ""
	case "uploads":
		type entry struct{ Key, UploadId, Initiated string }
		result := struct {
			XMLName xml.Name `xml:"ListMultipartUploadsResult"`
			Upload  []entry
		}{}
		for _, id := range slices.Sorted(maps.Keys(f.Uploads)) {
			if u := f.Uploads[id]; strings.HasPrefix(u.Key, q.Get("prefix")) && (!f.WholeNames || q.Get("prefix") == "" || q.Get("prefix") == u.Key) {
				result.Upload = append(result.Upload, entry{u.Key, id, u.Began.UTC().Format(time.RFC3339)})
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
		for _, k := range slices.Sorted(maps.Keys(f.Objects)) {
			if strings.HasPrefix(k, q.Get("prefix")) {
				result.Contents = append(result.Contents, entry{k, "2025-01-01T00:00:00Z", "x", len(f.Objects[k].Body)})
			}
		}
		return text(result), 200, ""
	case http.MethodPut:
		made := &Stored{Key: key, Body: body, Header: r.Header.Clone(), ETag: etag(body),
			Sum: r.Header.Get("X-Amz-Checksum-Sha256")}
		f.Objects[key] = made
		return func(w http.ResponseWriter) { w.Header().Set("ETag", made.ETag) }, 200, ""
	case http.MethodHead, http.MethodGet:
		o := f.Objects[key]
		if o == nil {
			return nothing, 404, "NoSuchKey"
		}
		content, status := o.Body, 200
		var from int
		if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); n > 0 {
			if from >= len(content) {
				return nothing, 416, "InvalidRange"
			}
			content, status = content[from:], 206
		}
		return func(w http.ResponseWriter) {
			for name, values := range o.Header {
				if strings.HasPrefix(name, "X-Amz-Meta-") || strings.HasPrefix(name, "Content-") && name != "Content-Length" ||
					name == "X-Amz-Server-Side-Encryption" && !f.Unencrypted {
					w.Header()[name] = values
				}
			}
			for _, name := range []string{"Content-Type", "Content-Disposition"} {
				if value := q.Get("response-" + strings.ToLower(name)); value != "" {
					w.Header().Set(name, value)
				}
			}
			w.Header().Set("ETag", o.ETag)
			if o.Sum != "" && r.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" {
				w.Header().Set("X-Amz-Checksum-Sha256", o.Sum)
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			w.Header().Set("Last-Modified", time.Unix(1700000000, 0).UTC().Format(http.TimeFormat))
			if status == 206 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(o.Body)-1, len(o.Body)))
				w.WriteHeader(206)
			}
			if r.Method == http.MethodGet {
				_, _ = w.Write(content)
			}
		}, status, ""
	case http.MethodDelete:
		delete(f.Objects, key)
		return nothing, 204, ""
	}
	return nothing, 501, "NotImplemented"
}

func etag(part []byte) string { return fmt.Sprintf("%q", hex.EncodeToString(md5sum(part))) }

// SHA256 is a checksum as S3 writes it.
func SHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func md5sum(b []byte) []byte {
	sum := md5.Sum(b)
	return sum[:]
}

// Check asserts what the bucket holds: no upload on its way, and these objects.
func (f *Server) Check(t testing.TB, keys ...string) {
	t.Helper()
	f.Lock()
	defer f.Unlock()
	if len(f.Uploads) > 0 {
		t.Errorf("%d uploads are left behind", len(f.Uploads))
	}
	if got := slices.Sorted(maps.Keys(f.Objects)); !slices.Equal(got, keys) {
		t.Errorf("the bucket holds %q, want %q", got, keys)
	}
}
