package runner_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// A stage before that sends another shape than it has declared is at fault, and not the
// one that is given it: the host names the stage before where no stage is named here.
func TestOtherShapeIsTheStageBefore(t *testing.T) {
	t.Parallel()
	meta := arrow.NewMetadata([]string{"cipherstream.shape"}, []string{"records"})
	records := arrow.NewSchema([]arrow.Field{{Name: "records", Type: arrow.BinaryTypes.Binary}}, &meta)
	table := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	for _, c := range []struct {
		sent  *arrow.Schema
		links []link
	}{
		{records, []link{{stage.KindEncoder, "lines", nil}}},
		{table, nil},
	} {
		dir, err := os.MkdirTemp("/tmp", "blame") // sockets have short paths
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		cfg := runner.Config{RunID: "r", Input: filepath.Join(dir, "in")}
		cfg.Stages = stages(t, append(c.links, link{stage.KindSink, "file", map[string]any{"path": filepath.Join(dir, "out")}}))
		g, err := runner.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("unix", cfg.Input)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		w, err := wire.NewWriter(conn, c.sent)
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		f := fault.From(g.Run(context.Background()))
		if f == nil || f.Code != runner.LinkProtocol || f.Stage != "" {
			t.Errorf("%s before %s: got %+v", c.sent, cfg.Stages[0].ID, f)
		}
		if err := g.Abort(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
