package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strings"

	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// causes maps the error codes of S3
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html) to faults.
var causes = map[string]struct {
	code, hint string
	retry      bool
}{
	"NoSuchBucket":                       {code: "sink.bucket_missing", hint: "create the bucket, or correct its name"},
	"NotFound":                           {code: "sink.bucket_missing", hint: "create the bucket, or correct its name"},
	"InvalidBucketName":                  {code: "sink.bucket_missing", hint: "correct the name of the bucket"},
	"PermanentRedirect":                  {code: "sink.bucket_missing", hint: "the bucket lies in another region: add ?region=… to its URL"},
	"AuthorizationHeaderMalformed":       {code: "sink.bucket_missing", hint: "the bucket lies in another region: add ?region=… to its URL"},
	"IllegalLocationConstraintException": {code: "sink.bucket_missing", hint: "the bucket lies in another region: add ?region=… to its URL"},
	"AccessDenied":                       {code: "sink.access_denied", hint: "the key needs s3:PutObject, s3:AbortMultipartUpload, s3:GetObject and s3:DeleteObject on the bucket"},
	"Forbidden":                          {code: "sink.access_denied", hint: "the key needs s3:PutObject, s3:AbortMultipartUpload, s3:GetObject and s3:DeleteObject on the bucket"},
	"AllAccessDisabled":                  {code: "sink.access_denied"},
	"AccountProblem":                     {code: "sink.access_denied"},
	"KMS.DisabledException":              {code: "sink.access_denied", hint: "check the key for server-side encryption"},
	"InvalidAccessKeyId":                 {code: "sink.credentials", hint: "check access_key_id"},
	"SignatureDoesNotMatch":              {code: "sink.credentials", hint: "check secret_access_key"},
	"ExpiredToken":                       {code: "sink.credentials", hint: "the temporary credentials ended: take new ones"},
	"InvalidToken":                       {code: "sink.credentials", hint: "check session_token"},
	"RequestTimeTooSkewed":               {code: "sink.credentials", hint: "set the clock of this machine"},
	"EntityTooLarge":                     {code: "sink.too_large", hint: "compress, or cut the extraction by date"},
	"XMinioStorageFull":                  {code: "sink.disk_full", hint: "make room on the disks of the store, or write elsewhere"}, // of MinIO
	"RequestTimeout":                     {code: "sink.timeout", retry: true},
	"SlowDown":                           {code: "sink.upload", retry: true},
	"InternalError":                      {code: "sink.upload", retry: true},
	"ServiceUnavailable":                 {code: "sink.upload", retry: true},
	"InvalidPart":                        {code: "sink.upload", hint: "the store has lost a part that it had taken: it was killed meanwhile, perhaps", retry: true},
	"NoSuchUpload":                       {code: "sink.upload", hint: "something ended the upload while it was on its way: a lifecycle rule of the bucket, perhaps", retry: true},
}

// apiCode is the service's error code, or empty.
func apiCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// fault codes an error of the SDK; nil stays nil. It names the bucket and what was being done.
func (b *Bucket) fault(ctx context.Context, doing string, err error) error {
	var coded *fault.Fault
	if err == nil || errors.As(err, &coded) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	status := 0
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	code := apiCode(err)
	if cause, ok := causes[code]; ok {
		return b.newFault(cause.code, cause.hint, cause.retry, doing, err)
	}
	var untrusted *tls.CertificateVerificationError
	var timeout net.Error
	var dial *net.OpError
	switch {
	case errors.As(err, &untrusted):
		return b.untrusted(doing, untrusted)
	case status == 403:
		return b.newFault("sink.access_denied", causes["AccessDenied"].hint, false, doing, err)
	case status == 404 || status == 301:
		return b.newFault("sink.bucket_missing", "correct the name of the bucket, its region or the endpoint", false, doing, err)
	case status >= 500 || status == 429:
		return b.newFault("sink.upload", "", true, doing, err)
	case status != 0:
		return b.newFault("sink.upload", "", false, doing, err)
	case errors.As(err, &dial) && dial.Op == "dial":
		return b.newFault("sink.unreachable", "check the network and the endpoint", true, doing, err)
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return b.newFault("sink.timeout", "check the network, or raise timeout", true, doing, err)
	}
	return b.newFault("sink.unreachable", "check the network and the endpoint", true, doing, err)
}

// classOf says what can be done about a fault of a store: it could not be reached or did not
// let us in, as with a database, or it failed.
func classOf(code string) fault.Class {
	switch code {
	case "sink.unreachable", "sink.credentials", "sink.access_denied", "sink.tls", "sink.insecure":
		return fault.Connect
	}
	return fault.Sink
}

func (b *Bucket) newFault(code, hint string, retry bool, doing string, err error) error {
	f := fault.New(code, classOf(code), "bucket %q: %s failed: %s", b.Name, doing, short(err))
	if hint != "" {
		f.WithHint("%s", hint)
	}
	if retry {
		f.WithRetry()
	}
	return f
}

// short says what went wrong without what may hold a secret: the URL of the request, its headers, and
// the chain of the SDK's own words.
func short(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		text := api.ErrorCode()
		if message := api.ErrorMessage(); message != "" {
			text += ": " + message
		}
		var response *smithyhttp.ResponseError
		if errors.As(err, &response) && api.ErrorCode() == "" {
			text = "status " + response.Response.Status
		}
		return cut(text)
	}
	var request *url.Error
	if errors.As(err, &request) {
		return cut(request.Err.Error())
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		return cut("status " + response.Response.Status)
	}
	// The innermost error is the cause.
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return cut(err.Error())
		}
		err = inner
	}
}

func cut(text string) string {
	const most = 300
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
