// Package install puts third-party plugins into a plugin folder, checks those that
// are there, and takes them away. It owns the folder's files: the programs, and the
// lock file, which is the one place that says what may be started. It never starts a
// program whose digest isn't known, and starts it only through package host, as a run
// would; it never decides what a plugin may do beyond what its operator has granted.
//
// A folder is changed by one process at a time, and in steps that leave it whole
// wherever they are cut: a new program gets a name that no other has, then the lock
// file is replaced by a rename, then the old program is removed.
package install

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/control"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// DefaultStall is how long a download may bring nothing.
const DefaultStall = time.Minute

// Codes of this package's faults. Those of package host come through as well.
const (
	CodeSource   = "install.source"   // what to install cannot be had from there
	CodeDownload = "install.download" // the server did not deliver it
	CodeDigest   = "install.digest"   // it is not what was asked for
	CodeManifest = "install.manifest" // what the plugin says of itself cannot be
	CodeNetwork  = "install.network"  // it asks for the network, which is not granted
	CodeFiles    = "install.files"    // what is granted of the files cannot be
	CodeName     = "install.name"     // its name is taken, or is not the one expected
	CodeExists   = "install.exists"   // it is installed already
	CodeFolder   = "install.folder"   // the plugin folder cannot be changed
)

// Config says where plugins are, and how they are tried.
type Config struct {
	// Host is how plugins are started. Its PluginDir is the plugin folder, which
	// Install makes when only its last part is missing.
	Host host.Config
	// Transport makes the requests of downloads; default one with time limits.
	Transport http.RoundTripper
	// Stall is how long a download may bring nothing; default DefaultStall.
	Stall time.Duration
}

// Request says what to install.
type Request struct {
	// From is the path of a program or of a bundle's folder, or the URL, with https, of a program.
	From string
	// SHA256 is what the program's digest must be, in hexadecimal. It may be empty.
	SHA256 string
	// Name is what the plugin must call itself. It may be empty.
	Name string
	// AllowNetwork grants the network to a plugin that asks for it.
	AllowNetwork bool
	// AllowFiles grants it files and directories, each as PATH:ro or PATH:rw.
	AllowFiles []string
	// Replace allows another program to take the place of the plugin's present one.
	Replace bool
	// Accept is asked about a program that was downloaded and whose digest nobody has
	// given, before it is started for the first time. Nil refuses it.
	Accept func(ctx context.Context, sha256 string, size int64) error
	// Progress is told how far a download is, ten times a second at most; total is -1
	// when the server does not say. It may be nil.
	Progress func(done, total int64)
}

// Installed is what was installed.
type Installed struct {
	Entry host.LockEntry
	Offer host.Offer
	// Replaced is the entry that was there before.
	Replaced *host.LockEntry
	// Warnings says what the new plugin changes for pipelines.
	Warnings []string
}

// candidate is the file name of a program that is not installed yet.
const candidate = "candidate"

// Install installs a plugin: it gets the program, holds it against its digest, starts
// it to ask what it offers, and puts it into the folder. When it fails or is
// cancelled, the folder is as it was. Errors are faults.
func Install(ctx context.Context, cfg Config, req Request) (*Installed, error) {
	req.SHA256 = strings.ToLower(req.SHA256)
	if err := req.check(); err != nil {
		return nil, err
	}
	if cfg.Host.PluginDir == "" {
		return nil, fault.New(CodeFolder, fault.Usage, "there is no plugin folder to install into")
	}
	from, err := parseSource(req.From)
	if err != nil {
		return nil, err
	}
	h, err := host.New(cfg.Host)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	// The host's directory is private, and is swept when this process is killed.
	dir, err := h.NewDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, candidate)
	digest, err := from.fetch(ctx, cfg, path, req.Progress)
	if err != nil {
		return nil, err
	}
	if err := req.trust(ctx, from, path, digest); err != nil {
		return nil, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fault.New(CodeFolder, fault.Internal, "the program is gone: %w", err)
	}
	bundle := info.IsDir()
	if bundle {
		// The host does not sweep what it may not write.
		defer host.RemoveBundle(path)
	}
	entry := host.LockEntry{Name: req.Name, SHA256: digest, Bundle: bundle, File: candidate, Origin: from.origin(),
		Files: req.AllowFiles}
	if entry.Name == "" {
		entry.Name = guessName(from.base())
	}
	entry.Grants = entry.GrantsOf()
	offer, err := h.Try(ctx, entry, dir)
	if err != nil {
		return nil, err
	}
	if err := req.agree(offer, cfg.Host.FirstParty); err != nil {
		return nil, err
	}
	others, err := h.Survey(ctx)
	if err != nil {
		return nil, err
	}
	entry = host.LockEntry{Name: offer.Plugin, Version: offer.Version, SHA256: digest, Bundle: bundle, File: programName(offer.Plugin, digest),
		Origin: entry.Origin, Network: offer.Network, Files: req.AllowFiles}
	entry.Grants = entry.GrantsOf()
	done := &Installed{Entry: entry, Offer: offer, Warnings: overlaps(offer, others)}
	done.Replaced, err = put(ctx, cfg.Host.PluginDir, path, entry, req.Replace)
	if err != nil {
		return nil, err
	}
	return done, nil
}

// check finds what is wrong with a request by itself.
func (r Request) check() error {
	if r.SHA256 != "" {
		if sum, err := hex.DecodeString(r.SHA256); err != nil || len(sum) != 32 {
			return fault.New(CodeSource, fault.Usage, "a SHA-256 has 64 hexadecimal digits, but %q was given", r.SHA256)
		}
	}
	if r.Name != "" && !host.ValidName(r.Name) {
		return fault.New(CodeName, fault.Usage, "%q is not a plugin's name (lower case, digits, dashes)", r.Name)
	}
	for _, text := range r.AllowFiles {
		if _, err := host.ParseFileGrant(text); err != nil {
			return fault.New(CodeFiles, fault.Usage, "files that a plugin may use: %w", err).
				WithHint("such as /data/in:ro or /data/out:rw")
		}
	}
	return nil
}

// trust decides whether a program may be started.
func (r Request) trust(ctx context.Context, from source, path, digest string) error {
	switch {
	case r.SHA256 == digest:
		return nil
	case r.SHA256 != "":
		return fault.New(CodeDigest, fault.Usage, "the program from %s is not the one that was asked for: its sha256 is %s, not %s", from.origin(), digest, r.SHA256).
			WithHint("do not use it before you know why")
	case !from.remote():
		return nil
	case r.Accept == nil:
		return fault.New(CodeDigest, fault.Usage,
			"the digest of the program from %s is not given, and nobody has accepted %s", from.origin(), digest)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fault.New(CodeFolder, fault.Internal, "the downloaded program is gone: %w", err)
	}
	return r.Accept(ctx, digest, info.Size())
}

// versionText is what a version is made of.
var versionText = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$`) })

// agree holds what a plugin says of itself against what may be installed.
func (r Request) agree(offer host.Offer, own stage.Bundle) error {
	bad := func(format string, args ...any) error {
		return fault.New(CodeManifest, fault.Plugin, "the plugin cannot be installed: "+format, args...)
	}
	switch {
	case !host.ValidName(offer.Plugin):
		return bad("it calls itself %q, which is not a plugin's name (lower case, digits, dashes)", offer.Plugin)
	case !versionText().MatchString(offer.Version):
		return bad("plugin %q says that its version is %q", offer.Plugin, offer.Version)
	case len(offer.Stages) == 0:
		return bad("plugin %q offers no stage", offer.Plugin)
	}
	seen := map[string]bool{}
	for _, m := range offer.Stages {
		name := string(m.Kind) + "/" + m.Name
		switch {
		case !slices.Contains(stage.Kinds, m.Kind) || !host.ValidName(m.Name):
			return bad("plugin %q offers a stage %q, which is not KIND/NAME (lower case, digits, dashes)", offer.Plugin,
				name)
		case seen[name]:
			return bad("plugin %q offers %s twice", offer.Plugin, name)
		}
		seen[name] = true
	}
	switch {
	case r.Name != "" && offer.Plugin != r.Name:
		return fault.New(CodeName, fault.Usage, "the program is plugin %q, not %q", offer.Plugin, r.Name)
	case offer.Plugin == own.Name:
		return fault.New(CodeName, fault.Usage,
			"the plugin calls itself %q, which is the name of the first-party stages", offer.Plugin).
			WithHint("the plugin must be built with another name")
	case offer.Network && !r.AllowNetwork:
		return fault.New(CodeNetwork, fault.Usage, "plugin %q asks for network access", offer.Plugin).
			WithHint("if it should have that, allow it with --allow-network")
	}
	return nil
}

// overlaps says which stages of a plugin others have too, by kind and name.
func overlaps(offer host.Offer, others []host.Found) (warnings []string) {
	for _, m := range offer.Stages {
		for _, other := range others {
			if other.Offer.Plugin == offer.Plugin ||
				!slices.ContainsFunc(other.Offer.Stages, func(o control.Manifest) bool { return o.Kind == m.Kind && o.Name == m.Name }) {
				continue
			}
			if other.Offer.FirstParty {
				warnings = append(warnings, fmt.Sprintf("there is a first-party %s %q: use: %s means that one, use: %s/%s the plugin's", m.Kind, m.Name, m.Name, offer.Plugin, m.Name))
			} else {
				warnings = append(warnings, fmt.Sprintf("plugin %q has a %s %q too: pipelines must say use: %s/%s or use: %s/%s",
					other.Offer.Plugin, m.Kind, m.Name, offer.Plugin, m.Name, other.Offer.Plugin, m.Name))
			}
		}
	}
	return warnings
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// guessName is what messages call a plugin before it has said its name.
func guessName(file string) string {
	file = strings.TrimPrefix(strings.ToLower(file), host.ProgramPrefix)
	name := strings.Trim(notInNames.ReplaceAllString(file, "-"), "-")
	if !host.ValidName(name) {
		return candidate
	}
	return name
}

// programName is the file name of a program: no two programs have the same, so that
// installing one never touches another.
func programName(plugin, digest string) string {
	return host.ProgramPrefix + plugin + "-" + digest[:12]
}
