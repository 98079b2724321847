package service

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/servers"
)

// topology is what the parts of a service with jobs are.
type topology struct {
	// record is a server's; nil is SQLite in a data directory, which one process has.
	record *servers.Server
	// store is a MinIO server's; nil is a folder.
	store *servers.Store
	// endpoint takes the place of the store's address; empty is that one.
	endpoint string
	// serves and workers are how many processes there are, and jobs how many jobs a serve takes from the queue.
	serves, workers, jobs int
	// variables are in the environment of all processes.
	variables []string
}

// cluster is a service with jobs, of as many processes as its topology says, on one document. Its customer is clinic.
type cluster struct {
	*deployment
	topology
	objects string // the folder of objects
	key     string // the customer's
	kills   bool   // servers are killed, so that an answer may never come

	mu    sync.Mutex
	nodes []*node
}

// node is a process of a cluster.
type node struct {
	*running
	role string // serve or worker
	args []string
	url  string
	env  []string
}

// loose are settings under which a test may ask as often as it likes.
const loose = "  limits: {streams: 100, warm: 0, rates: {procedures: {requests: 1000000}, polling: {requests: 1000000}, downloads: {requests: 1000000}}}\n"

// database is a server that a customer's data are on.
type database interface {
	DSN(database string) string
	Database() string
}

// form starts a cluster on a database, such as one that ordered has filled.
func form(t *testing.T, db database, of topology, settings string) *cluster {
	t.Helper()
	c := &cluster{topology: of, objects: t.TempDir()}
	if of.record != nil {
		settings += "  state: \"env:RECORD\"\n  data_key: \"env:DATA_KEY\"\n"
	}
	if of.store == nil {
		settings += "  buckets: {results: {url: \"file://" + c.objects + "\"}}\n"
	} else {
		address := of.store.URL(of.store.Bucket())
		if of.endpoint != "" {
			address = strings.Replace(address, "endpoint="+escaped(of.store.Endpoint()), "endpoint="+escaped(of.endpoint), 1)
		}
		settings += "  buckets: {results: {url: \"" + address + "\", access_key_id: \"env:STORE_KEY\", secret_access_key: \"env:STORE_SECRET\"}}\n"
	}
	settings += fmt.Sprintf("  jobs: {workers: %d}\n", of.jobs)
	c.deployment = declare(t, slices.Clone(of.variables), settings, tenant{id: "clinic", dsn: db.DSN(db.Database()), more: ", bucket: results"})
	if of.record != nil {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		c.env = append(c.env, "RECORD="+of.record.DSN(of.record.Database()), "DATA_KEY="+base64.StdEncoding.EncodeToString(key))
	}
	if of.store != nil {
		c.env = append(c.env, "STORE_KEY="+of.store.AccessKey(), "STORE_SECRET="+of.store.SecretKey())
	}
	for range of.serves {
		c.nodes = append(c.nodes, &node{role: "serve", args: []string{"serve", "--config", c.document}})
	}
	for range of.workers {
		c.nodes = append(c.nodes, c.worker())
	}
	for _, n := range c.nodes {
		c.begin(t, n)
	}
	c.key, _ = c.deployment.key(t, "clinic")
	return c
}

// worker is a process that takes two jobs at a time. It has not begun.
func (c *cluster) worker() *node {
	return &node{role: "worker", args: []string{"worker", "--config", c.document, "--workers", "2"}}
}

// join begins processes that a cluster did not have.
func (c *cluster) join(t *testing.T, list []*node) {
	t.Helper()
	for _, n := range list {
		c.nodes = append(c.nodes, n)
		c.begin(t, n)
	}
}

func escaped(endpoint string) string {
	return strings.NewReplacer(":", "%3A", "/", "%2F").Replace(endpoint)
}

// begin starts a process, the first time or once more, and returns when it serves or works.
func (c *cluster) begin(t *testing.T, n *node) {
	t.Helper()
	begun := start(t, c.dir, append(slices.Clone(c.env), n.env...), n.args...)
	said := map[string]string{"serve": `"msg":"serving"`, "worker": `"msg":"working"`}[n.role]
	begun.stderr.await(t, said)
	address := ""
	for line := range strings.Lines(begun.stderr.String()) {
		var what struct{ Msg, Address, Operations string }
		if json.Unmarshal([]byte(line), &what) == nil && what.Msg == "serving" {
			address = "http://" + what.Address
			c.Operations = "http://" + what.Operations
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n.running, n.url = begun, address
	if n == c.of("serve")[0] {
		c.URL = address
	}
}

// of are the processes of a role.
func (c *cluster) of(role string) (list []*node) {
	for _, n := range c.nodes {
		if n.role == role {
			list = append(list, n)
		}
	}
	return list
}

// address is where one of the services is now, a different one for each turn.
func (c *cluster) where(turn int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.of("serve")
	return list[turn%len(list)].url
}

// requestTime is how long a client waits for an answer where servers are killed; elsewhere it is patience.
const requestTime = 15 * time.Second

// try asks one of the services for something, as a client does that may not be answered.
func (c *cluster) try(turn int, method, path, body string, header ...string) (*reply, error) {
	return c.tryAs(c.key, turn, method, path, body, header...)
}

// tryAs is try with another key.
func (c *cluster) tryAs(key string, turn int, method, path, body string, header ...string) (*reply, error) {
	waits := patience
	if c.kills {
		waits = requestTime
	}
	ctx, cancel := context.WithTimeout(context.Background(), waits)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, c.where(turn)+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := plain.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	a := &reply{Response: answer}
	a.body, a.broken = io.ReadAll(answer.Body)
	return a, a.broken
}

// plain is a client that follows nothing, and keeps no connection.
var plain = &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: roundTime}

// told is a job as the service tells of it.
type told struct {
	ID        string `json:"job_id"`
	Mode      string
	Status    string
	Percent   *int  `json:"progress_percent"`
	Rows      int64 `json:"rows_processed"`
	TotalRows int64 `json:"total_rows"`
	Size      int64 `json:"file_size_bytes"`
	SHA256    string
	StartedAt string `json:"started_at"`
	// The times at which it was made, and has ended.
	CreatedAt   time.Time `json:"created_at"`
	CompletedAt time.Time `json:"completed_at"`
	ErrorCode   string    `json:"error_code"`
	RetryCount  int       `json:"retry_count"`
	URL         string    `json:"s3_url"`
	FileName    string    `json:"file_name"`
	Encrypted   bool
	Metadata    struct{ Reason string }
}

const jobsPath = "/v1/customers/clinic/jobs"

// order orders a job, and fails the test where none comes of it.
func (c *cluster) order(t *testing.T, body string, header ...string) told {
	t.Helper()
	a, err := c.try(0, http.MethodPost, path, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	var j told
	if a.StatusCode != http.StatusOK || json.Unmarshal(a.body, &j) != nil || j.ID == "" {
		t.Fatalf("%s: %s: %.500s", body, a.Status, a.body)
	}
	if a.Header.Get("Location") != jobsPath+"/"+j.ID || a.Header.Get("X-CipherStream-Run") != j.ID || j.Mode != "job" {
		t.Errorf("the answer of %s: %v %+v", j.ID, a.Header, j)
	}
	return j
}

// status asks how a job is.
func (c *cluster) status(t *testing.T, id string) (j told) {
	t.Helper()
	a, err := c.try(0, http.MethodGet, jobsPath+"/"+id, "")
	if err != nil || a.StatusCode != http.StatusOK || json.Unmarshal(a.body, &j) != nil {
		t.Fatalf("job %s: %v: %.500s", id, err, a.said())
	}
	return j
}

// said is an answer for messages, or nothing.
func (a *reply) said() string {
	if a == nil {
		return ""
	}
	return a.Status + " " + string(a.body)
}

// until waits until a job has a status.
func (c *cluster) until(t *testing.T, id, status string) (j told) {
	t.Helper()
	eventually(t, "job "+id+" to be "+status, func() bool {
		j = c.status(t, id)
		if j.Status != status && slices.Contains([]string{"completed", "failed", "cancelled"}, j.Status) {
			t.Fatalf("job %s is %s (%s), not %s", id, j.Status, j.ErrorCode, status)
		}
		return j.Status == status
	})
	return j
}

// fetched is a result that was downloaded.
type fetched struct {
	size   int64
	sha256 string
	body   []byte
}

// fetch downloads the result of a job as clients do: asks for it, and follows where the answer leads.
func (c *cluster) fetch(turn int, id string) (f fetched, err error) {
	a, err := c.try(turn, http.MethodGet, jobsPath+"/"+id+"/download", "")
	if err != nil {
		return f, err
	}
	if a.StatusCode != http.StatusTemporaryRedirect {
		return f, fmt.Errorf("%.300s", a.said())
	}
	at := a.Header.Get("Location")
	if strings.HasPrefix(at, "/") {
		at = c.where(turn) + at
	}
	answer, err := plain.Get(at) // without a key
	if err != nil {
		return f, err
	}
	defer answer.Body.Close()
	f.body, err = io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.300s", answer.Status, f.body)
	}
	f.size, f.sha256 = int64(len(f.body)), hashed(f.body)
	return f, err
}

func hashed(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// stored are the keys of all objects, and of what runs have begun to write.
func (c *cluster) stored(t *testing.T) (keys []string) {
	t.Helper()
	if c.store != nil {
		bucket := c.store.Bucket()
		keys = c.store.Objects(bucket)
		for _, u := range c.store.Uploads(bucket, "") {
			keys = append(keys, "unfinished "+*u.Key)
		}
		return keys
	}
	err := filepath.WalkDir(c.objects, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.HasSuffix(path, ".attrs") {
			keys = append(keys, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// plugins are the processes that a process has started, and those that they have.
func (n *node) plugins() (list []int) {
	parents := map[int][]int{}
	paths, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, path := range paths {
		text, err := os.ReadFile(path) // one that has ended meanwhile has none
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, _ := strconv.Atoi(fields[1])
		parents[parent] = append(parents[parent], pid)
	}
	for next := parents[n.cmd.Process.Pid]; len(next) > 0; next = next[1:] {
		list = append(list, next[0])
		next = append(next, parents[next[0]]...)
	}
	return list
}

// kill ends a process at once, and waits until it has.
func (n *node) kill(t *testing.T) {
	t.Helper()
	n.stop(t, syscall.SIGKILL)
}

// ordered fills a database with what jobs are ordered of: numbers has 131,072 rows, more than a stream may have; slow takes
// two seconds for 40,000 of them.
func ordered(t *testing.T) *dbtest.Server {
	t.Helper()
	db := dbtest.MariaDB(t)
	db.Exec("CREATE TABLE numbers (n INT PRIMARY KEY, filler VARCHAR(200));\nINSERT INTO numbers VALUES (1, REPEAT(1, 20));\n" +
		strings.Repeat("SET @n = (SELECT COUNT(*) FROM numbers);\nINSERT INTO numbers SELECT n + @n, REPEAT(n + @n, 20) FROM numbers;\n", 17) + `
CREATE VIEW few AS SELECT n, filler FROM numbers WHERE n <= 1000;
CREATE VIEW slow AS SELECT n, filler, SLEEP(IF(n % 1000 = 0, 0.05, 0)) AS nap FROM numbers WHERE n <= 40000;
CREATE VIEW long_one AS SELECT n, filler, SLEEP(IF(n % 1000 = 0, 0.2, 0)) AS nap FROM numbers;
CREATE PROCEDURE endless() SELECT a.n, b.n AS m, a.filler FROM numbers a, numbers b;
`)
	return db
}
