package service_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlite"
)

// TestDoctor: each thing has a finding, the exit code is that of the worst, and nothing secret is shown or left.
func TestDoctor(t *testing.T) {
	objects := t.TempDir()
	path := document(t, "  buckets: {good: {url: \"file://"+objects+"\"}, away: {url: \"file:///nowhere/at/all\"}}\n")
	r := cmdtest.Call(t, "doctor", "--config", path, "--json")
	var got struct {
		OK       bool
		ExitCode int `json:"exit_code"`
		Findings []struct{ Area, Subject, Level, Code, Message string }
	}
	if err := json.Unmarshal([]byte(r.Stdout), &got); err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	if r.Code != terminal.ExitConnect || got.OK || got.ExitCode != r.Code || strings.Contains(r.Stdout+r.Stderr, "geheim") {
		t.Errorf("%+v", r)
	}
	for _, want := range [][4]string{
		{"config", "", "fine", "1 customer"}, {"config", "", "warning", "have no bucket"}, {"record", "", "fine", "there is none yet"},
		{"bucket", "good", "fine", "written, read and removed"}, {"bucket", "away", "wrong", "does not exist"},
		{"customer", "one/appointment_books", "wrong", ""}, {"disk", objects, "", "is free"},
	} {
		found := false
		for _, f := range got.Findings {
			found = found || f.Area == want[0] && strings.HasPrefix(f.Subject, strings.TrimSuffix(want[1], "appointment_books")) && (want[2] == "" || f.Level == want[2]) && strings.Contains(f.Message, want[3])
		}
		if !found {
			t.Errorf("no finding %q in %+v", want, got.Findings)
		}
	}
	if left, _ := os.ReadDir(objects); len(left) > 0 {
		t.Errorf("left in the bucket: %v", left)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), "state")); err == nil {
		t.Error("a data directory was made")
	}
	text := cmdtest.Call(t, "doctor", "--config", path)
	if text.Code != terminal.ExitConnect || !strings.Contains(text.Stdout, "help: ") || !strings.Contains(text.Stdout, " wrong, ") {
		t.Errorf("%+v", text)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--procedure", "nothing"}, "no procedure of the catalogue"}, {[]string{"--timeout", "0s"}, "longer than 0s"}, {[]string{"--state", "mysql://u:geheim@h/x"}, "without a password"},
	} {
		if r := cmdtest.Call(t, append([]string{"doctor", "--config", path}, c.args...)...); r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, c.says) {
			t.Errorf("%v: %+v", c.args, r)
		}
	}
}

// TestDoctorCountsUses: a key that has sealed half of what it may is told of, as long as it may seal more.
func TestDoctorCountsUses(t *testing.T) {
	path := document(t, "")
	made := cmdtest.Call(t, "customer", "key", "new", "one", "--json", "--config", path)
	var key struct{ ID string }
	if err := json.Unmarshal([]byte(made.Stdout), &key); err != nil {
		t.Fatalf("%v: %+v", err, made)
	}
	for _, uses := range []int64{1 << 31, 1} { // half, and one more
		record, err := sqlite.Open(t.Context(), filepath.Join(filepath.Dir(path), "state"), nil)
		if err != nil {
			t.Fatal(err)
		}
		all, err := record.AddSealingUses(t.Context(), "one", key.ID, uses)
		if err = errors.Join(err, record.Close()); err != nil {
			t.Fatal(err)
		}
		r := cmdtest.Call(t, "doctor", "--config", path)
		if got := strings.Contains(r.Stdout, "the sealing key "+key.ID+" of one has sealed"); got != (all > 1<<31) {
			t.Errorf("%d uses: %s", all, r.Stdout)
		}
	}
}

// TestDoctorLooksAtDeliveries: dead letters are a warning, and a mail server that cannot be reached is wrong.
func TestDoctorLooksAtDeliveries(t *testing.T) {
	path := document(t, "  mail: {server: 127.0.0.1, port: 1, from: noreply@example.com, tls: none}\n")
	record, err := sqlite.Open(t.Context(), filepath.Join(filepath.Dir(path), "state"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	err = record.PutOutbox(ctx, []store.OutboxEvent{{Customer: "one", Event: store.EventTest, Data: []byte("{}")}})
	events, listed := record.Outbox(ctx, 0, 9)
	if err := errors.Join(err, listed); err != nil || len(events) != 1 {
		t.Fatal(err, events)
	}
	// The customer has no webhook any more: what is on its way to it is dead.
	_, err = record.Expand(ctx, []store.Expansion{{Event: events[0], Deliveries: []store.Delivery{{ID: "del_1_ab", Customer: "one", Channel: store.ByWebhook, Own: true, Target: "https://hooks.example.com", Event: store.EventTest}}}})
	_, _, claimed := record.ClaimDeliveries(ctx, "sender")
	if err := errors.Join(err, claimed, record.Close()); err != nil {
		t.Fatal(err)
	}
	r := cmdtest.Call(t, "doctor", "--config", path, "--json")
	for _, want := range []string{"1 deliveries to customers were given up", `"code": "doctor.deliveries"`, "the mail server cannot be used", `"code": "mail.connection"`} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("%s is missing: %+v", want, r)
		}
	}
}
