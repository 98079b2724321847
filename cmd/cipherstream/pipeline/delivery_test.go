package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/engine"
)

func receiptOf(t *testing.T, got cmdtest.Result) (receipt engine.Receipt) {
	t.Helper()
	if got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	if err := json.Unmarshal([]byte(got.Stdout), &receipt); err != nil {
		t.Fatalf("%v: %s", err, got.Stdout)
	}
	return receipt
}

// TestJob: an object is in the folder, and the receipt on standard output is true.
func TestJob(t *testing.T) {
	t.Setenv(session.EnvDSN, cmdtest.SmallPractice(t))
	bucket := filepath.Join(t.TempDir(), "made", "by the run")
	receipt := receiptOf(t, cmdtest.Call(t, "run", "patients", "-p", "from_date=1990-01-01", "-p", "to_date=2100-01-01",
		"-f", "csv", "--job", "--bucket", bucket, "--isolation", "none"))
	where, err := url.Parse(receipt.Location)
	if err != nil || where.Scheme != "file" || where.Path != filepath.Join(bucket, receipt.RunID+".1.csv") {
		t.Fatalf("location %q, %v", receipt.Location, err)
	}
	content, err := os.ReadFile(where.Path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	if receipt.SHA256 != hex.EncodeToString(sum[:]) || receipt.Bytes != int64(len(content)) || receipt.Rows != cmdtest.Patients ||
		countRows(t, "csv", content) != cmdtest.Patients || receipt.Link != "" {
		t.Errorf("%d bytes, and the receipt says %+v", len(content), receipt)
	}
	if info, err := os.Stat(where.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the object has mode %v, %v", info.Mode(), err)
	}
}

// TestJobLink: the link of a folder is signed, and ends when the receipt says.
func TestJobLink(t *testing.T) {
	t.Setenv(session.EnvDSN, cmdtest.SmallPractice(t))
	t.Setenv("CIPHERSTREAM_LINK_SECRET", "a secret of the tests")
	t.Setenv(session.EnvBucket, t.TempDir())
	began := time.Now().Truncate(time.Second)
	receipt := receiptOf(t, cmdtest.Call(t, "run", "patients", "-p", "from_date=1990-01-01", "-p", "to_date=2100-01-01", "-p", "mode=job",
		"--object", "clinic/today.ndjson", "--link-url", "https://files.example/get", "--link-ttl", "1h", "--isolation", "none"))
	link, err := url.Parse(receipt.Link)
	if err != nil || link.Host != "files.example" || link.Query().Get("obj") != "clinic/today.ndjson" || link.Query().Get("signature") == "" {
		t.Errorf("link %q, %v", receipt.Link, err)
	}
	if receipt.LinkExpires == nil || receipt.LinkExpires.Before(began.Add(time.Hour)) || receipt.LinkExpires.After(time.Now().Add(time.Hour)) {
		t.Errorf("it expires %v", receipt.LinkExpires)
	}
	if _, err := os.Stat(filepath.Join(os.Getenv(session.EnvBucket), "clinic", "today.ndjson")); err != nil {
		t.Error(err)
	}
}

// TestJobFails: nothing is in the bucket, and nothing on standard output.
func TestJobFails(t *testing.T) {
	bucket := t.TempDir()
	const away = "mysql://nobody:geheim@127.0.0.1:1/x"
	got := cmdtest.Call(t, "run", "appointments", "--dsn", away, "--job", "--bucket", bucket)
	if got.Code == 0 || got.Stdout != "" || strings.Contains(got.Stderr, "geheim") {
		t.Errorf("%+v", got)
	}
	if left, err := os.ReadDir(bucket); err != nil || len(left) > 0 {
		t.Errorf("left in the bucket: %v, %v", left, err)
	}
}

func TestDeliveryUsage(t *testing.T) {
	t.Setenv(session.EnvDSN, "mysql://nobody:geheim@127.0.0.1:1/x")
	for _, c := range []struct{ args, wants string }{
		{"run appointments --job -o x", `--job leaves an object in a bucket, and -o names a file`},
		{"run appointments --job -p mode=stream", `"mode" is given twice, with -p and with --job`},
		{"run testdata/visits.yaml -p since=2024-01-01 --job", `no parameter "mode", which --job sets`},
		{"run testdata/visits.yaml -p since=2024-01-01 --encrypted", `no parameter "encrypted", which --encrypted sets`},
		{"run appointments --encrypted --customer c", `secret\.encryption_keys is not set[\s\S]*CIPHERSTREAM_KEYS, or give --secret encryption_keys=SOURCE`},
		{"run appointments --encrypted --secret encryption_keys=file:x", `cannot be read|no such file`},
		{"plan appointments --encrypted", `give --customer ID`},
		{"run appointments --secret dsn=env:X", `--secret does not take dsn`},
		{"run appointments --secret Z2VoZWlt", `--secret takes NAME=SOURCE`},
		{"run appointments --secret a=env:X --secret a=env:Y", `secret "a" is given twice`},
		{"run appointments --job --bucket ftp://x/y", `error\[sink\.bucket\]`},
		{"run appointments --job --link-ttl 48h", `error\[sink\.link_ttl\]`},
		{"run appointments --job --object ../x", `error\[sink\.key\]`},
		{"run appointments --job --link-url https://x", `error\[sink\.link\]`},
		{"run appointments --job --bucket s3://x --object-encryption rot13", `encryption`},
	} {
		got := cmdtest.Call(t, strings.Fields(c.args)...)
		if got.Code == 0 || got.Stdout != "" || !regexp.MustCompile(c.wants).MatchString(got.Stderr) {
			t.Errorf("%s: %+v, want %s", c.args, got, c.wants)
		}
		if strings.Contains(got.Stderr, "geheim") || strings.Contains(got.Stderr, "Z2VoZWlt") {
			t.Errorf("%s shows a secret: %s", c.args, got.Stderr)
		}
	}
}
