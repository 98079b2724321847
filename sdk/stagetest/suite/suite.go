// Package suite is the checks that every stage has to pass, whoever wrote it: Stage runs them on a definition in this
// process, Process on a plugin in a process of its own, in whatever language, over the control service and the data
// wire. It owns the checks, their inputs and their verdicts; it never decides what a verdict means, and knows nothing
// of package testing: stagetest turns the verdicts into tests, and "cipherstream plugin test" prints them.
package suite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Options say what a stage needs to be tried.
type Options struct {
	// Settings are the stage's settings: whatever encoding/json makes an object of, json.RawMessage included; none by
	// default. {{dir}} in them stands for an empty directory that is another one in every run of the stage. Secrets are
	// given as plain text in a map.
	Settings any
	// Columns are columns that the stage needs. Inputs have them all, with values of their types, and, unless one is
	// already called so, "id" (int64, not nullable) in front and "value" (of every type in turn, nullable) behind.
	Columns []arrow.Field
	// Media is what a compressor, an encryptor and a sink are told that they receive. The default is NDJSON.
	Media stage.Media
	// Object is the path at which a sink's object appears when it is committed, {{dir}} included. Without it, a sink is
	// checked for what it says, and not for what it leaves on the disk.
	Object string
	// Volatile is a regular expression of what may differ from run to run in what the stage makes, such as the time
	// that a run took. It is left out where outputs are compared.
	Volatile string
	// Patience is how long one call of the stage, or one run of a process, may take. Default: 20 s.
	Patience time.Duration
	// Prompt is how soon a call or a run must end that has been cancelled. The contract is a second, the default; a
	// machine that is busy with other tests needs more.
	Prompt time.Duration
	// Except leaves checks out, by their names, and says why.
	Except map[string]string
}

const (
	defaultPatience = 20 * time.Second
	defaultPrompt   = time.Second
)

func (o Options) filled() Options {
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.Prompt <= 0 {
		o.Prompt = defaultPrompt
	}
	if o.Media == (stage.Media{}) {
		o.Media = stage.Media{Type: "application/x-ndjson", Extension: ".ndjson"}
	}
	return o
}

// placeholder stands for a directory in settings.
const placeholder = "{{dir}}"

// settings renders the settings for a directory.
func (o Options) settings(dir string) ([]byte, error) {
	if o.Settings == nil {
		return []byte("{}"), nil
	}
	raw, err := json.Marshal(o.Settings)
	if err != nil {
		return nil, fmt.Errorf("the settings are no JSON: %w", err)
	}
	quoted, err := json.Marshal(dir)
	if err != nil {
		return nil, err
	}
	return []byte(strings.ReplaceAll(string(raw), placeholder, string(quoted[1:len(quoted)-1]))), nil
}

func (o Options) object(dir string) string { return strings.ReplaceAll(o.Object, placeholder, dir) }

// Status is the verdict of a check.
type Status string

// The verdicts.
const (
	Passed Status = "passed"
	Failed Status = "failed"
	// Refused: the stage said, with a coded fault, that it does not take what it was given. That is its right.
	Refused Status = "refused"
	// Skipped: the check does not apply, was left out, or came after a call that never returned.
	Skipped Status = "skipped"
)

// Result is the verdict of one check on one stage.
type Result struct {
	// Stage is "KIND/NAME".
	Stage  string `json:"stage"`
	Check  string `json:"check"`
	Status Status `json:"status"`
	// Cases is how many inputs were tried, and Refusals how many of them were refused.
	Cases    int `json:"cases"`
	Refusals int `json:"refusals"`
	// Rule says which calls the check makes and what the stage owes it then, where it has failed.
	Rule string `json:"rule,omitempty"`
	// Details say what went wrong, what was refused or why the check was skipped.
	Details []string `json:"details,omitempty"`
}

// Check is one check of a list that is run in order.
type Check struct {
	Stage, Name string
	run         func(*probe)
	harness     *harness
}

// Run runs the check. Checks of one list run in order, one at a time.
func (c Check) Run(ctx context.Context) Result {
	p := &probe{ctx: ctx, harness: c.harness, result: Result{Stage: c.Stage, Check: c.Name, Status: Passed}}
	switch why, except := c.harness.options.Except[c.Name]; {
	case except:
		p.skip("%s", why)
	case c.harness.hungReason() != "":
		p.skip("%s", c.harness.hungReason())
	case ctx.Err() != nil:
		p.skip("the test was cancelled")
	default:
		c.run(p)
	}
	r := &p.result
	switch {
	case len(p.failures) > 0:
		r.Status, r.Rule, r.Details = Failed, rules[c.Name], p.failures
	case p.skipped != "":
		r.Status, r.Details = Skipped, []string{p.skipped}
	case r.Cases > 0 && r.Refusals == r.Cases:
		r.Status, r.Details = Refused, p.refusals
	default:
		r.Details = p.refusals
	}
	if p.suppressed > 0 {
		r.Details = append(r.Details, fmt.Sprintf("and %d more", p.suppressed))
	}
	return *r
}

// harness is what the checks of one stage share.
type harness struct {
	stage   string
	options Options
	label   string // of the goroutines that the stage's calls start

	mu sync.Mutex
	// hung says why nothing more can be tried: a call did not come back.
	hung string
	// reports are what is wrong that any run may show, by the check that tells it.
	reports map[string][]string

	// tried and accepted count inputs.
	tried, accepted int
}

func newHarness(kind stage.Kind, name string, o Options) *harness {
	return &harness{stage: string(kind) + "/" + name, options: o.filled(),
		label: strconv.FormatInt(harnesses.Add(1), 10), reports: map[string][]string{}}
}

// steady leaves out what may differ from run to run.
func (h *harness) steady(data []byte) []byte {
	if h.options.Volatile == "" {
		return data
	}
	volatile, err := regexp.Compile(h.options.Volatile)
	if err != nil {
		h.report(CheckErrors, "the option Volatile is no regular expression: %v", err)
		return data
	}
	return volatile.ReplaceAllLiteral(data, nil)
}

// report notes what is wrong, for the check of that name.
func (h *harness) report(check, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, known := range h.reports[check] {
		if known == text {
			return
		}
	}
	h.reports[check] = append(h.reports[check], text)
}

// setHung says that nothing more can be tried, and why; hungReason returns it.
func (h *harness) setHung(why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hung = why
}

func (h *harness) hungReason() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hung
}

func (h *harness) check(name string, run func(*probe)) Check {
	return Check{Stage: h.stage, Name: name, run: run, harness: h}
}

// reportsOf is a check of what the runs before have reported.
func (h *harness) reportsOf(name string) Check {
	return h.check(name, func(p *probe) {
		p.result.Cases = h.tried
		p.breaches(name)
		if h.tried == 0 {
			p.skip("no run came so far")
		}
	})
}

// accepts fails when every input was refused: nothing was tested then.
func (h *harness) accepts() Check {
	return h.check(CheckAccepts, func(p *probe) {
		p.result.Cases = h.tried
		if h.accepted == 0 {
			p.fail("the stage refused all of %d inputs, so that nothing was tested: give it settings and columns that fit each other", h.tried)
		}
	})
}

// probe is one check while it runs.
type probe struct {
	*harness
	ctx        context.Context
	result     Result
	failures   []string
	refusals   []string
	skipped    string
	suppressed int
}

// mostDetails bounds what a check tells.
const mostDetails = 6

func (p *probe) fail(format string, args ...any) {
	if len(p.failures) >= mostDetails {
		p.suppressed++
		return
	}
	p.failures = append(p.failures, fmt.Sprintf(format, args...))
}

// breaches fails for what the runs so far have shown.
func (p *probe) breaches(check string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.reports[check] {
		p.fail("%s", v)
	}
}

func (p *probe) skip(format string, args ...any) { p.skipped = fmt.Sprintf(format, args...) }

// try judges how one case ended, and reports whether the stage took it.
func (p *probe) try(what string, err error) bool {
	p.result.Cases++
	p.tried++
	switch verdict, text := judge(err); verdict {
	case Passed:
		p.accepted++
		return true
	case Refused:
		p.result.Refusals++
		if len(p.refusals) < mostDetails {
			p.refusals = append(p.refusals, "refused "+what+": "+text)
		} else {
			p.suppressed++
		}
	default:
		p.fail("%s: %s", what, text)
	}
	return false
}

// judge tells a refusal from a failure. A stage may refuse what it is given, with a fault of class usage or data, or of
// class source when it blames the stages before it; anything else that goes wrong here is its own defect, because there
// is no server that could be away.
func judge(err error) (Status, string) {
	if err == nil {
		return Passed, ""
	}
	var own *problem
	if errors.As(err, &own) {
		return Failed, own.text
	}
	var f *fault.Fault
	if !errors.As(err, &f) {
		return Failed, fmt.Sprintf("an error without a code: %v", err)
	}
	switch f.Class {
	case fault.Usage, fault.Data, fault.Source:
		return Refused, f.Error()
	}
	return Failed, fmt.Sprintf("a fault of class %s: %v", f.Class, f)
}

// problem is a failure that the suite itself has seen.
type problem struct{ text string }

func (p *problem) Error() string { return p.text }

func problemf(format string, args ...any) error { return &problem{fmt.Sprintf(format, args...)} }

// tempDir makes a directory with a short path, because unix sockets are made in it.
func tempDir() (string, func(), error) {
	dir, err := os.MkdirTemp("", "stage-")
	if err != nil {
		return "", nil, err
	}
	return dir, func() { os.RemoveAll(dir) }, nil
}

// Names of the checks.
const (
	CheckDeclaration = "declaration"
	CheckSettings    = "settings"
	CheckCancel      = "cancellation"
	CheckPlain       = "rows"
	CheckTypes       = "types"
	CheckNulls       = "nulls"
	CheckZeroRows    = "zero-rows"
	CheckZeroBatches = "zero-batches"
	CheckOneRow      = "one-row"
	CheckHuge        = "huge-rows"
	CheckSliced      = "sliced-batches"
	CheckBorrowed    = "borrowed-memory"
	CheckRepeat      = "determinism"
	CheckConcurrent  = "concurrent"
	CheckLeak        = "leak"
	CheckGoroutines  = "goroutines"
	CheckSchema      = "schema"
	CheckKeepsRows   = "keeps-rows"
	CheckEnds        = "record-ends"
	CheckMedia       = "media"
	CheckUntouched   = "input-untouched"
	CheckPanics      = "panics"
	CheckErrors      = "errors-coded"
	CheckAccepts     = "accepts"
	CheckSeals       = "seals"
	CheckEOF         = "after-the-end"
	CheckClose       = "close"
	CheckOwned       = "owned-batches"
	CheckCommit      = "commit"
	CheckHidden      = "hidden-before-commit"
	CheckAbort       = "abort"
	CheckReceipt     = "receipt"
	CheckCutInput    = "cut-input"
	CheckHeartbeat   = "heartbeat"
	CheckUndo        = "undo"
	CheckCheckpoints = "checkpoints"
)
