package service

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// collector takes what is sent as traces.
type collector struct {
	*httptest.Server
	mu   sync.Mutex
	sent bytes.Buffer
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sent.Write(body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent.String()
}

// onSandbox is a production service over a database of generated data, whose connection URL it returns.
func onSandbox(t *testing.T, more string, env ...string) (*production, string) {
	t.Helper()
	database := start(t, t.TempDir(), nil, "sandbox", "--json")
	var said struct{ DSN string }
	if err := json.NewDecoder(database.stdout).Decode(&said); err != nil {
		t.Fatalf("the database did not say where it is: %v\n%s", err, database.stderr)
	}
	p := configure(t, more)
	p.env = append([]string{"ONE_DSN=" + said.DSN, "TWO_DSN=" + nowhere}, env...)
	return p, said.DSN
}

// TestNothingIsTold plants secrets and personal data wherever a request can hold some, has everything fail that can, and
// finds none of it in the log, the metrics, the traces, an error, or a file that is left.
func TestNothingIsTold(t *testing.T) {
	traces, temporary := newCollector(t), t.TempDir()
	encryption := "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U="
	p, dsn := onSandbox(t, "  log: {level: debug}\n  limits: {spool: {memory: 0, directory: "+temporary+"}}\n  data_key: env:DATA_KEY\n",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+traces.URL, "OTEL_EXPORTER_OTLP_COMPRESSION=none", "TMPDIR="+temporary,
		"ONE_KEYS="+encryption, "DATA_KEY="+strings.Replace(encryption, "c2Vj", "ZGF0", 1))
	text, err := os.ReadFile(p.document)
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, strings.Replace(string(text), `dsn: "env:ONE_DSN"`, `dsn: "env:ONE_DSN", encryption_keys: ["env:ONE_KEYS"], allow: {tables: [patient], procedures: []}`, 1))
	key := p.operate(t, "key", "create", "one")["key"].(string)
	p.serve(t)
	s := &sandbox{running: p.running, URL: p.url, Key: key}

	// What must not be seen: secrets, and what the database knows of people.
	_, password, _ := strings.Cut(dsn, ":")
	_, password, _ = strings.Cut(strings.TrimPrefix(password, "//"), ":")
	password, _, _ = strings.Cut(password, "@")
	hidden := map[string]string{"the database's password": password, "the key": key, "the encryption key": encryption}
	answer, rows := s.ask(t, http.MethodPost, "/v1/procedures/patients", `{"customer_id":"one","from_date":"1900-01-01","to_date":"2100-01-01"}`)
	people := 0
	for line := range strings.Lines(string(rows)) {
		var row struct {
			Surname, Email, Mobile, Address1 string
			FirstName                        string `json:"first_name"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%d %v: %s", answer.StatusCode, err, line)
		}
		if row.Email == "" || row.Mobile == "" || people == 50 {
			continue
		}
		people++
		hidden[fmt.Sprintf("the name of patient %d", people)] = row.FirstName + " " + row.Surname
		hidden[fmt.Sprintf("the address of patient %d", people)] = row.Email
		hidden[fmt.Sprintf("the number of patient %d", people)] = row.Mobile
	}
	if people < 50 || password == "" {
		t.Fatalf("%d patients, a password of %d bytes", people, len(password))
	}

	// Answers of every kind, and then everything that can be wrong, with a person in it.
	for _, more := range []string{``, `,"mode":"stream"`, `,"encrypted":true`, `,"output_format":"csv","compression":"zip"`, `,"output_format":"json","encrypted":true`, `,"mode":"job"`} {
		s.ask(t, http.MethodPost, "/v1/procedures/patients", `{"customer_id":"one","from_date":"1900-01-01","to_date":"2100-01-01"`+more+`}`)
	}
	var errors strings.Builder
	for n := range 50 {
		person := hidden[fmt.Sprintf("the name of patient %d", n%people+1)]
		quoted, _ := json.Marshal(person)
		for _, c := range []struct{ path, body string }{
			{"/v1/procedures/patients", `{"customer_id":"one","from_date":` + string(quoted) + `}`},
			{"/v1/procedures/patients", `{"customer_id":` + string(quoted) + `}`},
			{"/v1/procedures/patients", `{"customer_id":"one",` + string(quoted) + `:1}`},
			{"/v1/procedures/patients", `{"customer_id":"one" ` + string(quoted) + `}`},
			{"/v1/procedures/custom_table", `{"customer_id":"one","table_name":` + string(quoted) + `}`},
			{"/v1/procedures/custom_table", `{"customer_id":"one","table_name":"patient","columns":` + string(quoted) + `}`},
			{"/v1/procedures/custom_table", `{"customer_id":"one","table_name":"patient","date_column":` + string(quoted) + `,"from_date":"2024-01-01"}`},
			{"/v1/procedures/custom_table", `{"customer_id":"one","procedure_name":"x","arguments":[` + string(quoted) + `]}`},
			{"/v1/procedures/" + strings.ReplaceAll(person, " ", "%20"), `{"customer_id":"one"}`},
			{"/v1/procedures/patients?q=" + strings.ReplaceAll(person, " ", "%20"), `{"customer_id":"two"}`},
		} {
			answer, body := s.ask(t, http.MethodPost, c.path, c.body)
			if answer.StatusCode < 400 {
				t.Errorf("%s %s: %d", c.path, c.body, answer.StatusCode)
			}
			// Who asks is told what was wrong with what was asked.
			errors.WriteString(strings.ReplaceAll(string(body), person, ""))
		}
		if answer, body := s.ask(t, http.MethodGet, "/v1/requests/"+strings.ReplaceAll(person, " ", "%20"), ""); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%d %s", answer.StatusCode, body)
		}
	}
	wrong := &sandbox{running: p.running, URL: p.url, Key: "cs_live_" + strings.Repeat("geheim", 6)}
	for range 50 {
		_, body := wrong.ask(t, http.MethodPost, "/v1/procedures/patients", `{"customer_id":"one"}`)
		errors.Write(body)
	}
	hidden["a key that was tried"] = wrong.Key
	ops := &sandbox{running: p.running, URL: p.ops}
	_, metrics := ops.ask(t, http.MethodGet, "/metrics", "")
	if code := p.stop(t, 15); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(traces.String(), "POST /v1/procedures/patients") {
		t.Error("no trace was sent")
	}

	places := map[string]string{"the log": p.stderr.String(), "the metrics": string(metrics), "the traces": traces.String(), "the errors": errors.String()}
	for _, folder := range []string{temporary, p.dir} {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			places[path] = string(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for place, content := range places {
		for what, secret := range hidden {
			if at := strings.Index(content, secret); at >= 0 {
				t.Errorf("%s is in %s: %.200q", what, place, content[max(0, at-150):])
				break
			}
		}
	}
	if len(places["the log"]) < 10_000 || len(places["the errors"]) < 10_000 || len(metrics) < 1000 {
		t.Errorf("too little was looked at: %d, %d and %d bytes", len(places["the log"]), len(places["the errors"]), len(metrics))
	}
}
