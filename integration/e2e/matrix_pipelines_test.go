package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// statement is the SQL that stands for one of the calls of a pipeline, written from the
// procedures' own definitions: the arguments are in the order of their parameters, and a table
// is read in the order of its key.
func (d declared) statement(t testing.TB, call []string) string {
	t.Helper()
	given := map[string]string{}
	for i := 1; i < len(call); i += 2 {
		name, value, _ := strings.Cut(call[i], "=")
		given[name] = value
	}
	arguments := func(names ...string) string {
		var list []string
		for _, name := range names {
			if given[name] == "" {
				t.Fatalf("%v has no %s", call, name)
			}
			list = append(list, literal(given[name]))
		}
		return "CALL " + d.Name + "(" + strings.Join(list, ", ") + ")"
	}
	switch {
	case given["table_name"] != "":
		return "SELECT * FROM " + given["table_name"] + " ORDER BY " + given["table_name"] + "_id"
	case given["procedure_name"] != "":
		return "CALL " + given["procedure_name"] + "()"
	case given["date_modifier"] != "":
		return arguments("from_date", "to_date", "date_modifier")
	case given["date_as_at"] != "":
		return arguments("date_as_at", "date_for_due_days", "due_date_upto")
	}
	return "CALL " + d.Name + "()"
}

// TestMatrix runs the whole catalogue on MySQL and on MariaDB, as a stream and as a job, and
// holds every value against what go-sql-driver reads. The object, fetched by its link as anybody would, is
// the stream.
func TestMatrix(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *servers.Server) {
		d := deliveriesOf(t, s, servers.MinIO(t))
		d.must("sandbox", "load", "--patients", "120", "--appointments", "1200")
		var list struct{ Pipelines []struct{ Name string } }
		if err := json.Unmarshal(d.run("list", "--json").stdout, &list); err != nil || len(list.Pipelines) != 39 {
			t.Fatalf("%d pipelines, %v", len(list.Pipelines), err)
		}
		for _, p := range list.Pipelines {
			t.Run(p.Name, func(t *testing.T) {
				t.Parallel()
				d := d.within(t)
				about := d.describe(p.Name)
				for i, call := range about.calls() {
					columns, kinds, want := fromDriver(t, s.For(t), about.statement(t, call))
					if len(want) == 0 {
						t.Fatalf("%v: the driver reads no rows", call)
					}
					args := append([]string{p.Name}, call...)
					stream := d.must(append([]string{"run", "--isolation", "none"}, args...)...)
					compareNDJSON(t, stream, columns, kinds, want)
					if i > 0 {
						continue // another question, and no other way to an object
					}
					r := d.deliver(append(args, "--job", "--object", p.Name+".ndjson")...)
					if r.isOf(t, stream); r.Rows != int64(len(want)) {
						t.Errorf("%v: the receipt says %d rows, the driver reads %d", call, r.Rows, len(want))
					}
					if status, object := get(t, r.Link, ""); status != http.StatusOK || !bytes.Equal(object, stream) {
						t.Errorf("%v: the link gives %d and %d bytes, want %d%s", call, status, len(object), len(stream), firstDifference(object, stream))
					}
				}
			})
		}
	})
}
