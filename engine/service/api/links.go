package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/job"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// objectsPath is where the objects of buckets are read that sign no links themselves.
const objectsPath = "/v1/objects/"

// pass is what a link of ours allows: to read the object that one taking of a job has made, until it ends.
type pass struct {
	customer, job string
	runs          int
	// key is that of who got the link, for the audit.
	key     string
	expires time.Time // in whole seconds
}

// sign makes a pass what nobody else can make: a segment of an address.
func (p pass) sign(key []byte) string {
	text := fmt.Sprintf("%s\n%s\n%d\n%s\n%d", p.customer, p.job, p.runs, p.key, p.expires.Unix())
	encoding := base64.RawURLEncoding
	return encoding.EncodeToString([]byte(text)) + "." + encoding.EncodeToString(macOf(key, text))
}

func macOf(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("cipherstream object link v1\n" + text))
	return h.Sum(nil)
}

// maxPass bounds what is read of an address.
const maxPass = 1024

// open reads a pass that sign has made and that has not ended.
func (a *API) open(signed string) (p pass, ok bool) {
	encoding := base64.RawURLEncoding.Strict()
	first, second, _ := strings.Cut(signed, ".")
	text, err := encoding.DecodeString(first)
	mac, wrong := encoding.DecodeString(second)
	if a.Jobs == nil || len(a.LinkKey) == 0 || len(signed) > maxPass || err != nil || wrong != nil {
		return p, false
	}
	if !hmac.Equal(mac, macOf(a.LinkKey, string(text))) {
		return p, false
	}
	parts := strings.Split(string(text), "\n")
	if len(parts) != 5 {
		return p, false
	}
	runs, err := strconv.Atoi(parts[2])
	end, wrong := strconv.ParseInt(parts[4], 10, 64)
	p = pass{customer: parts[0], job: parts[1], runs: runs, key: parts[3], expires: time.Unix(end, 0)}
	return p, err == nil && wrong == nil && a.Jobs.Now().Before(p.expires)
}

// link makes a fresh link to the result of a completed job, and says when it really ends. One of ours is a path here, to
// which base gives the rest.
func (x *exchange) link(j store.Job) (address string, expires time.Time, failure *Error) {
	a := x.api
	gone := func() (string, time.Time, *Error) { return "", time.Time{}, fail(ResultExpired) }
	if !j.ObjectRemoved.IsZero() || !j.ObjectExpires.IsZero() && !a.Jobs.Now().Before(j.ObjectExpires) {
		return gone()
	}
	j.MediaType = FormOf(j.Format, j.Compression, j.Encrypted, true).ContentType // that of a link of ours
	l, err := a.Jobs.Link(x.ctx, j, x.actor())
	switch {
	case fault.Is(err, job.CodeNoObject):
		return gone()
	case err != nil:
		return "", time.Time{}, fromJobs(err)
	case l.URL != "":
		return l.URL, l.Expires, nil
	}
	ours := ObjectLink("", a.LinkKey, j, x.principal.KeyID)
	if !a.Jobs.Now().Before(ours.Expires) {
		return gone()
	}
	return ours.URL, ours.Expires, nil
}

// ObjectLink is a link of ours to the result of a completed job whose bucket signs none, at the service that is reached at
// base. It is good as long as the result, for whoever has it; by is who got it, for the audit.
func ObjectLink(base string, key []byte, j store.Job, by string) object.Link {
	expires := j.ObjectExpires.Truncate(time.Second)
	return object.Link{URL: base + objectsPath + pass{j.Customer, j.ID, j.Runs, by, expires}.sign(key), Expires: expires}
}

// base is the address that clients reach the service at, where it is known, or the one that this client has used.
func (x *exchange) base() string {
	if known := Base(x.api.Servers); known != "" {
		return known
	}
	scheme := "http://"
	if x.api.TLS || x.r.TLS != nil {
		scheme = "https://"
	}
	return scheme + x.r.Host
}

// Base is where clients reach a service whose base URLs are these, without a slash at the end; empty where they do not say it.
func Base(servers []string) string {
	for _, server := range servers {
		if strings.HasPrefix(server, "http://") || strings.HasPrefix(server, "https://") {
			return strings.TrimSuffix(server, "/")
		}
	}
	return ""
}

// disposition is the name under which the result of a job is saved.
func disposition(j store.Job) string {
	return object.Disposition(j.ObjectKey, object.About{FileName: j.FileName})
}

// download answers GET /v1/customers/{customer_id}/jobs/{job_id}/download.
func (a *API) download(x *exchange) *Error {
	j, e := x.myJob(admission.Downloads)
	if e != nil {
		return e
	}
	if e := completed(j); e != nil {
		return e
	}
	address, _, e := x.link(j)
	if e != nil {
		return e
	}
	h := x.w.Header()
	h.Set("Location", address)
	h.Set("Content-Disposition", disposition(j))
	h.Set("Content-Length", "0")
	x.setWriteDeadline(writeTimeout)
	x.w.WriteHeader(http.StatusTemporaryRedirect)
	return nil
}
