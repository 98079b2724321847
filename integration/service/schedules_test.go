package service

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// TestScheduledJobs: of two services on one record, one makes the job of a tick, and its result is there; a run that is
// asked for is a job of its own. It takes until the next minute begins.
func TestScheduledJobs(t *testing.T) {
	t.Parallel()
	c := form(t, ordered(t), topology{serves: 2, jobs: 1, record: servers.PrivateMariaDB(t)}, loose)
	const schedules = "/v1/customers/clinic/schedules"
	must := func(method, path, body string, into any) {
		t.Helper()
		a, err := c.try(0, method, path, body)
		if err != nil || a.StatusCode >= 300 || json.Unmarshal(a.body, into) != nil {
			t.Fatalf("%s %s: %v %s", method, path, err, a.said())
		}
	}
	var made struct {
		ID string `json:"schedule_id"`
	}
	must(http.MethodPost, schedules, `{"name":"each minute","procedure":"custom_table","cron":"* * * * *","overlap":"queue","request":{"table_name":"few"}}`, &made)
	var now told
	must(http.MethodPost, schedules+"/"+made.ID+"/run", "", &now)
	c.until(t, now.ID, "completed")

	type scheduled struct {
		ID        string    `json:"job_id"`
		Type      string    `json:"job_type"`
		CreatedAt time.Time `json:"created_at"`
	}
	var list struct{ Jobs []scheduled }
	again(t, "the next minute's job", func(turn int) bool {
		a, err := c.try(turn, http.MethodGet, jobsPath, "")
		return err == nil && a.StatusCode == http.StatusOK && json.Unmarshal(a.body, &list) == nil && len(list.Jobs) > 1
	})
	minutes := map[time.Time]int{}
	for _, j := range list.Jobs {
		if done := c.until(t, j.ID, "completed"); done.TotalRows != 1000 || j.Type != "schedule" {
			t.Errorf("%+v %+v", j, done)
		}
		if j.ID != now.ID {
			minutes[j.CreatedAt.Truncate(time.Minute)]++
		}
	}
	if len(minutes) == 0 {
		t.Error("no tick made a job")
	}
	for minute, n := range minutes {
		if n != 1 {
			t.Errorf("%d jobs were made in the minute of %s", n, minute)
		}
	}
}
