//go:build !gms_pure_go

package sandbox

import (
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestStartSaysThatItIsNotBuiltIn(t *testing.T) {
	if s, err := Start(t.Context(), Config{}); s != nil || !fault.Is(err, CodeUnavailable) || Available {
		t.Errorf("got %v, %v, available %v; want %s", s, err, Available, CodeUnavailable)
	}
}
