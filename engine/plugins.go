package engine

import (
	"context"
	"sync"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// plugins are the third-party plugins of the lock file. Each is asked once what it offers, and not before somebody
// needs to know. It is safe for concurrent use.
type plugins struct {
	host    *host.Host
	entries []string // in the order of the lock file
	asked   map[string]func() host.Found
}

// askedAtOnce is how many plugins are started at a time to be asked.
const askedAtOnce = 4

func newPlugins(ctx context.Context, h *host.Host) *plugins {
	p := &plugins{host: h, asked: map[string]func() host.Found{}}
	for _, entry := range h.LockEntries() {
		p.entries = append(p.entries, entry.Name)
		p.asked[entry.Name] = sync.OnceValue(func() host.Found {
			found, err := h.Look(ctx, entry.Name)
			if err != nil {
				found = host.Found{Entry: entry, Err: err}
			}
			return found
		})
	}
	return p
}

// ask asks one plugin, or all when there is none of that name.
func (p *plugins) ask(name string) []host.Found {
	if one := p.asked[name]; one != nil {
		return []host.Found{one()}
	}
	all := make([]host.Found, len(p.entries))
	var wait sync.WaitGroup
	free := make(chan struct{}, askedAtOnce)
	for i, name := range p.entries {
		free <- struct{}{}
		wait.Go(func() {
			defer func() { <-free }()
			all[i] = p.asked[name]()
		})
	}
	wait.Wait()
	p.host.EndAsked() // most of them nobody needs
	return all
}

// offer is plan.Config.Others.
func (p *plugins) offer(name string) (plan.Catalog, []plan.Broken) {
	var offered plan.Catalog
	var broken []plan.Broken
	for _, found := range p.ask(name) {
		if found.Err != nil {
			broken = append(broken, plan.Broken{Plugin: found.Entry.Name, Fault: fault.From(found.Err)})
			continue
		}
		for _, m := range found.Offer.Stages {
			offered = append(offered, plan.Manifest{
				Plugin: found.Offer.Plugin, Kind: m.Kind, Name: m.Name, Summary: m.Summary, Doc: m.Doc,
				In: m.In, Out: m.Out, Spec: m.Spec, Concurrent: m.Concurrent, KeepsRows: m.KeepsRows,
			})
		}
	}
	return offered, broken
}

// offers are those of the plugins that work.
func (p *plugins) offers() (list []Offer) {
	for _, found := range p.ask("") {
		if found.Err == nil {
			list = append(list, found.Offer)
		}
	}
	return list
}
