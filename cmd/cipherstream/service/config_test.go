package service_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

const example = "../../../examples/service.yaml"

// TestExampleConfig: the example is good, and what is printed of it is good again.
func TestExampleConfig(t *testing.T) {
	t.Setenv("SUNRISE_DSN", "mysql://u:geheim@db.example.com/practice")
	t.Setenv("SUNRISE_KEYS", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	t.Setenv("MAIL_PASSWORD", "geheim too")
	if r := cmdtest.Call(t, "config", "check", example); r.Code != terminal.ExitDone || !strings.Contains(r.Stdout, "good, 1 customer") || r.Stderr != "" {
		t.Errorf("%+v", r)
	}
	printed := cmdtest.Call(t, "config", "print", example)
	if printed.Code != terminal.ExitDone || strings.Contains(printed.Stdout, "geheim") || !strings.Contains(printed.Stdout, "max_wait: 5s") {
		t.Errorf("%+v", printed)
	}
	machine := cmdtest.Call(t, "config", "print", example, "--json")
	if machine.Code != terminal.ExitDone || strings.Contains(machine.Stdout, "geheim") || !json.Valid([]byte(machine.Stdout)) {
		t.Errorf("%+v", machine)
	}
	// What is JSON is YAML as well, so that both are the same document.
	for _, text := range []string{printed.Stdout, machine.Stdout} {
		again := filepath.Join(t.TempDir(), "service.yaml")
		if err := os.WriteFile(again, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := cmdtest.Call(t, "config", "check", again, "--json"); r.Code != terminal.ExitDone || !strings.Contains(r.Stdout, `"customers": 1`) {
			t.Errorf("%+v", r)
		}
		if r := cmdtest.Call(t, "config", "print", again); r.Stdout != printed.Stdout {
			t.Errorf("it is another document: %s, want %s", r.Stdout, printed.Stdout)
		}
	}
}

// TestBadConfig: every mistake is told, for people and for machines, and the exit code is that of a wrong setting.
func TestBadConfig(t *testing.T) {
	r := cmdtest.Call(t, "config", "check", example)
	if r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, "SUNRISE_DSN is not set") || !strings.Contains(r.Stderr, "SUNRISE_KEYS is not set") {
		t.Errorf("%+v", r)
	}
	if r := cmdtest.Call(t, "config", "check", example, "--without-secrets"); r.Code != terminal.ExitDone {
		t.Errorf("%+v", r)
	}
	bad := filepath.Join(t.TempDir(), "service.yaml")
	if err := os.WriteFile(bad, []byte("apiVersion: cipherstream/v1\nkind: Service\nmetadata: {name: a}\nspec: {lisen: {}, customers: [{id: a}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"config", "check", bad, "--json"}, {"config", "print", bad, "--json"}, {"serve", "--config", bad, "--json"}} {
		r := cmdtest.Call(t, args...)
		if r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, `"document.unknown_key"`) || !strings.Contains(r.Stderr, `"document.missing_key"`) {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// TestUsage: what contradicts itself is refused before anything begins.
func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"serve", "--sandbox", "--config", "x"}, "--config names one"},
		{[]string{"serve", "--sandbox-seed", "3"}, "no effect without --sandbox"},
		{[]string{"serve", "--sandbox", "--state", "x"}, "--state names one"},
		{[]string{"serve", "--config", example, "--state", "mysql://u:geheim@db/record"}, "without a password in it"},
		{[]string{"serve", "x"}, "takes no argument"},
		{[]string{"serve"}, "or try serve --sandbox"},
		{[]string{"serve", "--config", "/nowhere/service.yaml"}, "cannot be read"},
		{[]string{"serve", "--config", example, "--listen", "0.0.0.0:80"}, "no certificate is given"},
		{[]string{"config", "chek"}, "did you mean check?"},
		{[]string{"worker", "--workers", "0"}, "at least 1"},
		{[]string{"worker"}, "there is no service.yaml"},
		{[]string{"doctor", "x"}, "takes no argument"},
		{[]string{"state", "backup"}, "takes one file"},
		{[]string{"state", "move", "--config", example}, "where to is not said"},
		{[]string{"state", "move", "--config", example, "--to", "mysql://u:geheim@h/x"}, "begins with env:"},
		{[]string{"jobs", "list", "--server", "https://h"}, "no customer is given"},
		{[]string{"jobs", "list", "--customer", "c"}, "no service is given"},
		{[]string{"jobs", "get", "--server", "https://h", "--customer", "c"}, "takes the id of one job"},
		{[]string{"config", "check", "a", "b"}, "got 2 arguments"},
		{[]string{"key", "create"}, "takes one customer"},
		{[]string{"key", "create", "--admin", "sunrise"}, "of no customer"},
		{[]string{"key", "create", "sunrise", "--expires", "soon"}, "not a time such as 90d"},
		{[]string{"key", "rotate", "key_1", "--grace", "0", "--server", "https://api.example.com"}, "no key is given"}, // 0 is a grace
		{[]string{"key", "rotate", "key_1", "--grace", "-1h"}, "not a time such as 90d"},
		{[]string{"key", "revoke"}, "takes the id of one key"},
		{[]string{"key", "list", "--config", "x", "--state", "y"}, "each name a service"},
		{[]string{"key", "list", "--server", "http://api.example.com", "--key", "env:HOME"}, "in the clear"},
		{[]string{"key", "list", "--server", "https://api.example.com"}, "no key is given"},
		{[]string{"key", "list", "--server", "https://u:p@api.example.com", "--key", "env:HOME"}, "base URL"},
		{[]string{"customer", "key", "activate", "sunrise"}, "got 1 arguments"},
		{[]string{"call", "patients", "--server", "https://h"}, "no customer is given"},
		{[]string{"call", "patients", "--customer", "c"}, "no service is given"},
		{[]string{"call", "patients", "--customer", "c", "--server", "https://h", "-p", "x"}, "NAME=VALUE"},
		{[]string{"call", "patients", "--customer", "c", "--server", "https://h", "-p", "limit:=x"}, "takes JSON"},
		{[]string{"call", "patients", "--customer", "c", "--server", "https://h", "--pin", "sha1:00"}, "64 hexadecimal digits"},
		{[]string{"call", "patients", "--customer", "c", "--server", "https://h", "-p", "mode=auto", "--mode", "stream"}, "by a flag of its own"},
		{[]string{"call", "patients", "--customer", "c", "--server", "https://h", "--key", "cs_live_geheim"}, "begins with env:"},
	} {
		r := cmdtest.Call(t, c.args...)
		if r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, c.want) || strings.Contains(r.Stderr, "geheim") {
			t.Errorf("%v: %+v", c.args, r)
		}
	}
}
