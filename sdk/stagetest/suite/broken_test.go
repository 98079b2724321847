package suite_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// The stages of this file keep their contracts, but for the one breach that each is made with.

// filter hands batches through.
type filter struct {
	env    stage.Env
	breach string
	kept   arrow.Record
	calls  atomic.Int64
}

var endless = make(chan struct{})

func filterOf(breach string) stage.Definition {
	return stage.DefineFilter(stage.About{Name: "tried", Summary: "Hands through.", Concurrent: true, KeepsRows: true},
		func(_ struct{}, env stage.Env) (stage.Filter, error) { return &filter{env: env, breach: breach}, nil })
}

func (f *filter) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	switch f.breach {
	case "declares another type":
		return arrow.NewSchema(append([]arrow.Field{{Name: "id", Type: arrow.BinaryTypes.String}}, in.Fields()[1:]...), nil), nil
	case "refuses everything":
		return nil, fault.New("tried.type", fault.Usage, "nothing is good enough")
	}
	return in, nil
}

func (f *filter) Apply(ctx context.Context, in arrow.Record) (arrow.Record, error) {
	calls := f.calls.Add(1)
	switch f.breach {
	case "drops a row":
		return in.NewSlice(0, max(0, in.NumRows()-1)), nil
	case "adds a column":
		fields := append(in.Schema().Fields(), arrow.Field{Name: "more", Type: in.Column(0).DataType()})
		return array.NewRecord(arrow.NewSchema(fields, nil), append(in.Columns(), in.Column(0)), in.NumRows()), nil
	case "keeps a reference":
		// The batch before this one, which it did not retain.
		last := f.kept
		f.kept = in
		if last != nil && last.NumCols() == 0 {
			return in.NewSlice(0, 0), nil
		}
	case "keeps a batch":
		in.Retain()
	case "keeps memory":
		b := array.NewInt64Builder(f.env.Memory)
		b.Append(1)
	case "releases its input":
		in.Retain()
		in.Release()
		in.Release()
		return in, nil
	case "writes into its input":
		in.Column(0).(*array.Int64).Int64Values()[0]++
	case "starts a goroutine":
		go func() { <-endless }()
	case "hangs":
		<-endless
	case "fails without a code":
		if in.NumRows() > 0 && in.Column(1).NullN() == int(in.NumRows()) {
			return nil, errors.New("nothing but nulls")
		}
	case "panics without rows":
		if _ = in.Column(0).(*array.Int64).Int64Values()[0]; true {
			break
		}
	case "counts across batches":
		return renumbered(in, calls), nil
	case "is random":
		return renumbered(in, int64(os.Getpid())+randomness.Add(1)), nil
	case "forgets the offset":
		if ids, ok := in.Column(0).(*array.Int64); ok && ids.Offset() > 0 {
			whole := array.MakeFromData(array.NewData(ids.DataType(), ids.Len(), ids.Data().Buffers(), nil, 0, 0))
			return array.NewRecord(in.Schema(), append([]arrow.Array{whole}, in.Columns()[1:]...), in.NumRows()), nil
		}
	}
	in.Retain()
	return in, nil
}

var randomness atomic.Int64

// renumbered puts n into the first column.
func renumbered(in arrow.Record, n int64) arrow.Record {
	b := array.NewInt64Builder(memory.DefaultAllocator)
	defer b.Release()
	for range in.NumRows() {
		b.Append(n)
	}
	column := b.NewArray()
	defer column.Release()
	return array.NewRecord(in.Schema(), append([]arrow.Array{column}, in.Columns()[1:]...), in.NumRows())
}

// encoder writes a line for each row.
type encoder struct {
	breach string
	last   []byte
}

func encoderOf(breach string) stage.Definition {
	return stage.DefineEncoder(stage.About{Name: "tried", Summary: "Writes lines.", Out: stage.ShapeRecords},
		func(struct{}, stage.Env) (stage.Encoder, error) { return &encoder{breach: breach}, nil })
}

func (e *encoder) Bind(*arrow.Schema) (stage.Media, error) {
	if e.breach == "has no media type" {
		return stage.Media{Extension: "txt"}, nil
	}
	return stage.Media{Type: "text/plain", Extension: ".txt"}, nil
}

func (e *encoder) Begin(*stage.Output) error { return nil }

func (e *encoder) Encode(_ context.Context, rows stage.Rows, out *stage.Output) error {
	for i := range int(rows.NumRows()) {
		for _, column := range rows.Columns() {
			out.Data = append(out.Data, column.ValueStr(i)...)
			out.Data = append(out.Data, ',')
		}
		out.Data = append(out.Data, '\n')
		if e.breach != "ends no records" {
			out.EndRecord()
		}
	}
	if e.breach == "keeps its output" {
		e.last = out.Data
	}
	return nil
}

func (e *encoder) End(_ stage.Totals, out *stage.Output) error {
	if e.breach == "keeps its output" && len(e.last) > 0 {
		out.Data = append(out.Data, e.last[0])
		out.EndRecord()
	}
	return nil
}

// compressor copies, which is no compression, but keeps the contract.
type compressor struct {
	breach string
	mu     sync.Mutex
	last   []byte
}

func compressorOf(breach string) stage.Definition {
	return stage.DefineCompressor(stage.About{Name: "tried", Summary: "Copies.", Concurrent: true},
		func(struct{}, stage.Env) (stage.Compressor, error) { return &compressor{breach: breach}, nil })
}

func (c *compressor) Bind(in stage.Media) (stage.Media, error) { return in, nil }
func (c *compressor) Begin(*stage.Output) error                { return nil }
func (c *compressor) Compress(_ context.Context, piece []byte, out *stage.Output) error {
	switch c.breach {
	case "gives its input as output":
		out.Data = piece
		return nil
	case "looks back":
		c.mu.Lock()
		defer c.mu.Unlock()
		out.Data = append(out.Data, byte(len(c.last)))
		c.last = bytes.Clone(piece)
	case "changes its input":
		if len(piece) > 0 {
			piece[0]++
		}
	}
	out.Data = append(out.Data, piece...)
	return nil
}
func (c *compressor) End(*stage.Output) error { return nil }

// encryptor adds one to every byte, which is good enough here.
type encryptor struct{ breach string }

func encryptorOf(breach string) stage.Definition {
	return stage.DefineEncryptor(stage.About{Name: "tried", Summary: "Shifts.", Concurrent: true, In: stage.ShapeRecords, Out: stage.ShapeRecords},
		func(struct{}, stage.Env) (stage.Encryptor, error) { return encryptor{breach}, nil })
}

func (e encryptor) Bind(in stage.Media) (stage.Media, error) {
	in.Sealed = e.breach != "does not say that it seals"
	return in, nil
}
func (encryptor) Begin(*stage.Output) error { return nil }
func (e encryptor) Seal(_ context.Context, in stage.Chunk, out *stage.Output) error {
	start := 0
	for _, end := range in.Ends {
		for _, c := range in.Data[start:end] {
			if e.breach != "seals nothing" {
				c++
			}
			out.Data = append(out.Data, c)
		}
		if e.breach != "joins records" {
			out.EndRecord()
		}
		start = end
	}
	if e.breach == "joins records" && start > 0 {
		out.EndRecord()
	}
	return nil
}
func (encryptor) End(*stage.Output) error { return nil }

// source counts to a thousand.
type source struct {
	env    stage.Env
	breach string
	schema *arrow.Schema
	next   int64
	last   arrow.Record
	closed bool
}

func sourceOf(breach string) stage.Definition {
	return stage.DefineSource(stage.About{Name: "tried", Summary: "Counts."},
		func(_ struct{}, env stage.Env) (stage.Source, error) { return &source{env: env, breach: breach}, nil })
}

func (s *source) Open(context.Context) (*arrow.Schema, error) {
	s.schema = arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	return s.schema, nil
}

func (s *source) Next(ctx context.Context) (arrow.Record, error) {
	if err := ctx.Err(); err != nil && s.breach != "never ends" {
		return nil, err
	}
	if s.next >= 1000 && s.breach != "never ends" {
		if s.breach == "begins anew" {
			s.next = 0
		}
		return nil, io.EOF
	}
	if s.next == 0 && s.breach == "hangs" {
		s.next = 1
		<-endless
	}
	b := array.NewInt64Builder(s.env.Memory)
	if s.breach != "leaks a batch" {
		defer b.Release()
	}
	for i := range int64(100) {
		if s.breach == "delivers nulls" && i == 3 {
			b.AppendNull()
			continue
		}
		b.Append(s.next + i)
	}
	s.next += 100
	column := b.NewArray()
	defer column.Release()
	rec := array.NewRecord(s.schema, []arrow.Array{column}, 100)
	switch s.breach {
	case "leaks a batch":
		rec.Retain()
	case "uses a batch again":
		if s.last != nil {
			s.last.Column(0).(*array.Int64).Int64Values()[0] = -1
		}
		s.last = rec
	}
	return rec, nil
}

// Checkpoint is the number that comes next.
func (s *source) Checkpoint() string {
	if s.breach == "gives bytes for a checkpoint" {
		return "\xff"
	}
	return fmt.Sprint(s.next)
}

func (s *source) Undo(context.Context, stage.Resource) error {
	if s.breach == "believes everything" {
		return nil
	}
	return stage.Foreign("this source begins nothing")
}

func (s *source) Close() error {
	if s.breach == "cannot be closed twice" && s.closed {
		panic("closed twice")
	}
	s.closed = true
	return nil
}

// sink writes a file.
type sink struct {
	path      string
	breach    string
	temp      *os.File
	size      int64
	all       bytes.Buffer
	committed bool
	env       stage.Env
	release   func()
}

type sinkSettings struct {
	Path string `config:"path,required"`
}

func sinkOf(breach string) stage.Definition {
	return stage.DefineSink(stage.About{Name: "tried", Summary: "Writes a file."},
		func(s sinkSettings, env stage.Env) (stage.Sink, error) {
			made := &sink{path: s.Path, breach: breach, env: env}
			if breach == "cannot undo" {
				return struct{ stage.Sink }{made}, nil
			}
			return made, nil
		})
}

// hidden is the file that is on its way.
func (s *sink) hidden() string {
	if s.breach == "shows what is not committed" {
		return s.path
	}
	return filepath.Join(filepath.Dir(s.path), ".hidden")
}

func (s *sink) Undo(_ context.Context, r stage.Resource) error {
	switch {
	case s.breach == "undoes nothing", s.breach == "believes everything":
		return nil
	case s.breach == "dies of a strange state" && string(r.State) == "[]":
		os.Exit(3)
	case string(r.State) != s.hidden():
		return stage.Foreign("it is not the file of this sink")
	}
	if err := os.Remove(s.hidden()); err != nil && (!os.IsNotExist(err) || s.breach == "undoes once") {
		return fault.New("tried.undo", fault.Sink, "cannot remove the file: %w", err)
	}
	return nil
}

func (s *sink) Open(ctx context.Context, _ stage.Object) (err error) {
	name := s.hidden()
	if s.release, err = s.env.Announce(ctx, stage.Resource{Name: "the file " + name, State: []byte(name)}); err != nil {
		return err
	}
	if s.temp, err = os.Create(name); err != nil {
		return fault.New("tried.open", fault.Sink, "cannot make the file: %w", err)
	}
	return nil
}

func (s *sink) Write(ctx context.Context, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.all.Write(p)
	s.size += int64(len(p))
	if s.breach == "writes less" && len(p) > 4000 {
		p = p[:4000]
	}
	if _, err := s.temp.Write(p); err != nil {
		return fault.New("tried.write", fault.Sink, "cannot write: %w", err)
	}
	return nil
}

func (s *sink) Commit(ctx context.Context) (stage.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return stage.Receipt{}, err
	}
	s.temp.Close()
	if err := os.Rename(s.temp.Name(), s.path); err != nil {
		return stage.Receipt{}, fault.New("tried.commit", fault.Sink, "cannot rename: %w", err)
	}
	s.committed = true
	s.release()
	sum := sha256.Sum256(s.all.Bytes())
	r := stage.Receipt{Bytes: s.size, SHA256: hex.EncodeToString(sum[:]), Location: s.path}
	if s.breach == "miscounts" {
		r.Bytes++
	}
	return r, nil
}

func (s *sink) Abort(context.Context) error {
	if s.temp == nil || s.committed && s.breach != "aborts what is committed" {
		return nil
	}
	s.temp.Close()
	if s.breach != "never releases" {
		s.release()
	}
	switch s.breach {
	case "leaves its file":
		return nil
	case "aborts what is committed":
		os.Remove(s.path)
	}
	if err := os.Remove(s.temp.Name()); err != nil && s.breach == "cannot abort twice" {
		return fmt.Errorf("removing: %w", err)
	}
	return nil
}
