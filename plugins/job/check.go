package job

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// CheckSink is part of sdk.SinkChecker. In S3 an upload is begun and ended, which takes the
// same permission as the run's own and makes nothing visible.
func (s *sink) CheckSink(ctx context.Context, o sdk.Object, report *sdk.Report) {
	defer s.to.close()
	if f, is := s.to.(*folder); is {
		err := f.check(o.RunID)
		if err == nil {
			report.Fine("the bucket %s can be written", f.root)
		}
		report.Wrong(err)
		return
	}
	if err := s.Open(ctx, o); err != nil {
		report.Wrong(err)
		return
	}
	where := s.to.location("")
	if err := s.upload.abort(ctx); err != nil {
		report.Warn(fault.New("sink.abort", fault.Sink, "an upload to %s was begun, and could not be ended again: %w", where, err).
			WithHint("allow s3:AbortMultipartUpload, so that a run that fails leaves nothing; the sweep removes what is left"))
		return
	}
	report.Fine("uploads to the bucket %s are allowed: one was begun and ended (%s)", where, s.to.connection())
	report.Unchecked("whether the object may be read again (s3:GetObject), which a run does before its receipt")
}

// check writes a hidden file where an object would come, and removes it. Of a folder that
// the run would make, the nearest one that is there stands for it.
func (f *folder) check(runID string) error {
	dir := f.root
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) && f.create {
		for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			info, err = os.Stat(dir)
		}
	}
	if err != nil {
		return folderFault(f.root, 0, err)
	}
	if !info.IsDir() {
		return fault.New("sink.bucket_missing", fault.Sink, "the bucket %s: %s is not a folder", f.root, dir).WithHint("correct the path")
	}
	probe, err := os.CreateTemp(dir, "."+runID+".*"+attributes)
	if err != nil {
		return folderFault(f.root, 0, err)
	}
	return folderFault(f.root, 0, errors.Join(probe.Close(), remove(probe.Name())))
}
