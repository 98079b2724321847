package service

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/poll"
	"github.com/cipherstream/cipherstream/integration/required"
)

// tenant is a customer of a deployment. It may name any table and procedure of its database.
type tenant struct {
	id, dsn string
	// more is what its entry in the document has besides, in YAML's flow form: ", demo: true".
	more string
	// keys are the references to its encryption keys, in YAML, instead of one key of its own.
	keys string
}

// deployment is a service with a document of its own, in a process of its own, as an operator has one.
type deployment struct {
	*running
	dir, document string
	// temp is where it and what it starts may put temporary files.
	temp string
	env  []string
	URL  string
	// Operations is where operators reach it, and keys are the customers' encryption keys.
	Operations string
	keys       map[string]string
}

// deploy starts a service for customers. Settings are more lines of its document's spec.
func deploy(t *testing.T, settings string, tenants ...tenant) *deployment {
	t.Helper()
	return deployIn(t, nil, settings, tenants...)
}

// deployIn is deploy with more variables in the service's environment.
func deployIn(t *testing.T, env []string, settings string, tenants ...tenant) *deployment {
	t.Helper()
	d := declare(t, env, settings, tenants...)
	d.start(t)
	return d
}

// declare writes the document of such a service.
func declare(t *testing.T, env []string, settings string, tenants ...tenant) *deployment {
	t.Helper()
	// Sockets in a private directory need a short path.
	temp, err := os.MkdirTemp("/tmp", "csvc")
	if err != nil {
		t.Fatal(err)
	}
	d := &deployment{dir: t.TempDir(), temp: temp, keys: map[string]string{}}
	t.Cleanup(func() {
		d.nothingIsLeft(t)
		os.RemoveAll(temp)
	})
	if !strings.Contains(settings, "  listen:") {
		settings += "  listen: {address: \"127.0.0.1:0\"}\n"
	}
	text := "apiVersion: cipherstream/v1\nkind: Service\nmetadata: {name: tested}\nspec:\n" +
		"  operations: {address: \"127.0.0.1:0\"}\n  shutdown: {grace: 200ms}\n" + settings + "  customers:\n"
	d.env = append(env, "TMPDIR="+temp, "PWD="+d.dir)
	for i, c := range tenants {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		d.keys[c.id] = base64.StdEncoding.EncodeToString(key)
		d.env = append(d.env, fmt.Sprintf("DSN_%d=%s", i, c.dsn), fmt.Sprintf("KEYS_%d=%s", i, d.keys[c.id]))
		if c.keys == "" {
			c.keys = fmt.Sprintf("env:KEYS_%d", i)
		}
		text += fmt.Sprintf("    - {id: %s, dsn: \"env:DSN_%d\", encryption_keys: [%s], allow: {tables: [\"*\"], procedures: [\"*\"]}%s}\n", c.id, i, c.keys, c.more)
	}
	d.document = filepath.Join(d.dir, "service.yaml")
	if err := os.WriteFile(d.document, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// start starts the service, once more when it has ended, and returns when it serves.
func (d *deployment) start(t *testing.T) {
	t.Helper()
	d.running = start(t, d.dir, d.env, "serve", "--config", d.document)
	d.stderr.await(t, `"msg":"serving"`)
	for line := range strings.Lines(d.stderr.String()) {
		var said struct {
			Msg, Address, Operations string
			TLS                      bool
		}
		if json.Unmarshal([]byte(line), &said) != nil || said.Msg != "serving" {
			continue
		}
		if d.URL = "http://" + said.Address; said.TLS {
			d.URL = "https://" + said.Address
		}
		d.Operations = "http://" + said.Operations
	}
}

// address is HOST:PORT of the service.
func (d *deployment) address() string { return d.URL[strings.Index(d.URL, "//")+2:] }

// operate does an operator's work on the service that runs.
func (d *deployment) operate(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tool(t, d.dir, d.env, program(t), append(args, "--config", d.document, "--json")...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// key makes a key of a customer.
func (d *deployment) key(t *testing.T, customer string, args ...string) (text, id string) {
	t.Helper()
	var issued struct{ Key, ID string }
	if err := json.Unmarshal([]byte(d.operate(t, append([]string{"key", "create", customer}, args...)...)), &issued); err != nil || issued.Key == "" {
		t.Fatalf("key create: %v", err)
	}
	return issued.Key, issued.ID
}

// reply is an answer, as far as it came.
type reply struct {
	*http.Response
	body []byte
	// broken is the error with which the body ended.
	broken error
}

// plainly is a client that changes nothing, and keeps no connection.
var plainly = &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}

// send asks for something; an empty key sends none.
func (d *deployment) send(t *testing.T, client *http.Client, key, method, path, body string) *reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, d.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer answer.Body.Close()
	a := &reply{Response: answer}
	a.body, a.broken = io.ReadAll(answer.Body)
	return a
}

// ask asks for a procedure's rows.
func (d *deployment) ask(t *testing.T, key, procedure, body string) *reply {
	t.Helper()
	return d.send(t, plainly, key, http.MethodPost, "/v1/procedures/"+procedure, body)
}

// code is the code of an error; empty is none.
func (a *reply) code() string {
	var e struct{ Error struct{ Code string } }
	_ = json.Unmarshal(a.body, &e) // then there is none
	return e.Error.Code
}

// outcome is what the service says that became of a request, once it has ended.
type outcome struct {
	Status string
	Code   string `json:"error_code"`
	Rows   int64
}

func (d *deployment) outcome(t *testing.T, client *http.Client, key, id string) (o outcome) {
	t.Helper()
	eventually(t, "the end of request "+id, func() bool {
		a := d.send(t, client, key, http.MethodGet, "/v1/requests/"+id, "")
		if a.StatusCode != http.StatusOK {
			t.Fatalf("/v1/requests/%s: %s %s", id, a.Status, a.body)
		}
		o = outcome{}
		if err := json.Unmarshal(a.body, &o); err != nil {
			t.Fatal(err)
		}
		return o.Status != "running"
	})
	return o
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	if !poll.Until(20*time.Millisecond, 200*time.Millisecond, patience, so) {
		t.Fatalf("waited %v for %s", patience, what)
	}
}

// processes are those that the service started and that still run. Its folder for temporary files is in the environment of all.
func (d *deployment) processes() (list []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is good
	for _, path := range paths {
		environment, err := os.ReadFile(path) // one that has ended meanwhile has none
		if err == nil && bytes.Contains(environment, []byte("="+d.temp)) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				list = append(list, pid)
			}
		}
	}
	return list
}

// nothingIsLeft holds that of a service that has ended neither a process nor a file is left, but for its record.
func (d *deployment) nothingIsLeft(t *testing.T) {
	t.Helper()
	eventually(t, "the end of all processes", func() bool { return len(d.processes()) == 0 })
	if left := tree(t, d.temp); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}

// tree lists everything below a folder.
func tree(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil && path != dir {
			list = append(list, path)
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil // gone meanwhile
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// practice fills a database with what the tests ask for: a table of 65,536 rows of some 110 bytes, and others that fail late.
func practice(s *dbtest.Server) {
	s.Exec("CREATE TABLE numbers (n INT PRIMARY KEY, filler VARCHAR(200));\nINSERT INTO numbers VALUES (1, REPEAT(1, 20));\n" +
		strings.Repeat("SET @n = (SELECT COUNT(*) FROM numbers);\nINSERT INTO numbers SELECT n + @n, REPEAT(n + @n, 20) FROM numbers;\n", 16) + `
CREATE VIEW few AS SELECT n, filler FROM numbers WHERE n <= 1000;
CREATE VIEW late AS SELECT n, filler, IF(n > 40000, (SELECT m.n FROM numbers m WHERE m.n <= a.n LIMIT 2), 0) AS broken FROM numbers a;
SET sql_mode = '';
CREATE TABLE zeroed (n INT PRIMARY KEY, filler VARCHAR(200), day DATE NOT NULL);
INSERT INTO zeroed SELECT n, filler, IF(n = 40000, '0000-00-00', '2024-01-31') FROM numbers WHERE n <= 40010;
CREATE PROCEDURE endless() SELECT a.n, b.n AS m, a.filler FROM numbers a, numbers b;
CREATE PROCEDURE thinking() SELECT COUNT(*) AS thinking FROM numbers a, numbers b, numbers c WHERE a.filler < b.filler AND b.filler < c.filler;
`)
}

// connections counts those to a database, but for those that ask.
func connections(s *dbtest.Server, database string) int {
	n, _ := strconv.Atoi(strings.TrimSpace(s.Query("SELECT COUNT(*) FROM information_schema.processlist WHERE db = '" + database + "' AND id <> CONNECTION_ID()")))
	return n
}

// cutting is a proxy that resets a connection when so many bytes of the server's have passed; it returns the connection URL
// that leads through it.
func cutting(t *testing.T, s *dbtest.Server, dsn string, bytes int64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port()))
				if err != nil {
					return
				}
				defer server.Close()
				go func() {
					_, _ = io.Copy(server, client)
					server.Close()
				}()
				if n, _ := io.CopyN(client, server, bytes); n == bytes {
					_ = client.(*net.TCPConn).SetLinger(0)
				}
			}()
		}
	}()
	return strings.Replace(dsn, fmt.Sprintf(":%d/", s.Port()), fmt.Sprintf(":%d/", l.Addr().(*net.TCPAddr).Port), 1)
}

// needs finds a program, or skips the test, or fails it where everything is required.
func needs(t *testing.T, name string) string {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	required.Missing(t, name+" was not found; install it with `make deps`")
	return ""
}

// TestService holds one service against what the world does to it. The parts go on beside each other.
func TestService(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	practice(db)
	dsn := db.DSN(db.Database())
	s := &shared{db: db, key: map[string]string{}}
	s.deployment = deploy(t, "  limits: {streams: 100, rates: {procedures: {requests: 100000}, polling: {requests: 100000}}}\n",
		tenant{id: "clinic", dsn: dsn},
		tenant{id: "broken", dsn: cutting(t, db, dsn, 4<<20)},
		tenant{id: "away", dsn: "mysql://root:secret@127.0.0.1:1/practice"},
		tenant{id: "elsewhere", dsn: dsn, more: ", networks: [203.0.113.0/24]"},
		tenant{id: "trial", dsn: dsn, more: ", demo: true"},
	)
	for _, id := range []string{"clinic", "broken", "away", "elsewhere", "trial"} {
		s.key[id], _ = s.deployment.key(t, id)
	}
	for name, test := range map[string]func(*testing.T, *shared){
		"CutStreams": testCutStreams,
		"HugeBodies": testHugeBodies, "SlowClients": testSlowClients, "IdleConnections": testIdleConnections, "Smuggling": testSmuggling,
		"Fields": testFields, "Names": testNames, "Keys": testKeys, "Others": testOthers, "Forwarded": testForwarded, "DatabaseAway": testDatabaseAway,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// shared is the service that the parts of TestService share: every one leaves it as it was.
type shared struct {
	*deployment
	db  *dbtest.Server
	key map[string]string
}
