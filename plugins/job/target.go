package job

import (
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// openTarget reads the URL of the bucket and the settings that go with its kind. It
// does not reach out yet.
func openTarget(s Settings, log *slog.Logger) (target, error) {
	u, err := url.Parse(s.Bucket)
	if err != nil {
		// The text may hold credentials.
		return nil, badBucket("it is not a URL")
	}
	if u.User != nil {
		return nil, badBucket("credentials do not belong into it").WithHint("use the settings access_key_id and secret_access_key")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil || u.Fragment != "" {
		return nil, badBucket("its parameters are malformed")
	}
	parameters := map[string][]string{"file": {"create_dir"}, "s3": {"region", "endpoint", "use_path_style", "tls", "tls_pin"}}[u.Scheme]
	if parameters == nil {
		return nil, badBucket("it begins with neither file:// nor s3://")
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
		return newFolder(s, filepath.Clean(u.Path), create)
	}
	pathStyle, err := flag("use_path_style")
	if err != nil {
		return nil, err
	}
	if u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, badBucket("it needs the name of a bucket and no path").WithHint("write s3://NAME, and the folder into the setting key")
	}
	protection, err := parseProtection(q.Get("endpoint"), q.Get("tls"), q.Get("tls_pin"))
	if err != nil {
		return nil, err
	}
	return newS3(s, u.Host, q.Get("region"), q.Get("endpoint"), pathStyle, protection, log)
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
