package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/bundle"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// sourceOnly is the argument with which this program is the subject "source".
const sourceOnly = "source-only"

// readSource reads all appointments to Arrow record batches, drops them, and
// prints their number.
func readSource(ctx context.Context, out io.Writer) error {
	return readBy(ctx, map[string]any{"call": "appointments", "args": []any{nil, nil, "All"}}, out)
}

// readBy reads what a source with such settings, and the server's address, delivers.
func readBy(ctx context.Context, with map[string]any, out io.Writer) error {
	with["url"] = os.Getenv("CIPHERSTREAM_DSN")
	settings, err := json.Marshal(with)
	if err != nil {
		return err
	}
	definition, ok := bundle.Bundle("bench").Find(stage.KindSource, "mysql")
	if !ok {
		return errors.New("the first-party plugin has no source mysql")
	}
	made, err := definition.Make(settings, sdk.Env{
		Log: slog.New(slog.DiscardHandler), Memory: memory.NewGoAllocator(), Count: func(string, int64) {},
	})
	if err != nil {
		return err
	}
	source, ok := made.(sdk.Source)
	if !ok {
		return fmt.Errorf("the stage mysql is a %T, not a source", made)
	}
	rows, err := drop(ctx, source)
	if closer, ok := source.(io.Closer); ok {
		err = errors.Join(err, closer.Close())
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, rows)
	return err
}

func drop(ctx context.Context, source sdk.Source) (rows int64, err error) {
	if _, err := source.Open(ctx); err != nil {
		return 0, err
	}
	for {
		batch, err := source.Next(ctx)
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		rows += batch.NumRows()
		batch.Release()
	}
}
