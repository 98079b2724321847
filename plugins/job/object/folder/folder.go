// Package folder is a store of objects that is a directory. It owns the hidden files that uploads are, the files of
// attributes beside the objects, and links for whoever serves the directory; it never reads what it did not write, but
// lists it.
//
// An object is the file of its key. Beside it lies the file KEY.attrs, JSON with media type, disposition and metadata,
// as fileblob of the Go CDK lays it out. Both are for the owner alone.
package folder

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cipherstream/cipherstream/plugins/internal/fsync"
	"github.com/cipherstream/cipherstream/plugins/internal/partial"
	"github.com/cipherstream/cipherstream/plugins/job/object/signed"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// attributesSuffix ends the name of the file beside an object. Files of that name are not objects, so an unfinished
// upload bears it too: a listing of the bucket does not show it.
const attributesSuffix = object.AttributesSuffix

// Bucket is a bucket that is a directory.
type Bucket struct {
	root   string
	create bool
	signer *signed.Signer
}

// New returns the bucket of an absolute path. With create the directory is made by the first upload. Without a signer
// there are no links.
func New(root string, create bool, signer *signed.Signer) *Bucket {
	return &Bucket{root: filepath.Clean(root), create: create, signer: signer}
}

// open makes sure that the directory is there. It makes it only for an upload.
func (b *Bucket) open(create bool) error {
	info, err := os.Stat(b.root)
	if errors.Is(err, fs.ErrNotExist) && create {
		if err = os.MkdirAll(b.root, 0o700); err == nil {
			info, err = os.Stat(b.root)
		}
	}
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	return b.fault(0, err)
}

// path is where the object of a key lies. Names of others are taken as they are, as long as they lead to an object.
func (b *Bucket) path(key string) (string, error) {
	name := filepath.FromSlash(key)
	if !filepath.IsLocal(name) || strings.HasSuffix(name, attributesSuffix) {
		return "", object.Missing(key)
	}
	return filepath.Join(b.root, name), nil
}

func (b *Bucket) location(key string) string {
	return (&url.URL{Scheme: "file", Path: filepath.Join(b.root, filepath.FromSlash(key))}).String()
}

// Link signs a link, if there is a signer.
func (b *Bucket) Link(_ context.Context, key string, request object.LinkRequest) (object.Link, error) {
	if b.signer == nil {
		return object.Link{}, nil
	}
	return b.signer.Link(key, request)
}

// Close has nothing to give up.
func (b *Bucket) Close() error { return nil }

// Create begins an object: a hidden file beside its place.
func (b *Bucket) Create(ctx context.Context, key string, about object.About) (object.Upload, error) {
	if err := object.CheckKey(key); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := b.open(b.create); err != nil {
		return nil, err
	}
	final := filepath.Join(b.root, filepath.FromSlash(key))
	dir, name := filepath.Split(final)
	if info, err := os.Stat(final); err == nil && !info.Mode().IsRegular() {
		return nil, fault.New(object.CodeKey, fault.Usage, "%s exists and is not a file (%s)", b.location(key), info.Mode().Type())
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, b.fault(0, err)
	}
	id := "." + name + "." + rand.Text() + attributesSuffix
	u := &upload{Digest: object.NewDigest(), ctx: ctx, bucket: b, key: key, about: about, final: final,
		hidden: filepath.Join(dir, id)}
	var err error
	// It holds health data: the owner alone reads it.
	if u.file, err = partial.Create(u.hidden); err != nil {
		return nil, b.fault(0, err)
	}
	u.locked = u.file
	info, err := u.file.Stat()
	if err != nil {
		return nil, errors.Join(b.fault(0, err), u.Abort(ctx))
	}
	u.unfinished = object.Unfinished{Key: key, ID: id, Began: info.ModTime(), Owner: object.OwnerAlive}
	b.removeDead(dir)
	return u, nil
}

// upload is a hidden file that Commit renames.
type upload struct {
	*object.Digest
	ctx        context.Context
	bucket     *Bucket
	key        string
	about      object.About
	unfinished object.Unfinished
	final      string
	hidden     string
	file       *partial.File // nil when it is closed
	locked     *partial.File // nil when nobody is at work on it any more
	// placed lists what stands under its final name already, and old is what stood in the place of the attributes.
	placed []string
	old    []byte
	done   bool
}

func (u *upload) Unfinished() object.Unfinished { return u.unfinished }

func (u *upload) Write(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.Beside(p, func(p []byte) error {
		_, err := u.file.Write(p)
		return u.bucket.fault(u.Size(), err)
	})
}

func (u *upload) Commit(ctx context.Context) (object.Receipt, error) {
	for _, of := range []context.Context{ctx, u.ctx} {
		if of.Err() != nil {
			return object.Receipt{}, context.Cause(of)
		}
	}
	if err := u.publish(); err != nil {
		return object.Receipt{}, u.bucket.fault(u.Size(), err)
	}
	return object.Receipt{Size: u.Size(), SHA256: u.SHA256(), Location: u.bucket.location(u.key)}, nil
}

func (u *upload) publish() error {
	if u.file == nil {
		return fault.New("sink.upload", fault.Sink, "the upload of %q has ended", u.key)
	}
	if err := u.file.Sync(); err != nil {
		return err
	}
	err := u.file.Close()
	u.file = nil
	if err != nil {
		return err
	}
	if _, err := os.Lstat(u.hidden); errors.Is(err, fs.ErrNotExist) {
		return fault.New("sink.upload", fault.Sink, "the upload of %q was ended by somebody else, such as a sweep", u.key).WithRetry()
	}
	// First the attributes, then the object.
	if err := u.writeAttributes(); err != nil {
		return err
	}
	if err := os.Rename(u.hidden, u.final); err != nil {
		return err
	}
	u.release()
	u.placed = append(u.placed, u.final)
	if err := fsync.Directory(filepath.Dir(u.final)); err != nil {
		return err
	}
	u.done = true
	return nil
}

// release says that nobody is at work on the upload any more.
func (u *upload) release() {
	if u.locked != nil {
		u.locked.Release()
		u.locked = nil
	}
}

// attributes is the file beside an object.
type attributes struct {
	ContentType string            `json:"user.content_type"`
	Disposition string            `json:"user.content_disposition"`
	Metadata    map[string]string `json:"user.metadata"`
}

func (u *upload) writeAttributes() (err error) {
	text, err := json.Marshal(attributes{u.about.ContentType, object.Disposition(u.key, u.about), u.about.Metadata})
	if err != nil {
		return err
	}
	if u.old, err = os.ReadFile(u.final + attributesSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := u.replaceAttributes(text); err != nil {
		return err
	}
	u.placed = append(u.placed, u.final+attributesSuffix)
	return nil
}

func (u *upload) replaceAttributes(text []byte) error {
	hidden := u.hidden + attributesSuffix
	if err := os.WriteFile(hidden, text, 0o600); err != nil {
		return errors.Join(err, remove(hidden))
	}
	if err := os.Rename(hidden, u.final+attributesSuffix); err != nil {
		return errors.Join(err, remove(hidden))
	}
	return nil
}

func (u *upload) Abort(context.Context) error {
	if u.done {
		return nil
	}
	u.done = true
	defer u.release()
	var errs []error
	if u.file != nil {
		errs = append(errs, u.file.Close())
		u.file = nil
	}
	errs = append(errs, remove(u.hidden))
	for _, name := range u.placed {
		// The object that was to be replaced is still there, with what was said of it.
		if name != u.final && len(u.placed) == 1 && u.old != nil {
			errs = append(errs, u.replaceAttributes(u.old))
			continue
		}
		errs = append(errs, remove(name))
	}
	return u.bucket.fault(u.Size(), errors.Join(errs...))
}

func remove(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Stat asks about an object.
func (b *Bucket) Stat(ctx context.Context, key string) (object.Info, error) {
	file, info, err := b.Open(ctx, key, 0)
	if err == nil {
		err = file.Close()
	}
	return info, err
}

// Open reads an object from an offset on.
func (b *Bucket) Open(ctx context.Context, key string, offset int64) (io.ReadCloser, object.Info, error) {
	if ctx.Err() != nil {
		return nil, object.Info{}, context.Cause(ctx)
	}
	if err := b.open(false); err != nil {
		return nil, object.Info{}, err
	}
	path, err := b.path(key)
	if err != nil {
		return nil, object.Info{}, err
	}
	// What another program has put there, such as a pipe, must not hold us.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, object.Info{}, object.Missing(key)
	}
	if err != nil {
		return nil, object.Info{}, b.fault(0, err)
	}
	info, err := b.about(key, file)
	if err == nil && (offset < 0 || offset > info.Size) {
		err = object.BadOffset(key, info.Size, offset)
	}
	if err == nil {
		_, err = file.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, object.Info{}, b.fault(0, errors.Join(err, file.Close()))
	}
	return &reader{ctx: ctx, bucket: b, file: file, rest: info.Size - offset}, info, nil
}

// about says what is known of an open object.
func (b *Bucket) about(key string, file *os.File) (object.Info, error) {
	at, err := file.Stat()
	if err != nil {
		return object.Info{}, err
	}
	if !at.Mode().IsRegular() {
		return object.Info{}, object.Missing(key)
	}
	info := object.Info{Key: key, Size: at.Size(), Modified: at.ModTime(),
		Version: fmt.Sprintf("%x-%x", at.ModTime().UnixNano(), at.Size())}
	var of attributes
	switch text, err := os.ReadFile(file.Name() + attributesSuffix); {
	case errors.Is(err, fs.ErrNotExist):
		return info, nil // another program's
	case err != nil:
		return info, err
	default:
		if err := json.Unmarshal(text, &of); err != nil {
			return info, fault.New("sink.attributes", fault.Sink, "%s%s is not JSON of attributes: %w", b.location(key), attributesSuffix, err).
				WithHint("remove it, if the object is not one of ours")
		}
	}
	info.ContentType, info.Metadata = of.ContentType, of.Metadata
	return info, nil
}

// reader reads what the object had when it was opened: a file that has become shorter is no whole object.
type reader struct {
	ctx    context.Context
	bucket *Bucket
	file   *os.File
	rest   int64
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	if r.rest == 0 {
		return 0, io.EOF
	}
	n, err := r.file.Read(p[:min(int64(len(p)), r.rest)])
	if r.rest -= int64(n); errors.Is(err, io.EOF) {
		err = fault.New("object.read", fault.Sink, "the file %s ends %d bytes too early: something has cut it off",
			r.file.Name(), r.rest)
	}
	return n, r.bucket.fault(0, err)
}

func (r *reader) Close() error { return r.bucket.fault(0, r.file.Close()) }

// Delete removes an object and its attributes.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := b.open(false); err != nil {
		return err
	}
	path, err := b.path(key)
	if err != nil {
		return nil // no object can be there
	}
	return b.fault(0, errors.Join(remove(path), remove(path+attributesSuffix)))
}

// causes maps the errors of the system to faults. The first match counts.
var causes = []struct {
	errno               syscall.Errno
	code, message, hint string
}{
	{syscall.ENOSPC, "sink.disk_full", "no space is left on the disk", "make room, or write elsewhere"},
	{syscall.EDQUOT, "sink.disk_full", "the disk quota is used up", "make room, or write elsewhere"},
	{syscall.EFBIG, "sink.too_large", "the file would be larger than the system allows",
		"raise the limit of file sizes, or compress"},
	{syscall.EACCES, "sink.access_denied", "permission is denied", "check who owns the folder and its mode"},
	{syscall.EPERM, "sink.access_denied", "permission is denied", "check who owns the folder and its mode"},
	{syscall.EROFS, "sink.access_denied", "the file system is read-only", "write elsewhere"},
	{syscall.ENOENT, "sink.bucket_missing", "the folder does not exist",
		"create it, or add ?create_dir=true to the URL"},
	{syscall.ENOTDIR, "sink.bucket_missing", "a part of the path is not a folder", "correct the path"},
	{syscall.EEXIST, object.CodeKey, "a folder or a file of that name is in the way", "choose another key"},
}

// fault codes an error of the file system; nil stays nil.
func (b *Bucket) fault(bytes int64, err error) error {
	var coded *fault.Fault
	if err == nil || errors.As(err, &coded) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	progress := ""
	if bytes > 0 {
		progress = fmt.Sprintf(" after %d bytes", bytes)
	}
	for _, c := range causes {
		if errors.Is(err, c.errno) {
			return fault.New(c.code, fault.Sink, "the bucket %s: %s%s (%w)", b.root, c.message, progress, err).
				WithHint("%s", c.hint)
		}
	}
	return fault.New("sink.upload", fault.Sink, "the bucket %s: the system reports an error%s: %w", b.root, progress,
		err)
}
