package config

import (
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/mysqlurl"
)

// refersToServer reports whether what state says is no path: a URL, or a reference to one.
func refersToServer(state string) bool {
	scheme, _, _ := strings.Cut(state, ":")
	return strings.Contains(state, "://") || secretPattern.MatchString(state) ||
		slices.Contains([]string{"env", "file", "command", "mysql"}, scheme) && strings.Contains(state, ":")
}

// state reads where the record is. A URL with a password in it may stand neither in the document nor on a command line.
func (c *checker) state(s *Settings, w Spec) {
	at := []string{"state"}
	if !refersToServer(w.State) {
		s.State = c.path(w.State)
		s.Directory = s.State
		return
	}
	s.Shared = true
	if w.DataKey.Reveal() == "" {
		c.add(diag.At(c.doc.At("state"), CodeState, "the record is on a server, and no data_key is given").
			WithHint("every service and worker opens the same keys: give them all one. Of a record that was moved here it is that of the data directory that "+
				"it was in, file:DIRECTORY/data.key; of a new one any, openssl rand -base64 32"), at)
	}
	if strings.Contains(w.State, "://") || strings.HasPrefix(w.State, "mysql:") {
		u, err := mysqlurl.Parse(w.State)
		if err != nil || u.Password != "" {
			c.hidden = append(c.hidden, w.State)
			c.add(diag.At(c.doc.At("state"), CodeState, "this is no URL of a record without a password in it").
				WithHint("refer to mysql://user:password@host:3306/database with %s", referenceForms), at)
			return
		}
		s.Record = config.NewSecret(w.State)
		c.recordURL(u)
		return
	}
	record, read := c.reference(w.State, true, at...)
	if s.Record = record; !read {
		return
	}
	u, err := mysqlurl.Parse(record.Reveal())
	if err != nil {
		c.add(diag.At(c.doc.At("state"), CodeState, "%v", err).
			WithHint("the secret is mysql://user:password@host:3306/database; a data directory is written as its path"), at)
		return
	}
	c.recordURL(u)
}

func (c *checker) recordURL(u *mysqlurl.URL) {
	if u.Database == "" {
		c.add(diag.At(c.doc.At("state"), CodeState, "the URL of the record names no database").
			WithHint("name one that is the service's own, behind the last slash"), []string{"state"})
	}
}

// jobClasses are the classes of procedures whose requests may become jobs.
var jobClasses = []string{"data", "special"}

func (c *checker) jobs(j Jobs) {
	for _, class := range slices.Sorted(maps.Keys(j.TimeLimits)) {
		at := []string{"jobs", "time_limits", class}
		switch limit := j.TimeLimits[class]; {
		case !slices.Contains(jobClasses, class):
			c.add(diag.At(c.doc.At(at...), document.CodeUnknownName, "no jobs are of the class %q", diag.Printable(class)).WithSuggestion(class, jobClasses).
				WithHint("the classes are %s; references are always streamed", strings.Join(jobClasses, " and ")), at)
		case limit <= 0:
			c.wrong(CodeLimit, at, "a time limit is longer than 0s")
		}
	}
}

func (c *checker) buckets(w Spec) map[string]Bucket {
	out := map[string]Bucket{}
	for _, name := range slices.Sorted(maps.Keys(w.Buckets)) {
		written := w.Buckets[name]
		b := Bucket{BucketSpec: written}
		at := func(key string) []string { return []string{"buckets", name, key} }
		if written.URL != "" {
			c.bucketURL(written, at)
		}
		for key, secret := range map[string]*config.Secret{"access_key_id": &b.AccessKeyID, "secret_access_key": &b.SecretAccessKey} {
			reference := map[string]config.Secret{"access_key_id": written.AccessKeyID, "secret_access_key": written.SecretAccessKey}[key].Reveal()
			if reference != "" {
				*secret, _ = c.reference(reference, true, at(key)...)
			}
		}
		if (written.AccessKeyID.Reveal() == "") != (written.SecretAccessKey.Reveal() == "") {
			c.wrong(CodeBucket, []string{"buckets", name}, "access_key_id and secret_access_key go together, and one of the two is missing")
		}
		if written.KMSKey != "" && written.Encryption != "aws:kms" {
			c.add(diag.At(c.doc.At(at("kms_key")...), CodeBucket, "kms_key is given, and encryption is %s", written.Encryption).WithHint("set encryption: aws:kms"), at("kms_key"))
		}
		switch {
		case written.Download == "":
		case strings.HasPrefix(written.URL, "file:"):
			c.add(diag.At(c.doc.At(at("download")...), CodeBucket, "what is in a folder is fetched from the service").
				WithHint("leave it out; links have the first address of servers"), at("download"))
		default:
			c.download(written.Download, at("download"))
		}
		out[name] = b
	}
	return out
}

func (c *checker) bucketURL(b BucketSpec, at func(string) []string) {
	u, err := url.Parse(b.URL)
	switch {
	case err != nil || u.User != nil:
		c.hidden = append(c.hidden, b.URL)
		c.add(diag.At(c.doc.At(at("url")...), CodeBucket, "this is no URL of a bucket without credentials in it").
			WithHint("write s3://NAME?region=REGION, or file:///FOLDER; refer to credentials in access_key_id and secret_access_key"), at("url"))
	case u.Scheme != "s3" && u.Scheme != "file":
		c.add(diag.At(c.doc.At(at("url")...), CodeBucket, "the URL of a bucket begins with s3:// or file://").WithHint("write s3://NAME?region=REGION, or file:///FOLDER"), at("url"))
	case u.Scheme == "file" && (u.Host != "" && u.Host != "localhost" || !filepath.IsAbs(u.Path)):
		c.add(diag.At(c.doc.At(at("url")...), CodeBucket, "the URL of a folder has an absolute path").WithHint("write file:///FOLDER, with three slashes"), at("url"))
	case u.Scheme == "file" && b.Encryption != "none" && b.Encryption != "":
		c.add(diag.At(c.doc.At(at("encryption")...), CodeBucket, "a folder has no server that could encrypt").
			WithHint("leave it out: what is in a folder is encrypted under the data key"), at("encryption"))
	}
}

// download checks the base URL of links: who follows one sends what opens the object.
func (c *checker) download(text string, at []string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" ||
		u.Scheme != "https" && !(u.Scheme == "http" && mysqlurl.IsLoopback(u.Hostname())) {
		c.hidden = append(c.hidden, text)
		c.wrong(CodeAddress, at, "this is no base URL such as https://downloads.example.com")
	}
}

// withoutBuckets tells of customers whose requests cannot become jobs. Where no bucket is declared at all, that is meant.
func (c *checker) withoutBuckets(w Spec) {
	var ids []string
	for _, customer := range w.Customers {
		if customer.Bucket == "" && customer.ID != "" {
			ids = append(ids, customer.ID)
		}
	}
	if len(w.Buckets) > 0 && len(ids) > 0 {
		shown := strings.Join(ids[:min(len(ids), 5)], ", ")
		if len(ids) > 5 {
			shown += ", …"
		}
		c.add(diag.At(c.doc.At("customers"), CodeBucket, "%d of the customers have no bucket, so that their requests never become jobs: %s", len(ids), diag.Printable(shown)).
			WithHint("give each a bucket").AsWarning(), []string{"customers"})
	}
}
