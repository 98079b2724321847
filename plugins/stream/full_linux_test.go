package stream

import (
	"context"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestDiskFull(t *testing.T) {
	s := opened(t, "/dev/full")
	err := s.Write(context.Background(), []byte("x"))
	if f := fault.From(err); f == nil || f.Code != "sink.disk_full" || f.Class != fault.Sink || f.Hint == "" {
		t.Errorf("got %v", err)
	}
}
