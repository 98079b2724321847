package manual

import (
	"encoding/json"
	"path"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/docs"
)

// TestTopics: the list has every page, and each is printed as it is, by its topic and by the last part of it.
func TestTopics(t *testing.T) {
	t.Parallel()
	list := cmdtest.Call(t, "docs")
	if list.Code != terminal.ExitDone || list.Stderr != "" || strings.ContainsRune(list.Stdout, '\x1b') {
		t.Fatalf("%+v", list)
	}
	var said struct{ Topics []entry }
	if err := json.Unmarshal([]byte(cmdtest.Call(t, "docs", "--json").Stdout), &said); err != nil {
		t.Fatal(err)
	}
	listed := said.Topics
	pages := docs.Pages()
	if len(listed) != len(pages) {
		t.Errorf("%d pages are listed, not %d", len(listed), len(pages))
	}
	for i, p := range pages {
		if want := "\n  " + path.Base(p.Topic) + " "; !strings.Contains("\n"+list.Stdout, want) {
			t.Errorf("the list has no %s", p.Topic)
		}
		if listed[i].Topic != p.Topic || listed[i].Summary != p.Summary {
			t.Errorf("listed: %+v", listed[i])
		}
		for _, name := range []string{p.Topic, path.Base(p.Topic), p.Topic + ".md"} {
			if r := cmdtest.Call(t, "docs", name); r.Code != terminal.ExitDone || r.Stdout != p.Text {
				t.Errorf("docs %s: %d, %.80q, %s", name, r.Code, r.Stdout, r.Stderr)
			}
		}
		var page struct{ Topic, Text string }
		if err := json.Unmarshal([]byte(cmdtest.Call(t, "docs", p.Topic, "--json").Stdout), &page); err != nil || page.Topic != p.Topic || page.Text != p.Text {
			t.Errorf("docs %s --json: %v, %+v", p.Topic, err, page)
		}
	}
}

// TestSaid: what each command says, also where it is asked for what is not there.
func TestSaid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args           []string
		code           int
		stdout, stderr string // what stands in them
	}{
		{[]string{"where"}, terminal.ExitDone, "# Filter where\n", ""},
		{[]string{"mysql.auth"}, terminal.ExitDone, "mysql.auth  (Source mysql)\n\n  The server refused the account", ""},
		{[]string{"fault", "mysql.auth"}, terminal.ExitDone, "\n  What to do: Check user, password, host", ""},
		{[]string{"fault", "RATE_LIMITED"}, terminal.ExitDone, "Wait as Retry-After says.", ""},
		{[]string{"fault", "mysql.auth", "--json"}, terminal.ExitDone, `"code": "mysql.auth"`, ""},
		{[]string{"search", "CERTIFICATE", "pinned"}, terminal.ExitDone, "faults\n  ", ""},
		{[]string{"search", "no-such-word-anywhere"}, terminal.ExitDone, "Nothing is found.\n", ""},
		{[]string{"search", "no-such-word-anywhere", "--json"}, terminal.ExitDone, `"hits": []`, ""},

		{[]string{"csv"}, terminal.ExitUsage, "", "name one: encoder-csv, source-csv"},
		{[]string{"fults"}, terminal.ExitUsage, "", "did you mean faults"},
		{[]string{"zzzzzzzz\x1b[1m"}, terminal.ExitUsage, "", "docs search looks for words"},
		{[]string{"a", "b"}, terminal.ExitUsage, "", "takes one topic"},
		{[]string{"fault", "mysql.auht"}, terminal.ExitUsage, "", "did you mean mysql.auth"},
		{[]string{"fault", "zzzzzzzzzzzz"}, terminal.ExitUsage, "", "docs faults has all of them"},
		{[]string{"fault"}, terminal.ExitUsage, "", "takes one code"},
		{[]string{"search"}, terminal.ExitUsage, "", "takes the words to look for"},
		{[]string{"where", "--http", "127.0.0.1:0"}, terminal.ExitUsage, "", "--http serves all topics"},
		{[]string{"--http", "8000"}, terminal.ExitUsage, "", "write 127.0.0.1:8000"},
		{[]string{"--http", "0.0.0.0:8000"}, terminal.ExitUsage, "", "this machine alone"},
		{[]string{"--http", ":8000"}, terminal.ExitUsage, "", "this machine alone"},
		{[]string{"--http", "127.0.0.1:70000"}, terminal.ExitConnect, "", "docs.listen"},
	} {
		r := cmdtest.Call(t, append([]string{"docs"}, c.args...)...)
		if r.Code != c.code || !strings.Contains(r.Stdout, c.stdout) || !strings.Contains(r.Stderr, c.stderr) || strings.ContainsRune(r.Stderr+r.Stdout, '\x1b') {
			t.Errorf("docs %q: %+v", c.args, r)
		}
	}
}
