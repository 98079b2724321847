package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"

	"github.com/cipherstream/cipherstream/plugins/internal/lasting"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// attributes ends the name of the file beside an object in which fileblob keeps what it knows
// about it. Files of that name are not objects, so an unfinished upload bears it too: a
// listing of the bucket does not show it.
const attributes = ".attrs"

// folder is a bucket that is a directory, as fileblob lays it out. Objects are written
// by this package: fileblob hashes everything with MD5 on the way, and does not synchronise
// to the disk.
type folder struct {
	root   string
	create bool
	signer *fileblob.URLSignerHMAC
}

func newFolder(s Settings, root string, create bool) (*folder, error) {
	f := &folder{root: root, create: create}
	secret := s.LinkSecret.Reveal()
	switch {
	case secret == "" && s.LinkBaseURL == "":
		return f, nil
	case secret == "" || s.LinkBaseURL == "":
		return nil, fault.New("sink.link", fault.Usage, "a link to a folder needs both link_secret and link_base_url")
	case len(secret) < 16:
		return nil, fault.New("sink.link", fault.Usage, "link_secret has %d bytes; it needs at least 16", len(secret)).
			WithHint("make one with: openssl rand -hex 32")
	}
	base, err := url.Parse(s.LinkBaseURL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fault.New("sink.link", fault.Usage, "link_base_url is not an http or https URL")
	}
	f.signer = fileblob.NewURLSignerHMAC(base, []byte(secret))
	return f, nil
}

// bucket opens the folder as a bucket.
func (f *folder) bucket() (*blob.Bucket, error) {
	b, err := fileblob.OpenBucket(f.root, &fileblob.Options{NoTempDir: true, CreateDir: f.create, DirFileMode: 0o700})
	if err != nil {
		return nil, folderFault(f.root, 0, err)
	}
	return b, nil
}

func (f *folder) location(key string) string {
	return (&url.URL{Scheme: "file", Path: filepath.Join(f.root, filepath.FromSlash(key))}).String()
}

func (f *folder) link(ctx context.Context, o object, ttl time.Duration) (string, time.Time, error) {
	if f.signer == nil {
		return "", time.Time{}, nil
	}
	b, err := fileblob.OpenBucket(f.root, &fileblob.Options{URLSigner: f.signer})
	if err != nil {
		return "", time.Time{}, folderFault(f.root, 0, err)
	}
	defer b.Close()
	now := time.Now()
	if left := o.expires.Sub(now); !o.expires.IsZero() && left < ttl {
		ttl = left
	}
	link, err := b.SignedURL(ctx, o.key, &blob.SignedURLOptions{Expiry: ttl})
	if err != nil {
		return "", time.Time{}, fault.New("sink.link", fault.Sink, "no link could be signed: %w", err)
	}
	return link, now.Add(ttl).UTC().Truncate(time.Second), nil
}

func (f *folder) connection() string { return "" }

func (f *folder) close() {}

func (f *folder) start(_ context.Context, o object) (upload, error) {
	if b, err := f.bucket(); err != nil {
		return nil, err
	} else if err := b.Close(); err != nil {
		return nil, folderFault(f.root, 0, err)
	}
	final := filepath.Join(f.root, filepath.FromSlash(o.key))
	dir, name := filepath.Split(final)
	if info, err := os.Stat(final); err == nil && !info.Mode().IsRegular() {
		return nil, fault.New("sink.key", fault.Usage, "%s exists and is not a file (%s)", f.location(o.key), info.Mode().Type())
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, folderFault(f.root, 0, err)
	}
	u := &fileUpload{folder: f, object: o, final: final, hidden: filepath.Join(dir, "."+name+"."+o.metadata[metaUpload]+attributes)}
	var err error
	// It holds health data: the owner alone reads it.
	if u.file, err = os.OpenFile(u.hidden, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, folderFault(f.root, 0, err)
	}
	return u, nil
}

// fileUpload is a hidden file that commit renames.
type fileUpload struct {
	folder *folder
	object object
	final  string
	hidden string
	file   *os.File
	bytes  int64
	// placed lists what stands under its final name already.
	placed []string
	done   bool
}

func (u *fileUpload) write(_ context.Context, p []byte) error {
	n, err := u.file.Write(p)
	u.bytes += int64(n)
	return folderFault(u.folder.root, u.bytes, err)
}

func (u *fileUpload) commit(context.Context, []byte) (string, error) {
	return "", folderFault(u.folder.root, u.bytes, u.publish())
}

func (u *fileUpload) publish() error {
	if err := u.file.Sync(); err != nil {
		return err
	}
	err := u.file.Close()
	u.file = nil
	if err != nil {
		return err
	}
	// As fileblob does it: first the attributes, then the object.
	if err := u.writeAttributes(); err != nil {
		return err
	}
	if err := os.Rename(u.hidden, u.final); err != nil {
		return err
	}
	u.placed = append(u.placed, u.final)
	if err := lasting.Sync(filepath.Dir(u.final)); err != nil {
		return err
	}
	u.done = true
	return nil
}

// writeAttributes writes the file from which fileblob answers for the object's attributes.
func (u *fileUpload) writeAttributes() error {
	text, err := json.Marshal(map[string]any{
		"user.content_type":        u.object.contentType,
		"user.content_encoding":    u.object.contentEncoding,
		"user.content_disposition": u.object.disposition,
		"user.content_language":    "",
		"user.cache_control":       "",
		"user.metadata":            u.object.metadata,
		"md5":                      nil,
	})
	if err != nil {
		return err
	}
	hidden := u.hidden + attributes
	if err := os.WriteFile(hidden, text, 0o600); err != nil {
		return errors.Join(err, remove(hidden))
	}
	if err := os.Rename(hidden, u.final+attributes); err != nil {
		return errors.Join(err, remove(hidden))
	}
	u.placed = append(u.placed, u.final+attributes)
	return nil
}

func (u *fileUpload) abort(context.Context) error {
	if u.done {
		return nil
	}
	u.done = true
	var errs []error
	if u.file != nil {
		errs = append(errs, u.file.Close())
		u.file = nil
	}
	errs = append(errs, remove(u.hidden))
	for _, name := range u.placed {
		errs = append(errs, remove(name))
	}
	return folderFault(u.folder.root, u.bytes, errors.Join(errs...))
}

func remove(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// folderCauses maps the errors of the system to faults. The first match counts.
var folderCauses = []struct {
	errno               syscall.Errno
	code, message, hint string
}{
	{syscall.ENOSPC, "sink.disk_full", "no space is left on the disk", "make room, or write elsewhere"},
	{syscall.EDQUOT, "sink.disk_full", "the disk quota is used up", "make room, or write elsewhere"},
	{syscall.EFBIG, "sink.too_large", "the file would be larger than the system allows", "raise the limit of file sizes, or compress"},
	{syscall.EACCES, "sink.access_denied", "permission is denied", "check who owns the folder and its mode"},
	{syscall.EPERM, "sink.access_denied", "permission is denied", "check who owns the folder and its mode"},
	{syscall.EROFS, "sink.access_denied", "the file system is read-only", "write elsewhere"},
	{syscall.ENOENT, "sink.bucket_missing", "the folder does not exist", "create it, or add ?create_dir=true to the URL"},
	{syscall.ENOTDIR, "sink.bucket_missing", "a part of the path is not a folder", "correct the path"},
	{syscall.EEXIST, "sink.key", "a folder or a file of that name is in the way", "choose another key"},
}

// folderFault codes an error of the file system; nil stays nil.
func folderFault(root string, bytes int64, err error) error {
	var coded *fault.Fault
	if err == nil || errors.As(err, &coded) {
		return err
	}
	progress := ""
	if bytes > 0 {
		progress = fmt.Sprintf(" after %d bytes", bytes)
	}
	for _, c := range folderCauses {
		if errors.Is(err, c.errno) {
			return fault.New(c.code, fault.Sink, "the bucket %s: %s%s (%w)", root, c.message, progress, err).WithHint("%s", c.hint)
		}
	}
	if info, statErr := os.Stat(root); statErr == nil && !info.IsDir() {
		return fault.New("sink.bucket_missing", fault.Sink, "the bucket %s is not a folder", root).WithHint("correct the path")
	}
	return fault.New("sink.upload", fault.Sink, "the bucket %s: writing failed%s: %w", root, progress, err)
}

// unfinished is the name of an upload that commit did not come to, or of its attributes; see
// start and writeAttributes. Between the name of the object and the ending stands what
// rand.Text gives.
var unfinished = regexp.MustCompile(`^\.(.+)\.[A-Z2-7]{26}(\.attrs){1,2}$`)

// abandoned removes unfinished uploads that are older than that, of objects whose names begin
// with the prefix. What merely looks hidden is somebody else's.
func (f *folder) abandoned(prefix string, before time.Time) (n int, err error) {
	root, err := filepath.EvalSymlinks(f.root)
	if err != nil {
		return 0, folderFault(f.root, 0, err)
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		parts := unfinished.FindStringSubmatch(d.Name())
		if parts == nil {
			return nil
		}
		within, err := filepath.Rel(root, filepath.Join(filepath.Dir(path), parts[1]))
		if err != nil || !strings.HasPrefix(filepath.ToSlash(within), prefix) {
			return err
		}
		// Another program's object may be called so; these are its attributes.
		if _, err := os.Lstat(strings.TrimSuffix(path, attributes)); err == nil && filepath.Ext(strings.TrimSuffix(path, attributes)) != attributes {
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another sweep was faster, or the upload has ended
		}
		if err != nil || !info.ModTime().Before(before) {
			return err
		}
		n++
		return remove(path)
	})
	return n, folderFault(f.root, 0, err)
}
