package plugin

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/plugins/bundle"
)

// repository is the top of this checkout.
func repository(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPluginNew(t *testing.T) {
	t.Setenv(envSDK, "")
	sdk := repository(t)
	t.Chdir(t.TempDir())
	got := cmdtest.Call(t, "plugin", "new", "upper", "--kind", "filter")
	if want := "wrote the filter upper, 12 files, into upper\nwith the SDK in " + sdk + "\nnext: cd upper && make test\n"; got.Code != 0 || got.Stdout != want || got.Stderr != "" {
		t.Errorf("%d: %s%s\nwant:\n%s", got.Code, got.Stdout, got.Stderr, want)
	}
	text, err := os.ReadFile("upper/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"module example.com/cipherstream-plugin-upper", "replace github.com/cipherstream/cipherstream => " + sdk} {
		if !strings.Contains("\n"+string(text), "\n"+line+"\n") {
			t.Errorf("go.mod has no line %q:\n%s", line, text)
		}
	}

	again := cmdtest.Call(t, "plugin", "new", "upper", "--kind", "sink")
	if again.Code != terminal.ExitUsage || !strings.Contains(again.Stderr, "is not empty") {
		t.Errorf("again: %d: %s", again.Code, again.Stderr)
	}

	asJSON := cmdtest.Call(t, "plugin", "new", "hl7", "--kind", "source", "--dir", "a folder", "--module", "example.org/hl7", "--sdk", sdk, "--json")
	var wrote struct {
		Folder string
		Files  []string
		SDK    string
	}
	if err := json.Unmarshal([]byte(asJSON.Stdout), &wrote); err != nil || wrote.Folder != "a folder" || wrote.SDK != sdk || len(wrote.Files) != 11 {
		t.Errorf("with --json: %v: %s%s", err, asJSON.Stdout, asJSON.Stderr)
	}
	for _, name := range wrote.Files {
		if _, err := os.Stat(filepath.Join("a folder", name)); err != nil {
			t.Error(err)
		}
	}
}

// TestPluginNewPython: a plugin in Python has no go.mod, and its Makefile knows the SDK.
func TestPluginNewPython(t *testing.T) {
	t.Setenv(envSDK, "")
	sdk := repository(t)
	t.Chdir(t.TempDir())
	got := cmdtest.Call(t, "plugin", "new", "upper", "--kind", "filter", "--language", "python")
	if want := "wrote the filter upper, 9 files, into upper\nwith the SDK in " + sdk + "\nnext: cd upper && make test\n"; got.Code != 0 || got.Stdout != want {
		t.Errorf("%d: %s%s\nwant:\n%s", got.Code, got.Stdout, got.Stderr, want)
	}
	makefile, err := os.ReadFile("upper/Makefile")
	if err != nil || !strings.Contains(string(makefile), "\nSDK          ?= "+sdk+"\n") {
		t.Errorf("%v: %s", err, makefile)
	}
	if got := cmdtest.Call(t, "plugin", "new", "lower", "--kind", "filter", "--language", "cobol"); got.Code != terminal.ExitUsage || !strings.Contains(got.Stderr, "languages are go, python, javascript") {
		t.Errorf("%d: %s%s", got.Code, got.Stdout, got.Stderr)
	}
}

func TestNextStepsWithoutSDK(t *testing.T) {
	want := "no checkout of the SDK is known: README.md says how to give one in go.mod\nnext: cd 'a folder'\n"
	if got := nextSteps("a folder", "", "go"); got != want {
		t.Errorf("got %q", got)
	}
}

// TestPluginNewVariable: the variable says where the SDK is, unless the flag does.
func TestPluginNewVariable(t *testing.T) {
	sdk := repository(t)
	t.Chdir(t.TempDir())
	t.Setenv(envSDK, "none")
	if got := cmdtest.Call(t, "plugin", "new", "upper", "--kind", "filter"); got.Code != terminal.ExitUsage || !strings.Contains(got.Stderr, "none is no checkout of the SDK") {
		t.Errorf("%d: %s", got.Code, got.Stderr)
	}
	if got := cmdtest.Call(t, "plugin", "new", "upper", "--kind", "filter", "--sdk", sdk, "--dir", "it's mine"); got.Code != 0 || !strings.Contains(got.Stdout, `next: cd 'it'\''s mine' && make test`) {
		t.Errorf("%d: %s%s", got.Code, got.Stdout, got.Stderr)
	}
}

func TestPluginNewUsage(t *testing.T) {
	t.Setenv(envSDK, "")
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		args  []string
		wants string // regular expression
	}{
		{nil, `takes one name, but got 0 arguments`},
		{[]string{"a", "b", "--kind", "filter"}, `takes one name, but got 2 arguments`},
		{[]string{"upper"}, `the kind of the stage is not given\n  help: give it with --kind: source, filter, encoder, compressor, encryptor, sink`},
		{[]string{"upper", "--kind", "filtre"}, `"filtre" is no kind of stage\n  help: kinds are source,`},
		{[]string{"upper", "--kind", "filter", "--variant", "table"}, `there is no filter that is called "table"\n  help: variants are end; without one it is the usual filter`},
		{[]string{"upper", "--kind", "source", "--variant", "table"}, `there is no source that is called "table"\n  help: leave the variant out`},
		{[]string{"Upper", "--kind", "filter"}, `"Upper" is no name of a plugin\n  help: use at most 63`},
		{[]string{bundle.Name, "--kind", "filter"}, `is the plugin of this program\n  help: give yours another name`},
		{[]string{"upper", "--kind", "filter", "--dir", "no/upper"}, `no such file or directory\n  help: make the folder above it first: mkdir -p no`},
	} {
		got := cmdtest.Call(t, append([]string{"plugin", "new"}, c.args...)...)
		if got.Code != terminal.ExitUsage || got.Stdout != "" || !regexp.MustCompile(c.wants).MatchString(got.Stderr) {
			t.Errorf("%q: %d: %s%s\nwant: %s", c.args, got.Code, got.Stdout, got.Stderr, c.wants)
		}
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestPluginNewNames: what may be begun is what may be locked, and its program is found by its name.
func TestPluginNewNames(t *testing.T) {
	t.Setenv(envSDK, "")
	sdk := repository(t)
	t.Chdir(t.TempDir())
	for _, name := range []string{
		"a", "7", "a-", "a-b-7", strings.Repeat("n", 63), strings.Repeat("n", 64), "A", "a_b", "a.b", "a b", "ä", "a/b", ".", "..", "true", "null", "",
	} {
		entry, err := json.Marshal(map[string]string{"name": name, "version": "1.0.0", "sha256": strings.Repeat("0", 64)})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(host.LockName, []byte("plugins: ["+string(entry)+"]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, refused := host.ReadLockfile(host.LockName)
		dir := filepath.Join(t.TempDir(), "module")
		got := cmdtest.Call(t, "plugin", "new", name, "--kind", "sink", "--dir", dir, "--sdk", sdk)
		if (got.Code == 0) != (refused == nil) {
			t.Errorf("%q: plugin new ended with %d, and the lock file says %v", name, got.Code, refused)
		}
		if refused != nil {
			continue
		}
		makefile, err := os.ReadFile(filepath.Join(dir, "Makefile"))
		if err != nil || !strings.Contains(string(makefile), "PROGRAM := bin/"+host.ProgramPrefix+name+"\n") {
			t.Errorf("%q: the program has another name: %v\n%s", name, err, makefile)
		}
	}
}
