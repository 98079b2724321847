package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestFrom(t *testing.T) {
	t.Parallel()
	lost := fault.New("mysql.lost", fault.Source, "lost after %d rows: %w", 7, io.ErrUnexpectedEOF).WithRetry()
	for _, c := range []struct {
		err   error
		code  string
		class fault.Class
	}{
		{lost, "mysql.lost", fault.Source},
		{fmt.Errorf("while reading: %w", lost), "mysql.lost", fault.Source},
		{errors.Join(errors.New("x"), lost), "mysql.lost", fault.Source},
		{context.Canceled, "run.cancelled", fault.Cancelled},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), "run.timeout", fault.Cancelled},
		{io.ErrClosedPipe, "internal", fault.Internal},
	} {
		f := fault.From(c.err)
		if f.Code != c.code || f.Class != c.class {
			t.Errorf("%v: %s, %s", c.err, f.Code, f.Class)
		}
		if !fault.Is(fmt.Errorf("x: %w", f), c.code) {
			t.Errorf("%v: Is does not find %s", c.err, c.code)
		}
	}
	if fault.From(nil) != nil {
		t.Error("a nil error has a fault")
	}
	if !errors.Is(lost, io.ErrUnexpectedEOF) || lost.Message != "lost after 7 rows: unexpected EOF" {
		t.Errorf("cause or message: %v", lost)
	}
	if !errors.Is(fmt.Errorf("x: %w", lost), fault.New("mysql.lost", fault.Data, "")) {
		t.Error("faults of one code are not the same error")
	}
}

// TestEndOfAContext: what ended is found below the code, also when a stage was named since.
func TestEndOfAContext(t *testing.T) {
	t.Parallel()
	for end, code := range map[error]string{context.Canceled: "run.cancelled", context.DeadlineExceeded: "run.timeout"} {
		f := fault.InStage(fmt.Errorf("reading: %w", end), "source")
		if f.Code != code || !errors.Is(f, end) {
			t.Errorf("%v became %+v", end, f)
		}
	}
}

func TestInStage(t *testing.T) {
	t.Parallel()
	shared := fault.New("a.b", fault.Data, "x").WithDetail("k", "v")
	named := fault.InStage(shared, "encoder")
	if named.Stage != "encoder" || shared.Stage != "" {
		t.Errorf("stages: %q, %q", named.Stage, shared.Stage)
	}
	named.WithDetail("k", "other")
	if shared.Details["k"] != "v" {
		t.Error("the copy shares its details")
	}
	if again := fault.InStage(named, "sink"); again.Stage != "encoder" {
		t.Errorf("renamed to %q", again.Stage)
	}
	if fault.InStage(nil, "x") != nil {
		t.Error("a nil error got a stage")
	}
}
