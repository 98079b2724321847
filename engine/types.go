package engine

import (
	"maps"
	"slices"

	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// What one run gives to a pipeline; see the packages' own docs for what each field promises.
type (
	Inputs            = plan.Inputs
	Customer          = plan.Customer
	Destination       = plan.Destination
	ObjectDestination = plan.ObjectDestination
	AllowList         = plan.AllowList
	Lookup            = plan.Lookup
	SecretKind        = config.SecretKind
	StandIn           = plan.StandIn
	Isolation         = plan.Isolation
	End               = plan.End
)

// How stages are spread over processes.
const (
	IsolationGroup = plan.IsolationGroup
	IsolationStage = plan.IsolationStage
	IsolationNone  = plan.IsolationNone
)

// Whose the last stage of a plan is.
const (
	EndPipeline = plan.EndPipeline
	EndOutput   = plan.EndOutput
	EndCaller   = plan.EndCaller
	// EndCallerTable ends at a TableSink of the caller's.
	EndCallerTable = plan.EndCallerTable
)

// CodeParameterMissing is the code of a parameter that is required and was not given.
const CodeParameterMissing = plan.CodeParameterMissing

// KnownSecret is the kind of a secret that is known by its name; empty of all others.
func KnownSecret(name string) SecretKind { return plan.KnownSecrets[name] }

// KnownSecrets are the names of secrets whose kind is known, sorted.
func KnownSecrets() []string { return slices.Sorted(maps.Keys(plan.KnownSecrets)) }

// RunNames are the names that ${run.…} knows.
func RunNames() []string { return plan.RunNames() }

// A plan and what is in it.
type (
	Plan      = plan.Plan
	Value     = plan.Value
	Stage     = plan.Stage
	Group     = plan.Group
	Limits    = plan.Limits
	SecretUse = plan.SecretUse
)

// State is how far the runs of a pipeline have come.
type State = plan.State

// StateVersion is the version of a State.
const StateVersion = plan.StateVersion

// CodeStateOther is the code of a state that is not this pipeline's, or not of these parameters.
const CodeStateOther = plan.CodeStateOther

// A document and what is in it.
type (
	Document = document.Document
	Test     = document.Test
)

// A run's account, and what a check finds.
type (
	Receipt     = run.Receipt
	ProcessUse  = run.ProcessUse
	CheckReport = run.CheckReport
	Finding     = run.Finding
)

// Event is something that happened in a run, and the concrete types of it.
type (
	Event       = run.Event
	Awaiting    = run.Awaiting
	Attached    = run.Attached
	Started     = run.Started
	ProcessInfo = run.ProcessInfo
	Opened      = run.Opened
	Column      = run.Column
	Progress    = run.Progress
	Checkpoint  = run.Checkpoint
	LogLine     = run.Log
	StagesEnded = run.StagesEnded
	Ended       = run.Ended
)

// Offer is a plugin and the stages that it has.
type Offer = host.Offer
