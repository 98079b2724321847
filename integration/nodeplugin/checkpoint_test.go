package nodeplugin

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/sdk/stage"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// TestCheckpoints: the plugin's filter hands on a source's positions, and its sink is told them, each behind the rows that it
// covers, that of a batch without rows too.
func TestCheckpoints(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	w.must("plugin", "install", plugin(t), "--allow-files", w.out+":rw", "--replace")
	path := filepath.Join(w.out, "rows.arrow")
	w.must("run", w.toTable(`{use: third/count, with: {rows: 60, batch: 1, checkpoints: true}}`, `[{use: third/even}, {use: redact/text}]`, path))
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := wire.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	next, last, positions := int64(0), int64(-2), 0
	for {
		rec, err := reader.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range rec.Column(0).(*array.Int64).Int64Values() {
			if v < next || v != last+2 {
				t.Errorf("%d came behind %d, of which all before %d are covered", v, last, next)
			}
			last = v
		}
		rec.Release()
		at := reader.Metadata().FindKey(stage.MetaCheckpoint)
		if at < 0 {
			continue
		}
		positions++
		if next, err = strconv.ParseInt(reader.Metadata().Values()[at], 10, 64); err != nil || last+2 < next {
			t.Errorf("the position %d, %v, came behind %d", next, err, last)
		}
	}
	if positions != 60 || next != 60 || last != 58 {
		t.Errorf("%d positions, the last %d, behind %d", positions, next, last)
	}
}
