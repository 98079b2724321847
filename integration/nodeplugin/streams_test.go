package nodeplugin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/wire"
)

// TestStreamsOfArrowJS reads what another Arrow library makes of vectors of its own, sliced ones too, which a plugin may
// well send.
func TestStreamsOfArrowJS(t *testing.T) {
	want := map[string][4]string{ // as Go's arrays print their values
		"null":         {"(null)", "(null)", "(null)", "(null)"},
		"bool":         {"true", "(null)", "false", "true"},
		"int8":         {"1", "-1", "(null)", "127"},
		"int64":        {"1", "(null)", "-9223372036854775808", "4"},
		"uint64":       {"1", "(null)", "18446744073709551615", "4"},
		"float64":      {"1.5", "(null)", "2", "3"},
		"text":         {"a", "(null)", "", "žluť"},
		"large_text":   {"a", "(null)", "", "žluť"},
		"binary":       {"AQI=", "(null)", "", "/w=="},
		"fixed_binary": {"AQI=", "(null)", "BAU=", "Bwg="},
		"date":         {"1970-01-01", "(null)", "2024-02-29", "1969-12-31"},
		"timestamp":    {"1970-01-01 00:00:00Z", "(null)", "1970-01-01 00:00:00.001Z", "1970-01-01 00:00:00.002Z"},
		"time":         {"00:00:00.000000", "(null)", "00:00:00.000001", "00:00:00.000002"},
		"duration":     {"0us", "(null)", "1us", "2us"},
		"decimal":      {"0.01", "(null)", "0.05", "0.06"},
		"decimal256":   {"1", "(null)", "5", "6"},
		"list":         {"[1,2]", "(null)", "[]", "[3]"},
		"fixed_list":   {"[1,2]", "(null)", "[4,5]", "[3,6]"},
		"struct":       {`{"x":1,"y":"a"}`, "(null)", `{"x":2,"y":null}`, `{"x":3,"y":"c"}`},
		"map":          {`[{"key":"a","value":1}]`, "(null)", "[]", `[{"key":"b","value":null},{"key":"c","value":3}]`},
	}
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(plugin(t), "node_modules"), filepath.Join(dir, "node_modules")); err != nil { // with apache-arrow
		t.Fatal(err)
	}
	script := filepath.Join(dir, "streams.mjs")
	if err := copyFile(script, "testdata/streams.mjs"); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command("node", script)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	read := 0
	for line := range strings.Lines(string(out)) {
		var given struct {
			Name, Form string
			Stream     []byte
		}
		if err := json.Unmarshal([]byte(line), &given); err != nil {
			t.Fatal(err)
		}
		values := want[given.Name]
		expected := map[string][]string{"whole": values[:], "slice": values[1:], "empty": nil, "chunks": append(values[:4:4], values[:]...)}[given.Form]
		got, err := readColumn(given.Stream)
		if err != nil || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", expected) {
			t.Errorf("%s, %s: %q, %v; want %q", given.Name, given.Form, got, err, expected)
		}
		read++
	}
	if read != 4*len(want) {
		t.Errorf("%d streams came, want %d", read, 4*len(want))
	}
}

func readColumn(stream []byte) (values []string, _ error) {
	reader, err := wire.NewReader(bytes.NewReader(stream))
	if err != nil {
		return nil, err
	}
	for {
		rec, err := reader.Read()
		if err == io.EOF {
			return values, nil
		}
		if err != nil {
			return values, err
		}
		for i := range int(rec.NumRows()) {
			values = append(values, rec.Column(0).ValueStr(i))
		}
		rec.Release()
	}
}
