package job

import (
	"context"
	"net/url"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// prober is a store that can tell whether it takes uploads without one being begun.
type prober interface{ Probe() error }

// protected is a store that knows how the way to it is protected, once it was gone.
type protected interface{ Protection() string }

// CheckSink is part of sdk.SinkChecker. In S3 an upload is begun and ended, which takes the
// same permission as the run's own and makes nothing visible.
func (s *sink) CheckSink(ctx context.Context, o sdk.Object, report *sdk.Report) {
	where := place(s.settings.Bucket)
	if p, is := s.to.(prober); is {
		err := p.Probe()
		if err == nil {
			report.Fine("the bucket %s can be written", where)
		}
		report.Wrong(err)
		return
	}
	if err := s.Open(ctx, o); err != nil {
		report.Wrong(err)
		return
	}
	if err := s.Abort(ctx); err != nil {
		report.Warn(fault.New("sink.abort", fault.Sink, "an upload to %s was begun, and could not be ended again: %w", where, err).
			WithHint("allow s3:AbortMultipartUpload, so that a run that fails leaves nothing; the sweep removes what is left"))
		return
	}
	var how string
	if p, is := s.to.(protected); is {
		how = " (" + p.Protection() + ")"
	}
	report.Fine("uploads to the bucket %s are allowed: one was begun and ended%s", where, how)
	report.Unchecked("whether the object may be read again (s3:GetObject), which a run does before its receipt")
}

// place is a bucket as people know it: a path, or s3://NAME.
func place(bucket string) string {
	u, err := url.Parse(bucket)
	switch {
	case err != nil: // OpenBucket has refused it
		return ""
	case u.Scheme == "file":
		return u.Path
	}
	return u.Scheme + "://" + u.Host
}
