package repo

import (
	"slices"
	"strings"
	"testing"
)

// mayImport says which folders of this module the packages of a folder may
// import; its own is always allowed, unless edges says otherwise.
var mayImport = map[string][]string{
	"sdk":         {},
	"plugins":     {"sdk"},
	"engine":      {"sdk"},
	"pipelines":   {},
	"docs":        {},
	"cmd":         {"sdk", "plugins", "engine", "pipelines", "docs"},
	"examples":    {"sdk", "engine"},
	"integration": {"sdk", "plugins", "engine", "pipelines", "cmd", "docs"},
}

// testServers, testContainers, testReaders, testProgram and testRequired may be imported by every test, and by commandTests, which only tests
// import: they start the real servers, and the readers of others, that tests compare with, build the program, and say what
// becomes of a test that lacks something; and they import nothing of ours but the last of them.
const (
	testRequired   = "integration/required"
	testServers    = "integration/dbtest"
	testContainers = "integration/servers"
	testReaders    = "integration/python"
	testProgram    = "integration/program"
	commandTests   = "cmd/cipherstream/cmdtest"
)

// engineEdges says which packages of engine/ each package there may import, and engineTestEdges what its tests may besides.
// One that is not listed imports none.
var engineEdges = map[string][]string{
	"engine":                  {"engine/budget", "engine/diag", "engine/document", "engine/plan", "engine/host", "engine/run", "engine/record"},
	"engine/document":         {"engine/diag"},
	"engine/host":             {"engine/host/jail"},
	"engine/install":          {"engine/host"},
	"engine/link":             {"engine/host"},
	"engine/pipelinetest":     {"engine", "engine/diag", "engine/document"},
	"engine/plan":             {"engine/diag", "engine/document"},
	"engine/record":           {"engine/host", "engine/link", "engine/plan", "engine/run"},
	"engine/run":              {"engine/diag", "engine/host", "engine/link", "engine/plan"},
	"engine/run/runtest":      {"engine/host", "engine/plan"},
	"engine/sandbox/embedded": {"engine/sandbox"},

	"engine/service": {"engine", "engine/diag", "engine/service/admission", "engine/service/api", "engine/service/api/admin", "engine/service/changes", "engine/service/config",
		"engine/service/customer", "engine/service/job", "engine/service/mail", "engine/service/schedule", "engine/service/signing", "engine/service/spool",
		"engine/service/store", "engine/service/store/datakey", "engine/service/telemetry", "engine/service/webhook"},
	"engine/service/api": {"engine", "engine/diag", "engine/document", "engine/service/admission", "engine/service/binding", "engine/service/changes", "engine/service/customer",
		"engine/service/delivery", "engine/service/job", "engine/service/schedule", "engine/service/signing", "engine/service/spool", "engine/service/store",
		"engine/service/webhook"},
	"engine/service/api/admin": {"engine/service/customer", "engine/service/store"},
	"engine/service/binding":   {"engine", "engine/diag", "engine/document", "engine/service/customer"},
	"engine/service/config": {"engine/diag", "engine/document", "engine/service/customer", "engine/service/mail",
		"engine/service/schedule"},
	"engine/service/customer":  {"engine", "engine/service/store", "engine/service/store/datakey"},
	"engine/service/telemetry": {"engine"},
	"engine/service/delivery":  {"engine", "engine/service/admission", "engine/service/spool"},
	"engine/service/job": {"engine", "engine/diag", "engine/service/binding", "engine/service/customer",
		"engine/service/store"},
	"engine/service/schedule": {"engine", "engine/document", "engine/service/customer", "engine/service/store",
		"engine/service/store/datakey"},
	"engine/service/signing":         {"engine/service/store", "engine/service/store/datakey"},
	"engine/service/store/memory":    {"engine/service/store"},
	"engine/service/store/mysql":     {"engine/service/store", "engine/service/store/sqlrecord"},
	"engine/service/store/sqlite":    {"engine/service/store", "engine/service/store/sqlrecord"},
	"engine/service/store/sqlrecord": {"engine/service/store"},
	"engine/service/store/storetest": {"engine/service/store"},
	"engine/service/mail":            {"engine/service/store"},
	"engine/service/webhook":         {"engine/service/job", "engine/service/store"},
	"engine/service/changes": {"engine", "engine/service/customer", "engine/service/store", "engine/service/store/datakey",
		"engine/service/webhook"},
}

var engineTestEdges = map[string][]string{
	"engine/host":   {"engine/run/runtest"},
	"engine/record": {"engine/run/runtest"},
	"engine/run":    {"engine/run/runtest", "engine/record"},

	"engine/service":              {"engine/service/store/memory", "engine/service/telemetry/telemetrytest"},
	"engine/service/api":          {"engine/service/store/memory", "engine/service/store/datakey"},
	"engine/service/api/admin":    {"engine/service/store/memory", "engine/service/store/datakey"},
	"engine/service/binding":      {"engine/service/store/memory"},
	"engine/service/job":          {"engine/service/admission", "engine/service/delivery", "engine/service/spool", "engine/service/store/memory"},
	"engine/service/customer":     {"engine/service/store/memory"},
	"engine/service/schedule":     {"engine/service/store/memory"},
	"engine/service/webhook":      {"engine/service/store/memory"},
	"engine/service/changes":      {"engine/service/store/memory", "engine/service/store/sqlite"},
	"engine/service/signing":      {"engine/service/store/memory"},
	"engine/service/store/memory": {"engine/service/store/storetest"},
	"engine/service/store/sqlite": {"engine/service/store/storetest", "engine/service/store/memory"},
}

// commandEdges says which packages of cmd/ each package there may import, and commandTestEdges what its tests may besides:
// a noun of the command line knows no other, but that a run may start a sandbox. One that is not listed imports none.
var commandEdges = map[string][]string{
	"cmd/cipherstream": {"cmd/cipherstream/database", "cmd/cipherstream/decrypt", "cmd/cipherstream/lsp", "cmd/cipherstream/manual",
		"cmd/cipherstream/pipeline", "cmd/cipherstream/plugin", "cmd/cipherstream/sandbox", "cmd/cipherstream/service",
		"cmd/cipherstream/session", "cmd/cipherstream/sweep", "cmd/cipherstream/webhook"},
	"cmd/cipherstream/cmdtest":  {"cmd/cipherstream/session", "cmd/cipherstream/terminal"},
	"cmd/cipherstream/database": {"cmd/cipherstream/draft", "cmd/cipherstream/session", "cmd/cipherstream/terminal"},
	"cmd/cipherstream/decrypt":  {"cmd/cipherstream/session", "cmd/cipherstream/terminal"},
	"cmd/cipherstream/lsp":      {"cmd/cipherstream/lsp/outline", "cmd/cipherstream/lsp/rpc", "cmd/cipherstream/session"},
	"cmd/cipherstream/manual":   {"cmd/cipherstream/session", "cmd/cipherstream/terminal"},
	"cmd/cipherstream/pipeline": {"cmd/cipherstream/sandbox", "cmd/cipherstream/session", "cmd/cipherstream/statefile", "cmd/cipherstream/terminal"},
	"cmd/cipherstream/plugin":   {"cmd/cipherstream/scaffold", "cmd/cipherstream/session", "cmd/cipherstream/terminal"},
	"cmd/cipherstream/sandbox":  {"cmd/cipherstream/session", "cmd/cipherstream/terminal"},
	"cmd/cipherstream/service":  {"cmd/cipherstream/sandbox", "cmd/cipherstream/session", "cmd/cipherstream/terminal"},
	"cmd/cipherstream/session":  {"cmd/cipherstream/terminal"},
	"cmd/cipherstream/sweep":    {"cmd/cipherstream/session", "cmd/cipherstream/terminal"},
	"cmd/cipherstream/webhook":  {"cmd/cipherstream/session", "cmd/cipherstream/terminal"},
}

var commandTestEdges = map[string][]string{
	"cmd/cipherstream":          {"cmd/cipherstream/cmdtest", "cmd/cipherstream/golden", "cmd/cipherstream/terminal"},
	"cmd/cipherstream/decrypt":  {"cmd/cipherstream/cmdtest", "cmd/cipherstream/golden"},
	"cmd/cipherstream/manual":   {"cmd/cipherstream/cmdtest"},
	"cmd/cipherstream/draft":    {"cmd/cipherstream/golden"},
	"cmd/cipherstream/pipeline": {"cmd/cipherstream/cmdtest", "cmd/cipherstream/golden"},
	"cmd/cipherstream/plugin":   {"cmd/cipherstream/cmdtest", "cmd/cipherstream/golden", "cmd/cipherstream/pipeline"},
	"cmd/cipherstream/sandbox":  {"cmd/cipherstream/cmdtest"},
	"cmd/cipherstream/service":  {"cmd/cipherstream/cmdtest"},
	"cmd/cipherstream/sweep":    {"cmd/cipherstream/cmdtest", "cmd/cipherstream/pipeline"},
	"cmd/cipherstream/terminal": {"cmd/cipherstream/golden"},
	"cmd/cipherstream/webhook":  {"cmd/cipherstream/cmdtest"},
}

// edges and testEdges are the tables of the folders whose packages do not all see one another.
var (
	edges     = map[string]map[string][]string{"engine": engineEdges, "cmd": commandEdges}
	testEdges = map[string]map[string][]string{"engine": engineTestEdges, "cmd": commandTestEdges}
)

// serverLibrary is big and only good for trying things out: one package holds it, and one program
// that one.
const (
	serverLibrary = "github.com/dolthub/go-mysql-server"
	serverOwner   = "engine/sandbox/embedded"
	serverProgram = "cmd/cipherstream-sandbox"
)

// language is that of expressions: no stage, but a library that stages share. The planner decides conditions about
// parameters in it, and knows nothing else of plugins. In sdk, what it is made of would be a promise to every author of a
// plugin.
const (
	language     = "plugins/formula"
	languageUser = "engine/plan"
)

// storeLibrary is that of S3. Only the store of objects in S3 needs it, and tests that look at a real one: an author of a
// plugin imports sdk, which must not bring it along.
const (
	storeLibrary = "github.com/aws"
	storeOwner   = "plugins/job/object/s3"
)

// recordLibrary is that of the record in a file. The rest of the service speaks no SQL.
const (
	recordLibrary = "modernc.org/sqlite"
	recordOwner   = "engine/service/store/sqlite"
)

// recordSQL are the packages of the service that speak SQL.
var recordSQL = []string{recordOwner, "engine/service/store/mysql", "engine/service/store/sqlrecord"}

func TestImportDirections(t *testing.T) {
	t.Parallel()
	for _, f := range parseModule(t) {
		for _, imported := range f.imports() {
			if problem := badImport(f.dir(), imported, f.test); problem != "" {
				t.Errorf("%s imports %s: %s", f.path, imported, problem)
			}
		}
	}
}

// badImport says why the package in dir may not import what it does; empty means
// that it may.
func badImport(dir, imported string, test bool) string {
	if within(imported, serverLibrary) && dir != serverOwner {
		return "only " + serverOwner + " may use the embedded server's library"
	}
	if imported == module+"/"+serverOwner && !test && dir != serverProgram {
		return "only " + serverProgram + " may hold the embedded server"
	}
	if within(imported, storeLibrary) && dir != storeOwner && !within(dir, "integration") {
		return "only " + storeOwner + " may use the library of S3; others use sdk/object"
	}
	if within(imported, recordLibrary) && within(dir, "engine/service") && dir != recordOwner {
		return "only " + recordOwner + " may use SQLite"
	}
	if imported == "database/sql" && within(dir, "engine/service") && !slices.Contains(recordSQL, dir) {
		return "only the packages of the record may speak SQL: " + strings.Join(recordSQL, " ")
	}
	if imported == module {
		return "there is no package at the top"
	}
	to, ours := strings.CutPrefix(imported, module+"/")
	if !ours || (test || dir == commandTests) && slices.Contains([]string{testServers, testContainers, testReaders, testProgram, testRequired}, to) {
		return ""
	}
	if to == language && dir == languageUser {
		return ""
	}
	fromTop, _, _ := strings.Cut(dir, "/")
	toTop, _, _ := strings.Cut(to, "/")
	allowed, known := mayImport[fromTop]
	switch {
	case !known:
		return fromTop + "/ is not one of the folders of this module"
	case fromTop != toTop && !slices.Contains(allowed, toTop):
		return fromTop + "/ may import of this module only: itself " + strings.Join(allowed, " ")
	case fromTop == toTop && edges[fromTop] != nil && to != dir:
		if !slices.Contains(edges[fromTop][dir], to) && !(test && slices.Contains(testEdges[fromTop][dir], to)) {
			return dir + " may import of " + fromTop + "/ only: " + strings.Join(edges[fromTop][dir], " ")
		}
	}
	return ""
}

func within(imported, tree string) bool {
	return imported == tree || strings.HasPrefix(imported, tree+"/")
}

// TestEdgesAreUsed: an edge that nothing imports along is not allowed for the future.
func TestEdgesAreUsed(t *testing.T) {
	t.Parallel()
	used := map[[2]string]bool{}
	for _, f := range parseModule(t) {
		for _, imported := range f.imports() {
			to, _ := strings.CutPrefix(imported, module+"/")
			used[[2]string{f.dir(), to}] = true
		}
	}
	for _, edges := range []map[string][]string{engineEdges, engineTestEdges, commandEdges, commandTestEdges} {
		for from, list := range edges {
			for _, to := range list {
				if !used[[2]string{from, to}] {
					t.Errorf("nothing in %s imports %s", from, to)
				}
			}
		}
	}
}

// TestBadImport makes sure that the rules refuse what they should.
func TestBadImport(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dir, imported string
		test, bad     bool
	}{
		{"sdk/wire", "github.com/apache/arrow/go/v15/arrow", false, false},
		{"sdk/wire", module + "/sdk/fault", false, false},
		{"sdk/wire", module + "/engine/diag", false, true},
		{"sdk", module + "/plugins/csv", true, true},
		{"plugins/mysql", module + "/sdk", false, false},
		{"plugins/mysql", module + "/engine", false, true},
		{"plugins/mysql", module + "/integration/dbtest", true, false},
		{"plugins/mysql", module + "/integration/dbtest", false, true},
		{"plugins/mysql", module + "/integration/bench", true, true},
		{"plugins/parquet", module + "/integration/python", true, false},
		{"plugins/parquet", module + "/integration/python", false, true},
		{"engine/plan", module + "/engine/diag", false, false},
		{"engine/plan", module + "/engine/plan", true, false},
		{"engine/diag", module + "/engine/plan", false, true},
		{"engine/plan", module + "/engine", false, true},
		{"engine/plan", module + "/plugins/formula", false, false},
		{"engine/plan", module + "/plugins/formula/trial", false, true},
		{"engine/plan", module + "/plugins/where", false, true},
		{"engine/run", module + "/plugins/formula", false, true},
		{"engine/sandbox", module + "/engine/plan", false, true},
		{"engine/run", module + "/engine/record", false, true},
		{"engine/run", module + "/engine/record", true, false},
		{"engine/record", module + "/engine/run", false, false},
		{"engine", module + "/engine/run", false, false},
		{"engine/host", module + "/plugins/bundle", false, true},
		{"engine/host", module + "/sdkother", false, true},
		{"pipelines", module + "/sdk", false, true},
		{"cmd/cipherstream", module + "/plugins/bundle", false, false},
		{"cmd/cipherstream", module + "/integration/dbtest", false, true},
		{"cmd/cipherstream", serverLibrary + "/sql", false, true},
		{"engine/sandbox", serverLibrary + "/sql", false, true},
		{"engine/sandbox/embedded", serverLibrary + "/sql", false, false},
		{"engine/sandbox/embedded", module + "/engine/sandbox", false, false},
		{"engine/sandbox", module + "/engine/sandbox/embedded", false, true},
		{"cmd/cipherstream", module + "/engine/sandbox/embedded", false, true},
		{"cmd/cipherstream", module + "/engine/sandbox/embedded", true, false},
		{"cmd/cipherstream-sandbox", module + "/engine/sandbox/embedded", false, false},
		{"cmd/cipherstream/cmdtest", module + "/engine/sandbox/embedded", false, true},
		{"cmd/cipherstream/cmdtest", module + "/integration/program", false, false},
		{"cmd/cipherstream/session", module + "/integration/program", false, true},
		{"cmd/cipherstream/pipeline", module + "/engine/sandbox/embedded", false, true},
		{"cmd/cipherstream", module + "/cmd/cipherstream/plugin", false, false},
		{"cmd/cipherstream/plugin", module + "/cmd/cipherstream/session", false, false},
		{"cmd/cipherstream/plugin", module + "/cmd/cipherstream/pipeline", false, true},
		{"cmd/cipherstream/plugin", module + "/cmd/cipherstream/pipeline", true, false},
		{"cmd/cipherstream/plugin", module + "/cmd/cipherstream/cmdtest", false, true},
		{"cmd/cipherstream/plugin", module + "/cmd/cipherstream/cmdtest", true, false},
		{"cmd/cipherstream/session", module + "/cmd/cipherstream/plugin", false, true},
		{"cmd/cipherstream/terminal", module + "/cmd/cipherstream/session", false, true},
		{"cmd/cipherstream-sandbox", module + "/cmd/cipherstream/session", false, true},
		{"plugins/job/object/s3", storeLibrary + "/aws-sdk-go-v2/service/s3", false, false},
		{"plugins/job", storeLibrary + "/aws-sdk-go-v2/service/s3", false, true},
		{"plugins/job", storeLibrary + "/smithy-go", true, true},
		{"sdk/object", storeLibrary + "/smithy-go", false, true},
		{"integration/servers", storeLibrary + "/aws-sdk-go-v2/service/s3", false, false},
		{"engine/service/store/sqlite", recordLibrary, false, false},
		{"engine/service/store/sqlite", "database/sql", false, false},
		{"engine/service/store/sqlrecord", "database/sql", false, false},
		{"engine/service/store/sqlrecord", recordLibrary, false, true},
		{"engine/service/customer", "database/sql", true, true},
		{"engine/service/store", recordLibrary + "/lib", false, true},
		{"other", module + "/sdk", false, true},
	} {
		if problem := badImport(c.dir, c.imported, c.test); (problem != "") != c.bad {
			t.Errorf("%s imports %s (test %v): %q, want bad %v", c.dir, c.imported, c.test, problem, c.bad)
		}
	}
}
