package engine_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing/fstest"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/sdk"
)

// clinic is the stages of a small program: who is waiting, and a line for each. A program with databases and formats
// has those of plugins/bundle.
func clinic() sdk.Bundle {
	return sdk.Bundle{Name: "clinic", Version: "1.0.0", Stages: []sdk.Definition{
		sdk.DefineSource(sdk.About{Name: "waiting", Summary: "Who is waiting."},
			func(s waitingSettings, env sdk.Env) (sdk.Source, error) { return &waiting{settings: s, env: env}, nil }),
		sdk.DefineEncoder(sdk.About{Name: "lines", Summary: "A line for each row.", Out: sdk.ShapeRecords},
			func(struct{}, sdk.Env) (sdk.Encoder, error) { return lines{}, nil }),
	}}
}

type waitingSettings struct {
	Room string `config:"room,required" doc:"The waiting room."`
}

type waiting struct {
	settings waitingSettings
	env      sdk.Env
	told     bool
}

var waitingSchema = arrow.NewSchema([]arrow.Field{{Name: "name", Type: arrow.BinaryTypes.String}}, nil)

func (w *waiting) Open(context.Context) (*arrow.Schema, error) { return waitingSchema, nil }

func (w *waiting) Next(context.Context) (arrow.Record, error) {
	if w.told {
		return nil, io.EOF
	}
	w.told = true
	b := array.NewRecordBuilder(w.env.Memory, waitingSchema)
	defer b.Release()
	b.Field(0).(*array.StringBuilder).AppendValues([]string{"Ada in " + w.settings.Room, "Grace in " + w.settings.Room}, nil)
	return b.NewRecord(), nil
}

func (*waiting) Close() error { return nil }

type lines struct{}

func (lines) Bind(*arrow.Schema) (sdk.Media, error) {
	return sdk.Media{Type: "text/plain", Extension: ".txt"}, nil
}
func (lines) Begin(*sdk.Output) error           { return nil }
func (lines) End(sdk.Totals, *sdk.Output) error { return nil }
func (lines) Encode(_ context.Context, rows sdk.Rows, out *sdk.Output) error {
	names := rows.Record.Column(0).(*array.String)
	for i := range names.Len() {
		fmt.Fprintln(out, names.Value(i))
		out.EndRecord()
	}
	return nil
}

// response is the caller's sink: what a service writes its answer with.
type response struct {
	to    io.Writer
	bytes int64
}

func (*response) Open(_ context.Context, o engine.Object) error {
	fmt.Println("Content-Type:", o.Media.Type)
	return nil
}

func (r *response) Write(_ context.Context, p []byte) error {
	n, err := r.to.Write(p)
	r.bytes += int64(n)
	return err
}

func (r *response) Commit(context.Context) (engine.Delivery, error) {
	return engine.Delivery{Bytes: r.bytes, Location: "the response"}, nil
}

func (*response) Abort(context.Context) error { return nil }

// catalogue is pipelines by their names: those of a program are usually embedded in it.
var catalogue = fstest.MapFS{"waiting.yaml": {Data: []byte(`
apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: waiting}
spec:
  parameters:
    - {name: room, type: string, required: true, allowed: [A, B]}
  stages:
    source: {use: waiting, with: {room: "room ${params.room}"}}
    encoder: {use: lines}
`)}}

// A pipeline is prepared once, bound to the inputs of each request, and run into the caller's own sink.
func Example() {
	ctx := context.Background()
	e, err := engine.New(ctx, engine.Config{FirstParty: clinic(), Catalogue: catalogue, NoFiles: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	prepared, diags := e.Prepare("waiting")
	if err := diags.Err(); err != nil {
		fmt.Println(err)
		return
	}
	for _, room := range []string{"A", "B"} {
		plan, diags := prepared.Bind(engine.Inputs{
			Parameters: map[string]any{"room": room}, End: engine.EndCaller, Isolation: engine.IsolationNone,
		})
		if err := diags.Err(); err != nil {
			fmt.Println(err)
			return
		}
		receipt, err := e.Run(ctx, plan, &response{to: os.Stdout}, engine.RunOptions{})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(receipt.Rows, "rows,", receipt.Bytes, "bytes")
	}
	// Output:
	// Content-Type: text/plain
	// Ada in room A
	// Grace in room A
	// 2 rows, 30 bytes
	// Content-Type: text/plain
	// Ada in room B
	// Grace in room B
	// 2 rows, 30 bytes
}

// What is wrong with a request is a list: a code, what it is about, and a message.
func ExamplePrepared_Bind() {
	e, err := engine.New(context.Background(), engine.Config{FirstParty: clinic(), Catalogue: catalogue, NoFiles: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	prepared, diags := e.Prepare("waiting")
	if err := diags.Err(); err != nil {
		fmt.Println(err)
		return
	}
	_, diags = prepared.Bind(engine.Inputs{Parameters: map[string]any{"room": "C", "rom": "A"}, End: engine.EndCaller})
	for _, problem := range diags.Problems() {
		fmt.Printf("%s [%s]: %s\n", problem.Field, problem.Code, problem.Message)
	}
	// Output:
	// room [parameter.not_allowed]: "C" is not allowed; allowed: A, B
	// rom [parameter.unknown]: pipeline "waiting" has no such parameter
}

// A run that fails gives its fault and the receipt so far. Here the caller's gate refuses what was read.
func ExampleEngine_Run_refused() {
	ctx := context.Background()
	e, err := engine.New(ctx, engine.Config{FirstParty: clinic(), Catalogue: catalogue, NoFiles: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	prepared, _ := e.Prepare("waiting")
	plan, diags := prepared.Bind(engine.Inputs{
		Parameters: map[string]any{"room": "A"}, End: engine.EndCaller, Isolation: engine.IsolationNone,
	})
	if err := diags.Err(); err != nil {
		fmt.Println(err)
		return
	}
	receipt, err := e.Run(ctx, plan, &response{to: io.Discard}, engine.RunOptions{
		BeforeCommit: func(context.Context, *engine.Receipt) error { return fmt.Errorf("the lease was lost") },
	})
	fmt.Println(err)
	fmt.Println(receipt.RowsRead, "rows were read")
	// Output:
	// Content-Type: text/plain
	// run.refused: the caller refused to commit the run: the lease was lost
	// 2 rows were read
}
