package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/servers"
)

// practice is the size of the practice that every pipeline is run on.
var practice = []string{"--patients", "250", "--appointments", "2500"}

// serveSandbox starts the embedded server for the test and returns its URL.
func (w *workspace) serveSandbox(args ...string) string {
	w.Helper()
	cmd := w.command(append([]string{"sandbox", "--json"}, args...)...)
	cmd.Env = append(cmd.Env, "CIPHERSTREAM_DSN=")
	reader, writer, err := os.Pipe()
	if err != nil {
		w.Fatal(err)
	}
	defer writer.Close()
	cmd.Stdout = writer
	ended := w.beginFor(cmd, time.Hour) // as long as the test lasts
	w.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		<-ended
		reader.Close()
	})
	var said struct{ DSN string }
	if err := json.NewDecoder(reader).Decode(&said); err != nil || said.DSN == "" {
		w.Fatalf("the sandbox says nothing: %v", err)
	}
	return said.DSN
}

// declared is what describe says about a pipeline.
type declared struct {
	Name       string
	Class      string
	Parameters []struct{ Name string }
	Columns    []struct{ Name string }
}

func (w *workspace) describe(name string) (d declared) {
	w.Helper()
	r := w.run("describe", name, "--json")
	if err := json.Unmarshal(r.stdout, &d); err != nil {
		w.Fatalf("describe %s: %v\n%s", name, err, r.stderr)
	}
	return d
}

// calls are the ways to ask for all there is: one for each date modifier, where there
// is one.
func (d declared) calls() (calls [][]string) {
	has := map[string]bool{}
	for _, p := range d.Parameters {
		has[p.Name] = true
	}
	switch {
	case d.Name == "custom_table":
		return [][]string{{"-p", "table_name=invoice"}, {"-p", "procedure_name=items", "-p", "arguments=[]"}}
	case has["date_as_at"]:
		for _, day := range []string{"2024-06-30", "2025-12-31"} {
			calls = append(calls, []string{"-p", "date_as_at=" + day, "-p", "date_for_due_days=" + day, "-p", "due_date_upto=" + day})
		}
		return calls
	case has["date_modifier"]:
		for _, modifier := range []string{"All", "Created", "Updated"} {
			calls = append(calls, []string{"-p", "from_date=1900-01-01", "-p", "to_date=2099-12-31", "-p", "date_modifier=" + modifier})
		}
		return calls
	}
	return [][]string{nil}
}

// TestEveryPipeline runs the whole catalogue on the sandbox, on MariaDB and on MySQL with
// the same data: each pipeline gives rows, the columns of its contract in their order,
// and the same bytes.
func TestEveryPipeline(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	real := newWorkspace(t, db.DSN(db.Database()))
	real.must(append([]string{"sandbox", "load"}, practice...)...)
	other := servers.MySQL(t)
	mysql := newWorkspace(t, other.DSN(other.Database()))
	mysql.must(append([]string{"sandbox", "load"}, practice...)...)
	embedded := newWorkspace(t, "")
	embedded.dsn = embedded.serveSandbox(practice...)

	var list struct{ Pipelines []struct{ Name string } }
	if err := json.Unmarshal(real.run("list", "--json").stdout, &list); err != nil || len(list.Pipelines) != 39 {
		t.Fatalf("%d pipelines, %v", len(list.Pipelines), err)
	}
	for _, p := range list.Pipelines {
		t.Run(p.Name, func(t *testing.T) {
			real, mysql, embedded := real.with(t), mysql.with(t), embedded.with(t)
			d := real.describe(p.Name)
			for i, call := range d.calls() {
				formats := []string{"ndjson"}
				if i == 0 {
					// Its types are in the file.
					formats = append(formats, "parquet")
				}
				for _, format := range formats {
					args := append([]string{"run", p.Name, "-f", format, "--isolation", "none"}, call...)
					want := real.must(args...)
					for server, w := range map[string]*workspace{"the sandbox": embedded, "MySQL": mysql} {
						if got := w.must(args...); !bytes.Equal(got, want) {
							t.Errorf("%v: %s gives %d bytes, and MariaDB %d%s", args, server, len(got), len(want), firstDifference(got, want))
						}
					}
					if format == "ndjson" {
						hasContract(t, d, want)
					}
				}
			}
		})
	}
}

// hasContract holds that there are rows, and that they have the columns of the contract.
func hasContract(t testing.TB, d declared, output []byte) {
	t.Helper()
	if len(output) == 0 {
		t.Error("no rows")
		return
	}
	if len(d.Columns) == 0 {
		return
	}
	first, _, _ := bytes.Cut(output, []byte("\n"))
	decoder := json.NewDecoder(bytes.NewReader(first))
	var names []string
	for depth := 0; ; {
		token, err := decoder.Token()
		if err != nil {
			break
		}
		if delim, ok := token.(json.Delim); ok {
			if delim == '{' {
				depth++
			}
			continue
		}
		if name, ok := token.(string); ok && depth == 1 {
			names = append(names, name)
			// Its value.
			if _, err := decoder.Token(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var want []string
	for _, c := range d.Columns {
		want = append(want, c.Name)
	}
	if strings.Join(names, ",") != strings.Join(want, ",") {
		t.Errorf("fields %v, and the contract has %v", names, want)
	}
}

// firstDifference shows the first lines that differ.
func firstDifference(a, b []byte) string {
	left, right := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	for i := range min(len(left), len(right)) {
		if !bytes.Equal(left[i], right[i]) {
			return ":\n" + string(left[i]) + "\n" + string(right[i])
		}
	}
	return ""
}
