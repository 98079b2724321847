package examples

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	built "github.com/cipherstream/cipherstream/integration/program"
)

const clinic = "../../examples/plugins/clinic"

// at runs a program in a folder and returns what it printed.
func at(t *testing.T, dir, program string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	// The example's own module decides, and nothing is fetched that is not there.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	err = cmd.Run()
	return out.String(), errors.String(), err
}

func must(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	stdout, stderr, err := at(t, dir, program, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(program), strings.Join(args, " "), err, stdout, stderr)
	}
	return stdout
}

// visits is a dBASE table of three rows, its texts in code page 850.
func visits() []byte {
	table := []byte("\x03\x7c\x06\x1e\x03\x00\x00\x00\xc1\x00\x21\x00" + strings.Repeat("\x00", 20))
	for _, f := range []struct {
		name, kind  string
		size, scale byte
	}{{"CODE", "N", 6, 0}, {"NAME", "C", 8, 0}, {"FEE", "N", 9, 2}, {"BORN", "D", 8, 0}, {"ACTIVE", "L", 1, 0}} {
		descriptor := make([]byte, 32)
		copy(descriptor, f.name)
		copy(descriptor[11:], f.kind)
		descriptor[16], descriptor[17] = f.size, f.scale
		table = append(table, descriptor...)
	}
	return append(table, "\r"+
		"      1Zo\x89         12.5019840229T"+
		"*   -20            -0.05        n"+
		"       a  b             20010101?\x1a"...)
}

// TestClinic does what the README of the example says, and delivers a table by HTTP.
func TestClinic(t *testing.T) {
	dir := t.TempDir()
	program, plugins := filepath.Join(dir, "clinic"), filepath.Join(dir, "plugins")
	cipherstream, err := built.Path()
	if err != nil {
		t.Fatal(err)
	}
	must(t, clinic, "go", "vet", "./...")
	must(t, clinic, "go", "test", "./...")
	must(t, clinic, "go", "build", "-o", program, ".")

	if out := must(t, clinic, cipherstream, "plugin", "test", program, "--stage", "filter/age-band", "--settings", "clinic.test.yaml"); !strings.Contains(out, "filter/age-band") {
		t.Errorf("plugin test printed:\n%s", out)
	}
	if _, stderr, err := at(t, clinic, cipherstream, "plugin", "install", program, "--plugins", plugins); err == nil || !strings.Contains(stderr, "--allow-network") {
		t.Errorf("installed without the network that it asks for: %v\n%s", err, stderr)
	}
	exports := t.TempDir()
	must(t, clinic, cipherstream, "plugin", "install", program, "--allow-network", "--allow-files", exports, "--plugins", plugins)
	must(t, clinic, cipherstream, "lint", "pipelines/age_profile.yaml", "pipelines/old_visits.yaml", "--plugins", plugins)
	must(t, clinic, cipherstream, "test", "pipelines/age_profile.test.yaml", "--plugins", plugins)

	profile := must(t, clinic, cipherstream, "run", "pipelines/age_profile.yaml", "--plugins", plugins, "--sandbox", "-p", "as_at=2024-06-30")
	lines := strings.Split(strings.TrimSuffix(profile, "\r\n"), "\r\n")
	line := regexp.MustCompile(`^("[^"]*"|[^,"]*),[A-Z]*,([0-9]+-[0-9]+|90\+|)$`)
	if len(lines) < 1000 || lines[0] != "suburb,state,age" {
		t.Fatalf("%d lines: %.100q", len(lines), profile)
	}
	for i, l := range lines[1:] {
		if !line.MatchString(l) {
			t.Fatalf("line %d is %q", i+2, l)
		}
	}

	var delivered []byte
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		header = r.Header
		delivered, _ = io.ReadAll(r.Body)
	}))
	defer server.Close()
	table := filepath.Join(exports, "visits.dbf")
	if err := os.WriteFile(table, visits(), 0o600); err != nil {
		t.Fatal(err)
	}
	summary := filepath.Join(dir, "summary.json")
	must(t, clinic, cipherstream, "run", "pipelines/old_visits.yaml", "--plugins", plugins, "-p", "path="+table, "-p", "url="+server.URL+"/inbox", "--summary", summary)
	var receipt struct {
		Rows     int64
		SHA256   string
		Location string
	}
	text, err := os.ReadFile(summary)
	if err == nil {
		err = json.Unmarshal(text, &receipt)
	}
	sum := sha256.Sum256(delivered)
	if err != nil || receipt.Rows != 3 || receipt.SHA256 != hex.EncodeToString(sum[:]) || receipt.Location != server.URL+"/inbox" {
		t.Errorf("the receipt is %+v, %v", receipt, err)
	}
	if header.Get("Content-Encoding") != "gzip" || header.Get("X-Content-Sha256") != receipt.SHA256 {
		t.Errorf("headers: %v", header)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(delivered))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(unpacked)
	const want = `{"CODE":1,"NAME":"Zoë","FEE":"12.50","BORN":"1984-02-29","ACTIVE":true,"is_deleted":false}
{"CODE":-20,"NAME":"","FEE":"-0.05","BORN":null,"ACTIVE":false,"is_deleted":true}
{"CODE":null,"NAME":"a  b","FEE":null,"BORN":"2001-01-01","ACTIVE":null,"is_deleted":false}
`
	if err != nil || string(got) != want {
		t.Errorf("delivered:\n%s\nwant:\n%s%v", got, want, err)
	}
}
