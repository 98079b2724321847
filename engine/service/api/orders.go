package api

import (
	"encoding/json"
	"slices"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Orders reads orders for jobs that do not come as requests: those of schedules. They are held to the same rules. It needs
// nothing of an API but the catalogue, so that a process that answers nobody has it too.
type Orders struct{ procedures map[string]*procedure }

// NewOrders are those for a catalogue that has no mistakes.
func NewOrders(e Engine) (*Orders, error) {
	procedures, _, err := loadCatalogue(e)
	return &Orders{procedures}, err
}

// CodeOrder is the code of a fault of an order; its message names every mistake.
const CodeOrder = "api.order"

// keepsState reports whether the jobs of a procedure go on where the last one has ended.
func (o *Orders) keepsState(procedure string) bool {
	p := o.procedures[procedure]
	return p != nil && p.prepared.Document().State != nil
}

// Mistakes are what is wrong with the order of a schedule, with the fields that it is about; nil is nothing. Window
// says that the schedule has one.
func (o *Orders) Mistakes(customer, procedure string, request []byte, window bool) []Detail {
	_, e := o.read(customer, procedure, request)
	details := mistakesOf(e)
	if window && o.keepsState(procedure) {
		details = append(slices.Clip(details), windowAndState)
	}
	return details
}

// mistakesOf is what an error says of an order, with the fields that it is about; nil is nothing.
func mistakesOf(e *Error) []Detail {
	switch {
	case e == nil:
		return nil
	case len(e.Details) == 0 || e.Code == Internal:
		return []Detail{{Code: string(e.Code), Message: e.Message, Suggestion: e.Suggestion}}
	}
	return e.Details
}

// Order is a request for a job of a procedure as that job, without who orders it and when.
func (o *Orders) Order(customer, procedure string, request []byte) (store.Job, error) {
	c, e := o.read(customer, procedure, request)
	if e != nil {
		return store.Job{}, fault.New(CodeOrder, fault.Usage, "the order is refused: %w", e)
	}
	text := func(name string) string { s, _ := c.values[name].(string); return s }
	given, err := json.Marshal(c.given)
	if err != nil {
		return store.Job{}, err
	}
	return store.Job{Customer: customer, Procedure: procedure, Priority: priorityOf(c.priority), Reason: "requested", Request: given,
		Format: c.format, Compression: c.compression, Encrypted: c.encrypted, FromDate: text(paramFrom), ToDate: text(paramTo),
		Modifier: text(paramModifier), WebhookURL: c.webhook}, nil
}

// read holds an order against its procedure, as the body of a request that asks for a job.
func (o *Orders) read(customer, name string, request []byte) (*call, *Error) {
	p := o.procedures[name]
	switch {
	case p == nil:
		return nil, fail(UnknownProcedure).with(Detail{Code: string(UnknownProcedure), Message: "There is no procedure " + printable(name, 64) + ".",
			Suggestion: nearest(name, o.names())})
	case p.reference():
		return nil, fail(ConflictingParameters).with(Detail{Code: string(ConflictingParameters),
			Message: p.name + " is a reference list, which is answered at once and never a job."})
	}
	if len(request) == 0 {
		request = []byte("{}")
	}
	members, details, e := readObject(request)
	if e != nil {
		return nil, e
	}
	for _, m := range members {
		if m.name == fieldCustomer || m.name == paramMode {
			details = append(details, Detail{Code: string(ConflictingParameters), Field: m.name, Message: m.name + " does not stand in the request of a schedule."})
		}
	}
	return p.readMembers(append(members, member{fieldCustomer, customer}, member{paramMode, modeJob}), details)
}

func (o *Orders) names() (names []string) {
	for name, p := range o.procedures {
		if !p.reference() {
			names = append(names, name)
		}
	}
	return names
}
