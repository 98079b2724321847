package nodeplugin

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPipeline runs the example's pipeline on the sandbox's rows. What it should give is made of the same rows, read
// without the plugin: the addresses and numbers stand in columns of their own, so no pattern is needed to find them.
func TestPipeline(t *testing.T) {
	w := newWorkspace(t)
	path := absolute(t, filepath.Join(sources, "recall_notes.yaml"))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	plain := regexp.MustCompile(`(?s)SELECT .* FROM recall`).ReplaceAllString(string(text),
		"SELECT r.recall_id, r.recall_date, r.recall_status, p.postcode, p.mobile, p.email, COALESCE(r.notes, '') FROM recall")
	plain = regexp.MustCompile(`(?s)    filter:.*    encoder:`).ReplaceAllString(plain, "    encoder:")
	source := filepath.Join(t.TempDir(), "plain.yaml")
	w.write(source, []byte(plain))
	sandbox := []string{"--sandbox", "--sandbox-scale", "0.5", "--progress", "none"}

	rows := w.table(w.must(append([]string{"run", source}, sandbox...)...))
	redacted := 0
	var want [][]string
	for i, row := range rows {
		mobile, email, notes := row[4], row[5], row[6]
		switch {
		case i == 0:
			notes = "notes"
		case mobile == "" || email == "":
			notes = "" // CONCAT of a NULL
		default:
			redacted += 2
			notes = "Rang [phone], wrote to [email]. " + notes
		}
		want = append(want, append(row[:4:4], notes))
	}
	if len(want) < 500 || redacted < 500 {
		t.Fatalf("the sandbox gave %d rows with %d to redact; the test needs more", len(want), redacted)
	}
	for _, isolation := range []string{"group", "stage"} {
		got := w.table(w.must(append([]string{"run", path, "--isolation", isolation}, sandbox...)...))
		if len(got) != len(want) {
			t.Fatalf("isolation %s: %d rows, want %d", isolation, len(got), len(want))
		}
		for i := range want {
			if strings.Join(got[i], "|") != strings.Join(want[i], "|") {
				t.Fatalf("isolation %s: row %d is\n%q, want\n%q", isolation, i, got[i], want[i])
			}
		}
	}
}

func (w *workspace) table(text string) [][]string {
	w.Helper()
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		w.Fatalf("no CSV came: %v", err)
	}
	return rows
}

// TestTexts: what is found in a text, and that all else stays as it is, byte for byte.
func TestTexts(t *testing.T) {
	w := newWorkspace(t)
	cases := [][2]string{
		{"", ""},
		{"Nothing to see, 42 of 2024-02-29 at 12:30.", "Nothing to see, 42 of 2024-02-29 at 12:30."},
		{"rang 0412 345 678, 0412345678 and +61 412 345 678", "rang [phone], [phone] and [phone]"},
		{"(02) 9876 5432; 02-9876-5432; +61 (0)2 9876 5432", "[phone]; [phone]; [phone]"},
		{"invoice 10412345678, code A0412345678", "invoice 10412345678, code A0412345678"},
		{"<jo.o'neil+x@mail.example.com>, žofie@príklad.sk.", "<jo.o'[email]>, [email]."},
		{"@reception, a@b, a@b.c, @example.org", "@reception, a@b, a@b.c, @example.org"},
		{"card 2123 45670 1 and 2123 45670 1/2", "card [medicare] and [medicare]"},
		{"card 2123 45671 1 has a wrong check digit", "card 2123 45671 1 has a wrong check digit"},
		{"\ufeffa mark in front, \u0000 and \U0001fa7a 漢字 behind jo@example.org\r\n", "\ufeffa mark in front, \u0000 and \U0001fa7a 漢字 behind [email]\r\n"},
		{strings.Repeat("a", 300_000), strings.Repeat("a", 300_000)},
		{strings.Repeat("0412 345 678 ", 20_000), strings.Repeat("[phone] ", 20_000)},
		{strings.Repeat("2-", 100_000), strings.Repeat("2-", 100_000)},
	}
	var rows, want strings.Builder
	for i, c := range cases {
		for _, line := range []struct {
			to   *strings.Builder
			text string
		}{{&rows, c[0]}, {&want, c[1]}} {
			quoted, err := json.Marshal(line.text)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(line.to, `{"id":%d,"text":%s,"other":%s,"nothing":null}`+"\n", i, quoted, `"jo@example.org"`)
		}
	}
	source := filepath.Join(t.TempDir(), "rows.ndjson")
	w.write(source, []byte(rows.String()))
	path := w.pipeline(`{use: ndjson, with: {path: `+source+`, columns: [{name: id, type: int64}, {name: text, type: string}, {name: other, type: string}, {name: nothing, type: string}]}}`,
		`{use: redact/text, with: {columns: [text, nothing]}}`)
	got := strings.Split(w.must("run", path, "--progress", "none"), "\n")
	for i, line := range strings.Split(want.String(), "\n") {
		var w, g any
		if i >= len(got) || line != "" && (json.Unmarshal([]byte(line), &w) != nil || json.Unmarshal([]byte(got[i]), &g) != nil) || fmt.Sprint(w) != fmt.Sprint(g) {
			t.Errorf("row %d: %.300q, want %.300q", i, got[min(i, len(got)-1)], line)
		}
	}
}

// TestGroup: two stages of the plugin that stand next to each other share its process; each counts for itself.
func TestGroup(t *testing.T) {
	w := newWorkspace(t)
	source := filepath.Join(t.TempDir(), "rows.ndjson")
	w.write(source, []byte(strings.Repeat(`{"a":"jo@example.org, 0412 345 678","b":{"call":"0412 345 678"}}`+"\n", 1000)))
	path := w.pipeline(`{use: ndjson, with: {path: `+source+`, json_columns: embed, columns: [{name: a, type: string}, {name: b, type: json}]}}`,
		`[{use: redact/text, with: {columns: [a], kinds: [email]}}, {use: redact/text, with: {kinds: [phone]}}]`)
	out := filepath.Join(w.out, "rows")
	var processes []string
	counters := map[string]int64{}
	r := w.watched([]string{"run", path, "-o", out}, func(e event) {
		for _, p := range e.Processes {
			processes = append(processes, p.Plugin)
		}
		if e.Event == "ended" {
			counters = e.Receipt.Counters
		}
	})
	if r.code != 0 || len(processes) != 3 || processes[1] != "redact" || counters["filter-1.redacted"] != 1000 || counters["filter-2.redacted"] != 2000 {
		t.Errorf("it ended with %d, processes %v, counters %v\n%s", r.code, processes, counters, r.stderr)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	// The document is plain text now.
	if want := strings.Repeat(`{"a":"[email], [phone]","b":"{\"call\":\"[phone]\"}"}`+"\n", 1000); string(got) != want {
		t.Errorf("it gave %.200s…", got)
	}
}
