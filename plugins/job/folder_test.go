package job

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/plugins/job/object/s3/s3test"
	"github.com/cipherstream/cipherstream/plugins/job/object/signed"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// files lists the files under a folder.
func files(t *testing.T, root string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(root, path)
			list = append(list, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestFolderDelivers(t *testing.T) {
	root := t.TempDir()
	data := payload(3<<20 + 1)
	s := newTestSink(t, fmt.Sprintf(`{"bucket":"file://%s/made?create_dir=true","key":"acme/2025/result.ndjson.gz","link_secret":"0123456789abcdef","link_base_url":"https://files.example/get"}`, root))
	receipt, err := deliver(s, data, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	if receipt.Bytes != int64(len(data)) || receipt.SHA256 != digest(data) || receipt.Location != "file://"+root+"/made/acme/2025/result.ndjson.gz" {
		t.Errorf("receipt %+v", receipt)
	}
	if got := strings.Join(files(t, root), " "); got != "made/acme/2025/result.ndjson.gz made/acme/2025/result.ndjson.gz.attrs" {
		t.Errorf("files: %s", got)
	}
	if info, err := os.Stat(filepath.Join(root, "made/acme/2025/result.ndjson.gz")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v)", info.Mode(), err)
	}

	b, err := OpenBucket(s.settings)
	if err != nil {
		t.Fatal(err)
	}
	info, err := b.Stat(t.Context(), "acme/2025/result.ndjson.gz")
	if err != nil || info.ContentType != "application/x-ndjson" || info.Size != int64(len(data)) || info.Metadata[object.MetaRun] != media.RunID {
		t.Errorf("%+v (%v)", info, err)
	}
	if expires, err := time.Parse(time.RFC3339, info.Metadata[object.MetaExpires]); err != nil || time.Until(expires) < 23*time.Hour || time.Until(expires) > 24*time.Hour {
		t.Errorf("expires %v (%v)", expires, err)
	}
	// Who serves the folder finds the file name there, and no content coding that a client would undo.
	kept, err := os.ReadFile(filepath.Join(root, "made/acme/2025/result.ndjson.gz.attrs"))
	if err != nil || !strings.Contains(string(kept), `"user.content_disposition":"attachment; filename=result.ndjson.gz"`) || strings.Contains(string(kept), `"gzip"`) {
		t.Errorf("attributes %s (%v)", kept, err)
	}
	content, _, err := b.Open(t.Context(), "acme/2025/result.ndjson.gz", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if got, err := io.ReadAll(content); err != nil || digest(got) != receipt.SHA256 {
		t.Errorf("not what was written (%v)", err)
	}

	link, err := url.Parse(receipt.Link)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := signed.New("https://files.example/get", "0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	if name, _, err := signer.Check(link, time.Now()); err != nil || name != "acme/2025/result.ndjson.gz" {
		t.Errorf("the link %s is for %q (%v)", receipt.Link, name, err)
	}
	if d := time.Until(receipt.LinkExpires); d < 11*time.Hour || d > 12*time.Hour {
		t.Errorf("the link ends in %s", d)
	}
}

func TestFolderAbort(t *testing.T) {
	root := t.TempDir()
	s := newTestSink(t, fmt.Sprintf(`{"bucket":"file://%s"}`, root))
	if err := s.Open(t.Context(), media); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), payload(1000)); err != nil {
		t.Fatal(err)
	}
	for info, err := range s.to.List(t.Context(), "") {
		t.Errorf("visible before the commit: %+v, %v", info, err)
	}
	for range 2 {
		if err := s.Abort(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if list := files(t, root); len(list) > 0 {
		t.Errorf("left behind: %q", list)
	}
}

// TestFolderCommitFails puts a folder in the way of the object after the upload has begun.
func TestFolderCommitFails(t *testing.T) {
	root := t.TempDir()
	s := newTestSink(t, fmt.Sprintf(`{"bucket":"file://%s"}`, root))
	if err := s.Open(t.Context(), media); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, key, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := s.Commit(t.Context())
	if fault.From(err) == nil || fault.From(err).Class != fault.Sink {
		t.Errorf("%v", err)
	}
	if err := s.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	if list := files(t, root); len(list) > 0 {
		t.Errorf("left behind: %q", list)
	}
}

func TestFolderReplaces(t *testing.T) {
	root := t.TempDir()
	for _, size := range []int{500, 0, 20} {
		receipt, err := deliver(newTestSink(t, fmt.Sprintf(`{"bucket":"file://%s"}`, root)), payload(size), 100)
		if err != nil || receipt.Bytes != int64(size) || receipt.Link != "" || !receipt.LinkExpires.IsZero() {
			t.Fatal(receipt, err)
		}
		if info, err := os.Stat(filepath.Join(root, key)); err != nil || info.Size() != int64(size) {
			t.Error(info, err)
		}
	}
}

func TestFolderFaults(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ bucket, code string }{
		{"file://" + root + "/none", "sink.bucket_missing"},
		{"file://" + root + "/file", "sink.bucket_missing"},
		{"file://" + root + "/file/below?create_dir=true", "sink.bucket_missing"},
	} {
		_, err := deliver(newTestSink(t, fmt.Sprintf(`{"bucket":%q}`, c.bucket)), nil, 1)
		if !fault.Is(err, c.code) || fault.From(err).Hint == "" {
			t.Errorf("%s: %v, want %s", c.bucket, err, c.code)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, c := range []struct{ settings, code string }{
		{`{"bucket":"gs://x"}`, "sink.bucket"},
		{`{"bucket":"results"}`, "sink.bucket"},
		{`{"bucket":"s3://"}`, "sink.bucket"},
		{`{"bucket":"s3://name/folder"}`, "sink.bucket"},
		{`{"bucket":"s3://name?acl=public"}`, "sink.bucket"},
		{`{"bucket":"s3://name?endpoint=ftp://x"}`, "sink.bucket"},
		{`{"bucket":"s3://AKID:hunter2@name"}`, "sink.bucket"},
		{`{"bucket":"file://relative/path"}`, "sink.bucket"},
		{`{"bucket":"file:///x?create_dir=perhaps"}`, "sink.bucket"},
		{`{"bucket":"file:///x","key":"../x"}`, "sink.key"},
		{`{"bucket":"file:///x","key":"/x"}`, "sink.key"},
		{`{"bucket":"file:///x","key":"a//b"}`, "sink.key"},
		{`{"bucket":"file:///x","key":"a\nb"}`, "sink.key"},
		{`{"bucket":"file:///x","key":"x.attrs"}`, "sink.key"},
		{`{"bucket":"file:///x","key":".hidden"}`, "sink.key"},
		{`{"bucket":"file:///x","link_secret":"0123456789abcdef"}`, "sink.link"},
		{`{"bucket":"file:///x","link_secret":"short","link_base_url":"https://x/"}`, "sink.link"},
		{`{"bucket":"file:///x","link_secret":"0123456789abcdef","link_base_url":"javascript:x"}`, "sink.link"},
		{`{"bucket":"s3://name","access_key_id":"AKID"}`, "sink.credentials"},
		{`{"bucket":"s3://name","kms_key":"k"}`, "sink.encryption"},
	} {
		_, err := Stage().Make([]byte(c.settings), sdk.Env{})
		if !fault.Is(err, c.code) || fault.From(err).Class != fault.Usage {
			t.Errorf("%s: %v, want %s", c.settings, err, c.code)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}

func TestSweep(t *testing.T) {
	ctx := context.Background()
	later := time.Now().Add(25 * time.Hour)
	t.Run("folder", func(t *testing.T) {
		root := t.TempDir()
		deliverTo := func(key, more string) {
			if _, err := deliver(newTestSink(t, fmt.Sprintf(`{"bucket":"file://%s","key":%q%s}`, root, key, more)), payload(10), 10); err != nil {
				t.Fatal(err)
			}
		}
		deliverTo("a/ends", "")
		deliverTo("a/stays", `,"retention":"240h"`)
		deliverTo("a/for-ever", `,"retention":"0s"`)
		deliverTo("b/ends", "")
		if err := os.WriteFile(filepath.Join(root, "a", "of others"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		alive := newTestSink(t, fmt.Sprintf(`{"bucket":"file://%s","key":"a/alive"}`, root))
		if err := alive.Open(ctx, media); err != nil {
			t.Fatal(err)
		}
		// As a process leaves it that was killed.
		if err := os.WriteFile(filepath.Join(root, "a", ".killed."+strings.Repeat("A", 26)+".attrs"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s := Settings{Bucket: "file://" + root}
		if got, err := Sweep(ctx, s, time.Now(), SweepOptions{Prefix: "b/"}); err != nil || got != (Swept{Seen: 1}) {
			t.Errorf("elsewhere: %+v (%v)", got, err)
		}
		if got, err := Sweep(ctx, s, time.Now(), SweepOptions{}); err != nil || got != (Swept{Seen: 5, Uploads: 1}) {
			t.Errorf("too early for objects, but not for what a dead process left: %+v (%v)", got, err)
		}
		if err := alive.Write(ctx, []byte("rows")); err != nil {
			t.Error(err)
		}
		if got, err := Sweep(ctx, s, later, SweepOptions{Prefix: "a/", Abandoned: time.Hour}); err != nil || got != (Swept{Seen: 4, Removed: 1, Bytes: 10}) {
			t.Errorf("%+v (%v)", got, err)
		}
		if _, err := alive.Commit(ctx); err != nil {
			t.Errorf("the living upload: %v", err)
		}
		if got := strings.Join(files(t, root), ", "); got != "a/alive, a/alive.attrs, a/for-ever, a/for-ever.attrs, a/of others, a/stays, a/stays.attrs, b/ends, b/ends.attrs" {
			t.Errorf("left: %s", got)
		}
	})
	t.Run("folder with files of others", func(t *testing.T) {
		root, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(root, link); err != nil {
			t.Fatal(err)
		}
		attempt := strings.Repeat("A", 26)
		for _, dir := range []string{"a", "b"} {
			if err := os.Mkdir(filepath.Join(root, dir), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, dir, ".killed."+attempt+".attrs"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		const theirs = "a/.notes.attrs, a/.object.attrs, a/.x." // another program's objects may begin with a dot
		for _, name := range append(strings.Split(theirs+attempt+", a/.x."+attempt+".attrs, a/rows.attrs", ", "), "a/.killed."+attempt+".attrs.attrs") {
			if err := os.WriteFile(filepath.Join(root, name), []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := Sweep(ctx, Settings{Bucket: "file://" + link}, later, SweepOptions{Prefix: "a/", Abandoned: time.Hour})
		if err != nil || got.Uploads != 2 {
			t.Errorf("%+v (%v)", got, err)
		}
		left := files(t, root)
		if want := theirs + attempt + ", a/.x." + attempt + ".attrs, a/rows.attrs, b/.killed."; !strings.HasPrefix(strings.Join(left, ", "), want) || len(left) != 6 {
			t.Errorf("left: %v", left)
		}
	})
	for _, wholeNames := range []bool{false, true} {
		t.Run(fmt.Sprintf("s3, uploads listed by whole names %t", wholeNames), func(t *testing.T) { sweepS3(t, wholeNames) })
	}
}

func sweepS3(t *testing.T, wholeNames bool) {
	ctx, later := context.Background(), time.Now().Add(25*time.Hour)
	f := s3test.New(t)
	f.WholeNames = wholeNames
	for _, name := range []string{"a/ends", "b/ends"} {
		if _, err := deliver(newTestSink(t, settings(f.URL(), fmt.Sprintf(`"key":%q`, name))), payload(10), 10); err != nil {
			t.Fatal(err)
		}
	}
	killed := newTestSink(t, settings(f.URL(), `"key":"a/killed"`))
	if err := killed.Open(ctx, media); err != nil {
		t.Fatal(err)
	}
	another := newTestSink(t, settings(f.URL(), `"key":"b/a/running"`))
	if err := another.Open(ctx, media); err != nil {
		t.Fatal(err)
	}
	s := killed.settings
	if _, err := Sweep(ctx, s, later, SweepOptions{Abandoned: time.Hour}); !fault.Is(err, "sink.sweep") {
		t.Errorf("no prefix: %v", err)
	}
	if got, err := Sweep(ctx, s, later, SweepOptions{Prefix: "a/", Abandoned: time.Hour}); err != nil || got.Uploads != 1 {
		t.Errorf("%+v (%v)", got, err)
	}
	if len(f.Uploads) != 1 {
		t.Errorf("%d uploads are left, want the one under another prefix", len(f.Uploads))
	}
	for _, s := range []*sink{killed, another} {
		if err := s.Abort(ctx); err != nil {
			t.Error(err)
		}
	}
	f.Check(t)
	missing := s
	missing.Bucket = strings.Replace(s.Bucket, "results", "nowhere", 1)
	if _, err := Sweep(ctx, missing, later, SweepOptions{}); !fault.Is(err, "sink.bucket_missing") {
		t.Errorf("no bucket: %v", err)
	}
}

func BenchmarkWrite(b *testing.B) {
	piece := payload(1 << 20)
	for _, name := range []string{"folder", "s3"} {
		b.Run(name, func(b *testing.B) {
			text := fmt.Sprintf(`{"bucket":"file://%s"}`, b.TempDir())
			if name == "s3" {
				f := s3test.New(b)
				f.Fail = func(string, int) (int, string) {
					f.Lock()
					defer f.Unlock()
					for _, u := range f.Uploads {
						clear(u.Parts)
					}
					return 0, ""
				}
				text = settings(f.URL())
			}
			s := newTestSink(b, text)
			if err := s.Open(b.Context(), media); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(piece)))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Write(b.Context(), piece); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Abort(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
