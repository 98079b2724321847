package json

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/sdk"
)

// timed returns an encoder that begins and ends 2.5 s apart.
func timed(t *testing.T) sdk.Encoder {
	e := sample.NewEncoder(t, Stage(), `{}`, sdk.Env{}).(*encoder)
	clock := time.Unix(1_700_000_000, 0)
	e.now = func() time.Time {
		clock = clock.Add(2_500_400 * time.Microsecond)
		return clock
	}
	return e
}

func TestDocument(t *testing.T) {
	b := array.NewInt32Builder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues([]int32{1, 2, 3}, nil)
	column := b.NewArray()
	defer column.Release()
	record := array.NewRecord(arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int32}}, nil), []arrow.Array{column}, 3)
	defer record.Release()
	slice := func(from, to int64) sdk.Rows { return sdk.Rows{Record: record.NewSlice(from, to)} }

	for _, c := range []struct {
		name    string
		batches []sdk.Rows
		want    string
	}{
		{"no rows", []sdk.Rows{slice(0, 0)}, `{"data":[],"metadata":{"execution_time":2.5,"record_count":0}}`},
		{"one row", []sdk.Rows{slice(0, 1)}, `{"data":[{"n":1}],"metadata":{"execution_time":2.5,"record_count":1}}`},
		{"batches", []sdk.Rows{slice(0, 0), slice(0, 2), slice(0, 0), slice(2, 3)},
			`{"data":[{"n":1},{"n":2},{"n":3}],"metadata":{"execution_time":2.5,"record_count":3}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := sample.Encode(timed(t), c.batches...)
			if err != nil || string(out.Data) != c.want || out.Ends != nil {
				t.Errorf("got %s, ends %v (%v); want %s", out.Data, out.Ends, err, c.want)
			}
			if !json.Valid(out.Data) {
				t.Error("not valid JSON")
			}
		})
	}
}

func TestPython(t *testing.T) {
	record := sample.Appointments(1000, 9)
	defer record.Release()
	out, err := sample.Encode(timed(t), sdk.Rows{Record: record})
	if err != nil {
		t.Fatal(err)
	}
	got := sample.Oracle(t, `
import sys, json
d = json.load(sys.stdin)
assert list(d) == ["data", "metadata"], list(d)
assert all(len(r) == 28 for r in d["data"])
print(len(d["data"]), d["metadata"])
`, out.Data)
	if want := "1000 {'execution_time': 2.5, 'record_count': 1000}\n"; string(got) != want {
		t.Errorf("Python read %s, want %s", got, want)
	}
}

func TestStage(t *testing.T) {
	d := Stage()
	if d.Out != sdk.ShapeBytes || !d.Concurrent {
		t.Errorf("out %q, concurrent %t", d.Out, d.Concurrent)
	}
	record := sample.Text("a", "x")
	defer record.Release()
	media, err := sample.NewEncoder(t, d, `{}`, sdk.Env{}).Bind(record.Schema())
	if err != nil || media != (sdk.Media{Type: "application/json", Extension: ".json"}) {
		t.Errorf("%+v (%v)", media, err)
	}
}
