package service

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestJobsFromTheCommandLine: a job of the sandbox gives what a stream gives, plain and sealed, and what lies in its folder
// cannot be read there.
func TestJobsFromTheCommandLine(t *testing.T) {
	s := startSandbox(t)
	dir := t.TempDir()
	env := []string{"CIPHERSTREAM_API_KEY=" + s.Key, "SEALING=" + s.EncryptionKey}
	run := func(args ...string) string {
		t.Helper()
		out, err := tool(t, dir, env, program(t), append(args, "--server", s.URL, "--customer", "sandbox")...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	content := func(name string) []byte {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	run("call", "appointments", "--mode", "stream", "-f", "csv", "-o", "stream.csv")
	run("call", "appointments", "--mode", "job", "--wait", "-f", "csv", "-o", "job.csv")
	if want, got := content("stream.csv"), content("job.csv"); !bytes.Equal(want, got) {
		t.Errorf("the job gives %d bytes, the stream %d", len(got), len(want))
	}
	run("call", "appointments", "--mode", "job", "--wait", "-f", "csv", "--decrypt", "env:SEALING", "-o", "opened.csv")
	if want, got := content("stream.csv"), content("opened.csv"); !bytes.Equal(want, got) {
		t.Errorf("the sealed job opens as %d bytes, the stream has %d", len(got), len(want))
	}
	var list struct {
		Jobs []struct {
			ID     string `json:"job_id"`
			Status string
			Rows   int64 `json:"total_rows"`
		}
		Total int
	}
	if err := json.Unmarshal([]byte(run("jobs", "list", "--json")), &list); err != nil || list.Total != 2 || list.Jobs[0].Status != "completed" || list.Jobs[0].Rows == 0 {
		t.Fatalf("%+v, %v", list, err)
	}
	run("jobs", "watch", list.Jobs[1].ID)
	run("jobs", "download", list.Jobs[1].ID, "-o", "again.csv")
	if !bytes.Equal(content("stream.csv"), content("again.csv")) {
		t.Error("a second download gives something else")
	}

	// The line that the sandbox prints works as it is.
	out, err := tool(t, dir, nil, "sh", "-c", s.JobCommand)
	if err != nil || !strings.Contains(out, `"job_id"`) {
		t.Errorf("%v: %s", err, out)
	}

	row := bytes.SplitN(content("stream.csv"), []byte("\r\n"), 3)[1]
	objects := 0
	err = filepath.WalkDir(filepath.Join(s.State, "objects"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil && !strings.HasSuffix(path, ".attrs") {
			objects++
		}
		if bytes.Contains(text, row) {
			t.Errorf("%s can be read", path)
		}
		return err
	})
	if err != nil || objects < 2 {
		t.Errorf("%d objects, %v", objects, err)
	}
}

// TestWorkersNeedASharedRecord: a worker beside a service on one data directory says what is needed, and ends; doctor and
// backup work there.
func TestWorkersNeedASharedRecord(t *testing.T) {
	p := configure(t, "")
	text, err := os.ReadFile(p.document)
	if err != nil {
		t.Fatal(err)
	}
	objects := t.TempDir()
	p.write(t, strings.ReplaceAll(string(text), "_DSN\"}", "_DSN\", bucket: results}")+"  buckets: {results: {url: \"file://"+objects+"\"}}\n")
	key := p.operate(t, "key", "create", "one")["key"].(string)
	p.serve(t)
	for _, said := range []string{"MySQL or MariaDB server", "state move", "one process's"} {
		if _, err := tool(t, p.dir, p.env, program(t), "worker"); err == nil || !strings.Contains(err.Error(), said) {
			t.Errorf("a worker on a directory that is in use: %v", err)
		}
	}
	out, err := tool(t, p.dir, p.env, program(t), "doctor")
	if err == nil || !strings.Contains(out, "a service runs with") || !strings.Contains(out, "customer without a key that opens anything: two") ||
		!strings.Contains(out, "written, read and removed") {
		t.Errorf("doctor beside a service: %v\n%s", err, out)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	p.operate(t, "state", "backup", copied)
	if _, err := tool(t, p.dir, p.env, program(t), "state", "restore", copied); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a restore into the directory of a service that runs: %v", err)
	}
	restored := filepath.Join(t.TempDir(), "state")
	p.operate(t, "state", "restore", copied, "--state", restored)
	keys := p.operate(t, "key", "list")["keys"].([]any)
	if len(keys) != 1 || strings.Contains(p.stderr.String(), key) {
		t.Errorf("%v", keys)
	}
	if code := p.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	// Where no service has it, a worker takes it, and lets it go when it is told to end.
	worker := start(t, p.dir, p.env, "worker", "--state", restored, "--operations", "127.0.0.1:0")
	worker.stderr.await(t, `"msg":"working"`)
	if code := worker.stop(t, syscall.SIGTERM); code != 0 || !strings.Contains(worker.stderr.String(), `"msg":"stopped"`) {
		t.Errorf("exit code %d: %s", code, worker.stderr)
	}
}
