package repo

import (
	"regexp"
	"strings"
	"testing"
)

// dependencies are the modules that this one uses itself, and why each is worth it.
var dependencies = map[string]string{
	"github.com/wneessen/go-mail":                 "mail to customers: messages, STARTTLS, ways to log in",
	"code.dny.dev/ssrf":                           "which addresses are public, for what is sent to webhooks",
	"golang.org/x/net":                            "which headers of customers may be sent, and a server of names in tests",
	"cel.dev/cel-go":                              "the grammar of expressions: when:, rules, where and derive",
	"github.com/adhocore/gronx":                   "what the fields of a cron expression mean",
	"github.com/apache/arrow/go/v15":              "the form of all data between stages",
	"github.com/aws/aws-sdk-go-v2":                "the store of objects in S3: uploads in parts, presigned links",
	"github.com/aws/aws-sdk-go-v2/config":         "the credentials of the machine that the sink runs on",
	"github.com/aws/aws-sdk-go-v2/credentials":    "credentials that were given",
	"github.com/aws/aws-sdk-go-v2/service/s3":     "multipart uploads to S3",
	"github.com/aws/aws-sdk-go-v2/service/sts":    "tests: keys of a store that may do less",
	"github.com/aws/smithy-go":                    "what the store's errors are called",
	"github.com/danielgtaylor/huma/v2":            "the operations of the service, and the OpenAPI document that describes them",
	"github.com/dolthub/go-mysql-server":          "the embedded server of the sandbox",
	"github.com/dolthub/vitess":                   "the embedded server's log of its connections, so that its lines go into ours",
	"github.com/go-mysql-org/go-mysql":            "how passwords are mixed with what MySQL and MariaDB send, and sets of GTIDs; tests: another reader of binary logs",
	"github.com/go-sql-driver/mysql":              "the record on a server, bulk loading of a real server, and an independent reader in tests",
	"github.com/google/uuid":                      "the servers in sets of GTIDs",
	"github.com/google/flatbuffers":               "metadata of the Arrow IPC format",
	"github.com/hashicorp/go-hclog":               "the logger that go-plugin asks for",
	"github.com/hashicorp/go-plugin":              "the control plane to plugin processes",
	"github.com/klauspost/compress":               "deflate and Zstandard at more than twice the speed of the standard library",
	"github.com/sirupsen/logrus":                  "the embedded server's log, so that its lines go into ours",
	"github.com/moby/moby/api":                    "a container's port that stays the same after a restart",
	"github.com/testcontainers/testcontainers-go": "containers of the tests' servers",
	"github.com/parquet-go/parquet-go":            "the Parquet encoder; metadata and packed values of the Parquet source",
	"github.com/spf13/cobra":                      "commands, flags and completion of the CLI",
	"github.com/spf13/pflag":                      "the flags of cobra, which a test of the README walks over",
	"github.com/swaggest/swgui":                   "the browser of the OpenAPI document, embedded in the program",
	"go.uber.org/goleak":                          "tests that no goroutine is left behind",
	"golang.org/x/sys":                            "limits and signals of processes, and what the processor can do",
	"golang.org/x/term":                           "whether the progress goes to a terminal, and its width",
	"golang.org/x/text":                           "the character sets of MySQL",
	"github.com/yuin/goldmark":                    "the pages of the documentation as HTML: docs --http",
	"google.golang.org/grpc":                      "the transport of the control plane",
	"google.golang.org/protobuf":                  "the messages of the control plane",
	"modernc.org/sqlite":                          "the sink of rows that writes an SQLite database, and the record of the service",
	"gopkg.in/yaml.v3":                            "YAML nodes with positions",

	"github.com/standard-webhooks/standard-webhooks/libraries":        "tests: how customers check the signatures of webhooks",
	"github.com/prometheus/client_golang":                             "the service's metrics",
	"go.opentelemetry.io/otel":                                        "the service's traces: trace contexts of requests, attributes of spans",
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp": "spans to a collector",
	"go.opentelemetry.io/otel/sdk":                                    "spans that are recorded",
	"go.opentelemetry.io/otel/trace":                                  "spans",
}

var requirement = regexp.MustCompile(`^(?:require )?([\w./~-]+) (v[\w.+-]+)( // indirect)?$`)

// directModules lists the modules that go.mod requires for this module itself.
func directModules(t *testing.T) []string {
	t.Helper()
	var direct []string
	for line := range strings.Lines(read(t, "go.mod")) {
		if m := requirement.FindStringSubmatch(strings.TrimSpace(line)); m != nil && m[3] == "" {
			direct = append(direct, m[1])
		}
	}
	if len(direct) == 0 {
		t.Fatal("no requirement was found in go.mod")
	}
	return direct
}

func TestDependenciesAreListedWithAReason(t *testing.T) {
	t.Parallel()
	required := map[string]bool{}
	for _, m := range directModules(t) {
		required[m] = true
		if dependencies[m] == "" {
			t.Errorf("go.mod requires %s, which is not in the list of dependencies: give the reason for it there, or do without", m)
		}
	}
	for m := range dependencies {
		if !required[m] {
			t.Errorf("%s is in the list of dependencies, and go.mod doesn't require it any more", m)
		}
	}
	if text := read(t, "go.mod"); regexp.MustCompile(`(?m)^\s*replace\b`).MatchString(text) {
		t.Error("go.mod replaces a module, so `go install` of the program from elsewhere would not work")
	}
}

func TestDependenciesAreUsed(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	direct := directModules(t)
	for _, f := range parseModule(t) {
		for _, imported := range f.imports() {
			for _, m := range direct {
				if within(imported, m) {
					used[m] = true
				}
			}
		}
	}
	for _, m := range direct {
		if !used[m] {
			t.Errorf("go.mod requires %s directly, and nothing imports it", m)
		}
	}
}
