package host

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/cipherstream/cipherstream/sdk/control"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Describe starts a process of a plugin and asks what it offers; under the first-party name it starts
// Config.Executable. The name that the program gives itself is not checked.
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

// Pin returns an entry for a program, or a bundle's folder, that is in no lock file, and the folder of the program, for StartEntry and Try.
// The entry grants nothing.
func Pin(ctx context.Context, program string) (entry LockEntry, folder string, err error) {
	name := filepath.Base(program)
	if info, err := os.Stat(program); err == nil && info.IsDir() {
		digest, err := HashBundle(ctx, program)
		return LockEntry{Name: name, File: name, SHA256: digest, Bundle: true}, filepath.Dir(program), err
	}
	file, err := OpenProgram(program)
	if err != nil {
		return LockEntry{}, "", err
	}
	defer file.Close()
	digest, err := hashProgram(ctx, file)
	if err != nil {
		return LockEntry{}, "", fault.New(codeProgram, fault.Usage, "the program cannot be read: %w", err)
	}
	return LockEntry{Name: name, File: name, SHA256: digest}, filepath.Dir(program), nil
}

// OwnOffer is what the first-party stages offer.
func (h *Host) OwnOffer() Offer { return offerOf(h.cfg.FirstParty) }

// offerOf is what this program offers with the stages of a bundle.
func offerOf(own stage.Bundle) Offer {
	return Offer{Plugin: own.Name, Version: own.Version, FirstParty: true, Protocol: control.ProtocolVersion, Network: own.Network, LinkWords: true,
		Stages: control.ManifestsOf(own)}
}

// ofEntry is the offer of a plugin of the lock file. The name that the program gives itself must be that of the entry.
func ofEntry(entry LockEntry, offer Offer, err error) (Offer, error) {
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

// surveyed is how many plugins Survey has started at a time.
const surveyed = 4

// Survey describes every plugin: the first-party stages, then the third-party plugins in the order of the lock file,
// each of which is started. A plugin that is broken has its error in Found, and one that does not answer delays only
// itself. Survey fails only when ctx ends.
func (h *Host) Survey(ctx context.Context) ([]Found, error) {
	all := make([]Found, 1+len(h.lock.Plugins))
	all[0] = Found{Offer: h.OwnOffer()}
	var wait sync.WaitGroup
	free := make(chan struct{}, surveyed)
	for i, entry := range h.lock.Plugins {
		free <- struct{}{}
		wait.Go(func() {
			defer func() { <-free }()
			offer, err := h.Describe(ctx, entry.Name)
			offer, err = ofEntry(entry, offer, err)
			all[1+i] = Found{Entry: entry, Offer: offer, Err: err}
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return all, nil
}

// Look describes one plugin. It fails when there is no plugin of that name; what is wrong with the plugin itself is in
// Found. A third-party process that has answered well is kept for the next Start.
func (h *Host) Look(ctx context.Context, plugin string) (Found, error) {
	if plugin == h.cfg.FirstParty.Name {
		return Found{Offer: h.OwnOffer()}, nil
	}
	entry, err := h.Locked(plugin)
	if err != nil {
		return Found{}, err
	}
	found := Found{Entry: entry}
	p, err := h.makeReady(ctx, plugin)
	if err != nil {
		found.Err = err
		return found, nil
	}
	found.Offer, err = p.Describe(ctx)
	if found.Offer, found.Err = ofEntry(entry, found.Offer, err); found.Err != nil || h.pool != nil {
		p.Close()
		return found, nil
	}
	h.asked.keep(p, h.cfg.WarmAge)
	return found, nil
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
