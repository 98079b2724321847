package e2e

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// TestRowsAreSeenWhileTheServerWorks: whoever reads standard output has the rows that the server has sent while it works on
// the rest, which here takes an hour: also behind a compressor, which flushes for them.
func TestRowsAreSeenWhileTheServerWorks(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	dsn := db.DSN(db.Database())
	for compressor, open := range map[string]func(io.Reader) (io.Reader, error){
		"none": func(r io.Reader) (io.Reader, error) { return r, nil },
		"gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"zstd": func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r, zstd.WithDecoderConcurrency(1)) },
	} {
		t.Run(compressor, func(t *testing.T) {
			t.Parallel()
			w := newWorkspace(t, dsn)
			path := filepath.Join(t.TempDir(), "slow.yaml")
			if err := os.WriteFile(path, []byte(`apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: slow, title: Slow, class: data}
spec:
  extends: output
  stages:
    source: {use: mysql, with: {query: "SELECT seq, REPEAT('x', 20000) AS filler, SLEEP(IF(seq > 3, 3600, 0)) AS slept FROM seq_1_to_100"}}
`), 0o600); err != nil {
				t.Fatal(err)
			}
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer read.Close()
			cmd := w.command("run", path, "-f", "ndjson", "-c", compressor, "-o", "-", "--progress", "none")
			cmd.Stdout = write
			ended := w.begin(cmd)
			write.Close()
			if err := read.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			plain, err := open(read)
			if err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(plain)
			for want := 1; want <= 2; want++ { // the server itself holds back the end of the third
				line, err := lines.ReadBytes('\n')
				if err != nil {
					t.Fatalf("row %d: %v", want, err)
				}
				var row struct {
					Seq    int
					Filler string
				}
				if err := json.Unmarshal(line, &row); err != nil || row.Seq != want || row.Filler != strings.Repeat("x", 20000) {
					t.Errorf("row %d is %.80s (%v)", want, line, err)
				}
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if r := <-ended; r.code == 0 {
				t.Errorf("it was ended, and says that it succeeded:\n%s", r.stderr)
			}
		})
	}
}
