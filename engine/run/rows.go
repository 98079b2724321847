package run

import (
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// rowsKept holds the filters that declare to keep every row to it, by what the groups beside them
// counted: a plugin that is not written with the SDK is watched by nobody else. It is asked when
// all but the sink have finished, and the sink holds everything.
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
			continue // its sink takes the rows in the same process, and nobody else counts them
		case encodes && (r.groups[i].finished == nil || r.groups[i].finished.EncodedRows == nil):
			continue // it ends in a sink, or its program does not say
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

// filters are the filters of a group by ID, whether they keep all rows, and whether an encoder comes after them.
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

// firstParty reports whether a group is of this program.
func (r *run) firstParty(g plan.Group) bool { return r.plan.Stages[g.Stages[0]].FirstParty }

// trusted reports whether as many rows have left a group as it says have entered it.
func (r *run) trusted(g plan.Group) bool {
	_, keep, _ := r.filters(g)
	return keep && r.firstParty(g)
}
