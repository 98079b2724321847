package run

import (
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// rowsKept checks the filters that declare to keep all rows, by comparing the row counts of the groups around them. The
// SDK checks this in a plugin itself, but a plugin need not be written with the SDK. It is called when all groups but
// the sink's have finished and the sink has received everything.
func (r *run) rowsKept() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, planned := range r.plan.Groups {
		filters, keeps, encodes := r.filters(planned)
		if len(filters) == 0 || !keeps {
			continue
		}
		given := r.groups[i].rows
		if i > 0 && r.trusted(r.plan.Groups[i-1]) {
			given = r.groups[i-1].rows
		}
		var gave int64
		switch last := i+1 == len(r.groups)-1; {
		case i+1 == len(r.groups):
			continue // the rows go to a sink in the same process, so only the plugin itself could count them
		case encodes && (r.groups[i].finished == nil || r.groups[i].finished.EncodedRows == nil):
			continue // it ends in a sink, or its plugin does not report rows
		case encodes:
			gave = r.groups[i].finished.GetEncodedRows()
		case last && !r.firstParty(r.plan.Groups[i+1]):
			continue // the numbers of others are exact only when they have finished
		default:
			gave = r.groups[i+1].rows
		}
		if given != gave {
			return fault.InStage(fault.New("plugin.contract", fault.Plugin,
				"plugin %q declares that it keeps rows, but made %d of %d", planned.Plugin, gave, given), joined(filters))
		}
	}
	return nil
}

// filters returns the IDs of a group's filters, whether all of them keep all rows, and whether the group has an encoder
// after them.
func (r *run) filters(g plan.Group) (ids []string, keep, encodes bool) {
	keep = true
	for _, s := range g.Stages {
		switch s := r.plan.Stages[s]; s.Kind {
		case stage.KindFilter:
			ids = append(ids, s.ID)
			keep = keep && s.KeepsRows
		case stage.KindEncoder:
			encodes = true
		}
	}
	return ids, keep, encodes
}

// firstParty reports whether a group has stages of this program.
func (r *run) firstParty(g plan.Group) bool { return r.plan.Stages[g.Stages[0]].FirstParty }

// trusted reports whether the row count of a group can be relied on: as many rows leave it as enter it.
func (r *run) trusted(g plan.Group) bool {
	_, keep, _ := r.filters(g)
	return keep && r.firstParty(g)
}
