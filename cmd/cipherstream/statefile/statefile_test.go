package statefile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// some is a state.
func some(value string) engine.State {
	return engine.State{Version: engine.StateVersion, Pipeline: "visits", Source: "cipherstream/mysql",
		Cursor: "updated_at", Type: config.CursorTimestamp,
		Inputs: map[string]string{"params.location": "5"}, Value: value, Zone: "UTC", Origin: "db:3306/practice", RunID: "r1",
		SavedAt: time.Date(2024, 3, 1, 10, 0, 1, 0, time.UTC)}
}

// TestFile: what is saved is read again, by nobody else, and nothing is left beside it but the lock.
func TestFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "visits.state.json")
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.State(); !got.IsZero() {
		t.Errorf("before the first run: %+v", got)
	}
	// What a run that was killed has left behind.
	if err := os.WriteFile(filepath.Join(dir, ".visits.state.json.partial"), []byte(strings.Repeat("x", 10000)),
		0o644); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"2024-03-01 10:00:00", "2024-03-02 10:00:00.5"} {
		want := some(value)
		if err := f.Save(&want); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path); err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(f.State(), want) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := Open(path); !fault.Is(err, CodeLocked) {
		t.Errorf("two runs at once: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(link); !fault.Is(err, CodeLocked) {
		t.Errorf("the same file by another name: %v", err)
	}
	f.Close()
	again, err := Open(link)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	last := some("2024-03-03 10:00:00")
	if err := again.Save(&last); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link was replaced: %v, %v", info, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != ".visits.state.json.lock" {
		t.Errorf("%v, %v", entries, err)
	}
}

// TestDamaged: a file that holds no state is never taken for a first run.
func TestDamaged(t *testing.T) {
	t.Parallel()
	good, err := json.Marshal(some("2024-03-01 10:00:00"))
	if err != nil {
		t.Fatal(err)
	}
	replaced := func(old, text string) string {
		if !strings.Contains(string(good), old) {
			t.Fatalf("%s has no %s", good, old)
		}
		return strings.Replace(string(good), old, text, 1)
	}
	path := filepath.Join(t.TempDir(), "state")
	for name, text := range map[string]string{
		"empty": "", "null": "null", "an object": "{}", "a list": "[]", "cut": string(good[:len(good)/2]), "twice": string(good) + string(good),
		"zeros": string(make([]byte, 512)), "another version": replaced(`"version":1`,
			`"version":2`), "no version": replaced(`"version":1,`, ""),
		"an unknown member": replaced(`"zone"`, `"zone_"`), "another type": replaced(`"params.location":"5"`,
			`"params.location":5`),
		"no value": replaced("2024-03-01 10:00:00", ""), "no day": replaced("2024-03-01 ",
			"2024-13-01 "), "no pipeline": replaced(`"visits"`, `""`),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if !fault.Is(err, CodeDamaged) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path) // no failure keeps it
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// TestPlaces: what cannot be a file of state is refused before a run.
func TestPlaces(t *testing.T) {
	t.Parallel()
	for _, path := range []string{t.TempDir(), "/dev/null", filepath.Join(t.TempDir(), "no", "folder"),
		filepath.Join(os.Args[0], "state")} {
		if _, err := Open(path); !fault.Is(err, CodeFile) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// FuzzParse: any content is a state that can be saved and read again, or damaged.
func FuzzParse(f *testing.F) {
	for _, state := range []engine.State{some("2024-03-01 10:00:00"), {Version: 1, Type: config.CursorInteger,
		Value: "5"}, {}} {
		text, err := json.Marshal(state)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"version":1}x`))
	f.Fuzz(func(t *testing.T, content []byte) {
		s, err := Parse("state", content)
		if err != nil {
			if !fault.Is(err, CodeDamaged) {
				t.Fatal(err)
			}
			return
		}
		if s.IsZero() {
			t.Fatal("damage is taken for a first run")
		}
		text, err := json.Marshal(&s)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Parse("state", text); err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v, %v", again, err)
		}
	})
}
