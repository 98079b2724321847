package install

import (
	"context"
	"slices"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The checks of a plugin, in the order in which they are made. One that fails keeps
// those from being made that need it.
const (
	CheckGrants   = "grants"   // what it is granted was granted to this program, and can be had
	CheckProgram  = "program"  // the program is there
	CheckDigest   = "digest"   // its SHA-256 is the one that is pinned
	CheckStart    = "start"    // it starts, and describes itself
	CheckProtocol = "protocol" // it speaks the host's protocol version
	CheckName     = "name"     // it has the name that is pinned
	CheckVersion  = "version"  // it has the version that is pinned
	CheckNetwork  = "network"  // it does not ask for a network that it is not granted
)

// Checks is all of them.
var Checks = []string{CheckGrants, CheckProgram, CheckDigest, CheckStart, CheckProtocol, CheckName, CheckVersion,
	CheckNetwork}

// Status is how a check ended.
type Status string

// The states of a check.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"
	Skipped Status = "skipped" // an earlier one failed
)

// Verified is what was found out about a plugin of the lock file.
type Verified struct {
	Entry host.LockEntry
	Offer host.Offer
	// Checks has a status for each of Checks.
	Checks map[string]Status
	// Faults says why checks failed.
	Faults []*fault.Fault
}

// OK reports whether every check has passed.
func (v Verified) OK() bool { return len(v.Faults) == 0 }

// Verify checks every plugin of the folder, or those that are named. The error is that
// of a lock file that cannot be read, of a name that is not in it, or of ctx.
func Verify(ctx context.Context, cfg Config, names ...string) ([]Verified, error) {
	h, err := host.New(cfg.Host)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	entries := h.LockEntries()
	if len(names) > 0 {
		entries = nil
		for _, name := range names {
			entry, err := h.Locked(name)
			if err != nil {
				return nil, err
			}
			entries = append(entries, entry)
		}
	}
	var all []Verified
	for _, entry := range entries {
		offer, err := h.Describe(ctx, entry.Name)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		all = append(all, verdict(entry, offer, err))
	}
	return all, nil
}

// failedCheck is the check that a fault of a start belongs to.
var failedCheck = map[string]string{
	"plugin.grants":   CheckGrants,
	"plugin.missing":  CheckProgram,
	"plugin.program":  CheckProgram,
	"plugin.digest":   CheckDigest,
	"plugin.protocol": CheckProtocol,
}

// verdict makes the checks of what a start has shown.
func verdict(entry host.LockEntry, offer host.Offer, err error) Verified {
	v := Verified{Entry: entry, Offer: offer, Checks: map[string]Status{}}
	if f := fault.From(err); f != nil {
		check, ok := failedCheck[f.Code]
		if !ok {
			check = CheckStart
		}
		at := slices.Index(Checks, check)
		for i, c := range Checks {
			switch {
			case i < at:
				v.Checks[c] = Passed
			case i > at:
				v.Checks[c] = Skipped
			}
		}
		v.fail(check, f)
		return v
	}
	for _, c := range Checks {
		v.Checks[c] = Passed
	}
	differs := func(check, pinned, found string) {
		if pinned != found {
			v.fail(check, fault.New("plugin."+check, fault.Plugin, "the program of plugin %q says that its %s is %q, but %s has %q", entry.Name, check, found, host.LockName, pinned).
				WithHint("install it again with --replace"))
		}
	}
	differs(CheckName, entry.Name, offer.Plugin)
	differs(CheckVersion, entry.Version, offer.Version)
	if offer.Network && !entry.Network {
		v.fail(CheckNetwork, fault.New(CodeNetwork, fault.Usage, "plugin %q asks for network access, which %s does not grant", entry.Name, host.LockName).
			WithHint("if it should have that, install it again with --replace --allow-network"))
	}
	return v
}

func (v *Verified) fail(check string, f *fault.Fault) {
	v.Checks[check] = Failed
	v.Faults = append(v.Faults, f)
}
