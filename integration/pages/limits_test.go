package pages

import (
	"bytes"
	"fmt"
	"go/constant"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/docs"
)

func osDir(path string) fs.FS { return os.DirFS(path) }

// bound is a row of the page of limits: a constant of the code, which nobody sets, or a setting with its default.
type bound struct {
	what string
	// in is DIR:NAME of a constant, or DIR:Struct.Field of a setting.
	in   string
	unit string // of a constant: bytes, time, or what is counted
	// where says where the limit is set; empty is fixed.
	where string
	code  string
}

// bounds are the limits, in the sections of the page.
var bounds = []struct {
	title string
	rows  []bound
}{
	{"Pipelines, tests and other documents", []bound{
		{"A file", "engine/document:MaxFileBytes", "bytes", "", "yaml.too_large"},
		{"Mappings and lists inside one another", "engine/document:MaxDepth", "", "", "yaml.too_deep"},
		{"Values and keys, aliases expanded", "engine/document:MaxNodes", "", "", "yaml.too_many_nodes"},
		{"Documents that extend one another", "engine/document:maxExtends", "", "", "extends.too_deep"},
		{"A name", "engine/document:maxNameLength", "characters", "", "document.bad_name"},
		{"Parameters of a pipeline", "engine/document:maxParameters", "", "", "document.too_many"},
		{"Rules of a pipeline", "engine/document:maxRules", "", "", "document.too_many"},
		{"Stages of one kind", "engine/document:maxStages", "", "", "document.too_many"},
		{"Columns that a pipeline declares", "engine/document:maxColumns", "", "", "document.too_many"},
		{"The text of a parameter", "engine/document:MaxParameterBytes", "bytes", "", "parameter.invalid"},
		{"Digits of a decimal", "engine/document:maxDecimalDigits", "", "", "document.not_allowed"},
		{"A condition (`when`, rules)", "plugins/formula:maxRunes", "characters", "", "expression.invalid"},
		{"Steps of a condition", "plugins/formula:maxSteps", "", "", "expression.too_costly"},
		{"Text that a condition takes in", "plugins/formula:maxText", "bytes", "", "expression.failed"},
		{"The settings of a stage, references resolved", "engine/plan:maxSettingsBytes", "bytes", "", "plan.settings_too_large"},
		{"Cases of a test", "engine/document:maxCases", "", "", "document.too_many"},
		{"Rows of a case", "engine/document:maxCaseRows", "", "", "document.too_many"},
		{"Output of a case", "engine/pipelinetest:maxOutput", "bytes", "", "test.file"},
		{"A secret", "cmd/cipherstream/session:maxSecret", "bytes", "", "cli.secret"},
		{"Time of a program that prints a secret", "cmd/cipherstream/session:secretTimeout", "time", "", "cli.secret"},
	}},
	{"A run", []bound{
		{"All buffers of a run together", "sdk/runner:DefaultBudget", "bytes", "`limits.memory` of the pipeline", ""},
		{"`limits.memory`, at least", "engine/document:minMemory", "bytes", "", "document.out_of_range"},
		{"`limits.memory`, at most", "engine/document:maxMemory", "bytes", "", "document.out_of_range"},
		{"Rows that a batch aims at", "sdk/runner:DefaultBatchRows", "", "`limits.batch_rows` of the pipeline", ""},
		{"`limits.batch_rows`, at most", "engine/document:maxBatchRows", "", "", "document.out_of_range"},
		{"Bytes that a batch aims at", "sdk/runner:DefaultBatchBytes", "bytes", "`limits.batch_bytes` of the pipeline", ""},
		{"`limits.batch_bytes`, at most", "engine/document:maxBatchBytes", "bytes", "", "document.out_of_range"},
		{"One call of a stage", "sdk/runner:DefaultStall", "time", "`limits.stall` of the pipeline, `--stall`", "plugin.stalled"},
		{"`limits.timeout` and `limits.stall`, at most", "engine/document:maxTimeout", "time", "", "document.out_of_range"},
		{"Resident memory of a plugin process", "engine/host:DefaultMemoryLimit", "bytes", "`--plugin-memory`", "plugin.exited"},
		{"The program of a plugin", "engine/host:MaxProgram", "bytes", "", "plugin.program"},
		{"The bundle of a plugin", "engine/host:MaxBundle", "bytes", "", "plugin.program"},
	}},
	{"Stages", []bound{
		{"A row from MySQL", "plugins/mysql:Settings.MaxRowSize", "", "`max_row_size` of the source", "mysql.row_size"},
		{"Connections that read at once", "plugins/mysql:Settings.Partitions", "", "`partitions` of the source", ""},
		{"An event or row of the log", "plugins/mysqlchanges:Settings.MaxRowSize", "", "`max_row_size` of the source", "changes.event_size"},
		{"A record of CSV", "plugins/csvfile:Settings.MaxRecord", "", "`max_record` of the source", "file.record_too_large"},
		{"A line of NDJSON", "plugins/ndjsonfile:Settings.MaxRecord", "", "`max_record` of the source", "file.record_too_large"},
		{"Open pages of a Parquet file", "plugins/parquetfile:Settings.Memory", "", "`memory` of the source", "parquet.too_large"},
		{"Steps of an expression for a row", "plugins/formula:maxSteps", "", "", "expression.too_costly"},
		{"Columns that one `derive` adds", "plugins/derive:Settings.Columns", "", "", "config.out_of_range"},
		{"Keys of `deduplicate`", "plugins/deduplicate:Settings.Memory", "", "`memory` of the filter", "deduplicate.memory"},
		{"A row group of Parquet", "plugins/parquet:Settings.RowGroup", "", "`row_group` of the encoder", ""},
		{"Units that one key seals", "sdk/envelope:MaxSeals", "", "", "aesgcm.key_spent"},
		{"A part of an upload to S3", "plugins/job:Settings.Buffer", "", "`buffer` of the sink", "sink.too_large"},
		{"One request to S3", "plugins/job:Settings.Timeout", "", "`timeout` of the sink", "sink.timeout"},
	}},
	{"The service", []bound{
		{"Memory of all runs together", "engine/service/config:Limits.Memory", "", "`limits.memory`", "admission.loaded"},
		{"Buffers of one run", "engine/service/config:Limits.RunMemory", "", "`limits.run_memory`", ""},
		{"Streams of a customer at once", "engine/service/config:Limits.Streams", "", "`limits.streams`, `streams` of the customer", "admission.streams_busy"},
		{"Time that a stream waits for memory", "engine/service/config:Limits.MaxWait", "", "`limits.max_wait`", "admission.loaded"},
		{"Requests in a window", "engine/service/config:Rate.Requests", "", "`limits.rates.….requests`", "admission.rate_limited"},
		{"The window", "engine/service/config:Rate.Window", "", "`limits.rates.….window`", ""},
		{"Part of an answer that stays in memory", "engine/service/config:Spool.Memory", "", "`limits.spool.memory`", ""},
		{"One answer that waits until it is whole", "engine/service/config:Spool.Answer", "", "`limits.spool.answer`", "spool.full"},
		{"All of them together", "engine/service/config:Spool.Process", "", "`limits.spool.process`", "spool.full"},
		{"The body of a request", "engine/service/api:MaxBody", "bytes", "", "BODY_TOO_LARGE"},
		{"Schedules of a customer", "engine/service/api:mostSchedules", "", "", "TOO_MANY_SCHEDULES"},
		{"The state of a pipeline", "engine/plan:MostState", "bytes", "", "state.size"},
		{"Active keys of a customer", "engine/service/customer:mostActive", "", "", "customer.too_many_keys"},
		{"Uses of a sealing key", "engine/service/customer:mostUses", "", "", "customer.sealing_key_spent"},
		{"Attempts of a job", "engine/service/store:MostAttempts", "", "", "WORKER_LOST"},
		{"An attempt of a job", "engine/service/config:Jobs.TimeLimit", "", "`jobs.time_limit`, `jobs.time_limits`", "run.timeout"},
		{"Documents of a channel that wait", "engine/service/config:Waiting.Documents", "", "`limits.data_stream.documents`", ""},
		{"Their bytes", "engine/service/config:Waiting.Bytes", "", "`limits.data_stream.bytes`", ""},
		{"The answer of a data stream's receiver", "engine/service/changes:MostAnswer", "bytes", "", "changes.answer_large"},
		{"Custom headers of a webhook", "engine/service/webhook:MostHeaders", "", "", "webhook.headers"},
		{"Their bytes together", "engine/service/webhook:MaxHeaders", "bytes", "", "webhook.headers"},
	}},
}

// TestLimits: the page of sizes and limits has the values of the code, and codes that there are.
func TestLimits(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	fmt.Fprint(&b, `# Sizes and limits

What is bounded, by how much, where that is set, and with which fault it ends: nothing is cut silently at a limit. A limit
without a place where it is set is fixed. There is none for the number of rows, nor for the size of an output.
`)
	sources := map[string]source{}
	for _, section := range bounds {
		fmt.Fprintf(&b, "\n## %s\n\n| limit | default | from | to | set by | fault |\n|---|--:|--:|--:|---|---|\n", section.title)
		for _, r := range section.rows {
			dir, name, _ := strings.Cut(r.in, ":")
			if _, ok := sources[dir]; !ok {
				sources[dir] = readSource(t, dir)
			}
			code := r.code
			if code != "" {
				if _, ok := docs.FindFault(code); !ok {
					t.Errorf("%s: there is no fault %s", r.what, code)
				}
				code = "`" + code + "`"
			}
			value, from, to := "", "", ""
			if strings.Contains(name, ".") {
				tag, ok := sources[dir].tags[name]
				if !ok {
					t.Fatalf("%s has no setting %s", dir, name)
				}
				value, from, to = tag.Get("default"), tag.Get("min"), tag.Get("max")
			} else {
				of := sources[dir].constants[name]
				if of == nil {
					t.Fatalf("%s has no constant %s", dir, name)
				}
				v, err := sources[dir].value(of)
				if err != nil {
					t.Fatalf("%s: %v", r.in, err)
				}
				n, exact := constant.Int64Val(constant.ToInt(v))
				if !exact {
					t.Fatalf("%s is no whole number", r.in)
				}
				value = written(n, r.unit)
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.what, value, from, to, r.where, code)
		}
	}
	same(t, "limits.md", b.Bytes())
}
