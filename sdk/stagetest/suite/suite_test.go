package suite_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/stage"
	"github.com/cipherstream/cipherstream/sdk/stagetest/suite"
)

// options suit the stages of this package.
func options(d stage.Definition) suite.Options {
	o := suite.Options{Patience: 20 * time.Second, Prompt: 8 * time.Second}
	if d.Kind == stage.KindSink {
		o.Settings, o.Object = map[string]string{"path": "{{dir}}/object"}, "{{dir}}/object"
	}
	return o
}

var definitions = map[stage.Kind]func(breach string) stage.Definition{
	stage.KindSource: sourceOf, stage.KindFilter: filterOf, stage.KindEncoder: encoderOf,
	stage.KindCompressor: compressorOf, stage.KindEncryptor: encryptorOf, stage.KindSink: sinkOf,
}

func TestGoodStagesPass(t *testing.T) {
	for kind, define := range definitions {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			d := define("")
			for _, check := range suite.Stage(d, options(d)) {
				if r := check.Run(t.Context()); r.Status != suite.Passed || r.Cases == 0 {
					t.Errorf("%s: %s after %d cases: %s", r.Check, r.Status, r.Cases, strings.Join(r.Details, "; "))
				}
			}
		})
	}
}

// TestBrokenStagesFail: each breach is found by the check that is named for it.
func TestBrokenStagesFail(t *testing.T) {
	for _, test := range []struct {
		kind   stage.Kind
		breach string
		check  string
		says   string
	}{
		{stage.KindFilter, "drops a row", suite.CheckKeepsRows, "but made 6 of 7"},
		{stage.KindFilter, "adds a column", suite.CheckSchema, "a batch has 3 columns; 2 were declared"},
		{stage.KindFilter, "declares another type", suite.CheckSchema, `column "id" is int64 in a batch; utf8 was declared`},
		{stage.KindFilter, "keeps a reference", suite.CheckBorrowed, "the stage keeps a reference"},
		{stage.KindFilter, "keeps a batch", suite.CheckLeak, "of batches that the stage was given are still held"},
		{stage.KindFilter, "keeps memory", suite.CheckLeak, "bytes of env.Memory are held"},
		{stage.KindFilter, "releases its input", suite.CheckUntouched, "released a batch that it only borrows"},
		{stage.KindFilter, "writes into its input", suite.CheckUntouched, "wrote into the buffers"},
		{stage.KindFilter, "starts a goroutine", suite.CheckGoroutines, "3 runs left 12 goroutines behind"},
		{stage.KindFilter, "hangs", suite.CheckCancel, "did not return within 1s of its cancellation"},
		{stage.KindFilter, "fails without a code", suite.CheckErrors, "an error without a code: nothing but nulls"},
		{stage.KindFilter, "panics without rows", suite.CheckZeroRows, "panicked: runtime error: index out of range"},
		{stage.KindFilter, "panics without rows", suite.CheckPanics, "index out of range"},
		{stage.KindFilter, "counts across batches", suite.CheckConcurrent, "their order changes the result"},
		{stage.KindFilter, "is random", suite.CheckRepeat, "something else the second time"},
		{stage.KindFilter, "forgets the offset", suite.CheckSliced, "a slice of utf8 became something else"},
		{stage.KindFilter, "refuses everything", suite.CheckAccepts, "refused all of"},
		{stage.KindEncoder, "ends no records", suite.CheckEnds, "EndRecord was not called"},
		{stage.KindEncoder, "keeps its output", suite.CheckBorrowed, "the stage keeps a reference"},
		{stage.KindEncoder, "has no media type", suite.CheckMedia, "RFC 6838"},
		{stage.KindCompressor, "gives its input as output", suite.CheckBorrowed, "the stage keeps a reference"},
		{stage.KindCompressor, "looks back", suite.CheckConcurrent, "their order changes the result"},
		{stage.KindCompressor, "changes its input", suite.CheckUntouched, "changed the bytes"},
		{stage.KindEncryptor, "does not say that it seals", suite.CheckMedia, "Media.Sealed"},
		{stage.KindEncryptor, "seals nothing", suite.CheckSeals, "the plain text stands in"},
		{stage.KindEncryptor, "joins records", suite.CheckEnds, "5 rows became 1 records"},
		{stage.KindSource, "begins anew", suite.CheckEOF, "instead of io.EOF again"},
		{stage.KindSource, "delivers nulls", suite.CheckSchema, "declared to have none"},
		{stage.KindSource, "leaks a batch", suite.CheckLeak, "still held after Close"},
		{stage.KindSource, "gives bytes for a checkpoint", suite.CheckCheckpoints, "a checkpoint that is not UTF-8"},
		{stage.KindSource, "uses a batch again", suite.CheckOwned, "changed later"},
		{stage.KindSource, "cannot be closed twice", suite.CheckClose, "panicked: closed twice"},
		{stage.KindSource, "never ends", suite.CheckCancel, "still delivers batches"},
		{stage.KindSource, "hangs", suite.CheckCancel, "took longer than"},
		{stage.KindSink, "shows what is not committed", suite.CheckHidden, "visible under its name before Commit"},
		{stage.KindSink, "writes less", suite.CheckCommit, "are not the"},
		{stage.KindSink, "miscounts", suite.CheckCommit, "the receipt says"},
		{stage.KindSink, "leaves its file", suite.CheckAbort, "left .hidden"},
		{stage.KindSink, "cannot abort twice", suite.CheckAbort, "the second Abort"},
		{stage.KindSink, "aborts what is committed", suite.CheckAbort, "the object is not there"},
		{stage.KindSink, "never releases", suite.CheckUndo, "after Abort after Open the sink has not released"},
		{stage.KindSink, "believes everything", suite.CheckUndo, `Undo of "garbage", which no stage has announced, gave <nil>`},
		{stage.KindSink, "cannot undo", suite.CheckUndo, "and has no Undo"},
		{stage.KindSource, "believes everything", suite.CheckUndo, `Undo of "garbage", which no stage has announced, gave <nil>`},
	} {
		t.Run(string(test.kind)+" "+test.breach, func(t *testing.T) {
			t.Parallel()
			d := definitions[test.kind](test.breach)
			o := options(d)
			switch test.breach {
			case "hangs":
				o.Patience, o.Prompt = 200*time.Millisecond, time.Second
			case "never ends":
				o.Prompt = time.Second
			}
			found(t, suite.Stage(d, o), test.check, test.says)
		})
	}
}
