// Package job is the sink stage that delivers the object of a background job to a
// bucket of the Go CDK (gocloud.dev/blob): a folder, or S3 and what speaks its
// protocol, such as MinIO. It owns the two phases of an upload, its parts and its
// digest, the metadata of the object, the link to it, and the sweep that removes
// objects whose time is over. It never changes a byte, holds a few parts in memory
// whatever the size of the object, and never puts credentials into a message.
package job

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"log/slog"
	"mime"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of the stage.
type Settings struct {
	Bucket           string        `config:"bucket,required" doc:"URL of the bucket: file:///DIRECTORY (with ?create_dir=true it is made), or s3://NAME with the parameters region, endpoint (URL of another service than Amazon's), use_path_style=true (MinIO), tls=none (allows http:// to another machine) and tls_pin=sha256:… (takes the one certificate whose public key has that SHA-256)."`
	Key              string        `config:"key" doc:"Name of the object; slashes make folders. The default is the run's id with the extension of the format."`
	AccessKeyID      config.Secret `config:"access_key_id" kind:"identity" doc:"Access key for s3. Without it the SDK's own chain is asked, which on a cloud machine finds the role of the machine; the environment of the host is not seen."`
	SecretAccessKey  config.Secret `config:"secret_access_key" kind:"token" doc:"Secret of the access key."`
	SessionToken     config.Secret `config:"session_token" kind:"identity" doc:"Token of temporary credentials; with it, credentials_expire is needed for a link."`
	CredentialsUntil string        `config:"credentials_expire" doc:"When the credentials end (RFC 3339): a link cannot live longer than the credentials that signed it."`
	Encryption       string        `config:"encryption" enum:"none,AES256,aws:kms" default:"none" doc:"Server-side encryption of the object in S3; none leaves it to the bucket's default."`
	KMSKey           string        `config:"kms_key" doc:"Id of the key for aws:kms; the default is the account's own."`
	Buffer           config.Size   `config:"buffer" default:"8MiB" min:"5MiB" max:"256MiB" doc:"Size of the first thousand parts of an upload to S3; it doubles with every further thousand. Three parts are held in memory."`
	LinkTTL          time.Duration `config:"link_ttl" default:"12h" min:"0s" doc:"How long the link in the receipt works, at most seven days in S3; 0s for none."`
	LinkSecret       config.Secret `config:"link_secret" kind:"signing" doc:"Secret that signs links to objects in a folder (HMAC-SHA256); without it they have none."`
	LinkBaseURL      string        `config:"link_base_url" doc:"URL under which objects in a folder are served; the name and the signature are added as parameters."`
	Retention        time.Duration `config:"retention" default:"24h" min:"0s" doc:"After what time the sweep may remove the object; 0s keeps it for ever."`
	Timeout          time.Duration `config:"timeout" default:"2m" min:"1s" doc:"Longest wait for one request, such as the upload of one part. A request is tried five times."`
}

const doc = `The object appears under its name when the run has succeeded, and not before: in a folder a hidden file is renamed, in S3
a multipart upload is completed. A run that fails leaves no file and no upload behind. An
object of that name is replaced.

The object has the media type and the content coding of the format, and the metadata cipherstream-run (id of the run) and
cipherstream-expires (when the sweep may remove it). The receipt has its size, SHA-256, location and, for S3, a presigned link
with its real expiry: not later than the credentials or the object end.

The object in S3 is looked at before the receipt says that it is there: its size, and its SHA-256 by parts where the store keeps
one. The receipt's fact verified says which (size, size+composite sha256), and the fact connection how the way was protected.`

// Stage defines the sink.
func Stage() sdk.Definition {
	return sdk.DefineSink(sdk.About{
		Name:    "job",
		Summary: "Delivers an object to a folder or to S3.",
		Doc:     doc,
	}, func(s Settings, env sdk.Env) (sdk.Sink, error) { return newSink(s, env) })
}

// Keys of the metadata of an object.
const (
	// MetaRun is the id of the run that made the object.
	MetaRun = "cipherstream-run"
	// MetaExpires is when the object may be removed (RFC 3339, UTC). Objects without it are kept.
	MetaExpires = "cipherstream-expires"
	// metaUpload tells one attempt from another of the same run.
	metaUpload = "cipherstream-upload"
)

// Facts in the receipt.
const (
	// factVerified is what was looked at of the object in S3 when it was there.
	factVerified = "verified"
	// factConnection is how the way to it was protected.
	factConnection = "connection"
)

// object is what an upload is told about the object.
type object struct {
	key             string
	runID           string
	contentType     string
	contentEncoding string
	disposition     string
	metadata        map[string]string
	expires         time.Time // zero: never
}

// upload is an object on its way. Errors are coded, except for the context's own.
type upload interface {
	// write takes p, and may take it later than it returns. It must not keep p.
	write(ctx context.Context, p []byte) error
	// commit makes the object visible, whose SHA-256 is sum, and returns what of it was then looked at; empty
	// where there was nothing to ask.
	commit(ctx context.Context, sum []byte) (verified string, err error)
	// abort removes every trace, of a commit that failed too. It works on a cancelled
	// context, and more than once.
	abort(ctx context.Context) error
}

// target is a bucket.
type target interface {
	start(ctx context.Context, o object) (upload, error)
	location(key string) string
	// link returns a URL and its end, or nothing. ttl is above 0.
	link(ctx context.Context, o object, ttl time.Duration) (string, time.Time, error)
	// connection says how what is sent is protected on its way; empty where it is not sent.
	connection() string
	close()
}

type sink struct {
	settings Settings
	log      *slog.Logger
	fact     func(name, value string)
	to       target
	now      func() time.Time

	object    object
	upload    upload
	sum       hash.Hash
	bytes     int64
	committed bool
}

func newSink(s Settings, env sdk.Env) (*sink, error) {
	k := &sink{settings: s, log: env.Log, fact: env.Fact, now: time.Now, sum: sha256.New()}
	if k.fact == nil {
		k.fact = func(string, string) {}
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if s.Key != "" {
		if err := checkKey(s.Key); err != nil {
			return nil, err
		}
	}
	if s.Retention > 0 && s.LinkTTL > s.Retention {
		return nil, fault.New("sink.link_ttl", fault.Usage, "the link is to live %s, and the object %s", s.LinkTTL, s.Retention).
			WithHint("lower link_ttl or raise retention")
	}
	var err error
	k.to, err = openTarget(s, k.log)
	return k, err
}

// maxKey is the most bytes in the name of an object in S3.
const maxKey = 1024

// checkKey refuses names that a folder or S3 would have to spell differently.
func checkKey(key string) error {
	bad := func(why string) error {
		return fault.New("sink.key", fault.Usage, "%q is no name for an object: %s", key, why).
			WithHint("use letters, digits, - _ . and single slashes between them")
	}
	switch {
	case key == "" || len(key) > maxKey:
		return bad("it has 1 to 1024 bytes")
	case !utf8.ValidString(key):
		return bad("it must be valid UTF-8")
	case strings.HasPrefix(key, "/") || strings.HasSuffix(key, "/") || strings.Contains(key, "//"):
		return bad("no part of it between slashes may be empty")
	case strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }):
		return bad("it holds a control character or a backslash")
	case strings.Contains(key, "__0x"):
		return bad("__0x marks escaped characters in a folder")
	}
	for _, part := range strings.Split(key, "/") {
		switch {
		case part == "." || part == "..":
			return bad("no part of it may be . or ..")
		case strings.HasSuffix(part, attributes) || strings.HasPrefix(part, "."):
			return bad("names with a dot in front, or " + attributes + " behind, are kept for other things")
		case len(part) > 200:
			return bad("a part between slashes has at most 200 bytes")
		}
	}
	return nil
}

func (s *sink) Open(ctx context.Context, o sdk.Object) error {
	key := s.settings.Key
	if key == "" {
		key = o.RunID + o.Media.Extension
		if err := checkKey(key); err != nil {
			return err
		}
	}
	s.object = object{
		key:             key,
		runID:           o.RunID,
		contentType:     o.Media.Type,
		contentEncoding: o.Media.ContentEncoding,
		disposition:     mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(key)}),
		metadata:        map[string]string{MetaRun: o.RunID, metaUpload: rand.Text()},
	}
	if s.settings.Retention > 0 {
		s.object.expires = s.now().Add(s.settings.Retention).UTC().Truncate(time.Second)
		s.object.metadata[MetaExpires] = s.object.expires.Format(time.RFC3339)
	}
	up, err := s.to.start(ctx, s.object)
	if err != nil {
		s.to.close()
		return err
	}
	s.upload = up
	return nil
}

// parallelHash is the size from which a second core is worth waking up to hash.
const parallelHash = 64 << 10

func (s *sink) Write(ctx context.Context, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(p) < parallelHash {
		s.sum.Write(p)
		s.bytes += int64(len(p))
		return s.upload.write(ctx, p)
	}
	hashed := make(chan struct{})
	go func() {
		s.sum.Write(p)
		close(hashed)
	}()
	err := s.upload.write(ctx, p)
	<-hashed
	s.bytes += int64(len(p))
	return err
}

func (s *sink) Commit(ctx context.Context) (sdk.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return sdk.Receipt{}, err
	}
	sum := s.sum.Sum(nil)
	receipt := sdk.Receipt{SHA256: hex.EncodeToString(sum), Bytes: s.bytes, Location: s.to.location(s.object.key)}
	// A link is a matter of the own clock and the own key. Made before the object is visible, its failure is one
	// of the run.
	if s.settings.LinkTTL > 0 {
		var err error
		if receipt.Link, receipt.LinkExpires, err = s.to.link(ctx, s.object, s.settings.LinkTTL); err != nil {
			return sdk.Receipt{}, err
		}
	}
	verified, err := s.upload.commit(ctx, sum)
	if err != nil {
		return sdk.Receipt{}, err
	}
	s.committed = true
	for name, value := range map[string]string{factVerified: verified, factConnection: s.to.connection()} {
		if value != "" {
			s.fact(name, value)
		}
	}
	s.to.close()
	return receipt, nil
}

// Abort works on a cancelled context too.
func (s *sink) Abort(ctx context.Context) error {
	if s.committed || s.upload == nil {
		return nil
	}
	err := s.upload.abort(ctx)
	s.to.close()
	return err
}
