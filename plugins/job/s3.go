package job

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

const (
	defaultRegion = "us-east-1"
	// maxLink is the longest life that Signature Version 4 gives to a URL.
	maxLink = 7 * 24 * time.Hour
	// attempts is how often a request is tried, and maxBackoff the longest wait between.
	attempts   = 5
	maxBackoff = 10 * time.Second
)

// s3Bucket is a bucket of S3, or of a service that speaks its protocol.
type s3Bucket struct {
	settings   Settings
	name       string
	region     string
	endpoint   string
	pathStyle  bool
	until      time.Time // of static credentials; zero if unknown
	log        *slog.Logger
	protection *protection

	backoff     time.Duration // longest
	transport   *http.Transport
	credentials aws.CredentialsProvider
	client      *s3.Client
}

func newS3(s Settings, name, region, endpoint string, pathStyle bool, protection *protection, log *slog.Logger) (*s3Bucket, error) {
	b := &s3Bucket{settings: s, protection: protection, name: name, region: region, endpoint: endpoint, pathStyle: pathStyle, log: log, backoff: maxBackoff}
	if b.region == "" {
		b.region = defaultRegion
	}
	if (s.AccessKeyID.Reveal() == "") != (s.SecretAccessKey.Reveal() == "") {
		return nil, fault.New("sink.credentials", fault.Usage, "access_key_id and secret_access_key come together, and one of them is missing")
	}
	if s.KMSKey != "" && s.Encryption != "aws:kms" {
		return nil, fault.New("sink.encryption", fault.Usage, "kms_key is set, and encryption is %s", s.Encryption).WithHint("set encryption: aws:kms")
	}
	if s.LinkTTL > maxLink {
		return nil, fault.New("sink.link_ttl", fault.Usage, "a link of %s is asked for; S3 signs none beyond seven days", s.LinkTTL).
			WithHint("set link_ttl to 168h or less")
	}
	if s.LinkTTL > 0 && s.LinkTTL < time.Second {
		return nil, fault.New("sink.link_ttl", fault.Usage, "a link of %s is asked for; S3 counts in seconds", s.LinkTTL)
	}
	var err error
	if b.until, err = parseEnd(s.CredentialsUntil); err != nil {
		return nil, err
	}
	if s.SessionToken.Reveal() != "" && b.until.IsZero() && s.LinkTTL > 0 {
		return nil, fault.New("sink.link_ttl", fault.Usage,
			"the credentials are temporary and nothing says until when, so the end of a link is not known").
			WithHint("set credentials_expire, or link_ttl: 0s for no link")
	}
	return b, nil
}

// connect makes the client and asks for the credentials.
func (b *s3Bucket) connect(ctx context.Context) error {
	b.transport = &http.Transport{
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
		Region: b.region,
		HTTPClient: &http.Client{
			Transport: bounded{b.transport},
			Timeout:   b.settings.Timeout,
			// A signature is for one host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.MaxBackoff = attempts, b.backoff
				o.RateLimiter = ratelimit.None
				o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(isFinal)}, o.Retryables...)
			})
		},
	}
	if id := b.settings.AccessKeyID.Reveal(); id != "" {
		cfg.Credentials = credentials.NewStaticCredentialsProvider(id, b.settings.SecretAccessKey.Reveal(), b.settings.SessionToken.Reveal())
	} else {
		chain, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(b.region), awsconfig.WithLogger(logging.Nop{}))
		if err != nil {
			return b.noCredentials(err)
		}
		cfg.Credentials = chain.Credentials
	}
	b.credentials = cfg.Credentials
	held, err := b.credentials.Retrieve(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return b.noCredentials(err)
	}
	if !b.until.IsZero() {
		held.CanExpire, held.Expires = true, b.until
	}
	if held.CanExpire && b.settings.LinkTTL > 0 {
		left := time.Until(held.Expires)
		if left < b.settings.LinkTTL && !b.until.IsZero() || left < time.Second {
			return fault.New("sink.link_ttl", fault.Usage, "a link of %s is asked for; the credentials of bucket %q end in %s, and the link with them",
				b.settings.LinkTTL, b.name, max(left, 0).Round(time.Second)).
				WithHint("lower link_ttl, or use credentials that live longer")
		}
	}
	b.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = b.pathStyle
		if b.endpoint != "" {
			o.BaseEndpoint = aws.String(b.endpoint)
		}
		// Checksums are asked for by the upload itself, where the store keeps them.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	return nil
}

// isFinal keeps the SDK from trying again what stays as it is: a certificate that is not trusted, an answer without an end.
func isFinal(err error) aws.Ternary {
	var coded *fault.Fault
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &coded) || errors.As(err, &untrusted) {
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}

func (b *s3Bucket) noCredentials(err error) error {
	return fault.New("sink.credentials", fault.Connect, "no credentials for bucket %q: none are set, and the machine has none: %s", b.name, short(err)).
		WithHint("set access_key_id and secret_access_key")
}

// bucket opens the bucket of the Go CDK.
func (b *s3Bucket) bucket(ctx context.Context) (*blob.Bucket, error) {
	if b.client == nil {
		if err := b.connect(ctx); err != nil {
			return nil, err
		}
	}
	bucket, err := s3blob.OpenBucket(ctx, b.client, b.name, nil)
	if err != nil {
		return nil, b.fault(ctx, "opening the bucket", err)
	}
	return bucket, nil
}

func (b *s3Bucket) location(key string) string {
	return (&url.URL{Scheme: "s3", Host: b.name, Path: "/" + key}).String()
}

// link presigns a GET. It ends when the credentials or the object do, if that is earlier.
func (b *s3Bucket) link(ctx context.Context, o object, ttl time.Duration) (string, time.Time, error) {
	held, err := b.credentials.Retrieve(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return "", time.Time{}, context.Cause(ctx)
		}
		return "", time.Time{}, b.noCredentials(err)
	}
	now := time.Now()
	end := now.Add(ttl)
	earlier := func(limit time.Time) {
		if !limit.IsZero() && limit.Before(end) {
			end = limit
		}
	}
	earlier(o.expires)
	earlier(b.until)
	if held.CanExpire {
		earlier(held.Expires)
	}
	left := end.Sub(now).Truncate(time.Second)
	if left < time.Second {
		return "", time.Time{}, fault.New("sink.link_ttl", fault.Sink, "the credentials of bucket %q, or the object, end before a link could be used", b.name).
			WithHint("use credentials that live longer than the run")
	}
	if left < ttl.Truncate(time.Second)-time.Minute {
		b.log.Warn("the link lives shorter than asked for: the credentials or the object end first", "asked", ttl, "lives", left)
	}
	bucket, err := b.bucket(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	defer bucket.Close()
	link, err := bucket.SignedURL(ctx, o.key, &blob.SignedURLOptions{Expiry: left})
	if err != nil {
		return "", time.Time{}, b.fault(ctx, "signing a link", err)
	}
	// The signature counts from when it was made, which is not before now.
	return link, now.Add(left).UTC().Truncate(time.Second), nil
}

func (b *s3Bucket) connection() string { return b.protection.String() }

func (b *s3Bucket) close() {
	if b.transport != nil {
		b.transport.CloseIdleConnections()
	}
}
