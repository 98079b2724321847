package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/golden"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/install"
)

// smallProgram is a small program that is a plugin of servedAs, under a path whose
// last part is that name, and its SHA-256.
func smallProgram(t *testing.T, name string) (path, digest string) {
	t.Helper()
	content := []byte("#!" + pluginProgram(t, name) + "\n")
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o700); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	return path, hex.EncodeToString(sum[:])
}

var (
	unconfined       = regexp.MustCompile(`(?m)^warn: plugin "[^"]*" (runs unconfined|is confined in part), .*\n`)
	isolationInTitle = regexp.MustCompile(`(?m); (not |partly )?confined.*\)$`)
	isolationInRow   = regexp.MustCompile(`(?m)^( *isolation +)(?:not |partly )?confined.*$`)
	notConfinedLine  = regexp.MustCompile(`(?m)^\n[a-z0-9-]+: (?:not |partly )confined.*\n`)
	notConfinedJSON  = regexp.MustCompile(`(?m)^ *"not_confined": \[[^\]]*\],?\n`)
	placeInCode      = regexp.MustCompile(`\(at \w+\.go:\d+\)`)
	isolationInJSON  = regexp.MustCompile(`"isolation": "(not |partly )?confined[^"]*"`)
)

// settled replaces in a command's output what differs from run to run.
func settled(text string, pairs ...string) string {
	text = strings.NewReplacer(pairs...).Replace(text)
	text = placeInCode.ReplaceAllString(text, "(at FILE.go:LINE)")
	// How far a machine can confine a process is its own affair.
	text = unconfined.ReplaceAllString(text, "")
	text = notConfinedLine.ReplaceAllString(text, "")
	text = notConfinedJSON.ReplaceAllString(text, "")
	text = isolationInTitle.ReplaceAllString(text, "; ISOLATION)")
	text = isolationInJSON.ReplaceAllString(text, `"isolation": "ISOLATION"`)
	return isolationInRow.ReplaceAllString(text, "${1}ISOLATION")
}

// TestPluginInstall goes the way of a plugin: installed, listed, used, verified,
// described, replaced, removed.
func TestPluginInstall(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "plugins")
	program, digest := smallProgram(t, "good-plugin")
	newer, newerDigest := smallProgram(t, "newer-plugin")
	settle := func(r cmdtest.Result) string {
		return settled(r.Stdout+r.Stderr, dir, "PLUGINS", filepath.Dir(program), "BIN", filepath.Dir(newer), "NEW", digest, "DIGEST-OF-OLD", digest[:12], "DIGEST",
			newerDigest, "DIGEST-OF-NEW", newerDigest[:12], "NEWER")
	}
	step := func(file string, code int, args ...string) {
		t.Helper()
		got := cmdtest.Call(t, append([]string{"plugin"}, args...)...)
		if got.Code != code {
			t.Errorf("%v ended with %d: %s%s", args, got.Code, got.Stdout, got.Stderr)
		}
		golden.Compare(t, file, settle(got))
	}
	step("plugin_install.txt", terminal.ExitDone, "install", program, "--plugins", dir, "--sha256", digest, "--name", "good")
	step("plugin_installed_already.txt", terminal.ExitUsage, "install", newer, "--plugins", dir, "--allow-network")
	step("plugin_no_network.txt", terminal.ExitUsage, "install", newer, "--plugins", dir, "--replace")
	t.Setenv(session.EnvPlugins, dir)
	step("plugin_verify_good.txt", terminal.ExitDone, "verify")
	step("plugin_info.txt", terminal.ExitDone, "info", "good")
	step("plugin_info.json", terminal.ExitDone, "info", "good", "--json")
	step("plugin_replace.json", terminal.ExitDone, "install", newer, "--replace", "--allow-network", "--json", "--progress", "none")
	step("plugin_info_newer.txt", terminal.ExitDone, "info", "good")

	list := cmdtest.Call(t, "plugin", "list")
	if list.Code != terminal.ExitDone || !regexp.MustCompile(`(?m)^good 2\.0\.0 \(third party; .+\)\n  filter +pass +table → table +Hands through\.$`).MatchString(list.Stdout) {
		t.Errorf("list: %+v", list)
	}
	if got := cmdtest.Leftovers(t, dir); !slices.Equal(got, []string{"cipherstream-plugin-good-" + newerDigest[:12], host.LockName}) {
		t.Errorf("the folder has %v", got)
	}
	step("plugin_remove.txt", terminal.ExitDone, "remove", "good")
	if got := cmdtest.Call(t, "plugin", "verify"); got.Code != terminal.ExitDone || got.Stdout != "no plugin is installed in "+dir+"\n" {
		t.Errorf("verify of nothing: %+v", got)
	}
	if got := cmdtest.Leftovers(t, dir); !slices.Equal(got, []string{host.LockName}) {
		t.Errorf("the folder has %v", got)
	}
}

// TestPluginInUse: an installed plugin runs in a pipeline.
func TestPluginInUse(t *testing.T) {
	dir := t.TempDir()
	program, _ := smallProgram(t, "good-plugin")
	if got := cmdtest.Call(t, "plugin", "install", program, "--plugins", dir, "--json"); got.Code != terminal.ExitDone {
		t.Fatalf("install: %+v", got)
	}
	pipeline := filepath.Join(t.TempDir(), "own.yaml")
	if err := os.WriteFile(pipeline, []byte(`apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: own, title: Own}
spec:
  stages:
    source: {use: mysql, with: {url: "${secret.dsn}", query: SELECT 7 AS n}}
    filter: {use: pass, with: {column: n}}
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: "${run.output}"}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	output := filepath.Join(t.TempDir(), "out")
	got := cmdtest.Call(t, "run", pipeline, "--plugins", dir, "--dsn", cmdtest.SmallPractice(t), "-o", output, "--progress", "none")
	content, err := os.ReadFile(output)
	if got.Code != terminal.ExitDone || err != nil || string(content) != "{\"n\":7}\n" {
		t.Errorf("run: %+v, %q, %v", got, content, err)
	}
}

// TestBrokenPlugins: one that is broken is shown as such beside the others.
func TestBrokenPlugins(t *testing.T) {
	dir := t.TempDir()
	program, digest := smallProgram(t, "good-plugin")
	if got := cmdtest.Call(t, "plugin", "install", program, "--plugins", dir); got.Code != terminal.ExitDone {
		t.Fatalf("install: %+v", got)
	}
	lock := filepath.Join(dir, host.LockName)
	text, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	odd := []byte("#!/bin/sh\necho no licence >&2\nexit 3\n")
	if err := os.WriteFile(filepath.Join(dir, "odd"), odd, 0o700); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(odd)
	text = append(text, "  - {name: odd, version: 0.1.0, sha256: "+hex.EncodeToString(sum[:])+", file: odd}\n"+
		"  - {name: gone, version: 0.2.0, sha256: "+digest+"}\n  - {name: changed, version: 0.3.0, sha256: "+strings.Repeat("0", 64)+", file: odd}\n"...)
	if err := os.WriteFile(lock, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(session.EnvPlugins, dir)
	settle := func(text string) string {
		return settled(text, dir, "PLUGINS", filepath.Dir(program), "BIN", digest, "DIGEST-OF-GOOD", digest[:12], "DIGEST", hex.EncodeToString(sum[:]), "DIGEST-OF-ODD")
	}
	list := cmdtest.Call(t, "plugin", "list")
	if list.Code != terminal.ExitDone || list.Stderr != "" {
		t.Errorf("list: %+v", list)
	}
	_, third, _ := strings.Cut(list.Stdout, "\n\n") // without the first party
	golden.Compare(t, "plugin_list_broken.txt", settle(third))
	var machine struct{ Plugins []offeredPlugin }
	if err := json.Unmarshal([]byte(cmdtest.Call(t, "plugin", "list", "--json").Stdout), &machine); err != nil {
		t.Fatal(err)
	}
	codes := map[string]string{}
	for _, p := range machine.Plugins {
		if p.Error != nil {
			codes[p.Name] = p.Error.Code
		} else if len(p.Stages) == 0 || p.Protocol != 1 {
			t.Errorf("list --json: %+v", p)
		}
	}
	if len(machine.Plugins) != 5 || len(codes) != 3 || codes["odd"] != "plugin.start" || codes["gone"] != "plugin.missing" || codes["changed"] != "plugin.digest" {
		t.Errorf("list --json: %v", codes)
	}

	verify := cmdtest.Call(t, "plugin", "verify")
	if verify.Code != terminal.ExitFailed {
		t.Errorf("verify: %+v", verify)
	}
	golden.Compare(t, "plugin_verify_broken.txt", settle(verify.Stdout+verify.Stderr))
	verify = cmdtest.Call(t, "plugin", "verify", "--json")
	var verdict struct {
		Plugins      []verifiedPlugin
		Good, Broken int
	}
	if err := json.Unmarshal([]byte(verify.Stdout), &verdict); err != nil || verify.Code != terminal.ExitFailed {
		t.Fatalf("verify --json: %v: %+v", err, verify)
	}
	if verdict.Good != 1 || verdict.Broken != 3 || !verdict.Plugins[0].OK || verdict.Plugins[3].Checks[install.CheckDigest] != install.Failed ||
		verdict.Plugins[3].Checks[install.CheckStart] != install.Skipped || verdict.Plugins[3].Errors[0].Code != "plugin.digest" {
		t.Errorf("verify --json: %+v", verdict)
	}
	if got := cmdtest.Call(t, "plugin", "verify", "good"); got.Code != terminal.ExitDone {
		t.Errorf("verify good: %+v", got)
	}
	if got := cmdtest.Call(t, "plugin", "info", "odd"); got.Code != terminal.ExitFailed || !strings.Contains(got.Stderr, "no licence") {
		t.Errorf("info odd: %+v", got)
	}
	for _, name := range []string{"odd", "changed", "gone"} {
		if got := cmdtest.Call(t, "plugin", "remove", name, "--json"); got.Code != terminal.ExitDone || !strings.Contains(got.Stdout, `"name": "`+name+`"`) {
			t.Errorf("remove: %+v", got)
		}
	}
	if got := cmdtest.Call(t, "plugin", "verify"); got.Code != terminal.ExitDone {
		t.Errorf("verify at the end: %+v", got)
	}
}

// TestPluginInfoOfFirstParty shows nested settings too.
func TestPluginInfoOfFirstParty(t *testing.T) {
	got := cmdtest.Call(t, "plugin", "info", "cipherstream")
	for _, want := range []string{
		"cipherstream " + session.Version() + " (first party)\n  protocol  1\n  network   asked for, granted\n",
		"\nsource mysql  → table\n",
		"\nfilter mask  table → table\n",
	} {
		if got.Code != terminal.ExitDone || !strings.Contains(got.Stdout, want) {
			t.Errorf("%q is not in\n%s%s", want, got.Stdout, got.Stderr)
		}
	}
}

// TestPluginUsage holds what is refused before anything is started.
func TestPluginUsage(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, host.LockName), []byte("plugins: [{name: upper, version: 1.0.0, sha256: "+strings.Repeat("0", 64)+"}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, args, wants string
	}{
		{"install nothing", "install --plugins " + dir, `takes one program, but got 0 arguments`},
		{"install without a folder", "install /bin/true", `no folder of plugins is given\n  help: give --plugins FOLDER, or set CIPHERSTREAM_PLUGINS`},
		{"install into a file", "install /bin/true --plugins " + dir + "/plugins.lock", `is no folder`},
		{"install what is missing", "install " + dir + "/gone --plugins " + dir, `error\[install\.source\]: the program cannot be read`},
		{"no digest", "install https://localhost/upper --plugins " + dir, `a program from a URL needs its SHA-256\n  help: give the one that its publisher names with --sha256`},
		{"half a digest", "install /bin/true --sha256 abc --plugins " + dir, `a SHA-256 has 64 hexadecimal digits, but "abc" was given`},
		{"no https", "install http://localhost/upper --yes --plugins " + dir, `https only`},
		{"password", "install https://ann:geheim@localhost/upper --yes --plugins " + dir, `has a user or a password in it`},
		{"progress", "install /bin/true --progress dots --plugins " + dir, `--progress is one of`},
		{"verify without a folder", "verify", `no folder of plugins is given`},
		{"verify an unknown one", "verify uper --plugins " + dir, `error\[plugin\.unknown\].*"uper"[\s\S]*did you mean upper\?`},
		{"info of nothing", "info", `takes one plugin, but got 0 arguments`},
		{"info of an unknown one", "info lower --plugins " + dir, `"cipherstream plugin list" shows the plugins`},
		{"remove without a folder", "remove upper", `no folder of plugins is given`},
		{"remove from what is missing", "remove upper --plugins " + dir + "/gone", `the folder of plugins cannot be used`},
		{"remove an unknown one", "remove uppr --plugins " + dir, `did you mean upper\?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := cmdtest.Call(t, append([]string{"plugin"}, strings.Fields(c.args)...)...)
			if got.Code != terminal.ExitUsage || got.Stdout != "" || !regexp.MustCompile(c.wants).MatchString(got.Stderr) || strings.Contains(got.Stderr, "geheim") {
				t.Errorf("it ended with %d: %s%s\nexpected %s", got.Code, got.Stdout, got.Stderr, c.wants)
			}
		})
	}
	if got := cmdtest.Leftovers(t, dir); len(got) != 1 {
		t.Errorf("the folder has %v", got)
	}
}

func TestPluginCompletion(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, host.LockName), []byte("plugins: [{name: upper, version: 1.0.0, sha256: "+strings.Repeat("0", 64)+"}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(session.EnvPlugins, dir)
	for _, c := range []struct{ args, want, not string }{
		{"remove|", "upper\n", "cipherstream"},
		{"info|", "upper\n", ":0"},
		{"info|", "cipherstream\tthe first-party stages\n", ":0"},
		{"verify|", "upper\n", "cipherstream"},
		{"verify|upper|", ":4", "upper\n"},
		{"remove|upper|", ":4", "upper\n"},
		{"install|--progress|", "plain\n", "upper"},
		{"install|", ":0", "upper"},
		{"inst", "install\t", "remove"},
	} {
		got := cmdtest.Call(t, append([]string{"__complete", "plugin"}, strings.Split(c.args, "|")...)...)
		if !strings.Contains(got.Stdout, c.want) || strings.Contains(got.Stdout, c.not) {
			t.Errorf("%s: %q", c.args, got.Stdout)
		}
	}
}

// download serves a plugin with https and returns its address, its digest and the
// variable that makes a process trust the server.
func download(t *testing.T) (address, digest string, trust []string) {
	t.Helper()
	program, digest := smallProgram(t, "good-plugin")
	server := httptest.NewTLSServer(http.FileServer(http.Dir(filepath.Dir(program))))
	t.Cleanup(server.Close)
	certificate := filepath.Join(t.TempDir(), "certificate.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(certificate, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return server.URL + "/good-plugin", digest, []string{"SSL_CERT_FILE=" + certificate}
}
