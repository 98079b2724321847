package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/schedule"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Schedules keeps schedules; *schedule.Scheduler does.
type Schedules interface {
	List(ctx context.Context, customer string) ([]store.Schedule, error)
	Get(ctx context.Context, customer, id string) (store.Schedule, error)
	// Put makes a schedule, or, with the identifier of one, replaces it.
	Put(ctx context.Context, id string, spec schedule.Spec, by store.Actor) (store.Schedule, error)
	Delete(ctx context.Context, of store.Schedule, by store.Actor) error
	// Reset has a schedule begin anew.
	Reset(ctx context.Context, of store.Schedule, by store.Actor) (store.Schedule, error)
	// Run makes a job of a schedule at once.
	Run(ctx context.Context, of store.Schedule, by store.Actor) (store.Job, error)
	// Next are the next ticks of a schedule, in its zone.
	Next(of store.Schedule, most int) []time.Time
}

// States opens how far the jobs of schedules have come; *schedule.States does.
type States interface {
	Open(of store.Schedule) (engine.State, error)
}

// nextRuns is how many of the next runs are shown, and mostSchedules how many schedules a customer may have.
const (
	nextRuns      = 5
	mostSchedules = 200
)

// scheduleBody is a schedule as customers see it.
type scheduleBody struct {
	ScheduleID string              `json:"schedule_id" doc:"Identifier of the schedule."`
	CustomerID string              `json:"customer_id" doc:"Whose it is."`
	Name       string              `json:"name" doc:"Its name, one of the customer's."`
	Procedure  string              `json:"procedure" doc:"What is asked for."`
	Request    json.RawMessage     `json:"request" doc:"The fields of the request. Of one with a window the dates are those of the first job."`
	Cron       string              `json:"cron" doc:"When: minute, hour, day of the month, month, day of the week."`
	TimeZone   string              `json:"time_zone" doc:"Time zone of cron."`
	Overlap    string              `json:"overlap" enum:"skip,queue" doc:"What happens at a tick while the job of one before has not ended."`
	Missed     string              `json:"missed" enum:"once,skip" doc:"What happens with ticks at which no service ran."`
	Jitter     string              `json:"jitter" doc:"The job is made up to so much later."`
	Window     *scheduleWindowBody `json:"window,omitempty" nullable:"false" doc:"How from_date moves. Absent: it does not."`
	Enabled    bool                `json:"enabled" doc:"Whether it has ticks."`
	Managed    bool                `json:"managed" doc:"Whether the operator of the service keeps it in a document: it cannot be changed here."`
	CreatedAt  string              `json:"created_at" format:"date-time" doc:"When it was made."`
	UpdatedAt  string              `json:"updated_at" format:"date-time" doc:"When it was changed last."`
	Next       []scheduleRunBody   `json:"next_runs" nullable:"false" doc:"Its next ticks."`
	LastTick   string              `json:"last_tick,omitempty" format:"date-time" doc:"Its last tick."`
	LastResult string              `json:"last_outcome,omitempty" doc:"What became of it: job, skipped: overlap, skipped: missed, skipped: clock, waits: overlap, or refused: and a code."`
	LastJob    string              `json:"last_job_id,omitempty" doc:"The last job that it made."`
	NextSince  string              `json:"next_since,omitempty" format:"date" doc:"Where the window of the next job begins, before its overlap."`
	State      *scheduleStateBody  `json:"state,omitempty" nullable:"false" doc:"How far its jobs have come, of a procedure that goes on where its last job has ended. Absent: the next job reads every row."`
}

// scheduleStateBody is how far the jobs of a schedule have come, without anything of the database and of the
// operator's.
type scheduleStateBody struct {
	Cursor  string `json:"cursor,omitempty" doc:"The column that the rows are followed by."`
	Value   string `json:"value,omitempty" doc:"Its greatest value so far: with the overlap below it, the next job begins."`
	JobID   string `json:"job_id" doc:"The job that came so far."`
	SavedAt string `json:"saved_at" format:"date-time" doc:"When it had completed."`
}

// scheduleWindowBody is how from_date moves.
type scheduleWindowBody struct {
	FirstDays   int `json:"first_days,omitempty" doc:"How many days back the first job reads. Absent: from from_date of request on."`
	OverlapDays int `json:"overlap_days" doc:"How many days are read again."`
}

// scheduleRunBody is a tick that comes.
type scheduleRunBody struct {
	At    string `json:"at" format:"date-time" doc:"When, in UTC."`
	Local string `json:"local" doc:"When, as the clock of the time zone shows it, with its offset."`
}

// scheduleListBody is the list of a customer's schedules.
type scheduleListBody struct {
	Schedules []scheduleBody `json:"schedules" nullable:"false" doc:"The schedules, by name."`
}

func (a *API) scheduleBody(ctx context.Context, s store.Schedule) scheduleBody {
	spec := schedule.SpecOf(s)
	b := scheduleBody{
		ScheduleID: s.ID, CustomerID: s.Customer, Name: s.Name, Procedure: s.Procedure, Request: s.Request, Cron: s.Cron, TimeZone: s.Zone,
		Overlap: spec.Overlap, Missed: spec.Missed, Jitter: s.Jitter.String(), Enabled: s.Enabled, Managed: s.Document,
		CreatedAt: timeText(s.CreatedAt), UpdatedAt: timeText(s.UpdatedAt), Next: []scheduleRunBody{},
		LastTick: timeOf(s.LastTick), LastResult: s.LastOutcome, LastJob: s.LastJob, NextSince: s.NextSince,
	}
	if s.Window {
		b.Window = &scheduleWindowBody{spec.Window.FirstDays, spec.Window.OverlapDays}
	}
	if len(b.Request) == 0 {
		b.Request = json.RawMessage("{}")
	}
	for _, at := range a.Schedules.Next(s, nextRuns) {
		b.Next = append(b.Next, scheduleRunBody{timeText(at), at.Format(time.RFC3339)})
	}
	if len(s.State.Sealed) > 0 {
		state, err := a.States.Open(s)
		if err != nil { // its jobs say so, too
			a.Log.ErrorContext(ctx, "how far the jobs of a schedule have come cannot be read", "customer", s.Customer,
				"schedule", s.ID,
				"cause", fault.From(err).Code)
		}
		b.State = &scheduleStateBody{state.Cursor, state.Value, s.State.Job, timeText(s.State.SavedAt)}
	}
	return b
}

// mySchedules lets the key in to a customer's schedules: it orders what is run then, and so needs the scope of that too.
func (x *exchange) mySchedules() (*customer.Customer, *Error) {
	who, e := x.myJobs(admission.Polling)
	switch {
	case e != nil:
		return nil, e
	case x.api.Schedules == nil:
		return nil, fail(JobsNotAvailable)
	case !x.principal.Scopes.Has(customer.Procedures):
		return nil, fail(ScopeMissing).with(Detail{Code: string(ScopeMissing), Message: "Schedules need the scopes jobs and procedures."})
	}
	return who, nil
}

// mySchedule is the schedule of the address.
func (x *exchange) mySchedule() (who *customer.Customer, s store.Schedule, e *Error) {
	if who, e = x.mySchedules(); e != nil {
		return who, s, e
	}
	if e = x.noParameters(); e != nil {
		return who, s, e
	}
	s, e = x.findSchedule(who.ID)
	return who, s, e
}

func (x *exchange) findSchedule(of string) (store.Schedule, *Error) {
	id := x.r.PathValue("schedule_id")
	if len(id) > maxJobID || printable(id, maxJobID) != id {
		return store.Schedule{}, fail(ScheduleNotFound)
	}
	s, err := x.api.Schedules.Get(x.ctx, of, id)
	if err != nil {
		return s, fromSchedules(err)
	}
	return s, nil
}

// fromSchedules is fromError of what concerns one schedule.
func fromSchedules(err error) *Error {
	if fault.Is(err, store.CodeUnknown) {
		return fail(ScheduleNotFound)
	}
	if fault.Is(err, store.CodeExists) {
		return fail(ScheduleExists)
	}
	// What a tick would be refused for is told as a request would be.
	var refused *Error
	if fault.Is(err, CodeOrder) && errors.As(err, &refused) {
		return refused
	}
	return fromError(err)
}

// listSchedules answers GET /v1/customers/{customer_id}/schedules.
func (a *API) listSchedules(x *exchange) *Error {
	who, e := x.mySchedules()
	if e != nil {
		return e
	}
	if e := x.noParameters(); e != nil {
		return e
	}
	list, err := a.Schedules.List(x.ctx, who.ID)
	if err != nil {
		return fromError(err)
	}
	out := scheduleListBody{Schedules: make([]scheduleBody, len(list))}
	for i, s := range list {
		out.Schedules[i] = a.scheduleBody(x.ctx, s)
	}
	x.send(http.StatusOK, typeJSON, out)
	return nil
}

// schedule answers GET /v1/customers/{customer_id}/schedules/{schedule_id}.
func (a *API) schedule(x *exchange) *Error {
	_, s, e := x.mySchedule()
	if e != nil {
		return e
	}
	x.info.Procedure = s.Procedure
	x.send(http.StatusOK, typeJSON, a.scheduleBody(x.ctx, s))
	return nil
}

// createSchedule answers POST /v1/customers/{customer_id}/schedules.
func (a *API) createSchedule(x *exchange) *Error {
	who, e := x.mySchedules()
	if e != nil {
		return e
	}
	if e := x.noParameters(); e != nil {
		return e
	}
	spec, e := x.readSchedule(who)
	if e != nil {
		return e
	}
	list, err := a.Schedules.List(x.ctx, who.ID)
	if err != nil {
		return fromError(err)
	}
	if len(list) >= mostSchedules {
		return fail(TooManySchedules)
	}
	s, err := a.Schedules.Put(x.ctx, "", spec, x.actor())
	if err != nil {
		return fromSchedules(err)
	}
	x.w.Header().Set("Location", "/v1/customers/"+who.ID+"/schedules/"+s.ID)
	x.send(http.StatusCreated, typeJSON, a.scheduleBody(x.ctx, s))
	return nil
}

// replaceSchedule answers PUT /v1/customers/{customer_id}/schedules/{schedule_id}.
func (a *API) replaceSchedule(x *exchange) *Error {
	who, before, e := x.mySchedule()
	if e != nil {
		return e
	}
	if before.Document {
		return fail(ScheduleManaged)
	}
	spec, e := x.readSchedule(who)
	if e != nil {
		return e
	}
	s, err := a.Schedules.Put(x.ctx, before.ID, spec, x.actor())
	if err != nil {
		return fromSchedules(err)
	}
	x.send(http.StatusOK, typeJSON, a.scheduleBody(x.ctx, s))
	return nil
}

// deleteSchedule answers DELETE /v1/customers/{customer_id}/schedules/{schedule_id}.
func (a *API) deleteSchedule(x *exchange) *Error {
	_, s, e := x.mySchedule()
	switch {
	case e != nil:
		return e
	case s.Document:
		return fail(ScheduleManaged)
	}
	if err := a.Schedules.Delete(x.ctx, s, x.actor()); err != nil {
		return fromSchedules(err)
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

// runSchedule answers POST /v1/customers/{customer_id}/schedules/{schedule_id}/run.
func (a *API) runSchedule(x *exchange) *Error {
	_, s, e := x.mySchedule()
	if e != nil {
		return e
	}
	x.info.Procedure = s.Procedure
	j, err := a.Schedules.Run(x.ctx, s, x.actor())
	if err != nil {
		return fromSchedules(err)
	}
	x.jobAccepted(j, false)
	return nil
}

// resetSchedule answers POST /v1/customers/{customer_id}/schedules/{schedule_id}/reset.
func (a *API) resetSchedule(x *exchange) *Error {
	_, s, e := x.mySchedule()
	if e != nil {
		return e
	}
	x.info.Procedure = s.Procedure
	s, err := a.Schedules.Reset(x.ctx, s, x.actor())
	if err != nil {
		return fromSchedules(err)
	}
	x.send(http.StatusOK, typeJSON, a.scheduleBody(x.ctx, s))
	return nil
}

// readSchedule reads the body of a request that makes a schedule. The error names every mistake in it.
func (x *exchange) readSchedule(who *customer.Customer) (spec schedule.Spec, _ *Error) {
	raw, e := x.body()
	if e != nil {
		return spec, e
	}
	members, details, e := readObject(raw)
	if e != nil {
		return spec, e
	}
	tree, request := map[string]any{}, []byte("{}")
	for _, m := range members {
		switch {
		case m.value == nil: // null is not given
		case m.name != "request":
			tree[m.name] = m.value
		default:
			if _, is := m.value.(map[string]any); !is {
				details = append(details, Detail{Code: string(InvalidParameter), Field: m.name, Message: "request: expected an object with the fields of a request."})
				continue
			}
			request, _ = json.Marshal(m.value) // it came as JSON
		}
	}
	for _, p := range schedule.BodySpec.Check(tree) {
		if p.Code == config.MissingKey {
			p.Path = append(slices.Clone(p.Path), strings.Trim(p.Message[:strings.LastIndex(p.Message, `"`)+1], `"`))
		} else {
			remove(tree, p.Path)
		}
		details = append(details, scheduleDetail(p))
	}
	text, _ := json.Marshal(tree) // it came as JSON
	spec, err := schedule.Decode(schedule.BodySpec, text)
	if err != nil {
		return spec, fromError(err)
	}
	spec.Customer, spec.RawRequest = who.ID, request
	for _, p := range spec.Check() {
		details = append(details, scheduleDetail(p))
	}
	if spec.Procedure != "" {
		details = append(details, x.scheduledOrder(who, spec, len(details) > 0)...)
	}
	if len(details) > 0 {
		return spec, mistakes(details)
	}
	return spec, nil
}

// remove takes what is wrong by itself out of a body, whole where it is deeper.
func remove(tree map[string]any, path []string) {
	if len(path) > 0 {
		delete(tree, path[0])
	}
}

// windowAndState is the mistake of a window that would move what moves by itself.
var windowAndState = Detail{Code: string(ConflictingParameters), Field: "window",
	Message:    "window: the procedure goes on where its last job has ended, by its own state.",
	Suggestion: "Leave window out."}

// scheduledOrder says what is wrong with the request of a schedule: by the rules of a request, and, where nothing else is
// wrong, by whether there is such a run.
func (x *exchange) scheduledOrder(who *customer.Customer, spec schedule.Spec, wrong bool) (details []Detail) {
	example, err := spec.Example(x.api.Now())
	if err != nil {
		example = spec.RawRequest // what is wrong with its window is said elsewhere
	}
	orders := &Orders{x.api.procedures}
	c, e := orders.read(who.ID, spec.Procedure, example)
	for _, d := range mistakesOf(e) {
		switch {
		case d.Code == string(UnknownProcedure) || d.Field == "" && d.Code == string(ConflictingParameters):
			d.Field = "procedure"
		case (d.Field == fieldCustomer || d.Field == paramMode) && d.Code != string(DuplicateField):
			continue // as above
		case d.Field != "" && !strings.HasPrefix(d.Field, "/"):
			d.Field = "/request/" + d.Field
		}
		details = append(details, d)
	}
	if spec.Moving && orders.keepsState(spec.Procedure) {
		details = append(details, windowAndState)
	}
	if wrong || len(details) > 0 {
		return details
	}
	p := x.api.procedures[spec.Procedure]
	if e == nil && who.Bucket == "" {
		e = fail(JobsNotAvailable)
	}
	if e == nil {
		run := x.api.newExecution(x.asker(), &order{call: c, procedure: p, customer: who, state: &engine.State{}})
		if err := run.bind(0); err != nil {
			e = fromError(err)
		} else {
			run.close()
		}
	}
	if e != nil {
		return []Detail{{Code: string(e.Code), Field: "/request", Message: e.Message, Suggestion: e.Suggestion}}
	}
	return nil
}

// scheduleDetail is what is wrong with a schedule, as the API says it.
func scheduleDetail(p config.Problem) Detail {
	code := InvalidParameter
	switch p.Code {
	case config.UnknownKey:
		code = UnknownField
	case config.MissingKey:
		code = MissingParameter
	case schedule.CodeWindow:
		code = ConflictingParameters
	}
	field := strings.Join(p.Path, "/")
	if len(p.Path) > 1 {
		field = "/" + field
	}
	d := Detail{Code: string(code), Field: field, Message: strings.Join(p.Path, ".") + ": " + p.Message, Suggestion: p.Hint}
	if code == MissingParameter {
		d.Message = field + " is missing."
	}
	if p.Found != "" {
		d.Suggestion = nearest(p.Found, p.Candidates)
	}
	return d
}
