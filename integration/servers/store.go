package servers

import (
	"context"
	"errors"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// Store is one test's handle on a MinIO server, which speaks the protocol of S3. Its
// methods fail the test they belong to.
type Store struct {
	tb     testing.TB
	on     *running
	bucket string
	client *s3.Client
}

// MinIO gives the test an empty bucket on the MinIO server that the test binary shares
// (see Main), starting it if need be. The bucket and all in it are removed when the test ends.
func MinIO(tb testing.TB) *Store {
	tb.Helper()
	return newStore(tb, shared(tb, minioRecipe))
}

// PrivateMinIO gives the test a MinIO server of its own.
func PrivateMinIO(tb testing.TB) *Store {
	tb.Helper()
	return newStore(tb, private(tb, minioRecipe, nil))
}

func newStore(tb testing.TB, on *running) *Store {
	tb.Helper()
	s := &Store{tb: tb, on: on}
	s.client = s3.New(s3.Options{
		Region: Region, BaseEndpoint: aws.String(s.Endpoint()), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey(), s.SecretKey(), ""),
	})
	s.bucket = s.NewBucket()
	return s
}

// Region is the region of every bucket.
const Region = "us-east-1"

// Endpoint is the URL of the server.
func (s *Store) Endpoint() string { return "http://" + s.on.address() }

// AccessKey and SecretKey are the credentials of the server's root.
func (s *Store) AccessKey() string { return minioUser }

// SecretKey goes with AccessKey.
func (s *Store) SecretKey() string { return s.on.password }

// Bucket is the name of the bucket made for this test.
func (s *Store) Bucket() string { return s.bucket }

// URL is a bucket as the job sink names it: s3://NAME with region, endpoint and use_path_style.
func (s *Store) URL(bucket string) string {
	q := url.Values{"region": {Region}, "endpoint": {s.Endpoint()}, "use_path_style": {"true"}}
	return "s3://" + bucket + "?" + q.Encode()
}

// Client is a client of the server, of Amazon's SDK.
func (s *Store) Client() *s3.Client { return s.client }

// NewBucket makes one more empty bucket, removed when the test ends.
func (s *Store) NewBucket() string {
	s.tb.Helper()
	name := "t-" + randomHex(6)
	if _, err := s.client.CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		s.tb.Fatalf("servers: making a bucket: %v", err)
	}
	s.tb.Cleanup(func() {
		if !s.on.ended() { // it may have been killed by the test
			s.RemoveBucket(name)
		}
	})
	return name
}

// RemoveBucket removes a bucket and all in it. One that is not there is no error.
func (s *Store) RemoveBucket(name string) {
	s.tb.Helper()
	ctx := context.Background()
	for _, key := range s.Objects(name) {
		if _, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &name, Key: &key}); err != nil {
			s.tb.Fatalf("servers: removing an object: %v", err)
		}
	}
	if _, err := s.client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name}); err != nil && !noBucket(err) {
		s.tb.Fatalf("servers: removing a bucket: %v", err)
	}
}

// Objects lists the names in a bucket; a bucket that is not there has none.
func (s *Store) Objects(bucket string) (keys []string) {
	s.tb.Helper()
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if noBucket(err) {
			return nil
		}
		if err != nil {
			s.tb.Fatalf("servers: listing a bucket: %v", err)
		}
		for _, o := range page.Contents {
			keys = append(keys, aws.ToString(o.Key))
		}
	}
	return keys
}

// Uploads lists the unfinished uploads of an object. MinIO lists them for a whole name
// only, and none for the beginning of one.
func (s *Store) Uploads(bucket, key string) []types.MultipartUpload {
	s.tb.Helper()
	page, err := s.client.ListMultipartUploads(context.Background(), &s3.ListMultipartUploadsInput{Bucket: &bucket, Prefix: &key})
	if err != nil {
		s.tb.Fatalf("servers: listing uploads: %v", err)
	}
	return page.Uploads
}

func noBucket(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "NoSuchBucket"
}

// Kill ends the server at once. A test that does so to the shared server must not run beside others.
func (s *Store) Kill() {
	s.tb.Helper()
	s.on.end(s.tb)
}

// Start starts the server after Kill, on the same port with the same objects, and waits until it answers.
func (s *Store) Start() {
	s.tb.Helper()
	s.on.again(s.tb)
}
