package schedule

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Kind is the kind of documents that hold a schedule.
const Kind = document.KindSchedule

// Spec is a schedule as it is written: under spec of a document, whose name is its metadata.name, and as the body of a
// request, whose customer stands in the address.
type Spec struct {
	Name      string                  `config:"name,required" min:"1" max:"64" doc:"Its name, one of the customer's."`
	Customer  string                  `config:"customer,required" min:"1" max:"64" doc:"Whose data it is: the id of a customer."`
	Procedure string                  `config:"procedure,required" min:"1" max:"255" doc:"What is asked for, as of POST /v1/procedures/{procedure}."`
	Request   map[string]config.Value `config:"request" doc:"The fields of that request, without customer_id and mode. A list is written as text in JSON."`
	Cron      string                  `config:"cron,required" min:"1" max:"200" doc:"When: minute, hour, day of the month, month and day of the week, such as \"30 2 * * *\". A time that the clock leaps over comes right after the gap, and one that comes twice is taken once."`
	TimeZone  string                  `config:"time_zone" doc:"IANA time zone of cron. Default the customer's, else UTC."`
	Overlap   string                  `config:"overlap" enum:"skip,queue" default:"skip" doc:"What happens at a tick while the job of one before has not ended: no job is made, or one when that has ended."`
	Missed    string                  `config:"missed" enum:"once,skip" default:"once" doc:"What happens with ticks at which no service ran: one job is made for all of them, or none."`
	Jitter    time.Duration           `config:"jitter" default:"0s" min:"0s" max:"24h" doc:"The job is made up to so much later, at each tick by another part of it, so that not all come at once."`
	Window    Window                  `config:"window" doc:"Reads what has changed since the last job that completed, by date_modifier Updated. Default the dates of request, always the same."`
	Enabled   bool                    `config:"enabled" default:"true" doc:"Whether it has ticks."`

	// Moving says that there is a window.
	Moving bool
	// RawRequest is set in the place of Request where that holds more than single values.
	RawRequest []byte
}

// Window moves the range of a schedule.
type Window struct {
	FirstDays   int `config:"first_days" min:"0" max:"36500" doc:"How many days back the first job reads. Default from from_date of request on."`
	OverlapDays int `config:"overlap_days" default:"1" min:"0" max:"366" doc:"How many days are read again, so that what was committed late is not missed."`
}

var full = config.Of[Spec]()

// without is the specification without some fields.
func without(names ...string) *config.Spec {
	return &config.Spec{Fields: slices.DeleteFunc(slices.Clone(full.Fields), func(f config.Field) bool { return slices.Contains(names, f.Name) })}
}

// DocumentSpec describes spec of a document, and BodySpec the body of a request but for its field request, which is held
// against the procedure.
var (
	DocumentSpec = without("name")
	BodySpec     = without("customer", "request")
)

// Decode reads what was checked against one of them, from JSON. What is wrong by itself may be missing.
func Decode(of *config.Spec, raw []byte) (Spec, error) {
	fields := slices.Clone(of.Fields)
	for i := range fields {
		fields[i].Required = false
	}
	spec, err := config.Decode[Spec](&config.Spec{Fields: fields}, raw)
	if err != nil {
		return spec, err
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(raw, &given); err == nil {
		_, spec.Moving = given["window"]
	}
	return spec, nil
}

// request is the request as JSON.
func (s Spec) request() []byte {
	if s.RawRequest != nil {
		return s.RawRequest
	}
	if len(s.Request) == 0 {
		return []byte("{}")
	}
	text, err := json.Marshal(s.Request)
	if err != nil {
		return []byte("{}") // single values that were read from a document
	}
	return text
}

// Check says what is wrong with a schedule beside what its specification says, every mistake at once, but for what the
// procedure says of the request: that is said of Example.
func (s Spec) Check() (problems []config.Problem) {
	add := func(err error, path ...string) {
		f := fault.From(err)
		problems = append(problems, config.Problem{Path: path, Code: f.Code, Message: f.Message, Hint: f.Hint})
	}
	if s.Cron != "" {
		if _, err := ParseCron(s.Cron, "UTC"); err != nil {
			add(err, "cron")
		}
	}
	if s.TimeZone != "" {
		if _, err := loadZone(s.TimeZone); err != nil {
			add(err, "time_zone")
		}
	}
	fields, err := fieldsOf(s.request())
	if err != nil {
		add(err, "request")
		return problems
	}
	for _, name := range []string{"customer_id", "mode"} {
		if fields[name] != nil {
			add(fault.New(CodeWindow, fault.Usage, "%s does not stand in the request of a schedule", name).WithHint("leave it out"), "request", name)
		}
	}
	if !s.Moving {
		return problems
	}
	if fields[fieldModifier] == modifierAll {
		add(fault.New(CodeWindow, fault.Usage, "a window goes by when rows were changed, and date_modifier All does not").
			WithHint("leave it out, or ask for Updated or Created"), "request", fieldModifier)
	}
	switch from := fields[fieldFrom]; {
	case s.Window.FirstDays > 0 && (from != nil || fields[fieldTo] != nil):
		add(fault.New(CodeWindow, fault.Usage, "both first_days and the dates of request say where the first job begins").
			WithHint("leave one of the two out"), "window", "first_days")
	case s.Window.FirstDays == 0 && from == nil:
		add(fault.New(CodeWindow, fault.Usage, "nothing says where the first job begins").
			WithHint("give first_days, or from_date in request"), "window")
	}
	return problems
}

// Example is the request as of the first job, if that were made at a time.
func (s Spec) Example(at time.Time) ([]byte, error) {
	request, _, err := requestAt(s.schedule(), at)
	return request, err
}

// schedule is what is written, as the record has it.
func (s Spec) schedule() store.Schedule {
	out := store.Schedule{
		Customer: s.Customer, Name: s.Name, Procedure: s.Procedure, Request: s.request(), Cron: s.Cron, Zone: s.TimeZone,
		Overlap: store.Overlap(s.Overlap), Missed: store.Missed(s.Missed), Jitter: s.Jitter, Window: s.Moving, Enabled: s.Enabled,
	}
	if s.Moving {
		out.WindowFirst, out.WindowOverlap = time.Duration(s.Window.FirstDays)*24*time.Hour, time.Duration(s.Window.OverlapDays)*24*time.Hour
	}
	return out
}

// SpecOf is a schedule of the record as it is written.
func SpecOf(s store.Schedule) Spec {
	out := Spec{
		Name: s.Name, Customer: s.Customer, Procedure: s.Procedure, RawRequest: s.Request, Cron: s.Cron, TimeZone: s.Zone,
		Overlap: string(s.Overlap), Missed: string(s.Missed), Jitter: s.Jitter, Enabled: s.Enabled, Moving: s.Window,
	}
	if s.Window {
		out.Window = Window{FirstDays: int(s.WindowFirst / (24 * time.Hour)), OverlapDays: int(s.WindowOverlap / (24 * time.Hour))}
	}
	return out
}
