package pipeline

import (
	"path"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// What the ending of a name says about a file.
var (
	formatEndings = map[string]string{
		".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "json", ".csv": "csv", ".parquet": "parquet", ".arrow": "arrow",
	}
	compressionEndings = map[string]string{".gz": "gzip", ".zip": "zip", ".zst": "zstd"}
	// databaseEndings are those of files that no stream of bytes makes: a database takes rows.
	databaseEndings = []string{".sqlite", ".sqlite3", ".db"}
)

// codeDatabase says that the output has the name of a database, and is none.
const codeDatabase = "cli.database"

const (
	noCompression = "none"
	// sealedEnding is that of a file that was sealed in chunks; the rest of the name is about what was sealed.
	sealedEnding = ".sealed.ndjson"
)

// namedOutput is what the name of an output says; empty where it says nothing.
type namedOutput struct {
	format, compression string
	sealed              bool
}

func readName(name string) (n namedOutput) {
	name = strings.ToLower(path.Base(name))
	cut := func(endings map[string]string) string {
		value := endings[path.Ext(name)]
		if value != "" {
			name = strings.TrimSuffix(name, path.Ext(name))
		}
		return value
	}
	name, n.sealed = strings.CutSuffix(name, sealedEnding)
	n.compression = cut(compressionEndings)
	n.format = cut(formatEndings)
	return n
}

// named is the name that the output has, and the flag that gives it. It may be empty.
func (r *request) named() (flag, name string) {
	if r.toStdout() {
		return "--object", r.delivery.Object
	}
	return "-o", r.output
}

// infer sets format and compression by the name of the output, where the pipeline leaves them
// open and nothing else says them, and refuses a name that says something else than a flag or a parameter.
func (r *request) infer(doc *document.Document, values map[string]any) error {
	flag, name := r.named()
	if name == "" {
		return nil
	}
	said := readName(name)
	declares := func(parameter string) bool {
		return slices.ContainsFunc(doc.Parameters, func(p document.Parameter) bool { return p.Name == parameter })
	}
	sealed := values[encryptedParameter] == "true"
	if said.sealed && declares(encryptedParameter) && !sealed {
		return terminal.UsageFault("%s names %q, which is a sealed file's name, but the output is not sealed", flag, name).
			WithHint("give --encrypted, or another name")
	}
	for _, of := range []struct{ said, parameter, short string }{
		{said.format, formatParameter, "-f"}, {said.compression, compressionParameter, "-c"},
	} {
		given, isGiven := values[of.parameter]
		switch {
		case !declares(of.parameter):
		case of.said != "" && !isGiven:
			values[of.parameter] = of.said
		case of.said == "ndjson" && sealed:
			// What is sealed is lines of NDJSON, whatever is in them.
		case of.said != "" && given != of.said:
			return terminal.UsageFault("%s names %q, which is %s, but %s is %q", flag, name, of.said, of.parameter, given).
				WithHint("leave %s out, or give another name", of.short)
		case of.said == "" && said.format != "" && isGiven && given != noCompression && !sealed:
			return terminal.UsageFault("%s names %q, which is not compressed, but %s is %q", flag, name, of.parameter, given).
				WithHint("give a name that ends in %s, or leave %s out", compressionEnding(given), of.short)
		}
	}
	return nil
}

// checkDatabase refuses to give text, or another stream of bytes, the name of an SQLite database. What the encoders of others
// make is not known: it may be one.
func (r *request) checkDatabase(p *engine.Plan) error {
	flag, name := r.named()
	if !slices.Contains(databaseEndings, strings.ToLower(path.Ext(name))) {
		return nil
	}
	at := slices.IndexFunc(p.Stages, func(s engine.Stage) bool { return s.Kind == stage.KindEncoder })
	if at < 0 || !p.Stages[at].FirstParty {
		return nil
	}
	return fault.New(codeDatabase, fault.Usage, "%s names %q, which is the name of an SQLite database, but the output is %s", flag, name, p.Stages[at].Name).
		WithHint("a database takes rows: end the stages of a pipeline of your own, without an encoder, in " +
			`sink: {use: sqlite, with: {path: "${run.output}", table: NAME}}` +
			" (\"cipherstream plugin info sqlite\" has its settings); or give another name")
}

func compressionEnding(compression any) string {
	for ending, value := range compressionEndings {
		if value == compression {
			return ending
		}
	}
	return "that of the compression"
}

// objectFlags say where an object goes, and what becomes of it there.
var objectFlags = []string{"bucket", "object", "link-ttl", "link-url", "object-encryption", "object-kms-key"}

// checkObject refuses flags about an object where the pipeline leaves none.
func (r *request) checkObject(p *engine.Plan) error {
	if r.job || p.Refers("run.bucket") {
		return nil
	}
	for _, name := range objectFlags {
		if r.changed(name) {
			return terminal.UsageFault("--%s is about an object in a bucket, but the output goes elsewhere", name).WithHint("give --job to leave an object")
		}
	}
	return nil
}
