// Package s3 is a store of objects in a bucket of S3, or of a service that speaks its protocol, such as MinIO. It owns
// the client and what it may take from a server, the parts of an upload, what is compared after it, and presigned
// links. It holds a few parts in memory whatever the size of an object, and never puts credentials into a message.
package s3

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

const (
	defaultRegion  = "us-east-1"
	defaultPart    = 8 << 20
	minPart        = 5 << 20
	defaultTimeout = 2 * time.Minute
	// maxLink is the longest life that Signature Version 4 gives to a URL.
	maxLink = 7 * 24 * time.Hour
	// Attempts is how often a request is tried, and maxBackoff the longest wait between.
	Attempts   = 5
	maxBackoff = 10 * time.Second
)

// Options say which bucket it is and how it is used.
type Options struct {
	// Name is that of the bucket.
	Name string
	// Region is us-east-1 by default.
	Region string
	// Endpoint is the URL of another service than Amazon's.
	Endpoint string
	// PathStyle puts the bucket's name into the path instead of the host.
	PathStyle bool
	// TLS is empty, or "none", which allows http:// to another machine.
	TLS string
	// TLSPin is empty, or sha256: and the SHA-256 in hexadecimal of the one public key that is taken.
	TLSPin string

	// AccessKeyID, SecretAccessKey and SessionToken are given credentials. Without them the SDK's own chain is asked.
	AccessKeyID, SecretAccessKey, SessionToken string
	// CredentialsUntil is when given credentials end; zero if it is not known.
	CredentialsUntil time.Time

	// Encryption is that of the server's side: AES256, aws:kms, or none, which leaves it to the bucket. What was asked
	// for has to be so when the object is there. Empty is none.
	Encryption string
	// KMSKey is the key for aws:kms; empty for the account's own.
	KMSKey string
	// PartSize is that of the first thousand parts, at least 5 MiB and 8 MiB by default; it doubles with every further
	// thousand. Three parts of an upload are held in memory.
	PartSize int64
	// LinkTTL is how long links are going to be wanted, 0 for none: what cannot be had is then refused by New and by
	// Create, and not when all bytes have flowed.
	LinkTTL time.Duration
	// Timeout is the longest wait for one request, such as the upload of one part, or for the next bytes of an object.
	// A request is tried five times. Two minutes by default.
	Timeout time.Duration
	// MaxBackoff is the longest wait before a request is tried again; ten seconds by default.
	MaxBackoff time.Duration
}

// Bucket is a bucket of S3, or of a service that speaks its protocol.
type Bucket struct {
	Options
	protection *protection

	connecting  sync.Mutex
	transport   *http.Transport
	credentials aws.CredentialsProvider
	client      *s3.Client
}

// New returns a bucket whose options can be. It does not reach out yet; Options may be changed until something does.
func New(o Options) (*Bucket, error) {
	o.Region = cmp.Or(o.Region, defaultRegion)
	o.PartSize = max(cmp.Or(o.PartSize, defaultPart), minPart)
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, maxBackoff)
	b := &Bucket{Options: o}
	var err error
	if b.protection, err = parseProtection(o.Endpoint, o.TLS, o.TLSPin); err != nil {
		return nil, err
	}
	if (o.AccessKeyID == "") != (o.SecretAccessKey == "") {
		return nil, fault.New("sink.credentials", fault.Usage, "access_key_id and secret_access_key come together, and one of them is missing")
	}
	if o.KMSKey != "" && o.Encryption != "aws:kms" {
		return nil, fault.New("sink.encryption", fault.Usage, "kms_key is set, and encryption is %s", o.Encryption).
			WithHint("set encryption: aws:kms")
	}
	if o.LinkTTL > maxLink {
		return nil, fault.New("sink.link_ttl", fault.Usage, "a link of %s is asked for; S3 signs none beyond seven days", o.LinkTTL).
			WithHint("set link_ttl to 168h or less")
	}
	if o.LinkTTL > 0 && o.LinkTTL < time.Second {
		return nil, fault.New("sink.link_ttl", fault.Usage, "a link of %s is asked for; S3 counts in seconds", o.LinkTTL)
	}
	if o.SessionToken != "" && o.CredentialsUntil.IsZero() && o.LinkTTL > 0 {
		return nil, fault.New("sink.link_ttl", fault.Usage,
			"the credentials are temporary and nothing says until when, so the end of a link is not known").
			WithHint("set credentials_expire, or link_ttl: 0s for no link")
	}
	return b, nil
}

// connect makes the client and asks for the credentials, once.
func (b *Bucket) connect(ctx context.Context) error {
	b.connecting.Lock()
	defer b.connecting.Unlock()
	if b.client != nil {
		return nil
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           b.protection.dialer().DialContext,
		TLSClientConfig:       b.protection.tls(),
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   inFlight + 1,
		IdleConnTimeout:       90 * time.Second,
		ForceAttemptHTTP2:     true,
		// What a server says is read to a bound; see bounded.
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true,
	}
	cfg := aws.Config{
		Region:     b.Region,
		HTTPClient: client{request: b.httpClient(transport, b.Timeout), content: b.httpClient(transport, 0)},
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.MaxBackoff = Attempts, b.MaxBackoff
				o.RateLimiter = ratelimit.None
				o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(isFinal)}, o.Retryables...)
			})
		},
	}
	if b.AccessKeyID != "" {
		cfg.Credentials = credentials.NewStaticCredentialsProvider(b.AccessKeyID, b.SecretAccessKey, b.SessionToken)
	} else {
		chain, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(b.Region), awsconfig.WithLogger(logging.Nop{}))
		if err != nil {
			return b.noCredentials(err)
		}
		cfg.Credentials = chain.Credentials
	}
	held, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return b.noCredentials(err)
	}
	if !b.CredentialsUntil.IsZero() {
		held.CanExpire, held.Expires = true, b.CredentialsUntil
	}
	if held.CanExpire && b.LinkTTL > 0 {
		left := time.Until(held.Expires)
		if left < b.LinkTTL && !b.CredentialsUntil.IsZero() || left < time.Second {
			return fault.New("sink.link_ttl", fault.Usage, "a link of %s is asked for; the credentials of bucket %q end in %s, and the link with them",
				b.LinkTTL, b.Name, max(left, 0).Round(time.Second)).
				WithHint("lower link_ttl, or use credentials that live longer")
		}
	}
	b.transport, b.credentials = transport, cfg.Credentials
	b.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = b.PathStyle
		if b.Endpoint != "" {
			o.BaseEndpoint = aws.String(b.Endpoint)
		}
		// Checksums are asked for by the upload itself, where the store keeps them.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	return nil
}

// isFinal keeps the SDK from trying again what stays as it is: a certificate that is not trusted, an answer without an
// end.
func isFinal(err error) aws.Ternary {
	var coded *fault.Fault
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &coded) || errors.As(err, &untrusted) {
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}

func (b *Bucket) httpClient(transport http.RoundTripper, timeout time.Duration) *http.Client {
	return &http.Client{
		Transport: bounded{transport},
		Timeout:   timeout,
		// A signature is for one host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// client gives a request and its answer a time, but for the content of an object, whose reader has one of its own.
type client struct{ request, content *http.Client }

func (c client) Do(r *http.Request) (*http.Response, error) {
	if r.Context().Value(contentKey{}) != nil {
		return c.content.Do(r)
	}
	return c.request.Do(r)
}

func (b *Bucket) noCredentials(err error) error {
	return fault.New("sink.credentials", fault.Connect,
		"no credentials for bucket %q: none are set, and the machine has none: %s", b.Name, short(err)).
		WithHint("set access_key_id and secret_access_key")
}

func (b *Bucket) location(key string) string {
	return (&url.URL{Scheme: "s3", Host: b.Name, Path: "/" + key}).String()
}

// Link presigns a GET. It ends when the credentials do, if that is earlier.
func (b *Bucket) Link(ctx context.Context, key string, request object.LinkRequest) (object.Link, error) {
	if err := b.connect(ctx); err != nil {
		return object.Link{}, err
	}
	held, err := b.credentials.Retrieve(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return object.Link{}, context.Cause(ctx)
		}
		return object.Link{}, b.noCredentials(err)
	}
	now := request.Now
	if now.IsZero() {
		now = time.Now()
	}
	end := now.Add(request.TTL)
	earlier := func(limit time.Time) {
		if !limit.IsZero() && limit.Before(end) {
			end = limit
		}
	}
	earlier(request.Until)
	earlier(now.Add(maxLink))
	earlier(b.CredentialsUntil)
	if held.CanExpire {
		earlier(held.Expires)
	}
	left := end.Sub(now).Truncate(time.Second)
	if left < time.Second {
		return object.Link{}, fault.New("sink.link_ttl", fault.Sink, "the credentials of bucket %q, or the object, end before a link could be used", b.Name).
			WithHint("use credentials that live longer than the run")
	}
	input := &s3.GetObjectInput{Bucket: &b.Name, Key: &key, ResponseContentType: optional(request.ContentType)}
	if request.FileName != "" {
		input.ResponseContentDisposition = aws.String(object.Disposition(key, object.About{FileName: request.FileName}))
	}
	link, err := s3.NewPresignClient(b.client, s3.WithPresignExpires(left), func(o *s3.PresignOptions) {
		o.Presigner = presigner{v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }), now}
	}).PresignGetObject(ctx, input)
	if err != nil {
		return object.Link{}, b.fault(ctx, "signing a link", err)
	}
	// The signature counts from when it was made, which is not before now.
	return object.Link{URL: link.URL, Expires: now.Add(left).UTC().Truncate(time.Second)}, nil
}

// presigner signs as of a time that need not be this machine's.
type presigner struct {
	*v4.Signer
	now time.Time
}

// PresignHTTP is what the client of the store signs with.
func (p presigner) PresignHTTP(ctx context.Context, credentials aws.Credentials, r *http.Request, hash, service, region string, _ time.Time,
	options ...func(*v4.SignerOptions)) (string, http.Header, error) {
	return p.Signer.PresignHTTP(ctx, credentials, r, hash, service, region, p.now.UTC(), options...)
}

// Close gives up idle connections.
func (b *Bucket) Close() error {
	b.connecting.Lock()
	defer b.connecting.Unlock()
	if b.transport != nil {
		b.transport.CloseIdleConnections()
	}
	return nil
}
