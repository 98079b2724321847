// Package object is what a place for objects is to those who use one: the job sink and a service write, read, link to
// and remove objects through it, and do not see whether they lie in S3, in a folder or in memory. It owns the
// interface, the rules of names and what an upload counts; it holds no library of any store, and never decides which
// object is kept.
//
// An object is a whole: nobody sees it before Commit, and it never changes after. Its bytes are what was written; no
// content coding is undone or announced, so that size, ranges and SHA-256 are those of the bytes in the store.
//
// Package objecttest holds what every implementation is tried with.
package object

import (
	"context"
	"io"
	"iter"
	"time"
)

// Store holds objects by their keys. Its methods may be called at the same time. Errors are coded (package fault),
// except for the ends of contexts, which come as they are.
type Store interface {
	// Create begins an object; CheckKey says which keys are taken. It finds out whether the store can be written to. An
	// object of that key is replaced at Commit. The end of ctx ends the writes of the upload, too; Commit and Abort
	// have contexts of their own.
	Create(ctx context.Context, key string, about About) (Upload, error)
	// Open reads an object from an offset on, to its end. The offset may be the size, where nothing is left; one beyond
	// is CodeOffset, and a missing object CodeMissing. A read that breaks off is a fault, never an end: who opens again
	// at the offset that was reached has to compare Info.Version, because another object may have taken the key. The
	// end of ctx ends the reads.
	Open(ctx context.Context, key string, offset int64) (io.ReadCloser, Info, error)
	// Link signs a URL with which anybody reads the object, without asking whether it is there. A store that can sign
	// none returns the zero Link.
	Link(ctx context.Context, key string, request LinkRequest) (Link, error)
	// Delete removes an object. One that is not there is no error.
	Delete(ctx context.Context, key string) error
}

// Lister is what a sweep needs of a store.
type Lister interface {
	// List gives the objects whose keys begin with the prefix, in no order that counts. It ends after an error. Info
	// has Key and Size, and perhaps more; Stat has all. What is written or removed meanwhile may be missing.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Stat asks about an object. A missing one is CodeMissing.
	Stat(ctx context.Context, key string) (Info, error)
	// Uploads gives what Create began and neither Commit nor Abort ended, whichever process did so; otherwise as List.
	Uploads(ctx context.Context, prefix string) iter.Seq2[Unfinished, error]
	// AbortUpload ends an upload of another process, whose Commit then fails. One that has ended is no error.
	AbortUpload(ctx context.Context, upload Unfinished) error
}

// Bucket is all that a store can do. Who uses one takes the part that it needs.
type Bucket interface {
	Store
	Lister
	// Close gives up connections. Uploads and readers must have ended.
	Close() error
}

// About is what is said of an object when it begins.
type About struct {
	// ContentType is the media type of the bytes.
	ContentType string
	// FileName is the name under which it is saved by who follows a link; empty for the last part of the key.
	FileName string
	// Metadata are further facts, such as MetaRun. Names are lower-case letters, digits and hyphens; values are
	// printable ASCII.
	Metadata map[string]string
}

// Names in About.Metadata that mean the same in every store.
const (
	// MetaRun is the id of the run that made the object.
	MetaRun = "cipherstream-run"
	// MetaExpires is when a sweep may remove the object (RFC 3339, UTC). Objects without it are kept.
	MetaExpires = "cipherstream-expires"
)

// Upload is an object on its way. It is used by one goroutine at a time, and ended by Commit, by Abort or by both.
type Upload interface {
	// Write takes p, and may take it later than it returns, so that an error may be that of an earlier write. It does
	// not keep p. After an error only Abort is left.
	io.Writer
	// Commit makes the object visible, whole, and looks whether the store has what it was given. After an error
	// nothing is promised to be gone until Abort has returned.
	Commit(ctx context.Context) (Receipt, error)
	// Abort removes every trace of the upload, of a Commit that failed too. It does nothing after a Commit that
	// succeeded, works on a context that has ended, and may be called more than once.
	Abort(ctx context.Context) error
	// Unfinished is what another process ends the upload with; see Lister.AbortUpload.
	Unfinished() Unfinished
}

// Receipt says what Commit has made.
type Receipt struct {
	// Size and SHA256 are those of the bytes that were written.
	Size   int64
	SHA256 [32]byte
	// Location is a URL without credentials: s3://BUCKET/KEY, file:///PATH.
	Location string
	// Verified says what of the object in the store was then compared with what was written: "size",
	// "size+composite sha256" or "size+sha256"; empty where there is nobody to ask.
	Verified string
	// Connection says how the way to the store was protected; empty where there is none.
	Connection string
}

// Info is what a store says of an object.
type Info struct {
	Key  string
	Size int64
	// Modified is when it was made.
	Modified time.Time
	// Version tells one object of a key from another, as the ETag does in HTTP. It is not a digest.
	Version     string
	ContentType string
	Metadata    map[string]string
}

// Unfinished is an upload that has not ended.
type Unfinished struct {
	Key string
	// ID tells it from others of that key. Only the store understands it.
	ID string
	// Began is when it was begun, or last written to.
	Began time.Time
	// Owner says whether somebody is at work on it; OwnerUnknown where the store cannot tell.
	Owner Owner
}

// Owner says whether the process that began an upload is still at work on it.
type Owner int

// The owners. Of OwnerUnknown only the age of the upload tells something.
const (
	OwnerUnknown Owner = iota
	OwnerAlive
	OwnerDead
)

// LinkRequest is what is wanted of a link.
type LinkRequest struct {
	// TTL is how long it should work.
	TTL time.Duration
	// Until is when it has to end at the latest, with the object; zero if the object stays.
	Until time.Time
	// Now is the time, where this machine's clock may be another; zero is this machine's.
	Now time.Time
	// FileName and ContentType replace those of the object for who follows the link.
	FileName    string
	ContentType string
}

// Link is a signed URL.
type Link struct {
	URL string
	// Expires is when it really ends, which may be earlier than was asked for: with the credentials that signed it.
	Expires time.Time
}
