// Package job is the sink stage that delivers the object of a background job to a
// bucket: a folder, or S3 and what speaks its protocol, such as MinIO. It owns the
// settings of a bucket, the name, the metadata and the link of an object, and the
// sweep that removes objects whose time is over. How an object gets into a bucket is
// the stores' matter, in the folders below; it never changes a byte, and never puts
// credentials into a message.
package job

import (
	"context"
	"encoding/hex"
	"log/slog"
	"time"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// Settings are the settings of the stage.
type Settings struct {
	Bucket           string        `config:"bucket,required" doc:"URL of the bucket: file:///DIRECTORY (with ?create_dir=true it is made), or s3://NAME with the parameters region, endpoint (URL of another service than Amazon's), use_path_style=true (MinIO), tls=none (allows http:// to another machine) and tls_pin=sha256:… (takes the one certificate whose public key has that SHA-256)."`
	Key              string        `config:"key" doc:"Name of the object; slashes make folders. The default is the run's id, the attempt and the extension of the format: RUN.1.ndjson."`
	Attempt          int           `config:"attempt" default:"1" min:"1" doc:"Which attempt of the run this is. It is part of the default name, so that an attempt that was thought dead cannot replace what a later one has delivered."`
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

The object has the media type of the format and no content coding, so that its size, ranges and SHA-256 are those of the
bytes: what is compressed says so by its name. It has a file name for who saves it, and the metadata cipherstream-run (id of the run) and
cipherstream-expires (when the sweep may remove it). The receipt has its size, SHA-256, location and, for S3, a presigned link
with its real expiry: not later than the credentials or the object end.

The object in S3 is looked at before the receipt says that it is there: its size, and its SHA-256 by parts where the store keeps
one. The receipt's fact verified says which (size, size+composite sha256), and the fact connection how the way was protected. An object that is not encrypted as
was asked is no success.`

// Stage defines the sink.
func Stage() sdk.Definition {
	return sdk.DefineSink(sdk.About{
		Name:    "job",
		Summary: "Delivers an object to a folder or to S3.",
		Doc:     doc,
	}, func(s Settings, env sdk.Env) (sdk.Sink, error) { return newSink(s, env) })
}

// Facts in the receipt.
const (
	// factVerified is what was looked at of the object in S3 when it was there.
	factVerified = "verified"
	// factConnection is how the way to it was protected.
	factConnection = "connection"
)

type sink struct {
	settings Settings
	log      *slog.Logger
	fact     func(name, value string)
	to       object.Bucket
	now      func() time.Time
	// announcer tells the host of an upload, and release that it is over.
	announcer func(context.Context, sdk.Resource) (release func(), err error)
	release   func()

	key     string
	expires time.Time // zero: never
	upload  object.Upload
	// writes is the context of the upload's writes, which outlive the calls that they were begun in.
	writes    context.Context
	stop      context.CancelCauseFunc
	committed bool
}

func newSink(s Settings, env sdk.Env) (*sink, error) {
	k := &sink{settings: s, log: env.Log, fact: env.Fact, now: time.Now, announcer: env.Announce}
	if k.fact == nil {
		k.fact = func(string, string) {}
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if s.Key != "" {
		if err := object.CheckKey(s.Key); err != nil {
			return nil, err
		}
	}
	if s.Retention > 0 && s.LinkTTL > s.Retention {
		return nil, fault.New("sink.link_ttl", fault.Usage, "the link is to live %s, and the object %s", s.LinkTTL, s.Retention).
			WithHint("lower link_ttl or raise retention")
	}
	var err error
	k.to, err = OpenBucket(s)
	return k, err
}

func (s *sink) Open(ctx context.Context, o sdk.Object) error {
	about := object.About{ContentType: o.Media.Type, Metadata: map[string]string{object.MetaRun: o.RunID}}
	s.key = s.settings.Key
	if s.key == "" {
		s.key = object.Key(o.RunID, s.settings.Attempt, o.Media.Extension)
		about.FileName = object.FileName(o.RunID, o.Media.Extension)
	}
	if s.settings.Retention > 0 {
		s.expires = s.now().Add(s.settings.Retention).UTC().Truncate(time.Second)
		about.Metadata[object.MetaExpires] = s.expires.Format(time.RFC3339)
	}
	s.writes, s.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	defer s.boundWrites(ctx)()
	if err := s.begin(ctx, o.RunID, about); err != nil {
		s.close()
		return err
	}
	return nil
}

// begin begins the upload, which the host knows of before it is there, and by its ID before the first byte.
func (s *sink) begin(ctx context.Context, runID string, about object.About) error {
	of := begun{Place: placeOf(s.settings.Bucket), Key: s.key, Run: runID, Own: s.settings.Key == ""}
	over, err := s.announce(ctx, of)
	if err != nil {
		return err
	}
	up, err := s.to.Create(s.writes, s.key, about)
	if err != nil {
		if ctx.Err() == nil {
			over() // otherwise the answer may not have been waited for
		}
		return err
	}
	s.upload = up
	of.ID = up.Unfinished().ID
	if s.release, err = s.announce(ctx, of); err != nil {
		if s.upload.Abort(ctx) == nil {
			over()
		}
		s.upload = nil
		return err
	}
	over()
	return nil
}

// boundWrites ends the writes when ctx ends, until release is called. Each call of the sink binds them to its own
// context, because the upload goes on from call to call.
func (s *sink) boundWrites(ctx context.Context) (release func() bool) {
	return context.AfterFunc(ctx, func() { s.stop(context.Cause(ctx)) })
}

func (s *sink) Write(ctx context.Context, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer s.boundWrites(ctx)()
	_, err := s.upload.Write(p)
	return err
}

// link signs a link. It ends when the credentials or the object do, if that is earlier.
func (s *sink) link(ctx context.Context) (object.Link, error) {
	if s.settings.LinkTTL == 0 {
		return object.Link{}, nil
	}
	now := s.now()
	link, err := s.to.Link(ctx, s.key, object.LinkRequest{TTL: s.settings.LinkTTL, Until: s.expires})
	if lives := link.Expires.Sub(now); err == nil && link.URL != "" && lives < s.settings.LinkTTL-time.Minute {
		s.log.Warn("the link lives shorter than asked for: the credentials or the object end first", "asked",
			s.settings.LinkTTL, "lives", lives)
	}
	return link, err
}

func (s *sink) Commit(ctx context.Context) (sdk.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return sdk.Receipt{}, err
	}
	// A link is a matter of the own clock and the own key. Made before the object is visible, its failure is one
	// of the run.
	link, err := s.link(ctx)
	if err != nil {
		return sdk.Receipt{}, err
	}
	made, err := s.upload.Commit(ctx)
	if err != nil {
		return sdk.Receipt{}, err
	}
	s.committed = true
	s.release()
	for name, value := range map[string]string{factVerified: made.Verified, factConnection: made.Connection} {
		if value != "" {
			s.fact(name, value)
		}
	}
	s.close()
	return sdk.Receipt{SHA256: hex.EncodeToString(made.SHA256[:]), Bytes: made.Size, Location: made.Location,
		Link: link.URL, LinkExpires: link.Expires}, nil
}

// Abort works on a cancelled context too.
func (s *sink) Abort(ctx context.Context) error {
	if s.committed || s.upload == nil {
		return nil
	}
	err := s.upload.Abort(ctx)
	if err == nil {
		s.release() // the host tries once more otherwise
	}
	s.close()
	return err
}

func (s *sink) close() {
	s.stop(nil)
	if err := s.to.Close(); err != nil {
		s.log.Warn("the bucket was not closed properly", "err", err)
	}
}
