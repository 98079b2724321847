package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlite"
)

// TestTenThousandWait: ten thousand jobs of one customer wait, and one of another, that was ordered last. It is run as the second
// at the latest; lists and orders are answered meanwhile.
func TestTenThousandWait(t *testing.T) {
	t.Parallel()
	db := ordered(t)
	dsn := db.DSN(db.Database())
	c := &cluster{deployment: declare(t, nil, loose+"  buckets: {results: {url: \"file://"+t.TempDir()+"\"}}\n  jobs: {workers: 1}\n",
		tenant{id: "clinic", dsn: dsn, more: ", bucket: results"}, tenant{id: "small", dsn: dsn, more: ", bucket: results"})}
	const many, of = 10_000, 64
	record, err := sqlite.Open(t.Context(), filepath.Join(c.dir, "state"), nil)
	if err != nil {
		t.Fatal(err)
	}
	waiting := func(customer string, n int) (id string, _ error) {
		id = fmt.Sprintf("custom_table_1700000000000_%08x", n)
		_, _, _, err := record.CreateJob(t.Context(), store.NewJob{Job: store.Job{ID: id, Customer: customer, Procedure: "custom_table", Type: "extract",
			Reason: "requested", Request: []byte(`{"customer_id":"` + customer + `","table_name":"few","mode":"job"}`), Format: "ndjson", Compression: "none",
			Result: store.Result{Bucket: "results"}}, By: store.Actor{Who: "key:test"}})
		return id, err
	}
	var all sync.WaitGroup
	for g := range of {
		all.Go(func() {
			for n := g; n < many; n += of {
				if _, err := waiting("clinic", n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	id, err := waiting("small", many)
	if err := errors.Join(err, record.Close()); err != nil {
		t.Fatal(err)
	}
	c.nodes = []*node{{role: "serve", args: []string{"serve", "--config", c.document}}}
	c.begin(t, c.nodes[0])
	c.key, _ = c.deployment.key(t, "clinic")
	other, _ := c.deployment.key(t, "small")
	eventually(t, "the other customer's job to be run", func() bool {
		var j told
		a, err := c.tryAs(other, 0, http.MethodGet, "/v1/customers/small/jobs/"+id, "")
		if err != nil || a.StatusCode != http.StatusOK || json.Unmarshal(a.body, &j) != nil {
			t.Fatalf("%v %s", err, a.said())
		}
		return j.Status == "completed"
	})
	_, total, err := c.page(0, "created_asc", 0)
	if err != nil || total != many {
		t.Errorf("%d jobs are listed, %v", total, err)
	}
	a, err := c.try(0, http.MethodGet, jobsPath+"?status=completed&sort=updated_asc&limit=1", "")
	if err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("%v %s", err, a.said())
	}
	c.order(t, `{"customer_id":"clinic","table_name":"few","mode":"job"}`)
	c.nodes[0].stop(t, syscall.SIGTERM)
	if record, err = sqlite.Open(t.Context(), filepath.Join(c.dir, "state"), nil); err != nil {
		t.Fatal(err)
	}
	defer record.Close()
	theirs, err := record.Job(t.Context(), "small", id)
	if err != nil {
		t.Fatal(err)
	}
	before := 0
	ended, _, err := record.Jobs(t.Context(), store.JobFilter{Customer: "clinic", Status: store.Completed, Limit: 100, Sort: store.UpdatedAsc})
	for _, j := range ended {
		if j.StartedAt.Before(theirs.StartedAt) {
			before++
		}
	}
	if err != nil || before > 1 {
		t.Errorf("%d of the ten thousand went before it, %v", before, err)
	}
}
