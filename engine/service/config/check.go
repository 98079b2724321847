package config

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/mysqlurl"
)

// The codes of what only the whole document, or the machine, can tell.
const (
	CodeAddress     = "service.address"
	CodeNetwork     = "service.network"
	CodePlain       = "service.plain"
	CodeCertificate = "service.certificate"
	CodeFolder      = "service.folder"
	CodeBucket      = "service.bucket"
	CodeCustomer    = "service.customer"
	CodeName        = "service.name"
	CodeReference   = "service.secret_reference"
	CodeDSN         = "service.dsn"
	CodeLimit       = "service.limit"
	CodeState       = "service.state"
)

// checker turns what was written into settings. A value that was left out of the tree, because it is wrong by itself,
// is the zero value here, and nothing more is said of it.
type checker struct {
	ctx     context.Context
	doc     *document.Settings
	loader  *document.Loader
	options Options
	folder  string
	diags   diag.List
	named   map[string]string        // spec.secrets
	secrets map[string]config.Secret // by reference; those that could be read
	failed  map[string]bool          // references of which it has been said that they could not
	hidden  []string                 // what stands in the document and may be a secret
	keyAt   map[string]diag.Position // where an encryption key of a customer stands first, by its id
}

func (c *checker) wrong(code string, path []string, format string, args ...any) {
	c.add(diag.At(c.doc.At(path...), code, format, args...), path)
}

func (c *checker) add(d diag.Diagnostic, path []string) {
	d.Pointer = "/spec/" + strings.Join(path, "/")
	c.diags.Add(d)
}

// source gives the lines of the document, without what may be a secret in them.
func (c *checker) source(content diag.Source) diag.Source {
	return func(file string) []byte {
		text := content(file)
		for _, hidden := range c.hidden {
			text = bytes.ReplaceAll(text, []byte(hidden), bytes.Repeat([]byte("*"), utf8.RuneCountInString(hidden)))
		}
		return text
	}
}

func (c *checker) settings(w Spec) *Settings {
	s := &Settings{Spec: w, File: c.doc.File, Name: c.doc.Metadata.Name}
	c.named = w.Secrets
	s.AdminNetworks = c.networks(w.AdminNetworks, "admin_networks")
	s.TrustedProxies = c.networks(w.TrustedProxies, "trusted_proxies")
	c.listen(&s.Listen, w.TrustedProxies)
	if w.Operations.Address != Off {
		c.address(w.Operations.Address, "operations", "address")
	}
	for i, server := range w.Servers {
		if u, err := url.Parse(server); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.User != nil {
			c.wrong(CodeAddress, []string{"servers", strconv.Itoa(i)}, "%q is not a base URL such as https://api.example.com", diag.Printable(server))
		}
	}
	s.Plugins = c.existing(w.Plugins, "plugins")
	s.Catalogue = c.existing(w.Catalogue, "catalogue")
	s.Limits.Spool.Directory = c.existing(w.Limits.Spool.Directory, "limits", "spool", "directory")
	c.limits(w.Limits)
	for name, reference := range w.Secrets {
		c.reference(reference, false, "secrets", name)
	}
	if reference := w.DataKey.Reveal(); reference != "" {
		s.DataKey = c.keys(reference, "data_key")
	}
	c.state(s, w)
	c.jobs(w.Jobs)
	s.AllowNetworks = c.networks(w.Webhooks.AllowNetworks, "webhooks", "allow_networks")
	s.SourceAddresses = c.networks(w.Webhooks.SourceAddresses, "webhooks", "source_addresses")
	c.mail(s, w.Mail)
	s.Buckets = c.buckets(w)
	seen := map[string]int{}
	for i := range w.Customers {
		s.Customers = append(s.Customers, c.customer(w, i, seen))
	}
	if len(w.Customers) == 0 && !c.diags.HasErrors() {
		c.add(diag.At(c.doc.At("customers"), CodeCustomer, "no customer is declared, so that every request is refused").AsWarning(), []string{"customers"})
	}
	c.withoutBuckets(w)
	s.Schedules = c.schedules(w)
	return s
}

// Off is no listener for operators, in the place of its address.
const Off = "off"

// address checks HOST:PORT, and says whether that is loopback only.
func (c *checker) address(text string, path ...string) (loopback bool) {
	host, port, err := net.SplitHostPort(text)
	if _, notNumber := strconv.ParseUint(port, 10, 16); err != nil || notNumber != nil || host == "" {
		c.wrong(CodeAddress, path, "%q is not an address and a port such as 127.0.0.1:8080", diag.Printable(text))
		return true // nothing more is said of it
	}
	return mysqlurl.IsLoopback(host)
}

func (c *checker) listen(l *Listen, proxies []string) {
	loopback := c.address(l.Address, "listen", "address")
	switch {
	case l.Certificate == "" && l.Key == "":
		switch {
		case loopback:
		case l.Plain != "proxy":
			c.add(diag.At(c.doc.At("listen"), CodePlain, "%s is reached from other machines, and no certificate is given", l.Address).
				WithHint("give certificate and key; where a proxy ends TLS, set plain: proxy"), []string{"listen"})
		case len(proxies) == 0:
			c.add(diag.At(c.doc.At("listen", "plain"), CodePlain, "a proxy is to end TLS, but trusted_proxies names none").
				WithHint("name its network, such as 10.0.0.0/24"), []string{"listen", "plain"})
		}
		return
	case l.Certificate == "" || l.Key == "":
		c.wrong(CodeCertificate, []string{"listen"}, "a certificate and its key go together, and one of the two is missing")
		return
	}
	l.Certificate, l.Key = c.path(l.Certificate), c.path(l.Key)
	pair, err := tls.LoadX509KeyPair(l.Certificate, l.Key)
	if err != nil {
		// The error names a file, or says that the two do not fit; it holds nothing of the key.
		c.wrong(CodeCertificate, []string{"listen", "certificate"}, "certificate and key cannot be used: %v", err)
		return
	}
	if now := time.Now(); now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		c.add(diag.At(c.doc.At("listen", "certificate"), CodeCertificate, "the certificate holds from %s to %s, and not now",
			pair.Leaf.NotBefore.UTC().Format(time.RFC3339), pair.Leaf.NotAfter.UTC().Format(time.RFC3339)).AsWarning(), []string{"listen", "certificate"})
	}
	if info, err := os.Stat(l.Key); err == nil && info.Mode().Perm()&0o077 != 0 {
		c.add(diag.At(c.doc.At("listen", "key"), CodeCertificate, "others than its owner can read the key (mode %#o)", info.Mode().Perm()).
			WithHint("chmod 600 %s", l.Key).AsWarning(), []string{"listen", "key"})
	}
}

func (c *checker) networks(texts []string, path ...string) []netip.Prefix {
	var out []netip.Prefix
	for i, text := range texts {
		network, err := netip.ParsePrefix(text)
		if address, single := netip.ParseAddr(text); err != nil && single == nil {
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		at := append(slices.Clone(path), strconv.Itoa(i))
		switch {
		case err != nil:
			c.add(diag.At(c.doc.At(at...), CodeNetwork, "%q is not a network such as 10.0.0.0/8 or 2001:db8::/32", diag.Printable(text)), at)
		case network != network.Masked():
			c.add(diag.At(c.doc.At(at...), CodeNetwork, "%s has bits set behind its %d bits of network", text, network.Bits()).
				WithHint("write %s", network.Masked()), at)
		default:
			out = append(out, network)
		}
	}
	return out
}

// path is a path of the document, absolute; empty stays so.
func (c *checker) path(text string) string {
	if text == "" || filepath.IsAbs(text) {
		return text
	}
	absolute, err := filepath.Abs(filepath.Join(c.folder, text))
	if err != nil {
		return text
	}
	return absolute
}

// existing is the path of a folder that must be there.
func (c *checker) existing(text string, path ...string) string {
	folder := c.path(text)
	if folder == "" {
		return ""
	}
	info, err := os.Stat(folder)
	switch {
	case err != nil:
		c.wrong(CodeFolder, path, "the folder cannot be used: %v", err)
	case !info.IsDir():
		c.wrong(CodeFolder, path, "%s is not a folder", folder)
	}
	return folder
}

func (c *checker) limits(l Limits) {
	if l.Memory > 0 && l.RunMemory > l.Memory {
		c.wrong(CodeLimit, []string{"limits", "run_memory"}, "one run may have %v, more than all together: limits.memory is %v", l.RunMemory, l.Memory)
	}
	if s := l.Spool; s.Answer > 0 && s.Process > 0 && s.Answer > s.Process {
		c.wrong(CodeLimit, []string{"limits", "spool", "answer"}, "one answer may have %v, more than all together: limits.spool.process is %v", s.Answer, s.Process)
	}
}

var attributePattern = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (c *checker) customer(w Spec, i int, seen map[string]int) Customer {
	written := w.Customers[i]
	out := Customer{CustomerSpec: written}
	at := func(path ...string) []string { return append([]string{"customers", strconv.Itoa(i)}, path...) }
	if first, twice := seen[written.ID]; twice && written.ID != "" {
		c.add(diag.At(c.doc.At(at("id")...), document.CodeDuplicateName, "customer %q is declared twice", diag.Printable(written.ID)).
			WithRelated(c.doc.At("customers", strconv.Itoa(first), "id"), "the first one is here"), at("id"))
	}
	seen[written.ID] = i
	if written.ID != "" && !customer.ValidID(written.ID) {
		c.add(diag.At(c.doc.At(at("id")...), document.CodeBadName, "%q is no customer_id: expected 1 to 64 letters, digits, dashes and underscores", diag.Printable(written.ID)), at("id"))
	}
	if written.Bucket != "" && !hasKey(w.Buckets, written.Bucket) {
		var names []string
		for name := range w.Buckets {
			names = append(names, name)
		}
		slices.Sort(names)
		c.add(diag.At(c.doc.At(at("bucket")...), document.CodeUnknownName, "no bucket is called %q", diag.Printable(written.Bucket)).
			WithSuggestion(written.Bucket, names), at("bucket"))
	}
	out.Networks = c.networks(written.Networks, at("networks")...)
	c.notify(written.Notify, w.Mail.Server, at)
	out.DataStream.Pipeline = c.streamPipeline(written.DataStream.Pipeline, at("data_stream", "pipeline"))
	c.allowed(written.Allow.Tables, at("allow", "tables")...)
	c.allowed(written.Allow.Procedures, at("allow", "procedures")...)
	if _, err := time.LoadLocation(written.TimeZone); err != nil {
		c.add(diag.At(c.doc.At(at("time_zone")...), CodeName, "%q is no time zone of the IANA database", diag.Printable(written.TimeZone)).
			WithHint("write a name such as Australia/Sydney"), at("time_zone"))
	}
	for name := range written.Attributes {
		if !attributePattern.MatchString(name) || name == "id" || name == "time_zone" {
			c.wrong(document.CodeBadName, at("attributes", name), "%q is no name of an attribute: lower-case letters, digits and underscores, and neither id nor time_zone", diag.Printable(name))
		}
	}
	if reference := written.DSN.Reveal(); reference != "" {
		dsn, read := c.reference(reference, true, at("dsn")...)
		if out.DSN = dsn; read {
			if _, err := mysqlurl.Parse(dsn.Reveal()); err != nil {
				var problem *mysqlurl.Problem
				errors.As(err, &problem)
				c.add(diag.At(c.doc.At(at("dsn")...), CodeDSN, "%v", err).WithHint("%s", problem.Hint), at("dsn"))
			}
		}
	}
	for k, reference := range written.EncryptionKeys {
		place := at("encryption_keys", strconv.Itoa(k))
		for _, key := range eachKey(c.keys(reference.Reveal(), place...)) {
			c.onlyHere(key, place)
			out.EncryptionKeys = append(out.EncryptionKeys, key)
		}
	}
	return out
}

// onlyHere refuses an encryption key that stands elsewhere too: its uses are counted for one customer.
func (c *checker) onlyHere(key config.Secret, path []string) {
	ring, err := envelope.ParseRing(key.Reveal(), "")
	if err != nil {
		return // it was said
	}
	at := c.doc.At(path...)
	if first, there := c.keyAt[ring.Active()]; there {
		c.add(diag.At(at, CodeCustomer, "the encryption key %s is given twice", ring.Active()).
			WithRelated(first, "the first time here").WithHint("give every customer keys of its own, each once"), path)
		return
	}
	c.keyAt[ring.Active()] = at
}

// eachKey takes keys apart that were good for a ring: one a line or with commas between them, and comments behind #.
func eachKey(keys config.Secret) (out []config.Secret) {
	for line := range strings.Lines(keys.Reveal()) {
		line, _, _ = strings.Cut(line, "#")
		for word := range strings.SplitSeq(line, ",") {
			if word = strings.TrimSpace(word); word != "" {
				out = append(out, config.NewSecret(word))
			}
		}
	}
	return out
}

// keys reads encryption keys.
func (c *checker) keys(reference string, path ...string) config.Secret {
	keys, read := c.reference(reference, true, path...)
	if !read {
		return keys
	}
	if _, err := envelope.ParseRing(keys.Reveal(), ""); err != nil {
		f := fault.From(err) // names a key by its line
		c.add(diag.At(c.doc.At(path...), f.Code, "%s", f.Message).WithHint("%s", f.Hint), path)
	}
	return keys
}

func hasKey[V any](m map[string]V, key string) bool { _, ok := m[key]; return ok }

// allowed checks names that are handed on as one text with commas between them.
func (c *checker) allowed(names []string, path ...string) {
	for i, name := range names {
		if strings.TrimSpace(name) == "" || strings.ContainsAny(name, ",") {
			c.wrong(CodeName, append(slices.Clone(path), strconv.Itoa(i)), "%q cannot be allowed: it is no name", diag.Printable(name))
		}
	}
}
