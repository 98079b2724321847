package e2e

import (
	"io"
	"net/http"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/plugins/job/object/s3"
	"github.com/cipherstream/cipherstream/sdk/object"
	"github.com/cipherstream/cipherstream/sdk/object/objecttest"
)

// TestObjectsOnMinIO: MinIO keeps what every store of objects has to.
func TestObjectsOnMinIO(t *testing.T) {
	t.Parallel()
	objecttest.Run(t, objecttest.Harness{
		Sizes: []int{5<<20 - 1, 5 << 20, 5<<20 + 1, 12 << 20},
		New: func(t *testing.T) object.Bucket {
			store := servers.MinIO(t)
			b, err := s3.New(s3.Options{Name: store.Bucket(), Region: servers.Region, Endpoint: store.Endpoint(), PathStyle: true,
				AccessKeyID: store.AccessKey(), SecretAccessKey: store.SecretKey(), Encryption: "AES256", PartSize: 5 << 20})
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
		Fetch: func(t *testing.T, link string) (got objecttest.Answer) {
			response, err := http.Get(link)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if got.Content, err = io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
				t.Fatalf("the link answers %s, %v", response.Status, err)
			}
			h := response.Header
			got.ContentType, got.Disposition, got.ContentEncoding = h.Get("Content-Type"), h.Get("Content-Disposition"), h.Get("Content-Encoding")
			return got
		},
	})
}
