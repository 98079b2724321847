package pages

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/plugins/bundle"
)

// example says how the example of a stage is tried.
type example struct {
	// input is the file that it reads, and holds what stands in it; without one it reads the sandbox.
	input, holds string
	// output is the file that it writes; empty for standard output.
	output string
	// args are further arguments, and shown the same for readers, where they differ.
	args, shown string
	// rows is how many are delivered; 0 is one for every patient, below 0 any but all of them.
	rows int
	// begins is what the output begins with, and has what stands in it.
	begins, has string
}

const fees = "code,fee,valid_from\r\n011,65.50,2024-01-01\r\n012,,2024-07-01\r\n"

// examples are those of the stages, by topic. Those of data streams, which a service runs, are not among them.
var examples = map[string]example{
	"source-mysql":   {rows: -1, begins: `{"patient_id":`},
	"source-csv":     {input: "fees.csv", holds: fees, rows: 2, begins: `{"code":"011","fee":"65.50","valid_from":"2024-01-01"}`},
	"source-ndjson":  {input: "fees.ndjson", holds: `{"code":"011","fee":"65.50","valid_from":"2024-01-01"}` + "\n", rows: 1, begins: "code,fee,valid_from\r\n011,65.50,"},
	"source-parquet": {input: "patients.parquet", begins: `{"patient_id":`},

	"filter-columns":     {begins: `{"key":"1","first_name":`, has: `"phone":`},
	"filter-contract":    {begins: `{"patient_id":1,"state":`},
	"filter-where":       {rows: -1, begins: `{"patient_id":`},
	"filter-mask":        {begins: `{"patient_id":1,"first_name":null,"surname":"hidden"`, has: `*`},
	"filter-derive":      {rows: -1, begins: `{"invoice_id":`, has: `"has_due_date":true`},
	"filter-limit":       {rows: 10, begins: `{"patient_id":`},
	"filter-sample":      {rows: -1, begins: `{"patient_id":`},
	"filter-deduplicate": {rows: -1, begins: `{"patient_id":1,`},

	"encoder-ndjson":  {begins: `{"patient_id":1,`},
	"encoder-csv":     {begins: "patient_id;first_name;"},
	"encoder-json":    {begins: `{"data":[`},
	"encoder-parquet": {output: "patients.parquet", begins: "PAR1"},
	"encoder-arrow":   {output: "patients.arrow", begins: "ARROW1"},

	"compressor-gzip": {output: "patients.ndjson.gz", begins: "\x1f\x8b"},
	"compressor-zip":  {output: "patients.zip", begins: "PK\x03\x04", has: "patients.ndjson"},
	"compressor-zstd": {output: "patients.ndjson.zst", begins: "\x28\xb5\x2f\xfd"},

	"encryptor-aes-256-gcm-rows": {output: "sealed.gz", args: sealing, begins: "\x1f\x8b"},
	"encryptor-aes-256-gcm":      {output: "sealed", args: sealing, begins: `{"encrypted_data":`},

	"sink-stream": {begins: `{"patient_id":1,`},
	"sink-job":    {args: `-p bucket=file://$PWD/objects?create_dir=true`, shown: `-p bucket="file://$PWD/objects?create_dir=true"`},
	"sink-sqlite": {output: "patients.db", begins: "SQLite format 3\x00"},
}

const sealing = "--customer clinic-7 --secret encryption_keys=file:keys.txt"

// tried is the command line that tries an example of a stage, from the top of the repository; empty for one that serves
// a data stream, which no command runs.
func tried(topic string) string {
	e, ok := examples[topic]
	if !ok {
		return ""
	}
	line := "cipherstream run docs/stages/" + topic + ".yaml"
	if e.input != "" {
		line += ` -p file="$PWD/` + e.input + `"`
	} else {
		line += " --sandbox"
	}
	if e.shown != "" {
		line += " " + e.shown
	} else if e.args != "" {
		line += " " + e.args
	}
	if e.output != "" {
		line += " -o " + e.output
	}
	return line
}

// TestExamplesRun: the example on the page of every stage runs, on the sandbox or on a file, and delivers what it says.
func TestExamplesRun(t *testing.T) {
	dsn := cmdtest.SmallPractice(t)
	for _, s := range bundle.Bundle("").Stages {
		topic := string(s.Kind) + "-" + s.Name
		file := filepath.Join(folder, "stages", topic+".yaml")
		t.Run(topic, func(t *testing.T) {
			e, runs := examples[topic]
			if !runs {
				plansStream(t, file, dsn)
				return
			}
			if r := cmdtest.Call(t, "lint", file); r.Code != 0 {
				t.Fatalf("lint: %+v", r)
			}
			dir := t.TempDir()
			summary := filepath.Join(dir, "receipt.json")
			args := []string{"run", file, "--summary", summary}
			if e.input == "" {
				args = append(args, "--dsn", dsn)
			} else {
				path := filepath.Join(dir, e.input)
				if err := os.WriteFile(path, []byte(e.holds), 0o600); err != nil {
					t.Fatal(err)
				}
				if e.holds == "" { // what the example of the encoder writes
					if r := cmdtest.Call(t, "run", filepath.Join(folder, "stages", "encoder-parquet.yaml"), "--dsn", dsn, "-o", path); r.Code != 0 {
						t.Fatalf("the file to read: %+v", r)
					}
				}
				args = append(args, "-p", "file="+path)
			}
			keys := strings.TrimPrefix(cmdtest.KeyFile(t, cmdtest.CurrentKey), "file:")
			args = append(args, strings.Fields(strings.NewReplacer("$PWD", dir, "keys.txt", keys).Replace(e.args))...)
			output := filepath.Join(dir, "output")
			if e.output != "" {
				output = filepath.Join(dir, e.output)
			}
			if topic != "sink-job" {
				args = append(args, "-o", output)
			}
			r := cmdtest.Call(t, args...)
			if r.Code != 0 {
				t.Fatalf("%v: %+v", args, r)
			}
			var receipt struct{ Rows int }
			if err := json.Unmarshal([]byte(cmdtest.Read(t, summary)), &receipt); err != nil {
				t.Fatal(err)
			}
			switch {
			case e.rows < 0 && (receipt.Rows == 0 || receipt.Rows == cmdtest.Patients), e.rows == 0 && receipt.Rows != cmdtest.Patients,
				e.rows > 0 && receipt.Rows != e.rows:
				t.Errorf("%d rows were delivered", receipt.Rows)
			}
			if topic == "sink-job" {
				objects, err := filepath.Glob(filepath.Join(dir, "objects", "*.parquet"))
				if err != nil || len(objects) != 1 {
					t.Fatalf("objects: %v, %v", objects, err)
				}
				return
			}
			content, err := os.ReadFile(output)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(content, []byte(e.begins)) || !bytes.Contains(content, []byte(e.has)) {
				t.Errorf("it wrote %.200q", content)
			}
		})
	}
}

// plansStream plans a pipeline of a data stream as a service does, whose sink it ends in.
func plansStream(t *testing.T, file, dsn string) {
	e, err := engine.New(t.Context(), engine.Config{FirstParty: bundle.Bundle("")})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	prepared, diags := e.PrepareFile(file)
	if prepared == nil || diags.HasErrors() {
		t.Fatalf("%v", diags)
	}
	plan, diags := prepared.Bind(engine.Inputs{
		RunID: "stream-1", End: engine.EndCallerTable, Secrets: func(name string) (string, bool) { return dsn, name == "dsn" },
	})
	if diags.HasErrors() || !plan.EndsAtCaller() || len(plan.Stages) != 2 {
		t.Errorf("%+v, %v", plan, diags)
	}
}
