package datastream

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/poll"
	built "github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/integration/servers"
)

// patience is how long a test waits for something that has to come: it is longer than some leases.
const patience = 4 * time.Minute

// eventually waits until something is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	waiting(t, what, patience, so)
}

// waiting is eventually for as long as it is told.
func waiting(t testing.TB, what string, most time.Duration, so func() bool) {
	t.Helper()
	if !poll.Until(50*time.Millisecond, 200*time.Millisecond, most, so) {
		t.Fatalf("waited %v for %s", most, what)
	}
}

// logging are the settings under which a server has a log of changes that can be followed.
var logging = map[string][]string{
	"MySQL": {"--log-bin=binlog", "--server-id=1", "--binlog-format=ROW", "--binlog-row-image=FULL", "--binlog-row-metadata=FULL", "--gtid-mode=ON",
		"--enforce-gtid-consistency=ON", "--sync-binlog=1", "--binlog-expire-logs-seconds=864000"},
	"MySQL without GTID": {"--log-bin=binlog", "--server-id=1", "--binlog-format=ROW", "--binlog-row-image=FULL", "--binlog-row-metadata=FULL", "--sync-binlog=1",
		"--binlog-expire-logs-seconds=864000", "--binlog-transaction-compression=ON"},
	"MariaDB": {"--log-bin=binlog", "--server-id=1", "--binlog-format=ROW", "--binlog-row-image=FULL", "--binlog-row-metadata=FULL", "--sync-binlog=1",
		"--expire-logs-days=10"},
}

// cluster is a service of one or several processes with a stream of one customer, clinic, whose database is behind a proxy.
type cluster struct {
	dir, temp, document string
	env                 []string
	nodes               []*node
	key                 string

	mu sync.Mutex
	at int // the node that is asked
}

// node is a process of a cluster.
type node struct {
	cmd   *exec.Cmd
	ended chan struct{}
	log   *logged

	mu       sync.Mutex
	url, ops string
}

// logged keeps what a process writes.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// without is what was written, without the lines that have a text.
func (l *logged) without(text string) string {
	var b strings.Builder
	for line := range strings.Lines(l.String()) {
		if !strings.Contains(line, text) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// pipeline is that of the stream.
func pipeline() string {
	var b strings.Builder
	b.WriteString(`apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: clinic_stream, title: Stream of the clinic, description: Every change of the clinic's rows.}
spec:
  parameters:
    - {name: position, type: string, default: "", description: Where to go on.}
    - {name: again, type: string, default: "", description: What is read again.}
  stages:
    source:
      use: mysql-changes
      with:
        url: "${secret.dsn}"
        position: "${params.position}"
        again: "${params.again}"
        page_rows: 500
        tables:
`)
	for _, s := range streamed {
		fmt.Fprintf(&b, "          - {table: %s, type: %s, channel: %s", s.table, s.kind, s.channel)
		for from, to := range s.rename {
			fmt.Fprintf(&b, ", rename: {%s: %s}", from, to)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// form starts a cluster of so many processes, whose record is a server's, or in a file where there is one process. It sets the
// stream up, which is not enabled yet.
func form(t testing.TB, processes int, record *servers.Server, dsn string, stream map[string]any) *cluster {
	t.Helper()
	temp, err := os.MkdirTemp("/tmp", "cstr") // sockets in a private directory need a short path
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{dir: t.TempDir(), temp: temp}
	secret := func() string {
		b := make([]byte, 32)
		_, _ = rand.Read(b) // never fails
		return base64.StdEncoding.EncodeToString(b)
	}
	c.env = []string{"TMPDIR=" + temp, "PWD=" + c.dir, "DSN=" + dsn, "KEYS=" + secret()}
	text := `apiVersion: cipherstream/v1
kind: Service
metadata: {name: tested}
spec:
  operations: {address: "127.0.0.1:0"}
  listen: {address: "127.0.0.1:0"}
  shutdown: {grace: 200ms}
  limits: {warm: 0, rates: {polling: {requests: 1000000}}}
  webhooks: {allow_networks: ["127.0.0.0/8"]}
`
	if record != nil {
		text += "  state: \"env:RECORD\"\n  data_key: \"env:DATA_KEY\"\n"
		c.env = append(c.env, "RECORD="+record.DSN(record.Database()), "DATA_KEY="+secret())
	}
	text += "  customers:\n    - {id: clinic, dsn: \"env:DSN\", encryption_keys: [\"env:KEYS\"], data_stream: {pipeline: ./stream.yaml}}\n"
	c.document = filepath.Join(c.dir, "service.yaml")
	for file, text := range map[string]string{c.document: text, filepath.Join(c.dir, "stream.yaml"): pipeline()} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.end()
			if t.Failed() {
				t.Logf("a process said:\n%s", last(n.log.without(`"msg":"request"`), 8000))
			}
		}
		eventually(t, "the end of all processes", func() bool { return len(c.processes()) == 0 })
		os.RemoveAll(temp)
	})
	for range processes {
		n := &node{log: &logged{}}
		c.nodes = append(c.nodes, n)
		c.begin(t, n)
	}
	out := c.operate(t, "key", "create", "clinic")
	var issued struct{ Key string }
	if err := json.Unmarshal([]byte(out), &issued); err != nil || issued.Key == "" {
		t.Fatalf("key create: %v: %s", err, out)
	}
	c.key = issued.Key
	c.must(t, http.MethodPut, "", stream)
	return c
}

func last(text string, n int) string { return text[max(0, len(text)-n):] }

// begin starts a process, the first time or once more, and returns when it serves.
func (c *cluster) begin(t testing.TB, n *node) {
	t.Helper()
	program, err := built.Path()
	if err != nil {
		t.Fatal(err)
	}
	said := len(n.log.String())
	cmd := exec.Command(program, "serve", "--config", c.document)
	cmd.Dir, cmd.Env, cmd.Stderr = c.dir, append(os.Environ(), c.env...), n.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.cmd, n.ended = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait() // however it ends
		close(n.ended)
	}()
	eventually(t, "a service to serve", func() bool {
		select {
		case <-n.ended:
			t.Fatalf("the service has ended:\n%s", last(n.log.String(), 4000))
		default:
		}
		for line := range strings.Lines(n.log.String()[said:]) {
			var what struct{ Msg, Address, Operations string }
			if json.Unmarshal([]byte(line), &what) == nil && what.Msg == "serving" {
				n.mu.Lock()
				n.url, n.ops = "http://"+what.Address, "http://"+what.Operations
				n.mu.Unlock()
				return true
			}
		}
		return false
	})
}

// kill ends a process at once.
func (n *node) kill() {
	_ = n.cmd.Process.Kill() // it may have ended
	<-n.ended
}

// end ends a process as an operator does.
func (n *node) end() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	over := time.AfterFunc(time.Minute, func() { _ = n.cmd.Process.Kill() })
	defer over.Stop()
	<-n.ended
}

// processes are those that the services started and that still run: their folder for temporary files is in the environment of
// all. They are children of the services, or of nobody.
func (c *cluster) processes() (list []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is good
	for _, path := range paths {
		text, err := os.ReadFile(path) // one that has ended meanwhile has none
		if err != nil || !bytes.Contains(text, []byte("="+c.temp)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

// plugins are the processes of the services' own, without themselves.
func (c *cluster) plugins() (list []int) {
	for _, pid := range c.processes() {
		is := false
		for _, n := range c.nodes {
			is = is || n.cmd.Process.Pid == pid
		}
		if !is {
			list = append(list, pid)
		}
	}
	return list
}

// operate does an operator's work and returns what it prints.
func (c *cluster) operate(t testing.TB, args ...string) string {
	t.Helper()
	program, err := built.Path()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append(args, "--config", c.document, "--json")...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), c.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v: %s", args, err, errs.String())
	}
	return out.String()
}

// ask asks one of the processes for something of the stream.
func (c *cluster) ask(method, path string, body any) (status int, said []byte, err error) {
	c.mu.Lock()
	c.at++
	n := c.nodes[c.at%len(c.nodes)]
	c.mu.Unlock()
	n.mu.Lock()
	url := n.url
	n.mu.Unlock()
	text := []byte{}
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return 0, nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url+"/v1/customers/clinic/data-stream"+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.key)
	r.Header.Set("Content-Type", "application/json")
	answer, err := asking.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	said, err = io.ReadAll(answer.Body)
	return answer.StatusCode, said, err
}

// asking keeps no connection: the process at its other end may be killed.
var asking = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// must asks until there is an answer, and wants it to be good.
func (c *cluster) must(t testing.TB, method, path string, body any) (said []byte) {
	t.Helper()
	eventually(t, "an answer to "+method+" data-stream"+path, func() bool {
		status, text, err := c.ask(method, path, body)
		if err == nil && status >= 400 && status <= 500 && status != http.StatusConflict && status != http.StatusTooManyRequests {
			t.Fatalf("%s data-stream%s: %d %s", method, path, status, text)
		}
		said = text
		return err == nil && status < 300
	})
	return said
}

// view is a stream as the service tells of it.
type view struct {
	Status   string `json:"status"`
	Enabled  bool   `json:"enabled"`
	Error    *struct{ Code, Message, Suggestion string }
	Channels []struct {
		Channel                         string
		Sequence, Acknowledged, Waiting int64
		Again                           int64 `json:"reset_remaining"`
		Last                            *struct {
			Code string `json:"error_code"`
		} `json:"last_request"`
	} `json:"channel_status"`
}

// look asks how the stream is.
func (c *cluster) look() (v view, text string) {
	status, said, err := c.ask(http.MethodGet, "", nil)
	if err != nil {
		return v, err.Error()
	}
	if err := json.Unmarshal(said, &v); err != nil || status != http.StatusOK {
		return v, fmt.Sprintf("%d %s", status, said)
	}
	return v, string(said)
}
