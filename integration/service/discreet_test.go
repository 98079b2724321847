package service

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/telemetry/telemetrytest"
	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// planted are the secrets and the people of the test, by what they are.
type planted struct {
	mu     sync.Mutex
	hidden map[string]string
}

// secret plants text.
func (p *planted) secret(what, text string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, twice := p.hidden[what]; twice {
		panic(what + " is planted twice")
	}
	p.hidden[what] = text
	return text
}

// new plants a secret that nobody else has.
func (p *planted) new(what string) string {
	random := make([]byte, 12)
	_, _ = rand.Read(random) // never fails
	return p.secret(what, "geheim-"+hex.EncodeToString(random))
}

// key plants an encryption key.
func (p *planted) key(what string) string {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	return p.secret(what, base64.StdEncoding.EncodeToString(random))
}

// forms are how a text may be written down.
func forms(text string) []string {
	inside, _ := json.Marshal(text) // a text
	return slices.Compact([]string{text, url.QueryEscape(text), url.PathEscape(text), strings.Trim(string(inside), `"`),
		base64.StdEncoding.EncodeToString([]byte(text)), hex.EncodeToString([]byte(text))})
}

// people makes a database with fifty patients, and with what fails in words that hold them.
func people(t *testing.T, db *dbtest.Server, p *planted) (names []string) {
	sql := "CREATE TABLE patient (n INT PRIMARY KEY, name VARCHAR(80), email VARCHAR(80), mobile VARCHAR(40), born VARCHAR(20));\n"
	for n := range 50 {
		name := fmt.Sprintf("Wilhelmina%02d Kloosterboer%02d", n, 99-n)
		names = append(names, p.secret(fmt.Sprintf("the name of patient %d", n), name))
		sql += fmt.Sprintf("INSERT INTO patient VALUES (%d, '%s', '%s', '%s', 'x');\n", n, name,
			p.secret(fmt.Sprintf("the address of patient %d", n), fmt.Sprintf("w.kloosterboer%02d@patients.example", n)),
			p.secret(fmt.Sprintf("the number of patient %d", n), fmt.Sprintf("+61 491 57%04d", 3141+n)))
	}
	db.Exec(sql + `
DELIMITER //
CREATE FUNCTION fails(who VARCHAR(200)) RETURNS INT DETERMINISTIC BEGIN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = who; RETURN 1; END//
DELIMITER ;
CREATE VIEW parsed AS SELECT n, IF(n > 20, fails(name), 0) AS e FROM patient;
CREATE VIEW numbered AS SELECT n, CAST(name AS SIGNED) AS v FROM patient;
CREATE VIEW dated AS SELECT n, CAST(name AS DATE) AS v FROM patient;
CREATE VIEW several AS SELECT n, (SELECT name FROM patient b WHERE b.n >= a.n) AS v FROM patient a;
CREATE PROCEDURE answers() SELECT * FROM patient;
DELIMITER //
CREATE PROCEDURE refuses(who VARCHAR(200)) BEGIN
  SET @said = CONCAT('no ', who, ' ', (SELECT GROUP_CONCAT(name) FROM patient WHERE n < 2));
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = @said; END//
CREATE PROCEDURE breaks(who VARCHAR(200)) BEGIN SELECT * FROM patient; SELECT fails(who); END//
CREATE PROCEDURE appointments(a DATE, b DATE, c VARCHAR(20)) BEGIN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'Wilhelmina00 Kloosterboer99 has none'; END//
DELIMITER ;
CREATE PROCEDURE endless() SELECT a.*, b.name AS other FROM patient a, patient b, patient c, patient d, patient e;
`)
	return names
}

// TestNothingIsTold plants secrets of every kind that a service meets, and people, wherever it meets them, has everything fail that
// can, and finds none of them in the log, the metrics, the traces, an error, what is told of a request, the record, a file that is
// left, or what the system shows of processes.
func TestNothingIsTold(t *testing.T) {
	t.Parallel()
	p := &planted{hidden: map[string]string{}}
	db := dbtest.MariaDB(t)
	names := people(t, db, p)
	dsn := db.DSN(db.Database())
	p.secret("the database's password", db.Password())

	// What operators give.
	traces, apart := telemetrytest.New(t), t.TempDir()
	keep := func(name, text string) string {
		path := filepath.Join(apart, name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certificate, private := selfSigned(t)
	block, _ := pem.Decode(read(t, private))
	p.secret("the listener's private key", strings.Split(string(pem.EncodeToMemory(block)), "\n")[1])
	env := []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + traces.URL, "OTEL_EXPORTER_OTLP_COMPRESSION=none", "OTEL_EXPORTER_OTLP_HEADERS=api-key=" + p.new("the collector's key"),
		"AWS_SECRET_ACCESS_KEY=" + p.new("the environment's key of S3"), "AWS_SESSION_TOKEN=" + p.new("the environment's token of S3"),
		"BUCKET_ID=" + p.new("the access key of a bucket"), "BUCKET_KEY=" + p.new("the secret key of a bucket"),
		"DATA_KEY=" + p.key("the data key"), "KEYS=" + p.key("an encryption key from the environment"),
		"CIPHERSTREAM_ADMIN_KEY=" + p.new("a variable of an operator"),
	}
	wrong, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	wrong.User = url.UserPassword("root", p.new("a password that the database refuses"))
	settings := fmt.Sprintf(`  listen: {address: "127.0.0.1:0", certificate: %q, key: %q}
  log: {level: debug}
  data_key: env:DATA_KEY
  limits: {streams: 100, spool: {memory: 0}}
  secrets: {unused: "file:%s"}
  buckets: {results: {url: "s3://results?region=eu-west-1", access_key_id: "env:BUCKET_ID", secret_access_key: "env:BUCKET_KEY"}}
`, certificate, private, keep("unused", p.new("a secret that nothing refers to")))
	keys := fmt.Sprintf(`"env:KEYS", "file:%s", "command:cat %s"`,
		keep("key", p.key("an encryption key from a file")), keep("printed", p.key("an encryption key from a program")))
	d := deployIn(t, env, settings, tenant{id: "one", dsn: dsn, more: ", bucket: results", keys: keys},
		tenant{id: "away", dsn: "mysql://user:" + p.new("the password of a database that is away") + "@127.0.0.1:1/x"},
		tenant{id: "refused", dsn: wrong.String()}, tenant{id: "trial", dsn: dsn, more: ", demo: true"}, tenant{id: "disabled", dsn: dsn},
		tenant{id: "elsewhere", dsn: dsn, more: ", networks: [203.0.113.0/24]"})
	for id, key := range d.keys {
		p.secret("an encryption key of "+id, key)
	}

	// Keys of every kind and in every state.
	keyOf, first := map[string]string{}, ""
	for _, id := range []string{"one", "away", "refused", "trial", "disabled", "elsewhere"} {
		keyOf[id], first = d.key(t, id)
		p.secret("the key of "+id, keyOf[id])
	}
	newKey := func(what, customer string, args ...string) (id string) {
		keyOf[what], id = d.key(t, customer, args...)
		p.secret("a key that is "+what, keyOf[what])
		return id
	}
	d.operate(t, "key", "revoke", newKey("revoked", "away"))
	newKey("expired", "refused", "--expires", "1s")
	newKey("without scope", "one", "--scope", "webhooks")
	var issued struct{ Key, ID string }
	take := func(what string, args ...string) string {
		issued = struct{ Key, ID string }{}
		if err := json.Unmarshal([]byte(d.operate(t, args...)), &issued); err != nil || issued.Key == "" {
			t.Fatalf("%v: %v", args, err)
		}
		return p.secret(what, issued.Key)
	}
	keyOf["operator"] = take("an operator's key", "key", "create", "--admin")
	revoked := take("an operator's key that is revoked", "key", "create", "--admin")
	d.operate(t, "key", "revoke", issued.ID)
	take("the key that replaced one", "key", "rotate", first, "--grace", "1s") // that of elsewhere, the last one above
	take("an encryption key that the service made", "customer", "key", "new", "one")
	d.operate(t, "customer", "key", "activate", "one", issued.ID)
	take("an encryption key that is not active", "customer", "key", "new", "one")
	d.operate(t, "customer", "disable", "disabled")

	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true, MaxConnsPerHost: 8}}
	t.Cleanup(client.CloseIdleConnections)
	var said strings.Builder // all errors, without what was asked for itself
	var asked []string       // identifiers of requests
	var mu sync.Mutex
	ask := func(base, method, path, key, body, own string, header ...string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return nil
		}
		if r.Header.Set("Content-Type", "application/json"); key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		for i := 0; i < len(header); i += 2 {
			if r.Header[header[i]] = append(r.Header[header[i]], header[i+1]); header[i] == "Content-Type" {
				r.Header.Set(header[i], header[i+1])
			}
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Errorf("%s %s: %v", method, path, err)
			return nil
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body) // one that is cut ends in an error
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, answer.Header.Get("X-Request-Id"))
		if answer.StatusCode >= 400 {
			shown := fmt.Sprint(string(text), answer.Header)
			for _, form := range forms(own) {
				if own != "" { // who asks is told what was wrong with what was asked
					shown = strings.ReplaceAll(shown, form, "")
				}
			}
			said.WriteString(shown)
		}
		return answer
	}

	// Several at once: what takes time is processes that start.
	var wait sync.WaitGroup
	slots := make(chan struct{}, 6)
	do := func(f func()) {
		slots <- struct{}{}
		wait.Go(func() { defer func() { <-slots }(); f() })
	}
	post := func(key, procedure, body, own string, header ...string) *http.Response {
		return ask(d.URL, http.MethodPost, "/v1/procedures/"+procedure, key, body, own, header...)
	}
	refused := func(what string, answer *http.Response) {
		if answer != nil && answer.StatusCode < 400 {
			t.Errorf("%s: %s", what, answer.Status)
		}
	}

	// Secrets in headers, where they are at home and where not.
	basic := base64.StdEncoding.EncodeToString([]byte("user:" + p.new("a password of Basic")))
	p.secret("credentials of Basic", basic)
	for _, h := range [][2]string{
		{"Authorization", "Basic " + basic}, {"Authorization", "Bearer " + p.new("a token that is no key")},
		{"Authorization", "bearer " + p.secret("a key that nobody has", "cs_live_"+strings.Repeat("geheim", 6))},
		{"Authorization", "Bearer " + p.secret("a demo key that nobody has", "cs_demo_"+strings.Repeat("Geheim", 6))},
		{"Authorization", "Bearer " + p.secret("an operator's key that nobody has", "cs_admin_"+strings.Repeat("gEheim", 6))},
		{"Authorization", "Bearer " + keyOf["one"] + "x"}, {"Authorization", keyOf["one"]},
		{"Authorization", `Digest username="x", response="` + p.new("a response of Digest") + `"`},
		{"Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=" + p.new("a signature of S3")},
		{"Authorization", "Negotiate " + p.new("a ticket of Negotiate")}, {"Authorization", p.new("a header without a scheme")},
		{"X-Api-Key", p.new("a key in another header")}, {"Proxy-Authorization", "Basic " + p.new("credentials for a proxy")},
	} {
		refused(h[0], ask(d.URL, http.MethodGet, "/v1/procedures", "", "", "", h[0], h[1]))
	}
	refused("two keys", ask(d.URL, http.MethodGet, "/v1/procedures", keyOf["one"], "", "", "Authorization", "Bearer "+p.new("a second key")))
	for what, key := range keyOf {
		do(func() {
			refused(what, post(key, "custom_table", `{"customer_id":"away","table_name":"patient"}`, ""))
			ask(d.URL, http.MethodGet, "/v1/requests/req_x", key, "", "")
		})
	}
	for _, key := range []string{"", revoked, keyOf["one"], keyOf["expired"]} {
		refused("administration", ask(d.Operations, http.MethodGet, "/v1/admin/customers", key, "", ""))
	}
	inBody := p.new("a secret in a body for operators")
	ask(d.Operations, http.MethodPost, "/v1/admin/keys", keyOf["operator"], `{"customer":"`+inBody+`","password":"`+p.new("a password for operators")+`"}`, inBody)
	patient := `{"customer_id":"one","table_name":"patient"}`
	for _, name := range []string{"Cookie", "Baggage", "Tracestate", "Traceparent", "X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "Via", "X-Amz-Security-Token",
		"User-Agent", "Referer", "Origin", "Accept", "If-None-Match", "Prefer", "Idempotency-Key", "Range", "X-Csrf-Token", "Set-Cookie", "X-Original-Url", "Sec-Websocket-Key"} {
		secret := p.new("the header " + name)
		value := map[string]string{"Cookie": "session=" + secret, "Baggage": "user=" + secret, "Tracestate": "vendor=" + secret, "Referer": "https://x/?token=" + secret,
			"Accept": "application/json;token=" + secret, "Forwarded": "for=" + secret}[name]
		do(func() {
			post(keyOf["one"], "custom_table", patient, secret, name, or(value, secret))
			refused(name, post(keyOf["one"], "nothing", patient, secret, name, or(value, secret)))
		})
	}
	refused("Content-Type", post(keyOf["one"], "custom_table", patient, "", "Content-Type", "application/json; charset="+p.new("a parameter of the media type")))
	refused("Content-Encoding", post(keyOf["one"], "custom_table", patient, "", "Content-Encoding", p.new("a content encoding")))
	refused("Idempotency-Key", post(keyOf["one"], "custom_table", patient, "", "Idempotency-Key", p.new("a long idempotency key")+strings.Repeat("k", 300)))
	post(keyOf["one"], "custom_table", patient, "", "X-Request-Id", p.secret("a key as the client's identifier", "cs_live_"+strings.Repeat("gehEim", 6)))

	// In addresses.
	for _, path := range []string{"/v1/procedures/patients?access_token=", "/v1/procedures/", "/", "/v1/requests/", "/docs/", "/openapi.json?key="} {
		secret := p.new("in the address " + path)
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			ask(d.URL, method, path+secret, keyOf["one"], `{}`, secret)
		}
	}
	secret := p.new("in a query")
	refused("a query", ask(d.URL, http.MethodGet, "/v1/procedures/practitioners/rows?customer_id=one&password="+secret, keyOf["one"], "", secret))

	// In bodies.
	for _, form := range []string{
		`{"customer_id":"one","table_name":"patient","webhook_url":"https://hooks.example.com/services/%s"}`,
		`{"customer_id":"one","table_name":"patient","webhook_url":"https://hooks.example.com/?token=%s"}`,
		`{"customer_id":"one","table_name":"patient","webhook_url":"https://user:%s@hooks.example.com/"}`,
		`{"customer_id":"one","table_name":"patient","webhook_url":"http://%s.example.com/"}`,
		`{"customer_id":"one","table_name":"patient","password":"%s"}`, `{"customer_id":"one","table_name":"patient","dsn":"mysql://root:%s@db/x"}`,
		`{"customer_id":"one","table_name":"patient","encryption_key":"%s"}`, `{"customer_id":"one","table_name":"patient","secret":{"deep":["%s"]}}`,
		`{"customer_id":"one","table_name":"patient","%s":1}`, `{"customer_id":"%s"}`, `{"customer_id":"one","customer_id":"%s"}`,
		`{"customer_id":"one","table_name":"%s"}`, `{"customer_id":"one","table_name":"patient","columns":["%s"]}`,
		`{"customer_id":"one","table_name":"patient","date_column":"%s","from_date":"2024-01-01"}`,
		`{"customer_id":"one","procedure_name":"%s"}`, `{"customer_id":"one","procedure_name":"refuses","arguments":["%s"]}`,
		`{"customer_id":"one","procedure_name":"breaks","arguments":["%s"]}`, `{"customer_id":"one","procedure_name":"answers","arguments":["%s"]}`,
		`{"customer_id":"one","table_name":"patient","time_zone":"%s"}`, `{"customer_id":"one","table_name":"patient","output_format":"%s"}`,
		`{"customer_id":"one","table_name":"patient","from_date":"%s"}`, `{"customer_id":"one","table_name":"patient","limit":"%s"}`,
		`{"customer_id":"one" "%s"}`, `password=%s`, "\xff%s", `<password>%s</password>`, `["%s"]`, `"%s"`, `{"customer_id":"one","table_name":"%s`,
	} {
		secret := p.new("in the body " + form)
		do(func() {
			answer := post(keyOf["one"], "custom_table", fmt.Sprintf(form, secret), secret)
			if !strings.Contains(form, "https://hooks") { // those are good addresses
				refused(form, answer)
			}
		})
	}

	// People: answers of every kind, databases that fail in their words, and requests with a person in them.
	for i, more := range []string{``, `,"mode":"stream"`, `,"encrypted":true`, `,"output_format":"csv","compression":"zip"`, `,"output_format":"json","encrypted":true`,
		`,"mode":"job"`, `,"output_format":"parquet"`, `,"limit":3`} {
		do(func() {
			if answer := post(keyOf["one"], "custom_table", `{"customer_id":"one","table_name":"patient"`+more+`}`, ""); answer != nil && i != 5 && answer.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", more, answer.Status)
			}
		})
	}
	for _, body := range []string{`{"customer_id":"one","table_name":"parsed"}`, `{"customer_id":"one","table_name":"numbered"}`, `{"customer_id":"one","table_name":"dated","mode":"stream"}`,
		`{"customer_id":"one","table_name":"several"}`} {
		do(func() { post(keyOf["one"], "custom_table", body, "") })
	}
	do(func() {
		refused("appointments", post(keyOf["one"], "appointments", `{"customer_id":"one","from_date":"2024-01-01"}`, ""))
	})
	do(func() {
		refused("away", post(keyOf["away"], "custom_table", `{"customer_id":"away","table_name":"patient"}`, ""))
	})
	do(func() {
		refused("refused", post(keyOf["refused"], "custom_table", `{"customer_id":"refused","table_name":"patient"}`, ""))
	})
	for i, name := range names {
		quoted := strconv.Quote(name)
		free := []string{
			`{"customer_id":"one","from_date":` + quoted + `}`, `{"customer_id":` + quoted + `}`, `{"customer_id":"one",` + quoted + `:1}`,
			`{"customer_id":"one" ` + quoted + `}`, `{"customer_id":"one","table_name":"patient","columns":{` + quoted + `:1}}`,
		}
		run := []string{
			`{"customer_id":"one","table_name":` + quoted + `}`, `{"customer_id":"one","table_name":"patient","columns":[` + quoted + `]}`,
			`{"customer_id":"one","procedure_name":"refuses","arguments":[` + quoted + `]}`, `{"customer_id":"one","procedure_name":"breaks","arguments":[` + quoted + `]}`,
			`{"customer_id":"one","table_name":"patient","date_column":` + quoted + `,"from_date":"2024-01-01"}`,
		}
		do(func() {
			for _, body := range append(free, run[i%len(run)]) {
				refused(body, post(keyOf["one"], "custom_table", body, name))
			}
			refused(name, post(keyOf["one"], url.PathEscape(name), patient, name))
			refused(name, ask(d.URL, http.MethodGet, "/v1/requests/"+url.PathEscape(name), keyOf["one"], "", name))
		})
	}
	wait.Wait()

	// What the system shows while runs go on, and of one whose process dies as a defect has it die.
	shown := map[string]string{}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.URL+"/v1/procedures/custom_table", strings.NewReader(`{"customer_id":"one","procedure_name":"endless","mode":"stream"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+keyOf["one"])
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, answer.Body, 1<<20); err != nil {
		t.Fatalf("%s: %v", answer.Status, err)
	}
	for _, pid := range d.processes() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		shown[fmt.Sprintf("the command line of process %d", pid)] = string(line)
		if pid == d.cmd.Process.Pid {
			continue // what is in its environment its operator has put there
		}
		variables, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		shown[fmt.Sprintf("the environment of process %d", pid)] = string(variables)
		_ = syscall.Kill(pid, syscall.SIGABRT)
	}
	if len(shown) < 3 {
		t.Errorf("only %d places of processes were looked at", len(shown))
	}
	if _, err := io.Copy(io.Discard, answer.Body); err == nil {
		t.Error("a stream whose process was ended looks whole")
	}
	answer.Body.Close()

	// What is told of requests afterwards.
	var told strings.Builder
	for _, id := range asked[:min(len(asked), 300)] {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, d.URL+"/v1/requests/"+id, nil) // the address is good
		r.Header.Set("Authorization", "Bearer "+keyOf["one"])
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		told.Write(text)
	}

	// Documents that are refused, with secrets where references belong.
	document := string(read(t, d.document))
	for what, literal := range map[string][2]string{
		"a connection URL in the document":     {`dsn: "env:DSN_0"`, `dsn: "mysql://root:` + p.new("a password in the document") + `@db/x"`},
		"an encryption key in the document":    {`"env:KEYS"`, `"` + p.key("an encryption key in the document") + `"`},
		"credentials of a bucket in its URL":   {`s3://results`, `s3://AKIA:` + p.new("a key in the URL of a bucket") + `@results`},
		"a password in a setting that is none": {`log: {level: debug}`, `log: {level: debug, password: ` + p.new("a setting that is none") + `}`},
		"a key of S3 in the document":          {`"env:BUCKET_KEY"`, p.new("a key of S3 in the document")},
	} {
		changed := strings.Replace(document, literal[0], literal[1], 1)
		if changed == document {
			t.Fatalf("%s: %q is not in\n%s", what, literal[0], document)
		}
		before := strings.Count(d.stderr.String(), "nothing was changed")
		if err := os.WriteFile(d.document, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, what+" to be refused", func() bool { return strings.Count(d.stderr.String(), "nothing was changed") > before })
	}

	metrics := get(t, d.Operations+"/metrics")
	if code := d.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"POST /v1/procedures/custom_table", "admission", "source mysql", "encoder ndjson", "sink caller"} {
		if !strings.Contains(traces.String(), want) {
			t.Errorf("no span %q was sent", want)
		}
	}
	places := map[string]string{"the log": d.stderr.String(), "the metrics": metrics, "the traces": traces.String(), "the errors": said.String(),
		"what is told of requests": told.String()}
	for place, text := range shown {
		places[place] = text
	}
	for _, folder := range []string{d.temp, d.dir} {
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() || path == d.document {
				return err
			}
			if strings.HasPrefix(entry.Name(), "core") {
				t.Errorf("a process left its memory: %s", path)
			}
			content, err := os.ReadFile(path)
			places[path] = string(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	secrets := len(p.hidden) - 3*len(names)
	for place, content := range places {
		for what, secret := range p.hidden {
			for _, form := range forms(secret) {
				if at := strings.Index(content, form); at >= 0 {
					t.Errorf("%s is in %s: %.300q", what, place, content[max(0, at-150):])
					break
				}
			}
		}
	}
	t.Logf("%d secrets, %d people, %d places, %d requests", secrets, len(names), len(places), len(asked))
	if secrets < 50 || len(places) < 8 || len(places["the log"]) < 100_000 || said.Len() < 100_000 || told.Len() < 10_000 || len(metrics) < 1000 {
		t.Errorf("too little was looked at: %d secrets, %d places, %d, %d, %d and %d bytes", secrets, len(places), len(places["the log"]), said.Len(), told.Len(), len(metrics))
	}
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(text)
}

// get is what stands at an address.
func get(t *testing.T, address string) string {
	t.Helper()
	ctx := t.Context()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Client{Timeout: time.Minute}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
