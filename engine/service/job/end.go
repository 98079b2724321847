package job

import (
	"context"
	"encoding/hex"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// End writes down what has become of the job, and returns when that is known, or when it cannot be known any more. It
// is called once, when the run has returned.
func (h *Held) End(_ context.Context, receipt *engine.Receipt, err error) {
	defer func() {
		if v := recover(); v != nil {
			h.manager.cfg.Log.Error("the end of a job panicked; its lease runs out", "job", h.job.ID,
				"stack", string(debug.Stack()))
		}
		close(h.over)
		<-h.kept
		h.lose()
		h.manager.letGo(h)
	}()
	if made := h.sink.committed(); err == nil && (made == nil || receipt == nil) {
		err = fault.New(CodeInternal, fault.Internal, "the run has ended well and has made no object")
	}
	if err == nil {
		h.complete(receipt)
		return
	}
	h.sink.discard()
	if h.isLost() {
		h.log("a job was lost to others, or to nobody", store.CodeLeaseLost)
		h.tellEnd(OutcomeLost, receipt)
		return
	}
	ending := h.ending(err)
	if receipt != nil {
		ending.Progress = atLeast(ending.Progress, receipt)
	}
	job, failed := h.write(ending)
	if failed != nil {
		h.log("the end of a job was not written down; its lease runs out", fault.From(failed).Code)
		h.tellEnd(notWritten(failed), receipt)
		return
	}
	outcome := string(ending.Event)
	if job.Status.Ended() {
		outcome = string(job.Status) // the last attempt is not retried
	}
	h.tellEnd(outcome, receipt)
	level := slog.LevelWarn
	if ending.Event == store.JobCancelled || ending.Event == store.JobReturned {
		level = slog.LevelInfo // as it was told to
	}
	h.tell(level, "a job has ended", fault.From(err).Code, "event", ending.Event, "cause_message", logged(err))
}

// notWritten is the outcome of an attempt whose end the record has not taken.
func notWritten(err error) string {
	if fault.Is(err, store.CodeLeaseLost) {
		return OutcomeLost
	}
	return OutcomeUnknown
}

// atLeast is the progress of a run that has ended.
func atLeast(p store.Progress, receipt *engine.Receipt) store.Progress {
	p.Rows, p.Bytes = max(p.Rows, receipt.RowsRead), max(p.Bytes, receipt.Bytes)
	return p
}

// unshown are the classes of faults whose messages may hold what customers store or ask for.
var unshown = []fault.Class{fault.Usage, fault.Source, fault.Data}

// logged is what the log may say of a fault besides its code.
func logged(err error) string {
	if f := fault.From(err); !slices.Contains(unshown, f.Class) && f.Code != "internal" {
		return f.Message
	}
	return ""
}

// log tells of what should not be, and tell of anything, without anything of what is stored.
func (h *Held) log(message, cause string) { h.tell(slog.LevelWarn, message, cause) }

func (h *Held) tell(level slog.Level, message, cause string, more ...any) {
	attributes := []any{"job", h.job.ID, "customer", h.job.Customer, "attempt", h.job.Attempts, "cause", cause}
	h.manager.cfg.Log.Log(context.Background(), level, message, append(attributes, more...)...)
}

// ending is what an error comes to.
func (h *Held) ending(err error) store.Ending {
	e := store.Ending{Progress: h.done(), Result: store.Result{Bucket: h.job.Bucket}, By: h.actor()}
	f := fault.From(err)
	cause := context.Cause(h.ctx)
	switch {
	case fault.Is(cause, CodeCancelled):
		e.Event = store.JobCancelled
		return e // it is what was asked for
	case f.Code == CodeNotServed, fault.Is(cause, CodeStopping) && f.Code != CodeTimeLimit:
		// Whatever broke behind the word to stop may have broken because of it: the run is begun anew elsewhere.
		e.Event = store.JobReturned
		return e
	case f.Code == CodeTimeLimit, f.Class == fault.Cancelled && !f.Retryable:
		e.Event = store.JobCancelled
	case engine.Repeatable(err) && h.job.Attempts < store.MostAttempts:
		e.Event, e.Delay = store.JobRetried, backoff(h.job.Attempts)
	default:
		e.Event = store.JobFailed
	}
	e.ErrorCode, e.ErrorMessage, e.Suggestion = h.manager.cfg.Public(err)
	return e
}

// actor is who ends a job.
func (h *Held) actor() store.Actor {
	return store.Actor{Who: "service", From: h.lease.Holder, RequestID: h.job.RequestID}
}

// complete has the record name the object, and removes it where the record does not want it.
func (h *Held) complete(receipt *engine.Receipt) {
	ending := store.Ending{Event: store.JobCompleted, Progress: h.done(), Result: h.result(receipt),
		State: h.newState(receipt), By: h.actor()}
	ending.Progress = atLeast(ending.Progress, receipt)
	_, err := h.write(ending)
	outcome := string(store.JobCompleted)
	if err != nil {
		outcome = notWritten(err)
	}
	h.tellEnd(outcome, receipt)
	switch {
	case err == nil:
		h.manager.cfg.Log.Info("a job is completed", "job", h.job.ID, "customer", h.job.Customer, "attempt", h.job.Attempts,
			"rows", receipt.Rows, "bytes", receipt.Bytes, "seconds", receipt.Seconds)
	case fault.Is(err, store.CodeLeaseLost):
		h.log("a job was completed too late; its object is removed", store.CodeLeaseLost)
		h.sink.discard()
	default:
		// The record may have taken it: if it has not, somebody else runs the job, and the sweep removes this object.
		h.log("it is not known whether a job is completed; its object is kept", fault.From(err).Code)
	}
}

// result is what is kept of a run.
func (h *Held) result(receipt *engine.Receipt) store.Result {
	made := h.sink.committed()
	began := h.clock(receipt.StartedAt)
	r := store.Result{
		Bucket: h.job.Bucket, ObjectKey: h.sink.key, FileName: h.sink.name, MediaType: h.sink.media.Type,
		Size: made.Size, SHA256: hex.EncodeToString(made.SHA256[:]), TotalRows: receipt.Rows,
		SealingKey: sealingKey(receipt), DataAsOf: began,
		ObjectExpires: h.clock(time.Now()).Add(h.manager.cfg.Retention.Link),
	}
	for _, p := range receipt.Processes {
		r.PeakMemory += float64(p.PeakMemoryBytes)
		r.CPUSeconds += p.CPUSeconds
	}
	h.mu.Lock()
	columns := h.columns
	h.mu.Unlock()
	r.Manifest = manifest(h.job, r, receipt, columns)
	return r
}

// How long the record is asked to write the end of a job, and how often: until the lease is surely over, and somebody
// else has had the time to take the job.
const (
	endPatience = 2 * store.LeaseTime
	endFirst    = 100 * time.Millisecond
	endMost     = 2 * time.Second
)

// write has the record write the end of the job. The error is CodeLeaseLost where it is certain that it was not, and
// will not be, and another one where that cannot be known: an answer that did not come says nothing.
func (h *Held) write(e store.Ending) (store.Job, error) {
	patience := time.Now().Add(endPatience)
	doubtful := false
	for wait := endFirst; ; wait = min(2*wait, endMost) {
		last := !time.Now().Before(patience) // a process that stood still asks once more
		job, err := h.endJob(e)
		if fault.Is(err, store.CodeLeaseLost) && doubtful {
			job, err = h.written(e) // perhaps by a call that got no answer
		}
		if err == nil || fault.Is(err, store.CodeLeaseLost) || last {
			return job, err
		}
		doubtful = true
		select {
		case <-time.After(wait):
		case <-h.manager.cut:
			return job, err
		}
	}
}

func (h *Held) endJob(e store.Ending) (store.Job, error) {
	ctx, cancel := context.WithTimeout(context.Background(), recordTimeout)
	defer cancel()
	return h.manager.cfg.Record.EndJob(ctx, h.lease, e)
}

// written looks whether an end was written, of a lease that is over.
func (h *Held) written(e store.Ending) (store.Job, error) {
	ctx, cancel := context.WithTimeout(context.Background(), recordTimeout)
	defer cancel()
	job, err := h.manager.cfg.Record.Job(ctx, h.job.Customer, h.job.ID)
	switch {
	case err != nil && !fault.Is(err, store.CodeUnknown):
		return job, err
	case err != nil:
	case e.Event == store.JobCompleted && job.Status == store.Completed && job.ObjectKey == e.Result.ObjectKey:
		return job, nil
	case e.Event != store.JobCompleted && job.Status != store.Running && job.Runs == h.job.Runs:
		return job, nil
	}
	return job, store.LostLease(h.lease)
}
