// Package document reads pipelines, templates and tests of pipelines: YAML in, a
// typed model out, every value with its place in a file. It owns the syntax, the
// limits on what a file may hold, what `extends` means, and the types of parameters
// and columns; it never resolves references, evaluates an expression or knows a
// plugin (engine/plan does).
//
// Reading is strict. Unknown and repeated keys, wrong types and bad names are
// errors, and all of them are reported at once. YAML's surprises are left out:
// see resolve for the scalars; merge keys, tags and several documents in a file
// are refused; aliases work within limits.
//
// # extends
//
// A document extends a template or another pipeline: by name from the catalogue,
// or, in a file on disk, by a path that starts with ./ or ../. What the child
// says wins:
//
//   - parameters merge by name, and field by field: {name: from_date, required: true}
//     changes just that; new parameters come before the inherited ones;
//   - rules add up, inherited ones first;
//   - limits merge by key; columns and drift, when given, replace the inherited ones;
//   - state, when given, replaces the inherited one;
//   - metadata is the child's own;
//   - stages merge by their key. Where both sides give a kind as a single stage, the two
//     merge: `with` key by key (mappings within it too, lists are replaced), the
//     other fields one by one. When the child's `use` names another stage, the
//     inherited `with` is dropped. Where either side gives a list, the child's
//     replaces the parent's; so a list of one replaces a single stage whole.
//
// A key under stages is a kind, or a kind with a label (encryptor.chunks), for a
// kind that is needed in two places. The order of the keys is the parent's. Keys that
// both sides give stand in the child's order, in the places that they have in the
// parent. A key that only the child gives comes after every key before it in the
// child, before every key after it in the child, and between these where the usual
// order of the kinds (source, filter, encoder, compressor, encryptor, sink) puts it.
//
// # columns
//
// The columns of a document are what the encoder is given, after all filters: a
// pipeline that extends another and filters its columns declares them anew. What comes
// is held against them (engine/plan, plugins/contract), and drift says what
// happens when it differs: fail, warn or ignore.
package document

import (
	"time"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// APIVersion is the version of the syntax that this package reads.
const APIVersion = "cipherstream/v1"

// The kinds of documents.
const (
	KindPipeline = "Pipeline"
	KindTemplate = "Template"
)

// Document is a pipeline or a template, with what it extends merged in.
type Document struct {
	// File is the file itself, and Extends the files it extends, nearest first.
	File    string
	Extends []string
	// Kind is KindPipeline or KindTemplate.
	Kind       string
	Metadata   Metadata
	Parameters []Parameter
	Rules      []Rule
	// Stages are in the order in which data flows through them.
	Stages []Stage
	// StagesAt is the place of spec.stages, or of spec where there are none.
	StagesAt diag.Position
	// Columns is the contract: what the encoder is given, after all filters. It may
	// be empty.
	Columns []Column
	// Drift says what happens when that is not what comes; default DriftFail.
	Drift  Drift
	Limits Limits
	// State says that a run goes on where the one before has ended; nil when it does not.
	State *State
	// Invalid is true when reading found errors. What could be understood is here, so
	// that the rest can be checked in the same pass; it must not be run.
	Invalid bool
}

// Metadata describes a document to people.
type Metadata struct {
	// Name is how others refer to the document: lower case, digits, underscores.
	Name            string
	Title, Category string
	// Class is "reference", "data", "special", or empty.
	Class       string
	Description string
	At          diag.Position
}

// Parameter is a declared parameter.
type Parameter struct {
	Name string
	// Type is empty when the file names a type that does not exist.
	Type Type
	// Required parameters must be given; they have no default.
	Required bool
	// Default is the value of a parameter that is not given, nil for null. Its Go
	// type is that of ParseValue.
	Default any
	// Allowed lists the only accepted values; empty means any.
	Allowed     []any
	Description string
	At          diag.Position
}

// Rule is a condition on the parameters.
type Rule struct {
	// Check is an expression that is true when the parameters are good.
	Check *Node
	// Message and Code say what is wrong when it is false.
	Message, Code string
	// Parameter names the parameter to blame, or is empty.
	Parameter string

	parameterAt diag.Position
}

// Isolation says which process a stage runs in.
type Isolation string

// The isolations.
const (
	IsolationGroup   Isolation = "group"   // together with its neighbours from the same plugin
	IsolationProcess Isolation = "process" // in a process of its own
)

// Stage is a stage as written.
type Stage struct {
	Kind stage.Kind
	// Use names what runs: NAME or PLUGIN/NAME.
	Use *Node
	// With is the mapping of settings, or nil.
	With *Node
	// When is an expression that switches the stage, or nil.
	When      *Node
	Isolation Isolation
	// Name is the stage's own name, or nil.
	Name *Node
	At   diag.Position
	// Pointer is the stage's place in the merged document, as a JSON Pointer: /spec/stages/source.
	Pointer string
	// Invalid is true when a part of the stage could not be read.
	Invalid bool
}

// Column is a column of the contract.
type Column struct {
	Name        string     `json:"name"`
	Type        ColumnType `json:"type"`
	Nullable    bool       `json:"nullable"`
	Description string     `json:"description,omitempty"`
	// Personal says that the column identifies or describes a person. Nothing in a run depends on it: it is for who reads
	// descriptions, and for who has to answer for what was handed out.
	Personal bool          `json:"personal,omitempty"`
	At       diag.Position `json:"-"`
}

// Drift is a policy for columns that are not those of the contract.
type Drift string

// The policies.
const (
	DriftFail   Drift = "fail"   // the run ends before the first row
	DriftWarn   Drift = "warn"   // it is logged
	DriftIgnore Drift = "ignore" // nobody looks
)

// Limits bounds a run. Zero means the engine's default.
type Limits struct {
	Memory     int64         // bytes, for all buffers of a run together
	Timeout    time.Duration // for the whole run
	Stall      time.Duration // for one call of a stage that neither reads nor writes
	BatchRows  int           // rows that a batch aims at
	BatchBytes int64         // bytes that a batch aims at
}

// The codes of documents that are YAML, but not what a pipeline looks like.
const (
	CodeUnknownKey    = "document.unknown_key"
	CodeMissingKey    = "document.missing_key"
	CodeWrongType     = "document.wrong_type"
	CodeNotAllowed    = "document.not_allowed"
	CodeOutOfRange    = "document.out_of_range"
	CodeBadName       = "document.bad_name"
	CodeDuplicateName = "document.duplicate_name"
	CodeTooMany       = "document.too_many"
	CodeVersion       = "document.version"
	CodeBadDefault    = "document.bad_default"
	CodeUnknownName   = "document.unknown_name"
	CodeStateCursor   = "state.cursor"
	CodeStateOverlap  = "state.overlap"
)
