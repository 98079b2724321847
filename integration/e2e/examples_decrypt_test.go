package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/python"
)

// decryptors are the programs under examples/decrypt, as a customer starts them.
func decryptors(t testing.TB) map[string][]string {
	t.Helper()
	root, err := filepath.Abs("../../examples/decrypt")
	if err != nil {
		t.Fatal(err)
	}
	inGo := filepath.Join(t.TempDir(), "decrypt")
	if out, err := exec.Command("go", "build", "-o", inGo, root).CombinedOutput(); err != nil {
		t.Fatalf("the decryptor in Go cannot be built: %v\n%s", err, out)
	}
	// What python3 starts in the end, where a version manager stands in front of it.
	inPython := strings.TrimSpace(string(python.Script(t, "import sys; print(sys.executable)", nil)))
	return map[string][]string{
		"go":     {inGo},
		"python": {inPython, filepath.Join(root, "decrypt.py")},
		"node":   {"node", filepath.Join(root, "decrypt.mjs")},
	}
}

// unsealed runs a decryptor on a delivery.
func unsealed(t testing.TB, command []string, args ...string) (stdout []byte, stderr string, err error) {
	t.Helper()
	path, err := exec.LookPath(command[0])
	if err != nil {
		t.Fatalf("%s is needed to open deliveries as customers do (make deps installs it): %v", command[0], err)
	}
	cmd := exec.Command(path, append(command[1:], args...)...)
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	err = cmd.Run()
	return out.Bytes(), errors.String(), err
}

// TestExampleDecryptors opens deliveries with the programs that customers are shown, and has them refuse bad ones.
func TestExampleDecryptors(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	w.must("sandbox", "load", "--patients", "1500", "--appointments", "1500")
	oldKey, key := newKey(), newKey()
	w.env = append(w.env, "CIPHERSTREAM_KEYS="+key)
	const customer = "clinic-7"
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keys := write("keys.txt", []byte(oldKey+"\n"+key+"\n"))
	programs := decryptors(t)

	const everything, nothing = "1990-01-01", "9000-01-01"
	make := func(format, compression, from string, sealed bool) string {
		path := filepath.Join(dir, fmt.Sprintf("%s-%s-%s-%t", format, compression, from, sealed))
		args := []string{"run", "patients", "-p", "from_date=" + from, "-p", "to_date=9999-01-01", "-f", format, "-c", compression, "-o", path}
		if sealed {
			args = append(args, "--encrypted", "--customer", customer, "--summary", path+".receipt.json")
		}
		w.must(args...)
		return path
	}
	for _, delivery := range []struct{ format, compression, from string }{
		{"ndjson", "none", everything}, {"ndjson", "gzip", everything}, {"ndjson", "zip", everything},
		{"ndjson", "none", nothing}, {"ndjson", "gzip", nothing}, {"ndjson", "zip", nothing},
		{"csv", "none", everything}, {"csv", "gzip", everything}, {"parquet", "none", everything}, {"csv", "none", nothing},
		{"csv", "zip", everything}, {"parquet", "zip", everything}, {"csv", "zip", nothing},
	} {
		compression := delivery.compression
		switch {
		case delivery.format == "ndjson":
			compression = "none" // it was compressed after it was sealed
		case compression == "zip":
			compression = "gzip" // which is what the lines in the archive hold
		}
		want := readFile(t, make(delivery.format, compression, delivery.from, false))
		sealed := make(delivery.format, delivery.compression, delivery.from, true)
		for language, program := range programs {
			got, stderr, err := unsealed(t, program, "--customer", customer, "--keys", keys, "--receipt", sealed+".receipt.json", sealed)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %v: %d bytes, want %d; %v\n%s", language, delivery, len(got), len(want), err, stderr)
			}
		}
	}

	sealed := make("ndjson", "none", everything, true)
	lines := bytes.SplitAfter(readFile(t, sealed), []byte("\n"))
	swapped := bytes.Join([][]byte{lines[0], lines[2], lines[1]}, nil)
	altered := bytes.Clone(bytes.Join(lines[:3], nil))
	at := len(lines[0]) + len(lines[1]) - 20
	if altered[at] == 'A' {
		altered[at] = 'B'
	} else {
		altered[at] = 'A'
	}
	zipped := readFile(t, make("ndjson", "zip", everything, true))
	for _, bad := range []struct {
		what, customer, keys string
		delivery             []byte
		says                 string
	}{
		{"two lines are swapped", customer, keys, swapped, "line 1: altered, out of its place"},
		{"a line is missing", customer, keys, bytes.Join(append(lines[:1:1], lines[2]), nil), "line 1: altered, out of its place"},
		{"a letter is another", customer, keys, altered, "line 1: altered, out of its place"},
		{"another customer's", "clinic-8", keys, lines[0], "line 0: altered, out of its place"},
		{"another key", customer, write("old.txt", []byte(oldKey)), lines[0], "is not among yours"},
		{"cut off in a line", customer, keys, bytes.Join(lines[:3], nil)[:len(lines[0])+50], "cut off"},
		{"no envelope", customer, keys, []byte("{\"patient_id\":1}\n"), ""},
		{"cut off in the archive", customer, keys, zipped[:len(zipped)/2], ""},
	} {
		delivery := write("bad", bad.delivery)
		for language, program := range programs {
			_, stderr, err := unsealed(t, program, "--customer", bad.customer, "--keys", bad.keys, delivery)
			if err == nil || !strings.Contains(stderr, bad.says) || strings.Contains(stderr, key) {
				t.Errorf("%s, %s: %v\n%s", language, bad.what, err, stderr)
			}
		}
	}
	// What only the receipt can tell: lines are missing at the end.
	short := write("short", bytes.Join(lines[:len(lines)-2], nil))
	for language, program := range programs {
		got, stderr, err := unsealed(t, program, "--customer", customer, "--keys", keys, "--receipt", sealed+".receipt.json", short)
		if err == nil || len(got) > 0 || !strings.Contains(stderr, "not the one of the receipt, or not all of it") {
			t.Errorf("%s, with the receipt of a longer one: %v, %d bytes\n%s", language, err, len(got), stderr)
		}
	}
	// A receipt that somebody wrote who lacks the key, one that was altered, another run's.
	receipt := string(readFile(t, sealed+".receipt.json"))
	var told struct {
		RunID string `json:"run_id"`
		MAC   string
	}
	if err := json.Unmarshal([]byte(receipt), &told); err != nil || len(told.MAC) != 64 {
		t.Fatalf("receipt %s: %v", receipt, err)
	}
	for _, bad := range []struct{ what, receipt, run, says string }{
		{"other mac", strings.Replace(receipt, told.MAC, strings.Repeat("0", 64), 1), "", "the receipt is forged"},
		{"other statement", strings.Replace(receipt, `{\"bytes\":`, `{\"bytes\":1`, 1), "", "the receipt is forged"},
		{"other form", strings.Replace(receipt, `{\"bytes\":`, `{\"bytes\": `, 1), "", "not in its canonical form"},
		{"no mac", strings.Replace(receipt, `"mac"`, `"none"`, 1), "", "is not authenticated"},
		{"another run", receipt, told.RunID + "0", "this is the delivery of run " + told.RunID},
		{"this run", receipt, told.RunID, ""},
	} {
		path := write("receipt.json", []byte(bad.receipt))
		for language, program := range programs {
			args := []string{"--customer", customer, "--keys", keys, "--receipt", path, sealed}
			if bad.run != "" {
				args = append([]string{"--expect-run", bad.run}, args...)
			}
			got, stderr, err := unsealed(t, program, args...)
			if bad.says == "" && (err != nil || len(got) == 0) || bad.says != "" && (err == nil || len(got) > 0 || !strings.Contains(stderr, bad.says)) {
				t.Errorf("%s, %s: %v, %d bytes\n%s", language, bad.what, err, len(got), stderr)
			}
		}
	}
}

// TestReceiptVector: the programs that customers are shown take the test vector of RECEIPT.md, of a delivery of nothing.
func TestReceiptVector(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../sdk/envelope/RECEIPT.md")
	if err != nil {
		t.Fatal(err)
	}
	vector := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^([a-z ]+):\n\n    (.+)$").FindAllStringSubmatch(string(text), -1) {
		vector[m[1]] = m[2]
	}
	dir := t.TempDir()
	receipt, err := json.Marshal(map[string]string{"statement": vector["statement"], "mac": vector["mac"]})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"keys": vector["key"] + "\n", "receipt": string(receipt), "delivery": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for language, program := range decryptors(t) {
		if _, stderr, err := unsealed(t, program, "--customer", "clinic-7", "--keys", filepath.Join(dir, "keys"),
			"--receipt", filepath.Join(dir, "receipt"), filepath.Join(dir, "delivery")); err != nil {
			t.Errorf("%s: %v\n%s", language, err, stderr)
		}
	}
}
