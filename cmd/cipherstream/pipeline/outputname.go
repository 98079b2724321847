package pipeline

import (
	"path"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// databaseEndings are those of files that no stream of bytes makes: a database takes rows.
var databaseEndings = []string{".sqlite", ".sqlite3", ".db"}

// codeDatabase says that the output has the name of a database, and is none.
const codeDatabase = "cli.database"

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
	said := session.ReadOutputName(name)
	declares := func(parameter string) bool {
		return slices.ContainsFunc(doc.Parameters, func(p document.Parameter) bool { return p.Name == parameter })
	}
	sealed := values[encryptedParameter] == "true"
	if said.Sealed && declares(encryptedParameter) && !sealed {
		return session.NotSealed(flag, name)
	}
	for _, parameter := range []string{formatParameter, compressionParameter} {
		if !declares(parameter) {
			continue
		}
		given, isGiven := values[parameter].(string)
		value, err := said.Infer(flag, name, parameter, given, sealed)
		if err != nil {
			return err
		}
		if !isGiven && value != "" {
			values[parameter] = value
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
