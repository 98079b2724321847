package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"path/filepath"
	"slices"

	"github.com/cipherstream/cipherstream/sdk/control"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Describe starts a process of a plugin and asks what it offers: for the first-party name, of Config.Executable. Whatever
// name the program gives itself is taken.
func (h *Host) Describe(ctx context.Context, plugin string) (Offer, error) {
	p, err := h.start(ctx, plugin)
	if err != nil {
		return Offer{}, err
	}
	defer p.Close()
	return p.Describe(ctx)
}

// Try starts a program as if the lock file pinned it with entry, and asks what it
// offers, whatever name it gives itself. The program is in the folder from.
func (h *Host) Try(ctx context.Context, entry LockEntry, from string) (Offer, error) {
	p, err := h.startEntry(ctx, entry, from)
	if err != nil {
		return Offer{}, err
	}
	defer p.Close()
	return p.Describe(ctx)
}

// Pin makes an entry for a program that no lock file names, and the folder that it is in, for StartEntry and Try. It grants
// nothing.
func Pin(ctx context.Context, program string) (entry LockEntry, folder string, err error) {
	file, err := OpenProgram(program)
	if err != nil {
		return LockEntry{}, "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, interruptible{ctx, file}); err != nil {
		return LockEntry{}, "", fault.New(codeProgram, fault.Usage, "the program cannot be read: %w", err)
	}
	name := filepath.Base(program)
	return LockEntry{Name: name, File: name, SHA256: hex.EncodeToString(hash.Sum(nil))}, filepath.Dir(program), nil
}

// ownOffer is the first-party stages.
func (h *Host) ownOffer() Offer { return offerOf(h.cfg.FirstParty) }

// offerOf is what this program offers by a bundle.
func offerOf(own stage.Bundle) Offer {
	return Offer{Plugin: own.Name, Version: own.Version, FirstParty: true, Protocol: control.ProtocolVersion, Network: own.Network, LinkWords: true,
		Stages: control.ManifestsOf(own)}
}

// describe starts a plugin of the lock file, which must know itself by the same name.
func (h *Host) describe(ctx context.Context, entry LockEntry) (Offer, error) {
	offer, err := h.Describe(ctx, entry.Name)
	if err != nil {
		return Offer{}, err
	}
	if offer.Plugin != entry.Name {
		return Offer{}, fault.New("plugin.name", fault.Plugin, "the program of plugin %q says that it is %q", entry.Name, offer.Plugin).
			WithHint("correct the name in %s", LockName)
	}
	return offer, nil
}

// Found is a plugin, whether or not it works.
type Found struct {
	// Entry is empty for the first-party stages.
	Entry LockEntry
	Offer Offer
	// Err says why a plugin of the lock file offers nothing.
	Err error
}

// Survey describes every plugin, as Offers does, and goes on when one is broken. The
// error is that of a context that has ended.
func (h *Host) Survey(ctx context.Context) ([]Found, error) {
	all := []Found{{Offer: h.ownOffer()}}
	for _, entry := range h.lock.Plugins {
		found, err := h.Look(ctx, entry.Name)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found)
	}
	return all, nil
}

// Look describes one plugin. The error is that of a name that no plugin has; what is
// wrong with the plugin itself is in Found.
func (h *Host) Look(ctx context.Context, plugin string) (Found, error) {
	if plugin == h.cfg.FirstParty.Name {
		return Found{Offer: h.ownOffer()}, nil
	}
	entry, err := h.Locked(plugin)
	if err != nil {
		return Found{}, err
	}
	offer, err := h.describe(ctx, entry)
	return Found{Entry: entry, Offer: offer, Err: err}, nil
}

// LockEntries returns the entries of the lock file, in its order.
func (h *Host) LockEntries() []LockEntry { return slices.Clone(h.lock.Plugins) }

// Locked returns the entry of a plugin in the lock file.
func (h *Host) Locked(plugin string) (LockEntry, error) {
	entry, ok := h.lock.Find(plugin)
	if !ok {
		return LockEntry{}, unknownPlugin(plugin)
	}
	return entry, nil
}
