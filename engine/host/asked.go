package host

import (
	"context"
	"slices"
	"sync"
	"time"
)

// askedProcesses are processes of third-party plugins that were asked something and have nothing of a run yet, at most
// one of each plugin. Start gives them out, so that a program is not started to be asked, and then again to run. They
// stand ready in the same way as those of the pool, and there are none where there is a pool.
type askedProcesses struct {
	mu     sync.Mutex
	of     map[string]*ready
	closed bool
}

// keep takes a process over, which may stand ready for a time. One that is one too many it ends.
func (a *askedProcesses) keep(m *ready, age time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.of[m.plugin] != nil {
		m.Close()
		return
	}
	if a.of == nil {
		a.of = map[string]*ready{}
	}
	a.of[m.plugin] = m
	m.tooOld = time.AfterFunc(age, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.of[m.plugin] == m {
			delete(a.of, m.plugin)
			m.Close() // under the lock, so that close leaves none
		}
	})
}

// end ends those that nobody has taken, but for those of some plugins.
func (a *askedProcesses) end(but ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ending sync.WaitGroup
	for plugin, m := range a.of {
		if !slices.Contains(but, plugin) {
			delete(a.of, plugin)
			m.tooOld.Stop()
			ending.Go(m.Close)
		}
	}
	ending.Wait()
}

// close ends all, and those that are still to come.
func (a *askedProcesses) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.end()
}

// takeAsked gives out the process of a plugin, if there is one that lives, answers, and would be started in the same way
// today.
func (h *Host) takeAsked(ctx context.Context, plugin string) *ready {
	h.asked.mu.Lock()
	m := h.asked.of[plugin]
	delete(h.asked.of, plugin)
	h.asked.mu.Unlock()
	if m == nil {
		return nil
	}
	m.tooOld.Stop()
	fit := isFit(ctx, m)
	if fit && m.entry.Bundle {
		// It reads its files where they are, and may do so later.
		_, err := h.verifiedBundle(ctx, *m.entry, h.cfg.PluginDir)
		fit = err == nil
	}
	if !fit {
		m.drop()
		return nil
	}
	return m
}

// KeepAsked takes over a process that Start has given out, and that was asked and nothing else. The next Start of the plugin
// gives it out again, if it is as good as a new one then; where that is not possible it is ended.
func (h *Host) KeepAsked(p Process) {
	if d, is := p.(*discreet); is && h.pool == nil {
		if out, is := d.Process.(*handedOut); is && out.isOriginal() {
			h.asked.keep(out.ready, h.cfg.WarmAge)
			return
		}
	}
	p.Close()
}

// EndAsked ends the processes that were asked, and that nobody needs, but for those of some plugins.
func (h *Host) EndAsked(but ...string) { h.asked.end(but...) }
