package service

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	secrets "github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

func settingsOf(of map[string]config.Bucket) *config.Settings {
	return &config.Settings{Spec: config.Default(), Buckets: of}
}

func openBuckets(t *testing.T, set *config.Settings) *buckets {
	t.Helper()
	key, err := datakey.Parse(secrets.NewSecret(base64.StdEncoding.EncodeToString(make([]byte, 32))))
	if err != nil {
		t.Fatal(err)
	}
	b := newBuckets(set, key)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// TestBucketFolder: what lies in a folder cannot be read there, and comes back as it was.
func TestBucketFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := openBuckets(t, settingsOf(map[string]config.Bucket{"results": {BucketSpec: config.BucketSpec{URL: "file://" + dir}}}))
	bucket, err := b.Bucket(t.Context(), "results")
	if err != nil {
		t.Fatal(err)
	}
	up, err := bucket.Create(t.Context(), "one", object.About{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(up, "Jane Citizen"); err != nil {
		t.Fatal(err)
	}
	if _, err := up.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	stored, err := os.ReadFile(filepath.Join(dir, "one"))
	if err != nil || bytes.Contains(stored, []byte("Jane")) {
		t.Errorf("the folder has %q, %v", stored, err)
	}
	again, err := b.Bucket(t.Context(), "results")
	if err != nil || again != bucket {
		t.Errorf("it is opened twice: %v", err)
	}
	r, info, err := again.Open(t.Context(), "one", 5)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if text, err := io.ReadAll(r); err != nil || string(text) != "Citizen" || info.Size != 12 {
		t.Errorf("%q, %+v, %v", text, info, err)
	}
	if _, err := b.Bucket(t.Context(), "other"); !fault.Is(err, config.CodeBucket) {
		t.Errorf("a bucket that is not declared: %v", err)
	}
}

// TestBucketReload: other settings take effect as a whole, and what is as it was stays open.
func TestBucketReload(t *testing.T) {
	t.Parallel()
	one, two := config.Bucket{BucketSpec: config.BucketSpec{URL: "file://" + t.TempDir()}}, config.Bucket{BucketSpec: config.BucketSpec{URL: "file://" + t.TempDir()}}
	b := openBuckets(t, settingsOf(map[string]config.Bucket{"one": one, "two": two}))
	get := func(name string) object.Bucket {
		t.Helper()
		bucket, err := b.Bucket(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return bucket
	}
	first, second := get("one"), get("two")
	if err := b.Use(settingsOf(map[string]config.Bucket{"three": one, "bad": {BucketSpec: config.BucketSpec{URL: "s3://x?unknown=1"}}})); err == nil {
		t.Error("a bad bucket was taken")
	}
	if get("one") != first {
		t.Error("settings that were refused took effect")
	}
	if err := b.Use(settingsOf(map[string]config.Bucket{"one": one, "two": one})); err != nil {
		t.Fatal(err)
	}
	if get("one") != first || get("two") == second {
		t.Error("what changed is not what was changed")
	}
}

// TestBucketDownload: a link leads to the host that is given, and is otherwise the bucket's own.
func TestBucketDownload(t *testing.T) {
	t.Parallel()
	spec := config.BucketSpec{URL: "s3://results?region=ap-southeast-2"}
	cdn := spec
	cdn.Download = "https://downloads.example.com/files/"
	keys := config.Bucket{AccessKeyID: secrets.NewSecret("AKIDEXAMPLE"), SecretAccessKey: secrets.NewSecret("geheim")}
	link := func(spec config.BucketSpec) *url.URL {
		t.Helper()
		of := keys
		of.BucketSpec = spec
		bucket, err := openBuckets(t, settingsOf(map[string]config.Bucket{"b": of})).Bucket(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		link, err := bucket.Link(t.Context(), "a b/c+d.ndjson", object.LinkRequest{TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(link.URL)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	own, other := link(spec), link(cdn)
	if own.Host != "results.s3.ap-southeast-2.amazonaws.com" || other.Host != "downloads.example.com" || other.Scheme != "https" ||
		other.EscapedPath() != "/files"+own.EscapedPath() || !strings.Contains(other.RawQuery, "X-Amz-Signature=") {
		t.Errorf("%s and %s", own.Redacted(), other.Redacted())
	}
}
