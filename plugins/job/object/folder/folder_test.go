package folder

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/plugins/job/object/signed"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
	"github.com/cipherstream/cipherstream/sdk/object/objecttest"
)

func TestConformance(t *testing.T) {
	signer, err := signed.New("https://files.example/get?tenant=1", "0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	var last *Bucket
	objecttest.Run(t, objecttest.Harness{
		Sizes: []int{3 << 20},
		New: func(t *testing.T) object.Bucket {
			last = New(filepath.Join(t.TempDir(), "made"), true, signer)
			// The directory is made by the first upload; a list of nothing needs it before.
			if err := os.Mkdir(last.root, 0o700); err != nil {
				t.Fatal(err)
			}
			return last
		},
		// As a web server would that knows the secret.
		Fetch: func(t *testing.T, link string) (got objecttest.Answer) {
			u, err := url.Parse(link)
			if err != nil {
				t.Fatal(err)
			}
			key, request, err := signer.Check(u, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			content, info, err := last.Open(t.Context(), key, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer content.Close()
			if got.Content, err = io.ReadAll(content); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(last.root, key+attributesSuffix))
			if err != nil {
				t.Fatal(err)
			}
			var kept map[string]any
			if err := json.Unmarshal(text, &kept); err != nil {
				t.Fatal(err)
			}
			got.ContentType, got.Disposition = info.ContentType, kept["user.content_disposition"].(string)
			got.ContentEncoding, _ = kept["user.content_encoding"].(string)
			if request.ContentType != "" {
				got.ContentType, got.Disposition = request.ContentType, object.Disposition(key, object.About{FileName: request.FileName})
			}
			return got
		},
	})
}

// TestCommitFails puts a folder in the way of an object that is there: what was said of it stays.
func TestCommitFails(t *testing.T) {
	root := t.TempDir()
	b := New(root, false, nil)
	up, err := b.Create(t.Context(), "x", object.About{ContentType: "text/csv"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "x", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	const before = `{"user.content_type":"text/plain"}`
	if err := os.WriteFile(filepath.Join(root, "x.attrs"), []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := up.Commit(t.Context()); fault.From(err) == nil || fault.From(err).Class != fault.Sink {
		t.Errorf("%v", err)
	}
	if err := up.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	kept, err := os.ReadFile(filepath.Join(root, "x.attrs"))
	if err != nil || string(kept) != before {
		t.Errorf("attributes %s, %v", kept, err)
	}
	if left, err := os.ReadDir(root); err != nil || len(left) != 2 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestCutOff: a file that has become shorter is no whole object.
func TestCutOff(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "x"), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	content, _, err := New(root, false, nil).Open(t.Context(), "x", 10)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if err := os.Truncate(filepath.Join(root, "x"), 60); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(content); len(got) != 50 || !fault.Is(err, "object.read") {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestOutside: no name leads out of the folder, and a pipe in the place of an object holds nobody.
func TestOutside(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "outside"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := New(filepath.Join(root, "in"), true, nil)
	if err := os.Mkdir(b.root, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(b.root, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"../outside", "a/../../outside", filepath.Join(root, "outside"), "pipe"} {
		if _, _, err := b.Open(t.Context(), key, 0); !fault.Is(err, object.CodeMissing) {
			t.Errorf("Open %s: %v", key, err)
		}
		if key != "pipe" {
			if err := b.Delete(t.Context(), key); err != nil {
				t.Errorf("Delete %s: %v", key, err)
			}
		}
		of := object.Unfinished{Key: key, ID: "." + filepath.Base(key) + "." + strings.Repeat("A", 26) + ".attrs"}
		if err := b.AbortUpload(t.Context(), of); err != nil {
			t.Errorf("AbortUpload %s: %v", key, err)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "outside")); err != nil {
		t.Error(err)
	}
}

func TestFaults(t *testing.T) {
	full := New("/data", false, nil).fault(77, &fs.PathError{Op: "write", Path: "/data/x", Err: syscall.ENOSPC})
	if !fault.Is(full, "sink.disk_full") || !strings.Contains(full.Error(), "77 bytes") || !errors.Is(full, syscall.ENOSPC) {
		t.Errorf("%v", full)
	}
}
