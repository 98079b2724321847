package api

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/binding"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// codeStopping is the code of Stopping.
const codeStopping = "api.stopping"

// Stopping is the cause with which a server's base context is ended when it stops: requests that are running end with
// SHUTTING_DOWN, and not as if their clients had gone.
func Stopping() error {
	return fault.New(codeStopping, fault.Cancelled, "the service is about to end").WithRetry()
}

// asError finds an error of the API in err's chain, or what the customer has to do with an order that was refused.
func asError(err error) (*Error, bool) {
	var refused *binding.Refused
	if errors.As(err, &refused) {
		if wrong, rest := fromDiagnostics(refused.Diagnostics); len(wrong) > 0 && !rest.HasErrors() {
			return mistakes(wrong), true
		}
	}
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// byInner finds a row of the table by the code of a fault, and byPrefix by what it begins with.
var byInner, byPrefix = func() (exact, prefixes map[string]*Entry) {
	exact, prefixes = map[string]*Entry{}, map[string]*Entry{}
	for i := range table {
		for _, inner := range table[i].inner {
			if strings.HasSuffix(inner, ".") {
				prefixes[inner] = &table[i]
			} else {
				exact[inner] = &table[i]
			}
		}
	}
	return exact, prefixes
}()

// byClass is what a fault becomes whose code the table does not have.
var byClass = map[fault.Class]Code{
	fault.Connect: DatabaseUnavailable, fault.Source: SourceFailed, fault.Data: DataRefused,
	fault.Plugin: StageFailed, fault.Cancelled: ClientGone,
}

// retryAfter is after how long a fault says that it may be tried again; 0 is unknown.
func retryAfter(f *fault.Fault) time.Duration {
	seconds, err := strconv.Atoi(f.Details[admission.DetailRetryAfter])
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

func entryOf(f *fault.Fault) *Entry {
	if e := byInner[f.Code]; e != nil {
		return e
	}
	if i := strings.IndexByte(f.Code, '.'); i >= 0 {
		if e := byPrefix[f.Code[:i+1]]; e != nil {
			return e
		}
	}
	if code, ok := byClass[f.Class]; ok {
		return entries[code]
	}
	return entries[Internal]
}

// fromDiagnostics gives the mistakes that a pipeline finds in its parameters. What else is wrong with a pipeline is not
// the customer's: rest holds it.
func fromDiagnostics(list diag.List) (details []Detail, rest diag.List) {
	for _, d := range list {
		if d.Severity != diag.Error {
			continue
		}
		code := Code(d.Code)
		if e := byInner[d.Code]; e != nil {
			code = e.Code
		} else if entries[code] == nil {
			rest.Add(d)
			continue
		}
		message := d.Message
		if d.Parameter != "" && !strings.Contains(message, d.Parameter) {
			message = d.Parameter + ": " + message
		}
		details = append(details, Detail{Code: string(code), Field: d.Parameter, Message: message, Suggestion: d.Hint})
	}
	return details, rest
}

// unshown are the classes of faults whose messages may hold what customers store or ask for: their codes are logged, and
// their messages are not.
var unshown = []fault.Class{fault.Usage, fault.Source, fault.Data}

// logged is what the log may say of a fault besides its code.
func logged(err error) string {
	f := fault.From(err)
	if f == nil || slices.Contains(unshown, f.Class) {
		return ""
	}
	return f.Message
}
