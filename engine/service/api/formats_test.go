package api

import (
	"fmt"
	"strings"
	"testing"
)

// TestForms holds the table of headers against the specification, row by row.
func TestForms(t *testing.T) {
	t.Parallel()
	types := map[string]string{"ndjson": "application/x-ndjson", "json": "application/json", "csv": "text/csv; charset=utf-8; header=present",
		"parquet": "application/vnd.apache.parquet", "arrow": "application/vnd.apache.arrow.file"}
	seen := map[string]bool{}
	for _, f := range Forms() {
		id := fmt.Sprint(f.Format, " ", f.Compression, " ", f.Sealed, " ", f.Job)
		if seen[id] {
			t.Errorf("%s stands twice", id)
		}
		seen[id] = true
		contentType, encoding, file, entry := types[f.Format], "", "r."+f.Format, "r"
		ending := map[string]string{"gzip": ".gz", "zstd": ".zst"}[f.Compression]
		switch {
		case f.Compression == "zip":
			contentType, file = "application/zip", "r.zip"
			if entry = "r." + f.Format; f.Sealed {
				entry = "r.ndjson"
			}
		case f.Sealed && f.Format != "ndjson":
			contentType, file = "application/x-ndjson", "r."+f.Format+ending+".sealed.ndjson"
		case f.Job:
			file += ending
		case f.Compression != "none":
			encoding = f.Compression
		}
		if f.ContentType != contentType || f.ContentEncoding != encoding || f.FileName("r") != file || f.EntryName("r") != entry {
			t.Errorf("%s: %s, %q, %s, %s; want %s, %q, %s, %s", id, f.ContentType, f.ContentEncoding, f.FileName("r"), f.EntryName("r"), contentType, encoding, file, entry)
		}
		if f.Job && f.ContentEncoding != "" {
			t.Errorf("%s: an object has a Content-Encoding", id)
		}
	}
	if len(seen) != 5*4*2*2 {
		t.Errorf("%d rows", len(seen))
	}
}

// TestErrorTable: every code once, with all that customers are told; and no fault stands for two of them.
func TestErrorTable(t *testing.T) {
	t.Parallel()
	codes, inner := map[Code]bool{}, map[string]Code{}
	for _, e := range Errors() {
		if codes[e.Code] || e.Meaning == "" || e.Suggestion == "" || e.Status < 400 || strings.ToUpper(string(e.Code)) != string(e.Code) {
			t.Errorf("%+v", e)
		}
		codes[e.Code] = true
		for _, i := range e.inner {
			if other, twice := inner[i]; twice {
				t.Errorf("%s is %s and %s", i, other, e.Code)
			}
			inner[i] = e.Code
		}
		if e.Status == 503 && !e.Retryable && e.Code != TimeLimit && e.Code != SealingExhausted && e.Code != JobsNotAvailable && e.Code != WebhooksUnavailable &&
			e.Code != DataStreamUnavailable {
			t.Errorf("%s passes, and is not to be tried again", e.Code)
		}
	}
}
