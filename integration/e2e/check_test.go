package e2e

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// checked is what `cipherstream check --json` answers.
type checked struct {
	OK       bool
	ExitCode int `json:"exit_code"`
	Findings []struct{ Level, Stage, Code, Message string }
	Columns  []struct{ Name, Type string }
}

// check runs a check and returns its answer, and what it found as LEVEL STAGE CODE, without what is fine.
func (w *workspace) check(args ...string) (answer checked, found []string) {
	w.Helper()
	r := w.run(append([]string{"check", "--json"}, args...)...)
	if err := json.Unmarshal(r.stdout, &answer); err != nil {
		w.Fatalf("check %v ended with %d: %v\n%s%s", args, r.code, err, r.stdout, r.stderr)
	}
	if answer.ExitCode != r.code || answer.OK != (r.code == 0) {
		w.Errorf("check %v ended with %d, and says %d, ok %t", args, r.code, answer.ExitCode, answer.OK)
	}
	for _, f := range answer.Findings {
		if f.Level != "fine" {
			found = append(found, f.Level+" "+f.Stage+" "+f.Code)
		}
	}
	return answer, found
}

// says reports whether something that is fine has a text.
func (c checked) says(text string) bool {
	for _, f := range c.Findings {
		if f.Level == "fine" && strings.Contains(f.Message, text) {
			return true
		}
	}
	return false
}

// TestCheckStore: what is wrong with a bucket, its name, its keys or the way to it is found by a check on a real store as
// by a run, and neither object nor upload stays behind.
func TestCheckStore(t *testing.T) {
	t.Parallel()
	store := servers.MinIO(t)
	d := newDeliveries(t, store)
	const account, readable = "warning source mysql.may_write", "unchecked sink check.unchecked"
	bucket := store.URL(store.Bucket())
	allowed := func(actions ...string) settings {
		key := store.Key(actions...)
		return settings{"access_key_id": key.ID, "secret_access_key": key.Secret, "session_token": key.Token, "link_ttl": "0s"}
	}
	for name, c := range map[string]struct {
		bucket string
		sink   settings
		code   int
		want   []string
		run    string // how a run ends
	}{
		"good":           {bucket: bucket, want: []string{account, readable}},
		"missing bucket": {bucket: store.URL("not-there-" + store.Bucket()), code: 1, want: []string{account, "wrong sink sink.bucket_missing"}, run: "sink.bucket_missing"},
		"another key":    {bucket: bucket, sink: settings{"access_key_id": "nobody"}, code: 3, want: []string{account, "wrong sink sink.credentials"}, run: "sink.credentials"},
		"another secret": {bucket: bucket, sink: settings{"secret_access_key": "wrong-secret-key"}, code: 3, want: []string{account, "wrong sink sink.credentials"}, run: "sink.credentials"},
		"may only read":  {bucket: bucket, sink: allowed("s3:GetObject", "s3:ListBucket"), code: 3, want: []string{account, "wrong sink sink.access_denied"}, run: "sink.access_denied"},
		"may only write": {bucket: bucket, sink: allowed("s3:PutObject", "s3:AbortMultipartUpload"), want: []string{account, readable}},
		"nobody listens": {bucket: strings.Replace(bucket, url.QueryEscape(store.Endpoint()), url.QueryEscape("http://127.0.0.1:1"), 1), code: 3, want: []string{account, "wrong sink sink.unreachable"}, run: "sink.unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			d := d.within(t)
			const key = "checked/rows.ndjson"
			sink := settings{"key": key}
			for k, v := range c.sink {
				sink[k] = v
			}
			args := []string{d.job("SELECT 1 AS n", sink), "--job", "--bucket", c.bucket}
			answer, found := d.check(args...)
			if answer.ExitCode != c.code || !slices.Equal(found, c.want) || c.code == 0 && !answer.says("uploads to the bucket s3://"+store.Bucket()+" are allowed") {
				t.Errorf("it ended with %d, want %d: %q, want %q\n%+v", answer.ExitCode, c.code, found, c.want, answer)
			}
			d.nothing(key)
			if c.run != "" {
				if r := d.run(append([]string{"run"}, args...)...); r.code != c.code || !strings.Contains(r.stderr, "error["+c.run+"]: ") {
					t.Errorf("a run ends with %d, want %d with %s:\n%s", r.code, c.code, c.run, r.stderr)
				}
			}
		})
	}
}

// TestCheckDatabase: what is wrong with an account, a table, a procedure or a statement is found by a check on a real server
// with the code that a run has, and the columns are known where the server knows them.
func TestCheckDatabase(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *servers.Server) {
		database := s.Database()
		account := strings.Replace(database, "t_", "u_", 1)
		s.Exec(strings.ReplaceAll(strings.ReplaceAll(`
CREATE TABLE visits (id INT PRIMARY KEY, fee DECIMAL(10,2), note TEXT, seen DATETIME(3), doc JSON);
CREATE TABLE closed (id INT);
CREATE TABLE part (id INT, secret INT);
CREATE VIEW broken AS SELECT id FROM closed;
CREATE PROCEDURE bills(a INT) SELECT a;
CREATE PROCEDURE hidden() SELECT 1;
CREATE ROLE ACCOUNT_r;
CREATE USER ACCOUNT@'%' IDENTIFIED BY 'x';
GRANT SELECT ON DATABASE.visits TO ACCOUNT@'%';
GRANT SELECT (id) ON DATABASE.part TO ACCOUNT@'%';
GRANT EXECUTE ON PROCEDURE DATABASE.bills TO ACCOUNT_r;
GRANT ACCOUNT_r TO ACCOUNT@'%';
`, "ACCOUNT", account), "DATABASE", database))
		t.Cleanup(func() { s.Exec("DROP USER " + account + "@'%'; DROP ROLE " + account + "_r") })
		if s.IsMariaDB() {
			s.Exec("SET DEFAULT ROLE " + account + "_r FOR " + account + "@'%'")
		} else {
			s.Exec("SET DEFAULT ROLE " + account + "_r TO " + account + "@'%'")
		}
		json := "json"
		if s.IsMariaDB() {
			json = "string" // of MariaDB it is LONGTEXT
		}
		w := newWorkspace(t, s.UserDSN(account, "x", database))
		root := newWorkspace(t, s.DSN(database))
		wrong := newWorkspace(t, s.UserDSN(account, "y", database))
		const unknown = "unchecked encoder check.unchecked"
		for name, c := range map[string]struct {
			by      *workspace
			source  settings
			code    int
			want    []string
			columns string
			run     string
		}{
			"good": {by: w, source: settings{"query": "SELECT * FROM visits WHERE id > ?", "args": []any{1}},
				columns: "id int32, fee decimal(10,2), note string, seen timestamp(3), doc " + json},
			"missing table":    {by: root, source: settings{"query": "SELECT * FROM visit"}, code: 1, want: []string{"warning source mysql.may_write", "wrong source mysql.unknown_table", unknown}, run: "mysql.unknown_table"},
			"missing column":   {by: w, source: settings{"query": "SELECT nothing FROM visits"}, code: 1, want: []string{"wrong source mysql.query", unknown}, run: "mysql.query"},
			"missing grant":    {by: w, source: settings{"query": "SELECT id FROM closed"}, code: 1, want: []string{"wrong source mysql.access_denied", unknown}, run: "mysql.access_denied"},
			"grant of columns": {by: w, source: settings{"query": "SELECT id, secret FROM part"}, code: 1, want: []string{"wrong source mysql.access_denied", unknown}, run: "mysql.access_denied"},
			"bad statement":    {by: w, source: settings{"query": "SELECT FROM visits"}, code: 1, want: []string{"wrong source mysql.syntax", unknown}, run: "mysql.syntax"},
			"bad password":     {by: wrong, source: settings{"query": "SELECT 1"}, code: 3, want: []string{"wrong source mysql.auth", unknown}, run: "mysql.auth"},
			"by a role":        {by: w, source: settings{"call": "bills", "args": []any{1}}, want: []string{"unchecked source check.unchecked", unknown}},
			"hidden procedure": {by: w, source: settings{"call": "hidden"}, code: 1, want: []string{"wrong source mysql.unknown_procedure", unknown}, run: "mysql.access_denied"},
		} {
			t.Run(name, func(t *testing.T) {
				w := c.by.with(t)
				path := w.pipeline(c.source, "ndjson")
				answer, found := w.check(path)
				var columns []string
				for _, column := range answer.Columns {
					columns = append(columns, column.Name+" "+column.Type)
				}
				if answer.ExitCode != c.code || !slices.Equal(found, c.want) || strings.Join(columns, ", ") != c.columns {
					t.Errorf("it ended with %d, want %d: %q, want %q; columns %q\n%+v", answer.ExitCode, c.code, found, c.want, columns, answer)
				}
				switch r := w.run("run", path); {
				case c.run != "":
					w.fails(r, c.code, c.run)
				case r.code != 0:
					t.Errorf("a run ends with %d: %s", r.code, r.stderr)
				}
			})
		}
	})
}
