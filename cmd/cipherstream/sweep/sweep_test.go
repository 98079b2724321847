package sweep

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/pipeline"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/engine"
)

func TestMain(m *testing.M) {
	cmdtest.Main(m, cmdtest.Program{Nouns: []session.Noun{Commands, pipeline.Commands}})
}

// TestSweep: what expired goes, what did not stays.
func TestSweep(t *testing.T) {
	t.Setenv(session.EnvDSN, cmdtest.SmallPractice(t))
	bucket := t.TempDir()
	got := cmdtest.Call(t, "run", "patients", "-p", "from_date=1990-01-01", "-p", "to_date=2100-01-01",
		"--job", "--bucket", bucket, "--isolation", "none")
	var receipt engine.Receipt
	if err := json.Unmarshal([]byte(got.Stdout), &receipt); err != nil || got.Code != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	got = cmdtest.Call(t, "sweep", "--bucket", bucket)
	if got.Code != 0 || got.Stdout != "1 object seen, 0 removed (0 B), 0 unfinished uploads ended\n" {
		t.Errorf("%+v", got)
	}
	object := filepath.Join(bucket, receipt.RunID+".1.ndjson")
	attributes, err := os.ReadFile(object + ".attrs")
	if err != nil {
		t.Fatal(err)
	}
	expired := regexp.MustCompile(`("cipherstream-expires":")[0-9]{4}`).ReplaceAll(attributes, []byte("${1}2001"))
	if err := os.WriteFile(object+".attrs", expired, 0o600); err != nil {
		t.Fatal(err)
	}
	got = cmdtest.Call(t, "sweep", "--json", "--bucket", bucket)
	var swept struct{ Seen, Removed, Bytes int64 }
	if err := json.Unmarshal([]byte(got.Stdout), &swept); err != nil || swept.Removed != 1 || swept.Bytes != receipt.Bytes {
		t.Errorf("%+v, %v", got, err)
	}
	if left, err := os.ReadDir(bucket); err != nil || len(left) > 0 {
		t.Errorf("left in the bucket: %v, %v", left, err)
	}
}

func TestSweepUsage(t *testing.T) {
	for _, c := range []struct{ args, wants string }{
		{"sweep --bucket s3://x --abandoned -1h", `--abandoned is an age`},
		{"sweep --bucket no/such", `error\[sink\.bucket_missing\]`},
	} {
		got := cmdtest.Call(t, strings.Fields(c.args)...)
		if got.Code == 0 || got.Stdout != "" || !regexp.MustCompile(c.wants).MatchString(got.Stderr) {
			t.Errorf("%s: %+v, want %s", c.args, got, c.wants)
		}
	}
}
