package host

import "context"

// Describe starts a process of a plugin and asks what it offers: for the first-party name, of Config.Executable. Whatever
// name the program gives itself is taken.
func (h *Host) Describe(ctx context.Context, plugin string) (Offer, error) {
	p, err := h.start(ctx, plugin)
	if err != nil {
		return Offer{}, err
	}
	defer p.Close()
	name, version, stages, err := p.describe(ctx)
	if err != nil {
		return Offer{}, err
	}
	return Offer{Plugin: name, Version: version, Stages: stages}, nil
}
