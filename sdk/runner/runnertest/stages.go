// Package runnertest holds small stages for tests of the runner, the host and
// runs: some that behave, and one source that breaks in every way that a plugin
// can. It is imported by tests only.
package runnertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Bundle returns all stages as a plugin of that name.
func Bundle(name string) stage.Bundle {
	return stage.Bundle{Name: name, Version: "0.0.1", Stages: []stage.Definition{
		stage.DefineSource(stage.About{Name: "count", Summary: "Counts."}, newCount),
		stage.DefineFilter(stage.About{Name: "pass", Summary: "Hands through.", Concurrent: true, KeepsRows: true},
			func(struct{}, stage.Env) (stage.Filter, error) { return pass{}, nil }),
		stage.DefineFilter(stage.About{Name: "even", Summary: "Keeps even numbers.", Concurrent: true},
			func(_ struct{}, env stage.Env) (stage.Filter, error) { return even{env}, nil }),
		stage.DefineFilter(stage.About{Name: "first", Summary: "Gives the first rows, and has enough then."}, newFirst),
		stage.DefineFilter(stage.About{Name: "hang", Summary: "Never comes back.", KeepsRows: true},
			func(struct{}, stage.Env) (stage.Filter, error) { return hang{}, nil }),
		stage.DefineEncoder(stage.About{Name: "lines", Summary: "A line a row.", Out: stage.ShapeRecords, Concurrent: true}, newLines),
		stage.DefineCompressor(stage.About{Name: "bracket", Summary: "Brackets pieces.", Concurrent: true},
			func(struct{}, stage.Env) (stage.Compressor, error) { return &bracket{}, nil }),
		stage.DefineEncryptor(stage.About{Name: "index", Summary: "Puts the index before each record.", Concurrent: true,
			In: stage.ShapeRecords, Out: stage.ShapeRecords},
			func(struct{}, stage.Env) (stage.Encryptor, error) { return index{}, nil }),
		stage.DefineFilter(stage.About{Name: "later", Summary: "Holds rows back until the end.", Concurrent: true},
			newLater),
		stage.DefineSink(stage.About{Name: "file", Summary: "Writes a file."}, newFile),
		stage.DefineTableSink(stage.About{Name: "rows", Summary: "Writes a file with a line a row."}, newRows),
	}}
}

// CountSettings are the settings of the source "count".
type CountSettings struct {
	Rows  int `config:"rows" default:"100"`
	Batch int `config:"batch" default:"10"`
	// At is the row before which Break happens; the rows end where it is larger.
	At    int    `config:"at"`
	Break string `config:"break" enum:",error,retry,panic,goroutine,exit,kill,stop,hang,late,stdout,flood,memory,secret"`
	// From is where to begin, which is what a checkpoint says. Checkpoints gives one with every batch, and
	// BadCheckpoint one that nobody may give.
	From          int  `config:"from"`
	Checkpoints   bool `config:"checkpoints"`
	BadCheckpoint bool `config:"bad_checkpoint"`
	// Estimate is about how many rows there are, as the source says; 0 is that it does not know.
	Estimate int64 `config:"estimate"`
	// Password is something that must not be seen.
	Password string `config:"password"`
}

type count struct {
	settings CountSettings
	env      stage.Env
	schema   *arrow.Schema
	next     int
	broken   bool
}

func newCount(s CountSettings, env stage.Env) (stage.Source, error) {
	return &count{settings: s, env: env, next: s.From, schema: arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)}, nil
}

func (c *count) Open(context.Context) (*arrow.Schema, error) { return c.schema, nil }

func (c *count) Next(ctx context.Context) (arrow.Record, error) {
	if c.settings.Break != "" && !c.broken && c.settings.Break != "late" && c.next >= c.settings.At {
		c.broken = true
		if err := c.misbehave(ctx); err != nil {
			return nil, err
		}
	}
	if c.next >= c.settings.Rows {
		if c.settings.Break == "late" {
			return nil, fault.New("count.late", fault.Source, "something was wrong after the last row")
		}
		return nil, io.EOF
	}
	b := array.NewInt64Builder(c.env.Memory)
	defer b.Release()
	n := min(c.settings.Batch, c.settings.Rows-c.next)
	for i := range n {
		b.Append(int64(c.next + i))
	}
	c.next += n
	c.env.Count("batches", 1)
	c.env.Fact("last", "batch of "+strconv.Itoa(n)+c.settings.Password)
	column := b.NewArray()
	defer column.Release()
	return array.NewRecord(c.schema, []arrow.Array{column}, int64(n)), nil
}

func (c *count) EstimateRows() int64 { return c.settings.Estimate }

// Checkpoint is the number that comes next.
func (c *count) Checkpoint() string {
	switch {
	case c.settings.BadCheckpoint:
		return "\xff"
	case c.settings.Checkpoints:
		return strconv.Itoa(c.next)
	}
	return ""
}

func (c *count) misbehave(ctx context.Context) error {
	switch c.settings.Break {
	case "error":
		return fault.New("count.broken", fault.Source, "row %d is broken", c.next).
			WithHint("count to less").WithDetail("row", strconv.Itoa(c.next))
	case "retry":
		return fault.New("count.lost", fault.Source, "the connection is lost").WithRetry()
	case "panic":
		var nothing []int
		_ = nothing[c.next]
	case "goroutine":
		go panic("in a goroutine of its own")
		<-ctx.Done()
	case "exit":
		fmt.Fprintln(os.Stderr, "about to exit")
		os.Exit(7)
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		<-ctx.Done() // the signal is a moment on its way, in which all rows could pass
	case "hang":
		<-ctx.Done()
		select {}
	case "stdout":
		// To the descriptor, and through os.Stdout.
		_, _ = syscall.Write(1, []byte("1|2|garbage\n"+strings.Repeat("x", 200_000)))
		fmt.Println("more garbage")
	case "flood":
		line := strings.Repeat("flood ", 50) + "\n"
		for range 20_000 {
			fmt.Fprint(os.Stderr, line)
			c.env.Log.Info("flood")
		}
	case "memory":
		var hoard [][]byte
		for ctx.Err() == nil {
			block := make([]byte, 16<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			hoard = append(hoard, block)
		}
		_ = hoard
	case "secret":
		fmt.Fprintln(os.Stderr, "connecting with", c.settings.Password)
		c.env.Log.Warn("connecting", "with", c.settings.Password)
		os.Exit(9)
	}
	return nil
}

func (c *count) Close() error { return nil }

type pass struct{}

func (pass) Bind(in *arrow.Schema) (*arrow.Schema, error) { return in, nil }
func (pass) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	in.Retain()
	return in, nil
}

type hang struct{ pass }

func (hang) Apply(context.Context, arrow.Record) (arrow.Record, error) { select {} }

type even struct{ env stage.Env }

func (even) Bind(in *arrow.Schema) (*arrow.Schema, error) { return in, nil }
func (e even) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	b := array.NewInt64Builder(e.env.Memory)
	defer b.Release()
	for _, v := range in.Column(0).(*array.Int64).Int64Values() {
		if v%2 == 0 {
			b.Append(v)
		}
	}
	column := b.NewArray()
	defer column.Release()
	return array.NewRecord(in.Schema(), []arrow.Array{column}, int64(column.Len())), nil
}

// LinesSettings are the settings of the encoder "lines".
type LinesSettings struct {
	// Width repeats each number, to make the output large.
	Width int  `config:"width" default:"1"`
	Edges bool `config:"edges"` // a first and a last line
}

type lines struct{ settings LinesSettings }

func newLines(s LinesSettings, _ stage.Env) (stage.Encoder, error) { return lines{s}, nil }

func (lines) Bind(*arrow.Schema) (stage.Media, error) {
	return stage.Media{Type: "text/plain", Extension: ".txt"}, nil
}

func (l lines) Begin(out *stage.Output) error {
	if l.settings.Edges {
		out.Data = append(out.Data, "begin\n"...)
		out.EndRecord()
	}
	return nil
}

// Encode writes "VALUE@INDEX".
func (l lines) Encode(_ context.Context, rows stage.Rows, out *stage.Output) error {
	for i, v := range rows.Column(0).(*array.Int64).Int64Values() {
		for range l.settings.Width {
			out.Data = strconv.AppendInt(out.Data, v, 10)
		}
		out.Data = append(out.Data, '@')
		out.Data = strconv.AppendInt(out.Data, rows.First+int64(i), 10)
		out.Data = append(out.Data, '\n')
		out.EndRecord()
	}
	return nil
}

func (l lines) End(total stage.Totals, out *stage.Output) error {
	if l.settings.Edges {
		out.Data = fmt.Appendf(out.Data, "end %d\n", total.Rows)
		out.EndRecord()
	}
	return nil
}

// bracket surrounds the stream with < and >, and notes pieces so that Merge can
// see whether it is called once for each.
type bracket struct{ merged int }

func (*bracket) Bind(in stage.Media) (stage.Media, error) {
	in.ContentEncoding = "bracket"
	return in, nil
}
func (*bracket) Begin(out *stage.Output) error { out.Data = append(out.Data, '<'); return nil }
func (*bracket) Compress(_ context.Context, piece []byte, out *stage.Output) error {
	out.Data = append(out.Data, piece...)
	out.Note = len(piece)
	return nil
}
func (b *bracket) Merge(out *stage.Output) error {
	if out.Note.(int) != len(out.Data) {
		return errors.New("the note belongs to another piece")
	}
	b.merged += len(out.Data)
	return nil
}
func (b *bracket) End(out *stage.Output) error {
	out.Data = fmt.Appendf(out.Data, ">%d", b.merged)
	return nil
}

type index struct{}

func (index) Bind(in stage.Media) (stage.Media, error) { in.Sealed = true; return in, nil }
func (index) Begin(*stage.Output) error                { return nil }
func (index) End(*stage.Output) error                  { return nil }
func (index) Seal(_ context.Context, in stage.Chunk, out *stage.Output) error {
	start := 0
	for i, end := range in.Ends {
		out.Data = fmt.Appendf(out.Data, "%d:", in.First+int64(i))
		out.Data = append(out.Data, in.Data[start:end]...)
		out.EndRecord()
		start = end
	}
	return nil
}

// FileSettings are the settings of the sink "file".
type FileSettings struct {
	Path string `config:"path,required"`
	// FailCommit makes Commit fail.
	FailCommit bool `config:"fail_commit"`
	// Announce is a named pipe that Commit opens when it has begun. Then it waits for the end of its
	// context, and fails, or with Deaf commits all the same.
	Announce string `config:"announce"`
	Deaf     bool   `config:"deaf"`
}

type file struct {
	settings FileSettings
	temp     *os.File
	bytes    int64
}

func newFile(s FileSettings, _ stage.Env) (stage.Sink, error) { return &file{settings: s}, nil }

func (f *file) Open(_ context.Context, o stage.Object) (err error) {
	f.temp, err = os.Create(filepath.Join(filepath.Dir(f.settings.Path), "."+o.RunID+".partial"))
	return err
}

func (f *file) Write(_ context.Context, p []byte) error {
	n, err := f.temp.Write(p)
	f.bytes += int64(n)
	return err
}

func (f *file) Commit(ctx context.Context) (stage.Receipt, error) {
	if f.settings.Announce != "" {
		pipe, err := os.OpenFile(f.settings.Announce, os.O_WRONLY, 0)
		if err != nil {
			return stage.Receipt{}, err
		}
		pipe.Close()
		<-ctx.Done()
		if !f.settings.Deaf {
			return stage.Receipt{}, ctx.Err()
		}
	}
	if f.settings.FailCommit {
		return stage.Receipt{}, fault.New("file.commit", fault.Sink, "the file could not be put in its place")
	}
	if err := f.temp.Close(); err != nil {
		return stage.Receipt{}, err
	}
	return stage.Receipt{Bytes: f.bytes, Location: f.settings.Path, SHA256: "-"}, os.Rename(f.temp.Name(), f.settings.Path)
}

func (f *file) Abort(context.Context) error {
	if f.temp != nil {
		f.temp.Close()
		os.Remove(f.temp.Name())
	}
	return nil
}
