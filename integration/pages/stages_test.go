package pages

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/docs"
	"github.com/cipherstream/cipherstream/integration/faultcodes"
	"github.com/cipherstream/cipherstream/plugins/bundle"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// packages are the folders of the stages, by kind and name, where the folder is not called as the stage.
var packages = map[string]string{
	"source/mysql-changes": "mysqlchanges", "source/mysql-poll": "mysqlpoll", "source/csv": "csvfile", "source/ndjson": "ndjsonfile",
	"source/parquet": "parquetfile", "encoder/arrow": "arrowipc", "encryptor/aes-256-gcm": "aesgcm", "encryptor/aes-256-gcm-rows": "aesgcm",
}

// shapes say what a stage takes and gives.
var shapes = map[stage.Shape]string{
	stage.ShapeNone:    "nothing",
	stage.ShapeTable:   "a table: record batches with typed columns",
	stage.ShapeRecords: "records: encoded rows, each with its line end",
	stage.ShapeBytes:   "bytes: consecutive pieces of one stream (records are bytes, too)",
}

// promises are what every stage of a kind guarantees.
var promises = map[stage.Kind]string{
	stage.KindSource: "A value arrives as it is stored, or the run fails with a code that says why. A stream that breaks off fails the run; it is never " +
		"taken for its end.",
	stage.KindFilter:     "No value is changed but those that the settings name. What does not fit the columns fails before the first row.",
	stage.KindEncoder:    "A value is written exactly, or the run fails with a code that says why. Equal rows and settings give equal bytes.",
	stage.KindCompressor: "What goes in comes out again, byte by byte. Equal input and settings give equal output.",
	stage.KindEncryptor: "AES-256-GCM. A unit opens only with its key, for its customer and at its place; one that is missing, swapped, repeated or altered is " +
		"told by `cipherstream decrypt`.",
	stage.KindSink: "Nothing is visible under its name before it is whole. A run that fails leaves nothing, whatever it dies of.",
}

// types say how a value of a type is written, with its unit and an example.
var types = []struct {
	of   config.Type
	text string
}{
	{config.TypeDuration, "a time with its unit: `250ms`, `90s`, `1m30s`, `12h`"},
	{config.TypeSize, "a number of bytes: `65536`, `64KiB`, `8MiB`, `1GiB`"},
	{config.TypeSecret, "a reference such as `${secret.NAME}` to a secret of that kind, never the text itself; see `cipherstream docs references`"},
	{config.TypeScalar, "null, a text, true or false, or a number; text that looks like a number needs quotes"},
	{config.TypeMap, "`{name: value, …}`"},
	{config.TypeList, "`[value, …]`"},
}

// common is said of every stage.
const common = "Faults of every stage besides: those of its settings (`config.…`), of its process (`plugin.…`) and of the sockets between\nprocesses (`link.…`)."

// TestStagePages: the page of every first-party stage is what its specification says.
func TestStagePages(t *testing.T) {
	t.Parallel()
	tree, err := faultcodes.Scan("../..")
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]bool{}
	for _, s := range bundle.Bundle("").Stages {
		topic := string(s.Kind) + "-" + s.Name
		pages[topic+".md"], pages[topic+".yaml"] = true, true
		example, err := os.ReadFile(filepath.Join(folder, "stages", topic+".yaml"))
		if err != nil {
			t.Fatalf("a stage needs an example: %v", err)
		}
		same(t, "stages/"+topic+".md", stagePage(t, s, tree, string(example)))
	}
	there, err := os.ReadDir(filepath.Join(folder, "stages"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range there {
		if !pages[f.Name()] {
			t.Errorf("docs/stages/%s belongs to no stage", f.Name())
		}
	}
}

func stagePage(t *testing.T, s stage.Definition, tree faultcodes.Tree, example string) []byte {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s %s\n\n%s\n", title(s.Kind), s.Name, strings.TrimSpace(s.Summary))
	if doc := strings.TrimSpace(s.Doc); doc != "" {
		fmt.Fprintf(&b, "\n%s\n", doc)
	}
	fmt.Fprintf(&b, "\nIt takes %s, and gives %s.\n", shapes[s.In], shapes[s.Out])

	fmt.Fprintf(&b, "\n## Guarantees\n\n%s\n", promises[s.Kind])
	if s.KeepsRows {
		fmt.Fprint(&b, "\nFor every row that comes in exactly one goes out, in the same order.\n")
	}
	if s.Concurrent {
		fmt.Fprint(&b, "\nBatches are worked on by all cores at once; their order stays as it was.\n")
	}

	fmt.Fprint(&b, "\n## Settings\n\n")
	if len(s.Spec.Fields) == 0 {
		fmt.Fprint(&b, "It has none.\n")
	} else {
		fmt.Fprint(&b, "| setting | type | | |\n|---|---|---|---|\n")
		for _, d := range config.Describe(s.Spec.Fields) {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.Name, Cell(d.Type), Cell(obligation(d.Obligation)), Cell(d.Doc))
		}
		used := map[config.Type]bool{}
		typesOf(s.Spec.Fields, used)
		var legend []string
		for _, typ := range types {
			if used[typ.of] {
				legend = append(legend, fmt.Sprintf("* %s: %s", typ.of, typ.text))
			}
		}
		if len(legend) > 0 {
			fmt.Fprintf(&b, "\nHow a value is written:\n\n%s\n", strings.Join(legend, "\n"))
		}
	}

	topic := string(s.Kind) + "-" + s.Name
	fmt.Fprintf(&b, "\n## Example\n\n```yaml\n%s```\n", example)
	if how := tried(topic); how != "" {
		fmt.Fprintf(&b, "\nTry it:\n\n    %s\n", how)
	}

	codes := faultsOf(s, tree)
	if len(codes) > 0 {
		fmt.Fprint(&b, "\n## Faults\n\nThose of the stage, and of the parts that it shares with other stages.\n\n| fault | meaning | what to do |\n|---|---|---|\n")
	}
	for _, code := range codes {
		f, ok := docs.FindFault(code)
		if !ok {
			t.Errorf("docs/faults.md has no %s", code)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", code, Cell(f.Meaning), Cell(f.Remedy))
	}
	if len(codes) > 0 {
		fmt.Fprintf(&b, "\n%s\n", common)
	} else {
		fmt.Fprintf(&b, "\n## Faults\n\nIt has none of its own. %s\n", common)
	}
	return b.Bytes()
}

// faultsOf are the codes that the package of a stage uses, and those packages of stages that it is made of.
func faultsOf(s stage.Definition, tree faultcodes.Tree) []string {
	dir := packages[string(s.Kind)+"/"+s.Name]
	if dir == "" {
		dir = s.Name
	}
	codes := tree.Reachable(func(dir string) bool {
		if dir == "plugins/formula" && s.Name == "deduplicate" {
			return false // it takes the order of values from there, and has no expression
		}
		return strings.HasPrefix(dir, "plugins/") || slices.Contains([]string{"sdk/envelope", "sdk/object", "sdk/expression", "sdk/mysqlurl"}, dir)
	}, "plugins/"+dir)
	// What packages put together of the name of the stage that they serve, which syntax does not show.
	all := tree.Codes()
	for _, f := range docs.Faults() {
		if strings.HasPrefix(f.Code, s.Name+".") && !slices.Contains(all, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	slices.Sort(codes)
	return codes
}

func typesOf(fields []config.Field, into map[config.Type]bool) {
	for _, f := range fields {
		if f.Type == config.TypeParameters {
			continue
		}
		into[f.Type] = true
		if f.Items != nil {
			typesOf([]config.Field{*f.Items}, into)
		}
		typesOf(f.Fields, into)
	}
}

// obligation has a default as one writes it.
func obligation(text string) string {
	if value, ok := strings.CutPrefix(text, "default "); ok {
		return "default `" + value + "`"
	}
	return text
}

func title(k stage.Kind) string { return strings.ToUpper(string(k[:1])) + string(k[1:]) }
