package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/plugins/job/object/folder"
	"github.com/cipherstream/cipherstream/plugins/job/object/s3/s3test"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// host keeps what a sink announces and has not released.
type host struct {
	open  map[int]sdk.Resource
	heard int
}

func (h *host) announce(_ context.Context, r sdk.Resource) (func(), error) {
	if h.open == nil {
		h.open = map[int]sdk.Resource{}
	}
	r.RunID = media.RunID
	n := h.heard
	h.heard++
	h.open[n] = r
	return func() { delete(h.open, n) }, nil
}

func announcing(t *testing.T, settings string, h *host) *sink {
	t.Helper()
	s := newTestSink(t, settings)
	s.announcer = h.announce
	return s
}

// TestAnnounces: the host hears of an upload before it is begun, and until it has ended.
func TestAnnounces(t *testing.T) {
	f := s3test.New(t)
	for _, bucket := range []string{f.URL(), "file://" + t.TempDir()} {
		for _, commit := range []bool{true, false} {
			h := &host{}
			s := announcing(t, settings(bucket), h)
			f.Fail = func(operation string, _ int) (int, string) {
				if operation == "create" && h.heard == 0 {
					t.Error("the upload was begun before the host knew of it")
				}
				return 0, ""
			}
			if err := s.Open(t.Context(), media); err != nil {
				t.Fatal(err)
			}
			if h.heard != 2 || len(h.open) != 1 || strings.Contains(string(h.open[1].State), secret) {
				t.Errorf("%d were announced, and open are %v", h.heard, h.open)
			}
			if commit {
				if _, err := s.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Abort(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(h.open) != 0 {
				t.Errorf("open are %v", h.open)
			}
		}
	}
}

// TestUndoUpload: another process ends the upload of a dead one, by its ID and, where it died before it knew that, by
// the name that is its alone.
func TestUndoUpload(t *testing.T) {
	f := s3test.New(t)
	for _, known := range []bool{true, false} {
		h := &host{}
		dead := announcing(t, settings(f.URL()), h)
		if err := dead.Open(t.Context(), media); err != nil {
			t.Fatal(err)
		}
		r := h.open[1]
		if !known {
			var of begun
			if err := json.Unmarshal(r.State, &of); err != nil {
				t.Fatal(err)
			}
			of.ID = ""
			r.State, _ = json.Marshal(of)
		}
		for range 2 {
			if err := newTestSink(t, settings(f.URL())).Undo(t.Context(), r); err != nil {
				t.Error(err)
			}
		}
		if len(f.Uploads) != 0 {
			t.Errorf("%d uploads are left", len(f.Uploads))
		}
		if err := dead.Abort(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestUndoHostile: no upload goes but the one that the run has begun, whatever is announced.
func TestUndoHostile(t *testing.T) {
	f := s3test.New(t)
	theirs := newTestSink(t, settings(f.URL(), `"key":"theirs"`))
	if err := theirs.Open(t.Context(), media); err != nil {
		t.Fatal(err)
	}
	id := theirs.upload.Unfinished().ID
	place := placeOf(f.URL())
	root := t.TempDir()
	outside := filepath.Join(root, ".theirs."+strings.Repeat("A", 26)+".attrs")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	in := filepath.Join(root, "in")
	if err := os.Mkdir(in, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		bucket, key string
		of          begun
	}{
		{f.URL(), "mine", begun{place, "theirs", id, media.RunID, false}},
		{f.URL(), "", begun{place, "theirs", id, media.RunID, true}},
		{f.URL(), "theirs", begun{place, "theirs", "", media.RunID, false}},
		{f.URL(), "theirs", begun{place, "theirs", id, "another_1700000000000_00000000", false}},
		{f.URL(), "theirs", begun{"s3://elsewhere@", "theirs", id, media.RunID, false}},
		{"file://" + in, "", begun{"file://" + in, "../theirs", filepath.Base(outside), media.RunID, false}},
		{"file://" + in, "../theirs", begun{"file://" + in, "../theirs", filepath.Base(outside), media.RunID, false}},
		{"file://" + in, "", begun{"file://" + root, "theirs", filepath.Base(outside), media.RunID, false}},
	} {
		state, err := json.Marshal(c.of)
		if err != nil {
			t.Fatal(err)
		}
		s := newTestSink(t, settings(c.bucket))
		s.settings.Key = c.key
		if err := s.Undo(t.Context(), sdk.Resource{State: state, RunID: media.RunID}); !fault.Is(err, stage.CodeForeign) && !fault.Is(err, stage.CodeElsewhere) {
			t.Errorf("%s: %v", state, err)
		}
	}
	for _, garbage := range []string{"", "null", "[]", "{", "\xff\x00", `{"key":1}`, strings.Repeat("x", 1<<20)} {
		if err := newTestSink(t, settings(f.URL())).Undo(t.Context(), sdk.Resource{State: []byte(garbage), RunID: media.RunID}); !fault.Is(err, stage.CodeForeign) && !fault.Is(err, stage.CodeElsewhere) {
			t.Errorf("%.20q: %v", garbage, err)
		}
	}
	if len(f.Uploads) != 1 {
		t.Error("somebody else's upload is gone")
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
	if err := theirs.Abort(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestUndoInFolder: what a dead process has left goes, and what a living one is at work on stays.
func TestUndoInFolder(t *testing.T) {
	root := t.TempDir()
	h := &host{}
	alive := announcing(t, fmt.Sprintf(`{"bucket":"file://%s"}`, root), h)
	if err := alive.Open(t.Context(), media); err != nil {
		t.Fatal(err)
	}
	r := h.open[1]
	undo := func() error { return newTestSink(t, fmt.Sprintf(`{"bucket":"file://%s"}`, root)).Undo(t.Context(), r) }
	if err := undo(); !fault.Is(err, stage.CodeForeign) || len(files(t, root)) != 1 {
		t.Errorf("of a living process: %v, and there is %v", err, files(t, root))
	}
	id := filepath.Join(root, alive.upload.Unfinished().ID)
	if err := alive.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	// As a process leaves it that dies while it commits: the upload, its attributes, and those that are placed already.
	for path, content := range map[string]string{id: "", id + ".attrs": "", filepath.Join(root, key+".attrs"): `{"user.metadata":{"cipherstream-run":"` + media.RunID + `"}}`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := undo(); err != nil {
			t.Error(err)
		}
	}
	if left := files(t, root); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	// Attributes of another run stay, and those of an object that is there.
	for name, content := range map[string]string{key + ".attrs": `{"user.metadata":{"cipherstream-run":"another"}}`} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := deliver(newTestSink(t, fmt.Sprintf(`{"bucket":"file://%s","key":"there"}`, root)), payload(10), 10); err != nil {
		t.Fatal(err)
	}
	if err := undo(); err != nil {
		t.Error(err)
	}
	if err := newFolder(t, root).RemoveOrphan(t.Context(), "there", media.RunID); err != nil {
		t.Error(err)
	}
	if left := files(t, root); len(left) != 3 {
		t.Errorf("there are %v", left)
	}
}

func newFolder(t *testing.T, root string) *folder.Bucket {
	t.Helper()
	b, err := OpenBucket(Settings{Bucket: "file://" + root})
	if err != nil {
		t.Fatal(err)
	}
	return b.(*folder.Bucket)
}

// TestNextUploadRemoves: an upload to a folder removes what dead processes have left there, and nothing else.
func TestNextUploadRemoves(t *testing.T) {
	root := t.TempDir()
	attempt := strings.Repeat("A", 26)
	for _, name := range []string{".dead." + attempt + ".attrs", ".dead." + attempt + ".attrs.attrs", ".theirs." + attempt, ".theirs." + attempt + ".attrs", ".notes.attrs"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first := newTestSink(t, fmt.Sprintf(`{"bucket":"file://%s","key":"first"}`, root))
	if err := first.Open(t.Context(), media); err != nil {
		t.Fatal(err)
	}
	if _, err := deliver(newTestSink(t, fmt.Sprintf(`{"bucket":"file://%s","key":"second"}`, root)), payload(10), 10); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Commit(t.Context()); err != nil {
		t.Errorf("the other living upload: %v", err)
	}
	want := ".notes.attrs, .theirs." + attempt + ", .theirs." + attempt + ".attrs, first, first.attrs, second, second.attrs"
	if got := strings.Join(files(t, root), ", "); got != want {
		t.Errorf("there are %s, want %s", got, want)
	}
}

// TestCancelledBeginning: an upload whose beginning is cancelled before the store has answered is ended.
func TestCancelledBeginning(t *testing.T) {
	f := s3test.New(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("somebody pressed a key")
	f.FailAfter = func(operation string, _ int) (int, string) {
		if operation == "create" {
			cancel(why)
		}
		return 0, ""
	}
	s := newTestSink(t, settings(f.URL()))
	if err := s.Open(ctx, media); !errors.Is(err, why) {
		t.Errorf("%v, want the cause", err)
	}
	f.Check(t)
}
