package bundle

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// benchRows is the rows of a run, in batches as a source makes them.
const benchRows, batchRows = 32 * 8192, 8192

// BenchmarkTails runs what may stand behind the source, from batches in memory to a
// sink that drops what it gets, on one core and on two. MB/s is of what the sink
// gets. A stage by itself is the difference between two tails.
func BenchmarkTails(b *testing.B) {
	batch := sample.Appointments(batchRows, 1)
	defer batch.Release()
	source := stage.DefineSource(stage.About{Name: "memory"}, func(struct{}, stage.Env) (stage.Source, error) {
		return &memory{batch: batch, left: benchRows / batchRows}, nil
	})
	sink := stage.DefineSink(stage.About{Name: "nothing"}, func(struct{}, stage.Env) (stage.Sink, error) { return nothing{}, nil })
	keys := map[string]any{"keys": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "customer": "bench"}
	for _, tail := range []string{
		"encoder ndjson", "encoder csv", "encoder json", "encoder parquet", "encoder arrow",
		"filter where, encoder ndjson", "filter mask, encoder ndjson",
		"encoder ndjson, compressor gzip", "encoder ndjson, compressor zip", "encoder ndjson, compressor zstd",
		"encoder ndjson, encryptor aes-256-gcm-rows", "encoder ndjson, encryptor aes-256-gcm",
		"encoder ndjson, encryptor aes-256-gcm-rows, compressor gzip",
		"encoder ndjson, encryptor aes-256-gcm-rows, compressor zip",
		"encoder ndjson, encryptor aes-256-gcm-rows, compressor zstd",
		"encoder csv, compressor gzip, encryptor aes-256-gcm",
	} {
		stages := []runner.Stage{{ID: "source", Definition: source, Settings: []byte("{}")}}
		for _, name := range strings.Split(tail, ", ") {
			kind, use, _ := strings.Cut(name, " ")
			definition, ok := Bundle("bench").Find(stage.Kind(kind), use)
			if !ok {
				b.Fatalf("no %s", name)
			}
			settings := map[string]any{}
			switch use {
			case "aes-256-gcm", "aes-256-gcm-rows":
				settings = keys
			case "where":
				settings["expression"] = "patient_id > 1000 && status != 'Cancelled'"
			case "mask":
				settings["columns"] = map[string]any{"type_name": map[string]any{"action": "null"}}
			}
			text, err := json.Marshal(settings)
			if err != nil {
				b.Fatal(err)
			}
			stages = append(stages, runner.Stage{ID: name, Definition: definition, Settings: text})
		}
		stages = append(stages, runner.Stage{ID: "sink", Definition: sink, Settings: []byte("{}")})
		for _, cores := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/cores=%d", strings.NewReplacer("encoder ", "", "compressor ", "", "encryptor ", "", "filter ", "", ", ", "+").Replace(tail), cores), func(b *testing.B) {
				meter := sample.NewMeter(b)
				for b.Loop() {
					group, err := runner.Open(runner.Config{RunID: "bench", Stages: stages, Workers: cores})
					if err == nil {
						err = group.Run(b.Context())
					}
					if err != nil {
						b.Fatal(err)
					}
					result := group.Result()
					if _, err := group.Commit(b.Context()); err != nil {
						b.Fatal(err)
					}
					meter.Rows += benchRows
					meter.Size += result.Bytes
				}
				meter.Report()
			})
		}
	}
}

// memory is a source that gives one batch over and over.
type memory struct {
	batch arrow.Record
	left  int
}

func (m *memory) Open(context.Context) (*arrow.Schema, error) { return m.batch.Schema(), nil }

func (m *memory) Next(context.Context) (arrow.Record, error) {
	if m.left == 0 {
		return nil, io.EOF
	}
	m.left--
	m.batch.Retain()
	return m.batch, nil
}

func (m *memory) Close() error { return nil }

type nothing struct{}

func (nothing) Open(context.Context, sdk.Object) error                  { return nil }
func (nothing) Write(context.Context, []byte) error                     { return nil }
func (nothing) Commit(context.Context) (receipt sdk.Receipt, err error) { return receipt, nil }
func (nothing) Abort(context.Context) error                             { return nil }
