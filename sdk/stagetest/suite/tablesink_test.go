package suite_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/sdk/stage"
	"github.com/cipherstream/cipherstream/sdk/stagetest/suite"
)

// tableSink writes a line for each row into a hidden file, which Commit shows, but for the one breach.
type tableSink struct {
	Path    string `config:"path,required"`
	breach  string
	env     stage.Env
	release func()
	file    *os.File
	kept    [][]int64
}

func tableSinkOf(breach string) stage.Definition {
	return stage.DefineTableSink(stage.About{Name: "tried", Summary: "Writes lines."},
		func(s tableSink, env stage.Env) (stage.TableSink, error) {
			s.breach, s.env = breach, env
			return &s, nil
		})
}

func (s *tableSink) Open(ctx context.Context, _ stage.Table) (err error) {
	path := filepath.Join(filepath.Dir(s.Path), ".hidden")
	if s.release, err = s.env.Announce(ctx, stage.Resource{Name: "the file " + path, State: []byte(path)}); err != nil {
		return err
	}
	if s.breach == "shows what is not committed" {
		path = s.Path
	}
	s.file, err = os.Create(path)
	return err
}

func (s *tableSink) Write(ctx context.Context, rows stage.Rows) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch s.breach {
	case "keeps a reference":
		s.kept = append(s.kept, rows.Column(0).(*array.Int64).Int64Values())
	case "keeps a batch":
		rows.Retain()
	case "changes its input":
		rows.Column(0).(*array.Int64).Int64Values()[0]++
	}
	return s.lines(rows.Record)
}

func (s *tableSink) lines(rec arrow.Record) error {
	for row := range int(rec.NumRows()) {
		for _, column := range rec.Columns() {
			if _, err := fmt.Fprintf(s.file, "%q,", column.ValueStr(row)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *tableSink) Commit(ctx context.Context) (stage.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return stage.Receipt{}, err
	}
	for _, values := range s.kept {
		fmt.Fprintln(s.file, values)
	}
	name := s.file.Name()
	if err := errors.Join(s.file.Close(), os.Rename(name, s.Path)); err != nil {
		return stage.Receipt{}, err
	}
	s.file = nil
	if s.breach != "never releases a commit" {
		s.release()
	}
	content, err := os.ReadFile(s.Path)
	sum := sha256.Sum256(content)
	receipt := stage.Receipt{Location: s.Path, Bytes: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
	switch s.breach {
	case "says neither": // which it may
		receipt.Bytes, receipt.SHA256 = 0, ""
	case "says its size alone":
		receipt.Bytes, receipt.SHA256 = 1, ""
	case "miscounts":
		receipt.Bytes++
	}
	return receipt, err
}

func (s *tableSink) Abort(context.Context) error {
	if s.breach == "aborts what is committed" {
		os.Remove(s.Path)
	}
	if s.file == nil || s.breach == "leaves its file" {
		return nil
	}
	s.file.Close()
	if s.breach != "never releases" {
		s.release()
	}
	if err := os.Remove(s.file.Name()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s *tableSink) Undo(_ context.Context, r stage.Resource) error {
	if s.breach == "believes everything" {
		return nil
	}
	return stage.Foreign("this sink begins no %q", r.Name)
}

// lastly hands batches through, and gives one more at the end.
type lastly struct {
	breach string
	out    *arrow.Schema
	env    stage.Env
}

func lastlyOf(breach string) stage.Definition {
	return stage.DefineFilter(stage.About{Name: "tried", Summary: "Hands through.", Concurrent: true, KeepsRows: breach == "keeps rows"},
		func(_ struct{}, env stage.Env) (stage.Filter, error) { return &lastly{breach: breach, env: env}, nil })
}

func (l *lastly) Bind(in *arrow.Schema) (*arrow.Schema, error) { l.out = in; return in, nil }
func (l *lastly) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	in.Retain()
	return in, nil
}

func (l *lastly) End(_ context.Context, emit func(arrow.Record) error) error {
	if l.breach == "panics at the end" {
		panic("at the end")
	}
	b := array.NewRecordBuilder(l.env.Memory, l.out)
	defer b.Release()
	for _, f := range b.Fields() {
		f.AppendEmptyValue()
	}
	rec := b.NewRecord()
	defer rec.Release()
	if l.breach == "gives other columns" {
		short := array.NewRecord(arrow.NewSchema(l.out.Fields()[:1], nil), rec.Columns()[:1], 1)
		defer short.Release()
		return emit(short)
	}
	return emit(rec)
}

func TestGoodTableStagesPass(t *testing.T) {
	t.Parallel()
	for _, d := range []stage.Definition{tableSinkOf(""), tableSinkOf("says neither"), lastlyOf("")} {
		for _, check := range suite.Stage(d, options(d)) {
			if r := check.Run(t.Context()); r.Status != suite.Passed || r.Cases == 0 {
				t.Errorf("%s: %s after %d cases: %s", r.Check, r.Status, r.Cases, strings.Join(r.Details, "; "))
			}
		}
	}
}

// TestBrokenTableStagesFail: each breach is found by the check that is named for it.
func TestBrokenTableStagesFail(t *testing.T) {
	for _, test := range []struct{ breach, check, says string }{
		{"shows what is not committed", suite.CheckHidden, "visible under its name before Commit"},
		{"keeps a reference", suite.CheckBorrowed, "the sink keeps a reference"},
		{"keeps a batch", suite.CheckLeak, "of batches that the sink was given are still held"},
		{"changes its input", suite.CheckUntouched, "wrote into the buffers"},
		{"leaves its file", suite.CheckAbort, "left .hidden"},
		{"aborts what is committed", suite.CheckAbort, "the object is not there"},
		{"says its size alone", suite.CheckReceipt, "both of its object, or neither"},
		{"miscounts", suite.CheckReceipt, "the receipt says"},
		{"never releases", suite.CheckUndo, "after Abort after Open the sink has not released"},
		{"never releases a commit", suite.CheckUndo, "after Commit the sink has not released"},
		{"believes everything", suite.CheckUndo, `Undo of "garbage", which no stage has announced, gave <nil>`},
	} {
		t.Run(test.breach, func(t *testing.T) {
			t.Parallel()
			d := tableSinkOf(test.breach)
			found(t, suite.Stage(d, options(d)), test.check, test.says)
		})
	}
	for _, test := range []struct{ breach, check, says string }{
		{"keeps rows", suite.CheckKeepsRows, "but made 1 more at the end"},
		{"gives other columns", suite.CheckSchema, "a batch has 1 columns; 2 were declared"},
		{"panics at the end", suite.CheckPanics, "End panicked"},
	} {
		t.Run(test.breach, func(t *testing.T) {
			t.Parallel()
			d := lastlyOf(test.breach)
			found(t, suite.Stage(d, options(d)), test.check, test.says)
		})
	}
}
