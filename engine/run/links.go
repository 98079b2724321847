package run

import (
	"context"
	"slices"
	"sync"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/link"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/peer"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// makeEdges makes the directories of all sockets.
func (r *run) makeEdges(dir string) error {
	for n := 1; n < len(r.plan.Groups); n++ {
		sockets := []string{link.Socket(dir, n)}
		if r.opts.Tap != nil {
			sockets = append(sockets, link.RelaySocket(dir, n))
		}
		for _, socket := range sockets {
			if err := link.MakeDir(socket); err != nil {
				return err
			}
		}
	}
	return nil
}

// sockets are where group i listens and where it connects to; empty at the ends.
func (r *run) sockets(i int, dir string) (input, output string) {
	if i > 0 {
		input = link.Socket(dir, i)
	}
	if i < len(r.plan.Groups)-1 {
		output = link.Socket(dir, i+1)
		if r.opts.Tap != nil {
			output = link.RelaySocket(dir, i+1)
		}
	}
	return input, output
}

// reach lists the directories of the sockets that the process of group i uses.
func (r *run) reach(i int, dir string) []host.Reach { return link.Reach(r.sockets(i, dir)) }

// introduce sets, for each data socket, which process is expected at the other end and the words by which it proves it.
func (r *run) introduce(ctx context.Context) error {
	ends := make([]link.End, len(r.groups))
	own := make([]bool, len(r.groups)) // processes of this program
	errs := make([]error, len(r.groups))
	var wait sync.WaitGroup
	for i, g := range r.groups {
		switch planned := r.plan.Groups[i]; {
		case planned.InHost:
			ends[i], own[i] = link.Own(), true
		case r.plan.Stages[planned.Stages[0]].FirstParty && !planned.Attach:
			ends[i], own[i] = link.End{PID: g.process.PID(), Words: true}, true
		default:
			wait.Go(func() {
				var offer host.Offer
				offer, errs[i] = g.process.Describe(ctx)
				ends[i], g.isolation = link.End{PID: g.process.PID(), Words: offer.LinkWords}, offer.Isolation
			})
		}
	}
	wait.Wait()
	for i, err := range errs {
		if err != nil {
			return fault.InStage(err, r.groups[i].stages[0])
		}
	}
	timeout := link.StrangerTimeout
	if r.debugged() {
		timeout = 0
	}
	r.before, r.after = make([]peer.Expected, len(r.groups)), make([]peer.Expected, len(r.groups))
	for n := 1; n < len(r.groups); n++ {
		writer, reader := ends[n-1], ends[n]
		if r.opts.Tap == nil {
			l := link.New(writer, reader, timeout)
			if own[n-1] && own[n] {
				l.ShareMemory()
			}
			l.ToWriter.MayFinish = r.filterFrom(n)
			r.after[n-1], r.before[n] = l.ToWriter, l.ToReader
			continue
		}
		// A relay takes everything: what a recording holds is whole.
		up, down := link.New(writer, link.Own(), timeout), link.New(link.Own(), reader, timeout)
		r.after[n-1], r.before[n] = up.ToWriter, down.ToReader
		relay := r.relays[n-1]
		relay.before, relay.after = up.ToReader, down.ToWriter
	}
	return nil
}

// filterFrom reports whether there is a filter in group n or behind it, which alone may leave rows out.
func (r *run) filterFrom(n int) bool {
	return slices.ContainsFunc(r.plan.Groups[n:], func(g plan.Group) bool {
		return slices.ContainsFunc(g.Stages, func(i int) bool { return r.plan.Stages[i].Kind == stage.KindFilter })
	})
}
