package config

import (
	"context"
	"io/fs"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// Settings are what a document comes to: checked, paths absolute, networks parsed and secrets read. They are not changed.
type Settings struct {
	Spec
	// File is the document, and Name its metadata.name.
	File, Name string
	// Directory is the data directory; empty when the record is on a server, whose connection URL Record is.
	Directory string
	Record    config.Secret
	// Shared says that the record is on a server, also where secrets are not read.
	Shared         bool
	DataKey        config.Secret // empty when the data directory has its own
	Buckets        map[string]Bucket
	AdminNetworks  []netip.Prefix
	TrustedProxies []netip.Prefix
	// AllowNetworks are webhooks.allow_networks, and SourceAddresses webhooks.source_addresses.
	AllowNetworks, SourceAddresses []netip.Prefix
	MailPassword                   config.Secret
	Customers                      []Customer
	// Schedules are those of the documents that Spec.Schedules names.
	Schedules []Schedule
}

// Customer is a customer with its secrets.
type Customer struct {
	CustomerSpec
	DSN config.Secret
	// EncryptionKeys are single keys.
	EncryptionKeys []config.Secret
	Networks       []netip.Prefix
}

// Bucket is a bucket with its secrets.
type Bucket struct {
	BucketSpec
	AccessKeyID, SecretAccessKey config.Secret
}

// Options are what reading needs besides the document.
type Options struct {
	// Secret reads the secret that a reference names (env:, file: and command:). Nil reads none: references are checked
	// in form only, and the settings are good for looking at.
	Secret func(ctx context.Context, reference string) (string, error)
	// Listen takes the place of listen.address; empty leaves it.
	Listen string
	// State takes the place of state; paths are relative to the current folder. Empty leaves it.
	State string
	// Open opens the document; default os.Open. See document.Loader.
	Open func(path string) (fs.File, error)
}

// Load reads a document. The settings are nil when the diagnostics have errors; source gives the document's lines for
// showing them.
func Load(ctx context.Context, path string, o Options) (settings *Settings, diags diag.List, source diag.Source) {
	loader := &document.Loader{Open: o.Open}
	doc, diags := loader.Settings(path, Kind, spec())
	if doc == nil {
		return nil, diags, loader.Source
	}
	written, err := config.Decode[Spec](optional(), doc.JSON)
	if err != nil {
		diags.Add(diag.At(doc.At(), document.CodeNotAllowed, "%v", err))
		return nil, diags, loader.Source
	}
	if o.Listen != "" {
		written.Listen.Address = o.Listen
	}
	if o.State != "" {
		written.State = fromHere(o.State)
	}
	c := &checker{ctx: ctx, doc: doc, loader: loader, options: o, folder: filepath.Dir(path), diags: diags, keyAt: map[string]diag.Position{}}
	settings = c.settings(written)
	if diags = c.diags.Normalise(); diags.HasErrors() {
		settings = nil
	}
	return settings, diags, c.source(loader.Source)
}

// fromHere is what the command line says of the state, with a path that does not depend on the document's folder.
func fromHere(state string) string {
	file, is := strings.CutPrefix(state, "file:")
	if !is {
		file = state
		if refersToServer(state) {
			return state
		}
	}
	absolute, err := filepath.Abs(file)
	switch {
	case err != nil || file == "":
		return state
	case is:
		return "file:" + absolute
	}
	return absolute
}

// Default is a document that says nothing.
func Default() Spec {
	s, err := config.Decode[Spec](optional(), nil)
	if err != nil {
		panic(err) // a default that is wrong is a mistake in the program
	}
	return s
}
