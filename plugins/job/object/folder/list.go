package folder

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/cipherstream/cipherstream/plugins/internal/partial"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// errStop ends a walk whose caller has had enough.
var errStop = errors.New("stop")

// walk visits the files whose names, from the root and with slashes, may begin with the prefix. A link to the root is
// followed; what has vanished meanwhile is left out.
func (b *Bucket) walk(ctx context.Context, prefix string, visit func(name, path string, d fs.DirEntry) error) error {
	if err := b.open(false); err != nil {
		return err
	}
	root, err := filepath.EvalSymlinks(b.root)
	if err != nil {
		return b.fault(0, err)
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		within, relErr := filepath.Rel(root, path)
		if relErr != nil {
			return relErr
		}
		name := filepath.ToSlash(within)
		if name != "." && (err != nil || d.IsDir()) {
			if d.IsDir() && !strings.HasPrefix(name+"/", prefix) && !strings.HasPrefix(prefix, name+"/") {
				return fs.SkipDir
			}
			// A folder that only others may look into, such as lost+found, holds nothing of ours.
			if errors.Is(err, fs.ErrPermission) {
				return nil
			}
			return err
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return visit(name, path, d)
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return b.fault(0, err)
}

// List gives the objects of a prefix, those of others too.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		err := b.walk(ctx, prefix, func(name, _ string, d fs.DirEntry) error {
			if strings.HasSuffix(name, attributesSuffix) || !strings.HasPrefix(name, prefix) {
				return nil
			}
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && !yield(object.Info{Key: name, Size: info.Size(), Modified: info.ModTime()}, nil) {
				err = errStop
			}
			return err
		})
		if err != nil {
			yield(object.Info{}, err)
		}
	}
}

// unfinished is the name of an upload that Commit did not come to, or of its attributes; see Create and
// replaceAttributes. Between the name of the object and the ending stands what rand.Text gives.
var unfinished = regexp.MustCompile(`^\.(.+)\.[A-Z2-7]{26}(\.attrs){1,2}$`)

// Uploads gives the unfinished uploads of objects of a prefix, with the time of their last write. What merely looks
// hidden is somebody else's.
func (b *Bucket) Uploads(ctx context.Context, prefix string) iter.Seq2[object.Unfinished, error] {
	return func(yield func(object.Unfinished, error) bool) {
		err := b.walk(ctx, prefix, func(name, path string, d fs.DirEntry) error {
			parts := unfinished.FindStringSubmatch(d.Name())
			if parts == nil {
				return nil
			}
			key := strings.TrimSuffix(name, d.Name()) + parts[1]
			if !strings.HasPrefix(key, prefix) {
				return nil
			}
			if attributesOfObject(path) {
				return nil
			}
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil // another sweep was faster, or the upload has ended
			}
			if err == nil && !yield(object.Unfinished{Key: key, ID: d.Name(), Began: info.ModTime(), Owner: ownerOf(path)}, nil) {
				err = errStop
			}
			return err
		})
		if err != nil {
			yield(object.Unfinished{}, err)
		}
	}
}

// ownerOf says whether somebody is at work on an upload; its attributes are written by the same.
func ownerOf(path string) object.Owner {
	of := path
	if upload := strings.TrimSuffix(path, attributesSuffix); strings.HasSuffix(upload, attributesSuffix) {
		if _, err := os.Lstat(upload); err == nil {
			of = upload
		}
	}
	switch partial.OwnerOf(of) {
	case partial.Alive:
		return object.OwnerAlive
	case partial.Dead:
		return object.OwnerDead
	}
	return object.OwnerUnknown
}

// mostNames bounds how many names of a folder are looked at when an upload begins; the sweep looks at all.
const mostNames = 20_000

// removeDead removes the uploads that dead processes have left in one folder. What cannot be removed is the sweep's.
func (b *Bucket) removeDead(dir string) {
	folder, err := os.Open(dir)
	if err != nil {
		return
	}
	defer folder.Close()
	for seen := 0; seen < mostNames; {
		names, err := folder.Readdirnames(1000)
		seen += len(names)
		for _, name := range names {
			path := filepath.Join(dir, name)
			if unfinished.MatchString(name) && !attributesOfObject(path) && ownerOf(path) == object.OwnerDead {
				_, _ = partial.RemoveDead(path)
			}
		}
		if err != nil {
			return
		}
	}
}

// attributesOfObject reports whether a file that is called like an upload holds the attributes of an object, which
// another program has called so.
func attributesOfObject(path string) bool {
	of := strings.TrimSuffix(path, attributesSuffix)
	if filepath.Ext(of) == attributesSuffix {
		return false
	}
	_, err := os.Lstat(of)
	return err == nil
}

// AbortUpload removes the hidden file of an upload, or of its attributes.
func (b *Bucket) AbortUpload(ctx context.Context, of object.Unfinished) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := b.open(false); err != nil {
		return err
	}
	parts := unfinished.FindStringSubmatch(of.ID)
	name := filepath.FromSlash(of.Key)
	if parts == nil || parts[1] != filepath.Base(name) || !filepath.IsLocal(name) {
		return nil // no upload of ours can be called so
	}
	return b.fault(0, remove(filepath.Join(b.root, filepath.Dir(name), of.ID)))
}

// RemoveOrphan removes the attributes that a run has left which died between placing them and placing the object. Those
// of an object that is there stay, and so do another run's.
func (b *Bucket) RemoveOrphan(ctx context.Context, key, run string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	path, err := b.path(key)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return b.fault(0, err)
	}
	file, err := os.OpenFile(path+attributesSuffix, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil // there are none, or they are not ours
	}
	defer file.Close()
	var of attributes
	if json.NewDecoder(io.LimitReader(file, maxAttributes)).Decode(&of) != nil || run == "" || of.Metadata[object.MetaRun] != run {
		return nil
	}
	return b.fault(0, remove(path+attributesSuffix))
}

// maxAttributes bounds what is read of attributes that may be somebody else's.
const maxAttributes = 1 << 20
