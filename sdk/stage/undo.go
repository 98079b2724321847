package stage

import (
	"context"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Resource is something that a stage begins outside of its process and that outlives it; see Env.Announce.
type Resource struct {
	// Name says what it is, and Remedy how a person ends it, both for people: "the file /out/.rows.partial",
	// "rm /out/.rows.partial". Neither holds secrets or row data. They have at most LongestResourceText bytes each.
	Name, Remedy string
	// State is what Undo needs to find it again, and to know that it is the stage's own. It holds no secrets, has at
	// most LongestResourceState bytes, and only the stage understands it.
	State []byte
	// Discoverable says that the stage's next run to the same place finds it without having been told, and ends it
	// when its owner is dead.
	Discoverable bool
	// RunID is the run that announced it. The host sets it, whatever the stage says.
	RunID string
}

// Bounds of an announcement.
const (
	LongestResourceText  = 2000
	LongestResourceState = 16 << 10
	// MostResources is how many announcements of one process may be without their release.
	MostResources = 64
)

// Undoer is an ability of a source or a sink that announces what it begins. Undo ends something that a run of this
// stage announced and cannot end any more, because its process or its host has died. It is called in place of Open,
// with the settings of that run or of a later one, and may be called again for the same thing: what is gone already is
// no error. The announcement comes from a process that is not to be trusted any more, or from a file: Undo ends only
// what it can show to be what a run of this stage began at the place that the settings name. Elsewhere and Foreign are
// its answers to everything else. It returns soon after the end of ctx.
type Undoer interface {
	Undo(ctx context.Context, r Resource) error
}

// Codes of what was not undone.
const (
	// CodeElsewhere: the settings name another place.
	CodeElsewhere = "undo.elsewhere"
	// CodeForeign: it cannot be shown to be the stage's own.
	CodeForeign = "undo.foreign"
	// CodeCannotUndo: the stage, or its plugin, has not the ability.
	CodeCannotUndo = "undo.unsupported"
)

// Elsewhere is what Undo returns for something that does not belong to the place that its settings name.
func Elsewhere(format string, args ...any) error {
	return fault.New(CodeElsewhere, fault.Sink, format, args...)
}

// Foreign is what Undo returns for something that it cannot show to be its own.
func Foreign(format string, args ...any) error {
	return fault.New(CodeForeign, fault.Plugin, format, args...)
}
