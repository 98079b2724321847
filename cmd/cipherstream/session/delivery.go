package session

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
)

// The environment variables that say where objects go.
const (
	EnvBucket = "CIPHERSTREAM_BUCKET"
	// envAWSExpiration is where tools that hand out temporary credentials put their end.
	envAWSExpiration = "AWS_CREDENTIAL_EXPIRATION"
)

// defaultBucket is a folder below the current one.
const defaultBucket = "cipherstream-objects"

// Delivery is what the flags say about the object of a job.
type Delivery struct {
	bucket, Object     string
	linkTTL            time.Duration
	linkURL            string
	encryption, kmsKey string
}

// Flags adds all flags about an object to a command that leaves one.
func (d *Delivery) Flags(c *cobra.Command) {
	f := c.Flags()
	d.BucketFlag(c)
	f.StringVar(&d.Object, "object", "", "`NAME` of the object, slashes make folders (default RUN.1 with the ending of the format: the id of the run, and its attempt)")
	f.DurationVar(&d.linkTTL, "link-ttl", 12*time.Hour, "`TIME` for which the link to the object works; 0s for no link")
	f.StringVar(&d.linkURL, "link-url", "", "`URL` under which the objects of a folder are served; links to them are signed with ${secret.link_secret}")
	f.StringVar(&d.encryption, "object-encryption", "none", "server-side `ENCRYPTION` in S3: AES256, aws:kms, or none, which leaves it to the bucket")
	f.StringVar(&d.kmsKey, "object-kms-key", "", "`ID` of the key for aws:kms (default the account's own)")
}

// BucketFlag adds the one that says where objects are.
func (d *Delivery) BucketFlag(c *cobra.Command) {
	c.Flags().StringVar(&d.bucket, "bucket", "",
		"`BUCKET` for objects: a folder, file:///FOLDER, or s3://NAME?region=…&endpoint=…&use_path_style=true (default $"+EnvBucket+", or ./"+defaultBucket+")")
}

// BucketURL is the URL of the bucket. With create a folder is made when it is not there.
func (d *Delivery) BucketURL(create bool) (string, error) {
	bucket := d.bucket
	if bucket == "" {
		bucket = os.Getenv(EnvBucket)
	}
	if bucket == "" {
		bucket = defaultBucket
	}
	if strings.Contains(bucket, "://") {
		return bucket, nil
	}
	folder, err := OutputPath(bucket)
	if err != nil {
		return "", err
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(folder)}
	if create {
		u.RawQuery = "create_dir=true"
	}
	return u.String(), nil
}

// Destination is where a sink of objects leaves one.
func (d *Delivery) Destination() (*engine.ObjectDestination, error) {
	bucket, err := d.BucketURL(true)
	if err != nil {
		return nil, err
	}
	o := &engine.ObjectDestination{Bucket: bucket, Name: d.Object, LinkTTL: d.linkTTL, LinkBaseURL: d.linkURL, Encryption: d.encryption, KMSKey: d.kmsKey}
	if text := os.Getenv(envAWSExpiration); text != "" {
		if o.CredentialsExpire, err = time.Parse(time.RFC3339, text); err != nil {
			return nil, terminal.UsageFault("%s is %q; expected a time such as 2025-01-31T12:00:00Z", envAWSExpiration, text).WithHint("unset it where the credentials do not end")
		}
	}
	return o, nil
}
