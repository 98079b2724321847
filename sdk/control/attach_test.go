package control

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAttachRequest(t *testing.T) {
	const certificate = `"` + EnvHostCertificate + `": "pem"`
	for _, c := range []struct{ line, want string }{
		{`{"environment": {` + certificate + `, "PLUGIN_TEST_VARIABLE": "1"}}` + "\n", ""},
		{`{"environment": {` + certificate + `}, "later": true}` + "\nmore", ""},
		{`{"environment": {` + certificate + `, "LD_PRELOAD": "x"}}` + "\n", `the run wants to set the variable "LD_PRELOAD"`},
		{`{"environment": {}}` + "\n", "the run sent no certificate"},
		{"HTTP/1.1 200 OK\n", "what waits there is not a run of cipherstream"},
		{`{"environment": {` + certificate + `}}`, "the run ended before it said what it wants"},
		{"", "the run ended before it said what it wants"},
		{strings.Repeat("x", MaxAttachRequest) + "\n", "the run ended before it said what it wants"},
	} {
		t.Setenv("PLUGIN_TEST_VARIABLE", "")
		t.Setenv(EnvHostCertificate, "")
		got := ""
		if err := readAttachRequest(strings.NewReader(c.line)); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%.60q: got %q, want %q", c.line, got, c.want)
		}
		if set := os.Getenv(EnvHostCertificate); (set == "pem") != (c.want == "") {
			t.Errorf("%.60q: the certificate is %q", c.line, set)
		}
		if os.Getenv("LD_PRELOAD") == "x" {
			t.Error("a variable was set that must not be")
		}
	}
}

func TestMeetingPlace(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "csattach")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "a")
	if _, err := attach(path); err == nil || !strings.Contains(err.Error(), "no run waits there any more") {
		t.Errorf("no socket: got %v", err)
	}
	if _, err := attach(filepath.Join(dir, "gone", "a")); err == nil || err.Error() != "no run waits there any more" {
		t.Errorf("no folder: got %v", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, mode := range []os.FileMode{0o755, 0o701, 0o770} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := attach(path); err == nil || !strings.Contains(err.Error(), "is not a directory of this user alone") {
			t.Errorf("mode %o: got %v", mode, err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := attach(filepath.Join(link, "a")); err == nil || !strings.Contains(err.Error(), "is not a directory of this user alone") {
		t.Errorf("by a link: got %v", err)
	}
}
