package bundle_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	built "github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/plugins/bundle"
	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/plugins/parquet"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/stagetest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

type settings = map[string]any

// busy is how soon a cancelled call must end while all the other tests run.
const busy = 10 * time.Second

// trials are the settings with which each stage is tested, by KIND/NAME.
func trials(t *testing.T) map[string][]stagetest.Options {
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	lines := func(head, line string) []byte {
		return append([]byte(head), bytes.Repeat([]byte(line), 300)...)
	}
	columns := []settings{{"name": "id", "type": "int64"}, {"name": "name", "type": "string"}, {"name": "paid", "type": "decimal(10,2)"}}
	text := arrow.Field{Name: "name", Type: arrow.BinaryTypes.String, Nullable: true}
	born := arrow.Field{Name: "born", Type: arrow.FixedWidthTypes.Date32, Nullable: true}
	keys := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	sealing := stagetest.Options{Settings: settings{"keys": keys, "customer": "practice-1"}}
	none := stagetest.Options{}
	file := func(key string) stagetest.Options {
		return stagetest.Options{Settings: settings{key: "{{dir}}/object.ndjson"}, Object: "{{dir}}/object.ndjson"}
	}
	db := dbtest.MariaDB(t)
	db.Exec(`CREATE TABLE visit (id INT NOT NULL, name VARCHAR(20), paid DECIMAL(10,2), day DATE, PRIMARY KEY (id));
		INSERT INTO visit SELECT seq, IF(seq % 3, CONCAT('ü', seq), NULL), seq / 7, '2024-02-29' FROM seq_1_to_900;
		CREATE TABLE polled (id INT NOT NULL PRIMARY KEY, name VARCHAR(20), ts_4_update DATETIME);
		INSERT INTO polled SELECT seq, CONCAT('ü', seq), '2024-02-29 12:00:00' FROM seq_1_to_900`)
	rows := func(protocol string) stagetest.Options {
		return stagetest.Options{Settings: settings{"url": db.DSN(db.Database()), "query": "SELECT * FROM visit ORDER BY id", "protocol": protocol}}
	}
	logging := dbtest.Private(t, "--log-bin=binlog", "--server-id=1", "--binlog-format=ROW", "--expire-logs-days=30")
	logging.Exec("CREATE TABLE visit (number INT NOT NULL, name VARCHAR(20), paid DECIMAL(10,2), PRIMARY KEY (number)) ENGINE=InnoDB; " +
		"INSERT INTO visit SELECT seq, IF(seq % 3, CONCAT('ü', seq), NULL), seq / 7 FROM seq_1_to_900")
	return map[string][]stagetest.Options{
		"source/mysql": {rows("binary"), rows("text")},
		"source/mysql-changes": {{Settings: settings{"url": logging.DSN(logging.Database()), "again": `{"documents":[]}`, "page_rows": 400,
			"tables": []settings{{"table": "visit", "type": "visit", "channel": "entities"}}}}},
		"source/mysql-poll": {{Settings: settings{"url": db.DSN(db.Database()), "page_rows": 100, "again": `{"documents":[]}`, "tables": []settings{
			{"table": "polled", "type": "visit", "channel": "entities", "rename": settings{"id": "number"}}}}}},
		"source/csv": {
			{Settings: settings{"path": write("rows.csv", lines("id,name,paid\r\n", "7,\"a \"\"b\"\"\",1.25\r\n"))}},
			{Settings: settings{"path": write("typed.csv", lines("id,name,paid\n", "-7,,0.5\n")), "columns": columns}},
		},
		"source/ndjson":  {{Settings: settings{"path": write("rows.ndjson", lines("", "{\"id\":1,\"name\":\"ü\",\"paid\":\"9.99\"}\n")), "columns": columns}}},
		"source/parquet": {{Settings: settings{"path": write("rows.parquet", parquetFile(t))}}},
		"filter/columns": {
			none,
			{Settings: settings{"cast": settings{"value": "string"}}},
			{Settings: settings{"exclude": []string{"name"}, "rename": settings{"id": "number"}}, Columns: []arrow.Field{text}},
		},
		"filter/contract": {
			{Settings: settings{"columns": []settings{{"name": "id", "type": "int64", "nullable": false}, {"name": "value", "type": "string"}}}},
			{Settings: settings{"columns": []settings{{"name": "id", "type": "int64"}, {"name": "value", "type": "string"}}, "policy": "warn"}},
		},
		"filter/where": {
			{Settings: settings{"expression": "id % 3 != 0 && value != null"}},
			{Settings: settings{"expression": "name.startsWith('p') || born > '2000-01-01'"}, Columns: []arrow.Field{text, born}},
		},
		"filter/mask": {
			{Settings: settings{"columns": settings{"value": settings{"action": "null"}}}},
			{Settings: settings{"columns": settings{"value": settings{"action": "hmac"}}, "secret": "sixteen bytes and more"}},
			{Settings: settings{"columns": settings{"name": settings{"action": "keep_last"}, "born": settings{"action": "month"}}}, Columns: []arrow.Field{text, born}},
		},
		"filter/derive": {
			{Settings: settings{"columns": []settings{{"name": "double", "expression": "coalesce(value, 0.0) * 2.0"}, {"name": "value", "expression": "id + 1", "replace": true}}}},
			{Settings: settings{"columns": []settings{{"name": "year", "expression": "born == null ? null : year(born)", "type": "int16"}}}, Columns: []arrow.Field{text, born}},
		},
		// One that has enough ends well before the trials' inputs break; sdk/runner tests that.
		"filter/limit":  {{Settings: settings{"rows": 1 << 30, "offset": 3}}},
		"filter/sample": {{Settings: settings{"fraction": "0.3", "seed": 7}}, {Settings: settings{"fraction": "0.5", "by": []string{"id"}}}},
		"filter/deduplicate": {
			{Settings: settings{"by": []string{"id"}}},
			{Settings: settings{"by": []string{"name", "born"}, "memory": "1MiB"}, Columns: []arrow.Field{text, born}},
		},
		"encoder/ndjson":             {none},
		"encoder/csv":                {none},
		"encoder/json":               {{Volatile: `"execution_time":[0-9.]+`}},
		"encoder/parquet":            {none, {Settings: settings{"compression": "none", "row_group": "64KiB"}}},
		"encoder/arrow":              {none, {Settings: settings{"layout": "stream"}}},
		"compressor/gzip":            {none},
		"compressor/zip":             {none},
		"compressor/zstd":            {none},
		"encryptor/aes-256-gcm":      {sealing},
		"encryptor/aes-256-gcm-rows": {sealing},
		"sink/stream":                {file("to")},
		"sink/sqlite": {
			{Settings: settings{"path": "{{dir}}/object.sqlite", "table": "visits"}, Object: "{{dir}}/object.sqlite"},
			{Settings: settings{"path": "{{dir}}/object.sqlite", "table": "visits", "mode": "append", "unsigned": "text"}, Object: "{{dir}}/object.sqlite"},
		},
		"sink/job": {{
			Settings: settings{"bucket": "file://{{dir}}", "key": "object.ndjson", "link_ttl": "0s"},
			Object:   "{{dir}}/object.ndjson",
		}},
	}
}

// parquetFile is a file of the encoder, with a column of every type.
func parquetFile(t *testing.T) []byte {
	made, err := parquet.Stage().Make([]byte("{}"), sdk.Env{Count: func(string, int64) {}})
	if err != nil {
		t.Fatal(err)
	}
	everything := sample.Everything()
	defer everything.Release()
	// The first row has usual values; Parquet cannot hold all of the others.
	encoder, rec, out := made.(sdk.Encoder), everything.NewSlice(0, 1), &sdk.Output{}
	defer rec.Release()
	for _, step := range []func() error{
		func() error { _, err := encoder.Bind(rec.Schema()); return err },
		func() error { return encoder.Begin(out) },
		func() error { return encoder.Encode(t.Context(), sdk.Rows{Record: rec}, out) },
		func() error { return encoder.End(sdk.Totals{Rows: rec.NumRows()}, out) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return out.Data
}

// TestConformance holds every stage against the contract of its kind.
func TestConformance(t *testing.T) {
	all := trials(t)
	for _, d := range bundle.Bundle("1.0.0").Stages {
		name := string(d.Kind) + "/" + d.Name
		list, ok := all[name]
		if !ok {
			t.Errorf("%s is not tested", name)
		}
		for i, o := range list {
			o.Prompt = busy
			t.Run(string(d.Kind)+"-"+d.Name+"-"+string(rune('1'+i)), func(t *testing.T) {
				t.Parallel()
				stagetest.Run(t, d, o)
			})
		}
	}
}

// TestConformanceOfProcess does the same with each stage in a process of its own, of the program as it is built for
// users.
func TestConformanceOfProcess(t *testing.T) {
	path, err := built.Path()
	if err != nil {
		t.Fatal(err)
	}
	first := map[string]stagetest.Options{}
	for name, list := range trials(t) {
		o := list[0]
		o.Prompt = busy
		o.Except = map[string]string{"heartbeat": "the SDK sends events, whatever the stage; its own tests wait for them"}
		first[name] = o
	}
	stagetest.Process(t, path, first, "plugin-serve")
}
