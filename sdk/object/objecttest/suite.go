// Package objecttest tries what every store of sdk/object has to keep: the same suite runs on memory, on a folder, on a
// server of S3's protocol and on a real one. It owns the checks, and never knows which store it tries.
package objecttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// Harness is a store to try.
type Harness struct {
	// New gives an empty bucket, which the suite closes. It may be asked again with buckets that are in use.
	New func(t *testing.T) object.Bucket
	// Fetch follows a link as anybody would. Without it the store signs none.
	Fetch func(t *testing.T, link string) Answer
	// Sizes are those of further objects, such as those around a part's.
	Sizes []int
}

// Answer is what comes when a link is followed.
type Answer struct {
	Content                                   []byte
	ContentType, Disposition, ContentEncoding string
}

// key has what a key may have: folders, a space, a letter beyond ASCII, and what URLs escape.
const key = "acme/2025 é+%/run_1.1.ndjson.gz"

var about = object.About{ContentType: "application/x-ndjson", FileName: "run_1.ndjson.gz", Metadata: map[string]string{
	object.MetaRun: "run_1", object.MetaExpires: "2030-01-02T03:04:05Z"}}

// Run tries a store.
func Run(t *testing.T, h Harness) {
	t.Run("an object is what was written", h.delivers)
	t.Run("nothing is visible before Commit", h.hidden)
	t.Run("nothing stays after Abort", h.aborts)
	t.Run("an object is replaced at Commit", h.replaces)
	t.Run("the end of a context ends writes", h.cancelled)
	t.Run("an upload is ended by another", h.abandoned)
	t.Run("lists go by prefix", h.lists)
	t.Run("what is missing is told", h.missing)
	t.Run("names that not all stores can have are refused", h.names)
	t.Run("links", h.links)
}

func (h Harness) bucket(t *testing.T) object.Bucket {
	t.Helper()
	b := h.New(t)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// payload is data that does not repeat itself.
func payload(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(p)
	return p
}

func write(t *testing.T, up object.Upload, content []byte) {
	t.Helper()
	for piece := range slices.Chunk(content, 300_001) {
		given := bytes.Clone(piece)
		n, err := up.Write(given)
		if err != nil || n != len(piece) || !bytes.Equal(given, piece) {
			t.Fatalf("Write: %d of %d, %v", n, len(piece), err)
		}
		clear(given) // it is the caller's again
	}
}

func create(t *testing.T, b object.Store, key string, about object.About) object.Upload {
	t.Helper()
	up, err := b.Create(t.Context(), key, about)
	if err != nil {
		t.Fatal(err)
	}
	return up
}

func deliver(t *testing.T, b object.Store, key string, content []byte) object.Receipt {
	t.Helper()
	up := create(t, b, key, about)
	write(t, up, content)
	receipt, err := up.Commit(t.Context())
	if err != nil {
		t.Fatal(errors.Join(err, up.Abort(t.Context())))
	}
	return receipt
}

func read(t *testing.T, b object.Store, key string, offset int64) ([]byte, object.Info) {
	t.Helper()
	r, info, err := b.Open(t.Context(), key, offset)
	if err != nil {
		t.Fatalf("Open at %d: %v", offset, err)
	}
	content, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatalf("reading from %d: %v", offset, err)
	}
	return content, info
}

// holds asserts what a bucket has: these objects, and that many uploads.
func holds(t *testing.T, b object.Bucket, uploads int, keys ...string) {
	t.Helper()
	var listed []string
	for info, err := range b.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, info.Key)
	}
	slices.Sort(listed)
	slices.Sort(keys)
	if !slices.Equal(listed, keys) {
		t.Errorf("the bucket has %q, want %q", listed, keys)
	}
	if left := unfinished(t, b, key); len(left) != uploads {
		t.Errorf("uploads of %q: %v, want %d", key, left, uploads)
	}
}

func unfinished(t *testing.T, b object.Bucket, prefix string) (list []object.Unfinished) {
	t.Helper()
	for u, err := range b.Uploads(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, u)
	}
	return list
}

func (h Harness) delivers(t *testing.T) {
	b := h.bucket(t)
	for _, size := range append([]int{0, 1, 1 << 20}, h.Sizes...) {
		content := payload(size)
		began := time.Now()
		receipt := deliver(t, b, key, content)
		if receipt.Size != int64(size) || receipt.SHA256 != sha256.Sum256(content) || !strings.Contains(receipt.Location, "://") ||
			!strings.HasSuffix(receipt.Location, "/acme/2025%20%C3%A9+%25/run_1.1.ndjson.gz") {
			t.Errorf("%d bytes: receipt %+v", size, receipt)
		}
		got, info := read(t, b, key, 0)
		if !bytes.Equal(got, content) {
			t.Errorf("%d bytes: %d others are read", size, len(got))
		}
		stat, err := b.Stat(t.Context(), key)
		for _, info := range []object.Info{info, stat} {
			if err != nil || info.Key != key || info.Size != int64(size) || info.ContentType != about.ContentType || !maps.Equal(info.Metadata, about.Metadata) ||
				info.Version != stat.Version || info.Version == "" || info.Modified.After(began.Add(time.Hour)) {
				t.Errorf("%d bytes: %+v, %v", size, info, err)
			}
		}
		for _, offset := range []int{1, size / 2, size - 1, size} {
			if offset < 0 || offset > size {
				continue
			}
			if got, info := read(t, b, key, int64(offset)); !bytes.Equal(got, content[offset:]) || info.Size != int64(size) || info.Version != stat.Version {
				t.Errorf("%d bytes from %d: %d are read of %+v", size, offset, len(got), info)
			}
		}
		for _, offset := range []int64{-1, int64(size) + 1} {
			if _, _, err := b.Open(t.Context(), key, offset); !fault.Is(err, object.CodeOffset) {
				t.Errorf("%d bytes from %d: %v", size, offset, err)
			}
		}
	}
	r, _, err := b.Open(t.Context(), key, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("a reader that read nothing: %v", err)
	}
}

func (h Harness) hidden(t *testing.T) {
	b := h.bucket(t)
	up := create(t, b, key, about)
	write(t, up, payload(1<<20))
	holds(t, b, 1)
	if _, err := b.Stat(t.Context(), key); !fault.Is(err, object.CodeMissing) {
		t.Errorf("Stat before Commit: %v", err)
	}
	if _, err := up.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := up.Abort(t.Context()); err != nil {
		t.Errorf("Abort after Commit: %v", err)
	}
	holds(t, b, 0, key)
}

func (h Harness) aborts(t *testing.T) {
	b := h.bucket(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, size := range append([]int{0, 1000}, h.Sizes...) {
		up := create(t, b, key, about)
		write(t, up, payload(size))
		for range 2 {
			if err := up.Abort(ended); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
		if _, err := up.Commit(t.Context()); err == nil {
			t.Error("Commit succeeds after Abort")
		}
		holds(t, b, 0)
	}
	// A Commit that cannot be.
	up := create(t, b, key, about)
	write(t, up, payload(1000))
	if _, err := up.Commit(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit in a context that has ended: %v", err)
	}
	if err := up.Abort(ended); err != nil {
		t.Error(err)
	}
	holds(t, b, 0)
}

func (h Harness) replaces(t *testing.T) {
	b := h.bucket(t)
	deliver(t, b, key, payload(500))
	_, first := read(t, b, key, 0)
	other := object.About{ContentType: "text/csv", Metadata: map[string]string{object.MetaRun: "run_2"}}
	up := create(t, b, key, other)
	write(t, up, payload(20))
	if got, info := read(t, b, key, 0); !bytes.Equal(got, payload(500)) || info.ContentType != about.ContentType || info.Version != first.Version {
		t.Errorf("before Commit: %d bytes, %+v", len(got), info)
	}
	if _, err := up.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, info := read(t, b, key, 0); !bytes.Equal(got, payload(20)) || info.ContentType != "text/csv" || info.Version == first.Version ||
		!maps.Equal(info.Metadata, other.Metadata) {
		t.Errorf("after Commit: %d bytes, %+v", len(got), info)
	}
	// An upload that is given up leaves what is there.
	up = create(t, b, key, about)
	write(t, up, payload(30))
	if err := up.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	if got, info := read(t, b, key, 0); len(got) != 20 || info.ContentType != "text/csv" {
		t.Errorf("after Abort: %d bytes, %+v", len(got), info)
	}
	holds(t, b, 0, key)
}

func (h Harness) cancelled(t *testing.T) {
	b := h.bucket(t)
	why := errors.New("the reason of the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	up, err := b.Create(ctx, key, about)
	if err != nil {
		t.Fatal(err)
	}
	write(t, up, payload(1000))
	cancel(why)
	if _, err := up.Write(payload(1000)); !errors.Is(err, why) {
		t.Errorf("Write: %v", err)
	}
	if _, err := up.Commit(t.Context()); err == nil {
		t.Error("Commit succeeds after a write that failed")
	}
	if err := up.Abort(ctx); err != nil {
		t.Error(err)
	}
	holds(t, b, 0)
	if _, err := b.Create(ctx, key, about); !errors.Is(err, why) {
		t.Errorf("Create: %v", err)
	}
	deliver(t, b, key, payload(1000))
	if _, _, err := b.Open(ctx, key, 0); !errors.Is(err, why) {
		t.Errorf("Open: %v", err)
	}
	if _, err := b.Stat(ctx, key); !errors.Is(err, why) {
		t.Errorf("Stat: %v", err)
	}
	if err := b.Delete(ctx, key); !errors.Is(err, why) {
		t.Errorf("Delete: %v", err)
	}
	holds(t, b, 0, key)
}

func (h Harness) abandoned(t *testing.T) {
	b := h.bucket(t)
	up := create(t, b, key, about)
	write(t, up, payload(1000))
	left := unfinished(t, b, key)
	if len(left) != 1 || left[0].Key != key || left[0].ID != up.Unfinished().ID || time.Since(left[0].Began) > time.Hour {
		t.Fatalf("%+v, want %+v", left, up.Unfinished())
	}
	for range 2 {
		if err := b.AbortUpload(t.Context(), up.Unfinished()); err != nil {
			t.Error(err)
		}
	}
	if _, err := up.Commit(t.Context()); fault.From(err) == nil || !fault.From(err).Retryable {
		t.Errorf("Commit of an upload that somebody else has ended: %v", err)
	}
	if err := up.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	holds(t, b, 0)
}

func (h Harness) lists(t *testing.T) {
	b := h.bucket(t)
	keys := []string{"a/b/x", "a/c", "ab", "b/a/c"}
	for n, key := range keys {
		deliver(t, b, key, payload(n))
	}
	for prefix, want := range map[string]string{"": "a/b/x a/c ab b/a/c", "a": "a/b/x a/c ab", "a/": "a/b/x a/c", "a/b/x": "a/b/x", "c": "", "a/b/x/y": ""} {
		var got []string
		for info, err := range b.List(t.Context(), prefix) {
			if err != nil || info.Size != int64(slices.Index(keys, info.Key)) {
				t.Errorf("%+v, %v", info, err)
			}
			got = append(got, info.Key)
		}
		if slices.Sort(got); strings.Join(got, " ") != want {
			t.Errorf("prefix %q: %q, want %q", prefix, got, want)
		}
	}
	for info, err := range b.List(t.Context(), "") { // enough is enough, and what was listed may go
		if err := errors.Join(err, b.Delete(t.Context(), info.Key)); err != nil {
			t.Error(err)
		}
		break
	}
	for info, err := range b.List(t.Context(), "") {
		if err := errors.Join(err, b.Delete(t.Context(), info.Key), b.Delete(t.Context(), info.Key)); err != nil {
			t.Error(err)
		}
	}
	holds(t, b, 0)
}

func (h Harness) missing(t *testing.T) {
	b := h.bucket(t)
	deliver(t, b, "a/b", nil)
	for _, key := range []string{"none", "a", "a/b/c", "x/y"} {
		if _, _, err := b.Open(t.Context(), key, 0); !fault.Is(err, object.CodeMissing) {
			t.Errorf("Open %s: %v", key, err)
		}
		if _, err := b.Stat(t.Context(), key); !fault.Is(err, object.CodeMissing) {
			t.Errorf("Stat %s: %v", key, err)
		}
		if key == "none" || key == "x/y" {
			if err := b.Delete(t.Context(), key); err != nil {
				t.Errorf("Delete %s: %v", key, err)
			}
		}
	}
	holds(t, b, 0, "a/b")
}

func (h Harness) names(t *testing.T) {
	b := h.bucket(t)
	for _, key := range []string{"", "/x", "x/", "a//b", "../x", "a/../b", "a\nb", `a\b`, "x.attrs", ".hidden", "a\xff", strings.Repeat("x", 201), strings.Repeat("x/", 600) + "x"} {
		if _, err := b.Create(t.Context(), key, about); !fault.Is(err, object.CodeKey) {
			t.Errorf("%q: %v", key, err)
		}
	}
	holds(t, b, 0)
}

func (h Harness) links(t *testing.T) {
	b := h.bucket(t)
	content := payload(1000)
	deliver(t, b, key, content)
	asked := time.Now().Add(time.Hour)
	link, err := b.Link(t.Context(), key, object.LinkRequest{TTL: time.Hour})
	if h.Fetch == nil {
		if err != nil || link != (object.Link{}) {
			t.Errorf("a store without links: %+v, %v", link, err)
		}
		return
	}
	if err != nil || link.Expires.After(time.Now().Add(time.Hour)) || asked.Sub(link.Expires) > 5*time.Second {
		t.Fatalf("a link until %s ends at %s: %v", asked, link.Expires, err)
	}
	soon := time.Now().Add(time.Minute)
	if link, err := b.Link(t.Context(), key, object.LinkRequest{TTL: time.Hour, Until: soon}); err != nil || link.Expires.After(soon) || soon.Sub(link.Expires) > 5*time.Second {
		t.Errorf("a link to an object that ends at %s ends at %s: %v", soon, link.Expires, err)
	}
	if got := h.Fetch(t, link.URL); !bytes.Equal(got.Content, content) || got.ContentType != about.ContentType || got.ContentEncoding != "" ||
		got.Disposition != "attachment; filename=run_1.ndjson.gz" {
		t.Errorf("the link gives %d bytes, %q, %q, %q", len(got.Content), got.ContentType, got.Disposition,
			got.ContentEncoding)
	}
	link, err = b.Link(t.Context(), key, object.LinkRequest{TTL: time.Hour, FileName: "for me.txt", ContentType: "text/plain"})
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Fetch(t, link.URL); !bytes.Equal(got.Content, content) || got.ContentType != "text/plain" || got.Disposition != `attachment; filename="for me.txt"` {
		t.Errorf("the link gives %d bytes, %q, %q", len(got.Content), got.ContentType, got.Disposition)
	}
	tomorrow := time.Now().AddDate(0, 0, 1) // by a clock that is not this machine's
	if link, err := b.Link(t.Context(), key, object.LinkRequest{TTL: time.Hour, Now: tomorrow}); err != nil || link.Expires.Sub(tomorrow.Add(time.Hour)).Abs() > time.Second {
		t.Errorf("a link that is made at %s for an hour ends at %s: %v", tomorrow, link.Expires, err)
	}
	if link, err := b.Link(t.Context(), key, object.LinkRequest{TTL: -time.Second}); !fault.Is(err, "sink.link_ttl") {
		t.Errorf("a link that has ended: %+v, %v", link, err)
	}
}
