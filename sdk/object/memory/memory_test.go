package memory

import (
	"testing"

	"github.com/cipherstream/cipherstream/sdk/object"
	"github.com/cipherstream/cipherstream/sdk/object/objecttest"
)

func TestConformance(t *testing.T) {
	objecttest.Run(t, objecttest.Harness{New: func(*testing.T) object.Bucket { return New(nil) }, Sizes: []int{3 << 20}})
}
