package repo

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/docs"
	"github.com/cipherstream/cipherstream/integration/faultcodes"
)

// composed are the codes that a file puts together as the program runs.
var composed = map[string][]string{
	"engine/install/verify.go":              {"plugin.name", "plugin.version"},
	"engine/service/changes/post.go":        {"changes.address", "changes.connection", "changes.dns", "changes.stopped", "changes.timeout", "changes.tls"},
	"plugins/internal/compress/compress.go": {"gzip.compressed_input", "zip.compressed_input", "zstd.compressed_input"},
	"plugins/internal/rowkey/rowkey.go": {"deduplicate.ambiguous", "deduplicate.float_key", "deduplicate.unfit_key", "deduplicate.unknown_column",
		"sample.ambiguous", "sample.float_key", "sample.unfit_key", "sample.unknown_column"},
}

// handed are codes that a file hands on in a way that syntax alone does not show.
var handed = map[string][]string{
	"engine/service/store/deliverystep.go": {"webhook.breaker_open", "webhook.disabled"}, // what Condemned gives
	"sdk/config/check.go":                  {"config.invalid_value"},                     // what the check of a stage's author gives
}

// noCodes look as a code where one could stand.
var noCodes = []string{"job.progress"}

// TestFaultTable holds that the table of faults has every code that the tree uses, and no other, each once, with its
// meaning and what to do.
func TestFaultTable(t *testing.T) {
	t.Parallel()
	tree, err := faultcodes.Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]string{} // a place, by code
	for _, u := range tree.Uses {
		used[u.Code] = u.File
	}
	for _, file := range tree.Composed {
		if composed[file] == nil {
			t.Errorf("%s puts a code together, so that nobody finds it: name it, or say here which codes it makes", file)
		}
	}
	for file, codes := range composed {
		if !slices.Contains(tree.Composed, file) {
			t.Errorf("%s puts no code together any more", file)
		}
		for _, code := range codes {
			used[code] = file
		}
	}
	for file, codes := range handed {
		for _, code := range codes {
			if !strings.Contains(read(t, file), strconv.Quote(code)) {
				t.Errorf("%s does not have %s any more", file, code)
			}
			used[code] = file
		}
	}
	for _, text := range noCodes {
		if used[text] == "" {
			t.Errorf("%q stands nowhere any more where a code could", text)
		}
		delete(used, text)
	}
	documented := map[string]bool{}
	for _, f := range docs.Faults() {
		if f.Topic != docs.FaultsTopic {
			continue
		}
		if documented[f.Code] {
			t.Errorf("docs/faults.md has %s twice", f.Code)
		}
		documented[f.Code] = true
		if used[f.Code] == "" {
			t.Errorf("docs/faults.md has %s, which nothing uses", f.Code)
		}
		for _, text := range []string{f.Meaning, f.Remedy} {
			if !strings.HasSuffix(text, ".") || strings.ToUpper(text[:1]) != text[:1] {
				t.Errorf("docs/faults.md: %s: expected a sentence, not %q", f.Code, text)
			}
		}
	}
	for code, file := range used {
		if !documented[code] {
			t.Errorf("%s uses %s, which docs/faults.md does not have: add a row with its meaning and what to do", file, code)
		}
	}
}
