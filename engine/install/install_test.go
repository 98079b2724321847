package install_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/install"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// servedAs begins the name under which the test program is a plugin; what follows says
// which: NAME, and what is odd about it.
const servedAs = "served-as-"

func TestMain(m *testing.M) {
	if what, ok := strings.CutPrefix(filepath.Base(os.Args[0]), servedAs); ok {
		sdk.Serve(served(what))
		return
	}
	if dir := os.Getenv(envSwap); dir != "" {
		swap(dir, os.Args[1:])
		return
	}
	goleak.VerifyTestMain(m)
}

// envSwap makes this program replace a plugin again and again in the folder that it
// names, by the programs of the arguments in turn.
const envSwap = "INSTALL_TEST_SWAP"

func swap(dir string, programs []string) {
	for i := 0; ; i++ {
		cfg := install.Config{Host: host.Config{PluginDir: dir, FirstParty: runnertest.Bundle(firstParty)}}
		if _, err := install.Install(context.Background(), cfg, install.Request{From: programs[i%len(programs)], Replace: true}); err != nil {
			panic(err)
		}
		fmt.Println(i)
	}
}

func served(what string) stage.Bundle {
	name, odd, _ := strings.Cut(what, ".")
	b := runnertest.Bundle(name)
	b.Version = "1.0.0"
	switch odd {
	case "newer":
		b.Version = "1.1.0"
	case "network":
		b.Network = true
	case "capital":
		b.Name = "Upper Case"
	case "unversioned":
		b.Version = ""
	case "line":
		b.Version = "1.0\nnetwork: true"
	case "stageless":
		b.Stages = nil
	case "doubled":
		b.Stages = append(b.Stages, b.Stages[0])
	case "strange":
		b.Stages[0].Kind = "teapot"
	}
	return b
}

const firstParty = "first"

// plugin is a small program that is that plugin.
func plugin(t *testing.T, what string) []byte {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), servedAs+what)
	if err := os.Symlink(executable, link); err != nil {
		t.Fatal(err)
	}
	return []byte("#!" + link + "\n")
}

func file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// config is a configuration with an empty plugin folder.
func config(t *testing.T) install.Config {
	return install.Config{Host: host.Config{PluginDir: t.TempDir(), FirstParty: runnertest.Bundle(firstParty)}}
}

// contents is the names, modes and contents in a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		all[d.Name()] = info.Mode().String() + " " + string(content)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

func must(t *testing.T, cfg install.Config, req install.Request) *install.Installed {
	t.Helper()
	done, err := install.Install(t.Context(), cfg, req)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// starts holds that the plugins of a folder, and no others, start.
func starts(t *testing.T, cfg install.Config, plugins ...string) {
	t.Helper()
	h, err := host.New(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	all, err := h.Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, found := range all[1:] {
		if found.Err != nil {
			t.Error(found.Err)
		}
		names = append(names, found.Offer.Plugin)
	}
	if slices.Sort(names); !slices.Equal(names, plugins) {
		t.Errorf("the folder has %v, want %v", names, plugins)
	}
}

func TestInstall(t *testing.T) {
	cfg := config(t)
	cfg.Host.PluginDir = filepath.Join(cfg.Host.PluginDir, "plugins") // is made
	program := plugin(t, "upper")
	path := file(t, "upper", program)
	done := must(t, cfg, install.Request{From: path})
	name := "cipherstream-plugin-upper-" + digestOf(program)[:12]
	want := host.LockEntry{Name: "upper", Version: "1.0.0", SHA256: digestOf(program), File: name, Origin: path}
	if !reflect.DeepEqual(done.Entry, want) || done.Replaced != nil || done.Offer.Plugin != "upper" || done.Offer.Protocol != 1 || len(done.Offer.Stages) == 0 {
		t.Errorf("got %+v", done)
	}
	lock := "plugins:\n  - name: upper\n    version: 1.0.0\n    sha256: " + want.SHA256 + "\n    file: " + name + "\n    origin: " + path + "\n"
	got := contents(t, cfg.Host.PluginDir)
	if len(got) != 2 || got[name] != "-r-xr-xr-x "+string(program) || got[host.LockName] != "-rw-r--r-- "+lock {
		t.Errorf("the folder has %q", got)
	}
	starts(t, cfg, "upper")

	// A second one, by a link, stands after it.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file(t, "lower", plugin(t, "lower")), link); err != nil {
		t.Fatal(err)
	}
	if done := must(t, cfg, install.Request{From: link, Name: "lower"}); done.Entry.Origin != link {
		t.Errorf("got %+v", done.Entry)
	}
	if got := contents(t, cfg.Host.PluginDir); len(got) != 3 || !strings.HasPrefix(got[host.LockName], "-rw-r--r-- "+lock+"  - name: lower\n") {
		t.Errorf("the folder has %q", got)
	}
	starts(t, cfg, "lower", "upper")
}

// TestRefused: what is refused changes nothing, and is not started before its digest
// is known.
func TestRefused(t *testing.T) {
	ran := filepath.Join(t.TempDir(), "ran")
	marking := []byte("#!/bin/sh\ntouch '" + ran + "'\n")
	long := filepath.Join(t.TempDir(), "long")
	if err := errors.Join(os.WriteFile(long, nil, 0o600), os.Truncate(long, host.MaxProgram+1)); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		req   install.Request
		code  string
		class fault.Class
		says  string
	}{
		{"nothing", install.Request{}, install.CodeSource, fault.Usage, "nothing was given"},
		{"missing", install.Request{From: filepath.Join(t.TempDir(), "gone")}, install.CodeSource, fault.Usage, "the program cannot be read"},
		{"folder", install.Request{From: t.TempDir()}, "plugin.program", fault.Usage, "it has no program called \"plugin\""},
		{"named pipe", install.Request{From: pipe}, "plugin.program", fault.Usage, "is no file that holds a program"},
		{"huge", install.Request{From: long}, "plugin.program", fault.Usage, "is larger than 512 MiB"},
		{"plain http", install.Request{From: "http://localhost/upper"}, install.CodeSource, fault.Usage, `https only, not with "http"`},
		{"other scheme", install.Request{From: "file:///bin/true"}, install.CodeSource, fault.Usage, `https only, not with "file"`},
		{"no server", install.Request{From: "https:///upper"}, install.CodeSource, fault.Usage, "the URL names no server"},
		{"password", install.Request{From: "https://ann:geheim@localhost/upper"}, install.CodeSource, fault.Usage, "has a user or a password in it"},
		{"no URL", install.Request{From: "https://ann:geheim@local host/upper"}, install.CodeSource, fault.Usage, "the URL cannot be read"},
		{"no digest", install.Request{From: file(t, "x", marking), SHA256: "abc"}, install.CodeSource, fault.Usage, "64 hexadecimal digits"},
		{"other digest", install.Request{From: file(t, "x", marking), SHA256: strings.Repeat("0", 64)}, install.CodeDigest, fault.Usage, "its sha256 is " + digestOf(marking) + ", not 000"},
		{"bad name", install.Request{From: file(t, "x", marking), Name: "Upper"}, install.CodeName, fault.Usage, `"Upper" is not a plugin's name`},
		{"no program", install.Request{From: file(t, "Read Me.txt", []byte("hello"))}, "plugin.start", fault.Plugin, `plugin "read-me-txt" did not start`},
		{"no plugin", install.Request{From: file(t, "cipherstream-plugin-odd", []byte("#!/bin/sh\nexit 3\n"))}, "plugin.start", fault.Plugin, `plugin "odd" did not start`},
		{"other protocol", install.Request{From: file(t, "x", []byte("#!/bin/sh\necho '1|2|unix|/nowhere|grpc'\nexec sleep 600\n"))}, "plugin.protocol", fault.Plugin, "speaks protocol version 2, and this CipherStream speaks version 1"},
		{"other name", install.Request{From: file(t, "x", plugin(t, "upper")), Name: "lower"}, install.CodeName, fault.Usage, `the program is plugin "upper", not "lower"`},
		{"first party", install.Request{From: file(t, "x", plugin(t, firstParty))}, install.CodeName, fault.Usage, "the name of the first-party stages"},
		{"network", install.Request{From: file(t, "x", plugin(t, "upper.network"))}, install.CodeNetwork, fault.Usage, `plugin "upper" asks for network access`},
		{"name in capitals", install.Request{From: file(t, "x", plugin(t, "upper.capital"))}, install.CodeManifest, fault.Plugin, `it calls itself "Upper Case"`},
		{"no version", install.Request{From: file(t, "x", plugin(t, "upper.unversioned"))}, install.CodeManifest, fault.Plugin, `its version is ""`},
		{"two lines of version", install.Request{From: file(t, "x", plugin(t, "upper.line"))}, install.CodeManifest, fault.Plugin, `its version is "1.0\nnetwork: true"`},
		{"no stages", install.Request{From: file(t, "x", plugin(t, "upper.stageless"))}, install.CodeManifest, fault.Plugin, "offers no stage"},
		{"a stage twice", install.Request{From: file(t, "x", plugin(t, "upper.doubled"))}, install.CodeManifest, fault.Plugin, "twice"},
		{"unknown kind", install.Request{From: file(t, "x", plugin(t, "upper.strange"))}, install.CodeManifest, fault.Plugin, `offers a stage "teapot/`},
		{"installed", install.Request{From: file(t, "x", plugin(t, "present.newer"))}, install.CodeExists, fault.Usage, `plugin "present" 1.0.0 is installed already`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(t)
			must(t, cfg, install.Request{From: file(t, "x", plugin(t, "present"))})
			before := contents(t, cfg.Host.PluginDir)
			check := func(err error) {
				t.Helper()
				f := fault.From(err)
				if f == nil || f.Code != c.code || f.Class != c.class || !strings.Contains(f.Message, c.says) {
					t.Errorf("got %+v", f)
				}
				if strings.Contains(f.Error()+f.Hint, "geheim") {
					t.Errorf("it shows the password: %v", f)
				}
			}
			c.req.AllowFiles = []string{filepath.Dir(ran) + ":rw"} // or the witness could not be made
			_, err := install.Install(t.Context(), cfg, c.req)
			check(err)
			if now := contents(t, cfg.Host.PluginDir); len(now) != len(before) || now[host.LockName] != before[host.LockName] {
				t.Errorf("the folder has changed from %q to %q", before, now)
			}
			if _, err := os.Stat(ran); err == nil {
				t.Error("the program was started")
			}
			if c.code == install.CodeExists {
				return
			}
			cfg.Host.PluginDir = filepath.Join(cfg.Host.PluginDir, "new")
			_, err = install.Install(t.Context(), cfg, c.req)
			check(err)
			if _, err := os.Stat(cfg.Host.PluginDir); err == nil {
				t.Error("the folder was made")
			}
		})
	}
}

func TestReplace(t *testing.T) {
	cfg := config(t)
	first, second := plugin(t, "upper"), plugin(t, "upper.newer")
	from := file(t, "x", first)
	must(t, cfg, install.Request{From: from})
	lock := filepath.Join(cfg.Host.PluginDir, host.LockName)

	// The same program again mends the folder.
	entry := must(t, cfg, install.Request{From: from}).Entry
	if err := os.Remove(filepath.Join(cfg.Host.PluginDir, entry.Program())); err != nil {
		t.Fatal(err)
	}
	if done := must(t, cfg, install.Request{From: from, SHA256: strings.ToUpper(digestOf(first))}); done.Replaced == nil || !reflect.DeepEqual(*done.Replaced, entry) {
		t.Errorf("got %+v", done)
	}
	starts(t, cfg, "upper")
	if err := os.Chmod(lock, 0o600); err != nil {
		t.Fatal(err)
	}
	done := must(t, cfg, install.Request{From: file(t, "x", second), Replace: true})
	if done.Replaced == nil || !reflect.DeepEqual(*done.Replaced, entry) || done.Entry.Version != "1.1.0" || len(done.Warnings) == 0 {
		t.Errorf("got %+v", done)
	}
	starts(t, cfg, "upper")
	got := contents(t, cfg.Host.PluginDir)
	if len(got) != 2 || got[done.Entry.File] != "-r-xr-xr-x "+string(second) || !strings.HasPrefix(got[host.LockName], "-rw------- ") {
		t.Errorf("the folder has %q", got)
	}
}

// TestNetwork: the network is granted to those that ask for it and are allowed to have it.
func TestNetwork(t *testing.T) {
	cfg := config(t)
	for what, want := range map[string]bool{"caller.network": true, "quiet": false} {
		done := must(t, cfg, install.Request{From: file(t, "x", plugin(t, what)), AllowNetwork: true})
		if done.Entry.Network != want || done.Offer.Network != want {
			t.Errorf("%s: got %+v", what, done)
		}
	}
	if lock := contents(t, cfg.Host.PluginDir)[host.LockName]; strings.Count(lock, "network: true\n") != 1 {
		t.Errorf("the lock file is %s", lock)
	}
}

// TestOverlaps: stages that others have too are told, with what to write.
func TestOverlaps(t *testing.T) {
	cfg := config(t)
	must(t, cfg, install.Request{From: file(t, "x", plugin(t, "other"))})
	done := must(t, cfg, install.Request{From: file(t, "x", plugin(t, "upper"))})
	for _, want := range []string{
		`there is a first-party sink "file": use: file means that one, use: upper/file the plugin's`,
		`plugin "other" has a sink "file" too: pipelines must say use: upper/file or use: other/file`,
	} {
		if !slices.Contains(done.Warnings, want) {
			t.Errorf("%q is not in %q", want, done.Warnings)
		}
	}
}

// TestConcurrentInstalls: all that succeed are there afterwards.
func TestConcurrentInstalls(t *testing.T) {
	cfg := config(t)
	names := []string{"a", "b", "c", "d", "e", "f"}
	var installing sync.WaitGroup
	for _, name := range names {
		path := file(t, "x", plugin(t, name))
		installing.Go(func() {
			if _, err := install.Install(t.Context(), cfg, install.Request{From: path}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	installing.Wait()
	starts(t, cfg, names...)
	if got := contents(t, cfg.Host.PluginDir); len(got) != len(names)+1 {
		t.Errorf("the folder has %q", got)
	}
}

// TestKilledInstalls: what a killed process was writing is removed by the next one.
func TestKilledInstalls(t *testing.T) {
	cfg := config(t)
	for _, name := range []string{".cipherstream-plugin-upper-0123456789ab.partial", ".plugins.lock.partial"} {
		if err := os.WriteFile(filepath.Join(cfg.Host.PluginDir, name), []byte("half"), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	must(t, cfg, install.Request{From: file(t, "x", plugin(t, "upper"))})
	if got := contents(t, cfg.Host.PluginDir); len(got) != 2 {
		t.Errorf("the folder has %q", got)
	}
}

// TestFilesOfOthers: what is called like a plugin's files and is not, stays; so do the folders beside, even where
// the name of the folder would be a pattern.
func TestFilesOfOthers(t *testing.T) {
	cfg := config(t)
	parent := cfg.Host.PluginDir
	beside := filepath.Join(parent, "plugins")
	cfg.Host.PluginDir = filepath.Join(parent, "plug*[s]")
	theirs := []string{"cipherstream-plugin-upper-0123456789ab", ".cipherstream-plugin-notes.partial", ".cipherstream-plugin-upper-0123456789ab.partial.bak"}
	for _, dir := range []string{beside, cfg.Host.PluginDir} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range theirs {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("of somebody"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(beside, ".cipherstream-plugin-upper-0123456789ab.partial"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// A program that a killed installation put there before it was pinned.
	killed := plugin(t, "upper.newer")
	left := "cipherstream-plugin-upper-" + digestOf(killed)[:12]
	if err := os.WriteFile(filepath.Join(cfg.Host.PluginDir, left), killed, 0o555); err != nil {
		t.Fatal(err)
	}
	must(t, cfg, install.Request{From: file(t, "x", plugin(t, "upper"))})
	got := contents(t, cfg.Host.PluginDir)
	for _, name := range theirs {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is gone", name)
		}
	}
	if _, ok := got[left]; ok || len(got) != len(theirs)+2 {
		t.Errorf("the folder has %q", got)
	}
	if got := contents(t, beside); len(got) != len(theirs)+1 {
		t.Errorf("the folder beside has %q", got)
	}
}

// TestKilledAnywhere kills a process that replaces a plugin, at any moment: one of the
// two programs is pinned and there, always.
func TestKilledAnywhere(t *testing.T) {
	cfg := config(t)
	older, newer := file(t, "x", plugin(t, "upper")), file(t, "x", plugin(t, "upper.newer"))
	must(t, cfg, install.Request{From: older})
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 12 {
		swapper := exec.Command(executable, newer, older)
		swapper.Env = append(os.Environ(), envSwap+"="+cfg.Host.PluginDir)
		out, err := swapper.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := swapper.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil { // it has begun
			t.Error(err)
		}
		timer := time.AfterFunc(time.Duration(rand.IntN(200))*time.Millisecond, func() { _ = swapper.Process.Kill() })
		_, _ = io.Copy(io.Discard, out)
		_ = swapper.Wait()
		timer.Stop()
		starts(t, cfg, "upper")
	}
	must(t, cfg, install.Request{From: older, Replace: true})
	if got := contents(t, cfg.Host.PluginDir); len(got) != 2 {
		t.Errorf("the folder has %q", got)
	}
}

// TestCancelled: an install that waits for another can be cancelled, and leaves nothing.
func TestCancelled(t *testing.T) {
	cfg := config(t)
	held, err := os.Open(cfg.Host.PluginDir)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	reason := errors.New("nobody waits any more")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, reason)
	defer cancel()
	if _, err := install.Install(ctx, cfg, install.Request{From: file(t, "x", plugin(t, "upper"))}); !errors.Is(err, reason) {
		t.Errorf("got %v", err)
	}
	if _, err := install.Remove(ctx, cfg.Host.PluginDir, "upper"); !errors.Is(err, reason) {
		t.Errorf("remove: %v", err)
	}
	if got := contents(t, cfg.Host.PluginDir); len(got) != 0 {
		t.Errorf("the folder has %q", got)
	}
}

// TestFolders that cannot be changed.
func TestFolders(t *testing.T) {
	from := file(t, "x", plugin(t, "upper"))
	broken := config(t)
	if err := os.WriteFile(filepath.Join(broken.Host.PluginDir, host.LockName), []byte("plugins: 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ dir, code string }{
		"none":                   {"", install.CodeFolder},
		"two levels are missing": {filepath.Join(t.TempDir(), "a", "b"), install.CodeFolder},
		"a broken lock file":     {broken.Host.PluginDir, "plugins.lock"},
		"a file":                 {from, "plugins.lock"},
	} {
		cfg := install.Config{Host: host.Config{PluginDir: c.dir, FirstParty: broken.Host.FirstParty}}
		if _, err := install.Install(t.Context(), cfg, install.Request{From: from}); !fault.Is(err, c.code) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := contents(t, broken.Host.PluginDir); len(got) != 1 {
		t.Errorf("the folder has %q", got)
	}
}

func TestRemove(t *testing.T) {
	cfg := config(t)
	entry := must(t, cfg, install.Request{From: file(t, "x", plugin(t, "upper"))}).Entry
	must(t, cfg, install.Request{From: file(t, "x", plugin(t, "lower"))})
	if _, err := install.Remove(t.Context(), cfg.Host.PluginDir, "gone"); !fault.Is(err, "plugin.unknown") {
		t.Errorf("an unknown one: %v", err)
	}
	if got, err := install.Remove(t.Context(), cfg.Host.PluginDir, "upper"); err != nil || !reflect.DeepEqual(got, entry) {
		t.Errorf("got %+v, %v", got, err)
	}
	starts(t, cfg, "lower")
	lock := filepath.Join(cfg.Host.PluginDir, host.LockName)
	text, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	// A program that two entries share stays, and one that is gone is no matter.
	shared := "  - {name: twin, version: 1.0.0, sha256: " + strings.Repeat("0", 64) + ", file: " + names(t, cfg.Host.PluginDir)[0] + "}\n" +
		"  - {name: lost, version: 1.0.0, sha256: " + strings.Repeat("0", 64) + "}\n"
	if err := os.WriteFile(lock, append(text, shared...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"twin", "lost"} {
		if _, err := install.Remove(t.Context(), cfg.Host.PluginDir, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := contents(t, cfg.Host.PluginDir)
		if len(got) != 2 {
			t.Errorf("after %s the folder has %q", name, got)
		}
	}
	starts(t, cfg, "lower")
	if _, err := install.Remove(t.Context(), cfg.Host.PluginDir, "lower"); err != nil {
		t.Error(err)
	}
	if got := contents(t, cfg.Host.PluginDir); len(got) != 1 || got[host.LockName] != "-rw-r--r-- plugins: []\n" {
		t.Errorf("the folder has %q", got)
	}
}

// names lists a folder, programs first.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	for name := range contents(t, dir) {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}
