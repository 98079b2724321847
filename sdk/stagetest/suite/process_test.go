package suite_test

import (
	"context"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	built "github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
	"github.com/cipherstream/cipherstream/sdk/stagetest/suite"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// serveTried makes the test program a plugin whose stages have the breach that follows.
const serveTried = "serve-tried"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == serveTried {
		control.Serve(triedBundle(os.Args[2]))
		return
	}
	os.Exit(m.Run())
}

func triedBundle(breach string) stage.Bundle {
	b := stage.Bundle{Name: "tried", Version: "1.0.0"}
	for _, kind := range stage.Kinds {
		b.Stages = append(b.Stages, definitions[kind](breach))
	}
	return b
}

func program(t *testing.T, breach string) suite.Program {
	t.Helper()
	path, err := built.Self()
	if err != nil {
		t.Fatal(err)
	}
	return suite.Program{Path: path, Args: []string{serveTried, breach}}
}

func manifest(d stage.Definition) control.Manifest {
	return control.Manifest{About: d.About, Kind: d.Kind, Spec: d.Spec}
}

func TestDescribe(t *testing.T) {
	plugin, err := program(t, "").Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if plugin.Name != "tried" || plugin.Version != "1.0.0" || len(plugin.Stages) != len(stage.Kinds) {
		t.Errorf("got %+v", plugin)
	}
	if _, err := (suite.Program{Path: "/bin/true"}).Describe(t.Context()); err == nil || !strings.Contains(err.Error(), "did not start as a plugin") {
		t.Errorf("a program that is no plugin: %v", err)
	}
}

func TestGoodProcessesPass(t *testing.T) {
	for kind, define := range definitions {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			d := define("")
			for _, check := range suite.Process(manifest(d), program(t, "").Start, options(d)) {
				if r := check.Run(t.Context()); r.Status != suite.Passed || r.Cases == 0 {
					t.Errorf("%s: %s after %d cases: %s", r.Check, r.Status, r.Cases, strings.Join(r.Details, "; "))
				}
			}
		})
	}
}

// found runs checks and sees that the one of that name fails, and says so.
func found(t *testing.T, checks []suite.Check, name, says string) {
	t.Helper()
	var failed []string
	last := slices.IndexFunc(checks, func(c suite.Check) bool { return c.Name == name })
	for _, check := range checks[:last+1] {
		r := check.Run(t.Context())
		if r.Status != suite.Failed {
			continue
		}
		failed = append(failed, r.Check)
		if text := strings.Join(r.Details, "\n"); r.Check == name && !strings.Contains(text, says) {
			t.Errorf("%s says:\n%s\nexpected %q", r.Check, text, says)
		}
	}
	if !slices.Contains(failed, name) {
		t.Errorf("%s did not find it; failed: %v", name, failed)
	}
}

func TestBrokenProcessesFail(t *testing.T) {
	for _, test := range []struct {
		kind   stage.Kind
		breach string
		check  string
		says   string
	}{
		{stage.KindFilter, "drops a row", suite.CheckKeepsRows, "but made 6 of 7"},
		{stage.KindFilter, "adds a column", suite.CheckPlain, "another schema than it announced"},
		{stage.KindFilter, "hangs", suite.CheckCancel, "after its cancellation"},
		{stage.KindFilter, "fails without a code", suite.CheckErrors, "an error without a code: nothing but nulls"},
		{stage.KindFilter, "panics without rows", suite.CheckZeroRows, "plugin.panic"},
		{stage.KindFilter, "is random", suite.CheckRepeat, "something else the second time"},
		{stage.KindEncoder, "ends no records", suite.CheckEnds, "did not end its last record"},
		{stage.KindEncoder, "has no media type", suite.CheckMedia, "RFC 6838"},
		{stage.KindEncryptor, "seals nothing", suite.CheckSeals, "the plain text stands in"},
		{stage.KindEncryptor, "joins records", suite.CheckEnds, "20 rows more became"},
		{stage.KindSink, "shows what is not committed", suite.CheckHidden, "visible under its name before Commit"},
		{stage.KindSink, "miscounts", suite.CheckReceipt, "the receipt says"},
		{stage.KindSink, "leaves its file", suite.CheckAbort, "is left"},
		{stage.KindSink, "undoes nothing", suite.CheckUndo, "what it had announced was undone, but .hidden is left"},
		{stage.KindSink, "undoes once", suite.CheckUndo, "Undo of what is gone: a fault of class sink"},
		{stage.KindSink, "cannot undo", suite.CheckUndo, "undo.unsupported"},
		{stage.KindSink, "believes everything", suite.CheckUndo, `Undo of "garbage", which no stage has announced, gave <nil>, <nil>`},
		{stage.KindSink, "dies of a strange state", suite.CheckUndo, `Undo of "[]", which no stage has announced, gave <nil>, Undo was not answered`},
	} {
		t.Run(string(test.kind)+" "+test.breach, func(t *testing.T) {
			t.Parallel()
			d := definitions[test.kind](test.breach)
			o := options(d)
			o.Except = map[string]string{suite.CheckHeartbeat: "it takes long"}
			if test.check != suite.CheckErrors {
				o.Except[suite.CheckTypes] = "it starts many processes"
			}
			if test.breach == "hangs" {
				o.Patience, o.Prompt = 3*time.Second, time.Second
			}
			found(t, suite.Process(manifest(d), program(t, test.breach).Start, o), test.check, test.says)
		})
	}
}

// foreign is a filter of somebody who wrote the protocol anew, and got something wrong.
type foreign struct {
	breach string
	in     *net.UnixListener
	out    string
}

func (f *foreign) Open(_ context.Context, r *pb.OpenRequest, _ []string) (err error) {
	if string(r.Stages[0].Settings) != "{}" && f.breach != "takes any setting" {
		return fault.New("config.invalid", fault.Usage, "an unknown setting")
	}
	f.out = r.Output
	f.in, err = net.ListenUnix("unix", &net.UnixAddr{Name: r.Input, Net: "unix"})
	return err
}

// copyRows hands batches on. A cut input is taken for whole when the breach says so.
func (f *foreign) copyRows(ctx context.Context) (err error) {
	conn, err := f.in.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	out, err := net.Dial("unix", f.out)
	if err != nil {
		return err
	}
	defer out.Close()
	reader, err := wire.NewReader(conn)
	if err != nil {
		return err
	}
	writer, err := wire.NewWriter(out, reader.Schema())
	if err != nil {
		return err
	}
	for {
		var rec arrow.Record
		if rec, err = reader.Read(); err != nil {
			break
		}
		custom := reader.Metadata()
		switch f.breach {
		case "loses checkpoints":
			custom = arrow.Metadata{}
		case "hands checkpoints on too early":
			if custom.Len() > 0 {
				none := rec.NewSlice(0, 0)
				err = writer.WriteWithMetadata(none, custom)
				none.Release()
				custom = arrow.Metadata{}
			}
		}
		if err == nil {
			err = writer.WriteWithMetadata(rec, custom)
		}
		rec.Release()
		if err != nil {
			return err
		}
	}
	switch {
	case err == io.EOF && f.breach == "never ends":
		<-ctx.Done()
		return context.Cause(ctx)
	case err == io.EOF && f.breach == "ends without a mark":
		return nil
	case err == io.EOF, ctx.Err() == nil && f.breach == "takes a cut input for whole":
		return writer.Close()
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return fault.New("foreign.input", fault.Plugin, "the input broke off: %w", err)
}

func (f *foreign) Start(ctx context.Context, handle func(*pb.Event)) error {
	done := make(chan error, 1)
	go func() { done <- f.copyRows(ctx) }()
	beat := time.NewTicker(250 * time.Millisecond)
	defer beat.Stop()
	for {
		select {
		case <-beat.C:
			if f.breach != "is silent" {
				handle(&pb.Event{Kind: &pb.Event_Progress{Progress: &pb.Progress{}}})
			}
		case err := <-done:
			if err == nil {
				handle(&pb.Event{Kind: &pb.Event_Finished{Finished: &pb.Finished{}}})
			}
			return err
		}
	}
}

func (f *foreign) Commit(context.Context) (stage.Receipt, error) { return stage.Receipt{}, nil }
func (f *foreign) Close() {
	if f.in != nil {
		f.in.Close()
	}
}

// TestForeignProcesses: what the SDK of this language makes impossible, others can get wrong.
func TestForeignProcesses(t *testing.T) {
	for _, test := range []struct{ breach, check, says string }{
		{"", "", ""},
		{"takes any setting", suite.CheckSettings, "a setting that nobody knows was accepted"},
		{"never ends", suite.CheckSettings, "a run took longer than 2s"},
		{"is silent", suite.CheckHeartbeat, "no event came for"},
		{"takes a cut input for whole", suite.CheckCutInput, "rows are missing silently"},
		{"loses checkpoints", suite.CheckCheckpoints, "the last checkpoint did not come out of the stage"},
		{"hands checkpoints on too early", suite.CheckCheckpoints, "came behind 0 rows, but covers 20"},
		{"ends without a mark", suite.CheckPlain, "did not end with an end-of-stream"},
	} {
		t.Run("it "+test.breach, func(t *testing.T) {
			t.Parallel()
			start := func(context.Context, string) (suite.Running, error) { return &foreign{breach: test.breach}, nil }
			o := options(filterOf(""))
			if test.breach == "never ends" {
				o.Patience = 2 * time.Second
			}
			checks := suite.Process(manifest(filterOf("")), start, o)
			if test.check != "" {
				found(t, checks, test.check, test.says)
				return
			}
			for _, check := range checks {
				if r := check.Run(t.Context()); r.Status != suite.Passed {
					t.Errorf("%s: %s: %s", r.Check, r.Status, strings.Join(r.Details, "; "))
				}
			}
		})
	}
}
