package service_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/plugins/aesgcm"
	"github.com/cipherstream/cipherstream/plugins/ndjson"
)

const jobID = "patients_1700000000000_0a1b2c3d"

// fakeJobs is a service with one job, and a store whose links work once.
type fakeJobs struct {
	t       *testing.T
	content []byte
	sum     string // what the job says; empty is the right one

	mu       sync.Mutex
	status   []string // at each question; the last one stays
	events   []func(w http.ResponseWriter, last string)
	asked    []string // methods and paths, with what matters of the header
	deliver  []func(w http.ResponseWriter, r *http.Request, content []byte)
	store    *httptest.Server
	service  *httptest.Server
	more     map[string]any // what the job says besides
	accepted http.Header
}

func startJobs(t *testing.T, content []byte) *fakeJobs {
	t.Setenv("CIPHERSTREAM_API_KEY", "cs_live_geheim")
	f := &fakeJobs{t: t, content: content, status: []string{"completed"}}
	f.store = httptest.NewServer(http.HandlerFunc(f.object))
	f.service = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.store.Close)
	t.Cleanup(f.service.Close)
	return f
}

func (f *fakeJobs) run(args ...string) cmdtest.Result {
	f.t.Helper()
	r := cmdtest.Call(f.t, append(args, "--server", f.service.URL, "--customer", "c")...)
	if strings.Contains(r.Stdout+r.Stderr, "geheim") || strings.Contains(r.Stdout+r.Stderr, "signature=") {
		f.t.Errorf("a secret is shown: %+v", r)
	}
	return r
}

// next takes the first of a list, and leaves the last one.
func next[T any](list *[]T) (one T) {
	if len(*list) > 0 {
		one = (*list)[0]
	}
	if len(*list) > 1 {
		*list = (*list)[1:]
	}
	return one
}

func (f *fakeJobs) body(status string) map[string]any {
	j := map[string]any{"job_id": jobID, "customer_id": "c", "procedure_name": "patients", "mode": "job", "status": status, "rows_processed": 1,
		"created_at": "2026-01-01T00:00:00Z", "compression": "none", "output_format": "ndjson", "metadata": map[string]any{"reason": "rows"}}
	for name, value := range f.more {
		j[name] = value
	}
	if status == "completed" {
		sum := sha256.Sum256(f.content)
		j["sha256"], j["file_size_bytes"], j["file_name"], j["total_rows"] = hex.EncodeToString(sum[:]), len(f.content), jobID+".ndjson", 2
		if f.sum != "" {
			j["sha256"] = f.sum
		}
	}
	return j
}

func (f *fakeJobs) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := r.Header
	f.asked = append(f.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+h.Get("Prefer")+h.Get("Last-Event-ID")))
	if h.Get("Authorization") != "Bearer cs_live_geheim" {
		f.t.Errorf("%s: %v", r.URL, h)
	}
	send := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	path := "/v1/customers/c/jobs"
	switch r.Method + " " + r.URL.Path {
	case "GET " + path:
		send(map[string]any{"jobs": []any{f.body("running"), f.body("completed")}, "total": 340, "limit": 2, "offset": 0})
	case "GET " + path + "/" + jobID:
		switch status := next(&f.status); status {
		case "away":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "hidden":
			w.WriteHeader(http.StatusNotFound)
			send(map[string]any{"error": map[string]any{"code": "JOB_NOT_FOUND", "message": "There is no such job."}})
		default:
			send(f.body(status))
		}
	case "POST " + path + "/" + jobID + "/cancel":
		send(f.body(next(&f.status)))
	case "GET " + path + "/" + jobID + "/events":
		if answer := next(&f.events); answer != nil {
			answer(w, h.Get("Last-Event-ID"))
			return
		}
		w.WriteHeader(http.StatusNotFound)
	case "GET " + path + "/" + jobID + "/download":
		w.Header().Set("Location", f.store.URL+"/bucket/object?signature=abc")
		w.WriteHeader(http.StatusTemporaryRedirect)
	case "POST /v1/procedures/patients":
		for name := range f.accepted {
			w.Header().Set(name, f.accepted.Get(name))
		}
		send(f.body("queued"))
	default:
		f.t.Errorf("%s %s", r.Method, r.URL)
	}
}

// object is what a link leads to.
func (f *fakeJobs) object(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, strings.TrimSpace("object "+r.Header.Get("Range")+" "+r.Header.Get("If-Range")))
	if r.Header.Get("Authorization") != "" || r.URL.Query().Get("signature") != "abc" {
		f.t.Errorf("the store is told %v", r.Header)
	}
	if answer := next(&f.deliver); answer != nil {
		answer(w, r, f.content)
		return
	}
	whole(w, r, f.content)
}

func whole(w http.ResponseWriter, r *http.Request, content []byte) {
	w.Header().Set("ETag", `"one"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// cutAfter breaks the connection off.
func cutAfter(n int) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, r *http.Request, content []byte) {
		whole(&cutting{w, n}, r, content)
	}
}

type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

func status(code int) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.WriteHeader(code)
		fmt.Fprint(w, "<Error><Resource>signature=geheim</Resource></Error>")
	}
}

func stream(text string) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, _ string) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		fmt.Fprint(w, strings.ReplaceAll(text, "JOB", jobID))
	}
}

// result is large enough for several pieces.
func result() []byte { return []byte(strings.Repeat(rows, 50_000)) }

func TestJobsList(t *testing.T) {
	f := startJobs(t, []byte(rows))
	r := f.run("jobs", "list", "--status", "running", "--procedure", "patients", "--from", "2026-01-01", "--to", "2026-01-31", "--sort", "created_asc", "--limit", "2", "--offset", "4")
	if r.Code != 0 || !strings.Contains(r.Stdout, jobID+"  running") || !strings.Contains(r.Stdout, "2 of 340 jobs") {
		t.Errorf("%+v", r)
	}
	want := "GET /v1/customers/c/jobs?from_date=2026-01-01&limit=2&offset=4&procedure=patients&sort=created_asc&status=running&to_date=2026-01-31"
	if f.asked[0] != want {
		t.Errorf("%q", f.asked)
	}
	if r := f.run("jobs", "list", "--json"); r.Code != 0 || !strings.Contains(r.Stdout, `"total": 340`) || !strings.Contains(r.Stdout, `"rows_processed": 1`) {
		t.Errorf("%+v", r)
	}
}

func TestJobsGetAndCancel(t *testing.T) {
	f := startJobs(t, []byte(rows))
	if r := f.run("jobs", "get", jobID); r.Code != 0 || !strings.Contains(r.Stdout, "completed") || !strings.Contains(r.Stdout, "reason     rows") {
		t.Errorf("%+v", r)
	}
	if r := f.run("jobs", "get", jobID, "--json"); r.Code != 0 || !strings.Contains(r.Stdout, `"file_size_bytes": 16`) {
		t.Errorf("%+v", r)
	}
	f.status = []string{"hidden"}
	if r := f.run("jobs", "get", jobID); r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, "JOB_NOT_FOUND") {
		t.Errorf("%+v", r)
	}
	f.status = []string{"cancelled", "running"}
	if r := f.run("jobs", "cancel", jobID); r.Code != 0 || r.Stdout != "job "+jobID+" is cancelled\n" {
		t.Errorf("%+v", r)
	}
	if r := f.run("jobs", "cancel", jobID); r.Code != 0 || r.Stdout != "job "+jobID+" was told to end\n" {
		t.Errorf("%+v", r)
	}
}

// TestJobsWatch: events are followed from the last one that came on, over connections that break, until the job ends.
func TestJobsWatch(t *testing.T) {
	f := startJobs(t, []byte(rows))
	f.status = []string{"queued", "completed"}
	f.events = []func(http.ResponseWriter, string){
		stream("retry: 1\n\nevent: job.queued\nid: 1\ndata: {\"job_id\":\"JOB\",\"status\":\"queued\"}\n\n: still here\n\nevent: job.running\nid: 2\ndata: {\"job_id\":\"JOB\",\"status\":\"running\"}\n\n" +
			"event: job.progress\ndata: {\"job_id\":\"JOB\",\"status\":\"running\",\"progress_percent\":45,\"rows_processed\":7}\n\nevent: job.completed\nid: 3\ndata: {\"job_id\":\"JOB\",\"status\":\"comp"),
		func(w http.ResponseWriter, last string) {
			if last != "2" {
				t.Errorf("it goes on behind event %q", last)
			}
			stream("event: job.completed\nid: 3\ndata: {\"job_id\":\"JOB\",\"status\":\"completed\"}\n\n")(w, last)
		},
	}
	r := f.run("jobs", "watch", jobID, "--progress", "json")
	if r.Code != 0 || !strings.Contains(r.Stdout, `"status": "completed"`) || !strings.Contains(r.Stderr, `"progress_percent":45`) || !strings.Contains(r.Stderr, `"status":"queued"`) {
		t.Errorf("%+v", r)
	}
	if r := f.run("jobs", "watch", jobID, "--progress", "none"); r.Code != 0 || !strings.Contains(r.Stdout, "status     completed") {
		t.Errorf("%+v", r)
	}
}

// TestJobsWatchAsks: where events do not come, the service is asked, and may wait with its answer.
func TestJobsWatchAsks(t *testing.T) {
	for name, events := range map[string]func(http.ResponseWriter, string){
		"not known": nil,
		"rewritten": func(w http.ResponseWriter, _ string) { fmt.Fprint(w, "<html>") },
	} {
		f := startJobs(t, []byte(rows))
		f.status, f.events = []string{"queued", "completed"}, []func(http.ResponseWriter, string){events}
		r := f.run("jobs", "watch", jobID)
		if r.Code != 0 || !slices.Contains(f.asked, "GET /v1/customers/c/jobs/"+jobID+" wait=50") {
			t.Errorf("%s: %+v, %q", name, r, f.asked)
		}
	}
}

// TestJobsWatchEnds: the end of a job that has no result is the command's, with the reason.
func TestJobsWatchEnds(t *testing.T) {
	f := startJobs(t, []byte(rows))
	f.more = map[string]any{"error_code": "TIME_LIMIT", "error_message": "It took too long.", "suggestion": "ask for less"}
	for status, code := range map[string]string{"failed": "jobs.failed", "cancelled": "jobs.cancelled"} {
		f.status = []string{"running", status}
		f.events = []func(http.ResponseWriter, string){stream("data: {\"job_id\":\"JOB\",\"status\":\"" + status + "\"}\n\n")}
		r := f.run("jobs", "watch", jobID)
		if r.Code != terminal.ExitFailed || !strings.Contains(r.Stderr, "TIME_LIMIT: It took too long.") || !strings.Contains(r.Stderr, code) || !strings.Contains(r.Stderr, "ask for less") {
			t.Errorf("%s: %+v", status, r)
		}
	}
	f.status, f.events = []string{"hidden"}, nil
	if r := f.run("jobs", "watch", jobID); r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, "JOB_NOT_FOUND") {
		t.Errorf("%+v", r)
	}
}

// TestJobsDownload: whatever happens on the way, the file is there when it is the job's result, and not otherwise.
func TestJobsDownload(t *testing.T) {
	content := result()
	for _, c := range []struct {
		name    string
		deliver []func(http.ResponseWriter, *http.Request, []byte)
		sum     string
		code    int
		want    string   // in what is said
		asked   []string // of the store
	}{
		{name: "at once", want: "2 rows, 800.0 kB, whole (job " + jobID + ")", asked: []string{"object"}},
		{name: "cut twice", deliver: []func(http.ResponseWriter, *http.Request, []byte){cutAfter(1000), cutAfter(70_000), nil},
			asked: []string{"object", `object bytes=1000- "one"`, `object bytes=71000- "one"`}},
		{name: "a link that has ended", deliver: []func(http.ResponseWriter, *http.Request, []byte){cutAfter(1000), status(403), status(503), nil},
			asked: []string{"object", `object bytes=1000- "one"`, `object bytes=1000- "one"`, `object bytes=1000- "one"`}},
		{name: "no ranges", deliver: []func(http.ResponseWriter, *http.Request, []byte){cutAfter(1000), func(w http.ResponseWriter, _ *http.Request, content []byte) {
			w.Header().Set("ETag", `"one"`)
			_, _ = w.Write(content)
		}}},
		{name: "replaced in between", deliver: []func(http.ResponseWriter, *http.Request, []byte){
			func(w http.ResponseWriter, r *http.Request, _ []byte) {
				w.Header().Set("ETag", `"other"`)
				c := &cutting{w, 500}
				http.ServeContent(c, r, "", time.Time{}, bytes.NewReader(make([]byte, len(content))))
			}, nil}},
		{name: "another result", deliver: []func(http.ResponseWriter, *http.Request, []byte){func(w http.ResponseWriter, r *http.Request, content []byte) {
			whole(w, r, make([]byte, len(content)))
		}}, code: 1, want: "not the result of the job"},
		{name: "too large", deliver: []func(http.ResponseWriter, *http.Request, []byte){func(w http.ResponseWriter, r *http.Request, content []byte) {
			whole(w, r, append(slices.Clone(content), 'x'))
		}}, code: 1, want: "another result"},
		{name: "no digest", sum: "none", code: 1, want: "does not say the SHA-256"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := startJobs(t, content)
			f.deliver, f.sum = c.deliver, c.sum
			out := filepath.Join(t.TempDir(), "out")
			r := f.run("jobs", "download", jobID, "-o", out)
			if r.Code != c.code || !strings.Contains(r.Stdout+r.Stderr, c.want) {
				t.Errorf("%+v", r)
			}
			got, err := os.ReadFile(out)
			if c.code == 0 && (err != nil || !bytes.Equal(got, content)) || c.code != 0 && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			var objects []string
			for _, asked := range f.asked {
				if strings.HasPrefix(asked, "object") {
					objects = append(objects, asked)
				}
			}
			if c.asked != nil && !slices.Equal(objects, c.asked) {
				t.Errorf("the store was asked %q", objects)
			}
			left, _ := filepath.Glob(out + ".*")
			if len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// TestJobsDownloadResumes: what an earlier download has left is not fetched again, unless it is of something else.
func TestJobsDownloadResumes(t *testing.T) {
	content := result()
	sum := sha256.Sum256(content)
	for _, c := range []struct {
		name  string
		part  []byte
		asked string
		code  int
	}{
		{name: "a part", part: content[:300_000], asked: "object bytes=300000-"},
		{name: "all of it", part: content},
		{name: "too much", part: append(slices.Clone(content), 'x'), asked: "object"},
		{name: "of something else", part: make([]byte, 1000), asked: "object bytes=1000-", code: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := startJobs(t, content)
			out := filepath.Join(t.TempDir(), "out")
			part := out + "." + hex.EncodeToString(sum[:])[:12] + ".part"
			if err := os.WriteFile(part, c.part, 0o600); err != nil {
				t.Fatal(err)
			}
			r := f.run("jobs", "download", jobID, "-o", out)
			if got, _ := os.ReadFile(out); r.Code != c.code || c.code == 0 && !bytes.Equal(got, content) {
				t.Errorf("%+v, %d bytes", r, len(got))
			}
			if last := f.asked[len(f.asked)-1]; c.asked != "" && last != c.asked || c.asked == "" && strings.HasPrefix(last, "object") {
				t.Errorf("asked %q", f.asked)
			}
			if _, err := os.Stat(part); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the part is there: %v", err)
			}
		})
	}
}

// TestJobsDownloadOutput: the file has the result's name unless another is given, and that is never a path of a server's.
func TestJobsDownloadOutput(t *testing.T) {
	f := startJobs(t, []byte(rows))
	t.Chdir(t.TempDir())
	for given, want := range map[string]string{jobID + ".ndjson": jobID + ".ndjson", "../../etc/passwd": "passwd", "": jobID, "..": jobID, ".hidden": jobID, `..\x`: "x"} {
		f.more = map[string]any{}
		sum := sha256.Sum256([]byte(rows))
		f.status = []string{"done"}
		f.more = map[string]any{"status": "completed", "file_name": given, "sha256": hex.EncodeToString(sum[:]), "file_size_bytes": len(rows), "total_rows": 2}
		if r := f.run("jobs", "download", jobID); r.Code != 0 {
			t.Errorf("%q: %+v", given, r)
		}
		if got, err := os.ReadFile(want); err != nil || string(got) != rows {
			t.Errorf("%q: %v", given, err)
		}
		_ = os.Remove(want)
	}
	f.more, f.status = nil, []string{"completed"}
	if r := f.run("jobs", "download", jobID, "-o", "-"); r.Code != 0 || r.Stdout != rows {
		t.Errorf("%+v", r)
	}
	f.status = []string{"running"}
	if r := f.run("jobs", "download", jobID); r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, "is running") || !strings.Contains(r.Stderr, "--wait") {
		t.Errorf("%+v", r)
	}
	f.status = []string{"running", "completed"}
	if r := f.run("jobs", "download", jobID, "--wait", "-o", "-"); r.Code != 0 || r.Stdout != rows {
		t.Errorf("%+v", r)
	}
	if r := f.run("jobs", "download", jobID, "--decrypt", "env:CIPHERSTREAM_API_KEY"); r.Code != terminal.ExitUsage {
		t.Errorf("%+v", r)
	}
}

// TestCallJob: a job that was asked for is told; one that came by itself is an error, so that nobody takes it for the rows;
// and with --wait both come to the rows.
func TestCallJob(t *testing.T) {
	f := startJobs(t, []byte(rows))
	f.accepted = http.Header{"X-Cipherstream-Mode": {"job"}, "X-Request-Id": {"req_1"}}
	out := filepath.Join(t.TempDir(), "out")
	if r := f.run("call", "patients", "--mode", "job", "-o", out); r.Code != 0 || !strings.Contains(r.Stdout, "job "+jobID+" is queued") ||
		!strings.Contains(r.Stdout, "cipherstream jobs download "+jobID+" --wait --server "+f.service.URL+" --customer c\n") {
		t.Errorf("%+v", r)
	}
	if r := f.run("call", "patients", "--mode", "job", "--json"); r.Code != 0 || !strings.Contains(r.Stdout, `"job_id": "`+jobID) {
		t.Errorf("%+v", r)
	}
	if r := f.run("call", "patients", "-o", out); r.Code != terminal.ExitFailed || !strings.Contains(r.Stderr, "has become job "+jobID) {
		t.Errorf("%+v", r)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	f.status = []string{"running", "completed"}
	if r := f.run("call", "patients", "--wait", "-o", out); r.Code != 0 || !strings.Contains(r.Stdout, "whole (job "+jobID+")") {
		t.Errorf("%+v", r)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != rows {
		t.Errorf("%q, %v", got, err)
	}
}

// TestJobsDownloadOpens: what is sealed is opened with the customer's keys and proved by the manifest, and not otherwise.
func TestJobsDownloadOpens(t *testing.T) {
	t.Setenv("CIPHERSTREAM_API_KEY", "cs_live_geheim")
	path, plain := cmdtest.Deliver(t, 3000, ndjson.Stage(), aesgcm.Rows())
	sealed, receipt := cmdtest.Read(t, path), cmdtest.Read(t, path+".receipt.json")
	sum := sha256.Sum256([]byte(sealed))
	mux := http.NewServeMux()
	jobs := "GET /v1/customers/" + cmdtest.Customer + "/jobs/" + cmdtest.Run
	mux.HandleFunc(jobs, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"job_id": cmdtest.Run, "status": "completed", "encrypted": true, "compression": "none", "total_rows": 3000,
			"file_name": cmdtest.Run + ".ndjson", "file_size_bytes": len(sealed), "sha256": hex.EncodeToString(sum[:])})
	})
	mux.HandleFunc(jobs+"/download", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/v1/objects/abc", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("GET /v1/objects/abc", func(w http.ResponseWriter, r *http.Request) { whole(w, r, []byte(sealed)) })
	manifest := receipt
	mux.HandleFunc(jobs+"/manifest", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"job_id":"x","receipt":%s}`, manifest) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	for _, c := range []struct {
		keys, manifest string
		code           int
	}{
		{cmdtest.CurrentKey, receipt, 0}, {cmdtest.ForeignKey, receipt, 1},
		{cmdtest.CurrentKey, strings.Replace(receipt, `"mac":"`, `"mac":"0`, 1), 1}, {cmdtest.CurrentKey, "{}", 2},
	} {
		manifest = c.manifest
		for _, to := range []string{"-", filepath.Join(t.TempDir(), "out")} {
			r := cmdtest.Call(t, "jobs", "download", cmdtest.Run, "--server", server.URL, "--customer", cmdtest.Customer, "--decrypt", cmdtest.KeyFile(t, c.keys), "-o", to)
			got := r.Stdout
			if to != "-" {
				text, _ := os.ReadFile(to)
				got = string(text)
			}
			if r.Code != c.code || c.code == 0 && got != plain || c.code != 0 && got != "" {
				t.Errorf("%v to %s: %d %s, %d bytes", c.keys[:4], to, r.Code, r.Stderr, len(got))
			}
		}
	}
}
