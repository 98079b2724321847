package install

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
)

var digest = strings.Repeat("0123456789abcdef", 4)

var added = host.LockEntry{Name: "upper", Version: "1.10", SHA256: digest, File: "cipherstream-plugin-upper-0123456789ab", Origin: "https://example.org/a: b", Network: true}

const addedText = `  - name: upper
    version: "1.10"
    sha256: DIGEST
    file: cipherstream-plugin-upper-0123456789ab
    origin: 'https://example.org/a: b'
    network: true
`

// TestLockText edits lock files that people write.
func TestLockText(t *testing.T) {
	for _, c := range []struct{ name, text, with, without string }{
		{"none", "", "plugins:\n" + addedText, "plugins: []\n"},
		{"comment alone", "# nothing yet", "# nothing yet\nplugins:\n" + addedText, "# nothing yet\nplugins: []\n"},
		{"empty list", "plugins: [] # none\n", "plugins: # none\n" + addedText, "plugins: [] # none\n"},
		{"no list", "plugins:\n", "plugins:\n" + addedText, "plugins: []\n"},
		{"others with comments", `# What we run.
plugins:
  # from the other team
  - name: lower # lower case
    sha256: DIGEST
    version: 0.1.0

  - {name: "2nd-one", version: 1.0.0, sha256: DIGEST}
# the end
`, `# What we run.
plugins:
  # from the other team
  - name: lower # lower case
    sha256: DIGEST
    version: 0.1.0
  - {name: "2nd-one", version: 1.0.0, sha256: DIGEST}
` + addedText + `# the end
`, `# What we run.
plugins:
  # from the other team
  - name: lower # lower case
    sha256: DIGEST
    version: 0.1.0
  - {name: "2nd-one", version: 1.0.0, sha256: DIGEST}
# the end
`},
		{"an older one", `plugins:
  # ours
  - version: 0.9.0 # pinned by hand
    name: upper
    sha256: 0000000000000000000000000000000000000000000000000000000000000000
    file: upper.bin
  - name: lower
    version: 0.1.0
    sha256: DIGEST
`, `plugins:
  # ours
  - version: "1.10" # pinned by hand
    name: upper
    sha256: DIGEST
    file: cipherstream-plugin-upper-0123456789ab
    origin: 'https://example.org/a: b'
    network: true
  - name: lower
    version: 0.1.0
    sha256: DIGEST
`, `plugins:
  - name: lower
    version: 0.1.0
    sha256: DIGEST
`},
		{"shared keys", `plugins:
  - &one {name: lower, version: 0.1.0, sha256: DIGEST}
  - {<<: *one, name: upper}
`, `plugins:
  - &one {name: lower, version: 0.1.0, sha256: DIGEST}
  - {name: upper, version: "1.10", sha256: DIGEST, file: cipherstream-plugin-upper-0123456789ab, origin: 'https://example.org/a: b', network: true}
`, `plugins:
  - &one {name: lower, version: 0.1.0, sha256: DIGEST}
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			full := func(text string) string { return strings.ReplaceAll(text, "DIGEST", digest) }
			l := lockOf(t, full(c.text))
			if got := string(l.with(added).text); got != full(c.with) {
				t.Errorf("with it:\n%s\nwant\n%s", got, full(c.with))
			}
			if got := string(l.without(added.Name).text); got != full(c.without) {
				t.Errorf("without it:\n%s\nwant\n%s", got, full(c.without))
			}
		})
	}
}

// lockOf writes a lock file and reads it.
func lockOf(t *testing.T, text string) *lockText {
	t.Helper()
	dir := t.TempDir()
	if text != "" {
		if err := os.WriteFile(filepath.Join(dir, host.LockName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := readLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// FuzzLockText holds that an edited lock file says what it should, whatever it looked
// like before.
func FuzzLockText(f *testing.F) {
	f.Add("")
	f.Add("# x\n---\nplugins: []\n...\n")
	f.Add("plugins: &a\n- {name: upper, sha256: " + digest + ", origin: &o x, version: *o}\n")
	f.Add("plugins:\n- &b {name: lower, sha256: " + digest + "}\n- {<<: *b, name: upper}\n")
	f.Add("? plugins\n: - !!map {name: !!str 12, sha256: \"" + digest + "\", network: yes}\n")
	f.Fuzz(func(t *testing.T, text string) {
		lock, err := host.ParseLockfile(host.LockName, []byte(text))
		if err != nil {
			return
		}
		l := &lockText{path: host.LockName, text: []byte(text), lock: lock}
		for name, edited := range map[string]*lockText{"with": l.with(added), "without": l.without(added.Name)} {
			again, err := host.ParseLockfile(host.LockName, edited.text)
			if err != nil || !slices.EqualFunc(again.Plugins, edited.lock.Plugins, sameEntry) {
				t.Fatalf("%s: %q became %q: %v", name, text, edited.text, err)
			}
			_, found := again.Find(added.Name)
			if found != (name == "with") {
				t.Fatalf("%s: %q became %q", name, text, edited.text)
			}
		}
	})
}

// TestWriteBound: more than the limit is not written.
func TestWriteBound(t *testing.T) {
	for n, want := range map[int]error{99: nil, 100: nil, 101: errTooLarge, 1000: errTooLarge} {
		path := filepath.Join(t.TempDir(), "x")
		_, err := write(path, strings.NewReader(strings.Repeat("x", n)), 100)
		info, statErr := os.Stat(path)
		if !errors.Is(err, want) || statErr != nil || info.Size() > 101 {
			t.Errorf("%d bytes: %v, %v", n, err, info)
		}
	}
}
