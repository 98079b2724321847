package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/servers"
)

// delivered is a query of some 21 MB, which are five parts of an upload.
const delivered = "SELECT seq, SHA2(seq, 512) AS a, SHA2(-seq, 512) AS b FROM seq_1_to_75000"

// deliveries is a workspace with a database and a bucket.
type deliveries struct {
	*workspace
	store *servers.Store
}

func newDeliveries(t testing.TB, store *servers.Store) *deliveries {
	t.Helper()
	db := dbtest.MariaDB(t)
	d := &deliveries{newWorkspace(t, db.DSN(db.Database())), store}
	d.env = append(d.env, "AWS_ACCESS_KEY_ID="+store.AccessKey(), "AWS_SECRET_ACCESS_KEY="+store.SecretKey(),
		"CIPHERSTREAM_BUCKET="+store.URL(store.Bucket()))
	return d
}

// job writes a pipeline that delivers a query as NDJSON, in the smallest parts there are. Bucket, name and
// link come from the command line; sink has further settings.
func (d *deliveries) job(query string, sink settings) string {
	d.Helper()
	with := settings{
		"bucket": "${run.bucket}", "key": "${run.object}", "buffer": "5MiB", "link_ttl": "${run.link_ttl}",
		"access_key_id": "${secret.s3_access_key_id}", "secret_access_key": "${secret.s3_secret_access_key}",
	}
	for k, v := range sink {
		with[k] = v
	}
	text, err := json.Marshal(with) // JSON is YAML
	if err != nil {
		d.Fatal(err)
	}
	path := filepath.Join(d.TempDir(), "job.yaml")
	if err := os.WriteFile(path, []byte(`apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: e2e, title: End to end}
spec:
  parameters: [{name: mode, type: string, default: job, description: How the result comes.}]
  stages:
    source: {use: mysql, with: {url: "${secret.dsn}", query: "`+query+`"}}
    encoder: {use: ndjson}
    sink: {use: job, with: `+string(text)+`}
`), 0o600); err != nil {
		d.Fatal(err)
	}
	return path
}

// receipt is what a job tells of its object.
type receipt struct {
	Rows, Bytes int64
	SHA256      string
	Location    string
	Link        string
	LinkExpires time.Time `json:"link_expires"`
	Facts       map[string]string
}

// deliver runs a job and returns its receipt.
func (d *deliveries) deliver(args ...string) (r receipt) {
	d.Helper()
	printed := d.must(append([]string{"run"}, args...)...)
	if err := json.Unmarshal(printed, &r); err != nil {
		d.Fatalf("no receipt: %v: %s", err, printed)
	}
	return r
}

// isOf holds that the receipt speaks of that content.
func (r receipt) isOf(t testing.TB, content []byte) {
	t.Helper()
	sum := sha256.Sum256(content)
	if r.SHA256 != hex.EncodeToString(sum[:]) || r.Bytes != int64(len(content)) {
		t.Errorf("the receipt says %d bytes, %s; want %d, %x", r.Bytes, r.SHA256, len(content), sum)
	}
}

// head asks the store about an object.
func (d *deliveries) head(key string) *s3.HeadObjectOutput {
	d.Helper()
	bucket := d.store.Bucket()
	head, err := d.store.Client().HeadObject(context.Background(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key, PartNumber: aws.Int32(1)})
	if err != nil {
		d.Fatal(err)
	}
	return head
}

// nothing holds that neither object nor unfinished upload is under a name.
func (d *deliveries) nothing(key string) {
	d.Helper()
	if left := d.store.Objects(d.store.Bucket()); len(left) > 0 {
		d.Errorf("objects left behind: %v", left)
	}
	if left := d.store.Uploads(d.store.Bucket(), key); len(left) > 0 {
		d.Errorf("%d uploads left behind", len(left))
	}
}

// get fetches a link as anybody would, without credentials.
func get(t testing.TB, link, ranges string) (status int, content []byte) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, link, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ranges != "" {
		request.Header.Set("Range", ranges)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if content, err = io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, content
}

// TestObject delivers in several parts, and fetches by the link: all of it, pieces, and
// the rest after an interruption.
func TestObject(t *testing.T) {
	t.Parallel()
	d := newDeliveries(t, servers.MinIO(t))
	plain := d.must("run", d.workspace.pipeline(settings{"query": delivered}, "ndjson"))
	for _, isolation := range isolations {
		key := "folder of é/" + isolation + ".ndjson"
		r := d.deliver(d.job(delivered, nil), "--object", key, "--isolation", isolation)
		r.isOf(t, plain)
		if r.Location != "s3://"+d.store.Bucket()+"/folder%20of%20%C3%A9/"+isolation+".ndjson" || r.Rows != 75000 {
			t.Errorf("receipt %+v", r)
		}
		if r.Facts["sink.verified"] != "size+composite sha256" || r.Facts["sink.connection"] != "none (http, on this machine)" {
			t.Errorf("facts %v", r.Facts)
		}
		if left := d.store.Uploads(d.store.Bucket(), key); len(left) > 0 {
			t.Errorf("%d uploads left behind", len(left))
		}
		if parts := aws.ToInt32(d.head(key).PartsCount); parts != int32(len(plain)/(5<<20)+1) {
			t.Errorf("%s: %d parts of 5 MiB for %d bytes", isolation, parts, len(plain))
		}
		if status, content := get(t, r.Link, ""); status != http.StatusOK || !bytes.Equal(content, plain) {
			t.Errorf("%s: the link gives %d and %d bytes, want %d", isolation, status, len(content), len(plain))
		}
		for _, c := range []struct{ from, to int }{{0, 0}, {5<<20 - 3, 5<<20 + 2}, {len(plain) - 1, len(plain) - 1}, {9 << 20, len(plain) - 1}} {
			status, content := get(t, r.Link, fmt.Sprintf("bytes=%d-%d", c.from, c.to))
			if status != http.StatusPartialContent || !bytes.Equal(content, plain[c.from:c.to+1]) {
				t.Errorf("bytes %d to %d: status %d, %d bytes", c.from, c.to, status, len(content))
			}
		}
		if status, rest := get(t, r.Link, "bytes=7000000-"); status != http.StatusPartialContent || !bytes.Equal(append(plain[:7000000:7000000], rest...), plain) {
			t.Errorf("the rest: status %d, %d bytes", status, len(rest))
		}
		if status, _ := get(t, strings.Replace(r.Link, "X-Amz-Signature=", "X-Amz-Signature=0", 1), ""); status != http.StatusForbidden {
			t.Errorf("a link with another signature: status %d", status)
		}
	}
}

// TestObjectOfTheCatalogue: the usual pipelines deliver the bytes that they stream, with the media
// type of the format and no content coding, so that every client gets the bytes of the receipt.
func TestObjectOfTheCatalogue(t *testing.T) {
	t.Parallel()
	d := newDeliveries(t, servers.MinIO(t))
	d.must("sandbox", "load", "--patients", "300", "--appointments", "3000")
	for _, c := range []struct{ format, compression, media string }{
		{"ndjson", "none", "application/x-ndjson"},
		{"csv", "gzip", "text/csv"},
		{"parquet", "none", "application/vnd.apache.parquet"},
		{"ndjson", "zstd", "application/x-ndjson"},
	} {
		args := []string{"appointments", "-f", c.format, "-c", c.compression}
		stream := d.must(append([]string{"run"}, args...)...)
		for _, encryption := range []string{"none", "AES256"} {
			key := c.format + "." + c.compression + "." + encryption
			r := d.deliver(append(args, "--job", "--object", key, "--object-encryption", encryption)...)
			if r.isOf(t, stream); r.Rows != 3000 {
				t.Errorf("%s: %d rows", key, r.Rows)
			}
			status, content := get(t, r.Link, "")
			if status != http.StatusOK || !bytes.Equal(content, stream) {
				t.Errorf("%s: the link gives %d and %d bytes, want %d", key, status, len(content), len(stream))
			}
			head := d.head(key)
			if media := aws.ToString(head.ContentType); !strings.HasPrefix(media, c.media) || aws.ToString(head.ContentEncoding) != "" {
				t.Errorf("%s: media type %q, content coding %q", key, media, aws.ToString(head.ContentEncoding))
			}
			if want := map[string]types.ServerSideEncryption{"AES256": types.ServerSideEncryptionAes256}[encryption]; head.ServerSideEncryption != want {
				t.Errorf("%s: encrypted with %q, want %q", key, head.ServerSideEncryption, want)
			}
		}
	}
}

// TestLinkEnds: a link works until the receipt's end of it, and not much longer.
func TestLinkEnds(t *testing.T) {
	d := newDeliveries(t, servers.MinIO(t))
	r := d.deliver(d.job("SELECT 1 AS a", nil), "--object", "x", "--link-ttl", "3s")
	status, content := get(t, r.Link, "")
	if now := time.Now(); now.Before(r.LinkExpires) && (status != http.StatusOK || string(content) != "{\"a\":1}\n") {
		t.Errorf("it is %s before the end: status %d, %q", r.LinkExpires.Sub(now), status, content)
	}
	eventually(t, "the end of the link", func() bool {
		status, content = get(t, r.Link, "")
		if now := time.Now(); status == http.StatusForbidden && now.Before(r.LinkExpires) {
			t.Errorf("it ended %s too early", r.LinkExpires.Sub(now))
		}
		return status == http.StatusForbidden
	})
	if late := time.Since(r.LinkExpires); late > 3*time.Second {
		t.Errorf("it ended %s too late", late)
	}
	if none := d.deliver(d.job("SELECT 1 AS a", nil), "--object", "x", "--link-ttl", "0s"); none.Link != "" {
		t.Error("a link that nobody wanted")
	}
}

// swept is what a sweep prints.
type swept struct{ Seen, Removed, Bytes, Uploads, Undone int64 }

func (d *deliveries) sweep(args ...string) (s swept) {
	d.Helper()
	r := d.run(append([]string{"sweep", "--json"}, args...)...)
	if r.code != 0 || json.Unmarshal(r.stdout, &s) != nil {
		d.Fatalf("sweep ended with %d: %s%s", r.code, r.stdout, r.stderr)
	}
	return s
}

// TestSweepOfObjects: what expired goes; what did not, and what is not ours, stays.
func TestSweepOfObjects(t *testing.T) {
	t.Parallel()
	d := newDeliveries(t, servers.MinIO(t))
	bucket, foreign := d.store.Bucket(), "foreign"
	if _, err := d.store.Client().PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &foreign, Body: strings.NewReader("x")}); err != nil {
		t.Fatal(err)
	}
	d.deliver(d.job("SELECT 1 AS a", settings{"retention": "1s"}), "--object", "jobs/short", "--link-ttl", "0s")
	d.deliver(d.job("SELECT 1 AS a", settings{"retention": "1h"}), "--object", "jobs/long", "--link-ttl", "0s")
	d.deliver(d.job("SELECT 1 AS a", settings{"retention": "0s"}), "--object", "jobs/ever", "--link-ttl", "0s")
	if s := d.sweep("--prefix", "nothing/"); s != (swept{}) {
		t.Errorf("under another prefix: %+v", s)
	}
	var s swept
	eventually(t, "the end of an object", func() bool {
		s = d.sweep()
		return s.Removed > 0
	})
	if s != (swept{Seen: 4, Removed: 1, Bytes: 8}) {
		t.Errorf("%+v", s)
	}
	if left := strings.Join(d.store.Objects(bucket), " "); left != "foreign jobs/ever jobs/long" {
		t.Errorf("left are %s", left)
	}
}

// uploading waits until parts of an object have arrived.
func (d *deliveries) uploading(key string) {
	d.Helper()
	bucket := d.store.Bucket()
	eventually(d, "parts of "+key, func() bool {
		for _, u := range d.store.Uploads(bucket, key) {
			parts, err := d.store.Client().ListParts(context.Background(), &s3.ListPartsInput{Bucket: &bucket, Key: &key, UploadId: u.UploadId})
			if err == nil && len(parts.Parts) > 1 {
				return true
			}
		}
		return false
	})
}

// upload starts a run of endless rows into an object, and returns when parts of that have arrived.
func (d *deliveries) upload(key string, with settings) (*exec.Cmd, <-chan result) {
	d.Helper()
	cmd := d.command("run", d.job(endless, with), "--object", key, "--progress", "none")
	ended := d.begin(cmd)
	d.uploading(key)
	return cmd, ended
}

// TestUploadInterrupted ends a run by the usual signal: nothing stays.
func TestUploadInterrupted(t *testing.T) {
	t.Parallel()
	d := newDeliveries(t, servers.MinIO(t))
	const key = "interrupted"
	cmd, ended := d.upload(key, nil)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if r := <-ended; r.code != 130 {
		t.Errorf("it ended with %d:\n%s", r.code, r.stderr)
	}
	d.nothing(key)
}

// TestStoreRefuses: wrong credentials and missing buckets have faults of their own, and no secret shows.
func TestStoreRefuses(t *testing.T) {
	t.Parallel()
	store := servers.MinIO(t)
	other := store.NewBucket()
	store.RemoveBucket(other)
	for _, c := range []struct {
		name, access, secret, bucket string
		code                         int
		fault                        string
	}{
		{"another secret", store.AccessKey(), "geheim-geheim", store.URL(store.Bucket()), 3, "sink.credentials"},
		{"another key", "nobody", store.SecretKey(), store.URL(store.Bucket()), 3, "sink.credentials"},
		{"no such bucket", store.AccessKey(), store.SecretKey(), store.URL(other), 1, "sink.bucket_missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDeliveries(t, store)
			d.env = append(d.env, "AWS_ACCESS_KEY_ID="+c.access, "AWS_SECRET_ACCESS_KEY="+c.secret)
			r := d.run("run", d.job("SELECT 1 AS a", nil), "--object", "x", "--bucket", c.bucket, "--progress", "none")
			d.fails(r, c.code, c.fault)
			if len(r.stdout) > 0 {
				t.Errorf("it printed %q", r.stdout)
			}
			noSecret(t, r, c.secret)
			r = d.run("sweep", "--bucket", c.bucket)
			if r.code != c.code || !strings.HasPrefix(r.stderr, "error["+c.fault+"]: ") {
				t.Errorf("the sweep ended with %d:\n%s", r.code, r.stderr)
			}
			noSecret(t, r, c.secret)
		})
	}
}

// TestBucketGone removes the bucket in the middle of an upload.
func TestBucketGone(t *testing.T) {
	t.Parallel()
	d := newDeliveries(t, servers.MinIO(t))
	const key = "gone"
	_, ended := d.upload(key, nil)
	d.store.RemoveBucket(d.store.Bucket())
	r := <-ended
	if r.code != 1 || !strings.Contains(r.stderr, "error[sink.bucket_missing]: ") || len(r.stdout) > 0 {
		t.Errorf("it ended with %d:\n%s", r.code, r.stderr)
	}
}

// TestStoreKilled kills the store in the middle of an upload, and starts it again: either the object is
// whole, or the run failed and nothing of it can be seen.
func TestStoreKilled(t *testing.T) {
	t.Parallel()
	d := newDeliveries(t, servers.PrivateMinIO(t))
	plain := d.must("run", d.workspace.pipeline(settings{"query": delivered}, "ndjson"))
	const key = "killed"
	_, ended := d.upload(key, settings{"timeout": "5s"})
	d.store.Kill()
	r := <-ended
	if r.code != 3 || !strings.Contains(r.stderr, "error[sink.unreachable]: ") || !strings.Contains(r.stderr, "left behind: the unfinished upload of ") || len(r.stdout) > 0 {
		t.Errorf("it ended with %d:\n%s", r.code, r.stderr)
	}
	d.store.Start()
	if left := d.store.Objects(d.store.Bucket()); len(left) > 0 {
		t.Errorf("objects of a failed run: %v", left)
	}
	// The end of the upload could not be told to a dead store. The sweep knows of it, whatever its age.
	if s := d.sweep("--prefix", key); s.Undone != 1 {
		t.Errorf("%+v, want one upload", s)
	}
	d.nothing(key)
	d.deliver(d.job(delivered, nil), "--object", key).isOf(t, plain)
}
