package mistakes

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/golden"
	"github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

// right is a pipeline in which nothing is wrong.
const right = `apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: mine, title: My patients}
spec:
  extends: output
  parameters:
    - {name: from, type: date, description: First day.}
    - {name: who, type: string}
  stages:
    source:
      with:
        query: SELECT patient_id, name, active, balance, born FROM patients WHERE changed >= ?
        args: ["${params.from}"]
    filter: {use: where, with: {expression: "active == 1 && balance > 10.5"}}
  columns:
    - {name: patient_id, type: int64, nullable: false}
    - {name: name, type: string}
    - {name: active, type: int8}
    - {name: balance, type: "decimal(20,4)"}
    - {name: born, type: date}
`

// database is what the pipeline reads.
const database = `CREATE TABLE patients (patient_id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40), active TINYINT NOT NULL, balance DECIMAL(20,4),
	born DATE, changed DATETIME);
CREATE TABLE secrets (a INT);
CREATE PROCEDURE visits(IN day DATE) SELECT 1 AS n;`

// mistake is one: a part of the pipeline that is written in another way, or an argument or a URL that is wrong.
type mistake struct {
	name, part, wrong string
	// command is what is typed; default: lint mine.yaml.
	command string
	// url stands in CIPHERSTREAM_DSN instead of the right one; AT is the server's host and port.
	url string
}

// check is the command for what only a database tells.
const check = "check mine.yaml -p from=2024-01-01"

const (
	query = "query: SELECT patient_id, name, active, balance, born FROM patients WHERE changed >= ?"
	args  = "\n        args: [\"${params.from}\"]"
	where = `"active == 1 && balance > 10.5"`
	names = "SELECT patient_id, name, active, balance, born FROM patients"
)

var mistakes = []mistake{
	// Keys, stages, types and references.
	{name: "key_of_spec", part: "  stages:", wrong: "  stage:"},
	{name: "kind_of_stage", part: "    source:", wrong: "    sources:"},
	{name: "key_of_stage", part: "      with:", wrong: "      width:"},
	{name: "setting", part: "query: ", wrong: "querry: "},
	{name: "setting_of_others", part: "query: ", wrong: "table: "},
	{name: "stage", part: "use: where", wrong: "use: wehre"},
	{name: "stage_of_others", part: "use: where", wrong: "use: filter"},
	{name: "plugin", part: "use: where", wrong: "use: nobody/where"},
	{name: "template", part: "extends: output", wrong: "extends: outputs"},
	{name: "template_with_suffix", part: "extends: output", wrong: "extends: output.yaml"},
	{name: "kind", part: "kind: Pipeline", wrong: "kind: pipeline"},
	{name: "no_kind", part: "kind: Pipeline\n", wrong: ""},
	{name: "no_version", part: "apiVersion: cipherstream/v1\n", wrong: ""},
	{name: "type_of_sql", part: "name: name, type: string", wrong: "name: name, type: varchar(40)"},
	{name: "type_of_programs", part: "type: int64", wrong: "type: int"},
	{name: "decimal_without_digits", part: `"decimal(20,4)"`, wrong: "decimal"},
	{name: "decimal_without_quotes", part: `"decimal(20,4)"`, wrong: "decimal(20,4)"},
	{name: "type_of_parameter", part: "name: who, type: string", wrong: "name: who, type: int"},
	{name: "default_that_is_no_day", part: "name: from, type: date", wrong: "name: from, type: date, default: 2024-02-30"},
	{name: "column_in_short", part: "{name: patient_id, type: int64, nullable: false}", wrong: "patient_id: int64"},
	{name: "columns_of_filter", part: `{use: where, with: {expression: ` + where + `}}`, wrong: "{use: columns, with: {drop: [name]}}"},
	{name: "list_for_mapping", part: `{use: where, with: {expression: ` + where + `}}`, wrong: "{use: mask, with: {columns: [name]}}"},
	{name: "reference_to_nothing", part: "${params.from}", wrong: "${params.form}"},
	{name: "reference_without_namespace", part: "${params.from}", wrong: "${from}"},
	{name: "reference_in_braces", part: "${params.from}", wrong: "{{ params.from }}"},
	{name: "reference_in_brackets", part: "${params.from}", wrong: "$(params.from)"},
	{name: "variable_of_shell", part: "${params.from}", wrong: "$FROM"},
	{name: "reference_in_sql", part: "changed >= ?", wrong: "changed >= '${params.from}'"},
	{name: "password_in_file", part: "query: ", wrong: "url: mysql://root:geheim@db/x\n        query: "},

	// Indentation, and what YAML takes for something else.
	{name: "indented_less", part: "      with:\n", wrong: "    with:\n"},
	{name: "indented_further", part: "    filter:", wrong: "      filter:"},
	{name: "indented_by_a_space", part: "  stages:", wrong: "   stages:"},
	{name: "not_indented", part: "  extends:", wrong: "extends:"},
	{name: "tab", part: "    source:", wrong: "\tsource:"},
	{name: "dash", part: "    source:", wrong: "    - source:"},
	{name: "no_space_after_colon", part: "query: ", wrong: "query:"},
	{name: "colon_in_text", part: "description: First day.", wrong: "description: day: the first"},
	{name: "colon_in_sql", part: "changed >= ?", wrong: "name = 'a: b' AND changed >= ?"},
	{name: "no_quotes_around_reference", part: `"${params.from}"`, wrong: "${params.from}"},
	{name: "quote_not_closed", part: where, wrong: strings.TrimSuffix(where, `"`)},
	{name: "key_twice", part: "  extends: output\n", wrong: "  extends: output\n  extends: data\n"},
	{name: "name_that_is_null", part: "name: name, type: string", wrong: "name: null, type: string"},
	{name: "name_that_is_a_number", part: "name: name, type: string", wrong: "name: 1e3, type: string"},
	{name: "flag_in_quotes", part: "nullable: false", wrong: "nullable: 'no'"},

	// Expressions written as SQL.
	{name: "sql_equals", part: where, wrong: `"name = 'x'"`},
	{name: "sql_unequal", part: where, wrong: `"name <> 'x'"`},
	{name: "sql_and", part: where, wrong: `"active == 1 AND balance > 10.5"`},
	{name: "sql_not", part: where, wrong: `"NOT active == 1"`},
	{name: "sql_is_null", part: where, wrong: `"name IS NULL"`},
	{name: "sql_like", part: where, wrong: `"name LIKE 'A%'"`},
	{name: "sql_in", part: where, wrong: `"name IN ('a', 'b')"`},
	{name: "sql_between", part: where, wrong: `"balance BETWEEN 1 AND 2"`},
	{name: "number_in_quotes", part: where, wrong: `"balance > '10'"`},
	{name: "column_of_nothing", part: where, wrong: `"activ == 1"`},

	// Tables, columns, procedures and grants.
	{name: "no_table", part: "FROM patients", wrong: "FROM patient", command: check},
	{name: "no_column", part: "SELECT patient_id, name", wrong: "SELECT patient_id, nam", command: check},
	{name: "column_left_out", part: "balance, born FROM", wrong: "balance FROM", command: check},
	{name: "column_of_another_type", part: "balance, born FROM", wrong: "balance, changed AS born FROM", command: check},
	{name: "no_arguments", part: args, wrong: "", command: "check mine.yaml"},
	{name: "two_statements", part: names + " WHERE changed >= ?", wrong: "SELECT ? AS n; SELECT 2", command: check},
	{name: "sql_that_writes", part: query, wrong: "query: DELETE FROM patients WHERE changed >= ?", command: check},
	{name: "call_and_query", part: query, wrong: "call: visits\n        " + query, command: check},
	{name: "call_with_brackets", part: query, wrong: "call: visits(?)", command: check},
	{name: "no_procedure", part: query, wrong: "call: visit", command: check},
	{name: "no_grant", part: "FROM patients", wrong: "FROM secrets", command: check},
	{name: "no_database", command: check, url: "mysql://some:pw@AT/clinik"},

	// URLs.
	{name: "wrong_password", command: check, url: "mysql://some:nope@AT/clinic"},
	{name: "wrong_port", command: check, url: "mysql://some:pw@127.0.0.1:1/clinic"},
	{name: "url_of_another_database", command: check, url: "postgres://some:pw@AT/clinic"},
	{name: "url_of_java", command: check, url: "jdbc:mysql://AT/clinic?user=some"},
	{name: "url_of_go", command: check, url: "some:pw@tcp(AT)/clinic"},
	{name: "slash_in_password", command: check, url: "mysql://some:p/w@AT/clinic"},
	{name: "key_in_url", command: check, url: "mysql://some:pw@AT/clinic?charset=utf8mb4"},
	{name: "no_url", command: check, url: " "},

	// The command line.
	{name: "command", command: "runn mine.yaml"},
	{name: "flag", command: "run mine.yaml --fromat csv"},
	{name: "no_pipeline", command: "run"},
	{name: "name_of_a_file", command: "run mine"},
	{name: "other_suffix", command: "run ./mine.yml"},
	{name: "name_of_the_catalogue", command: "run apointments"},
	{name: "parameter", command: "run mine.yaml -p form=2024-01-01"},
	{name: "parameter_without_value", command: "run mine.yaml -p from"},
	{name: "day_as_people_write_it", command: "run mine.yaml -p from=01.02.2024"},
	{name: "format", command: "run mine.yaml -f jsonl"},
	{name: "format_against_name", command: "run mine.yaml -f csv -o out.parquet"},
	{name: "job_and_file", command: "run mine.yaml --job --bucket /tmp/b -o out.csv"},
	{name: "bucket_without_job", command: "run mine.yaml --bucket /tmp/b"},
	{name: "bucket_of_nobody", command: "run mine.yaml --job --bucket gs://b"},
	{name: "no_customer", command: "run mine.yaml --encrypted"},
	{name: "no_file_of_keys", command: "run mine.yaml --encrypted --customer a --secret encryption_keys=file:keys.txt"},
	{name: "sandbox_and_url", command: "run mine.yaml --sandbox --dsn mysql://a@b/c"},
	{name: "time_without_unit", command: "run mine.yaml --timeout 5"},
	{name: "memory_without_unit", command: "run mine.yaml --plugin-memory 12"},
	{name: "secret_on_the_line", command: "run mine.yaml --secret encryption_keys=geheim"},
	{name: "no_folder", command: "run mine.yaml -p from=2024-01-01 -o none/out.csv"},
	{name: "test_of_a_pipeline", command: "test mine.yaml"},
}

// TestMistakes: each gets one answer, with a code, a place and a help, in text and in JSON.
func TestMistakes(t *testing.T) {
	t.Parallel()
	path, err := program.Path()
	if err != nil {
		t.Fatal(err)
	}
	server := servers.PrivateMariaDB(t)
	server.Exec("CREATE DATABASE clinic")
	server.Exec("USE clinic; " + database + " CREATE USER some IDENTIFIED BY 'pw'; GRANT SELECT ON clinic.patients TO some; GRANT EXECUTE ON clinic.* TO some;")
	at := "127.0.0.1:" + strconv.Itoa(server.Port())
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			content := right
			if m.part != "" {
				if content = strings.Replace(right, m.part, m.wrong, 1); content == right {
					t.Fatalf("%q is not in the pipeline", m.part)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "mine.yaml"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			url := strings.TrimSpace(strings.ReplaceAll(cmp.Or(m.url, "mysql://some:pw@AT/clinic"), "AT", at))
			command := cmp.Or(m.command, "lint mine.yaml")
			call := func(arguments ...string) (out []byte, code int) {
				c := exec.Command(path, arguments...)
				c.Dir, c.Env = dir, append(os.Environ(), "CIPHERSTREAM_DSN="+url, "CIPHERSTREAM_KEYS="+strings.Repeat("A", 43)+"=")
				out, err := c.CombinedOutput()
				var exit *exec.ExitError
				if err != nil && !errors.As(err, &exit) {
					t.Fatal(err)
				}
				return out, c.ProcessState.ExitCode()
			}
			text, code := call(strings.Fields(command)...)
			if warns := bytes.Contains(text, []byte("warning:")); code == 0 && !warns {
				t.Errorf("nobody notices: %s", text)
			}
			machine, _ := call(append(strings.Fields(command), "--json")...)
			for _, a := range answers(t, machine) {
				if a.Code == "" || a.Message == "" || a.Hint == "" {
					t.Errorf("code %q, message %q, help %q", a.Code, a.Message, a.Hint)
				}
				if !a.placed(command) {
					t.Errorf("%s: no place: %+v", a.Message, a)
				}
			}
			golden.Compare(t, m.name+".txt", "$ cipherstream "+command+"\n"+same(string(text), at, dir))
		})
	}
}

// answer is a diagnostic, a finding of check, or a fault.
type answer struct {
	Code, Message, Hint string
	File                string
	Line                int
	Parameter           string
	Stage               string
	Level               string
	Details             map[string]string
}

// placed reports whether the answer says where the mistake is: in a file, in a parameter, or in a part of the line that it names.
func (a answer) placed(command string) bool {
	if a.File != "" || a.Parameter != "" || a.Details["at"] != "" {
		return true
	}
	for _, word := range strings.Fields(command)[1:] {
		if word != "mine.yaml" && strings.Contains(a.Message, strings.TrimPrefix(word, "./")) {
			return true
		}
	}
	return strings.Contains(a.Message, "cipherstream ")
}

// answers are all that is wrong, of what a command has written for machines.
func answers(t *testing.T, machine []byte) (list []answer) {
	t.Helper()
	type failure struct {
		answer
		Diagnostics []answer
	}
	decoder := json.NewDecoder(bytes.NewReader(machine))
	for decoder.More() {
		var out struct {
			Diagnostics, Findings []answer
			Error                 *failure
		}
		if err := decoder.Decode(&out); err != nil {
			t.Fatalf("%v in %s", err, machine)
		}
		list = append(list, out.Diagnostics...)
		for _, f := range out.Findings {
			if f.Level == "wrong" {
				list = append(list, f)
			}
		}
		switch {
		case out.Error == nil:
		case len(out.Error.Diagnostics) > 0:
			list = append(list, out.Error.Diagnostics...)
		default:
			list = append(list, out.Error.answer)
		}
	}
	if len(list) == 0 {
		t.Errorf("nothing is wrong: %s", machine)
	}
	return list
}

var (
	fine   = regexp.MustCompile(`(?m)^fine .*\n`) // says which server it was
	client = regexp.MustCompile(`'some'@'[^']*'`)
	runID  = regexp.MustCompile(`mine_[0-9]{13}_[0-9a-f]{8}`)
)

// same is a text without what differs from run to run.
func same(text, at, dir string) string {
	text = strings.NewReplacer(at, "AT", dir, "FOLDER").Replace(fine.ReplaceAllString(text, ""))
	return runID.ReplaceAllString(client.ReplaceAllString(text, "'some'@'CLIENT'"), "RUN")
}
