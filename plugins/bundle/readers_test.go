package bundle

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/ipc"

	"github.com/cipherstream/cipherstream/integration/python"
	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

//go:embed testdata/readers.py
var readersScript string

// TestOthersRead has pyarrow, DuckDB and Python read Arrow, CSV and JSON. Parquet has a test like it beside
// its encoder.
func TestOthersRead(t *testing.T) {
	everything := sample.Everything()
	defer everything.Release()
	appointments := sample.Appointments(5000, 9)
	defer appointments.Release()
	for name, record := range map[string]arrow.Record{"every type": everything, "appointments": appointments} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			reference := filepath.Join(dir, "reference")
			f, err := os.Create(reference)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			w, err := ipc.NewFileWriter(f, ipc.WithSchema(record.Schema()))
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Write(record); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			arguments := []string{reference}
			for _, c := range []struct{ use, settings string }{
				{"arrow", `{}`}, {"arrow", `{"layout":"stream"}`}, {"csv", `{}`}, {"ndjson", `{}`}, {"json", `{}`},
			} {
				definition, ok := Bundle("test").Find(stage.KindEncoder, c.use)
				if !ok {
					t.Fatalf("no encoder %s", c.use)
				}
				out, err := sample.Encode(sample.NewEncoder(t, definition, c.settings, sdk.Env{}), sdk.Rows{Record: record})
				if err != nil {
					t.Fatalf("%s: %v", c.use, err)
				}
				path := filepath.Join(dir, c.use+"-"+string(rune('a'+len(arguments))))
				if err := os.WriteFile(path, out.Data, 0o644); err != nil {
					t.Fatal(err)
				}
				arguments = append(arguments, path)
			}
			if problems := python.Run(t, readersScript, arguments...); len(problems) > 0 {
				t.Errorf("%s", strings.ReplaceAll(string(problems), dir+"/", ""))
			}
		})
	}
}
