package api

import (
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
)

// following goes on where its last run has ended.
const following = `
apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: following, title: Following, category: Visits, class: data, description: The numbers that are new.}
spec:
  parameters:
    - {name: output_format, type: string, default: ndjson, allowed: [ndjson, json, csv, parquet, arrow]}
    - {name: compression, type: string, default: none, allowed: [none, gzip, zip, zstd]}
    - {name: encrypted, type: boolean, default: false}
    - {name: mode, type: string, default: auto, allowed: [auto, stream, job]}
    - {name: from_date, type: date}
    - {name: to_date, type: date}
    - {name: date_modifier, type: string, default: All, allowed: [All, Created, Updated]}
    - {name: rows, type: integer, default: 3}
  state: {cursor: n, overlap: 2}
  stages:
    source: {use: follow, with: {rows: "${params.rows}"}}
    encoder: {use: lines}
    sink: {use: file, with: {path: "${run.output}"}}
  columns: [{name: n, type: int64, nullable: false}]
  drift: ignore
`

// followed is the body of a schedule of it.
func followed(more string) string {
	return `{"name":"changes","procedure":"following","cron":"0 0 1 1 *","request":{"rows":10}` + more + `}`
}

// TestScheduleState: the jobs of a schedule go on where the last one has ended, which the customer sees; a reset begins
// anew, and so does a schedule that covers other rows. Ordered otherwise, such a procedure is refused.
func TestScheduleState(t *testing.T) {
	t.Parallel()
	s, _ := newSchedulerOf(t, pipelines("following.yaml", following), 1)
	for _, mode := range []string{"job", "stream", "auto"} {
		e := s.do("POST", "/v1/procedures/following", `{"customer_id":"clinic-7","mode":"`+mode+`"}`).refusal(t)
		if e.Code != ScheduleRequired {
			t.Errorf("%s: %s", mode, e.Code)
		}
	}
	moving := followed(`,"window":{"first_days":30}`)
	if e := s.do("POST", mySchedules, moving).refusal(t); e.mistakes() != "CONFLICTING_PARAMETERS window" {
		t.Errorf("%s", e.mistakes())
	}
	made := s.do("POST", mySchedules, followed("")).schedule(t)
	one := mySchedules + "/" + made.ScheduleID
	if made.State != nil {
		t.Errorf("%+v", made.State)
	}
	run := func() jobView {
		t.Helper()
		return s.ended(s.do("POST", one+"/run", "").job(t).JobID)
	}
	first := run()
	if first.Status != store.Completed || *first.TotalRows != 10 {
		t.Fatalf("%+v", first)
	}
	shown := s.do("GET", one, "")
	got := shown.schedule(t).State
	if got == nil || got.Cursor != "n" || got.Value != "9" || got.JobID != first.JobID ||
		got.SavedAt != first.CompletedAt {
		t.Errorf("%s", shown.body)
	}
	if strings.Contains(string(shown.body), runnertest.FollowOrigin) {
		t.Errorf("the answer says where the rows come from: %s", shown.body)
	}
	if list := s.do("GET", mySchedules, ""); !strings.Contains(string(list.body), `"value":"9"`) {
		t.Errorf("%s", list.body)
	}
	kept, err := s.record.Schedule(t.Context(), "clinic-7", made.ScheduleID)
	if err != nil || len(kept.State.Sealed) == 0 || strings.Contains(string(kept.State.Sealed), "following") {
		t.Errorf("the record has %q, %v", kept.State.Sealed, err)
	}
	if second := run(); second.Status != store.Completed || *second.TotalRows != 3 {
		t.Errorf("%+v", second)
	}
	// What is replaced goes on where it covers the same.
	if again := s.do("PUT", one, followed(`,"enabled":false`)).schedule(t); again.State == nil ||
		again.State.Value != "9" {
		t.Errorf("%+v", again)
	}
	// A reset begins anew, and is the customer's.
	theirs := "/v1/customers/clinic-8/schedules/" + made.ScheduleID + "/reset"
	if e := s.do("POST", theirs, "", "Authorization", "Bearer other").refusal(t); e.Code != ScheduleNotFound {
		t.Errorf("%s", e.Code)
	}
	if reset := s.do("POST", one+"/reset", "").schedule(t); reset.State != nil || reset.ScheduleID != made.ScheduleID {
		t.Errorf("%+v", reset.State)
	}
	if e := s.do("POST", mySchedules+"/none/reset", "").refusal(t); e.Code != ScheduleNotFound {
		t.Errorf("%s", e.Code)
	}
	if third := run(); *third.TotalRows != 10 {
		t.Errorf("%+v", third)
	}
	other := s.do("PUT", one, strings.Replace(followed(""), `"rows":10`, `"rows":12`, 1)).schedule(t)
	if other.State != nil {
		t.Errorf("%+v", other.State)
	}
	if fourth := run(); *fourth.TotalRows != 12 {
		t.Errorf("%+v", fourth)
	}
	rows, err := s.record.AuditOf(t.Context(), "clinic-7", time.Time{}, 99)
	if err != nil {
		t.Fatal(err)
	}
	resets, ends := 0, ""
	for _, row := range rows {
		switch row.What {
		case "schedule.reset":
			resets++
			if row.Who != "key:key_good" || row.Details["schedule"] != made.ScheduleID {
				t.Errorf("%+v", row)
			}
		case "job.completed":
			ends += row.Details["state"] + " "
		}
	}
	if resets != 1 || ends != "kept kept kept kept " {
		t.Errorf("%d resets, %s", resets, ends)
	}
}

// TestScheduleStateOther: a state of other parameters fails the job, which says so and what to do, and stays; one that
// does not open is told of without what is in it.
func TestScheduleStateOther(t *testing.T) {
	t.Parallel()
	s, _ := newSchedulerOf(t, pipelines("following.yaml", following), 1)
	made := s.do("POST", mySchedules, followed("")).schedule(t)
	one := mySchedules + "/" + made.ScheduleID
	// keep has a job of the schedule keep a state, sealed for a place.
	keep := func(job, epoch string, from int64) {
		t.Helper()
		of, err := s.record.Schedule(t.Context(), "clinic-7", made.ScheduleID)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := states().Seal("clinic-7", made.ScheduleID, of.State.Epoch+epoch,
			&engine.State{Version: engine.StateVersion,
				Pipeline: "following", Source: "test/follow", Cursor: "n", Type: "integer", Value: "5",
				Origin: runnertest.FollowOrigin,
				Inputs: map[string]string{"params.rows": "77"}})
		if err != nil {
			t.Fatal(err)
		}
		_, lease, _, err := s.record.CreateJob(t.Context(), store.NewJob{Holder: "test", Job: store.Job{ID: job,
			Customer:  "clinic-7",
			Procedure: "following", Schedule: of.ID, StateEpoch: of.State.Epoch}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.record.EndJob(t.Context(), lease, store.Ending{Event: store.JobCompleted,
			State: &store.NewState{From: from, Sealed: sealed}}); err != nil {
			t.Fatal(err)
		}
	}
	keep("another", "", 0)
	failed := s.ended(s.do("POST", one+"/run", "").job(t).JobID)
	if failed.Status != store.Failed || failed.ErrorCode != string(ScheduleStateOther) ||
		!strings.Contains(failed.ErrorMessage, "params.rows") ||
		!strings.Contains(failed.Suggestion, "reset") || strings.Contains(failed.ErrorMessage, "77") {
		t.Errorf("%+v", failed)
	}
	if got := s.do("GET", one, "").schedule(t).State; got == nil || got.Value != "5" {
		t.Errorf("%+v", got)
	}
	keep("a third", "of another place", 1)
	if got := s.do("GET", one, "").schedule(t).State; got == nil || *got != (scheduleStateBody{JobID: "a third",
		SavedAt: got.SavedAt}) {
		t.Errorf("%+v", got)
	}
	if failed := s.ended(s.do("POST", one+"/run", "").job(t).JobID); failed.Status != store.Failed ||
		failed.ErrorCode != string(Internal) {
		t.Errorf("%+v", failed)
	}
	if !strings.Contains(s.log.String(), "datakey.open") {
		t.Errorf("%s", s.log)
	}
}
