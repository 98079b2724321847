package stagetest_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stagetest"
)

// firstRows is a small filter as an author would write it: it keeps the first rows of every batch.
type firstRows struct {
	Rows int64 `config:"rows,required" min:"1"`
}

func (f firstRows) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	if in.NumFields() == 0 {
		return nil, fault.New("first.columns", fault.Usage, "there is no column")
	}
	return in, nil
}

func (f firstRows) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	return in.NewSlice(0, min(in.NumRows(), f.Rows)), nil
}

func definition() sdk.Definition {
	return sdk.DefineFilter(sdk.About{Name: "first", Summary: "Keeps the first rows of every batch.", Concurrent: true},
		func(s firstRows, _ sdk.Env) (sdk.Filter, error) { return s, nil })
}

const servePlugin = "serve-plugin"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == servePlugin {
		sdk.Serve(sdk.Bundle{Name: "first", Version: "1.0.0", Stages: []sdk.Definition{definition()}})
		return
	}
	os.Exit(m.Run())
}

var options = stagetest.Options{Settings: map[string]any{"rows": 3}, Prompt: 10 * time.Second}

func TestRun(t *testing.T) { stagetest.Run(t, definition(), options) }

func TestProcess(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	stagetest.Process(t, path, map[string]stagetest.Options{"filter/first": options}, servePlugin)
}
