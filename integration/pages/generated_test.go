package pages

import (
	"bytes"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/api"
)

var update = flag.Bool("update", false, "write the generated pages of docs/ anew")

// folder is docs/, seen from here.
const folder = "../../docs"

// same holds a page of docs/ against what it should be.
func same(t *testing.T, name string, want []byte) {
	t.Helper()
	Hold(t, name, want, *update)
}

// quoted are codes in a table, with commas between.
func quoted(names []string) string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = "`" + name + "`"
	}
	return strings.Join(all, ", ")
}

// TestAPIFaults: the table of the HTTP API's codes is the one that it answers by.
func TestAPIFaults(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	fmt.Fprint(&b, `# Faults of the HTTP API

What the API answers with when something is wrong: `+"`error.code`"+` of the answer, and its status. A request that became a job has
the same codes in `+"`error_code`"+`. The last column but two says which [faults](faults.md) of the program become it, where there are some:
a code that ends in a dot stands for all that begin so. "Again" says that the same request may succeed later, unchanged.

| code | status | again | faults | meaning | what to do |
|---|--:|---|---|---|---|
`)
	for _, e := range api.Errors() {
		status, again := strconv.Itoa(e.Status), ""
		if e.Code == api.ClientGone {
			status = "" // nobody is there to read it
		}
		if e.Retryable {
			again = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", e.Code, status, again, quoted(e.Inner()), Cell(e.Meaning), Cell(e.Suggestion))
	}
	same(t, "api-faults.md", b.Bytes())
}
