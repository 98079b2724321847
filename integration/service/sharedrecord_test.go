package service

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// TestSharedRecord: the record of a data directory is moved to a server, where a service that runs no jobs itself and workers
// beside it share it: keys are the same, jobs end once, one that loses its worker is begun anew, and operators see all of it.
func TestSharedRecord(t *testing.T) {
	db := dbtest.MariaDB(t)
	practice(db)
	record := db.NewDatabase()
	p := configure(t, "")
	p.env = append(p.env, "ONE_DSN="+db.DSN(db.Database()), "STATE="+db.DSN(record))
	text, err := os.ReadFile(p.document)
	if err != nil {
		t.Fatal(err)
	}
	document := strings.ReplaceAll(string(text), `_DSN"}`, `_DSN", bucket: results, allow: {tables: ["*"], procedures: ["*"]}}`) +
		"  buckets: {results: {url: \"file://" + t.TempDir() + "\"}}\n  jobs: {workers: 0}\n"
	p.write(t, document)
	key := p.operate(t, "key", "create", "one")["key"].(string)
	if moved := p.operate(t, "state", "move", "--to", "env:STATE")["tables"].([]any); len(moved) < 10 {
		t.Errorf("moved %v", moved)
	}
	if _, err := tool(t, p.dir, p.env, program(t), "state", "move", "--to", "env:STATE"); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("moved twice: %v", err)
	}
	p.write(t, document+"  state: env:STATE\n  data_key: file:state/data.key\n")
	p.serve(t)
	if keys := p.operate(t, "key", "list")["keys"].([]any); len(keys) != 1 {
		t.Errorf("keys after the move: %v", keys)
	}
	if _, err := tool(t, p.dir, p.env, program(t), "state", "backup", filepath.Join(p.dir, "copy")); err == nil || !strings.Contains(err.Error(), "server's own tools") {
		t.Errorf("a backup of a record on a server: %v", err)
	}
	if out, err := tool(t, p.dir, p.env, program(t), "doctor", "--procedure", "custom_table"); !strings.Contains(out, "it answers within") || strings.Contains(out, "geheim") {
		t.Errorf("doctor: %v\n%s", err, out)
	}

	env := append(p.env, "CIPHERSTREAM_API_KEY="+key)
	call := func(args ...string) string {
		t.Helper()
		out, err := tool(t, p.dir, env, program(t), append(args, "--server", p.url, "--customer", "one")...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	order := func(what ...string) string {
		t.Helper()
		var j struct {
			ID     string `json:"job_id"`
			Status string
		}
		if err := json.Unmarshal([]byte(call(append([]string{"call", "custom_table", "--mode", "job", "-f", "csv", "--json"}, what...)...)), &j); err != nil {
			t.Fatal(err)
		}
		return j.ID
	}
	waiting := order("-p", "table_name=numbers")
	thinking := order("-p", "procedure_name=thinking")
	if text := call("jobs", "list", "--json"); strings.Count(text, `"queued"`) != 2 {
		t.Errorf("without a worker the jobs are: %s", text)
	}
	work := func() *running {
		t.Helper()
		w := start(t, p.dir, p.env, "worker", "--workers", "2")
		w.stderr.await(t, `"msg":"working"`)
		return w
	}
	first := work()
	call("jobs", "download", waiting, "--wait", "-o", "job.csv", "--progress", "none")
	call("call", "custom_table", "--mode", "stream", "-f", "csv", "-p", "table_name=numbers", "-o", "stream.csv")
	job, err := os.ReadFile(filepath.Join(p.dir, "job.csv"))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := os.ReadFile(filepath.Join(p.dir, "stream.csv"))
	if err != nil || !bytes.Equal(job, stream) {
		t.Errorf("the job gives %d bytes, the stream %d: %v", len(job), len(stream), err)
	}

	// A worker that ends hands back what it runs, and another takes it; it is cancelled there.
	if code := first.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, first.stderr)
	}
	if text := call("jobs", "get", thinking, "--json"); !strings.Contains(text, `"queued"`) {
		t.Errorf("behind the worker's end the job is %s", text)
	}
	second := work()
	call("jobs", "cancel", thinking)
	out, err := tool(t, p.dir, env, program(t), "jobs", "watch", thinking, "--json", "--progress", "none", "--server", p.url, "--customer", "one")
	if err == nil || !strings.Contains(out, `"cancelled"`) {
		t.Errorf("a job that is cancelled: %v: %s", err, out)
	}
	if code := second.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, second.stderr)
	}
	for _, said := range []*running{p.running, first, second} {
		for _, secret := range []string{key, "geheim", db.DSN(record)} {
			if strings.Contains(said.stderr.String(), secret) {
				t.Error("a secret is in a log")
			}
		}
	}
}
