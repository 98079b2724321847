package job

import (
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/plugins/job/object/folder"
	"github.com/cipherstream/cipherstream/plugins/job/object/s3"
	"github.com/cipherstream/cipherstream/plugins/job/object/signed"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// OpenBucket reads the URL of a bucket and the settings that go with its kind. It
// does not reach out yet.
func OpenBucket(s Settings) (object.Bucket, error) {
	u, err := url.Parse(s.Bucket)
	if err != nil {
		// The text may hold credentials.
		return nil, badBucket("it is not a URL")
	}
	if u.User != nil {
		return nil, badBucket("credentials do not belong into it").
			WithHint("use the settings access_key_id and secret_access_key")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil || u.Fragment != "" {
		return nil, badBucket("its parameters are malformed").
			WithHint("write ?NAME=VALUE&NAME=VALUE, special characters percent-encoded")
	}
	parameters := map[string][]string{"file": {"create_dir"}, "s3": {"region", "endpoint", "use_path_style", "tls", "tls_pin"}}[u.Scheme]
	if parameters == nil {
		return nil, badBucket("it begins with neither file:// nor s3://").
			WithHint("write s3://BUCKET, with ?region=… where it has one, or the path of a folder")
	}
	for name, values := range q {
		if !slices.Contains(parameters, name) || len(values) != 1 {
			return nil, badBucket("the parameter "+strconv.Quote(name)+" is unknown, or given twice").
				WithHint("a %s bucket takes %s", u.Scheme, strings.Join(parameters, ", "))
		}
	}
	flag := func(name string) (bool, error) {
		switch q.Get(name) {
		case "", "false":
			return false, nil
		case "true":
			return true, nil
		}
		return false, badBucket("the parameter " + name + " is true or false")
	}
	if u.Scheme == "file" {
		create, err := flag("create_dir")
		if err != nil {
			return nil, err
		}
		if u.Host != "" && u.Host != "localhost" || !filepath.IsAbs(u.Path) {
			return nil, badBucket("it needs an absolute path").WithHint("write file:///DIRECTORY, with three slashes")
		}
		signer, err := newSigner(s)
		if err != nil {
			return nil, err
		}
		return folder.New(u.Path, create, signer), nil
	}
	pathStyle, err := flag("use_path_style")
	if err != nil {
		return nil, err
	}
	if u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, badBucket("it needs the name of a bucket and no path").
			WithHint("write s3://NAME, and the folder into the setting key")
	}
	until, err := parseEnd(s.CredentialsUntil)
	if err != nil {
		return nil, err
	}
	return s3.New(s3.Options{
		Name: u.Host, Region: q.Get("region"), Endpoint: q.Get("endpoint"), PathStyle: pathStyle, TLS: q.Get("tls"), TLSPin: q.Get("tls_pin"),
		AccessKeyID: s.AccessKeyID.Reveal(), SecretAccessKey: s.SecretAccessKey.Reveal(), SessionToken: s.SessionToken.Reveal(),
		CredentialsUntil: until, Encryption: s.Encryption, KMSKey: s.KMSKey, PartSize: int64(s.Buffer), LinkTTL: s.LinkTTL, Timeout: s.Timeout,
	})
}

// newSigner makes what signs links to a folder, or nothing where none are wanted.
func newSigner(s Settings) (*signed.Signer, error) {
	secret := s.LinkSecret.Reveal()
	switch {
	case secret == "" && s.LinkBaseURL == "":
		return nil, nil
	case secret == "" || s.LinkBaseURL == "":
		return nil, fault.New("sink.link", fault.Usage, "a link to a folder needs both link_secret and link_base_url")
	}
	return signed.New(s.LinkBaseURL, secret)
}

func badBucket(why string) *fault.Fault {
	return fault.New("sink.bucket", fault.Usage, "the bucket's URL cannot be used: %s", why)
}

// parseEnd reads the setting credentials_expire.
func parseEnd(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fault.New("sink.credentials", fault.Usage, "credentials_expire is %q; expected a time such as 2025-01-31T12:00:00Z", text)
	}
	return t, nil
}
