package sandbox

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/sandbox"
)

// TestLoading shows how a load gets on.
func TestLoading(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := terminal.New(terminal.Streams{Err: f}, false).NewReporter("plain", false, false)
	if err != nil {
		t.Fatal(err)
	}
	show := loading(r, time.Now().Add(-20*time.Second))
	show(sandbox.LoadProgress{Table: "patient", Rows: 2000, Total: 2000})
	show(sandbox.LoadProgress{Table: "appointment", Rows: 5000, Total: 20000}) // too soon
	loaded(r, &sandbox.LoadResult{Method: sandbox.Infile, Elapsed: 1500 * time.Millisecond, Tables: []sandbox.LoadProgress{
		{Table: "patient", Rows: 2000}, {Table: "appointment", Rows: 20000}}})
	content, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^patient: 2,000 of 2,000 rows  \d+ rows/s  0:20\n22,000 rows loaded in 1\.5 s \(load data local infile\)\n$`)
	if !want.Match(content) {
		t.Errorf("%s", content)
	}
}
