package api

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/schedule"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
)

const mySchedules = "/v1/customers/clinic-7/schedules"

// newScheduler is a server with schedules, whose ticks nobody looks at, and whose jobs wait.
func newScheduler(t *testing.T) (*server, *schedule.Scheduler) {
	t.Helper()
	return newSchedulerOf(t, pipelines("none", ""), 0)
}

// newSchedulerOf is one whose jobs so many workers take.
func newSchedulerOf(t *testing.T, catalogue fs.FS, workers int) (*server, *schedule.Scheduler) {
	t.Helper()
	var scheduler *schedule.Scheduler
	s, _ := newWorkingServerOf(t, catalogue, workers, func(c *Config) {
		orders, err := NewOrders(c.Engine)
		if err != nil {
			t.Fatal(err)
		}
		if scheduler, err = schedule.New(schedule.Config{Record: c.Requests.(*memory.Store), Orders: orders, Customers: c.Customers.(*registry), Public: Public}); err != nil {
			t.Fatal(err)
		}
		c.Schedules = scheduler
	})
	return s, scheduler
}

// nightly is the body of a schedule, with other members.
func nightly(more string) string {
	return `{"name":"nightly","procedure":"visits","cron":"30 2 * * *","time_zone":"Europe/Berlin","window":{"first_days":30},"request":{"output_format":"csv"}` + more + `}`
}

func (a answered) schedule(t *testing.T) (s scheduleBody) {
	t.Helper()
	if err := json.Unmarshal(a.body, &s); err != nil || a.StatusCode >= 300 {
		t.Fatalf("%s: %s", a.Status, a.body)
	}
	return s
}

// TestSchedules makes one, lists it, replaces it, runs it and deletes it.
func TestSchedules(t *testing.T) {
	t.Parallel()
	s, _ := newScheduler(t)
	a := s.do("POST", mySchedules, nightly(""))
	made := a.schedule(t)
	if a.StatusCode != 201 || a.Header.Get("Location") != mySchedules+"/"+made.ScheduleID {
		t.Fatalf("%s %v", a.Status, a.Header)
	}
	if !made.Enabled || made.Managed || made.Overlap != "skip" || made.Missed != "once" || made.Jitter != "0s" || made.Window == nil ||
		*made.Window != (scheduleWindowBody{30, 1}) || string(made.Request) != `{"output_format":"csv"}` || len(made.Next) != nextRuns {
		t.Errorf("%s", a.body)
	}
	for i, next := range made.Next {
		at, err := time.Parse(time.RFC3339, next.At)
		local, localErr := time.Parse(time.RFC3339, next.Local)
		if err != nil || localErr != nil || !at.Equal(local) || !strings.Contains(next.Local, "T02:30:00+0") && !strings.Contains(next.Local, "T03:00:00+02") {
			t.Errorf("the run %d is at %+v", i, next)
		}
	}
	one := mySchedules + "/" + made.ScheduleID
	if again := s.do("GET", one, ""); string(again.body) != string(a.body) {
		t.Errorf("%s, and as it was made %s", again.body, a.body)
	}
	var list scheduleListBody
	if err := json.Unmarshal(s.do("GET", mySchedules, "").body, &list); err != nil || len(list.Schedules) != 1 || list.Schedules[0].ScheduleID != made.ScheduleID {
		t.Errorf("%+v, %v", list, err)
	}
	run := s.do("POST", one+"/run", "")
	job := run.job(t)
	if job.JobType != "schedule" || job.Status != "queued" || job.OutputFormat != "csv" || job.Metadata.DateModifier != "Updated" || job.Metadata.FromDate == "" {
		t.Errorf("%s", run.body)
	}
	if e := s.do("POST", one+"/run", "").refusal(t); e.Code != ScheduleBusy {
		t.Errorf("%s", e.Code)
	}
	replaced := s.do("PUT", one, nightly(`,"enabled":false`)).schedule(t)
	if replaced.Enabled || len(replaced.Next) != 0 || replaced.LastJob != job.JobID || replaced.ScheduleID != made.ScheduleID {
		t.Errorf("%+v", replaced)
	}
	if e := s.do("POST", mySchedules, nightly("")).refusal(t); e.Code != ScheduleExists {
		t.Errorf("%s", e.Code)
	}
	if gone := s.do("DELETE", one, ""); gone.StatusCode != 204 || len(gone.body) != 0 {
		t.Errorf("%s", gone.Status)
	}
	if e := s.do("GET", one, "").refusal(t); e.Code != ScheduleNotFound {
		t.Errorf("%s", e.Code)
	}
	rows, err := s.record.AuditOf(t.Context(), "clinic-7", time.Time{}, 99)
	if err != nil {
		t.Fatal(err)
	}
	var whats []string
	for _, row := range rows {
		if strings.HasPrefix(row.What, "schedule.") {
			whats = append(whats, row.What+" "+row.Who)
		}
	}
	if got := strings.Join(whats, ", "); got != "schedule.create key:key_good, schedule.run key:key_good, schedule.replace key:key_good, schedule.delete key:key_good" {
		t.Errorf("the audit has %s", got)
	}
}

// TestScheduleMistakes: every mistake is told at once, those in the request as the procedure would tell them.
func TestScheduleMistakes(t *testing.T) {
	t.Parallel()
	s, _ := newScheduler(t)
	for _, c := range []struct {
		body string
		code Code
		want string
	}{
		{`{}`, MissingParameter, "MISSING_PARAMETER cron, MISSING_PARAMETER name, MISSING_PARAMETER procedure"},
		{nightly(`,"crown":1`), UnknownField, "UNKNOWN_FIELD crown"},
		{`{"name":"n","procedure":"visits","cron":"30 25 * * *","time_zone":"Mars/Phobos","overlap":"never","jitter":"48h","request":{"rows":"x","from":"2024-01-01"}}`, InvalidRequest,
			"INVALID_PARAMETER /request/rows, INVALID_PARAMETER cron, INVALID_PARAMETER jitter, INVALID_PARAMETER overlap, INVALID_PARAMETER time_zone, MISSING_PARAMETER /request/from_date, UNKNOWN_FIELD /request/from"},
		{`{"name":"","procedure":"","cron":"","time_zone":"","request":{"from_date":"2024-01-01"}}`, InvalidParameter, "INVALID_PARAMETER cron, INVALID_PARAMETER name, INVALID_PARAMETER procedure"},
		{`{"name":"n","procedure":"visits","cron":"0 0 30 2 *","request":{"from_date":"2024-01-01"}}`, InvalidParameter, "INVALID_PARAMETER cron"},
		{`{"name":"n","procedure":"vists","cron":"0 0 * * *"}`, UnknownProcedure, "UNKNOWN_PROCEDURE procedure"},
		{`{"name":"n","procedure":"places","cron":"0 0 * * *"}`, ConflictingParameters, "CONFLICTING_PARAMETERS procedure"},
		{`{"name":"n","procedure":"visits","cron":"0 0 * * *"}`, MissingParameter, "MISSING_PARAMETER /request/from_date"},
		{`{"name":"n","procedure":"visits","cron":"0 0 * * *","window":{}}`, InvalidRequest, "CONFLICTING_PARAMETERS window, MISSING_PARAMETER /request/from_date"},
		{`{"name":"n","procedure":"visits","cron":"0 0 * * *","window":{"first_days":3},"request":{"from_date":"2024-01-01"}}`, ConflictingParameters, "CONFLICTING_PARAMETERS /window/first_days"},
		{`{"name":"n","procedure":"visits","cron":"0 0 * * *","window":{"first_days":3},"request":{"date_modifier":"All"}}`, ConflictingParameters, "CONFLICTING_PARAMETERS /request/date_modifier"},
		{`{"name":"n","procedure":"visits","cron":"0 0 * * *","request":{"from_date":"2024-01-01","mode":"stream","customer_id":"clinic-8"}}`, ConflictingParameters,
			"CONFLICTING_PARAMETERS /request/customer_id, CONFLICTING_PARAMETERS /request/mode"},
		{`{"name":"n","procedure":"visits","cron":"0 0 * * *","request":{"from_date":"2024-02-01","to_date":"2024-01-01"}}`, InvalidDateRange, "INVALID_DATE_RANGE /request/to_date"},
		{`{"name":"n","procedure":"visits","cron":"0 0 * * *","request":{"from_date":"2024-02-01","encrypted":true}}`, NoSealingKey, "ENCRYPTION_KEY_MISSING /request"},
		{`{"name":"n","procedure":"visits","cron":"0 0 * * *","request":[]}`, InvalidRequest, "INVALID_PARAMETER request, MISSING_PARAMETER /request/from_date"},
		{`[]`, InvalidJSON, ""},
	} {
		e := s.do("POST", mySchedules, c.body).refusal(t)
		if e.Code != c.code || e.mistakes() != c.want {
			t.Errorf("%s\n  %s: %s\n  want %s: %s", c.body, e.Code, e.mistakes(), c.code, c.want)
		}
	}
	if list, err := s.record.Schedules(t.Context(), ""); err != nil || len(list) != 0 {
		t.Errorf("%d schedules were made, %v", len(list), err)
	}
}

// TestScheduleAccess: a customer's schedules are its own, need both scopes, and one of a document is the operator's.
func TestScheduleAccess(t *testing.T) {
	t.Parallel()
	s, scheduler := newScheduler(t)
	made := s.do("POST", mySchedules, nightly("")).schedule(t)
	spec, err := schedule.Decode(schedule.DocumentSpec, []byte(`{"customer":"clinic-7","procedure":"visits","cron":"0 1 * * *","window":{"first_days":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	spec.Name = "managed"
	if err := scheduler.Sync(t.Context(), []schedule.Spec{spec}); err != nil {
		t.Fatal(err)
	}
	managed := mySchedules + "/sch_doc_clinic-7.managed"
	if got := s.do("GET", managed, "").schedule(t); !got.Managed || got.TimeZone != "UTC" {
		t.Errorf("%+v", got)
	}
	for _, c := range []struct {
		method, path, body, key string
		want                    Code
	}{
		{"GET", mySchedules, "", "unscoped", ScopeMissing}, {"GET", mySchedules, "", "jobless", ScopeMissing}, {"GET", mySchedules, "", "none", InvalidAPIKey},
		{"GET", mySchedules, "", "other", CustomerNotFound}, {"POST", mySchedules, nightly(""), "other", CustomerNotFound},
		{"GET", "/v1/customers/clinic-8/schedules/" + made.ScheduleID, "", "other", ScheduleNotFound},
		{"PUT", "/v1/customers/clinic-8/schedules/" + made.ScheduleID, nightly(""), "other", ScheduleNotFound},
		{"DELETE", "/v1/customers/clinic-8/schedules/" + made.ScheduleID, "", "other", ScheduleNotFound},
		{"POST", "/v1/customers/clinic-8/schedules/" + made.ScheduleID + "/run", "", "other", ScheduleNotFound},
		{"PUT", managed, nightly(""), "good", ScheduleManaged}, {"DELETE", managed, "", "good", ScheduleManaged},
		{"GET", mySchedules + "/" + strings.Repeat("x", 200), "", "good", ScheduleNotFound}, {"GET", mySchedules + "?all=1", "", "good", UnknownField},
	} {
		if e := s.do(c.method, c.path, c.body, "Authorization", "Bearer "+c.key).refusal(t); e.Code != c.want {
			t.Errorf("%s %s as %s: %s, want %s", c.method, c.path, c.key, e.Code, c.want)
		}
	}
	if got := s.do("POST", managed+"/run", ""); got.job(t).JobType != "schedule" {
		t.Errorf("%s", got.body)
	}
	for i := range mostSchedules - 2 {
		if _, err := s.record.PutSchedule(t.Context(), store.Schedule{ID: fmt.Sprint(i), Customer: "clinic-7", Name: fmt.Sprint(i)}, store.Audit{}); err != nil {
			t.Fatal(err)
		}
	}
	if e := s.do("POST", mySchedules, strings.Replace(nightly(""), "nightly", "more", 1)).refusal(t); e.Code != TooManySchedules {
		t.Errorf("%s", e.Code)
	}
}
