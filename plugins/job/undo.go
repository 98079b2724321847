package job

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/plugins/job/object/folder"
	"github.com/cipherstream/cipherstream/plugins/job/object/s3"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// begun is what the sink tells the host of an upload: before it is begun without an ID, which the store gives, and
// then with it.
type begun struct {
	// Place is the bucket without what may differ between two runs to it; see placeOf.
	Place string `json:"place"`
	Key   string `json:"key"`
	ID    string `json:"id,omitempty"`
	// Run is the run, and Own says that the key is its alone, because it holds its id.
	Run string `json:"run"`
	Own bool   `json:"own,omitempty"`
}

// placeOf names a bucket by what tells it from others: the folder, or name and endpoint.
func placeOf(bucket string) string {
	u, err := url.Parse(bucket)
	if err != nil {
		return "" // OpenBucket has refused it
	}
	if u.Scheme == "file" {
		return "file://" + strings.TrimRight(u.Path, "/")
	}
	return u.Scheme + "://" + u.Host + "@" + strings.TrimRight(u.Query().Get("endpoint"), "/")
}

// announce tells the host of an upload. A folder's a later run finds by itself.
func (s *sink) announce(ctx context.Context, b begun) (release func(), err error) {
	if s.announcer == nil {
		return func() {}, nil
	}
	state, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	what := "the unfinished upload of " + place(s.settings.Bucket) + "/" + b.Key
	if b.ID == "" {
		what = "perhaps an upload, just begun, of " + place(s.settings.Bucket) + "/" + b.Key
	}
	inFolder := strings.HasPrefix(b.Place, "file:")
	remedy := fmt.Sprintf("cipherstream sweep --bucket '%s'", s.settings.Bucket)
	if !inFolder {
		remedy += fmt.Sprintf(" --prefix '%s' --abandoned AGE, with an age that no run reaches", b.Key)
	}
	return s.announcer(ctx, sdk.Resource{Name: what, Remedy: remedy, State: state, Discoverable: inFolder})
}

// undoBackoff is the longest wait before a request is tried again: somebody waits for the fault of a run.
const undoBackoff = time.Second

// Undo ends an upload of a run whose process has died.
func (s *sink) Undo(ctx context.Context, r sdk.Resource) error {
	var of begun
	if err := json.Unmarshal(r.State, &of); err != nil {
		return stage.Foreign("run %q announced something other than an upload", r.RunID)
	}
	if here := placeOf(s.settings.Bucket); of.Place != here {
		return stage.Elsewhere("the upload is one to %s, and the bucket is %s", of.Place, here)
	}
	own := r.RunID != "" && strings.HasPrefix(of.Key, r.RunID+".") && !strings.Contains(of.Key, "/")
	switch {
	case of.Run != r.RunID || r.RunID == "" || object.CheckKey(of.Key) != nil || of.Own && !own:
		return stage.Foreign("run %q announced an upload of %q, which it does not begin", r.RunID, of.Key)
	case !own && s.settings.Key != "" && of.Key != s.settings.Key:
		return stage.Elsewhere("the upload is one of %q, and the object is %q", of.Key, s.settings.Key)
	}
	if b, is := s.to.(*s3.Bucket); is {
		b.MaxBackoff = undoBackoff
	}
	defer s.to.Close()
	err := s.undo(ctx, of, own)
	if fault.Is(err, "sink.bucket_missing") {
		return nil // and the upload with it
	}
	return err
}

func (s *sink) undo(ctx context.Context, of begun, own bool) error {
	inFolder, is := s.to.(*folder.Bucket)
	if of.ID != "" && !is {
		return s.to.AbortUpload(ctx, object.Unfinished{Key: of.Key, ID: of.ID})
	}
	var stays error
	for u, err := range s.to.Uploads(ctx, of.Key) {
		switch {
		case err != nil:
			return err
		case u.Key != of.Key || of.ID != "" && u.ID != of.ID && u.ID != of.ID+object.AttributesSuffix:
			continue
		case u.Owner == object.OwnerAlive:
			if of.ID != "" {
				return stage.Foreign("somebody is at work on the upload of %q", of.Key)
			}
			continue
		case u.Owner == object.OwnerUnknown && of.ID == "" && !own:
			// Another run may have begun it to the same name.
			stays = stage.Foreign("an upload of %q is there, and nothing tells whose it is", of.Key)
			continue
		}
		if err := s.to.AbortUpload(ctx, u); err != nil {
			return err
		}
	}
	if is && stays == nil {
		return inFolder.RemoveOrphan(ctx, of.Key, of.Run)
	}
	return stays
}
