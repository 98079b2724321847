package host

import (
	"slices"

	"github.com/cipherstream/cipherstream/engine/host/jail"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// viewOf is what a process sees that works in dir: the system, what is granted, dir, and what it has to reach.
func (h *Host) viewOf(i Isolation, dir string, reach []Reach) (*view, error) {
	v, err := newView(i.Network)
	if err != nil {
		return nil, err
	}
	for _, text := range i.Files {
		g, err := ParseFileGrant(text)
		if err == nil {
			err = v.show(g.Path, g.Write)
		}
		if err != nil {
			return nil, fault.New(codeGrants, fault.Usage, "%s is granted, but cannot be shown to the plugin: %w", text, reasonOf(err)).
				WithHint("make it, or install the plugin again without it")
		}
	}
	// Whatever is granted: what other processes work with is not.
	v.hide(realPath(h.dir.path))
	for _, r := range slices.Concat([]Reach{{dir, true}}, reach) {
		if err := v.show(r.Path, r.Write); err != nil {
			return nil, fault.New("host.directory", fault.Internal, "a plugin cannot be shown %s: %w", r.Path, reasonOf(err))
		}
	}
	return v, nil
}

// tempShare is which part of its memory limit a confined process may have in /tmp at most, where it counts as memory.
const tempShare = 2

// jailFor makes a Spec of a view, for a process that works in dir.
func (h *Host) jailFor(v *view, dir string) *jail.Spec {
	return &jail.Spec{Base: dir, Places: v.ordered(), TempBytes: h.cfg.MemoryLimit / tempShare, Directory: dir}
}

// confine says what a process that is confined, and works in dir, sees.
func (h *Host) confine(confined *confinement, dir, program string, reach []Reach) error {
	v, err := h.viewOf(confined.isolation, dir, reach)
	if err != nil {
		return err
	}
	if err := v.showInterpreter(program); err != nil {
		return fault.New("host.directory", fault.Internal, "a plugin cannot be shown its interpreter: %w",
			reasonOf(err))
	}
	confined.jail = h.jailFor(v, dir)
	confined.jail.Program, confined.jail.Args = program, []string{program}
	return nil
}
