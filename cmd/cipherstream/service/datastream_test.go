package service_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

const streamAnswer = `{"customer_id":"c","url":"https://receiver.example.com/in","shared_secret":"***","certificate_pins":["47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="],` +
	`"organization_id":"org","records_per_request":500,"rate_limit_per_minute":60,"channels":["entities"],"content_encoding":true,"enabled":true,"status":"failing","paused_by":["entities"],` +
	`"channel_status":[{"channel":"entities","enabled":true,"sequence":1234567,"acknowledged":1230000,"lag":4567,"lag_seconds":95.2,"waiting":4000,"waiting_bytes":9,"reset_remaining":12,` +
	`"last_request":{"at":"2026-01-01T00:00:00.000Z","first":1230001,"last":1230500,"documents":500,"bytes":9,"duration_seconds":0.5,"http_status":503,"error_code":"changes.answer_status",` +
	`"error_message":"the receiver answered 503","suggestion":"look at the receiver","next_attempt_at":"2026-01-01T00:00:08.000Z"}},{"channel":"logs","enabled":false,"sequence":0,"acknowledged":0,"lag":0,"waiting":0,"waiting_bytes":0}]}`

func startStream(t *testing.T, answers map[string][]string) *fakeHooks {
	f := startHooks(t, answers)
	f.kind = "data-stream"
	return f
}

// TestDataStreamSet: flags become fields, secrets are read from where they are, and what is not said is not sent.
func TestDataStreamSet(t *testing.T) {
	f := startStream(t, map[string][]string{"PUT": {streamAnswer}})
	certificate := filepath.Join(t.TempDir(), "receiver.pem")
	if err := os.WriteFile(certificate, []byte("PEM\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STREAM_SECRET", "geheim-2")
	r := f.run("data-stream", "set", "https://receiver.example.com/in")
	if r.Code != terminal.ExitDone || f.asked[0] != `PUT {"url":"https://receiver.example.com/in"}` {
		t.Errorf("%+v, asked %q", r, f.asked)
	}
	want := strings.Join([]string{"url               https://receiver.example.com/in", "status            failing", "channels          entities", "organization      org",
		"trusts            sha256 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "request           up to 500 documents", "rate              60 a minute",
		"content-encoding  sent beside Encoding", ""}, "\n")
	if r.Stdout != want {
		t.Errorf("--- got\n%s--- want\n%s", r.Stdout, want)
	}
	r = f.run("data-stream", "set", "https://receiver.example.com/in", "--secret", "env:STREAM_SECRET", "--certificate", certificate, "--certificate-pin", "sha256:ab",
		"--organization", "org", "--records-per-request", "1000", "--per-minute", "300", "--channel", "logs", "--channel", "entities", "--content-encoding", "--json")
	if r.Code != terminal.ExitDone || strings.TrimSpace(r.Stdout) == "" || f.asked[0] != `PUT {"certificate":"PEM\n","certificate_pins":["sha256:ab"],"channels":["logs","entities"],"content_encoding":true,`+
		`"organization_id":"org","rate_limit_per_minute":300,"records_per_request":1000,"shared_secret":"geheim-2","url":"https://receiver.example.com/in"}` {
		t.Errorf("%+v, asked %q", r, f.asked)
	}
}

// TestDataStreamStatus: how far it is, in words.
func TestDataStreamStatus(t *testing.T) {
	f := startStream(t, map[string][]string{"": nil, "GET": {streamAnswer, streamAnswer,
		`{"status":"stopped","error":{"code":"changes.table_changed","message":"the table has changed","at":"2026-01-01T00:00:00.000Z","suggestion":"reset it"},"channel_status":[]}`}})
	r := f.run("data-stream", "status")
	want := strings.Join([]string{"status                 failing", "paused                 until the receiver has taken some of entities",
		"entities               1,230,000 of 1,234,567 acknowledged, 4,567 behind, since 1m35s", "entities reset         12 documents are left to read again",
		"entities last request  2026-01-01T00:00:00.000Z, 500 documents: changes.answer_status the receiver answered 503, again at 2026-01-01T00:00:08.000Z",
		"entities help          look at the receiver", ""}, "\n")
	if r.Code != terminal.ExitDone || r.Stdout != want {
		t.Errorf("--- got\n%s--- want\n%s%s", r.Stdout, want, r.Stderr)
	}
	if r := f.run("data-stream", "get", "--json"); r.Code != terminal.ExitDone || !strings.Contains(r.Stdout, `"lag_seconds"`) {
		t.Errorf("%+v", r)
	}
	if r := f.run("data-stream", "status"); !strings.Contains(r.Stdout, "because  changes.table_changed the table has changed\nhelp     reset it\n") {
		t.Errorf("%+v", r)
	}
}

// TestDataStreamActions: what each command asks, and what it says.
func TestDataStreamActions(t *testing.T) {
	f := startStream(t, map[string][]string{"POST /enable": {streamAnswer}, "POST /disable": {streamAnswer},
		"POST /reset": {`{"channel":"entities","above":5,"anew":false,"dry_run":true,"documents":1234}`}})
	for _, c := range []struct {
		args       []string
		asked, say string
	}{
		{[]string{"enable"}, "POST /enable", "failing"}, {[]string{"disable"}, "POST /disable", "failing"},
		{[]string{"reset", "--channel", "entities", "--above", "5", "--dry"}, `POST /reset {"above":5,"anew":false,"channel":"entities","dry_run":true}`, "1,234 documents would be sent again\n"},
		{[]string{"reset", "--channel", "logs", "--anew"}, `POST /reset {"above":0,"anew":true,"channel":"logs","dry_run":false}`, "1,234 documents are sent again when the data stream is enabled\n"},
	} {
		r := f.run(append([]string{"data-stream"}, c.args...)...)
		if r.Code != terminal.ExitDone || len(f.asked) != 1 || f.asked[0] != c.asked || !strings.Contains(r.Stdout, c.say) {
			t.Errorf("%v: %+v, asked %q", c.args, r, f.asked)
		}
	}
	if r := f.run("data-stream", "reset"); r.Code != terminal.ExitUsage || len(f.asked) > 0 {
		t.Errorf("%+v", r)
	}
	if r := f.run("data-stream", "get"); r.Code == terminal.ExitDone || !strings.Contains(r.Stderr, "WEBHOOK_NOT_FOUND") {
		t.Errorf("%+v", r)
	}
}

// TestDataStreamCheckFindsNone: what is declared without a data stream is said to be.
func TestDataStreamCheckFindsNone(t *testing.T) {
	t.Setenv("CLINIC_DSN", "mysql://nobody:x@127.0.0.1:1/x")
	document := filepath.Join(t.TempDir(), "service.yaml")
	write := func(more string) {
		text := "apiVersion: cipherstream/v1\nkind: Service\nmetadata: {name: production}\nspec:\n  customers: [{id: clinic, dsn: \"env:CLINIC_DSN\"" + more + "}]\n"
		if err := os.WriteFile(document, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	r := cmdtest.Call(t, "data-stream", "check", "--config", document)
	if r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, "data_stream.none") {
		t.Errorf("%+v", r)
	}
	write(", data_stream: {pipeline: practise}")
	for _, args := range [][]string{{"data-stream", "check", "clinic", "--config", document}, {"config", "check", document}} {
		if r := cmdtest.Call(t, args...); r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, "practise") {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// TestStreamPipelines: the program's own pipelines of data streams are good, and those of a whole practice have all its tables.
func TestStreamPipelines(t *testing.T) {
	t.Parallel()
	schema, err := os.ReadFile("../../../pipelines/sql/schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	var tables []string
	for _, m := range regexp.MustCompile(`(?m)^CREATE TABLE (\w+)`).FindAllStringSubmatch(string(schema), -1) {
		tables = append(tables, m[1])
	}
	dsn := filepath.Join(t.TempDir(), "dsn")
	if err := os.WriteFile(dsn, []byte("mysql://nobody:x@127.0.0.1:1/x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"practice", "practice_polling", "sandbox"} {
		document := filepath.Join(t.TempDir(), "service.yaml")
		text := "apiVersion: cipherstream/v1\nkind: Service\nmetadata: {name: production}\nspec:\n  customers: [{id: clinic, dsn: \"file:" + dsn + "\", data_stream: {pipeline: " + name + "}}]\n"
		if err := os.WriteFile(document, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := cmdtest.Call(t, "config", "check", document); r.Code != terminal.ExitDone || r.Stderr != "" {
			t.Errorf("%s: %+v", name, r)
		}
		pipeline, err := os.ReadFile("../../../pipelines/streams/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var named []string
		for _, m := range regexp.MustCompile(`\{table: (\w+), type: (\w+), channel: (entities|logs)\}`).FindAllStringSubmatch(string(pipeline), -1) {
			if named = append(named, m[1]); m[2] != m[1] || (m[3] == "logs") != (m[1] == "log_entry") {
				t.Errorf("%s: %s", name, m[0])
			}
		}
		if name != "sandbox" && !slices.Equal(named, tables) {
			t.Errorf("%s has the tables\n%v, and the schema\n%v", name, named, tables)
		}
	}
}
