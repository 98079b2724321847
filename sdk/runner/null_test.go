package runner_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// A null where the schema rules it out is the fault of the stage that sends it, in whatever
// language that is written, and the sink delivers nothing.
func TestNullInNotNull(t *testing.T) {
	t.Parallel()
	for _, nullable := range []bool{false, true} {
		dir, err := os.MkdirTemp("/tmp", "null") // sockets have short paths
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		cfg := runner.Config{RunID: "r", Input: filepath.Join(dir, "in")}
		cfg.Stages = stages(t, []link{{stage.KindEncoder, "lines", nil}, {stage.KindSink, "file", map[string]any{"path": filepath.Join(dir, "out")}}})
		g, err := runner.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("unix", cfg.Input)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: nullable}}, nil)
		b := array.NewInt64Builder(memory.DefaultAllocator)
		b.Append(1)
		b.AppendNull()
		w, err := wire.NewWriter(conn, schema)
		if err == nil {
			err = w.Write(array.NewRecord(schema, []arrow.Array{b.NewArray()}, 2))
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		f := fault.From(g.Run(context.Background()))
		switch {
		case nullable && f != nil:
			t.Errorf("a null that may be there: %v", f)
		case !nullable && (f == nil || f.Code != runner.LinkProtocol || f.Stage != "" || !strings.Contains(f.Message, `"n"`)):
			t.Errorf("got %+v", f)
		}
		if err := g.Abort(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
