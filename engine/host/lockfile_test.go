package host_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestBadLockfiles compares what is said of each file in testdata/lock with the
// text beside it.
func TestBadLockfiles(t *testing.T) {
	files, err := filepath.Glob("testdata/lock/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			lock, err := host.ReadLockfile(path)
			f := fault.From(err)
			if f == nil || f.Code != "plugins.lock" || f.Class != fault.Usage {
				t.Fatalf("got %+v, %+v", lock, f)
			}
			got := strings.ReplaceAll(f.Message, path, host.LockName) + "\n"
			golden := strings.TrimSuffix(path, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got  %swant %s", got, want)
			}
		})
	}
}

func TestGoodLockfile(t *testing.T) {
	digest := strings.Repeat("0123456789abcdef", 4)
	path := filepath.Join(t.TempDir(), host.LockName)
	text := "# pinned\nplugins:\n  - name: upper\n    version: 1.2.0\n    sha256: " + digest + "\n  - {name: 2nd-one, sha256: " + digest + ", file: other.bin}\n" +
		"  - {name: caller, version: 0.1.0, sha256: " + digest + ", origin: \"https://example.org/caller\", network: true}\n" +
		"  - {name: local, version: 0.1.0, sha256: " + digest + ", origin: /opt/local, network: false}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := host.ReadLockfile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]host.LockEntry{
		"upper":   {Name: "upper", Version: "1.2.0", SHA256: digest},
		"2nd-one": {Name: "2nd-one", SHA256: digest, File: "other.bin"},
		"caller":  {Name: "caller", Version: "0.1.0", SHA256: digest, Origin: "https://example.org/caller", Network: true},
		"local":   {Name: "local", Version: "0.1.0", SHA256: digest, Origin: "/opt/local"},
	} {
		if got, ok := lock.Find(name); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	if got, ok := lock.Find("lower"); ok {
		t.Errorf("found %+v", got)
	}
}

func TestLockfilesThatPinNothing(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "", "comment": "# nothing yet\n", "no plugins": "plugins: []\n"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if lock, err := host.ReadLockfile(path); err != nil || len(lock.Plugins) != 0 {
			t.Errorf("%s: %+v, %v", name, lock, err)
		}
	}
	if lock, err := host.ReadLockfile(filepath.Join(dir, "none")); err != nil || len(lock.Plugins) != 0 {
		t.Errorf("missing: %+v, %v", lock, err)
	}
}

func TestLockfilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, bytes.Repeat([]byte("# x\n"), 1<<18+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{large: "larger than 1 MiB", dir: "is a directory"} {
		_, err := host.ReadLockfile(path)
		if f := fault.From(err); f == nil || f.Code != "plugins.lock" || f.Class != fault.Usage || !strings.Contains(f.Message, says) {
			t.Errorf("%s: got %v, want it to say %q", path, err, says)
		}
	}
}

// TestBadLockfileStopsTheHost: what cannot be understood pins nothing, so nothing
// may be started.
func TestBadLockfileStopsTheHost(t *testing.T) {
	dir, tmp := t.TempDir(), shortTemp(t)
	if err := os.WriteFile(filepath.Join(dir, host.LockName), []byte("plugins: 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := host.New(host.Config{FirstParty: bundle(firstParty), PluginDir: dir})
	if !fault.Is(err, "plugins.lock") {
		t.Errorf("got %v", err)
	}
	if left := names(t, tmp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// FuzzLockfile holds that every file is either refused with the code or names
// programs inside the plugin directory only, by a full digest.
func FuzzLockfile(f *testing.F) {
	digest := strings.Repeat("ab", 32)
	f.Add("")
	f.Add("plugins:\n  - name: upper\n    version: 1.2.0\n    sha256: " + digest + "\n")
	f.Add("plugins: [{name: a, sha256: " + digest + ", file: ../b}]")
	f.Add("plugins: [{name: a, sha256: " + digest + "}, {name: a, sha256: " + digest + "}]")
	f.Add("plugins: &a [*a]")
	f.Add("a: &a [1,1]\nplugins: *a\n---\nplugins: []")
	f.Add("plugins: [{name: a, <<: {sha256: " + digest + "}}]")
	f.Add("plugins:\n- &b {name: a, sha256: " + digest + "}\n- {<<, *b, 0}")
	path := filepath.Join(f.TempDir(), host.LockName)
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		lock, err := host.ReadLockfile(path)
		if err != nil {
			var coded *fault.Fault
			if !errors.As(err, &coded) || coded.Code != "plugins.lock" || coded.Class != fault.Usage {
				t.Fatalf("not coded: %v", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, p := range lock.Plugins {
			if seen[p.Name] || p.Name == "" || strings.ContainsAny(p.Name, "/\\. ") || len(p.SHA256) != 64 {
				t.Fatalf("accepted %+v", p)
			}
			seen[p.Name] = true
			if program := filepath.Join("plugins", p.File); p.File != "" && filepath.Dir(program) != "plugins" {
				t.Fatalf("accepted the file %q", p.File)
			}
		}
	})
}
