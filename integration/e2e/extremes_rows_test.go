package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/pqarrow"

	"github.com/cipherstream/cipherstream/integration/servers"
)

const tenMillion = 10_000_000

var mysqlRows = flag.Int("extreme-rows", tenMillion/10, "how many rows, of ten thousands, TestExtremeRows reads from MySQL: the ten million from MariaDB go the same way. make soak reads as many from both")

// manyRows is a narrow table of that many rows, made by the server from two short ones. Rows in memory come in the
// order in which they were put in, and cost no disk.
func manyRows(s *servers.Server, rows int) {
	var numbers []string
	for n := range 10_000 {
		numbers = append(numbers, strconv.Itoa(n))
	}
	list := func(n int) string { return "(" + strings.Join(numbers[:n], "), (") + ")" }
	s.Exec("SET SESSION max_heap_table_size = 1 << 30;\n" +
		"CREATE TABLE few (n INT NOT NULL) ENGINE=MEMORY;\nINSERT INTO few VALUES " + list(rows/10_000) + ";\n" +
		"CREATE TABLE many (n INT NOT NULL) ENGINE=MEMORY;\nINSERT INTO many VALUES " + list(10_000) + ";\n" +
		"CREATE TABLE narrow (n INT UNSIGNED NOT NULL, h INT UNSIGNED, d DECIMAL(9,2) NOT NULL) ENGINE=MEMORY;\n" +
		"INSERT INTO narrow SELECT STRAIGHT_JOIN few.n * 10000 + many.n, IF(many.n % 10 = 3, NULL, (many.n ^ 4711) * few.n), few.n * 100 + many.n * 0.01 FROM few, many;\n")
}

// digested runs a command whose output goes through a script of the shell, and returns what that prints.
func (w *workspace) digested(cmd *exec.Cmd, script string) string {
	w.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		w.Fatal(err)
	}
	defer reader.Close()
	shell := exec.Command("sh", "-c", script)
	var printed bytes.Buffer
	shell.Stdin, shell.Stdout = reader, &printed
	if err := shell.Start(); err != nil {
		w.Fatal(err)
	}
	cmd.Stdout = writer
	r := w.finish(cmd)
	writer.Close()
	if err := shell.Wait(); err != nil || r.code != 0 || r.stderr != "" {
		w.Fatalf("%s: %v, and its input ended with %d:\n%s", script, err, r.code, r.stderr)
	}
	return printed.String()
}

// TestExtremeRows reads ten million rows, of MySQL fewer, as CSV, which is byte for byte what the official client prints,
// and delivers them as Parquet to the store, whose sums are those that the server computes. Memory stays what it is for a
// few rows.
func TestExtremeRows(t *testing.T) {
	t.Parallel()
	// What a process of a usual run may need.
	const most = 192 << 20
	eachServer(t, func(t *testing.T, s *servers.Server) {
		rows := tenMillion
		if !s.IsMariaDB() {
			rows = *mysqlRows
		}
		manyRows(s, rows)
		d := deliveriesOf(t, s, servers.MinIO(t))
		pipeline := d.extending("output", settings{"query": "SELECT n, h, d FROM narrow"})

		client := s.Client("--batch", "--quick", "-N", s.Database(), "-e", "SELECT n, COALESCE(h, ''), d FROM narrow")
		want := d.digested(client, `echo n,h,d; tr '\t' , | sha256sum`)
		summary := filepath.Join(t.TempDir(), "summary")
		// The shell reads one line of its input, and no more.
		run := d.command("run", pipeline, "-f", "csv", "--progress", "none", "--summary", summary)
		if got := d.digested(run, `read -r header; echo "$header" | tr -d '\r'; tr -d '\r' | sha256sum`); got != want {
			t.Errorf("the header and the digest of the rows are\n%s\nwith the client they are\n%s", got, want)
		}
		bounded(t, readFile(t, summary), rows, most)

		if !s.IsMariaDB() {
			return // the same rows would go the same way
		}
		printed := d.must("run", pipeline, "-f", "parquet", "--job", "--object", "narrow.parquet")
		bounded(t, printed, rows, most)
		var told receipt
		if err := json.Unmarshal(printed, &told); err != nil {
			t.Fatal(err)
		}
		status, object := get(t, told.Link, "")
		if status != http.StatusOK {
			t.Fatalf("the link gives %d", status)
		}
		told.isOf(t, object)
		sums := strings.TrimSpace(s.Query("SELECT COUNT(*), SUM(n), COUNT(h), SUM(h), SUM(n * (h % 1000)), CAST(SUM(d * 100) AS UNSIGNED) FROM narrow"))
		if read := sumsOf(t, object); read != sums {
			t.Errorf("the Parquet file's sums are %s, the server's %s", read, sums)
		}
	})
}

// bounded holds that a run had all the rows, and that no process of it needed more memory than that.
func bounded(t testing.TB, summary []byte, rows int, most int64) {
	t.Helper()
	var told struct {
		Rows      int
		Processes []struct {
			PeakMemoryBytes int64 `json:"peak_memory_bytes"`
		}
	}
	if err := json.Unmarshal(summary, &told); err != nil || told.Rows != rows || len(told.Processes) == 0 {
		t.Fatalf("%v: %s", err, summary)
	}
	for _, p := range told.Processes {
		if t.Logf("%d MiB", p.PeakMemoryBytes>>20); p.PeakMemoryBytes <= 0 || p.PeakMemoryBytes > most {
			t.Errorf("a process needs %d bytes, at most %d", p.PeakMemoryBytes, most)
		}
	}
}

// sumsOf reads the columns n, h and d of a Parquet file with Arrow's reader, and gives what the server is asked for.
func sumsOf(t testing.TB, object []byte) string {
	t.Helper()
	r, err := file.NewParquetReader(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	reader, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{BatchSize: 1 << 16}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	batches, err := reader.GetRecordReader(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer batches.Release()
	var rows, sumN, countH, sumH, products, cents uint64
	for batches.Next() {
		batch := batches.Record()
		h := batch.Column(1).(*array.Uint32)
		n, values := batch.Column(0).(*array.Uint32).Uint32Values(), h.Uint32Values()
		rows += uint64(batch.NumRows())
		for i, v := range n {
			sumN += uint64(v)
			if h.IsValid(i) {
				countH++
				sumH += uint64(values[i])
				products += uint64(v) * uint64(values[i]%1000)
			}
		}
		for _, v := range batch.Column(2).(*array.Decimal128).Values() {
			cents += v.LowBits()
		}
	}
	if err := batches.Err(); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t%d", rows, sumN, countH, sumH, products, cents)
}
